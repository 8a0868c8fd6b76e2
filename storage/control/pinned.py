"""A copy that a node keeps pinned at one LSN, as a coordinator reads it."""

from __future__ import annotations

from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.btree.engine import RowFact, ScanResult
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.node import errand_messages as messages

DIGEST_LIMIT_S = 7 * 86_400.0
"""A scan is as slow as its pace; what bounds it is its pin."""


class PinnedCopy:
    """Implements `storage.service_port.Pinned`."""

    def __init__(self, asking: Asking, node: NodeName, partition: PartitionId, lsn: Lsn) -> None:
        self._asking, self._node, self._partition, self._lsn = asking, node, partition, lsn

    async def digest(self, *, bytes_per_second: int | None) -> ScanResult:
        errand = messages.DigestCopy(self._partition, self._lsn, bytes_per_second)
        found = await self._asking.errand(self._node, errand, messages.DigestScanned, limit_s=DIGEST_LIMIT_S)
        digest = RangeDigest(found.lo, found.hi)
        digest.load(found.digest)
        return ScanResult(digest, found.bad, found.structure, found.bytes_read)

    async def rows(self, start: bytes, end: bytes | None) -> list[RowFact]:
        """Page by page."""
        rows: list[RowFact] = []
        while True:
            page = await self._asking.ask(self._node, messages.PinnedRows(self._partition, self._lsn, start, end), messages.RowPage)
            rows += [one.fact for one in page.rows]
            if not page.more or not page.rows:
                return rows
            start = page.rows[-1].key + b"\0"

    async def item(self, key: bytes) -> bytes | None:
        """From the copy's live tree: what names a key does not change with versions."""
        return (await self._asking.ask(self._node, messages.ReadRow(self._partition, key, serving=False), messages.FoundRow)).item

    def release(self) -> None:
        self._asking.tell(self._node, messages.Unpin(self._partition, self._lsn))
