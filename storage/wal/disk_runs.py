"""Where records lie in the WAL's files, for whoever reads many of them off the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scrubjay.base.env import File

WINDOW_BYTES = 1 << 20
"""Of a file that is read at once."""
GAP_BYTES = 16 << 10
"""What lies between two places (frame heads, other logs) is read with them up to here: that costs less than another call."""


class DiskRun(NamedTuple):
    """`length` bytes at `offset` of `file`: records, one after the other."""

    file: File
    offset: int
    length: int


def read_runs(places: Sequence[DiskRun]) -> bytes:
    """The bytes of all of them in their order, **unchecked**: for a thread, beside which the log goes on. A file may be closed, or begun anew, meanwhile: whoever asks compares them with a hash that
    he knows, and has the WAL itself say what is wrong if they differ. Fewer bytes than asked for: a file ended. Raises Corrupt (I/O error), Exhausted."""
    return b"".join([piece for window in _windows(places) for piece in _pieces(window)])


def _pieces(places: Sequence[DiskRun]) -> list[memoryview]:
    start = places[0].offset
    data = memoryview(places[0].file.pread(start, places[-1].offset + places[-1].length - start))
    return [data[place.offset - start : place.offset - start + place.length] for place in places]


def _windows(places: Sequence[DiskRun]) -> Iterator[Sequence[DiskRun]]:
    """Runs of places that one read takes in. Pure."""
    begun = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or not _with(places[begun], places[at - 1], places[at]):
            yield places[begun:at]
            begun = at


def _with(first: DiskRun, before: DiskRun, place: DiskRun) -> bool:
    gap = place.offset - before.offset - before.length
    return place.file is before.file and 0 <= gap <= GAP_BYTES and place.offset + place.length - first.offset <= WINDOW_BYTES
