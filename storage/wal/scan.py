"""Reading the files of the WAL for recovery: which batches a file holds, which of them are known to have been synced (docs/formats/wal.md, "Recovery").

Every file is read once, one in memory at a time. What one file needs to know of the others is little: the marks of all, and the first batch of each. Only if
a batch is bad are the files behind it looked through, to learn whether a later one is readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.env import Disk, File
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.storage.wal.format import (
    ALIGN,
    BATCH_MAGIC,
    BATCH_SIZE,
    DATA_START,
    MARK_SLOTS,
    BatchHeader,
    align,
    decode_batch_header,
    decode_mark,
)
from scrubjay.storage.wal.state import WalFile

_BLOCK = 4096
_STRIDE = 1 << 20
_ZEROS = bytes(_STRIDE)


class Stretch(NamedTuple):
    """One stretch of a file. header None: unreadable. good: its body checks."""

    offset: int
    end: int
    header: BatchHeader | None
    good: bool


class Scan(NamedTuple):
    """One file as read. end: offset up to which its successor says that it was synced, None if that does not say."""

    file: WalFile
    data: bytes
    items: list[Stretch]
    end: int | None


class FileFacts(NamedTuple):
    """What is known of a file without reading it all. mark: its newest valid mark of this life, in slot number `slot`. following: ids of the files that its marks of
    this life name as the next, the newest mark's last. unknown: neither slot can be read, or the file is shorter than it was made. first: its first batch."""

    mark: BatchHeader | None
    slot: int
    following: tuple[int, ...]
    unknown: bool
    first: BatchHeader | None


def read_tolerant(handle: File, size: int, *, start: int = 0) -> bytes:
    """`size` bytes from `start`; blocks the disk cannot read count as zeros. Raises what the machine refuses (Unavailable)."""
    try:
        return handle.pread(start, size)
    except Corrupt:
        parts = []
        for offset in range(start, start + size, _BLOCK):
            length = min(_BLOCK, start + size - offset)
            try:
                parts.append(handle.pread(offset, length).ljust(length, b"\0"))
            except Corrupt:
                parts.append(bytes(length))
        return b"".join(parts)


def _pread(handle: File, offset: int, length: int) -> bytes:
    try:
        return handle.pread(offset, length)
    except Corrupt:
        return b""


def batches(file: WalFile, data: bytes) -> Iterator[Stretch]:
    """The batches of this life of the file, in order, with the unreadable stretches between them. Raises Unsafe (another version)."""
    at, size, view, id_ = DATA_START, len(data), memoryview(data), file.id
    while at + BATCH_SIZE <= size:
        header = decode_batch_header(view, at, file=id_, offset=at)
        start = at + BATCH_SIZE
        end = align(start + header.length) if header is not None else 0
        if header is None or end > size:
            following = _next_header(file, data, at + ALIGN)
            if following is None:
                return
            yield Stretch(at, following, None, good=False)
            at = following
            continue
        yield Stretch(at, end, header, crc32c_masked(view[start : start + header.length]) == header.body_crc)
        at = end


def _header_at(file: WalFile, data: bytes, at: int) -> BatchHeader | None:
    header = decode_batch_header(data, at, file=file.id, offset=at)
    return None if header is None or header.end > len(data) else header


def _next_header(file: WalFile, data: bytes, at: int) -> int | None:
    """Where the next batch of this life starts at or behind `at`. What was never written (most of a fresh file) is passed over quickly."""
    while at < len(data):
        stop = min(at + _STRIDE, len(data))
        if data[at:stop] != _ZEROS[: stop - at]:
            while (found := data.find(BATCH_MAGIC, at, min(stop + len(BATCH_MAGIC) - 1, len(data)))) >= 0:
                if found % ALIGN == 0 and _header_at(file, data, found) is not None:
                    return found
                at = found + 1
        at = stop
    return None


