"""The cluster's version as whoever works for the cluster raises it, as a person looks at it and holds it, and as a process keeps to it (ADR 0081).

It is raised to what the least of all processes can: of every member, none of which may be away, and of every process that is connected to one. It never goes down. One that is away may come back as any release: while it is, nothing
is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.base.peer_wire import Hello
from scrubjay.base.times import utc_text
from scrubjay.base.together import gather
from scrubjay.base.versioned import decode_versioned
from scrubjay.server.admission import DURABILITY, NODE, RAISED, ROUTER, below
from scrubjay.server.control import Control
from scrubjay.server.ports import Report
from scrubjay.storage.catalogue import VersionNote
from scrubjay.storage.cluster_version import LOWEST, NEWEST, said
from scrubjay.storage.node.port import AskStatus, NodePort, NodeStatus, asked, failure_of, node_down

FILE = "cluster-version.json"
ROUND_S = 1.0
"""Between two looks whether it may be raised."""
ASK_S = 2.0
_TRIES = 5


class ProcessTold(NamedTuple):
    """A process that counts. can: the newest number that it can, None: it is away, and nobody knows."""

    name: str
    role: str
    can: int | None


class Next(NamedTuple):
    """number: to which the cluster may be raised now; as it is, or higher. holds: what keeps it from being higher, for people; none: nothing does."""

    number: int
    holds: tuple[str, ...]


def processes(control: Control, fresh: Mapping[NodeName, NodeStatus] | None = None) -> list[ProcessTold]:
    """Every member, and every process that is connected to a node, as this process knows them now. fresh: what each node says, None: what it told last."""
    status = {name: node.status() for name, node in control.ports.items()} if fresh is None else fresh
    guests: dict[str, int] = {}
    for told in status.values():
        for guest, said_once in told.guests.items():
            guests[guest] = min(said_once, guests.get(guest, said_once))
    members = control.members()
    found = []
    for name, told in status.items():
        heard = told.failed is None or told.can > 0  # a node that stays out is a process that says what it can
        connected = guests.pop(str(name), None)
        can = said(told) if heard else connected  # one whose node is not even read: as its process said when it connected
        if name in members or can is not None:
            found.append(ProcessTold(name, NODE, can))
    return found + [ProcessTold(name, DURABILITY if name == DURABILITY else ROUTER, can) for name, can in sorted(guests.items())]


def below_of(told: Sequence[ProcessTold], newest: int) -> list[str]:
    """Those that can less, or may; for people."""
    return [f"{one.name} is away: nobody knows what it can" for one in told if one.can is None] + [
        f"{one.name} can {one.can}" for one in told if one.can is not None and one.can < newest
    ]


def next_number(note: VersionNote, told: Sequence[ProcessTold], *, own: int = NEWEST) -> Next:
    """own: what the process can that would raise it. Pure."""
    known = [one.can for one in told if one.can is not None]
    newest = max([own, *known])
    holds = below_of(told, newest)
    least = note.number if len(known) < len(told) else min([own, *known])
    if note.held and note.held < least:
        holds.append(f"it is held at {note.held} since {utc_text(note.held_at)}")
        least = note.held
    return Next(max(note.number, least), tuple(holds) if newest > note.number else ())


class Raising:
    """works: whether this process works for the cluster. log: hears what a server's log is to say."""

    def __init__(self, env: Env, control: Control, *, works: Callable[[], bool], log: Callable[[str], None], own: int = NEWEST) -> None:
        self._env, self._control, self._works, self._log, self._own = env, control, works, log, own
        self._loop = KeptLoop(self._env.tasks, self._run, name="cluster version")

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        while True:
            if self._works():
                await self.look()
            await self._env.tasks.sleep(ROUND_S)

    async def look(self) -> None:
        """Raise it, if it may be. What could not be written is tried again with the next look."""
        metadata = self._control.metadata
        note = metadata.version
        if next_number(note, processes(self._control), own=self._own).number == note.number:
            return
        # What a node told may be seconds old, and it may have come back as another release since: it is asked.
        to = next_number(note, processes(self._control, await self._asked()), own=self._own).number
        if to == note.number or metadata.version != note:  # held meanwhile: what was decided is of before
            return
        try:
            await metadata.put_version(msgspec.structs.replace(note, number=to))
        except (Conflict, Unavailable):
            return
        self._log(f"the cluster's version is {to}, it was {note.number}: a process that can less is let in no more")

    async def _asked(self) -> dict[NodeName, NodeStatus]:
        """What each node says of itself now."""
        names, ports = list(self._control.ports), list(self._control.ports.values())
        tasks = self._env.tasks
        answers = await gather(tasks, [asked(tasks, node, AskStatus(), NodeStatus, timeout_s=ASK_S) for node in ports], name="versions")
        return {name: one if isinstance(one, NodeStatus) else _silent(node) for name, node, one in zip(names, ports, answers, strict=True)}


