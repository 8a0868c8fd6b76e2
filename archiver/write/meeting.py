"""Where a log and the archive meet: does the history in the archive end in ours? LSNs alone do not say so, a data folder put back from an older snapshot
has the same numbers for other records. Compared is the chain value, at every seal that both know."""

from __future__ import annotations

import hashlib

from scrubjay.archiver.format.layout import SegmentKey, build, log_prefix, parse
from scrubjay.archiver.format.manifest import SegmentManifest, decode_manifest
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.archive_port import ArchivedHistory, LogSource

AHEAD = "the archive is ahead of the log"
OTHER = "the archive holds another history than the log"


async def meet(store: ObjectStore, cluster: str, source: LogSource, partition: PartitionId, *, taken_over: int) -> str | None:
    """Why the log does not continue the archive; None if it does. source: the leader's, asked before and after the look at the archive, since the log may
    grow meanwhile. taken_over: manifests of epochs up to this one do not count.

    One listing from the newest segment that the log knows to be archived, and the manifests listed. Of a pack that began before it nothing is seen; behind each pack lies
    at least one segment that is none (`archiver.compact`), and by that the archive is as far ahead. A tail that the archive lost is no matter here: it is a
    hole, which coverage reports. Objects that do not decode say nothing. A manifest over records that the log itself still holds, byte for byte, is no other
    history, whatever else it says: it is forged, and blamed. Raises Unavailable, also when this member does not lead (any more).
    """
    before = source.history(partition)
    if before is None:
        raise Unavailable("nobody leads this partition here")
    prefix = log_prefix(cluster, before.table, before.partition)
    page = await store.list(prefix, after=f"{prefix}{before.archived_first or before.archived + 1:016x}")
    keys = [key for key in (parse(info.key) for info in page.objects) if isinstance(key, SegmentKey) and key.manifest]
    groups: dict[tuple[int, int, str], list[SegmentKey]] = {}
    for key in keys:
        groups.setdefault((key.first, key.last, key.sha16), []).append(key)
    read = [manifest for name in sorted(groups) if (manifest := await _readable(store, groups[name])) is not None]
    found = [part for manifest in read for part in manifest.each()]
    after = source.history(partition)
    if after is None:
        raise Unavailable("nobody leads this partition here any more")
    counted = [manifest for manifest in found if manifest.epoch > taken_over]
    if compare(after, counted) is None:
        return None
    forged = [manifest for manifest in counted if compare(after, [manifest]) is not None and _holds(source, manifest)]
    reason = compare(after, [manifest for manifest in counted if manifest not in forged])
    if reason is None:
        for manifest in forged:
            where = build(manifest.key().twin())
            detail = "the manifest is over records that our log holds, and says something else of them"
            source.blame(partition, object=where, kind=FORGED, lsn=Lsn(manifest.first), detail=detail)
    return reason


def _holds(source: LogSource, manifest: SegmentManifest) -> bool:
    """This member's log has exactly the records that the manifest is over. What the log has let go of proves nothing."""
    try:
        raw = b"".join(source.read_raw(PartitionId(manifest.partition), Lsn(manifest.first), Lsn(manifest.last)))
    except (Corrupt, Missing):
        return False
    return hashlib.sha256(raw).hexdigest() == manifest.raw.sha256


async def _readable(store: ObjectStore, group: list[SegmentKey]) -> SegmentManifest | None:
    """Of the generations of one segment the highest that decodes."""
    for key in sorted(group, key=lambda one: -one.generation):
        where = build(key)
        try:
            return decode_manifest(await store.get(where), where=where)
        except (Corrupt, Missing):
            continue
    return None


def compare(history: ArchivedHistory, manifests: list[SegmentManifest]) -> str | None:
    """The pure part of `meet`. manifests: valid ones from the newest archived segment on.

    A manifest with our records and another chain value is forged, no other history: the agents refute it. One that agrees makes up for any beside it.
    """
    known: dict[int, bytes] = {last: chain for last, chain, _ in history.sealed}
    records: dict[int, str] = {last: raw.hex() for last, _, raw in history.sealed}
    if history.last_seal:
        known[history.last_seal] = history.chain
    if history.archived_chain:
        known[history.archived] = history.archived_chain
    agreed = {manifest.last for manifest in manifests if known.get(manifest.last) == manifest.chain}
    for manifest in manifests:
        where = build(manifest.key().twin())
        if manifest.last in agreed or records.get(manifest.last) == manifest.raw.sha256:
            continue
        if manifest.last in known:
            return f"{OTHER}: at LSN {manifest.last} the chain values differ ({where})"
        if manifest.last > history.last_seal:
            return f"{AHEAD}: it holds records up to LSN {manifest.last}, the log's last seal is at {history.last_seal} ({where})"
        if manifest.last > history.archived:
            return f"{OTHER}: a segment ends at LSN {manifest.last}, where the log has no seal ({where})"
    return None
