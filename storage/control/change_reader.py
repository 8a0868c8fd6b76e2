"""What changed in one partition, read from its log: of a node as far as that holds it, behind that of the archive (ADR 0073). There is no second store.

Reads what is applied somewhere, so what is chosen: it is never taken back. Holds one page, and what whoever reads the archive keeps.
"""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, Missing, NoKey, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp, uuid_bytes
from scrubjay.storage.archive_port import ArchivedLog
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.log import record as records
from scrubjay.storage.log.item_changes import ChangesPage, ItemChange, changes_of
from scrubjay.storage.log.record import Record
from scrubjay.storage.log.stated import StreamName, ends_at
from scrubjay.storage.node.errand_messages import LogRead, ReadLog
from scrubjay.storage.node.port import asked

PAGE_CHANGES = 1000
PAGE_BYTES = 128 << 10
"""Of the log, at once: a node reads and checks them in one of its turns, a few milliseconds if its records are small."""
STEP_RECORDS = 128
"""So many are walked over before others have their turn."""


class RecordsPage(NamedTuple):
    """As ChangesPage, of records."""

    records: list[Record]
    upto: Lsn
    stamp: Stamp


class ChangeReader:
    """archive: what reads archived logs; None until a server has one."""

    def __init__(self, env: Env, fleet: Fleet, metadata: Metadata) -> None:
        self._env, self._fleet, self._metadata = env, fleet, metadata
        self.archive: ArchivedLog | None = None

    async def read(
        self,
        info: PartitionInfo,
        first: Lsn,
        *,
        position: int = 0,
        last: Lsn | None = None,
        stream: StreamName | None = None,
        limit: int = PAGE_CHANGES,
        max_bytes: int = PAGE_BYTES,
    ) -> ChangesPage:
        """The changes of a partition from a place in its log on, at most `limit`, and of about `max_bytes` bytes of records; maybe none though more follow: read on at `next`. Of a record that
        changed more than that a page shows a part. last: what lies behind it is not looked at. stream: nor is what lies behind a SCHEMA record that ends this one, though the catalogue may not say so here yet.

        Raises Missing (neither a node nor the archive holds it, or it is of a time when nobody asked for old items), Unavailable, Corrupt.
        """
        page = await self.records(info, first, max_bytes=max_bytes)
        found: list[ItemChange] = []
        size = 0
        for number, record in enumerate(page.records, 1):
            if number % STEP_RECORDS == 0:
                await self._env.tasks.sleep(0)
            if last is not None and record.lsn > last:
                return ChangesPage(found, (record.lsn, 0), page.upto, record.stamp)
            if stream is not None and ends_at(record, stream):
                return ChangesPage(found, (record.lsn if last is None else Lsn(last + 1), 0), Lsn(record.lsn - 1), record.stamp)
            for change in changes_of(record):
                if record.lsn == first and change.position < position:
                    continue
                if len(found) >= limit or (found and found[0].lsn == record.lsn and size + change.size > max_bytes):
                    return ChangesPage(found, (record.lsn, change.position), page.upto, record.stamp)
                found.append(change)
                size += change.size
        if not page.records:
            return ChangesPage(found, (first, position), page.upto, page.stamp)
        end = page.records[-1]
        return ChangesPage(found, (Lsn(end.lsn + 1), 0), page.upto, end.stamp)

    async def records(self, info: PartitionInfo, first: Lsn, *, max_bytes: int = PAGE_BYTES) -> RecordsPage:
        """The log from `first` on, as it is; none if nothing from there on is applied. Raises as `read`."""
        copies = self._copies(info)
        unasked: ScrubjayError | None = None
        """Why a copy could not say whether it holds that."""
        while copies:
            try:
                return await self._of(copies.pop(0), info, first, max_bytes)
            except Missing:  # all let go of what is archived, so the archive is asked before those whose logs may be longer by chance
                break
            except (Unavailable, Corrupt) as error:
                unasked = error
        try:
            return await self._archived(info, first, max_bytes)
        except (Missing, Corrupt, NoKey) as error:
            for name in copies:  # one that was healed begins behind what is not archived yet
                try:
                    return await self._of(name, info, first, max_bytes)
                except Missing:
                    continue
                except (Unavailable, Corrupt) as other:
                    unasked = other
            if unasked is not None:
                raise Unavailable("a copy that may hold it cannot be asked now", partition=info.partition_id, last=str(unasked)) from error
            raise

    async def _of(self, node: NodeName, info: PartitionInfo, first: Lsn, max_bytes: int) -> RecordsPage:
        """From one node's copy. Raises Missing, Unavailable, Corrupt."""
        read = await asked(self._env.tasks, self._fleet.ports[node], ReadLog(info.partition_id, first, max_bytes), LogRead)
        return RecordsPage(await self._decoded(read, info.partition_id, first), read.applied, read.stamp)

    async def _decoded(self, read: LogRead, partition: PartitionId, first: Lsn) -> list[Record]:
        owner = records.owner_tag(uuid_bytes(partition))
        found: list[Record] = []
        for lsn, data in enumerate(read.records, first):
            record = records.decode(data, owner=owner)
            if record.lsn != lsn:
                raise Corrupt("a node's log has a hole", what="record", lsn=lsn, found=record.lsn)
            found.append(record)
            if len(found) % STEP_RECORDS == 0:
                await self._env.tasks.sleep(0)
        return found

    def archived(self, info: PartitionInfo) -> Lsn:
        """Up to where its log is in the archive, or was before its time was over, as far as is known here."""
        return self._fleet.archived(info.partition_id)

    def _copies(self, info: PartitionInfo) -> list[NodeName]:
        """Who leads first, then who has applied furthest."""
        known = [facts for facts in self._fleet.facts(info.partition_id) if facts.up and facts.state != "base"]
        return [facts.node for facts in sorted(known, key=lambda one: (not one.answers, -one.applied, one.node))]

    async def _archived(self, info: PartitionInfo, first: Lsn, max_bytes: int) -> RecordsPage:
        table, _ = self._metadata.place(info.partition_id)
        if self.archive is None:
            raise Unavailable("the archive cannot be read here (yet)", partition=info.partition_id)
        found = await self.archive.read(table.table_id, info.partition_id, first, bytes_max=max_bytes)
        known = max((facts.applied for facts in self._fleet.facts(info.partition_id)), default=Lsn(0))
        return RecordsPage(found, max(known, found[-1].lsn), found[-1].stamp)


__all__ = ["PAGE_BYTES", "PAGE_CHANGES", "ChangeReader", "ChangesPage", "RecordsPage"]
