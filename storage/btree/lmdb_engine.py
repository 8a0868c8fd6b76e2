"""The tree engine on LMDB: the node reads through its own environments, one `write` worker makes every change, one `scan` worker serves pins.

Guarantees: a tree is walked in the worker before the node touches it; a worker that dies while verifying makes that tree Corrupt, not the node; a worker
that dies in a checkpoint is replaced and the checkpoint repeated once (commits are atomic and name the LSN they continue, so a repeat is safe).
Callbacks run on the loop. Loop-agnostic: processes come through `SpawnWorker` (`base.real.worker_process` in production).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import lmdb

from base.env import Disk
from base.errors import Corrupt, Exists, Internal, Missing, ScrubjayError, Unavailable
from base.ids import Lsn, PartitionId, uuid_bytes
from storage.btree import wire
from storage.btree.engine import EMPTY, Change, Done, PinnedTree, Row, RowFact, ScanResult, Tree, TreeState
from storage.btree.lmdb_tree import TreeReader, error_of, open_databases, open_environment
from storage.digest import RangeDigest, Total

OPENING = "opening"
OPEN_ATTEMPTS_MAX = 5
"""Opens of one tree that may be cut short one after another before it is held suspect for killing the process."""
SPAWNS_WITHOUT_HELLO_MAX = 3


class WorkerLink(Protocol):
    """A running worker process."""

    def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class SpawnWorker(Protocol):
    """Start `python <arguments>`. on_exit: once, unless the link was closed."""

    def __call__(self, arguments: Sequence[str], *, on_data: Callable[[bytes], None], on_exit: Callable[[str], None]) -> WorkerLink: ...


Reply = Callable[[Any | ScrubjayError], None]


class _Call:
    """A request under way. repeat: it may be sent again to a new worker."""

    __slots__ = ("frame", "repeat", "reply")

    def __init__(self, frame: bytes, reply: Reply, repeat: int) -> None:
        self.frame = frame
        self.reply = reply
        self.repeat = repeat


class _Worker:
    """One role's process, started when first needed and replaced when it dies. in_order: requests are served first in, first out."""

    def __init__(self, spawn: SpawnWorker, arguments: Sequence[str], *, in_order: bool) -> None:
        self._spawn = spawn
        self._arguments = tuple(arguments)
        self._in_order = in_order
        self._link: WorkerLink | None = None
        self._frames = wire.FrameReader()
        self._calls: dict[int, _Call] = {}
        self._next = 1
        self._silent = 0
        self._closed = False
        self.deaths = 0

    def next_id(self) -> int:
        self._next += 1
        return self._next

    def call(self, request: wire.Request, reply: Reply, *, repeat: int = 0) -> None:
        """Send; `reply` gets the answer's value or its error. A request that was being served when the worker died is repeated `repeat` times."""
        call = _Call(wire.encode(request), reply, repeat)
        self._calls[request.id] = call
        self._started().send(call.frame)

    def tell(self, request: wire.Request) -> None:
        """Send what has no answer."""
        if self._link is not None:
            self._link.send(wire.encode(request))

    def _started(self) -> WorkerLink:
        if self._closed:
            raise Unavailable("the tree engine is closed")
        if self._link is None:
            self._frames = wire.FrameReader()
            self._link = self._spawn(self._arguments, on_data=self._data, on_exit=self._exited)
        return self._link

    def _data(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            answer = wire.decode_answer(body)
            if answer.id == 0:
                self._silent = 0
                continue
            call = self._calls.pop(answer.id, None)
            if call is not None:
                error = wire.error_of(answer)
                call.reply(answer.value if error is None else error)

    def _exited(self, status: str) -> None:
        self._link = None
        self.deaths += 1
        self._silent += 1
        calls, self._calls = self._calls, {}
        lost: list[_Call] = []
        kept: dict[int, _Call] = {}
        for number, (id_, call) in enumerate(calls.items()):
            # Only what was being served can have killed it; what waits behind is sent again.
            suspected = self._silent == 1 and (number == 0 or not self._in_order)
            if self._silent > SPAWNS_WITHOUT_HELLO_MAX or (suspected and call.repeat == 0):
                lost.append(call)
                continue
            call.repeat -= suspected
            kept[id_] = call
        self._calls = kept
        if kept:
            link = self._started()
            for call in kept.values():
                link.send(call.frame)
        for call in lost:
            call.reply(Unavailable("the storage worker died", status=status))

    def close(self) -> None:
        self._closed = True
        if self._link is not None:
            self._link.close()
            self._link = None
        self._calls = {}


class LmdbEngine:
    """Implements `storage.btree.engine.TreeEngine`. root: the node's folder on the machine; disk: the same folder as a port."""

    def __init__(self, root: str, disk: Disk, spawn: SpawnWorker) -> None:
        self._root = root
        self._disk = disk
        arguments = ("-m", "storage.btree.worker")
        parent = str(os.getpid())
        self._writer = _Worker(spawn, (*arguments, "write", root, parent), in_order=True)
        self._scanner = _Worker(spawn, (*arguments, "scan", root, parent), in_order=False)
        self._open: dict[PartitionId, LmdbTree] = {}

    def folder(self, partition: PartitionId) -> str:
        """Below the node's folder."""
        return f"replicas/{partition}"

    def create(self, partition: PartitionId, done: Done[Tree]) -> None:
        self._build(partition, None, EMPTY, done, replace=False)

    def load(self, partition: PartitionId, path: str, state: TreeState, done: Done[Tree]) -> None:
        self._build(partition, path, state, done, replace=True)

    def _build(self, partition: PartitionId, path: str | None, state: TreeState, done: Done[Tree], *, replace: bool) -> None:
        if partition in self._open:
            done(Exists("tree is open", key=partition))
            return

        def built(answer: Any | ScrubjayError) -> None:
            done(answer if isinstance(answer, ScrubjayError) else self._read(partition, answer))

        request = wire.Build(self._writer.next_id(), partition, path, state.applied, state.stamp, state.extra, replace)
        self._writer.call(request, built, repeat=1)

    def open(self, partition: PartitionId, done: Done[Tree]) -> None:
        """The marker `opening` counts opens that were cut short. One there: every row is verified. OPEN_ATTEMPTS_MAX of them: the tree is suspect."""
        if partition in self._open:
            done(Exists("tree is open", key=partition))
            return
        folder = self.folder(partition)
        if not self._disk.exists(folder):
            done(Missing("no such tree", what=partition))
            return
        marker = f"{folder}/{OPENING}"
        attempts = _attempts(self._disk.read_file(marker))
        if attempts >= OPEN_ATTEMPTS_MAX:
            done(
                Corrupt(
                    "opening this tree was cut short too often: it may be what kills the process",
                    what="tree",
                    where=partition,
                    attempts=attempts,
                )
            )
            return
        self._disk.write_file(marker, b"%d\n" % (attempts + 1))

        def verified(answer: Any | ScrubjayError) -> None:
            if isinstance(answer, Unavailable):
                answer = Corrupt("the storage worker died while it verified the tree", what="tree", where=partition, cause=str(answer))
            result = answer if isinstance(answer, ScrubjayError) else self._read(partition, answer)
            self._disk.remove(marker)
            self._disk.sync_dir(folder)
            done(result)

        self._writer.call(wire.Open(self._writer.next_id(), partition, attempts > 0), verified)

    def _read(self, partition: PartitionId, facts: Sequence[Any]) -> Tree | ScrubjayError:
        try:
            tree = LmdbTree(self, partition, os.path.join(self._root, self.folder(partition), "btree"))  # noqa: PTH118
        except ScrubjayError as error:
            return error
        if tree.state != (facts[0], facts[1], facts[2]):
            tree.close()
            return Corrupt(
                "node and worker see different tree states", what="tree", where=partition, expected=facts[0], found=tree.state.applied
            )
        self._open[partition] = tree
        return tree

    def checkpoint(self, partition: PartitionId, changes: Sequence[Change], expected: TreeState, state: TreeState, reply: Reply) -> None:
        """Have the worker commit."""
        request = wire.Checkpoint(
            self._writer.next_id(),
            partition,
            expected.applied,
            state.applied,
            state.stamp,
            state.extra,
            changes,  # type: ignore[arg-type]
        )
        self._writer.call(request, reply, repeat=1)

    def pin(self, partition: PartitionId, applied: int, done: Done[PinnedTree]) -> None:
        """See Tree.pin."""
        id_ = self._scanner.next_id()

        def pinned(answer: Any | ScrubjayError) -> None:
            done(answer if isinstance(answer, ScrubjayError) else LmdbPin(self._scanner, id_))

        self._scanner.call(wire.Pin(id_, partition, applied), pinned)

    def closed(self, partition: PartitionId) -> None:
        """A tree was closed by its owner."""
        if self._open.pop(partition, None) is not None:
            self._writer.tell(wire.Close(self._writer.next_id(), partition))

    def set_aside(self, partition: PartitionId, reason: str) -> str:
        if partition in self._open:
            raise Internal("close the tree first", partition=partition)
        source = f"{self.folder(partition)}/btree"
        if not self._disk.exists(source):
            raise Missing("no such tree", what=partition)
        self._writer.tell(wire.Close(self._writer.next_id(), partition))
        self._disk.mkdir("quarantine")
        taken = [name for name in self._disk.listdir("quarantine") if name.startswith(f"{partition}-")]
        target = f"quarantine/{partition}-{len(taken) + 1}"
        self._disk.rename(source, target)
        self._disk.sync_dir("quarantine")
        self._disk.sync_dir(self.folder(partition))
        self._disk.write_file(f"{target}/reason.txt", reason.encode() + b"\n")
        if self._disk.exists(f"{self.folder(partition)}/{OPENING}"):
            self._disk.remove(f"{self.folder(partition)}/{OPENING}")
        return target

    def drop(self, partition: PartitionId) -> None:
        if partition in self._open:
            raise Internal("close the tree first", partition=partition)
        self._writer.tell(wire.Close(self._writer.next_id(), partition))
        self._disk.remove_tree(self.folder(partition))

    def close(self) -> None:
        """End the workers and close every tree. Callbacks of what was under way are not called."""
        self._writer.close()
        self._scanner.close()
        for tree in list(self._open.values()):
            tree.close()
        self._open.clear()


def _attempts(marker: bytes | None) -> int:
    if marker is None:
        return 0
    try:
        return int(marker)
    except ValueError:
        return 1


class LmdbTree:
    """Implements `storage.btree.engine.Tree`: a read transaction of the last checkpoint, renewed after the next."""

    __slots__ = ("_committing", "_databases", "_engine", "_environment", "_generation", "_partition", "_raw", "_reader", "_state")

    def __init__(self, engine: LmdbEngine, partition: PartitionId, path: str) -> None:
        self._engine = engine
        self._partition = partition
        self._raw = uuid_bytes(partition)
        self._environment = open_environment(path, write=False)
        self._committing = False
        self._generation = 0
        self._reader: TreeReader | None = None
        try:
            self._databases = open_databases(self._environment, create=False)
            self._renew()
        except ScrubjayError:
            self._environment.close()
            raise

    def _renew(self) -> None:
        """Move to the newest checkpoint. Iterators of the one before end with an error."""
        if self._reader is not None:
            self._reader.transaction.abort()
        self._generation += 1
        try:
            transaction = self._begin()
        except lmdb.Error as error:
            raise error_of(error) from error
        self._reader = TreeReader(transaction, self._databases, self._raw)
        self._state = self._reader.facts().state

    def get(self, key: bytes, *, proven: bool = True) -> Row | None:
        if self._reader is None:
            raise Internal("tree is closed", partition=self._partition)
        return self._reader.get(key, proven=proven)

    def _begin(self) -> Any:
        try:
            return self._environment.begin()
        except lmdb.MapResizedError:
            self._environment.set_mapsize(0)  # the worker made the map larger
            return self._environment.begin()

    @property
    def state(self) -> TreeState:
        return self._state

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        if self._reader is None:
            raise Internal("tree is closed", partition=self._partition)
        generation = self._generation
        rows = self._reader.range(start, end, reverse=reverse)
        while True:
            if self._generation != generation:
                raise Internal("range iterator used across a checkpoint", partition=self._partition)
            row = next(rows, None)
            if row is None:
                return
            yield row

    def checkpoint(self, changes: Sequence[Change], state: TreeState, done: Done[None]) -> None:
        if self._committing:
            raise Internal("one checkpoint at a time", partition=self._partition)
        self._committing = True

        def committed(answer: Any | ScrubjayError) -> None:
            self._committing = False
            if isinstance(answer, ScrubjayError):
                done(answer)
                return
            if self._reader is None:
                done(Unavailable("tree was closed", what=self._partition))
                return
            try:
                self._renew()
            except ScrubjayError as error:
                done(error)
                return
            done(None if self._state == state else Corrupt("checkpoint is not there after its commit", what="tree", where=self._partition))

        self._engine.checkpoint(self._partition, changes, self._state, state, committed)

    def pin(self, applied: Lsn, done: Done[PinnedTree]) -> None:
        self._engine.pin(self._partition, applied, done)

    def close(self) -> None:
        if self._reader is None:
            return
        self._reader.transaction.abort()
        self._reader = None
        self._generation += 1
        self._environment.close()
        self._engine.closed(self._partition)


class LmdbPin:
    """Implements `storage.btree.engine.PinnedTree` in the scan worker."""

    def __init__(self, scanner: _Worker, pin: int) -> None:
        self._scanner = scanner
        self._pin = pin

    def digest(self, lo: bytes, hi: bytes | None, *, bytes_per_second: int | None, done: Done[ScanResult]) -> None:
        def scanned(answer: Any | ScrubjayError) -> None:
            if isinstance(answer, ScrubjayError):
                done(answer)
                return
            encoded, bad, structure, size = answer
            digest = RangeDigest(lo, hi)
            digest.load(encoded)
            done(ScanResult(digest, tuple(bad), tuple(structure), size))

        self._scanner.call(wire.Digest(self._scanner.next_id(), self._pin, lo, hi, bytes_per_second), scanned)

    def rows(self, start: bytes, end: bytes | None, done: Done[list[RowFact]]) -> None:
        def scanned(answer: Any | ScrubjayError) -> None:
            if isinstance(answer, ScrubjayError):
                done(answer)
                return
            done([RowFact(key, int.from_bytes(hash_, "little"), Lsn(lsn)) for key, hash_, lsn in answer])

        self._scanner.call(wire.Rows(self._scanner.next_id(), self._pin, start, end), scanned)

    def dump(self, path: str, done: Done[Total]) -> None:
        def dumped(answer: Any | ScrubjayError) -> None:
            done(answer if isinstance(answer, ScrubjayError) else Total(answer[0] << 64 | answer[1], answer[2]))

        self._scanner.call(wire.Dump(self._scanner.next_id(), self._pin, path), dumped)

    def release(self) -> None:
        self._scanner.tell(wire.Release(self._scanner.next_id(), self._pin))
