"""Planting damage as a failing machine would do it: behind the store's back, in its files.

A bit flip must hit a *live* value of one replica's B-tree. LMDB copies pages on write, so a file is full of old copies of a value; the live one is
found by reading the tree with LMDB itself and asking where in the file the value's bytes lie.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scrubjay.base.env import ObjectStore

LIST_PAGE = 1000
_SEGMENT = re.compile(r"/t=(?P<table>[^/]+)/p=(?P<partition>[^/]+)/log/(?P<first>[0-9a-f]{16})-(?P<last>[0-9a-f]{16})\.[^/]*\.seg$")


class Flip(NamedTuple):
    """One flipped bit. offset: of the byte in the file; bit: 0 to 7. before, after: the byte."""

    node: str
    file: Path
    offset: int
    bit: int
    before: int
    after: int


def flip_live_bit(data: Path, needle: bytes, *, bit: int = 0, node: str = "*") -> Flip | None:
    """Flip one bit in the first replica (by node, partition) whose *live* tree holds `needle` in a value; node: only of that one. None if no checkpoint has it yet."""
    for file in _trees_of(data, node):
        offset = live_offset(file, needle)
        if offset is not None:
            return Flip(file.parts[-5], file, offset + len(needle) // 2, bit, *flip_bit(file, offset + len(needle) // 2, bit))
    return None


def live_in_trees(data: Path, needles: Iterable[bytes], *, node: str) -> bool:
    """Whether the live values of a node's trees hold all of these. A checkpoint that is still to bring some of them copies the pages of others too, and a bit that is
    flipped in the copy it leaves behind is in nothing live."""
    held = b"\0".join(bytes(value) for file in _trees_of(data, node) for value in _live(file))
    return all(needle in held for needle in needles)


def live_offset(file: Path, needle: bytes) -> int | None:
    """Where in an LMDB file the needle lies as part of a live value; None if no live value holds it. Reads only; takes no lock."""
    for value in _live(file):
        at = bytes(value).find(needle)
        if at >= 0:
            return _file_offset(_address(value) + at, file)
    return None


def _trees_of(data: Path, node: str) -> list[Path]:
    return sorted((data / "nodes").glob(f"{node}/replicas/*/btree/data.mdb"))


def _live(file: Path) -> Iterator[memoryview]:
    """Every live value; each is mapped for as long as the next is not asked for."""
    import lmdb

    with (
        lmdb.open(str(file.parent), readonly=True, lock=False, max_dbs=16, create=False, lib_version=1) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        yield from _values(environment, transaction)


def _values(environment: Any, transaction: Any) -> Iterator[memoryview]:
    """Every live value of the file, those of named databases included."""
    import lmdb

    names: list[bytes] = []
    for key, value in transaction.cursor():
        names.append(bytes(key))
        yield value
    for name in names:
        try:
            database = environment.open_db(name, txn=transaction, create=False)
        except lmdb.Error:
            continue  # an ordinary row, no database
        for _, value in transaction.cursor(db=database):
            yield value


class _Buffer(ctypes.Structure):
    """The head of CPython's Py_buffer, as far as it is needed; the rest is room for its other fields."""

    _fields_ = (("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("rest", ctypes.c_byte * 256))


def _address(view: memoryview) -> int:
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), ctypes.c_int(0))
    address = buffer.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    assert address is not None
    return int(address)


def _file_offset(address: int, file: Path) -> int:
    """Offset in `file` of a mapped address of this process."""
    inode = file.stat().st_ino
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, offset, _, number, *_ = line.split()
        first, last = (int(part, 16) for part in span.split("-"))
        if first <= address < last and int(number) == inode:
            return address - first + int(offset, 16)
    raise OSError(f"{file} is not mapped at {address:#x}")


def flip_bit(file: Path, offset: int, bit: int) -> tuple[int, int]:
    """At once on the disk; the byte before and after."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        before = os.pread(descriptor, 1, offset)[0]
        after = before ^ (1 << bit)
        os.pwrite(descriptor, bytes([after]), offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return before, after


class ArchiveDamage(NamedTuple):
    """What was done to a copy of an archive. Keys are below the archive's URL."""

    flipped: str
    removed: str


async def copy_objects(store: ObjectStore, folder: Path) -> int:
    """Copy every object of a store into a folder that `file://` can read; how many."""
    count, after = 0, ""
    while True:
        page = await store.list("", after=after, limit=LIST_PAGE)
        for info in page.objects:
            target = folder / info.key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(await store.get(info.key))
            count, after = count + 1, info.key
        if not page.more:
            return count


async def flip_object(store: ObjectStore, key: str, below: Callable[[int], int]) -> bytes:
    """Flip one bit of an object, whichever `below` draws; its bytes as they were. For copies: it is taken away and put there anew."""
    sound = await store.get(key)
    rotten = bytearray(sound)
    rotten[below(len(rotten))] ^= 1 << below(8)
    await store.delete(key)
    await store.put(key, bytes(rotten))
    return sound


def damage_archive(folder: Path, table_id: str) -> ArchiveDamage:
    """Flip one bit in the largest segment of a table and remove another, not the newest of its partition (whose loss cannot be seen offline).

    Raises ValueError if the table has no partition with two segments yet.
    """
    partitions: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.rglob("*.seg")):
        match = _SEGMENT.search(f"/{path.relative_to(folder).as_posix()}")
        if match is not None and match["table"] == table_id:
            partitions.setdefault(match["partition"], []).append((int(match["first"], 16), path))
    longest = max(partitions.values(), key=len, default=[])
    if len(longest) >= 2:
        removed = sorted(longest)[-2][1]
        others = [path for segments in partitions.values() for _, path in segments if path != removed]
        flipped = max(others, key=lambda path: (path.stat().st_size, path))
        raw = bytearray(flipped.read_bytes())
        raw[len(raw) // 2] ^= 0x10
        flipped.write_bytes(raw)
        removed.unlink()
        return ArchiveDamage(flipped.relative_to(folder).as_posix(), removed.relative_to(folder).as_posix())
    raise ValueError("no partition of the table has two segments in the archive")
