"""A model of the tree engine for the simulator: durable and volatile state apart, the same checks as the real one, rot on demand.

`MemoryTrees` is what survives a crash of the node (its disk); `MemoryEngine` is one life of the node on it. Rows are kept in the real row encoding, so a
flipped bit is found by the real check; what the fences of the real tree know (which keys there must be) is kept beside them, so a row that vanished or
appeared is found where the real tree finds it: by misses, ranges and scans, not by a point hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sortedcontainers import SortedDict

from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Disk, Tasks
from scrubjay.base.errors import Corrupt, Exists, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import PartitionId
from scrubjay.storage.btree.engine import (
    EMPTY,
    Change,
    Done,
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
from scrubjay.storage.btree.index_page import index_page
from scrubjay.storage.btree.index_rows import IndexTally, with_index_rows
from scrubjay.storage.btree.memory_treefile import rows_taken
from scrubjay.storage.btree.row import corrupt_row, decode_value, encode_value, lsn_of
from scrubjay.storage.btree.rowfile import RowFileWriter, read_blocks
from scrubjay.storage.btree.split_point import CutPoint, SplitPoint
from scrubjay.storage.btree.ttl_page import expired_page
from scrubjay.storage.items.local_index import LocalRows, is_entry
from scrubjay.storage.log.digest import RangeDigest, Total


class TreeContent:
    """One tree as it lies on the disk. rows: key to encoded value. known: key to row hash, what the fences add up."""

    __slots__ = ("broken", "known", "rows", "state")

    def __init__(self) -> None:
        self.rows: SortedDict[bytes, bytes] = SortedDict()
        self.known: SortedDict[bytes, int] = SortedDict()
        self.state: TreeState = EMPTY
        self.broken = ""
        """Why the structure cannot be read, or ""."""

    def copy(self) -> TreeContent:
        other = TreeContent()
        other.rows, other.known = self.rows.copy(), self.known.copy()
        other.state, other.broken = self.state, self.broken
        return other

    def put(self, key: bytes, lsn: int, stamp: int, item: bytes) -> None:
        self.rows[key] = encode_value(key, lsn, stamp, item)
        self.known[key] = row_hash(key, item)

    def remove(self, key: bytes) -> None:
        self.rows.pop(key, None)
        self.known.pop(key, None)


class MemoryTrees:
    """All trees of one node's disk, and those set aside. Rot hooks work on what is durable; each returns whether it changed anything."""

    def __init__(self) -> None:
        self.trees: dict[PartitionId, TreeContent] = {}
        self.quarantine: dict[str, TreeContent] = {}
        self.set_aside_count = 0

    def flip_row(self, partition: PartitionId, key: bytes, bit: int) -> bool:
        """Flip one bit of a value."""
        content = self.trees[partition]
        value = content.rows.get(key)
        if value is None:
            return False
        changed = bytearray(value)
        bit %= len(changed) * 8
        changed[bit // 8] ^= 1 << bit % 8
        content.rows[key] = bytes(changed)
        return True

    def lose_row(self, partition: PartitionId, key: bytes) -> bool:
        """A row vanishes without having been deleted (a flipped key bit, a lost page)."""
        return self.trees[partition].rows.pop(key, None) is not None

    def plant_row(self, partition: PartitionId, key: bytes, lsn: int, stamp: int, item: bytes) -> bool:
        """A row with a good hash that nobody wrote there (an older page came back)."""
        self.trees[partition].rows[key] = encode_value(key, lsn, stamp, item)
        return True

    def damage_structure(self, partition: PartitionId, reason: str = "page header damaged") -> bool:
        """Every access fails from now on, as after damage in a page header."""
        self.trees[partition].broken = reason
        return True


class MemoryEngine:
    """Implements `storage.btree.engine.TreeEngine` on a `MemoryTrees`. The simulator calls `crash` and makes a new engine on the same trees.

    disk: for row files. tree_files: where those of this machine lie (`memory_treefile`), None: there are none. seconds_base, seconds_per_row: simulated duration of worker operations.
    """

    def __init__(
        self,
        trees: MemoryTrees,
        tasks: Tasks,
        disk: Disk,
        *,
        seconds_base: float = 0.002,
        seconds_per_row: float = 0.00001,
        tree_files: Disk | None = None,
    ) -> None:
        self.trees = trees
        self._tasks = tasks
        self._disk = disk
        self._tree_files = tree_files
        self._seconds_base = seconds_base
        self._seconds_per_row = seconds_per_row
        self._open: dict[PartitionId, MemoryTree] = {}
        self._alive = True

    def later(self, rows: int, work: Callable[[], None]) -> None:
        """Run `work` after the simulated duration, unless the node crashed meanwhile."""
        self.after(self._seconds_base + rows * self._seconds_per_row, work)

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Run `work` then, unless the node crashed meanwhile."""

        def run() -> None:
            if self._alive:
                work()

        self._tasks.call_later(seconds, run)

    def crash(self) -> None:
        """The node dies: whatever is not committed never happens, no callback comes any more."""
        self._alive = False

    def create(self, partition: PartitionId, done: Done[Tree]) -> None:
        def work() -> None:
            if partition in self.trees.trees:
                done(Exists("tree exists", key=partition))
                return
            self.trees.trees[partition] = TreeContent()
            done(self._opened(partition))

        self.later(0, work)

    def open(self, partition: PartitionId, done: Done[Tree]) -> None:
        def work() -> None:
            content = self.trees.trees.get(partition)
            if content is None:
                done(Missing("no such tree", what=partition))
            elif content.broken:
                done(Corrupt(content.broken, what="tree", where=partition))
            elif content.rows.keys() != content.known.keys():
                done(Corrupt("fences and rows differ", what="tree", where=partition))
            else:
                done(self._opened(partition))

        self.later(len(self.trees.trees[partition].rows) if partition in self.trees.trees else 0, work)

    def _opened(self, partition: PartitionId) -> MemoryTree:
        assert partition not in self._open, "tree opened twice"
        tree = MemoryTree(self, partition, self.trees.trees[partition])
        self._open[partition] = tree
        return tree

    def closed(self, partition: PartitionId) -> None:
        """A tree was closed."""
        self._open.pop(partition, None)

    def load(self, partition: PartitionId, path: str, state: TreeState, done: Done[Tree], *, indexing: bytes = b"") -> None:
        content = TreeContent()

        def work() -> None:
            if partition in self._open:
                done(Exists("tree is open", key=partition))
                return
            try:
                file = self._disk.open(path)
                try:
                    for rows, _ in with_index_rows(read_blocks(file.pread, file.size()), LocalRows.decode(indexing)):
                        for key, lsn, stamp, item in rows:
                            content.put(key, lsn, stamp, item)
                finally:
                    file.close()
            except ScrubjayError as error:
                done(error)
                return
            content.state = state
            self.trees.trees[partition] = content
            done(self._opened(partition))

        self.later(100, work)

    def adopt(self, partition: PartitionId, made: TreeFile, done: Done[Tree], *, last: bool) -> None:
        def work() -> None:
            if partition in self._open:
                done(Exists("tree is open", key=partition))
                return
            content = TreeContent()
            try:
                for key, lsn, stamp, item in rows_taken(self._tree_files, partition, made, last=last):
                    content.put(key, lsn, stamp, item)
            except ScrubjayError as error:
                done(error)
                return
            self.trees.trees[partition] = content
            done(self._opened(partition))

        self.later(20, work)

    def _close_orphan(self, partition: PartitionId) -> None:
        tree = self._open.get(partition)
        if tree is not None:
            tree.close()

    def set_aside(self, partition: PartitionId, reason: str) -> str:
        self._close_orphan(partition)
        content = self.trees.trees.pop(partition, None)
        if content is None:
            raise Missing("no such tree", what=partition)
        self.trees.set_aside_count += 1
        path = f"quarantine/{partition}-{self.trees.set_aside_count}"
        self.trees.quarantine[path] = content
        return path

    def drop(self, partition: PartitionId) -> None:
        self._close_orphan(partition)
        self.trees.trees.pop(partition, None)

    def close(self) -> None:
        self._alive = False
        self._open.clear()

    def write_rows(self, path: str, rows: Iterator[Row]) -> Total:
        """Write a row file below the node's folder."""
        parts: list[bytes] = []
        writer = RowFileWriter(parts.append)
        for key, lsn, stamp, item in rows:
            writer.add(key, lsn, stamp, item)
        total = writer.finish()
        folder = path.rpartition("/")[0]
        if folder:
            self._disk.mkdir(folder)
        self._disk.write_file(path, b"".join(parts))
        return total


class MemoryTree:
    """Implements `storage.btree.engine.Tree`. Rot is seen at once, as through a memory map."""

    def __init__(self, engine: MemoryEngine, partition: PartitionId, content: TreeContent) -> None:
        self._engine = engine
        self._partition = partition
        self._content = content
        self._committing = False
        self._closed = False

    @property
    def state(self) -> TreeState:
        return self._content.state

    def _check(self) -> TreeContent:
        if self._closed:
            raise Internal("tree is closed", partition=self._partition)
        if self._content.broken:
            raise Corrupt(self._content.broken, what="tree", where=self._partition)
        return self._content

    def get(self, key: bytes, *, proven: bool = True) -> Row | None:
        content = self._check()
        value = content.rows.get(key)
        if value is not None:
            return decode_value(key, value)
        if proven and key in content.known:
            raise corrupt_row(key, "a row that must be here is not")
        return None

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        content = self._check()
        bounds = {"minimum": start, "maximum": end, "inclusive": (True, False), "reverse": reverse}
        expected = content.known.irange(**bounds)
        for key in content.rows.irange(**bounds):
            known = next(expected, None)
            if known != key:
                raise corrupt_row(key if known is None else known, "rows and fences differ")
            row = decode_value(key, content.rows[key])
            if row_hash(key, row.item) != content.known[key]:
                raise corrupt_row(key, "rows do not add up to their fence")
            yield row
        left = next(expected, None)
        if left is not None:
            raise corrupt_row(left, "a row that must be here is not")

    def checkpoint(self, changes: Sequence[Change], state: TreeState, done: Done[None]) -> None:
        assert not self._committing, "one checkpoint at a time"
        self._check()
        self._committing = True

        def work() -> None:
            self._committing = False
            content = self._content
            if content.broken:
                done(Corrupt(content.broken, what="tree", where=self._partition))
                return
            try:
                for change in changes:
                    self._check_old(content, change.key)
            except Corrupt as error:
                done(error)
                return
            for key, lsn, stamp, item in changes:
                if item is None:
                    content.remove(key)
                else:
                    content.put(key, lsn, stamp, item)
            content.state = state
            done(None)

        self._engine.later(len(changes), work)

    @staticmethod
    def _check_old(content: TreeContent, key: bytes) -> None:
        """The row that a change replaces is good, and is there if and only if it must be."""
        value = content.rows.get(key)
        if (value is None) == (key in content.known):
            raise corrupt_row(key, "rows and fences differ")
        if value is not None:
            decode_value(key, value)

    def pin(self, applied: int, done: Done[PinnedTree], *, hurry: bool = False) -> None:
        content = self._check()

        def work() -> None:
            if content.broken:
                done(Corrupt(content.broken, what="tree", where=self._partition))
            elif content.state.applied != applied:
                done(Unavailable("tree is at another LSN", expected=applied, found=content.state.applied))
            else:
                done(MemoryPin(self._engine, content.copy()))

        self._engine.later(0, work)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.closed(self._partition)


class MemoryPin:
    """Implements `storage.btree.engine.PinnedTree` on a copy."""

    def __init__(self, engine: MemoryEngine, content: TreeContent) -> None:
        self._engine = engine
        self._content = content

    def digest(self, lo: bytes, hi: bytes | None, *, bytes_per_second: int | None, done: Done[ScanResult], indexed: bool = False) -> None:
        def work() -> None:
            content = self._content
            digest, index = RangeDigest(lo, hi), IndexTally(lo, hi)
            bad: list[bytes] = []
            structure: list[str] = []
            size = 0
            for key, value in content.rows.items():
                size += len(key) + len(value)
                try:
                    item = decode_value(key, value).item
                    if indexed and is_entry(key, item):
                        index.add(key, item, row_hash(key, item))
                    else:
                        digest.add(key, row_hash(key, item))
                except Corrupt:
                    bad.append(key)
            lacking = [key for key in content.known if key not in content.rows]
            extra = [key for key in content.rows if key not in content.known]
            structure += [f"fence: row {key.hex()} is lacking" for key in lacking] + [f"fence: row {key.hex()} is extra" for key in extra]
            done(ScanResult(digest, tuple(bad), tuple(structure), size, index.encode()))

        self._engine.later(len(self._content.rows), work)

    def rows(self, start: bytes, end: bytes | None, limit: int, done: Done[list[RowFact]]) -> None:
        def work() -> None:
            facts: list[RowFact] = []
            for key in self._content.rows.irange(start, end, inclusive=(True, False)):
                if len(facts) == limit:
                    break
                value = self._content.rows[key]
                try:
                    row = decode_value(key, value)
                    facts.append(RowFact(key, row_hash(key, row.item), row.lsn))
                except Corrupt:
                    facts.append(RowFact(key, 0, lsn_of(value)))
            done(facts)

        self._engine.later(0, work)

    def expired(self, start: bytes, wanted: ExpiredWanted, done: Done[ExpiredPage], *, rows_per_second: int | None) -> None:
        """At the pace that was asked for, in simulated time."""
        content = self._content
        steps = expired_page(((key, content.rows[key]) for key in content.rows.irange(start, None)), wanted)

        def step() -> None:
            try:
                looked = next(steps)
            except StopIteration as stop:
                done(stop.value)
            else:
                self._engine.after(0.0 if rows_per_second is None else looked / rows_per_second, step)

        self._engine.later(0, step)

    def index_rows(self, start: bytes, wanted: IndexWanted, done: Done[IndexPage]) -> None:
        content = self._content

        def work() -> None:
            steps = index_page(((key, content.rows[key]) for key in content.rows.irange(start, None)), wanted)
            try:
                while True:
                    next(steps)
            except StopIteration as stop:
                done(stop.value)
            except ScrubjayError as error:
                done(error)

        self._engine.later(min(wanted.rows, len(content.rows)), work)

    def cut(self, done: Done[CutPoint | None]) -> None:
        content = self._content

        def work() -> None:
            point = SplitPoint()
            try:
                for key, value in content.rows.items():
                    point.add(key, len(key) + len(decode_value(key, value).item))
            except ScrubjayError as error:
                done(error)
                return
            done(point.nearest())

        self._engine.later(len(content.rows), work)

    def dump(self, path: str, done: Done[Total], *, start: bytes = b"", end: bytes | None = None) -> None:
        def work() -> None:
            try:
                kept = [(key, value) for key, value in self._content.rows.items() if key >= start and (end is None or key < end)]
                rows = (decode_value(key, value) for key, value in kept)
                total = self._engine.write_rows(path, (row for row in rows if not is_entry(row.key, row.item)))
            except ScrubjayError as error:
                done(error)
                return
            done(total)

        self._engine.later(len(self._content.rows), work)

    def release(self) -> None:
        self._content = TreeContent()
