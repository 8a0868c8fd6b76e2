"""One turn: the only code that turns a group's `Ready` into queued frames, messages that may leave at once, chosen records, and messages that wait for the sync.

Order within a turn: what groups want persisted is queued, what may leave now is boxed, the batch is committed, what is boxed leaves; only when the batch
is synced is boxed what waited for it. The next batch collects while the present one syncs (group commit).

A log without room takes no data: what was accepted waits in a backlog, in order, while control frames go on. The backlog is tried again by itself; what
waits for a replica that is gone meanwhile goes with it. It is bounded: beyond `BACKLOG_BYTES` the node takes no more records from its peers (`choked`), who
send them again as if they had been lost.

Every callback enters through `Shell.guarded`: what escapes there is a broken rule of ours, and the node fails stop.

Production's node and the simulator's consensus profile run this same class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, Protocol

from scrubjay.base.env import Tasks, Timer
from scrubjay.base.errors import Corrupt, DiskFull, ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.ready import Envelope, Ready
from scrubjay.storage.replica.host import Driven
from scrubjay.storage.wal.port import Append, Frame

P = ParamSpec("P")

RETRY_FULL_S = 0.5
BACKLOG_BYTES = 16 << 20
"""Records accepted in memory that found no room in the log, over all partitions of a node."""


class TurnWal(Protocol):
    """What the turn needs of a WAL (`storage.wal.port.WalLog` is one)."""

    @property
    def short(self) -> bool: ...
    @property
    def committing(self) -> bool: ...
    @property
    def queued(self) -> int: ...
    def queue(self, frame: Frame) -> None: ...
    def roomy(self) -> bool: ...
    def commit(self, done: Callable[[ScrubjayError | None], None]) -> bool: ...


class Shell(Protocol):
    """The node around a turn. running: False once it failed or stops; then nothing is carried out any more."""

    @property
    def running(self) -> bool: ...

    def post(self, partition: PartitionId, envelopes: Sequence[Envelope]) -> None:
        """Box messages of a group."""
        ...

    def send(self) -> None:
        """Everything boxed leaves."""
        ...

    def before_commit(self) -> None:
        """The last moment to queue frames for the batch of this turn."""
        ...

    def turned(self) -> None:
        """The turn is over."""
        ...

    def fail(self, error: ScrubjayError) -> None:
        """The WAL is not to be trusted any more."""
        ...

    def guarded(self, work: Callable[P, object]) -> Callable[P, None]:
        """`work` as a callback from outside: an exception that escapes it fails the node."""
        ...

    def room_changed(self, full: bool, reason: str) -> None:
        """The log has no room for data beside its reserve, or has it again."""
        ...


class _Waiting(NamedTuple):
    """Frames of one Ready that found no room."""

    driven: Driven
    token: int
    frames: tuple[Frame, ...]


class Turn:
    """full: no new data may be proposed here; the log has no room beside its reserve."""

    def __init__(self, *, tasks: Tasks, wal: TurnWal, shell: Shell) -> None:
        self._tasks, self._wal, self._shell = tasks, wal, shell
        self.full = False
        self._dirty: dict[PartitionId, Driven] = {}
        self._scheduled = False
        self._tokens: list[tuple[Driven, int]] = []
        self._controls: list[Callable[[], None]] = []
        self._backlog: deque[_Waiting] = deque()
        self._backlog_bytes = 0
        self.at: PartitionId | None = None
        """Whose Ready is being carried out, for the one who has to say where a rule was broken."""
        self._retry: Timer | None = None

    # ------------------------------------------------------------------ what the node says

    def touch(self, driven: Driven) -> None:
        """Something happened in this group: look at its Ready at the end of the turn."""
        self._dirty[driven.partition] = driven
        self.schedule()

    @property
    def choked(self) -> bool:
        """More waits for room than may: records that come in now are not taken."""
        return self._backlog_bytes > BACKLOG_BYTES

    def forget(self, partition: PartitionId) -> None:
        """The replica is gone: nothing of it is carried out any more, and what it had waiting gives its place up."""
        self._dirty.pop(partition, None)
        kept = [waiting for waiting in self._backlog if waiting.driven.partition != partition]
        if len(kept) < len(self._backlog):
            self._backlog = deque(kept)
            self._backlog_bytes = sum(_size(waiting.frames) for waiting in kept)

    def control(self, frame: Frame, synced: Callable[[], None] | None = None) -> None:
        """A frame of the node's own; `synced` runs once it is durable."""
        try:
            self._wal.queue(frame)
        except ScrubjayError as error:
            self._shell.fail(error)
            return
        if synced is not None:
            self._controls.append(synced)
        self.schedule()

    def after_sync(self, synced: Callable[[], None]) -> None:
        """`synced` runs once everything queued so far is durable."""
        self._controls.append(synced)
        self.schedule()

    def schedule(self) -> None:
        """Run a turn after the present one."""
        if not self._scheduled:
            self._scheduled = True
            self._tasks.call_soon(self._shell.guarded(self.run))

    def stop(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # ------------------------------------------------------------------ the turn

    def run(self) -> None:
        """Carry out what all touched groups want, then commit and send."""
        self._scheduled = False
        if not self._shell.running:
            self._dirty.clear()
            return
        while self._dirty:
            touched, self._dirty = self._dirty, {}
            for driven in touched.values():
                if driven.group is not None and not driven.stopped:
                    self.at = driven.partition
                    self._drain_checked(driven, driven.group)
        self.at = None
        self._shell.before_commit()
        self._commit()
        self._shell.send()
        self._shell.turned()

    def _drain_checked(self, driven: Driven, group: Group) -> None:
        try:
            self._drain(driven, group)
        except Corrupt as error:
            driven.log_failed(error)

    def _drain(self, driven: Driven, group: Group) -> None:
        ready = group.ready()
        while ready is not None:
            self._persist(driven, ready)
            self._carry_out(driven, ready)
            ready = group.ready()
        driven.drained()

    def _carry_out(self, driven: Driven, ready: Ready) -> None:
        self._shell.post(driven.partition, ready.send_now)
        if ready.install_from is not None:
            driven.install_from(ready.install_from)
        if ready.deposed:
            driven.deposed()
        if ready.elected is not None:
            driven.elected()
        if ready.chosen:
            driven.take_chosen(ready.chosen)

    # ------------------------------------------------------------------ persist

    def _persist(self, driven: Driven, ready: Ready) -> None:
        if not ready.persist:
            return
        if self._backlog:
            self._backlog.append(_Waiting(driven, ready.token, ready.persist))
            self._backlog_bytes += _size(ready.persist)
            return
        self._queue(driven, ready.token, ready.persist)

    def _queue(self, driven: Driven, token: int, frames: tuple[Frame, ...]) -> bool:
        """False: there was no room (what is left waits in front of the backlog), or the node failed."""
        for at, frame in enumerate(frames):
            try:
                self._wal.queue(frame)
            except DiskFull as error:
                self._backlog.appendleft(_Waiting(driven, token, frames[at:]))
                self._backlog_bytes += _size(frames[at:])
                self._is_full(f"{error.message}: appends wait")
                return False
            except Corrupt as error:
                self._shell.fail(error)
                return False
        self._tokens.append((driven, token))
        if self._wal.short:
            self._is_full("the log has no room for data beside its reserve: writes are refused")
        return True

    def _commit(self) -> None:
        if self._wal.committing or (not self._wal.queued and not self._tokens and not self._controls):
            return
        tokens, self._tokens = self._tokens, []
        controls, self._controls = self._controls, []

        def done(error: ScrubjayError | None) -> None:
            if not self._shell.running:
                return
            if error is not None:
                self._shell.fail(error)
                return
            for control in controls:
                control()
            self._persisted(tokens)
            self._commit()

        if not self._wal.commit(self._shell.guarded(done)):
            for control in controls:
                control()
            self._persisted(tokens)

    def _persisted(self, tokens: list[tuple[Driven, int]]) -> None:
        """The batch is synced: what waited for it may leave."""
        for driven, token in tokens:
            group = driven.group
            if group is not None and not driven.stopped:
                self._shell.post(driven.partition, group.persisted(token))
                self._dirty[driven.partition] = driven
        if tokens:
            self.run()

    # ------------------------------------------------------------------ a full log

    def _is_full(self, reason: str) -> None:
        """No more data is proposed here until there is room; what was proposed and the bookkeeping that makes room go on."""
        if not self.full:
            self.full = True
            self._shell.room_changed(True, reason)
        if self._retry is None:
            self._retry = self._tasks.call_later(RETRY_FULL_S, self._shell.guarded(self._retry_full))

    def _retry_full(self) -> None:
        self._retry = None
        if not self._shell.running:
            return
        while self._backlog:
            waiting = self._backlog.popleft()
            self._backlog_bytes -= _size(waiting.frames)
            if not self._queue(*waiting):
                return
        if not self._wal.roomy():
            self._is_full("")
        elif self.full:
            self.full = False
            self._shell.room_changed(False, "the log has room again")
        self._commit()


def _size(frames: tuple[Frame, ...]) -> int:
    """Bytes of the records in `frames`."""
    return sum(len(record.data) for frame in frames if isinstance(frame, Append) for record in frame.records)
