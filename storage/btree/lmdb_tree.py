"""One tree in one LMDB environment: rows, fences and meta, read and written (docs/formats/tree.md, ADR 0003). Used in the node (reading) and in the workers.

Guarantees: what is given out was checked; so was every absence. An LMDB error is Corrupt only where it speaks of bytes that were read. Not covered: damage in a page header may
kill the process; that is why a tree is walked in the worker before it is served.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import lmdb
from xxhash import xxh3_64_intdigest

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, DiskFull, Internal, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.base.oserrors import error_of_os
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.fence import (
    EMPTY_TREE,
    FIRST_START,
    RUN_MAX,
    RUN_MIN,
    RUN_TARGET,
    Fence,
    check_keys,
    check_rows,
    corrupt_fence,
    cut,
    decode_fence,
    encode_fence,
    hashes_of,
    joined,
    key_hash,
)
from scrubjay.storage.btree.row import KEY_BYTES_MAX, decode_value, encode_value, encode_values
from scrubjay.storage.log.digest import MASK

MAP_SIZE_MIN = 128 << 20
"""Bytes of address space of a small tree; a writer doubles the map when it is full."""
MAP_PER_FILE = 4
"""A map is at first so many times as large as the file."""
MAX_READERS = 64
FILE = "data.mdb"
OPENING = "opening"
"""Beside the tree's folder while a worker verifies it."""
LIB_VERSION = 1
VALUE_BYTES_MAX = 16 << 20
LOAD_BYTES_PER_COMMIT = 8 << 20
"""Bytes of items. What one commit holds in memory, twice."""

META = struct.Struct("<BBHI16sQQQQ16s16s")
"""version, flags, reserved, extra length, partition, applied, stamp, rows, runs, key sum, row sum; then extra and a u64 hash."""
META_KEYS = (b"state/1", b"state/2")
META_VERSION = 1
_U64 = struct.Struct("<Q")


class TreeFacts(NamedTuple):
    """The meta record. rows, runs, key_sum, row_sum: totals over all fences."""

    state: TreeState
    rows: int
    runs: int
    key_sum: int
    row_sum: int


def encode_meta(facts: TreeFacts, *, partition: bytes, key: bytes) -> bytes:
    """One of the two copies; `key` is in the hash, so the copies differ. partition: 16 raw bytes."""
    state = facts.state
    body = (
        META.pack(
            META_VERSION,
            0,
            0,
            len(state.extra),
            partition,
            state.applied,
            state.stamp,
            facts.rows,
            facts.runs,
            facts.key_sum.to_bytes(16, "little"),
            facts.row_sum.to_bytes(16, "little"),
        )
        + state.extra
    )
    return body + _U64.pack(xxh3_64_intdigest(body + key))


def decode_meta(value: bytes | None, *, partition: bytes, key: bytes) -> TreeFacts:
    """Raises Corrupt."""
    if value is None or len(value) < META.size + 8 or xxh3_64_intdigest(value[:-8] + key) != _U64.unpack(value[-8:])[0]:
        raise Corrupt("tree state is missing or its hash differs", what="tree", where=key.decode())
    version, flags, reserved, length, owner, applied, stamp, rows, runs, key_sum, row_sum = META.unpack_from(value)
    if version != META_VERSION or flags or reserved or length != len(value) - META.size - 8:
        raise Corrupt("tree state version or flag unknown", what="tree", where=key.decode())
    if owner != partition:
        raise Corrupt("tree belongs to another partition", what="tree", expected=partition.hex(), found=owner.hex())
    state = TreeState(Lsn(applied), Stamp(stamp), value[META.size : -8])
    return TreeFacts(state, rows, runs, int.from_bytes(key_sum, "little"), int.from_bytes(row_sum, "little"))


_FACTS = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadChecksumError,
    lmdb.NotFoundError,
)
"""What LMDB says of bytes it read."""
_LIMITS = (lmdb.ReadersFullError, lmdb.TlsFullError, lmdb.TxnFullError, lmdb.PanicError, lmdb.MapResizedError)
"""What LMDB says of itself in this process: a table or a transaction is full, or a write failed before and the environment must be opened again."""


