"""Putting one segment into the archive, and comparing one that is there: create-once, segment first, then manifest, generations for spoilt objects.

Every way a put can go wrong ends in one of three: it is there and right, it is there and bad (then the next generation says what it supersedes and why),
or the store did not answer (then the caller tries again later, from the start: every step may be repeated).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from scrubjay.archiver.format.layout import SegmentKey, build, log_prefix, parse
from scrubjay.archiver.format.manifest import SegmentManifest, Sums, Superseded, content_of, decode_manifest, encode_manifest, manifest_of
from scrubjay.archiver.format.segment import decode_segment
from scrubjay.archiver.read.objects import fetch_manifest, fetch_segment, open_segment, packs_over
from scrubjay.archiver.write.outgoing import Outgoing
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Exists, Missing, Unavailable
from scrubjay.storage.archive_port import PartitionFacts, SealedSegment
from scrubjay.storage.log.split import Born

T = TypeVar("T")

GENERATIONS_MAX = 32
"""A store in which so many copies of one segment went bad is not written to any more."""

Prepare = Callable[[int], Awaitable[Outgoing]]
"""prepare(generation): the checked segment object."""
Own = Callable[[], Awaitable[bytes | None]]
"""A member's own record bytes of a segment, proven; None if its log has let go of them."""


class Bad(NamedTuple):
    """A generation that must not count. kind: unreadable | different | hole | forged. object: key of what is bad."""

    generation: int
    object: str
    kind: str
    reason: str


class Placed(NamedTuple):
    """generation: the one that is there and right. read: segment and manifest were both read back from the store, not only written. bad: generations found
    bad on the way."""

    generation: int
    read: bool
    bad: tuple[Bad, ...] = ()


