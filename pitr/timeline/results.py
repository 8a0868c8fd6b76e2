"""What a comparison found, kept below the data folder until it is fetched: page by page, so that neither side holds all of it. Gone with the process."""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import Corrupt, Unavailable

FOLDER = "tmp/timeline"
KEPT = 4
"""Results that wait to be fetched. The oldest goes first."""
PAGE_BYTES = 1 << 20
LINE_BYTES_MAX = 64 << 20
"""Of one change: two items of ITEM_ENCODED_BYTES_MAX, written out."""


class ResultPage(NamedTuple):
    """lines: each a JSON object. next: where the next page begins, None: that was all."""

    lines: list[bytes]
    next: str | None


class Results:
    """disk: rooted at the data folder, where jobs write."""

    def __init__(self, env: Env, disk: Disk) -> None:
        self._env, self._disk = env, disk
        self._kept: dict[str, list[str]] = {}

    def sweep(self) -> None:
        """At start: what another life left behind."""
        if self._disk.exists(FOLDER):
            self._disk.remove_tree(FOLDER)

    def begin(self) -> str:
        """A new result; its files go below `folder_of`."""
        ident = self._env.rand.uuid()
        self._disk.mkdir(folder_of(ident))
        return ident

    def keep(self, ident: str, files: list[str]) -> None:
        """files: in the order in which they are fetched, each of whole lines."""
        self._kept[ident] = files
        for old in list(self._kept)[: max(0, len(self._kept) - KEPT)]:
            self.drop(old)

    def drop(self, ident: str) -> None:
        """No error if it is not there."""
        self._kept.pop(ident, None)
        if self._disk.exists(folder_of(ident)):
            self._disk.remove_tree(folder_of(ident))

    def page(self, ident: str, at: str) -> ResultPage:
        """at: "" at first, then what the page before said. Raises Unavailable (ResourceNotFound), Corrupt (a file)."""
        files = self._kept.get(ident)
        number, _, start = at.partition(":") if at else ("0", "", "0")
        if files is None or not (number.isdecimal() and start.isdecimal()) or int(number) > len(files):
            raise Unavailable(
                "no such result",
                error_code="ResourceNotFound",
                asked=ident,
                found="the server was restarted, or others came after it",
                next="run the verb again",
            )
        which, offset = int(number), int(start)
        if which == len(files):
            return ResultPage([], None)
        file = self._disk.open(files[which])
        try:
            data = file.pread(offset, PAGE_BYTES)
            while data and b"\n" not in data and len(data) <= LINE_BYTES_MAX:
                data += (more := file.pread(offset + len(data), PAGE_BYTES))
                if not more:
                    break
        finally:
            file.close()
        whole, newline, _ = data.rpartition(b"\n")
        if data and not newline:
            raise Corrupt("a kept result ends within a line", what="result", where=files[which])
        if not data:
            return ResultPage([], f"{which + 1}:0" if which + 1 < len(files) else None)
        return ResultPage(whole.split(b"\n"), f"{which}:{offset + len(whole) + 1}")


def folder_of(ident: str) -> str:
    return f"{FOLDER}/{ident}"