def error_of(error: lmdb.Error) -> ScrubjayError:
    """What an LMDB error means. Only what it says of bytes it read is Corrupt; what the machine or the process lacks is named (base.oserrors)."""
    if "MDB_SHORT_WRITE" in str(error):
        # A commit that finds room for only a part of its pages says "short write". Nothing of it counts, the tree is what it was.
        return DiskFull("the disk is full", what="tree")
    if isinstance(error, lmdb.BadValsizeError):
        return Invalid("key is empty or too long for the tree", what="tree")
    if isinstance(error, lmdb.MapFullError):
        return DiskFull("the tree's map is full", what="tree")
    if isinstance(error, _LIMITS):
        return Unavailable(f"LMDB: {error}", what="tree")
    number = getattr(error, "code", 0)
    if type(error) is lmdb.Error and number == 0:
        return Unavailable(f"LMDB: {error}", what="tree")  # the binding refuses a call (open twice in this process): no byte was read
    if isinstance(error, _FACTS) or number <= 0 or number == errno.EINVAL:
        return Corrupt(f"LMDB: {error}", what="tree")
    return error_of_os(number, what="tree", action=str(error))


def map_size_for(path: str) -> int:
    """Bytes of address space for the tree in folder `path`: what a limit of it (`ulimit -v`) is asked for, so it follows the file's size."""
    try:
        size = os.stat(os.path.join(path, FILE)).st_size  # noqa: PTH116, PTH118
    except OSError:
        size = 0  # opening it says what is wrong
    return max(MAP_SIZE_MIN, 1 << (MAP_PER_FILE * size - 1).bit_length())


def open_environment(path: str, *, write: bool, map_size: int | None = None, sync: bool = True) -> Any:
    """An environment with the three databases of a tree. write: may create it. map_size None: as `map_size_for` says. Raises Missing, Corrupt, DiskFull, Exhausted."""
    try:
        return lmdb.open(
            path,
            map_size=map_size_for(path) if map_size is None else map_size,
            max_dbs=3,
            max_readers=MAX_READERS,
            readonly=not write,
            create=write,
            sync=sync,
            metasync=sync,
            readahead=False,
            lib_version=LIB_VERSION,
        )
    except (lmdb.ReadonlyError, lmdb.Error) as error:
        if "No such file" in str(error):
            raise Missing("no such tree", what="tree", where=path) from error
        raise error_of(error) from error


class Databases(NamedTuple):
    rows: Any
    fences: Any
    meta: Any


def open_databases(environment: Any, *, create: bool) -> Databases:
    """Raises Corrupt if one is missing."""
    try:
        return Databases(*(environment.open_db(name, create=create) for name in (b"rows", b"fences", b"meta")))
    except lmdb.Error as error:
        raise error_of(error) from error


