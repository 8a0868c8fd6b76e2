"""One look at a tree of a node that does not run: its state, and its rows, read only and checked as ever. Nobody may be writing to it (the data folder's lock)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scrubjay.base.ids import PartitionId, uuid_bytes
from scrubjay.storage.btree.engine import Row, TreeState
from scrubjay.storage.btree.lmdb_tree import TreeReader, open_databases, open_environment


class LmdbLook:
    """root: the node's folder. Raises Missing, Corrupt, Unavailable. `close` it."""

    def __init__(self, root: Path, partition: PartitionId) -> None:
        self._environment = open_environment(str(root / "replicas" / partition / "btree"), write=False)
        try:
            databases = open_databases(self._environment, create=False)
            self._transaction = self._environment.begin(buffers=False)
            self._reader = TreeReader(self._transaction, databases, uuid_bytes(partition))
            self.state: TreeState = self._reader.facts().state
        except BaseException:
            self._environment.close()
            raise

    def range(self, start: bytes, end: bytes | None) -> Iterator[Row]:
        """See `Tree.range`."""
        return self._reader.range(start, end)

    def close(self) -> None:
        self._transaction.abort()
        self._environment.close()
