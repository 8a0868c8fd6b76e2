"""Where records lie in the WAL's files, for whoever reads many of them off the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scrubjay.base.env import File

WINDOW_BYTES = 1 << 20
"""Of a file that is read at once."""
GAP_BYTES = 16 << 10
"""What lies between two runs (frame heads, other logs) is read with them up to here: that costs less than another call."""


class DiskRun(NamedTuple):
    """`length` bytes at `offset` of `file`: records, one after the other."""

    file: File
    offset: int
    length: int


def read_runs(runs: Sequence[DiskRun]) -> bytes:
    """The bytes of all of them in their order, **unchecked**: for a thread, beside which the log goes on. A file may be closed, or begun anew, meanwhile: whoever asks compares them with a hash that
    he knows, and has the WAL itself say what is wrong if they differ. Fewer bytes than asked for: a file ended. Raises Corrupt (I/O error), Exhausted."""
    return b"".join([piece for window in _windows(runs) for piece in _pieces(window)])


def _pieces(runs: Sequence[DiskRun]) -> list[memoryview]:
    start = runs[0].offset
    data = memoryview(runs[0].file.pread(start, runs[-1].offset + runs[-1].length - start))
    return [data[run.offset - start : run.offset - start + run.length] for run in runs]


def _windows(runs: Sequence[DiskRun]) -> Iterator[Sequence[DiskRun]]:
    """Those that one read takes in together. Pure."""
    begun = 0
    for at in range(1, len(runs) + 1):
        if at == len(runs) or not _with(runs[begun], runs[at - 1], runs[at]):
            yield runs[begun:at]
            begun = at


def _with(first: DiskRun, before: DiskRun, run: DiskRun) -> bool:
    gap = run.offset - before.offset - before.length
    return run.file is before.file and 0 <= gap <= GAP_BYTES and run.offset + run.length - first.offset <= WINDOW_BYTES
