"""What reads the archive for time travel, in a worker process: a partition at two moments, and one key's versions.

Both lean on what restores use: every object is proven by its sums, a state by the chain and the agreed digest of every seal passed (`archiver.read.replay`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.read.inherited import InheritedBase, start_of
from scrubjay.archiver.read.net_changes import NetChange, Runs
from scrubjay.archiver.read.objects import fetch_base, fetch_manifest, read_segment, row_of_base
from scrubjay.archiver.read.rebuild import Sink, base_blocks, made_of_parent, no_collector, segment_keys
from scrubjay.archiver.read.replay import HELD_BYTES_MAX, ArchiveReplay, Cut
from scrubjay.archiver.read.touched import fetch_touched
from scrubjay.base.env import Disk, JobContext, ObjectStore
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.times import utc_text
from scrubjay.pitr.selection import Selection
from scrubjay.pitr.timeline.changes import Altered, Counted, Deleted, changes
from scrubjay.pitr.timeline.versions import BASE, Version, versions_in
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.items.wire import item_bytes_to_json
from scrubjay.storage.log.digest import MASK, Total

SHOWN, KEPT = "shown", "kept"
"""Forms of what differs: lines of JSON, for people and programs; rows of both images (`image_rows`), for an undo."""
HELD_BYTES = HELD_BYTES_MAX // 2
"""Of net changes of each of the two moments in memory: both together hold what one rebuild does. What is more goes into runs on the disk."""
TOUCHED_PER_ROW = 2
"""Of a base that has so many times as many rows as the log behind it has records, only the rows are read that it touches."""
ANSWER_BYTES_MAX = 8 << 20
"""Of the items in the answer to one history, which a node writes out as JSON. What is left out is said."""

_images: msgspec.msgpack.Decoder[tuple[bytes | None, bytes | None]] = msgspec.msgpack.Decoder(tuple[bytes | None, bytes | None])


def images_of(row: Row) -> tuple[bytes | None, bytes | None]:
    """(before, after) of a row in the form KEPT. Raises Corrupt."""
    try:
        return _images.decode(row.item)
    except msgspec.MsgspecError as error:
        raise Corrupt("a kept change is malformed", what="rowfile") from error


class _Side:
    """One moment of a partition on its way: fed with segments, then read as proven rows."""

    def __init__(self, partition: str, base: BaseManifest | None, cut: int, *, disk: Disk, work: str) -> None:
        """work: path of scratch files on `disk`, for what memory does not hold (`HELD_BYTES`). `close` removes them."""
        self.base = base
        self._runs = Runs(disk, work)
        self.replay = ArchiveReplay(partition=partition, base=base, cut=Cut(Stamp(cut)), runs=self._runs, held_bytes_max=HELD_BYTES)
        self.close = self._runs.remove

    async def feed(self, store: ObjectStore, segments: Sequence[SegmentKey], others: Sequence[_Side], context: JobContext) -> list[Fault]:
        """Every segment up to the one that proves the cut; `others` are fed with the same."""
        spoilt: list[Fault] = []
        for wanted in segments:
            if self.replay.done:
                break
            manifest, raw, bad = await read_segment(store, wanted)
            spoilt += bad
            for part, piece in manifest.pieces(raw):
                for side in (self, *others):
                    if side.replay.takes(part):
                        side.replay.feed(part, piece, where=build(manifest.key()))
            context.progress({"phase": "read", "raw_bytes": self.replay.raw_bytes, "lsn": self.replay.next_lsn - 1})
        return spoilt

    def rows(self, disk: Disk, path: str, *, touched_only: bool) -> Iterator[Row]:
        """In key order. path: of the base, fetched, or of those of its rows that the log touches. What comes out is proven once it has run to its end."""
        return (row for rows, _ in self._blocks(disk, path, touched_only) for row in rows)

    def rows_and_deleted(self, disk: Disk, path: str, *, touched_only: bool) -> Iterator[Row | Deleted]:
        """As `rows`, and between them what the log deleted within the cut."""
        for rows, deleted in self._blocks(disk, path, touched_only):
            gone = [Deleted(net.key, net.lsn, net.stamp) for net in deleted]
            both: list[Row | Deleted] = [*rows, *gone]
            if gone:
                both.sort(key=itemgetter(0))
            yield from both

    def _blocks(self, disk: Disk, path: str, touched_only: bool) -> Iterator[tuple[list[Row], list[NetChange]]]:
        file = disk.open(path) if self.base is not None else None
        sum_ = count = 0
        try:
            base = base_blocks(file, self.base) if file is not None and self.base is not None else iter(())
            deleted: list[NetChange] = []
            for rows, hashes in self.replay.merge(base, deleted=deleted, touched_only=touched_only):
                sum_ += sum(hashes)
                count += len(rows)
                yield rows, deleted
                deleted.clear()
            self.replay.finish(Total(sum_ & MASK, count))
        finally:
            if file is not None:
                file.close()


async def diff_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """What differs in one partition between two moments.

    arguments: url; before, after: {partition, base (key of its manifest, `Inheritance.argument`, or None), segments (object keys), cut (stamp)}; shared: both from one base, and the
    later one's segments are the earlier one's and more; low, high (hex storage keys, high None: to the end); names (key attributes); form: SHOWN | KEPT; output (path);
    work (scratch path). Answer: totals {added, removed, changed, same}; bytes of the output; raw_bytes, spoilt. Raises Missing, Corrupt, Unavailable.
    """
    store, disk = context.store(arguments["url"]), context.disk
    low, high = bytes.fromhex(arguments["low"]), arguments["high"]
    selection = Selection(low, None if high is None else bytes.fromhex(high))
    work: str = arguments["work"]
    before, after = [await _side(store, arguments[name], disk=disk, work=f"{work}.{name}") for name in ("before", "after")]
    paths = (work + ".before", work + ".before" if arguments["shared"] else work + ".after")
    counted = Counted()

    def written(*, touched_only: bool) -> int:
        earlier = before.rows(disk, paths[0], touched_only=touched_only)
        later = after.rows_and_deleted(disk, paths[1], touched_only=touched_only)
        found = changes(earlier, later, selection=selection, counted=counted)
        return _write(disk, arguments["output"], found, form=arguments["form"], names=arguments["names"])

    with no_collector():
        try:
            earlier, later = segment_keys(arguments["before"]["segments"]), segment_keys(arguments["after"]["segments"])
            spoilt: list[Fault] = []
            if not arguments["shared"]:
                spoilt += await before.feed(store, earlier, (), context)
            spoilt += await after.feed(store, later, (before,) if arguments["shared"] else (), context)
            size = None
            inherits = isinstance(after.base, InheritedBase)
            if (
                arguments["shared"]
                and after.base is not None
                and not inherits
                and TOUCHED_PER_ROW * after.replay.records < after.base.total.rows
            ):
                try:
                    touched = await fetch_touched(
                        store, after.base, after.replay.touched, disk, paths[0], low=selection.low, high=selection.high
                    )
                    size = written(touched_only=True)
                    counted.same += touched.rows - touched.found
                except (Corrupt, Missing):  # of the base or of the log: read whole, it is known which object is no good
                    counted = Counted()
            if size is None:
                for side, path in {paths[0]: (before, paths[0]), paths[1]: (after, paths[1])}.values():
                    if isinstance(side.base, InheritedBase):
                        spoilt += (await made_of_parent(store, disk, side.base, path, held_bytes_max=HELD_BYTES)).spoilt
                    elif side.base is not None:
                        await fetch_base(store, side.base, disk, path)
                size = written(touched_only=False)
        finally:
            before.close()
            after.close()
            for path in dict.fromkeys(paths):
                if disk.exists(path):
                    disk.remove(path)
    return {
        "totals": counted.as_dict(),
        "bytes": size,
        "raw_bytes": after.replay.raw_bytes,
        "spoilt": [list(one) for one in spoilt],
    }


async def _side(store: ObjectStore, asked: dict[str, Any], *, disk: Disk, work: str) -> _Side:
    base = await start_of(store, asked["base"])
    return _Side(asked["partition"], base, asked["cut"], disk=disk, work=work)


def _write(disk: Disk, path: str, found: Iterator[Altered], *, form: str, names: Sequence[str]) -> int:
    """What differs into a file at `path`; it is there whole or not at all. Returns its size."""
    done = False
    file = disk.open(path, create_size=0)
    try:
        sink = Sink(file)
        if form == SHOWN:
            for one in found:
                sink(msgspec.json.encode(shown(one, names)) + b"\n")
        else:
            writer = RowFileWriter(sink)
            for one in found:
                writer.add(one.key, one.lsn or 0, one.stamp or 0, msgspec.msgpack.encode((one.before, one.after)))
            writer.finish()
        sink.flush()
        done = True
        return sink.offset
    finally:
        file.close()
        if not done:
            disk.remove(path)


def shown(one: Altered, names: Sequence[str]) -> dict[str, Any]:
    """A change as INTERFACE has it; items as DynamoDB JSON. Raises Corrupt (an item)."""
    before = None if one.before is None else item_bytes_to_json(one.before)
    after = None if one.after is None else item_bytes_to_json(one.after)
    item = after if after is not None else before or {}
    return {
        "key": {name: item.get(name) for name in names},
        "before": before,
        "after": after,
        "lsn": one.lsn,
        "at": None if one.stamp is None else utc_text(stamp_micros(one.stamp)),
    }


async def history_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Versions of one key, newest first.

    arguments: url; key (hex storage key); sources (object keys of segments and of base manifests, newest first); absent (those of which a key filter has told
    already that they do not hold the key); from_us, to_us (effective time, both inclusive); first: LSN with which what is told begins, parts of a pack below it are not;
    limit; begun_us (effective time of the rows that a table began with). Answer: versions [[lsn, at_us, op, item, object]]; more: some were
    left out; bad: faults of what could not be read, and of which nothing is proven; spoilt: those, and what was done without; raw_bytes, segments: what was read;
    skipped: segments that were not, because their key filter tells that they do not hold the key.
    Raises Unavailable.
    """
    store = context.store(arguments["url"])
    key = bytes.fromhex(arguments["key"])
    absent = frozenset(arguments["absent"])
    from_us, to_us, limit = arguments["from_us"], arguments["to_us"], arguments["limit"]
    found: list[tuple[Version, str]] = []
    bad: list[Fault] = []
    spoilt: list[Fault] = []
    size = raw_bytes = segments = skipped = 0
    more = False
    sources = arguments["sources"]
    for number, source in enumerate(sources):
        if len(found) > limit or size > ANSWER_BYTES_MAX:
            more = True
            break
        if source in absent:
            skipped += 1
            continue
        try:
            if isinstance(parse(source), BaseKey):
                version = await _in_base(store, source, key, arguments, oldest=number == len(sources) - 1)
                versions = [] if version is None else [version]
            else:
                wanted = await _described(store, source)
                if isinstance(wanted, SegmentManifest) and wanted.keys is not None and not wanted.keys.may_hold(key):
                    skipped += 1
                    continue
                manifest, raw, worse = await read_segment(store, wanted)
                spoilt += worse
                raw_bytes += len(raw)
                segments += 1
                versions = [
                    one
                    for part, piece in manifest.pieces(raw)
                    if part.last >= arguments["first"]
                    for one in versions_in(part, piece, key, where=source)
                ]
        except (Corrupt, Missing) as error:
            bad.append(fault_of(error, where=source))
            continue
        for one in reversed(versions):
            if found and found[-1][0].op == BASE and found[-1][0].lsn == one.lsn:
                found.pop()  # the record itself: the base behind it only repeats it
            if from_us <= one.at_us <= to_us:
                found.append((one, source))
                size += len(one.item or b"")
        context.progress({"phase": "read", "raw_bytes": raw_bytes, "segments": segments})
    while len(found) > limit or (size > ANSWER_BYTES_MAX and len(found) > 1):
        size -= len(found.pop()[0].item or b"")
        more = True
    return {
        "versions": [[one.lsn, one.at_us, one.op, one.item, source] for one, source in found],
        "more": more,
        "bad": [list(one) for one in bad],
        "spoilt": [list(one) for one in (*spoilt, *bad)],
        "raw_bytes": raw_bytes,
        "segments": segments,
        "skipped": skipped,
    }


async def _described(store: ObjectStore, segment: str) -> SegmentManifest | SegmentKey:
    """The segment's manifest; its key where that is no good, which whoever reads the segment tells. Raises Unavailable."""
    (key,) = segment_keys([segment])
    try:
        return await fetch_manifest(store, key)
    except (Corrupt, Missing):
        return key


async def _in_base(
    store: ObjectStore,
    where: str,
    key: bytes,
    arguments: dict[str, Any],
    *,
    oldest: bool,
) -> Version | None:
    """What a base holds of the key: the version itself, of the record that wrote it; that it is absent tells something only where there is a gap in front."""
    manifest = decode_base(await store.get(where), where=where)
    row = await row_of_base(store, manifest, key)
    if row is not None:
        return Version(row.lsn, stamp_micros(row.stamp) if row.stamp else arguments["begun_us"], BASE, row.item)
    return None if oldest else Version(manifest.lsn, stamp_micros(manifest.stamp), BASE, None)