def _content(handle: File, size: int) -> bytes:
    """The whole file, or nothing if it holds zeros alone."""
    parts = [read_tolerant(handle, min(_STRIDE, size - start), start=start) for start in range(0, size, _STRIDE)]
    if all(part == _ZEROS[: len(part)] for part in parts):
        return b""
    return b"".join(parts)


class Files:
    """The files of a folder as recovery sees them, in the order of their ids. unsynced: why what was read could not be made durable."""

    def __init__(self, disk: Disk, directory: str, names: list[str]) -> None:
        """names: in order. Every file is opened and synced: what a killed process wrote and did not sync reads like the rest, and the next life builds on it."""
        self.files: list[WalFile] = []
        self.facts: list[FileFacts] = []
        self.unsynced: ScrubjayError | None = None
        self.size_bytes = 0
        for name in names:
            handle = disk.open(f"{directory}/{name}")
            file = WalFile(int(name[:16], 16), name, handle, DATA_START, handle.size())
            self._make_durable(handle)
            self.files.append(file)
            self.facts.append(_facts(file))
            file.unfit = self.facts[-1].unknown
            self.size_bytes += handle.size()
        self._looked: tuple[int, int] | None = None

    def _make_durable(self, handle: File) -> None:
        try:
            handle.sync()
        except ScrubjayError as error:
            self.unsynced = error

    def scans(self) -> Iterator[Scan]:
        for index, file in enumerate(self.files):
            data = _content(file.handle, file.handle.size())
            end = self._end(index)
            items: list[Stretch] = []
            for item in batches(file, data):
                if end is not None and item.offset >= end:
                    break
                items.append(item)
            if end is not None:
                reached = items[-1].end if items else DATA_START
                if reached < end:
                    items.append(Stretch(reached, end, None, good=False))
            yield Scan(file, data, items, end)

    def _end(self, index: int) -> int | None:
        """The end that the first batch of a later file names as synced, if that batch is readable."""
        id_ = self.files[index].id
        for facts in self.facts[index + 1 :]:
            if facts.first is not None:
                return facts.first.previous_end if facts.first.previous_file == id_ else None
        return None

    @property
    def synced(self) -> int:
        """Highest sequence number of which it is known that it was synced: of a readable batch, or named by a mark. Reads all files, once."""
        return self._look_through()[1]

    @property
    def first_readable(self) -> int:
        """Sequence number of the first readable batch, 1 if there is none. Reads all files, once."""
        return self._look_through()[0]

    def _look_through(self) -> tuple[int, int]:
        if self._looked is None:
            mark = self.newest_mark()
            first, newest = 0, 0 if mark is None else mark.sequence
            for scan in self.scans():
                for item in scan.items:
                    if item.good and item.header is not None:
                        first, newest = first or item.header.sequence, max(newest, item.header.sequence)
            self._looked = (first or 1, newest)
        return self._looked

    def newest_mark(self) -> BatchHeader | None:
        return max((facts.mark for facts in self.facts if facts.mark is not None), key=lambda mark: mark.sequence, default=None)


def _facts(file: WalFile) -> FileFacts:
    head = _pread(file.handle, 0, DATA_START)
    slots = [(slot, mark) for slot, offset in enumerate(MARK_SLOTS) if (mark := decode_mark(head, offset)) is not None]
    own = sorted(
        [(mark.header.sequence, slot, mark) for slot, mark in slots if mark.header is not None and mark.header.file == file.id],
        key=lambda one: one[:2],
    )
    first = decode_batch_header(_pread(file.handle, DATA_START, BATCH_SIZE), file=file.id, offset=DATA_START)
    if first is not None and crc32c_masked(_pread(file.handle, DATA_START + BATCH_SIZE, first.length)) != first.body_crc:
        first = None
    cut_off = any(file.size < mark.size for _, mark in slots)  # a file is whole and durable, its slots too, before it gets its name
    return FileFacts(
        mark=own[-1][2].header if own else None,
        slot=own[-1][1] if own else 0,
        following=tuple(mark.following for _, _, mark in own if mark.following),
        unknown=cut_off or not slots,
        first=first,
    )
