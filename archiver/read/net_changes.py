"""Net changes of many segments by key, beyond what memory holds: sorted runs in scratch files, and their merge.

A run covers consecutive segments, and a later run only later ones. Runs are scratch: nothing is durable, and whoever made them removes them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

from scrubjay.base.env import Disk, File
from scrubjay.base.errors import Corrupt

ABSENT = -1
BLOCK_ENTRIES = 1024
WRITE_BYTES = READ_BYTES = 1 << 20
_ENTRY = struct.Struct("<HBIQQI16s")
"""key length, flags, item length, lsn, stamp, met, hash; key and item follow."""
_THERE, _PUT = 1, 2


class NetChange(NamedTuple):
    """What some segments made of one key. met: index of the segment that first touched it. hash: of its row at the end of them, ABSENT if it is deleted there.
    lsn, stamp, item: of the last record within the cut, item None if it deletes; lsn 0: none is within."""

    key: bytes
    met: int
    hash: int
    lsn: int
    stamp: int
    item: bytes | None


class Taken:
    """What has to be taken off the sums of a state, by the index of the segment from which on: rows that were there before the segment touched their keys."""

    def __init__(self, segments: int) -> None:
        self.sums = [0] * segments
        self.rows = [0] * segments

    def row(self, met: int, hash_: int) -> None:
        self.sums[met] += hash_
        self.rows[met] += 1


class Runs:
    """disk, path: of the scratch files, `path.run-N`. Use: `keep` run by run, then `merged` once, then `remove`, whatever came of it."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk, self._path = disk, path
        self._files: list[tuple[str, File]] = []

    def __len__(self) -> int:
        return len(self._files)

    def keep(self, entries: Iterable[NetChange]) -> None:
        """One more run; entries in key order. Raises DiskFull, Unavailable."""
        path = f"{self._path}.run-{len(self._files)}"
        if self._disk.exists(path):
            self._disk.remove(path)
        file = self._disk.open(path, create_size=0)
        self._files.append((path, file))
        pieces: list[bytes] = []
        offset = size = 0
        for key, met, hash_, lsn, stamp, item in entries:
            flags = (0 if hash_ == ABSENT else _THERE) | (0 if item is None else _PUT)
            body = item or b""
            there = b"" if hash_ == ABSENT else hash_.to_bytes(16, "little")
            pieces += (_ENTRY.pack(len(key), flags, len(body), lsn, stamp, met, there), key, body)
            size += _ENTRY.size + len(key) + len(body)
            if size >= WRITE_BYTES:
                file.write(offset, b"".join(pieces))
                offset += size
                pieces, size = [], 0
        file.write(offset, b"".join(pieces))

    def merged(self, last: Iterator[list[NetChange]], taken: Taken) -> Iterator[list[NetChange]]:
        """The net of all runs and of `last`, the run that was not kept, in key order, a block at a time. Where a run found a row that an earlier one had left, it is
        told to `taken`."""
        waiting = [Ahead(source) for source in (*(_blocks_of(file) for _, file in self._files), last)]
        while waiting := [one for one in waiting if one.block]:
            upto = min(one.block[-1].key for one in waiting)
            entries = [entry for one in waiting for entry in one.upto(upto)]
            entries.sort(key=itemgetter(0))  # stable: of one key the earlier run's comes first
            yield _folded(entries, taken)

    def remove(self) -> None:
        for path, file in self._files:
            file.close()
            if self._disk.exists(path):
                self._disk.remove(path)
        self._files = []


class Ahead:
    """block: what a source has given and nobody taken; empty: it has ended."""

    def __init__(self, source: Iterator[list[NetChange]]) -> None:
        self._source = source
        self.block: list[NetChange] = next(source, [])

    def upto(self, key: bytes) -> list[NetChange]:
        """All up to a key."""
        found: list[NetChange] = []
        while self.block and self.block[0].key <= key:
            found += self._of_block(key)
        return found

    def rest(self) -> list[NetChange]:
        """The next ones, however many; none: it has ended."""
        found, self.block = self.block, next(self._source, [])
        return found

    def _of_block(self, key: bytes) -> list[NetChange]:
        at = bisect_right(self.block, key, key=itemgetter(0))
        taken, self.block = self.block[:at], self.block[at:]
        if not self.block:
            self.block = next(self._source, [])
        return taken


def _folded(entries: list[NetChange], taken: Taken) -> list[NetChange]:
    """Several nets of one key as one."""
    folded: list[NetChange] = []
    before: NetChange | None = None
    for entry in entries:
        if before is not None and before.key == entry.key:
            if before.hash != ABSENT:
                taken.row(entry.met, before.hash)
            newest = entry if entry.lsn else before
            folded[-1] = before = NetChange(entry.key, before.met, entry.hash, newest.lsn, newest.stamp, newest.item)
        else:
            folded.append(entry)
            before = entry
    return folded


def _blocks_of(file: File) -> Iterator[list[NetChange]]:
    """A kept run. Raises Corrupt if the file does not hold what was written: it is ours, and no fault of the archive."""
    size, offset, data = file.size(), 0, b""
    unpack, head, make = _ENTRY.unpack_from, _ENTRY.size, tuple.__new__
    while offset < size or data:
        more = file.pread(offset, min(READ_BYTES, size - offset))
        offset += len(more)
        data += more
        entries: list[NetChange] = []
        at, end = 0, len(data)
        while end - at >= head:
            key_length, flags, item_length, lsn, stamp, met, hash_ = unpack(data, at)
            middle = at + head + key_length
            after = middle + item_length
            if after > end:
                break
            entries.append(
                make(
                    NetChange,
                    (
                        data[at + head : middle],
                        met,
                        int.from_bytes(hash_, "little") if flags & _THERE else ABSENT,
                        lsn,
                        stamp,
                        data[middle:after] if flags & _PUT else None,
                    ),
                )
            )
            at = after
        if not more and not entries:
            raise Corrupt("a scratch file ends within an entry", what="scratch")
        data = data[at:]
        if entries:
            yield entries
