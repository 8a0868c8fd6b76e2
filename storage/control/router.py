"""The request router: finds the partition and its leader, retries what may be retried, and turns to another replica where one found rot.

Holds no data. A node wrongly asked answers NotLeader with a hint; the router remembers who answered last. What was proposed and whose outcome is
unknown is never retried here: the caller must see that. Where a partition was split (ADR 0078) the map is asked for, and the request goes to the child that its key is in, within the same
time.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

from scrubjay.base.env import Env, Timer
from scrubjay.base.errors import Corrupt, DiskFull, Missing, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import (
    FeedCommand,
    LookCommand,
    PrepareCommand,
    RangeAnswer,
    RangeRead,
    ReadAnswer,
    WriteAnswer,
    WriteCommand,
)
from scrubjay.storage.control.map_waits import MapWaits
from scrubjay.storage.control.placement import COPIES
from scrubjay.storage.dropped import dropped, is_dropped
from scrubjay.storage.log.split import was_split
from scrubjay.storage.node.port import Done, NodePort

A = TypeVar("A")

REFUSE_US = 3_000_000
"""For so long, from when it came, a client's request is tried again while no replica answers for its partition; then it is refused. Longer than most elections take, shorter than clients wait for an
answer: one that hears nothing may give up where one that is refused tries again, elsewhere or later (ADR 0088)."""
GIVE_UP_US = 10_000_000
"""The same of what the cluster does for itself, and of changes of the catalogue: a CreateTable that was done and refused would find its own table there when it is tried again."""
ANOTHER_S = 1.0
"""A copy that may answer an eventual read and has not for so long: another one is asked beside it."""
_FIRST_PAUSE_S = 0.005
_PAUSE_MAX_S = 0.1


Ask = Callable[[NodePort, PartitionId, Done[A]], None]
"""Asks a node for what a request wants of a partition there."""
AskAny = Callable[[NodePort, PartitionId, Done[A], bool, Lsn], None]
"""As Ask. strong: of the leader, its lease held. min_lsn: of a replica that has applied so far."""


class Router:
    """nodes: every storage node by name, in the order reads are spread over them. maps: requests that wait for the map of a table."""

    def __init__(self, env: Env, nodes: Mapping[NodeName, NodePort]) -> None:
        self.env = env
        self.nodes = dict(nodes)
        self.names = list(self.nodes)
        self.leaders: dict[PartitionId, NodeName] = {}
        self._acknowledged: dict[str, Lsn] = {}
        """Of the last write answered through this router: eventually consistent reads go, where they can, to a replica that has applied it."""
        self._bounds: dict[str, tuple[int, list[str]]] = {}
        self._turn = 0
        self.closed = False
        """No write is sent on any more, or tried again: this process stops. Reads go on."""
        self.maps = MapWaits(env)

    def partition_of(self, table: TableMeta, key: bytes) -> PartitionInfo:
        """The partition whose range holds a storage key."""
        partitions = table.partitions
        if len(partitions) == 1:
            return partitions[0]
        cached = self._bounds.get(table.table_id)
        if cached is None or cached[0] != table.version:
            cached = (table.version, [info.lo for info in partitions])
            self._bounds[table.table_id] = cached
        return partitions[bisect.bisect_right(cached[1], key[:16].hex()) - 1]

    def leader(self, partition: PartitionId) -> NodeName | None:
        """Who last answered as leader."""
        return self.leaders.get(partition)

    def write(self, table: TableMeta, command: WriteCommand, done: Done[WriteAnswer], *, patience_us: int = GIVE_UP_US) -> None:
        """patience_us, here and below: how long it is tried again, from now on, while nobody can answer; then the answer is Unavailable. A command of several keys is for one partition, as `table` has them: if that was split and they lie in both halves, the answer is Unavailable with the field `split`, and
        nothing was done."""

        def acknowledged(answer: WriteAnswer | ScrubjayError) -> None:
            if isinstance(answer, WriteAnswer) and answer.lsn > self._acknowledged.get(answer.partition, 0):
                self._acknowledged[answer.partition] = Lsn(answer.lsn)
            done(answer)

        if self.closed:
            done(stopping())
            return
        place = Destination(self, table, command.key, keys_of(command))
        _Leader(
            place, lambda node, partition, answer: node.write(partition, command, answer), acknowledged, patience_us, write=True
        ).attempt()

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Done[ReadAnswer], patience_us: int = GIVE_UP_US) -> None:
        def ask(node: NodePort, partition: PartitionId, answer: Done[ReadAnswer], strong: bool, min_lsn: Lsn) -> None:
            node.read(partition, key, consistent=strong, min_lsn=min_lsn, done=answer)

        self._read(Destination(self, table, key), ask, done, patience_us, consistent=consistent)

    def read_range(
        self,
        partition: PartitionId,
        request: RangeRead,
        done: Done[RangeAnswer],
        *,
        table: TableMeta | None = None,
        patience_us: int = GIVE_UP_US,
    ) -> None:
        """table: whose partition it is. If it was split, the answer is Unavailable with the field `split`, as soon as the map says so: which parts of the range are in which of the others,
        and in which order they are read, knows whoever asks. None: then the answer is that at once."""
        weak = replace(request, consistent=False)

        def ask(node: NodePort, partition: PartitionId, answer: Done[RangeAnswer], strong: bool, min_lsn: Lsn) -> None:
            node.read_range(partition, request if strong else weak, min_lsn=min_lsn, done=answer)

        self._read(Destination(self, table, None, partition=partition), ask, done, patience_us, consistent=request.consistent)

    # ------------------------------------------------------------------

    def _read(self, place: Destination, ask: AskAny[A], done: Done[A], patience_us: int, *, consistent: bool) -> None:
        if consistent:
            first: NodeName | None = None

            def answered(answer: A | ScrubjayError) -> None:
                if isinstance(answer, Corrupt):
                    # the leader applied this far with its lease held: any replica that has applied as much answers the same question
                    applied = Lsn(int(answer.fields.get("applied", 0)))
                    self._ask_others(place, ask, done, patience_us, min_lsn=applied, without=first)
                else:
                    done(answer)

            def to_leader(node: NodePort, partition: PartitionId, answer: Done[A]) -> None:
                nonlocal first
                first = node.name
                ask(node, partition, answer, True, Lsn(0))

            _Leader(place, to_leader, answered, patience_us, write=False).attempt()
        else:
            self._ask_others(place, ask, done, patience_us, min_lsn=Lsn(0), without=None)

    def _ask_others(
        self, place: Destination, ask: AskAny[A], done: Done[A], patience_us: int, *, min_lsn: Lsn, without: NodeName | None
    ) -> None:
        """Ask replicas in turn, whoever serves; start over until the time is up."""
        self._turn += 1
        order = [
            name for name in self.names[self._turn % len(self.names) :] + self.names[: self._turn % len(self.names)] if name != without
        ]
        partition = place.partition
        fresh = self._acknowledged.get(partition)
        if len(self.names) > COPIES:
            # Of more nodes than there are copies some hold none: who is not known to is asked when all others have failed.
            order.sort(
                key=lambda name: (not self._reads(name, partition), fresh is not None and not self._has_applied(name, partition, fresh))
            )
        elif fresh is not None:
            # no promise, but a client that writes and then reads through one router does not often see what was before
            order.sort(key=lambda name: not self._has_applied(name, partition, fresh))
        _AnyReplica(place, ask, done, patience_us, order, floor=min_lsn).attempt()

    def _reads(self, name: NodeName, partition: PartitionId) -> bool:
        """It told of a copy that has a tree."""
        facts = self.nodes[name].facts(partition)
        return facts is not None and facts.tree != "log"

    def _has_applied(self, name: NodeName, partition: PartitionId, lsn: Lsn) -> bool:
        return self.nodes[name].applied(partition) >= lsn


class Destination:
    """Where a request belongs: a table and the keys that it is about, or a partition of which all is meant (key None). partition: where that is by what is known."""

    __slots__ = ("_key", "_keys", "_table", "partition", "router")

    def __init__(
        self,
        router: Router,
        table: TableMeta | None,
        key: bytes | None,
        keys: Sequence[bytes] = (),
        *,
        partition: PartitionId | None = None,
    ) -> None:
        self.router, self._table, self._key, self._keys = router, table, key, keys
        if partition is None:
            assert table is not None
            assert key is not None
            partition = router.partition_of(table, key).partition_id
        self.partition = partition

    def moved(self) -> bool:
        """Look again: whether it is elsewhere by now; `partition` says where. Raises Unavailable (field `split`) if it is in several now, and whoever asked has to say what is wanted of which; Missing (what:
        table) if the table was dropped: its copies go, and who is not there any more answers nothing."""
        if self._table is None:
            return False
        if self.router.maps.gone(self._table):
            raise dropped(self._table.name)
        known = self.router.maps.known(self._table)
        if self._key is None:
            if all(info.partition_id != self.partition for info in known.partitions):
                raise self.scattered()
            return False
        here = self.router.partition_of(known, self._key).partition_id
        if here == self.partition:
            return False
        if any(self.router.partition_of(known, key).partition_id != here for key in self._keys):
            raise self.scattered()
        self.partition = here
        return True

    def scattered(self) -> Unavailable:
        return Unavailable("the partition was split: ask each of its children for its part", partition=self.partition, split=True)

    def wait(self, until_us: int, go_on: Callable[[], object]) -> bool:
        """go_on: once the map may have changed. False: nobody knows by which map this is."""
        if self._table is None:
            return False
        self.router.maps.add(self._table, until_us, go_on)
        return True


class _Leader(Generic[A]):
    """One request on its way to a leader. An object rather than closures: those would refer to each other, and every request would leave garbage behind
    that only the collector finds."""

    __slots__ = ("_ask", "_deadline", "_done", "_last", "_name", "_pause", "_place", "_tries", "_write")

    def __init__(self, place: Destination, ask: Ask[A], done: Done[A], patience_us: int, *, write: bool) -> None:
        self._write = write
        self._place, self._ask, self._done = place, ask, done
        router = place.router
        self._name = router.leaders.get(place.partition) or router.names[0]
        self._deadline = router.env.clock.boot_us() + patience_us
        self._pause = _FIRST_PAUSE_S
        self._tries = 0
        self._last: ScrubjayError | None = None

    def attempt(self) -> None:
        router = self._place.router
        if self._write and router.closed:
            self._done(stopping())
        else:
            self._ask(router.nodes[self._name], self._place.partition, self._answered)

    def _answered(self, answer: A | ScrubjayError) -> None:
        place = self._place
        router = place.router
        if not isinstance(answer, ScrubjayError):
            if router.leaders.get(place.partition) != self._name:
                router.leaders[place.partition] = self._name
            self._done(answer)
            return
        if not may_retry(answer):
            self._done(answer)
            return
        self._last = answer
        if not self._goes_on():
            return
        self._tries += 1
        if isinstance(answer, NotLeader):
            hint = answer.fields.get("hint")
            names = router.names
            if isinstance(hint, str) and hint in router.nodes and hint != self._name:
                self._name = NodeName(hint)
            else:
                self._name = names[(names.index(self._name) + 1) % len(names)]
            if self._tries < len(names):
                self.attempt()
                return
        router.env.tasks.call_later(self._pause, self.attempt)
        self._pause = min(self._pause * 2, _PAUSE_MAX_S)

    def _goes_on(self) -> bool:
        """Whether the same partition is to be asked again; else it is seen to here."""
        place, last = self._place, self._last
        assert last is not None
        try:
            moved = place.moved()
        except (Unavailable, Missing) as elsewhere:
            self._done(elsewhere)
            return False
        if place.router.env.clock.boot_us() >= self._deadline:
            self._done(Unavailable("no leader for this partition in time", partition=place.partition, last=str(last)))
            return False
        if moved:
            self._moved()
            return False
        if was_split(last):
            if not place.wait(self._deadline, self._goes_on):
                self._done(last)
            return False
        return True

    def _moved(self) -> None:
        """A child's leader is most likely where the parent's was."""
        self._tries, self._pause = 0, _FIRST_PAUSE_S
        self._name = self._place.router.leaders.get(self._place.partition) or self._name
        self.attempt()


class _AnyReplica(Generic[A]):
    """One read on its way to whichever replica serves, in the order given; starts over until the time is up. floor: applied at least this far.

    Who says nothing for a while is not waited for alone: the next one is asked too, and the first answer counts. A connection that lives and brings no answer, or a node that is held up, holds up no such read."""

    __slots__ = ("_ask", "_asked", "_deadline", "_done", "_floor", "_last", "_order", "_over", "_place", "_timer", "_tried")

    def __init__(self, place: Destination, ask: AskAny[A], done: Done[A], patience_us: int, order: list[NodeName], *, floor: Lsn) -> None:
        self._place, self._ask, self._done, self._order, self._floor = place, ask, done, order, floor
        self._deadline = place.router.env.clock.boot_us() + patience_us
        self._tried = self._asked = 0
        self._last: ScrubjayError | None = None
        self._over = False
        self._timer: Timer | None = None

    def attempt(self) -> None:
        if self._over:
            return
        name = self._order[self._tried % len(self._order)]
        self._asked += 1
        asked = self._asked
        self._ask(self._place.router.nodes[name], self._place.partition, partial(self._answered, asked), False, self._floor)
        if not self._over and self._asked == asked and self._tried < asked:
            self._timer = self._place.router.env.tasks.call_later(ANOTHER_S, partial(self._late, asked, name))

    def _answered(self, asked: int, answer: A | ScrubjayError) -> None:
        if self._over:
            return
        if not isinstance(answer, ScrubjayError) or is_dropped(answer):
            self._end(answer)
            return
        if isinstance(answer, Corrupt):
            self._floor = max(self._floor, Lsn(int(answer.fields.get("applied", 0))))
        if asked == self._asked and self._tried < asked:  # else the next one has been asked already
            self._next(answer)

    def _late(self, asked: int, name: NodeName) -> None:
        if not self._over and asked == self._asked and self._tried < asked:
            self._next(Unavailable("this copy does not answer", node=name))

    def _next(self, error: ScrubjayError) -> None:
        self._stop_timer()
        self._tried += 1
        self._last = error
        self._go_on()

    def _end(self, answer: A | ScrubjayError) -> None:
        self._over = True
        self._stop_timer()
        self._done(answer)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _go_on(self) -> None:
        if self._over:
            return
        place, last = self._place, self._last
        assert last is not None
        try:
            moved = place.moved()
        except (Unavailable, Missing) as elsewhere:
            self._end(elsewhere)
            return
        if place.router.env.clock.boot_us() >= self._deadline:
            self._end(Unavailable("no replica could answer in time", partition=place.partition, last=str(last)))
        elif moved or self._tried % len(self._order):
            self.attempt()
        elif was_split(last):
            if not place.wait(self._deadline, self._go_on):
                self._end(last)
        else:
            place.router.env.tasks.call_later(_PAUSE_MAX_S, self.attempt)


def keys_of(command: WriteCommand) -> Sequence[bytes]:
    """Every key that a command is about, if it is about several. What an index is fed is one record: how far that is, and all rows."""
    if isinstance(command, FeedCommand):
        return [key for _, key, _ in command.rows]
    if isinstance(command, PrepareCommand):
        return [part.key for part in command.parts]
    return command.keys if isinstance(command, LookCommand) else ()


def stopping() -> Unavailable:
    """What a write is told that was not proposed when this process began to stop: ask again, elsewhere or later."""
    return Unavailable("the server is stopping")


def may_retry(error: ScrubjayError) -> bool:
    """Whether asking again can do no harm and may help: never after a proposal whose outcome is unknown."""
    return isinstance(error, Unavailable) and not isinstance(error, DiskFull) and not error.fields.get("unknown")