class TreeReader:
    """Reads in one transaction (a read transaction of the node, or the write transaction of a checkpoint). All methods raise Corrupt."""

    __slots__ = ("_databases", "_get", "_rows", "partition", "transaction")

    def __init__(self, transaction: Any, databases: Databases, partition: bytes) -> None:
        self.transaction = transaction
        self.partition = partition
        self._databases = databases
        self._rows = databases.rows
        self._get = transaction.get

    def facts(self) -> TreeFacts:
        """The committed state. Both copies must check and agree."""
        try:
            values = [self.transaction.get(key, db=self._databases.meta) for key in META_KEYS]
        except lmdb.Error as error:
            raise error_of(error) from error
        one, two = (decode_meta(value, partition=self.partition, key=key) for key, value in zip(META_KEYS, values, strict=True))
        if one != two:
            raise Corrupt("the two copies of the tree state differ", what="tree")
        return one

    def get(self, key: bytes, *, proven: bool = True) -> Row | None:
        """The row, or None once its absence is proven by the run that encloses it (taken as found if not `proven`)."""
        try:
            value = self._get(key, None, self._rows)
        except lmdb.Error as error:
            raise _at(error, key) from error
        if value is not None:
            return decode_value(key, value)
        if proven:
            self.check_absent(key)
        return None

    def check_absent(self, key: bytes) -> None:
        """The run around `key` has every key it must have, and `key` is not among them."""
        fence = self.fence_of(key)
        try:
            if key in self.keys_of(fence):
                raise Corrupt("a row is there for a scan and not for a lookup", what="row", key=key.hex())
        except Corrupt as error:
            if error.fields.get("what") == "row":
                raise
            raise Corrupt(f"no row, and its absence cannot be proven: {error.message}", what="row", key=key.hex()) from error

    def fence_of(self, key: bytes) -> Fence:
        """The run that encloses `key`."""
        try:
            cursor = self.transaction.cursor(self._databases.fences)
            if not (cursor.key() == key or cursor.prev() if cursor.set_range(key) else cursor.last()):
                raise corrupt_fence(key, "no fence below the key")
            start, value = cursor.item()
        except lmdb.Error as error:
            raise _at(error, key) from error
        fence = decode_fence(start, value)
        if not fence.holds(key):
            raise corrupt_fence(key, "the fence around the key is missing")
        return fence

    def keys_of(self, fence: Fence) -> list[bytes]:
        """The keys of a run, checked against its fence."""
        try:
            cursor = self.transaction.cursor(self._rows)
            if not cursor.set_range(fence.start):
                keys: list[bytes] = []
            else:
                keys = list(islice(cursor.iternext(True, False), fence.rows + 1))
        except lmdb.Error as error:
            raise _at(error, fence.start) from error
        if fence.end is not None and keys and keys[-1] >= fence.end:
            keys.pop()
        if len(keys) > 1 and keys[-1] <= keys[0]:
            raise corrupt_fence(fence.start, "keys are out of order")
        check_keys(fence, keys)
        return keys

    def rows_of(self, fence: Fence) -> list[Row]:
        """The rows of a run, each checked, all adding up to the fence."""
        try:
            cursor = self.transaction.cursor(self._rows)
            if not cursor.set_range(fence.start):
                found: list[tuple[bytes, bytes]] = []
            else:
                found = list(islice(cursor.iternext(), fence.rows + 1))
        except lmdb.Error as error:
            raise _at(error, fence.start) from error
        if fence.end is not None and found and found[-1][0] >= fence.end:
            found.pop()
        rows = [decode_value(key, value) for key, value in found]
        last = b""
        for row in rows:
            if row.key <= last:
                raise corrupt_fence(fence.start, "keys are out of order")
            last = row.key
        check_rows(fence, ((row.key, row.item) for row in rows), len(rows))
        return rows

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        """Rows in [start, end). Whole runs are checked before a row of them is given out."""
        start = start or FIRST_START
        if end is not None and end <= start:
            return
        if not reverse:
            fence = self.fence_of(start)
            while True:
                for row in self.rows_of(fence):
                    if row.key >= start:
                        if end is not None and row.key >= end:
                            return
                        yield row
                if fence.end is None or (end is not None and fence.end >= end):
                    return
                fence = self._fence_at(fence.end)
        fence = self._fence_below(end)
        while True:
            for row in reversed(self.rows_of(fence)):
                if end is None or row.key < end:
                    if row.key < start:
                        return
                    yield row
            if fence.start <= start:
                return
            before = self._fence_below(fence.start)
            if before.end != fence.start:
                raise corrupt_fence(before.start, "the next fence is missing")
            fence = before

    def _fence_at(self, start: bytes) -> Fence:
        fence = self.fence_of(start)
        if fence.start != start:
            raise corrupt_fence(start, "a fence is missing")
        return fence

    def _fence_below(self, end: bytes | None) -> Fence:
        """The run that holds the greatest key below `end`."""
        try:
            cursor = self.transaction.cursor(self._databases.fences)
            found = cursor.last() if end is None or not cursor.set_range(end) else cursor.prev()
            if not found:
                raise corrupt_fence(end or b"", "no fence below the key")
            fence = decode_fence(*cursor.item())
        except lmdb.Error as error:
            raise _at(error, end or b"") from error
        if fence.end is not None and (end is None or fence.end < end):
            raise corrupt_fence(fence.start, "the next fence is missing")
        return fence

    def fences(self) -> Iterator[Fence]:
        """All fences, in order. Raises Corrupt where they do not tile the key space."""
        expected: bytes | None = FIRST_START
        try:
            for start, value in self.transaction.cursor(self._databases.fences):
                fence = decode_fence(start, value)
                if fence.start != expected:
                    raise corrupt_fence(start, "fences do not tile the key space")
                expected = fence.end
                yield fence
        except lmdb.Error as error:
            raise error_of(error) from error
        if expected is not None:
            raise corrupt_fence(expected, "the last fence is missing")

    def raw_rows(self, start: bytes = FIRST_START, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) as they lie in the tree, unchecked, for scans that must not stop at damage."""
        try:
            cursor = self.transaction.cursor(self._rows)
            if not cursor.set_range(start or FIRST_START):
                return
            for key, value in cursor.iternext():
                if end is not None and key >= end:
                    return
                yield key, value
        except lmdb.Error as error:
            raise error_of(error) from error

    def raw_fences(self) -> Iterator[tuple[bytes, bytes]]:
        """(start, value) of the fences as they lie in the tree, unchecked."""
        try:
            yield from self.transaction.cursor(self._databases.fences)
        except lmdb.Error as error:
            raise error_of(error) from error

    def verify(self, *, values: bool) -> TreeFacts:
        """Walk the whole tree: fences tile the key space, every run adds up, totals agree. values: check every row too, not only the keys."""
        facts = self.facts()
        rows = runs = keys = sums = 0
        for fence in self.fences():
            if values:
                self.rows_of(fence)
            else:
                self.keys_of(fence)
            runs, rows = runs + 1, rows + fence.rows
            keys, sums = keys + fence.key_sum, sums + fence.row_sum
        try:
            entries = self.transaction.stat(self._rows)["entries"]
        except lmdb.Error as error:
            raise error_of(error) from error
        found = (rows, runs, keys & MASK, sums & MASK)
        if found != facts[1:] or entries != rows:
            raise Corrupt("fences do not add up to the tree's totals", what="tree", expected=facts.rows, found=rows, entries=entries)
        return facts

    def check_lengths(self) -> None:
        """Every value's length is possible: a length gone wrong would send a later read outside the file. For a transaction with buffers: no value is touched."""
        try:
            longest = max(map(len, self.transaction.cursor(self._rows).iternext(False, True)), default=0)
        except lmdb.Error as error:
            raise error_of(error) from error
        if longest > VALUE_BYTES_MAX:
            raise Corrupt("a value's length is out of bounds", what="tree", found=longest)


