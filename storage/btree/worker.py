"""The storage worker process: `storage.btree.worker ROLE FOLDER PARENT`, started isolated (base.real.child).

ROLE `write`: the only LMDB writer of a node. It holds a lock in the node's folder, so that an orphan and its successor never write side by side.
ROLE `scan`: reads pinned snapshots for scrubs, at a bounded pace, and gives way. ROLE `check`: the same for a copy that waits for it to serve. FOLDER: the node's folder. PARENT: process id of the node.
Messages: `storage.btree.worker_wire`. A process like all our workers (`base/worker.py`). Being killed anywhere is safe: LMDB commits are atomic, new trees are built aside.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import select
import shutil
import sys
import time  # noqa: TID251  (a process shell: the pace of scans is measured here and nowhere else)
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import lmdb

from scrubjay.base.errors import Exhausted, Exists, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.frames import FrameReader
from scrubjay.base.giving_way import STEP_S, Rests, give_way
from scrubjay.base.ids import Lsn, Stamp, uuid_bytes
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.worker import COMMANDS, READ_BYTES, answer, become_worker, commands
from scrubjay.storage.btree import worker_wire
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.index_page import index_page
from scrubjay.storage.btree.index_rows import with_index_rows
from scrubjay.storage.btree.lmdb_tree import FILE, OPENING, TreeFacts, TreeReader, TreeWriter, error_of, open_databases, open_environment
from scrubjay.storage.btree.rowfile import read_blocks
from scrubjay.storage.btree.scan import scan_cut, scan_digest, scan_dump, scan_rows
from scrubjay.storage.btree.treefile import copy_of
from scrubjay.storage.btree.ttl_page import expired_page
from scrubjay.storage.items.local_index import LocalRows

LOCK_FILE = "storage-worker.lock"
TREE = "btree"
LOADING = "btree.loading"
LOADED = "btree.loaded"
TREES_OPEN_MAX = 64
"""Trees open for writing at once: three descriptors and some memory each."""
_FAILURES = (ScrubjayError, lmdb.Error, OSError, MemoryError)
_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 1 << 20


def replica_folder(root: Path, partition: str) -> Path:
    """Where a replica's tree lives."""
    return root / "replicas" / partition


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WriteRole:
    """Handles one request after another. Of all trees it keeps those open that were written last, TREES_OPEN_MAX of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trees: OrderedDict[str, TreeWriter] = OrderedDict()

    def answer(self, request: worker_wire.Request) -> worker_wire.Answer:
        """Handle; whatever goes wrong is in the answer."""
        try:
            return worker_wire.Answer(request.id, "", "", {}, self.handle(request))
        except _FAILURES as error:
            if isinstance(request, worker_wire.Checkpoint | worker_wire.Open | worker_wire.Build | worker_wire.CopyTree):
                self._close(request.partition)  # LMDB refuses an environment in which a write failed: the next request opens it anew
            return worker_wire.failure(request.id, error_of_machine(error))

    def handle(self, request: worker_wire.Request) -> Any:
        """The answer's value. Raises ScrubjayError, OSError, MemoryError."""
        match request:
            case worker_wire.Checkpoint():
                tree = self._opened(request.partition)
                state = TreeState(Lsn(request.applied), Stamp(request.stamp), request.extra)
                changes = [Change(key, Lsn(lsn), Stamp(stamp), item) for key, lsn, stamp, item in request.changes]
                return _facts(tree.checkpoint(changes, state, expected=request.expected))
            case worker_wire.Open():
                return _facts(self._verified(request.partition))
            case worker_wire.Build():
                return _facts(self._build(request))
            case worker_wire.CopyTree():
                return _facts(self._adopt(request))
            case worker_wire.Close():
                self._close(request.partition)
                return None
            case _:
                raise Internal("request is for the scan worker", request=type(request).__name__)

    def _folder(self, partition: str) -> Path:
        return replica_folder(self._root, partition)

    def _opened(self, partition: str) -> TreeWriter:
        tree = self._trees.get(partition)
        if tree is not None:
            self._trees.move_to_end(partition)
            return tree
        path = self._folder(partition) / TREE
        if not (path / FILE).exists():
            raise Missing("no such tree", what=partition)
        while len(self._trees) >= TREES_OPEN_MAX:
            self._trees.popitem(last=False)[1].close()
        tree = self._trees[partition] = TreeWriter(str(path), uuid_bytes(partition))
        return tree

    def _verified(self, partition: str) -> TreeFacts:
        """Structure and keys; every row too if the last open was cut short, perhaps by this tree."""
        self._finish_build(partition)
        self._close(partition)
        marker = self._folder(partition) / OPENING
        deep = marker.exists()
        with contextlib.suppress(
            OSError
        ):  # a full disk must not keep a tree closed; all that is lost is that a next open would not look closer
            marker.touch()
        return self._opened(partition).verify(values=deep)

    def _close(self, partition: str) -> None:
        tree = self._trees.pop(partition, None)
        if tree is not None:
            tree.close()

    def _finish_build(self, partition: str) -> None:
        """A tree that was built completely takes its place, also if the last process died in between."""
        folder = self._folder(partition)
        shutil.rmtree(folder / LOADING, ignore_errors=True)
        if (folder / LOADED).exists():
            shutil.rmtree(folder / TREE, ignore_errors=True)
            (folder / LOADED).rename(folder / TREE)
            sync_folder(folder)

    def _build(self, request: worker_wire.Build) -> TreeFacts:
        state = TreeState(Lsn(request.applied), Stamp(request.stamp), request.extra)

        def work(folder: Path) -> None:
            tree = TreeWriter(str(folder), uuid_bytes(request.partition), sync=False, create=True)
            try:
                tree.load(with_index_rows(self._blocks(request.path), LocalRows.decode(request.indexing)), state)
                tree.environment.sync(True)
            finally:
                tree.close()

        return self._aside(request.partition, work, replace=request.replace)

    def _adopt(self, request: worker_wire.CopyTree) -> TreeFacts:
        def work(folder: Path) -> None:
            copy_of(Path(request.path), folder / FILE, size=request.size, hash_=request.hash, move=request.move)

        return self._aside(request.partition, work, replace=True)

    def _aside(self, partition: str, work: Callable[[Path], None], *, replace: bool) -> TreeFacts:
        """Have `work` make a whole, durable tree in a folder of its own, which then takes its place."""
        folder = self._folder(partition)
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
            sync_folder(self._root)
        self._finish_build(partition)
        if not replace and (folder / TREE / FILE).exists():
            raise Exists("tree exists", key=partition)
        self._close(partition)
        try:
            (folder / LOADING).mkdir()
            work(folder / LOADING)
        except _FAILURES:
            shutil.rmtree(folder / LOADING, ignore_errors=True)
            raise
        sync_folder(folder / LOADING)
        (folder / LOADING).rename(folder / LOADED)
        sync_folder(folder)
        self._finish_build(partition)
        return self._opened(partition).facts()

    def _blocks(self, path: str | None) -> Iterator[tuple[list[Row], list[int]]]:
        if path is None:
            return
        descriptor = os.open(self._root / path, os.O_RDONLY)
        try:
            yield from read_blocks(lambda offset, length: os.pread(descriptor, length, offset), os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)