class Placer:
    """Places and compares the segments of one node's replicas."""

    def __init__(self, store: ObjectStore, env: Env, *, writer: Writer, node: str) -> None:
        self._store = store
        self._env = env
        self._writer = writer
        self._cluster = writer.cluster
        self._node = node

    def key(self, segment: SealedSegment, generation: int) -> SegmentKey:
        sha16 = segment.raw_sha256.hex()[:16]
        return SegmentKey(self._cluster, segment.table, segment.partition, segment.first, segment.last, generation, sha16, False)

    async def place(self, segment: SealedSegment, facts: PartitionFacts, prepare: Prepare, *, refuted: Mapping[int, str]) -> Placed:
        """Bring the segment into the archive. refuted: generations that members found bad, with the reason; never used again.

        Raises Unavailable, DiskFull; Fenced; Corrupt (from `prepare`, or out of generations).
        """
        spoilt: tuple[Superseded, ...] = ()
        bad: tuple[Bad, ...] = ()
        for generation in range(1, GENERATIONS_MAX + 1):
            if generation in refuted:
                spoilt = (*spoilt, Superseded(generation, refuted[generation]))
                continue
            done = await self._place(segment, facts, generation, spoilt, await prepare(generation))
            if isinstance(done, bool):
                return Placed(generation, done, bad)
            bad = (*bad, done)
            spoilt = (*spoilt, Superseded(generation, done.reason))
        raise Corrupt("every generation of this segment has a bad object", what="segment", where=build(self.key(segment, GENERATIONS_MAX)))

    async def _place(
        self, segment: SealedSegment, facts: PartitionFacts, generation: int, spoilt: tuple[Superseded, ...], out: Outgoing
    ) -> bool | Bad:
        """True: segment and manifest of this generation are there and right, and both were read back; False: one of them was only written."""
        key = build(self.key(segment, generation))
        stored = out.stored
        read = False
        try:
            await self._store.put(key, out.data)
        except Exists:
            found = await self._same_segment(key, generation, out)
            if isinstance(found, Bad):
                return found
            stored, read = found, True
        manifest = manifest_of(
            segment,
            facts,
            writer=self._writer.attached,
            node=self._node,
            raw=out.raw,
            stored=stored,
            keys=out.keys,
            generation=generation,
            supersedes=spoilt,
        )
        name = build(self.key(segment, generation).twin())
        try:
            await self._store.put(name, encode_manifest(manifest))
        except Exists:
            said = await self._found(generation, name, lambda there: decode_manifest(there, where=name))
            if isinstance(said, Bad):
                return said
            if content_of(said) != content_of(manifest) or (said.keys is not None and said.keys != manifest.keys):
                return Bad(generation, name, FORGED, "the manifest says something else")
            return read
        return False

    async def _same_segment(self, key: str, generation: int, out: Outgoing) -> Sums | Bad:
        """Sums of the object that is already there if it holds our raw bytes (maybe compressed otherwise), else why not."""

        def look(there: bytes) -> Sums | None:
            if there == out.data:
                return out.stored
            segment = decode_segment(there, where=key)
            return Sums.of(there) if segment.raw_sha256.hex() == out.raw.sha256 and segment.head == out.head else None

        found = await self._found(generation, key, look)
        return Bad(generation, key, "different", "the segment holds other records") if found is None else found

    async def _found(self, generation: int, key: str, decode: Callable[[bytes], T]) -> T | Bad:
        """`_read` of an object that the store says is there. Raises Unavailable."""
        try:
            return await self._read(generation, key, decode)
        except Missing as error:
            raise Unavailable("an object was refused as existing, but it is not there", key=key) from error

    async def _read(self, generation: int, key: str, decode: Callable[[bytes], T]) -> T | Bad:
        """An object, read and decoded; else what is wrong with its bytes, wherever that shows: where they are read (the seal of an encrypted archive), or in
        their format. Raises Missing, Unavailable."""
        try:
            data = await self._store.get(key)
            return await self._env.tasks.blocking(lambda: decode(data))
        except Corrupt as error:
            return Bad(generation, key, error.kind, str(error))

    async def compare(self, segment: SealedSegment, own: Own, *, refuted: Mapping[int, str]) -> tuple[int | None, tuple[Bad, ...]]:
        """(the generation in the archive that is equal to `own`, this member's WAL, or None; those found bad). refuted: not looked at again.

        own: asked for only once there is something to compare with; nothing is called bad by a member that has none, and what it raises is raised.
        A bad one is read twice, so that a slip on the way is not called rot. Raises Unavailable.
        """
        bad: list[Bad] = []
        for generation in range(1, GENERATIONS_MAX + 1):
            if generation in refuted:
                continue
            found = await self._look(segment, own, generation)
            if isinstance(found, Bad):
                found = await self._look(segment, own, generation)
            if isinstance(found, Bad):
                bad.append(found)
            else:
                return (generation if found else None), tuple(bad)
        return None, tuple(bad)

    async def packed(self, segment: SealedSegment, raw: bytes) -> int | None:
        """The generation of a pack that holds exactly these records with everything that was agreed of them; None: no pack does. For a member that hears late of a segment
        archived long ago: costs a listing. Raises Unavailable."""
        for key in await packs_over(self._store, self.key(segment, 1)):
            try:
                manifest = await fetch_manifest(self._store, key)
                whole = await fetch_segment(self._store, manifest)
            except (Corrupt, Missing):
                continue
            if any(part.chain == segment.chain and piece == raw for part, piece in manifest.pieces(whole)):
                return key.generation
        return None

    async def _look(self, segment: SealedSegment, own: Own, generation: int) -> bool | Bad:
        """Whether this generation is there and right. False: it has no manifest (yet), or this member cannot say."""
        key = self.key(segment, generation)
        name, data_key = build(key.twin()), build(key)
        try:
            manifest = await self._read(generation, name, lambda data: decode_manifest(data, where=name))
        except Missing:
            return False
        raw = await own()
        if raw is None:
            return False
        if isinstance(manifest, Bad):
            return manifest
        if manifest.chain != segment.chain:  # it covers everything that the members agreed on
            return Bad(generation, name, FORGED, "the manifest's chain value differs from what the members agreed on")
        try:
            found = await self._read(generation, data_key, lambda there: open_segment(manifest, there))
        except Missing:
            return Bad(generation, data_key, HOLE, "the segment object is gone, its manifest is there")
        if isinstance(found, Bad):
            return found
        if found != raw:
            return Bad(generation, data_key, "different", "the archived records differ from the log that the members agreed on")
        return True

    async def birth(self, segment: SealedSegment) -> Born | None:
        """How the segment's partition began, None: no split made it. For a member that does not know: as an archived manifest of its log says, for all of them say the same, and one that
        says something else is called forged. Raises Unavailable: none is to be had now."""
        prefix = log_prefix(self._cluster, segment.table, segment.partition)
        for info in (await self._store.list(prefix, limit=100)).objects:
            key = parse(info.key)
            if not isinstance(key, SegmentKey) or not key.manifest:
                continue
            try:
                first = decode_manifest(await self._store.get(info.key), where=info.key).each()[0]
            except (Corrupt, Missing):
                continue
            if first.epoch > self._writer.taken_over:
                return first.born
        raise Unavailable("how the partition began is not known here: a copy with a tree archives it", partition=segment.partition)

    async def rival(self, segment: SealedSegment) -> SegmentManifest | None:
        """A valid manifest that begins at the same LSN and says something else; None if there is none. Two histories: nobody may overwrite either.

        Manifests of epochs that a confirmed takeover gave up do not count.
        """
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
                found = decode_manifest(await self._store.get(info.key), where=info.key)
            except (Corrupt, Missing):
                continue
            first = found.each()[0]
            if first.epoch > self._writer.taken_over and first.chain != segment.chain:  # a pack may hold this very segment
                return first
        return None
