"""A model of tree files for the simulator: what `storage.btree.treefile` is on a machine, on a simulated disk, with the same proofs.

The file is a row file, not an LMDB environment: what is simulated is who makes it, who takes its bytes, what they prove, and what becomes of a copy whose file rotted, was torn, or is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_128

from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Disk
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.storage.btree.beside import folder_of
from scrubjay.storage.btree.engine import Row, TreeFile
from scrubjay.storage.btree.rowfile import RowFileWriter, read_rowfile
from scrubjay.storage.log.digest import RangeDigest

FILE = "tree"
MAKER = "scrubjay.storage.btree.memory_treefile:ModelTreeWriter"


class ModelTreeWriter:
    """Implements `storage.btree.beside.TreeMaker` on `disk`."""

    def __init__(self, disk: Disk, folder: str, partition: bytes) -> None:
        self._disk, self._folder = disk, folder
        self._pieces: list[bytes] = []
        self._writer = RowFileWriter(self._pieces.append)
        self._done = False
        if disk.exists(folder):
            disk.remove_tree(folder)
        disk.mkdir(folder)

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> None:
        self._writer.add_all(rows, hashes)

    def finish(self, lo: bytes, hi: bytes | None) -> TreeFile:
        self._writer.finish()
        self._disk.write_file(f"{self._folder}/{FILE}", b"".join(self._pieces))
        data = self._disk.read_file(f"{self._folder}/{FILE}") or b""
        digest, size = RangeDigest(lo, hi), 0
        for row in rows_in(data):
            digest.add(row.key, row_hash(row.key, row.item))
            size += len(row.key) + len(row.item)
        self._done = True
        return TreeFile(len(data), xxh3_128(data).digest(), digest.encode(), size)

    def close(self) -> None:
        if not self._done and self._disk.exists(self._folder):
            self._disk.remove_tree(self._folder)


def rows_in(data: bytes) -> list[Row]:
    """Raises Corrupt."""
    return list(read_rowfile(lambda offset, length: data[offset : offset + length], len(data)))


def rows_taken(disk: Disk | None, partition: str, made: TreeFile, *, last: bool) -> list[Row]:
    """As a node takes one copy. disk: where tree files lie on this machine, None: nowhere. Raises Missing, Corrupt."""
    path = f"{folder_of(partition)}/{FILE}"
    data = None if disk is None else disk.read_file(path)
    if data is None or disk is None:
        raise Missing("no tree file", what=partition)
    if (len(data), xxh3_128(data).digest()) != (made.size, made.hash):
        raise Corrupt("the copy of a tree file is not what was read back", what="tree", expected=made.hash.hex())
    if last:
        disk.remove(path)
    return rows_in(data)