def _at(error: lmdb.Error, key: bytes) -> ScrubjayError:
    found = error_of(error)
    found.fields["key"] = key.hex()
    return found


class TreeWriter:
    """Writes one tree; the only writer of its environment."""

    def __init__(self, path: str, partition: bytes, *, map_size: int | None = None, sync: bool = True, create: bool = False) -> None:
        self._partition = partition
        self.environment = open_environment(path, write=True, map_size=map_size, sync=sync)
        try:
            self._databases = open_databases(self.environment, create=create)
            self.environment.reader_check()
        except lmdb.Error as error:
            self.environment.close()
            raise error_of(error) from error
        except ScrubjayError:
            self.environment.close()
            raise

    def close(self) -> None:
        self.environment.close()

    def reader(self, transaction: Any) -> TreeReader:
        return TreeReader(transaction, self._databases, self._partition)

    def create(self, state: TreeState) -> None:
        """Make an empty tree."""

        def work(transaction: Any) -> None:
            transaction.put(EMPTY_TREE.start, encode_fence(EMPTY_TREE), db=self._databases.fences)
            self._put_facts(transaction, TreeFacts(state, 0, 1, 0, 0))

        self._write(work)

    def facts(self) -> TreeFacts:
        with self.environment.begin() as transaction:
            return self.reader(transaction).facts()

    def verify(self, *, values: bool) -> TreeFacts:
        """See TreeReader.verify."""
        with self.environment.begin(buffers=True) as transaction:
            self.reader(transaction).check_lengths()
        with self.environment.begin() as transaction:
            return self.reader(transaction).verify(values=values)

    def checkpoint(self, changes: Sequence[Change], state: TreeState, *, expected: int) -> TreeFacts:
        """Apply `changes` (ascending keys) and commit them durably with `state`.

        expected: the applied LSN the tree must be at. Raises Internal if it is elsewhere (unless it is at `state` already: then it was done before).
        """
        result: list[TreeFacts] = []

        def work(transaction: Any) -> None:
            result.clear()
            reader = self.reader(transaction)
            facts = reader.facts()
            if facts.state.applied != expected:
                if facts.state == state:
                    result.append(facts)
                    return
                raise Internal("checkpoint does not continue the tree", expected=expected, found=facts.state.applied)
            facts = _Checkpoint(transaction, self._databases, reader, facts).apply(changes)._replace(state=state)
            self._put_facts(transaction, facts)
            result.append(facts)

        self._write(work)
        return result[0]

    def load(self, blocks: Iterable[tuple[Sequence[Row], Sequence[int]]], state: TreeState) -> TreeFacts:
        """Fill a new, empty tree with rows in key order, block by block, and the hash of each. Durable only after `environment.sync(True)` if it was opened without sync."""
        loading = self.loading()
        for rows, hashes in blocks:
            loading.add(rows, hashes)
        return loading.finish(state)

    def loading(self) -> Loading:
        """`load` for who is given the rows bit by bit."""
        return Loading(self)

    def put_rows(self, values: list[tuple[bytes, bytes]]) -> None:
        """One commit of rows behind all that are there."""
        self._write(lambda transaction: transaction.cursor(self._databases.rows).putmulti(values, append=True))

    def put_fences(self, fences: Sequence[Fence], facts: TreeFacts) -> None:
        """The last commit of a load."""

        def work(transaction: Any) -> None:
            transaction.cursor(self._databases.fences).putmulti([(fence.start, encode_fence(fence)) for fence in fences], append=True)
            self._put_facts(transaction, facts)

        self._write(work)

    def _put_facts(self, transaction: Any, facts: TreeFacts) -> None:
        for key in META_KEYS:
            transaction.put(key, encode_meta(facts, partition=self._partition, key=key), db=self._databases.meta)

    def _write(self, work: Callable[[Any], None]) -> None:
        """Run `work` in a write transaction and commit it; with a larger map if the present one is full."""
        while True:
            try:
                with self.environment.begin(write=True) as transaction:
                    work(transaction)
                return
            except lmdb.MapFullError:
                self._larger_map()
            except lmdb.Error as error:
                raise error_of(error) from error

    def _larger_map(self) -> None:
        try:
            self.environment.set_mapsize(2 * self.environment.info()["map_size"])
        except lmdb.Error as error:
            raise error_of(error) from error


