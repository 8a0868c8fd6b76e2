"""A tree made once for every copy of a new partition that lives on the machine where its rows were rebuilt (ADR 0059).

The trees of a base at LSN 0 are equal by construction: the same rows, in the same order, in the same commits. So whoever rebuilds the rows makes one beside the row file, reads it back
row by row, and says by a hash over the whole file what was read back. Each copy gets bytes of its own, and recomputes that hash from them: what is served is what was read.

Not for another machine: a tree is bytes of this one's page size and byte order. There, and where anything of a tree file does not check, a copy is loaded from the row file.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb
from xxhash import xxh3_128

from scrubjay.base.env import Disk
from scrubjay.base.errors import Corrupt
from scrubjay.base.oserrors import error_of_os
from scrubjay.storage.btree.engine import EMPTY, Row, TreeFile
from scrubjay.storage.btree.lmdb_tree import FILE, TreeReader, TreeWriter, error_of, open_databases, open_environment
from scrubjay.storage.btree.scan import scan_digest

MAKER = "scrubjay.storage.btree.treefile:lmdb_tree"
"""For `storage.btree.beside.TreesHere`."""
READ_BYTES = 1 << 20
COPY_BYTES = 64 << 20
_NO_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
"""What a kernel or a file system says that does not copy within itself."""


class TreeFileWriter:
    """folder: made, or emptied, by this; it goes with `close` unless `finish` has come through. partition: 16 raw bytes. Raises DiskFull, Unavailable, Exhausted."""

    def __init__(self, folder: Path, partition: bytes) -> None:
        self._folder, self._partition = folder, partition
        self._done = False
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise error_of_os(error.errno, what="tree file", action="make its folder") from error
        self._tree = TreeWriter(str(folder), partition, sync=False, create=True)
        self._loading = self._tree.loading()

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> None:
        """The next rows in key order, and the hash of each. Raises Corrupt (a key that no tree can hold)."""
        self._loading.add(rows, hashes)

    def finish(self, lo: bytes, hi: bytes | None) -> TreeFile:
        """Read it back: every row's hashes, every run, from the file's bytes. lo, hi: the partition's range. Raises Corrupt."""
        self._loading.finish(EMPTY)
        self._tree.close()  # what is read back was committed
        digest, item_bytes = _read_back(str(self._folder), self._partition, lo, hi)
        file = self._folder / FILE
        try:
            size, hash_ = file_hash(file)
        except OSError as error:
            raise error_of_os(error.errno, what="tree file", action="read it back") from error
        self._done = True
        return TreeFile(size, hash_, digest, item_bytes)

    def close(self) -> None:
        """May be called again."""
        self._tree.close()
        if not self._done:
            shutil.rmtree(self._folder, ignore_errors=True)


def lmdb_tree(disk: Disk, folder: str, partition: bytes) -> TreeFileWriter:
    """disk: has no part in it; LMDB writes where the machine says that the folder is."""
    return TreeFileWriter(Path(folder), partition)


def _read_back(folder: str, partition: bytes, lo: bytes, hi: bytes | None) -> tuple[bytes, int]:
    environment = open_environment(folder, write=False)
    try:
        databases = open_databases(environment, create=False)
        with environment.begin() as transaction:
            steps = scan_digest(TreeReader(transaction, databases, partition), lo, hi)
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    found: Any = stop.value
                    break
    except lmdb.Error as error:
        raise error_of(error) from error
    finally:
        environment.close()
    if found.bad or found.structure:
        raise Corrupt("a tree file does not check", what="tree", bad=len(found.bad), structure=list(found.structure))
    return found.digest, found.bytes_read


def file_hash(path: Path) -> tuple[int, bytes]:
    """(size, xxh3_128) of all bytes of a file, read now. Raises OSError."""
    hash_, size = xxh3_128(), 0
    piece = bytearray(READ_BYTES)
    view = memoryview(piece)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while count := os.readv(descriptor, [piece]):
            hash_.update(view[:count])
            size += count
    finally:
        os.close(descriptor)
    return size, hash_.digest()


def copy_of(source: Path, target: Path, *, size: int, hash_: bytes, move: bool) -> None:
    """The bytes of `source` at `target`, durable, proven to be those that were read back. move: nobody else wants the file. Raises Corrupt (they are not), OSError."""
    if move:
        source.rename(target)
    else:
        copied(source, target)
    synced(target)
    proven(target, size=size, hash_=hash_)


def synced(target: Path) -> None:
    """Durable. Raises OSError."""
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def proven(target: Path, *, size: int, hash_: bytes) -> None:
    """Raises Corrupt (it is not what was read back), OSError."""
    found = file_hash(target)
    if found != (size, hash_):
        raise Corrupt(
            "the copy of a tree file is not what was read back", what="tree", expected=hash_.hex(), found=found[1].hex(), size=found[0]
        )


def copied(source: Path, target: Path) -> None:
    """Within the kernel, which shares blocks where the file system can."""
    read = os.open(source, os.O_RDONLY)
    try:
        write = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            with suppress(_NotHere):
                while _piece(read, write):
                    pass
                return
            with open(read, "rb", closefd=False) as old, open(write, "wb", closefd=False) as new:
                old.seek(0)
                new.seek(0)
                new.truncate()
                shutil.copyfileobj(old, new, READ_BYTES)
        finally:
            os.close(write)
    finally:
        os.close(read)


class _NotHere(Exception):
    """The kernel does not copy between these two files."""


def _piece(read: int, write: int) -> int:
    try:
        return os.copy_file_range(read, write, COPY_BYTES)
    except OSError as error:
        if error.errno in _NO_COPY:
            raise _NotHere from error
        raise