def _silent(node: NodePort) -> NodeStatus:
    """One that did not answer: down, unless it is known why it does not run (it stays out, in this process)."""
    told = node.status()
    return told if told.failed is not None else NodeStatus(node.name, node.number, started=False, failed=failure_of(node_down(node.name)))


async def hold(control: Control, *, held: bool) -> None:
    """Keep the version as it is, whatever the processes can; or no longer. Raises Unavailable."""
    metadata = control.metadata
    for _ in range(_TRIES):
        await metadata.newest()
        note = metadata.version
        if bool(note.held) == held:
            return
        changed = msgspec.structs.replace(note, held=note.number if held else 0, held_at=control.env.clock.wall_us() if held else 0)
        try:
            await metadata.put_version(changed)
        except Conflict:
            continue
        return
    raise Unavailable("the cluster's version was changed by somebody else just now", next="ask again")


def version_report(control: Control) -> Report:
    """`scrubjay cluster version`, and of `cluster status` the part about it."""
    note, told = control.metadata.version, processes(control)
    return {
        "version": note.number,
        "newest": NEWEST,
        "held": utc_text(note.held_at) if note.held else None,
        "holds": list(next_number(note, told).holds),
        "processes": [{"name": one.name, "role": one.role, "can": one.can} for one in told],
    }


# --- what a process keeps to ---------------------------------------------------------------------------------------------------------------


class VersionFile(msgspec.Struct, frozen=True):
    version: int
    number: int


class VersionKept:
    """The highest number of the cluster that this process has read, in its data folder: a process of an older release that is started there refuses before it reads anything else, and one that can less is
    not let in from the first moment on. own: what this release can.

    A process that reads a number above its own stops (`end`), and says why: `check`. Nothing of its folder is touched."""

    def __init__(self, disk: Disk, *, log: Callable[[str], None], own: int = NEWEST) -> None:
        """disk: of the data folder. Raises Corrupt: the file cannot be understood (never guessed, never replaced)."""
        self._disk, self._log, self._own = disk, log, own
        data = disk.read_file(FILE)
        self.number = (
            LOWEST if data is None else decode_versioned(data, VersionFile, version=1, what=f"the data folder's {FILE}", name=FILE).number
        )
        self.raised: Callable[[], None] = lambda: None
        """The number has become another."""
        self.end: Callable[[], None] = lambda: None
        """This process has to stop."""
        self._heard = 0
        """What the cluster has, as a peer said that does not let this process in."""

    def check(self) -> None:
        """Raises Unsafe: this release is too old for the cluster."""
        number = max(self.number, self._heard)
        if self.over:
            raise Unsafe(
                f"this release is too old: the cluster's version is {number}, and it can {self._own}; it serves nothing, and its data is as it was",
                cluster_version=number,
                can=self._own,
                next="start the release that ran here before, or a newer one: once the version was raised there is no way back below it",
            )

    def learn(self, note: VersionNote) -> None:
        """What the catalogue says. It counts here whether or not the disk takes it: the others do not let in who can less, either."""
        if note.number <= self.number:
            return
        self.number = note.number
        try:
            self._disk.write_file(FILE, msgspec.json.encode(VersionFile(1, note.number)))
        except ScrubjayError as error:
            self._log(f"the cluster's version could not be noted in the data folder: {error}")
        self.raised()
        if self.over:
            self.end()

    def refused(self, error: ScrubjayError) -> None:
        """A peer does not let this process in: perhaps for being too old."""
        number = error.fields.get(RAISED)
        if isinstance(error, Unsafe) and isinstance(number, int) and number > self._own:
            self._heard = number
            self.end()

    @property
    def over(self) -> bool:
        """This process has to stop."""
        return max(self.number, self._heard) > self._own

    def too_old(self, hello: Hello) -> Unsafe | None:
        """Why a process must not be connected any more, None: it may."""
        return below(hello, self.number)


def guests_of(hellos: Mapping[NodeName, Hello]) -> dict[str, int]:
    """What a node tells of processes that are connected to it: those that speak for no node. hellos: of who is connected, by name."""
    return {str(name): hello.can or LOWEST for name, hello in hellos.items() if hello.role != NODE}