def _facts(facts: TreeFacts) -> list[Any]:
    return [facts.state.applied, facts.state.stamp, facts.state.extra, facts.rows]


class _Job:
    """A scan under way. per_second: how much of what its steps count (bytes, or rows) it may read; None: no bound."""

    def __init__(self, id_: int, steps: Generator[int, None, Any], per_second: int | None) -> None:
        self.id = id_
        self.steps = steps
        self.rate = per_second
        self.not_before = 0.0


class ScanRole:
    """Keeps pins and advances the scans in turn. Environments are shared by the pins of a tree: LMDB allows one per file and process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pins: dict[int, tuple[str, Any, TreeReader]] = {}
        self._environments: dict[str, tuple[Any, Any, int]] = {}
        self._jobs: list[_Job] = []

    def handle(self, request: worker_wire.Request) -> worker_wire.Answer | None:
        """Start what was asked; an answer at once only for pins and errors."""
        try:
            match request:
                case worker_wire.Pin():
                    return worker_wire.Answer(request.id, "", "", {}, self._pin(request))
                case worker_wire.Release():
                    self._release(request.pin)
                case worker_wire.Digest():
                    reader = self._reader(request.pin)
                    steps = scan_digest(reader, request.lo, request.hi, indexed=request.indexed)
                    self._jobs.append(_Job(request.id, steps, request.bytes_per_second))
                case worker_wire.Rows():
                    self._jobs.append(
                        _Job(request.id, _packed_rows(self._reader(request.pin), request.start, request.end, request.limit), None)
                    )
                case worker_wire.ExpiredRows():
                    rows = self._reader(request.pin).raw_rows(request.start)
                    self._jobs.append(_Job(request.id, expired_page(rows, request.wanted), request.rows_per_second))
                case worker_wire.IndexRows():
                    rows = self._reader(request.pin).raw_rows(request.start)
                    self._jobs.append(_Job(request.id, index_page(rows, request.wanted), None))
                case worker_wire.TreeCut():
                    self._jobs.append(_Job(request.id, scan_cut(self._reader(request.pin)), None))
                case worker_wire.Dump():
                    self._jobs.append(_Job(request.id, self._dump(self._reader(request.pin), request), None))
                case _:
                    raise Internal("request is for the write worker", request=type(request).__name__)
        except _FAILURES as error:
            return worker_wire.failure(request.id, error_of_machine(error))
        return None

    def _reader(self, pin: int) -> TreeReader:
        found = self._pins.get(pin)
        if found is None:
            raise Unavailable("no such pin", pin=pin)
        return found[2]

    def _pin(self, request: worker_wire.Pin) -> int:
        path = str(replica_folder(self._root, request.partition) / TREE)
        environment, databases, users = self._environments.get(path) or self._environment(path)
        try:
            transaction = self._begin(environment, users)
        except ScrubjayError:
            if not users:
                environment.close()
            raise
        reader = TreeReader(transaction, databases, uuid_bytes(request.partition))
        self._environments[path] = (environment, databases, users + 1)
        self._pins[request.id] = (path, transaction, reader)
        try:
            applied = reader.facts().state.applied
            if applied != request.applied:
                raise Unavailable("tree is at another LSN", expected=request.applied, found=applied)
        except ScrubjayError:
            self._release(request.id)
            raise
        return applied

    def _environment(self, path: str) -> tuple[Any, Any, int]:
        environment = open_environment(path, write=False)
        try:
            return environment, open_databases(environment, create=False), 0
        except ScrubjayError:
            environment.close()
            raise

    def _begin(self, environment: Any, users: int) -> Any:
        try:
            try:
                return environment.begin()
            except lmdb.MapResizedError:
                if users:  # a map may not move under another pin
                    raise Unavailable("the tree outgrew its map while it is pinned; try again when the other scan is done") from None
                environment.set_mapsize(0)
                return environment.begin()
        except lmdb.Error as error:
            raise error_of(error) from error

    def _release(self, pin: int) -> None:
        found = self._pins.pop(pin, None)
        if found is None:
            return
        path, transaction, _ = found
        transaction.abort()
        environment, databases, users = self._environments[path]
        if users > 1:
            self._environments[path] = (environment, databases, users - 1)
        else:
            del self._environments[path]
            environment.close()

    def _dump(self, reader: TreeReader, request: worker_wire.Dump) -> Generator[int, None, list[int]]:
        target = self._root / request.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(target, "wb") as file:
                total = yield from scan_dump(reader, lambda data: (file.write(data), None)[1], request.start, request.end)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(target.parent)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return [total.sum >> 64, total.sum & (1 << 64) - 1, total.rows]

    def busy(self) -> bool:
        return bool(self._jobs)

    def step(self) -> tuple[list[worker_wire.Answer], float]:
        """Advance every scan that may run now by one piece. Answers that are ready, and seconds until another may run."""
        answers: list[worker_wire.Answer] = []
        now = time.monotonic()
        for job in list(self._jobs):
            if job.not_before > now:
                continue
            try:
                read = next(job.steps)
                if job.rate:
                    job.not_before = max(now, job.not_before) + read / job.rate
            except StopIteration as stop:
                self._jobs.remove(job)
                answers.append(worker_wire.Answer(job.id, "", "", {}, stop.value))
            except _FAILURES as error:
                self._jobs.remove(job)
                answers.append(worker_wire.failure(job.id, error_of_machine(error)))
        wait = min((job.not_before for job in self._jobs), default=now) - time.monotonic()
        return answers, max(0.0, wait)


def _packed_rows(reader: TreeReader, start: bytes, end: bytes | None, limit: int) -> Generator[int, None, list[tuple[bytes, bytes, int]]]:
    facts = yield from scan_rows(reader, start, end, limit)
    return [(fact.key, fact.hash.to_bytes(16, "little"), fact.lsn) for fact in facts]  # msgpack integers end at 64 bits


def error_of_machine(error: ScrubjayError | lmdb.Error | OSError | MemoryError) -> ScrubjayError:
    """The typed error of what went wrong in a worker."""
    if isinstance(error, ScrubjayError):
        return error
    if isinstance(error, lmdb.Error):
        return error_of(error)
    if isinstance(error, MemoryError):
        return Exhausted("the machine has no more memory", what="storage worker")
    return error_of_os(error.errno, what=str(error.filename), action="use a tree's files")


def run_write(root: Path, answers: int) -> None:
    """Serve until the input ends."""
    role = WriteRole(root)
    for body in commands():
        request = worker_wire.decode_request(body)
        outcome = role.answer(request)
        if not isinstance(request, worker_wire.Close):
            answer(answers, worker_wire.encode(outcome))


def run_scan(root: Path, answers: int, rests: Rests | None = None) -> None:
    """Serve until the input ends. rests: of a worker that gives way."""
    role = ScanRole(root)
    frames = FrameReader()
    wait: float | None = None
    while True:
        readable, _, _ = select.select([COMMANDS], [], [], wait)
        if readable:
            data = os.read(COMMANDS, READ_BYTES)
            if not data:
                return
            for body in frames.feed(data):
                request = worker_wire.decode_request(body)
                if isinstance(request, worker_wire.Share):
                    if rests is not None:
                        rests.told(request.share)
                    continue
                outcome = role.handle(request)
                if outcome is not None:
                    answer(answers, worker_wire.encode(outcome))
        if rests is not None:
            rests.bind(bound=role.busy())
        ready, seconds = role.step()
        for outcome in ready:
            answer(answers, worker_wire.encode(outcome))
        wait = seconds if role.busy() else None
        if rests is not None and (wait is None or wait > STEP_S):
            rests.bind(bound=False)  # a wait is no work to look at


def keep_large_blocks_apart() -> None:
    """LMDB asks for 2 MB of zeros per environment and touches little of it. glibc serves that from fresh, untouched pages only while its threshold is fixed:
    left to itself it raises the threshold after the first release, and then each environment costs its 2 MB. No other library has the call: nothing to do."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)


def _keep_out_others(root: Path) -> None:
    """Hold the lock of a node's writer until this process ends. A disk that has no room for it ends the process with a line: it is tried again."""
    try:
        lock = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SystemExit(f"storage worker: {root / LOCK_FILE}: {error.strerror}") from None
    fcntl.flock(lock, fcntl.LOCK_EX)


def main(arguments: list[str]) -> None:
    role, folder, parent = arguments
    answers = become_worker(int(parent))
    root = Path(folder)
    if role == "write":
        _keep_out_others(root)
    keep_large_blocks_apart()
    gc.freeze()
    # Who asked may be gone since: its pipes break a moment before the kernel ends us, and nobody is left to be told of that.
    with contextlib.suppress(BrokenPipeError):
        answer(answers, worker_wire.encode(worker_wire.Answer(0, "", "", {}, os.getpid())))
        if role == "write":
            run_write(root, answers)
        else:
            run_scan(root, answers, give_way() if role == "scan" else None)


if __name__ == "__main__":
    main(sys.argv[1:])
