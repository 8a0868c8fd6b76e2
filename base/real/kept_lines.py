"""Lines kept in two files of bounded size: `NAME` that is written to and `NAME.1` that was before it. Never fails its caller: what could not be written is
counted, and the first line that can be says how many were lost."""

from __future__ import annotations

import os
from pathlib import Path

FILE_BYTES_MAX = 4 << 20


class KeptLines:
    """Lines of one process, in `path`. Nothing is synced: what a power loss takes of a log nobody was promised."""

    def __init__(self, path: Path, *, limit: int = FILE_BYTES_MAX) -> None:
        self._path, self._limit = path, limit
        self._file: int | None = None
        self._size = 0
        self.lost = 0
        """Lines since the last one that was written."""

    @property
    def before(self) -> Path:
        return self._path.with_name(f"{self._path.name}.1")

    def write(self, line: str) -> None:
        """A line, without its end. One that is longer than a file may be is lost."""
        told = f'{{"event":"lines of the log were lost","lines":{self.lost}}}\n' if self.lost else ""
        data = f"{told}{line}\n".encode(errors="backslashreplace")
        try:
            if len(data) > self._limit:
                raise OSError("longer than a file may be")
            file = self._open()
            if self._size + len(data) > self._limit:
                file = self._turn()
            done = os.write(file, data)
            self._size += done
            if done < len(data):
                raise OSError("no room for the whole line")
        except OSError:
            self.lost += 1
            self.close()
        else:
            self.lost = 0

    def close(self) -> None:
        """The next line opens the file again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            self._path.parent.mkdir(exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._file).st_size
            if (
                self._size and os.pread(self._file, 1, self._size - 1) != b"\n"
            ):  # half a line, of a full disk or of a process that was killed
                self._size += os.write(self._file, b"\n")
        return self._file

    def _turn(self) -> int:
        self.close()
        self._path.replace(self.before)
        return self._open()
