"""Where things lie in a live LMDB tree's file: of a value, a key, a fence, a state; and damage done there behind the server's back.

LMDB copies pages on write, so a file is full of old bytes; what is live is found by walking the tree with LMDB itself, in a mapping of our own.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

PAGE = 4096


class Spot(NamedTuple):
    """A live entry. key, value: (offset in the file, bytes)."""

    file: Path
    database: str
    key: tuple[int, bytes]
    value: tuple[int, bytes]

    @property
    def node(self) -> str:
        return self.file.parts[-5]


def trees(data: Path, node: str) -> list[Path]:
    """The live trees of a node, by partition."""
    return sorted((data / "nodes" / node / "replicas").glob("*/btree/data.mdb"))


def entries(file: Path, database: str = "rows") -> list[Spot]:
    """Every live entry of one of a tree's databases."""
    found = []
    with lmdb.open(str(file.parent), readonly=True, lock=False, max_dbs=8, create=False, lib_version=1) as environment:
        handle = environment.open_db(database.encode(), create=False)
        with environment.begin(buffers=True) as transaction:
            base = _mapped(file)
            for key, value in transaction.cursor(db=handle):
                found.append(Spot(file, database, (_offset(key, base), bytes(key)), (_offset(value, base), bytes(value))))
    raw = file.read_bytes()
    for spot in found:
        for offset, content in (spot.key, spot.value):
            assert raw[offset : offset + len(content)] == content, "the mapping was read wrongly"
    return found


def spot_of(data: Path, node: str, needle: bytes) -> Spot | None:
    """The live row with `needle` in its value."""
    for file in trees(data, node):
        for spot in entries(file):
            if needle in spot.value[1]:
                return spot
    return None


def flip(file: Path, offset: int, bit: int = 3) -> None:
    """One bit, at once on the disk."""
    overwrite(file, offset, lambda old: bytes([old[0] ^ 1 << bit]), 1)


def overwrite(file: Path, offset: int, change: Callable[[bytes], bytes], size: int) -> None:
    descriptor = os.open(file, os.O_RDWR)
    try:
        before = os.pread(descriptor, size, offset)
        after = change(before)
        assert after != before
        assert len(after) == len(before)
        os.pwrite(descriptor, after, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage_page(file: Path, offset: int, how: str) -> None:
    """The whole page around `offset`: zeros, noise, or another page of the same file (a misdirected write)."""
    start = offset // PAGE * PAGE
    if how == "zeros":
        overwrite(file, start, lambda _: bytes(PAGE), PAGE)
    elif how == "noise":
        overwrite(file, start, lambda _: random.Random(offset).randbytes(PAGE), PAGE)
    else:
        pages = file.read_bytes()
        others = [pages[at : at + PAGE] for at in range(2 * PAGE, len(pages) - PAGE, PAGE) if at != start]
        other = next(page for page in reversed(others) if page != pages[start : start + PAGE] and page.strip(b"\0"))
        overwrite(file, start, lambda _: other, PAGE)


_HEADER = struct.Struct("<QQHHHH")
"""Of a page: number, transaction, pad, flags, then the first and the end of its unused bytes, counted from the header's end (an overflow page: how many pages, u32)."""
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_NODE = struct.Struct("<HHHH")
_BIG = 1
_TREE = struct.Struct("<IHHQQQQQ")
_META = struct.Struct("<IIQQ48s48sQQ")
_NONE = (1 << 64) - 1


def free_bytes(file: Path) -> tuple[list[int], list[int]]:
    """(free pages, offsets of unused bytes in the live leaves of rows): walked from the newest meta page through every database and the list of free pages.

    Every page of the file is a meta page, live or in the list, and none is two of these: a layout that was read wrongly cannot add up.
    """
    raw = file.read_bytes()
    metas = [_META.unpack_from(raw, at * PAGE + _HEADER.size) for at in (0, 1)]
    _, _, _, _, free_tree, main_tree, last, _ = max(metas, key=lambda meta: meta[-1])
    walk = _Walk(raw)
    listed: list[int] = []
    for _, value in walk.leaves(_TREE.unpack(free_tree)[-1]):
        (count,) = struct.unpack_from("<Q", value)
        listed += struct.unpack_from(f"<{count}Q", value, 8)
    gaps: list[int] = []
    for name, tree in list(walk.leaves(_TREE.unpack(main_tree)[-1])):
        before = len(walk.gaps)
        for _ in walk.leaves(_TREE.unpack(tree)[-1]):
            pass
        if name == b"rows\0":
            gaps = walk.gaps[before:]
    assert sorted([0, 1, *walk.live, *listed]) == list(range(last + 1)), "the tree's pages were read wrongly"
    return sorted(listed), gaps


class _Walk:
    """live: pages met. gaps: offsets in the file that lie in no node of a leaf that was met."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.live: list[int] = []
        self.gaps: list[int] = []

    def leaves(self, root: int) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of a tree, in order."""
        if root == _NONE:
            return
        raw, start = self.raw, root * PAGE
        number, _, _, flags, lower, upper = _HEADER.unpack_from(raw, start)
        assert number == root
        self.live.append(root)
        base = start + _HEADER.size
        if flags & _LEAF:
            self.gaps.extend(range(base + lower, base + upper))
        for at in struct.unpack_from(f"<{lower // 2}H", raw, base):
            low, high, bits, length = _NODE.unpack_from(raw, base + at)
            key = base + at + _NODE.size
            data = key + length + length % 2
            if flags & _BRANCH:
                yield from self.leaves(low | high << 16 | bits << 32)
            elif bits & _BIG:
                yield raw[key : key + length], self._overflow(struct.unpack_from("<Q", raw, data)[0], low | high << 16)
            else:
                yield raw[key : key + length], raw[data : data + (low | high << 16)]

    def _overflow(self, page: int, size: int) -> bytes:
        pages = struct.unpack_from("<I", self.raw, page * PAGE + 20)[0]
        self.live.extend(range(page, page + pages))
        start = page * PAGE + _HEADER.size
        return self.raw[start : start + size]


class _Buffer(ctypes.Structure):
    _fields_ = (("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("rest", ctypes.c_byte * 256))


def _mapped(file: Path) -> list[tuple[int, int, int]]:
    """(first, last, offset in file) of our mappings of `file`."""
    inode = file.stat().st_ino
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, offset, _, number, *_ = line.split()
        if int(number) == inode:
            first, last = (int(part, 16) for part in span.split("-"))
            found.append((first, last, int(offset, 16)))
    return found


def _offset(view: Any, mapped: list[tuple[int, int, int]]) -> int:
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), ctypes.c_int(0))
    address = buffer.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    assert address is not None
    return next(address - first + offset for first, last, offset in mapped if first <= address < last)
