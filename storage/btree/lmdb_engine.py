"""The tree engine on LMDB: the node reads through its own environments, one `write` worker makes every change, one `scan` worker serves pins, and one `check` worker those of
copies that wait for it to serve: the first of the two gives way to whoever is served.

Guarantees: a tree is walked in the worker before the node touches it. A worker that dies is replaced and what it was doing is repeated (commits are atomic and
name the LSN they continue, so a repeat is safe). Only a tree whose bytes kill every worker that reads them, by a fault of the processor or an abort, is
Corrupt; one that was killed, or could not be started, is a lack of the machine: Unavailable or Exhausted, and nothing is kept of it.
At most `readers_open_max` trees are open for reading in the node; one that rests has no descriptor, no map and no memory, and is opened again when read.
Callbacks run on the loop. Loop-agnostic: processes come through `SpawnWorker` (`base.real.worker_process` in production).
"""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import lmdb

from scrubjay.base.env import Disk
from scrubjay.base.errors import Corrupt, Exhausted, Exists, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.frames import FrameReader
from scrubjay.base.ids import Lsn, PartitionId, Stamp, uuid_bytes
from scrubjay.storage.btree import worker_wire
from scrubjay.storage.btree.engine import (
    EMPTY,
    Change,
    Done,
    ExpiredItem,
    ExpiredPage,
    ExpiredWanted,
    IndexPage,
    IndexWanted,
    PinnedTree,
    Row,
    RowFact,
    ScanResult,
    Tree,
    TreeFile,
    TreeState,
)
from scrubjay.storage.btree.lmdb_tree import FILE, OPENING, TreeReader, error_of, open_databases, open_environment
from scrubjay.storage.btree.split_point import CutPoint
from scrubjay.storage.log.digest import RangeDigest, Total

SPAWNS_WITHOUT_HELLO_MAX = 3
REPEATS = 2
"""How often what a worker was doing when it died is given to the next one."""
READERS_OPEN_MAX = 256
"""Trees of one node that are open for reading at once: two descriptors and `lmdb_tree.map_size_for` of address space each."""
FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
"""Deaths that the bytes being read can cause. Any other (SIGKILL by hand or by the kernel, an exit) has its cause elsewhere."""


class WorkerLink(Protocol):
    """A running worker process."""

    def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class SpawnWorker(Protocol):
    """Start `python -m <module> <arguments>`. on_exit: once, with its exit status, unless the link was closed. Raises Exhausted, Unavailable."""

    def __call__(
        self, module: str, arguments: Sequence[str], *, on_data: Callable[[bytes], None], on_exit: Callable[[int], None]
    ) -> WorkerLink: ...


Reply = Callable[[Any | ScrubjayError], None]
Read = Callable[[Any], Any]
"""What the value of an answer means to who asked, or the error that it is."""


class _Call:
    """A request under way. repeat: times it may be given to another worker yet. deaths: exit statuses of the workers that died serving it."""

    __slots__ = ("deaths", "frame", "read", "repeat", "reply")

    def __init__(self, frame: bytes, reply: Reply, read: Read | None, repeat: int) -> None:
        self.frame = frame
        self.reply = reply
        self.read = read
        self.repeat = repeat
        self.deaths: list[int] = []


