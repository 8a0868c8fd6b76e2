"""A copy that a node keeps pinned at one LSN, as a coordinator reads it."""

from __future__ import annotations

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.btree.engine import RowFact, ScanResult
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.port import Fine

DIGEST_LIMIT_S = 7 * 86_400.0
"""A scan is as slow as its pace; what bounds it is its pin."""
KEEP_S = 15.0
"""Between two times that a pin is kept on."""


class PinnedCopy:
    """Implements `storage.service_port.Pinned`. `keep()` once it is pinned: it stays so until it is released, however slow the scan, or its node gives it up."""

    def __init__(self, env: Env, asking: Asking, node: NodeName, partition: PartitionId, lsn: Lsn) -> None:
        self._env, self._asking, self._node, self._partition, self._lsn = env, asking, node, partition, lsn
        self._keeping: Task[None] | None = None

    def keep(self) -> None:
        self._keeping = self._env.tasks.spawn(self._keep(), name=f"pin {self._partition}")

    async def _keep(self) -> None:
        while True:
            await self._env.tasks.sleep(KEEP_S)
            try:
                await self._asking.ask(self._node, messages.KeepPin(self._partition, self._lsn), Fine)
            except Unavailable as error:
                if error.fields.get("pin") is not None:
                    return  # whoever reads it is told the same
            except ScrubjayError:
                continue  # asked again: a pin outlives many a question that is lost

    async def digest(self, *, bytes_per_second: int | None) -> ScanResult:
        errand = messages.DigestCopy(self._partition, self._lsn, bytes_per_second)
        found = await self._asking.errand(self._node, errand, messages.DigestScanned, limit_s=DIGEST_LIMIT_S)
        digest = RangeDigest(found.lo, found.hi)
        digest.load(found.digest)
        entries = found.entries if isinstance(found, messages.IndexDigestScanned) else b""
        return ScanResult(digest, found.bad, found.structure, found.bytes_read, entries)

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
        if self._keeping is not None:
            self._keeping.cancel()
        self._asking.tell(self._node, messages.Unpin(self._partition, self._lsn))