class Loading:
    """Rows on their way into a new tree, LOAD_BYTES_PER_COMMIT of items a commit; fences are held until the end (a run each)."""

    def __init__(self, tree: TreeWriter) -> None:
        self._tree = tree
        self._rows: list[Row] = []
        self._hashed: list[int] = []
        self._size = 0
        self._fences: list[Fence] = []
        self._start = FIRST_START
        self._keys: list[bytes] = []
        self._hashes: list[int] = []
        self._total = 0

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> None:
        """The next rows in key order, and the hash of each. Raises Corrupt (a key that no tree can hold), DiskFull, Unavailable."""
        self._rows += rows
        self._hashed += hashes
        self._size += sum([len(row.item) for row in rows])
        if self._size >= LOAD_BYTES_PER_COMMIT:
            self._commit()

    def _commit(self) -> None:
        values = encode_values(self._rows)
        if max([len(key) for key, _ in values]) > KEY_BYTES_MAX:
            raise Corrupt("key too long for the tree", what="row")
        self._tree.put_rows(values)
        keys, hashes = self._keys, self._hashes
        self._total += len(values)
        keys += [key for key, _ in values]
        hashes += self._hashed
        self._rows, self._hashed, self._size = [], [], 0
        at = 0
        while len(keys) - at > RUN_TARGET:
            stop = at + RUN_TARGET
            self._fences.append(_fence_over(self._start, keys[stop], keys[at:stop], hashes[at:stop]))
            self._start, at = keys[stop], stop
        del keys[:at], hashes[:at]

    def finish(self, state: TreeState) -> TreeFacts:
        """All rows were given. Raises as `add`."""
        if self._rows:
            self._commit()
        fences = [*self._fences, _fence_over(self._start, None, self._keys, self._hashes)]
        sums = sum(fence.key_sum for fence in fences) & MASK, sum(fence.row_sum for fence in fences) & MASK
        facts = TreeFacts(state, self._total, len(fences), *sums)
        self._tree.put_fences(fences, facts)
        return facts