class _Worker:
    """One role's process, started when first needed and replaced when it dies. in_order: requests are served first in, first out."""

    def __init__(self, spawn: SpawnWorker, arguments: Sequence[str], *, in_order: bool) -> None:
        self._spawn = spawn
        self._arguments = tuple(arguments)
        self._in_order = in_order
        self._link: WorkerLink | None = None
        self._frames = FrameReader()
        self._calls: dict[int, _Call] = {}
        self._next = 1
        self._silent = 0
        self._closed = False
        self.deaths = 0
        self.greeting: Callable[[int], worker_wire.Request] | None = None
        """What each process is told first, by the id that it goes under; it has no answer."""

    def next_id(self) -> int:
        self._next += 1
        return self._next

    def call(self, request: worker_wire.Request, reply: Reply, *, read: Read | None = None, repeat: int = 0) -> None:
        """Send; `reply` gets what `read` makes of the answer's value (None: the value), or the error. A request that was being served when the worker died is
        repeated `repeat` times."""
        try:
            call = _Call(worker_wire.encode(request), reply, read, repeat)
            link = self._started()
        except ScrubjayError as error:
            reply(error)
            return
        self._calls[request.id] = call
        link.send(call.frame)

    def tell(self, request: worker_wire.Request) -> None:
        """Send what has no answer."""
        if self._link is not None:
            self._link.send(worker_wire.encode(request))

    def _started(self) -> WorkerLink:
        """Raises Unavailable, Exhausted."""
        if self._closed:
            raise Unavailable("the tree engine is closed")
        if self._link is None:
            self._frames = FrameReader()
            self._link = self._spawn("scrubjay.storage.btree.worker", self._arguments, on_data=self._data, on_exit=self._exited)
            if self.greeting is not None:
                self._link.send(worker_wire.encode(self.greeting(self.next_id())))
        return self._link

    def _data(self, data: bytes) -> None:
        """Raises the first bug that was met on the way, once all that came has been handed over."""
        fallen: list[Exception] = []
        for body in self._frames.feed(data):
            answer = worker_wire.decode_answer(body)
            if answer.id == 0:
                self._silent = 0
                continue
            call = self._calls.pop(answer.id, None)
            if call is not None:
                error = worker_wire.error_of(answer)
                _hand_over(call, answer.value if error is None else error, fallen)
        if fallen:
            raise fallen[0]

    def _exited(self, status: int) -> None:
        """Raises as `_data` does."""
        self._link = None
        self.deaths += 1
        self._silent += 1
        calls, self._calls = self._calls, {}
        lost: list[_Call] = []
        kept: dict[int, _Call] = {}
        for number, (id_, call) in enumerate(calls.items()):
            # Only what was being served can have killed it; what waits behind is sent again.
            suspected = self._silent == 1 and (number == 0 or not self._in_order)
            if suspected:
                call.deaths.append(status)
            if self._silent > SPAWNS_WITHOUT_HELLO_MAX or (suspected and call.repeat == 0):
                lost.append(call)
                continue
            call.repeat -= suspected
            kept[id_] = call
        self._calls = kept
        cause: ScrubjayError | None = None
        if kept:
            try:
                link = self._started()
                for call in kept.values():
                    link.send(call.frame)
            except ScrubjayError as error:
                cause, self._calls = error, {}
                lost += kept.values()
        fallen: list[Exception] = []
        for call in lost:
            _hand_over(call, cause or _died(call.deaths or [status]), fallen)
        if fallen:
            raise fallen[0]

    def close(self) -> None:
        self._closed = True
        if self._link is not None:
            self._link.close()
            self._link = None
        self._calls = {}


def _hand_over(call: _Call, outcome: Any | ScrubjayError, fallen: list[Exception]) -> None:
    """Tell who asked. A bug in reading the answer is told as an error: without, whoever asked would wait until its time is over, and hear then only that nothing was heard. It and
    what a reply raises are added to `fallen`: answers to others that came in the same breath still get their turn."""
    try:
        if call.read is not None and not isinstance(outcome, ScrubjayError):
            outcome = call.read(outcome)
    except ScrubjayError as error:
        outcome = error
    except Exception as error:  # noqa: BLE001  raised by whoever calls, when all have been told
        fallen.append(error)
        outcome = Internal("a worker's answer could not be read", cause=repr(error))
    try:
        call.reply(outcome)
    except Exception as error:  # noqa: BLE001  as above
        fallen.append(error)


def _died(deaths: list[int]) -> ScrubjayError:
    """What it means that workers with these exit statuses died over one request."""
    if len(deaths) > 1 and all(-status in FAULTS for status in deaths):
        return Corrupt("its bytes kill every process that reads them", what="tree", signals=[-status for status in deaths])
    last = deaths[-1]
    cause = f"killed by {signal.Signals(-last).name}" if last < 0 else f"exit status {last}"
    return Unavailable("the storage worker died", status=cause, deaths=len(deaths))


