"""Putting one segment into the archive, and comparing one that is there: create-once, segment first, then manifest, generations for spoilt objects.

Every way a put can go wrong ends in one of three: it is there and right, it is there and bad (then the next generation says what it supersedes and why),
or the store did not answer (then the caller tries again later, from the start: every step may be repeated).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from archiver.identity import Writer
from archiver.layout import SegmentKey, build, log_prefix, parse
from archiver.manifest import SegmentManifest, Sums, Superseded, decode_manifest, encode_manifest, manifest_of
from archiver.outgoing import Outgoing
from archiver.rebuild import open_segment
from archiver.segment import decode_segment
from base.env import Env, ObjectStore
from base.errors import Corrupt, Exists, Missing, Unavailable
from storage.archive_port import PartitionFacts, SealedSegment

GENERATIONS_MAX = 32
"""A store in which so many copies of one segment went bad is not written to any more."""

Prepare = Callable[[int], Awaitable[Outgoing]]
"""prepare(generation): the checked segment object."""


class Placer:
    """Places and compares the segments of one node's replicas. note: told once per bad object, (partition, object key, what is wrong)."""

    def __init__(self, store: ObjectStore, env: Env, *, writer: Writer, node: str, note: Callable[[str, str, str], None]) -> None:
        self._store = store
        self._env = env
        self._writer = writer
        self._cluster = writer.cluster
        self._node = node
        self._note = note
        self._noted: dict[str, None] = {}

    def key(self, segment: SealedSegment, generation: int) -> SegmentKey:
        sha16 = segment.raw_sha256.hex()[:16]
        return SegmentKey(self._cluster, segment.table, segment.partition, segment.first, segment.last, generation, sha16, False)

    async def place(self, segment: SealedSegment, facts: PartitionFacts, prepare: Prepare) -> int:
        """Bring the segment into the archive; its generation. Raises Unavailable, DiskFull; Corrupt (from `prepare`, or out of generations)."""
        spoilt: tuple[Superseded, ...] = ()
        for generation in range(1, GENERATIONS_MAX + 1):
            bad = await self._place(segment, facts, generation, spoilt, await prepare(generation))
            if bad is None:
                return generation
            key, reason = bad
            self._say(segment, key, reason)
            spoilt = (*spoilt, Superseded(generation, reason))
        raise Corrupt("every generation of this segment has a bad object", what="segment", where=build(self.key(segment, GENERATIONS_MAX)))

    async def _place(
        self, segment: SealedSegment, facts: PartitionFacts, generation: int, spoilt: tuple[Superseded, ...], out: Outgoing
    ) -> tuple[str, str] | None:
        """None: segment and manifest of this generation are there and right. Else (object key, why it is bad)."""
        key = build(self.key(segment, generation))
        stored = out.stored
        try:
            await self._store.put(key, out.data)
        except Exists:
            found = await self._same_segment(key, out)
            if isinstance(found, str):
                return key, found
            stored = found
        manifest = manifest_of(
            segment,
            facts,
            writer=self._writer.attached,
            node=self._node,
            raw=out.raw,
            stored=stored,
            generation=generation,
            supersedes=spoilt,
        )
        name = build(self.key(segment, generation).twin())
        try:
            await self._store.put(name, encode_manifest(manifest))
        except Exists:
            there = await self._get(name)
            try:
                said = await self._env.tasks.blocking(lambda: decode_manifest(there, where=name))
            except Corrupt as error:
                return name, str(error)
            if _content(said) != _content(manifest):
                return name, "the manifest says something else"
        return None

    async def _same_segment(self, key: str, out: Outgoing) -> Sums | str:
        """Sums of the object that is already there if it holds our raw bytes (maybe compressed otherwise), else why not."""
        there = await self._get(key)
        if there == out.data:
            return out.stored
        try:
            segment = await self._env.tasks.blocking(lambda: decode_segment(there, where=key))
        except Corrupt as error:
            return str(error)
        if segment.raw_sha256.hex() != out.raw.sha256:
            return "the segment holds other records"
        return await self._env.tasks.blocking(lambda: Sums.of(there))

    async def _get(self, key: str) -> bytes:
        try:
            return await self._store.get(key)
        except Missing as error:
            raise Unavailable("an object was refused as existing, but it is not there", key=key) from error

    async def compare(self, segment: SealedSegment, raw: bytes) -> bool:
        """Whether a good generation of the segment, equal to `raw` (this member's WAL), is in the archive. Bad ones are noted. Raises Unavailable."""
        for generation in range(1, GENERATIONS_MAX + 1):
            key = self.key(segment, generation)
            name = build(key.twin())
            try:
                data = await self._store.get(name)
            except Missing:
                return False
            try:
                await self._compare(name, data, segment, raw)
            except Missing as error:
                self._say(segment, build(key), f"the segment object is gone: {error}")
            except Corrupt as error:
                self._say(segment, str(error.fields.get("where", name)), str(error))
            else:
                return True
        return False

    async def _compare(self, name: str, data: bytes, segment: SealedSegment, raw: bytes) -> None:
        manifest = await self._env.tasks.blocking(lambda: decode_manifest(data, where=name))
        if manifest.chain != segment.chain or manifest.chain_before != segment.chain_before or manifest.total != segment.total:
            raise Corrupt("the manifest's chain or digest differs from this member's", what="manifest", where=name)
        key = build(manifest.key())
        found = await self._store.get(key)
        if await self._env.tasks.blocking(lambda: open_segment(manifest, found) != raw):
            raise Corrupt("the archived records differ from this member's WAL", what="segment", where=key)

    async def rival(self, segment: SealedSegment) -> str | None:
        """Key of a valid manifest that begins at the same LSN and says something else; None if there is none. Two histories: nobody may overwrite either."""
        prefix = f"{log_prefix(self._cluster, segment.table, segment.partition)}{segment.first:016x}-"
        for info in (await self._store.list(prefix, limit=100)).objects:
            key = parse(info.key)
            if (
                not isinstance(key, SegmentKey)
                or not key.manifest
                or (key.last == segment.last and key.sha16 == segment.raw_sha256.hex()[:16])
            ):
                continue
            try:
                decode_manifest(await self._store.get(info.key), where=info.key)
            except (Corrupt, Missing):
                continue
            return info.key
        return None

    def _say(self, segment: SealedSegment, key: str, reason: str) -> None:
        if key not in self._noted and len(self._noted) < 10_000:
            self._noted[key] = None
            self._note(segment.partition, key, reason)


def _content(manifest: SegmentManifest) -> SegmentManifest:
    """A manifest without what two honest writers may say differently: who wrote it, in which term, and who had agreed by then."""
    return replace(manifest, node="", epoch=0, owner="", members=(), supersedes=())