def _fence_over(start: bytes, end: bytes | None, keys: list[bytes], hashes: list[int]) -> Fence:
    return Fence(start, end, len(keys), sum(map(key_hash, keys)) & MASK, sum(hashes) & MASK)


class _Checkpoint:
    """One checkpoint within its write transaction: changes grouped by run, each fence moved once."""

    def __init__(self, transaction: Any, databases: Databases, reader: TreeReader, facts: TreeFacts) -> None:
        self._transaction = transaction
        self._databases = databases
        self._reader = reader
        self._facts = facts

    def apply(self, changes: Sequence[Change]) -> TreeFacts:
        at, end = 0, len(changes)
        while at < end:
            fence = self._reader.fence_of(changes[at].key)
            stop = at + 1
            while stop < end and (fence.end is None or changes[stop].key < fence.end):
                stop += 1
            self._run(fence, changes[at:stop])
            at = stop
        return self._facts

    def _run(self, fence: Fence, changes: Sequence[Change]) -> None:
        """All changes of one run: the rows that are there are read at once and checked, the new ones put at once, the fence moved by the difference."""
        database = self._databases.rows
        cursor = self._transaction.cursor(database)
        rows = keys = sums = 0
        present = cursor.getmulti([change.key for change in changes])
        for key, value in present:
            sums -= row_hash(key, decode_value(key, value).item)
        there = {key for key, _ in present}
        puts: list[tuple[bytes, bytes]] = []
        for key, lsn, stamp, item in changes:
            if item is not None:
                puts.append((key, encode_value(key, lsn, stamp, item)))
                sums += row_hash(key, item)
                if key not in there:
                    rows += 1
                    keys += key_hash(key)
            elif key in there:
                self._transaction.delete(key, db=database)
                rows -= 1
                keys -= key_hash(key)
        if puts:
            cursor.putmulti(puts)
        changed = Fence(fence.start, fence.end, fence.rows + rows, (fence.key_sum + keys) & MASK, (fence.row_sum + sums) & MASK)
        if changed.rows < 0:
            raise corrupt_fence(fence.start, "more rows left a run than it had")
        self._replace([fence], self._shape(changed))

    def _shape(self, fence: Fence) -> list[Fence]:
        """The run as it is, or cut; its rows are read and must add up first."""
        if fence.rows <= RUN_MAX:
            return [fence]
        rows = (decode_value(key, value) for key, value in self._reader.raw_rows(fence.start, fence.end))
        return cut(fence, [hashes_of(row.key, row.item) for row in rows])

    def _replace(self, old: list[Fence], new: list[Fence]) -> None:
        fences = self._databases.fences
        if len(new) == 1 and new[0].rows < RUN_MIN and new[0].end is not None:
            following = self._reader.fence_of(new[0].end)
            if following.rows + new[0].rows <= RUN_TARGET:
                old, new = [*old, following], [joined(new[0], following)]
                self._transaction.delete(following.start, db=fences)
        for fence in new:
            self._transaction.put(fence.start, encode_fence(fence), db=fences)
        facts = self._facts
        self._facts = TreeFacts(
            facts.state,
            facts.rows + sum(one.rows for one in new) - sum(one.rows for one in old),
            facts.runs + len(new) - len(old),
            (facts.key_sum + sum(one.key_sum for one in new) - sum(one.key_sum for one in old)) & MASK,
            (facts.row_sum + sum(one.row_sum for one in new) - sum(one.row_sum for one in old)) & MASK,
        )