class LmdbEngine:
    """Implements `storage.btree.engine.TreeEngine`. root: the node's folder on the machine; disk: the same folder as a port. trees: where tree files lie on this machine, None:
    there are none."""

    def __init__(
        self, root: str, disk: Disk, spawn: SpawnWorker, *, readers_open_max: int = READERS_OPEN_MAX, trees: str | None = None
    ) -> None:
        self._root, self._trees = root, trees
        self._disk = disk
        parent = str(os.getpid())
        self._writer = _Worker(spawn, ("write", root, parent), in_order=True)
        self._scanner = _Worker(spawn, ("scan", root, parent), in_order=False)
        self._checker = _Worker(spawn, ("check", root, parent), in_order=False)
        self._share = 1.0
        self._scanner.greeting = self._told_share
        self._open: dict[PartitionId, LmdbTree] = {}
        self._readers_open_max = readers_open_max
        self._reading: OrderedDict[PartitionId, LmdbTree] = OrderedDict()

    def share(self, share: float) -> None:
        """How much of a core scans that nobody waits for may use from now on, those under way too. 0 < share <= 1."""
        self._share = share
        self._scanner.tell(self._told_share(self._scanner.next_id()))

    def _told_share(self, id_: int) -> worker_wire.Share:
        return worker_wire.Share(id_, self._share)

    def folder(self, partition: PartitionId) -> str:
        """Below the node's folder."""
        return f"replicas/{partition}"

    def create(self, partition: PartitionId, done: Done[Tree]) -> None:
        self._build(partition, None, EMPTY, done, replace=False)

    def load(self, partition: PartitionId, path: str, state: TreeState, done: Done[Tree], *, indexing: bytes = b"") -> None:
        self._build(partition, path, state, done, replace=True, indexing=indexing)

    def adopt(self, partition: PartitionId, made: TreeFile, done: Done[Tree], *, last: bool) -> None:
        if self._trees is None:
            done(Missing("no tree file", what=partition))
            return
        path = os.path.join(self._trees, partition, FILE)  # noqa: PTH118
        self._aside(partition, worker_wire.CopyTree(self._writer.next_id(), partition, path, made.size, made.hash, last), done)

    def _build(
        self, partition: PartitionId, path: str | None, state: TreeState, done: Done[Tree], *, replace: bool, indexing: bytes = b""
    ) -> None:
        request = worker_wire.Build(self._writer.next_id(), partition, path, state.applied, state.stamp, state.extra, replace, indexing)
        self._aside(partition, request, done)

    def _aside(self, partition: PartitionId, request: worker_wire.Build | worker_wire.CopyTree, done: Done[Tree]) -> None:
        if partition in self._open:
            done(Exists("tree is open", key=partition))
            return
        self._writer.call(request, done, read=lambda facts: self._read(partition, facts), repeat=REPEATS)

    def open(self, partition: PartitionId, done: Done[Tree]) -> None:
        """The worker leaves a marker `opening` while it verifies. One that is there says that the last open was cut short: then it verifies every row.

        The marker is not synced: it is to outlive a process, and costs nothing when hundreds of trees are opened.
        """
        if partition in self._open:
            done(Exists("tree is open", key=partition))
            return
        folder = self.folder(partition)
        try:
            known = self._disk.exists(folder)
        except ScrubjayError as error:
            done(error)
            return
        if not known:
            done(Missing("no such tree", what=partition))
            return

        def verified(result: Any | ScrubjayError) -> None:
            try:
                self._disk.remove(f"{folder}/{OPENING}")
            except ScrubjayError as error:
                if isinstance(result, LmdbTree):
                    result.close()
                    result = error
            done(result)

        request = worker_wire.Open(self._writer.next_id(), partition)
        self._writer.call(request, verified, read=lambda facts: self._read(partition, facts), repeat=REPEATS)

    def _read(self, partition: PartitionId, facts: Sequence[Any]) -> Tree:
        """Raises what `LmdbTree.wake` raises."""
        path = os.path.join(self._root, self.folder(partition), "btree")  # noqa: PTH118
        tree = LmdbTree(self, partition, path, TreeState(Lsn(facts[0]), Stamp(facts[1]), facts[2]))
        tree.wake()
        self._open[partition] = tree
        return tree

    def admit(self, tree: LmdbTree, opened: Callable[[], Any]) -> Any:
        """Run `opened` (it opens `tree` for reading) with room made for it: the trees that were read least lately rest. Raises what it raises."""
        while len(self._reading) >= self._readers_open_max:
            self._rest_one()
        try:
            result = opened()
        except Exhausted:
            if not self._reading:
                raise
            for _ in range((len(self._reading) + 1) // 2):
                self._rest_one()
            result = opened()
        self._reading[tree.partition] = tree
        return result

    def _rest_one(self) -> None:
        """The clock algorithm: who was read since the last look is passed over once."""
        while True:
            partition, tree = next(iter(self._reading.items()))
            if not tree.used:
                tree.rest()
                return
            tree.used = False
            self._reading.move_to_end(partition)

    def resting(self, partition: PartitionId) -> None:
        """A tree has closed its environment."""
        self._reading.pop(partition, None)

    def checkpoint(self, partition: PartitionId, changes: Sequence[Change], expected: TreeState, state: TreeState, reply: Reply) -> None:
        """Have the worker commit."""
        request = worker_wire.Checkpoint(
            self._writer.next_id(),
            partition,
            expected.applied,
            state.applied,
            state.stamp,
            state.extra,
            changes,  # type: ignore[arg-type]
        )
        self._writer.call(request, reply, repeat=REPEATS)

    def pin(self, partition: PartitionId, applied: int, done: Done[PinnedTree], *, hurry: bool) -> None:
        """See Tree.pin."""
        worker = self._checker if hurry else self._scanner
        id_ = worker.next_id()
        worker.call(worker_wire.Pin(id_, partition, applied), done, read=lambda _: LmdbPin(worker, id_))

    def closed(self, partition: PartitionId) -> None:
        """A tree was closed by its owner."""
        if self._open.pop(partition, None) is not None:
            self._writer.tell(worker_wire.Close(self._writer.next_id(), partition))

    def _close_orphan(self, partition: PartitionId) -> None:
        tree = self._open.get(partition)
        if tree is not None:
            tree.close()

    def set_aside(self, partition: PartitionId, reason: str) -> str:
        self._close_orphan(partition)
        source = f"{self.folder(partition)}/btree"
        if not self._disk.exists(source):
            raise Missing("no such tree", what=partition)
        self._writer.tell(worker_wire.Close(self._writer.next_id(), partition))
        self._disk.mkdir("quarantine")
        taken = [name.removeprefix(f"{partition}-") for name in self._disk.listdir("quarantine") if name.startswith(f"{partition}-")]
        target = f"quarantine/{partition}-{max((int(number) for number in taken if number.isdecimal()), default=0) + 1}"
        self._disk.rename(source, target)
        self._disk.sync_dir("quarantine")
        self._disk.sync_dir(self.folder(partition))
        self._disk.write_file(f"{target}/reason.txt", reason.encode() + b"\n")
        if self._disk.exists(f"{self.folder(partition)}/{OPENING}"):
            self._disk.remove(f"{self.folder(partition)}/{OPENING}")
        return target

    def drop(self, partition: PartitionId) -> None:
        self._close_orphan(partition)
        self._writer.tell(worker_wire.Close(self._writer.next_id(), partition))
        self._disk.remove_tree(self.folder(partition))

    def close(self) -> None:
        """End the workers and close every tree. Callbacks of what was under way are not called."""
        self._writer.close()
        self._scanner.close()
        self._checker.close()
        for tree in list(self._open.values()):
            tree.close()
        self._open.clear()


class LmdbTree:
    """Implements `storage.btree.engine.Tree`: a read transaction of the last checkpoint, renewed after the next.

    It may rest: no environment is open then, and the next read opens it again (`LmdbEngine.admit`). used: it was read since the engine last looked.
    What is on disk may be one checkpoint ahead of what is known here: from its commit in the worker until the answer, or for good if the answer was lost.
    """

    __slots__ = (
        "_ahead",
        "_closed",
        "_committing",
        "_databases",
        "_engine",
        "_environment",
        "_generation",
        "_path",
        "_raw",
        "_reader",
        "_state",
        "partition",
        "used",
    )

    def __init__(self, engine: LmdbEngine, partition: PartitionId, path: str, state: TreeState) -> None:
        """state: as the worker that verified the tree found it. Call `wake` before anything else."""
        self._engine = engine
        self.partition = partition
        self._raw = uuid_bytes(partition)
        self._path = path
        self._state = state
        self._environment: Any = None
        self._databases: Any = None
        self._committing = False
        self._ahead: TreeState | None = None
        """Where the last checkpoint leads: the tree on disk is at `_state` or there, until its success is told."""
        self._closed = False
        self._generation = 0
        self._reader: TreeReader | None = None
        self.used = True

    # --- open, resting, closed ---

    def wake(self) -> TreeReader:
        """Open the environment and a read transaction at the known state, or at the one that is being committed.

        Either is right to read: whoever checkpoints keeps in its overlay what is not known to be durable.
        Raises Corrupt if another state is there, Exhausted, Unavailable.
        """
        if self._closed:
            raise Internal("tree is closed", partition=self.partition)
        reader: TreeReader = self._engine.admit(self, self._opened)
        self._reader = reader
        self.used = True
        return reader

    def _opened(self) -> TreeReader:
        environment = open_environment(self._path, write=False)
        try:
            databases = open_databases(environment, create=False)
            reader = TreeReader(_begin(environment), databases, self._raw)
            found = reader.facts().state
            if found not in (self._state, self._ahead):
                raise Corrupt(
                    "the tree is not at the state it had",
                    what="tree",
                    where=self.partition,
                    expected=self._state.applied,
                    found=found.applied,
                )
        except ScrubjayError:
            environment.close()
            raise
        self._environment, self._databases = environment, databases
        return reader

    def rest(self) -> None:
        """Close the environment; the tree stays usable. Iterators of it end with an error."""
        if self._reader is None:
            return
        self._reader.transaction.abort()
        self._reader = None
        self._generation += 1
        self._environment.close()
        self._environment = self._databases = None
        self._engine.resting(self.partition)

    def close(self) -> None:
        if self._closed:
            return
        self.rest()
        self._closed = True
        self._engine.closed(self.partition)

    def _renew(self, state: TreeState) -> None:
        """Move to the newest checkpoint, which must be `state`. Iterators of the one before end with an error."""
        if self._reader is None:
            self._state = state
            return  # whoever wakes it looks
        self._reader.transaction.abort()
        self._generation += 1
        try:
            self._reader = TreeReader(_begin(self._environment), self._databases, self._raw)
            self._state = self._reader.facts().state
        except ScrubjayError:
            self._state = state
            self.rest()  # nothing may be read from an aborted transaction
            raise

    # --- reading ---

    def get(self, key: bytes, *, proven: bool = True) -> Row | None:
        reader = self._reader
        if reader is None:
            reader = self.wake()
        self.used = True
        return reader.get(key, proven=proven)

    @property
    def state(self) -> TreeState:
        return self._state

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        reader = self._reader
        if reader is None:
            reader = self.wake()
        self.used = True
        generation = self._generation
        rows = reader.range(start, end, reverse=reverse)
        while True:
            if self._generation != generation:
                raise Internal("range iterator used across a checkpoint", partition=self.partition)
            row = next(rows, None)
            if row is None:
                return
            yield row

    # --- changing ---

    def checkpoint(self, changes: Sequence[Change], state: TreeState, done: Done[None]) -> None:
        if self._committing:
            raise Internal("one checkpoint at a time", partition=self.partition)
        self._committing = True
        self._ahead = state

        def committed(answer: Any | ScrubjayError) -> None:
            self._committing = False
            if isinstance(answer, ScrubjayError):
                done(answer)
                return
            if self._closed:
                done(Unavailable("tree was closed", what=self.partition))
                return
            try:
                self._renew(state)
            except ScrubjayError as error:
                if not isinstance(error, Unavailable):
                    done(error)
                    return
                # Committed all the same: the tree rests now, and the next read opens it again or says what is in the way.
            done(None if self._state == state else Corrupt("checkpoint is not there after its commit", what="tree", where=self.partition))

        self._engine.checkpoint(self.partition, changes, self._state, state, committed)

    def pin(self, applied: Lsn, done: Done[PinnedTree], *, hurry: bool = False) -> None:
        self._engine.pin(self.partition, applied, done, hurry=hurry)


def _begin(environment: Any) -> Any:
    """A read transaction. Raises typed errors."""
    try:
        try:
            return environment.begin()
        except lmdb.MapResizedError:
            environment.set_mapsize(0)  # the worker made the map larger
            return environment.begin()
    except lmdb.Error as error:
        raise error_of(error) from error


class LmdbPin:
    """Implements `storage.btree.engine.PinnedTree` in the worker that pinned it."""

    def __init__(self, scanner: _Worker, pin: int) -> None:
        self._scanner = scanner
        self._pin = pin

    def digest(self, lo: bytes, hi: bytes | None, *, bytes_per_second: int | None, done: Done[ScanResult], indexed: bool = False) -> None:
        def scanned(answer: Any) -> ScanResult:
            encoded, bad, structure, size, index = answer
            digest = RangeDigest(lo, hi)
            digest.load(encoded)
            return ScanResult(digest, tuple(bad), tuple(structure), size, index)

        self._scanner.call(worker_wire.Digest(self._scanner.next_id(), self._pin, lo, hi, bytes_per_second, indexed), done, read=scanned)

    def rows(self, start: bytes, end: bytes | None, limit: int, done: Done[list[RowFact]]) -> None:
        def scanned(answer: Any) -> list[RowFact]:
            return [RowFact(key, int.from_bytes(hash_, "little"), Lsn(lsn)) for key, hash_, lsn in answer]

        self._scanner.call(worker_wire.Rows(self._scanner.next_id(), self._pin, start, end, limit), done, read=scanned)

    def expired(self, start: bytes, wanted: ExpiredWanted, done: Done[ExpiredPage], *, rows_per_second: int | None) -> None:
        def scanned(answer: Any) -> ExpiredPage:
            found, next_, rows = answer
            return ExpiredPage(tuple([ExpiredItem(*one) for one in found]), next_, rows)

        self._scanner.call(worker_wire.ExpiredRows(self._scanner.next_id(), self._pin, start, wanted, rows_per_second), done, read=scanned)

    def index_rows(self, start: bytes, wanted: IndexWanted, done: Done[IndexPage]) -> None:
        def scanned(answer: Any | ScrubjayError) -> None:
            if isinstance(answer, ScrubjayError):
                done(answer)
                return
            found, next_, rows = answer
            done(IndexPage(tuple([(lsn, key, value) for lsn, key, value in found]), next_, rows))

        self._scanner.call(worker_wire.IndexRows(self._scanner.next_id(), self._pin, start, wanted), scanned)

    def cut(self, done: Done[CutPoint | None]) -> None:
        def found(answer: Any) -> CutPoint | None:
            return None if answer is None else CutPoint(*answer)

        self._scanner.call(worker_wire.TreeCut(self._scanner.next_id(), self._pin), done, read=found)

    def dump(self, path: str, done: Done[Total], *, start: bytes = b"", end: bytes | None = None) -> None:
        def dumped(answer: Any) -> Total:
            return Total(answer[0] << 64 | answer[1], answer[2])

        self._scanner.call(worker_wire.Dump(self._scanner.next_id(), self._pin, path, start, end), done, read=dumped)

    def release(self) -> None:
        self._scanner.tell(worker_wire.Release(self._scanner.next_id(), self._pin))
