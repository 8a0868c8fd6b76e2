"""`rebuild`: base snapshot and segments in, the partition's rows at a cut out. The one engine that scrub, restore and recovery share.

Streams: one segment's raw bytes at a time, the base block by block. Of the newest versions of the keys that the segments touch memory holds 256 MiB; what is more lies in sorted
runs on the disk until all is merged.
Nothing it returns is unproven: object checksums, record checksums, LSN order, the chain, and the agreed digest of every seal passed, the first one at or
after the cut included, have been checked when it returns. It writes the result as a row file and leaves nothing behind when it fails.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.read.inherited import InheritedBase, start_of
from scrubjay.archiver.read.net_changes import Runs
from scrubjay.archiver.read.objects import fetch_base, read_segment
from scrubjay.archiver.read.replay import HELD_BYTES_MAX, ArchiveReplay, Block, Cut
from scrubjay.base.env import Disk, File, JobContext, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Invalid, Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.beside import TreeBeside
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.rowfile import RowFileWriter, read_blocks
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import MASK, Total

Progress = Callable[[dict[str, Any]], None]
Chosen = Callable[[bytes, bytes], bool]
"""Whether a row, storage key and item, is wanted."""
Also = Callable[[list[Row], list[int]], None]
"""Takes rows in key order, and the hash of each."""
WRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """total: of the rows that were written; of: of all rows, the same where none was left out. applied, stamp: of the last record in the result. schema: as of there, from the manifests. sealed, chain: of the last seal in it.

    proven: LSN of the last seal whose digest was checked. exact: the result is the state at `sealed`, so `of` is an agreed digest itself.
    bytes: size of the row file. segments, records, raw_bytes: what was replayed. spoilt: objects that are bad and were done without, because another
    generation of the same content is good.
    """

    total: Total
    of: Total
    applied: int
    stamp: int
    sealed: int
    chain: bytes
    schema: str
    proven: int
    exact: bool
    bytes: int
    segments: int
    records: int
    raw_bytes: int
    spoilt: tuple[Fault, ...] = ()


class Sink:
    """Bytes into a file, a MiB at a time."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        self._size = 0
        self.offset = 0

    def __call__(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        self._file.write(self.offset, b"".join(self._waiting))
        self.offset += self._size
        self._waiting, self._size = [], 0


async def rebuild(
    store: ObjectStore,
    disk: Disk,
    *,
    base: BaseManifest | None,
    segments: Sequence[SegmentManifest | SegmentKey],
    cut: Cut,
    output: str | None,
    work: str,
    rebase: bool = False,
    chosen: Chosen | None = None,
    progress: Progress | None = None,
    held_bytes_max: int = HELD_BYTES_MAX,
    lasting: bool = True,
    also: Also | None = None,
) -> Rebuilt:
    """Rebuild one partition.

    base: where to start, None from the empty state; one that is inherited is made first, of the parent's log (`made_of_parent`). segments: manifests, or their keys, in LSN order from the base's LSN + 1 on; those behind the cut's seal
    are not read, and a manifest that is given by its key is read just before its segment. One that is bad is replaced by another generation of its content.
    cut: inclusive; neither stamp nor lsn: everything given. output: path of the row file on `disk` (replaced); None: prove, write nothing.
    work: path of a scratch file on `disk` for the downloaded base; beside it, `work.run-N`, goes what memory does not hold (`held_bytes_max`). rebase: the rows are a new table's first state (LSN and stamp 0). chosen: whether a row is written;
    all rows are rebuilt and proven, whichever are. lasting: the row file is to outlive the machine's next fall; else it is not synced: a sync of what is thrown away
    again makes the log's wait (ADR 0057). also: gets every row that is written, in order.
    Raises Missing (lsn: first absent record, or what: object key), Corrupt (where: object key), Invalid (nothing to rebuild from), Unavailable.
    """
    if base is None and not segments:
        raise Invalid("nothing to rebuild from")
    if base is not None and cut.lsn is not None and cut.lsn < base.lsn:
        raise Invalid("the cut lies before the base", lsn=cut.lsn, base=base.lsn)
    if base is not None and cut.stamp is not None and cut.stamp < base.stamp:
        raise Invalid("the cut lies before the base", stamp=cut.stamp, base=base.stamp)
    partition = base.partition if base is not None else segments[0].partition
    runs = Runs(disk, work)
    replay = ArchiveReplay(partition=partition, base=base, cut=cut, rebase=rebase, runs=runs, held_bytes_max=held_bytes_max)
    begun: Rebuilt | None = None
    try:
        if isinstance(base, InheritedBase):
            begun = await made_of_parent(store, disk, base, work, progress=progress, held_bytes_max=held_bytes_max)
            progress = _after(begun, progress)
        with no_collector(), closing_runs(runs):
            made = await _run(store, disk, replay, partition, base, segments, output, work, chosen, progress, lasting, also)
    finally:
        if begun is not None and disk.exists(work):
            disk.remove(work)
    return made if begun is None else _both(begun, made)


async def made_of_parent(
    store: ObjectStore,
    disk: Disk,
    base: InheritedBase,
    path: str,
    *,
    progress: Progress | None = None,
    held_bytes_max: int = HELD_BYTES_MAX,
) -> Rebuilt:
    """The rows that a child inherits, into the row file `path`: the parent rebuilt at its last SEAL, to the digest agreed there, and of that the child's range, which must come to what the child says that
    it began with. Scratch, beside it `path.parent`. Raises what `rebuild` does."""
    made = await rebuild(
        store, disk, base=base.of, segments=base.segments, cut=Cut(lsn=Lsn(base.lsn)), output=path, work=path + ".parent", chosen=base.holds, progress=progress,
        held_bytes_max=held_bytes_max, lasting=False,
    )  # fmt: skip
    found = (made.exact, made.sealed, made.stamp, made.chain, made.total)
    if found != (True, base.lsn, base.stamp, base.chain, base.total):
        disk.remove(path)
        raise Corrupt(
            "what a partition began with is not what its parent had there", kind=FORGED, what="digest", partition=base.partition, lsn=base.lsn,
            expected=base.total.hex, found=made.total.hex, rows=made.total.rows,
        )  # fmt: skip
    return made


def _after(begun: Rebuilt, progress: Progress | None) -> Progress | None:
    """Progress goes on from what the parent came to."""
    if progress is None:
        return None
    return lambda facts: progress({**facts, **({"raw_bytes": begun.raw_bytes + facts["raw_bytes"]} if "raw_bytes" in facts else {})})


def _both(begun: Rebuilt, made: Rebuilt) -> Rebuilt:
    """With what was read for the beginning."""
    return replace(
        made, segments=begun.segments + made.segments, records=begun.records + made.records, raw_bytes=begun.raw_bytes + made.raw_bytes,
        spoilt=(*begun.spoilt, *made.spoilt),
    )  # fmt: skip


async def _run(
    store: ObjectStore,
    disk: Disk,
    replay: ArchiveReplay,
    partition: str,
    base: BaseManifest | None,
    segments: Sequence[SegmentManifest | SegmentKey],
    output: str | None,
    work: str,
    chosen: Chosen | None,
    progress: Progress | None,
    lasting: bool,
    also: Also | None,
) -> Rebuilt:
    fed = 0
    spoilt: list[Fault] = []
    for wanted in segments:
        if replay.done or (isinstance(wanted, SegmentManifest) and not replay.wants(wanted)):
            break
        if wanted.partition != partition:
            raise Invalid("a segment of another partition", what=build(wanted if isinstance(wanted, SegmentKey) else wanted.key()))
        manifest, raw, bad = await read_segment(store, wanted)
        if not replay.wants(manifest):
            break
        spoilt += bad
        for part, piece in manifest.pieces(raw):
            if replay.takes(part):
                replay.feed(part, piece, where=build(manifest.key()))
                fed += 1
        if progress is not None:
            progress({"phase": "read", "segments": fed, "raw_bytes": replay.raw_bytes, "lsn": replay.next_lsn - 1})
    if replay.cut.lsn is not None and replay.next_lsn <= replay.cut.lsn:
        raise Missing("the log ends before the cut", what="segment", lsn=replay.next_lsn)
    total, of, size = await _write(store, disk, base, replay, output, work, chosen, progress, lasting, also)
    return Rebuilt(
        total=total,
        of=of,
        applied=replay.applied,
        stamp=replay.stamp,
        sealed=replay.sealed,
        chain=replay.chain,
        schema=replay.schema or (base.schema if base else ""),
        proven=replay.next_lsn - 1,
        exact=replay.applied == replay.sealed,
        bytes=size,
        segments=fed,
        records=replay.records,
        raw_bytes=replay.raw_bytes,
        spoilt=tuple(spoilt),
    )


@contextmanager
def closing_runs(runs: Runs) -> Iterator[None]:
    """Whatever comes of it, nothing of the runs is left."""
    try:
        yield
    finally:
        runs.remove()


@contextmanager
def no_collector() -> Iterator[None]:
    """Millions of tuples and no cycle: the cyclic collector would only walk them again and again (a fifth of the time)."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


async def _write(
    store: ObjectStore,
    disk: Disk,
    base: BaseManifest | None,
    replay: ArchiveReplay,
    output: str | None,
    work: str,
    chosen: Chosen | None,
    progress: Progress | None,
    lasting: bool,
    also: Also | None,
) -> tuple[Total, Total, int]:
    """Merge into the row file at `output`. Returns its total, that of all rows, and its size."""
    target: File | None = None
    source: File | None = None
    done = False
    try:
        rows: Iterator[Block] = iter(())
        if base is not None:
            if not isinstance(base, InheritedBase):  # that was made before
                await fetch_base(store, base, disk, work)
            source = disk.open(work)
            rows = base_blocks(source, base)
        if output is not None:
            if disk.exists(output):
                disk.remove(output)
            target = disk.open(output, create_size=0)
        sink = Sink(target) if target is not None else None
        writer = RowFileWriter(sink if sink is not None else _nowhere)
        left = left_rows = done_rows = 0
        for block, hashes in replay.merge(rows):
            done_rows += len(block)
            if chosen is not None:
                wanted = [chosen(row.key, row.item) for row in block]
                left += sum([hash_ for hash_, one in zip(hashes, wanted, strict=True) if not one])
                left_rows += wanted.count(False)
                block, hashes = list(compress(block, wanted)), list(compress(hashes, wanted))
            writer.add_all(block, hashes)
            if also is not None:
                also(block, hashes)
            if progress is not None:
                progress({"phase": "write", "rows": done_rows})
        total = writer.finish()
        of = Total((total.sum + left) & MASK, total.rows + left_rows)
        replay.finish(of)
        if sink is not None and target is not None:
            sink.flush()
            if lasting:
                target.sync()
        done = True
        return total, of, sink.offset if sink is not None else 0
    finally:
        for file in (source, target):
            if file is not None:
                file.close()
        if base is not None and disk.exists(work):
            disk.remove(work)
        if output is not None:
            if done and lasting:
                disk.sync_dir(output.rpartition("/")[0])
            elif not done and disk.exists(output):
                disk.remove(output)


def write_none(disk: Disk, output: str) -> Rebuilt:
    """A row file without rows at `output`, of a partition of which none are wanted: nothing is read for it, and nothing of it is proven but that."""
    if disk.exists(output):
        disk.remove(output)
    file = disk.open(output, create_size=0)
    try:
        sink = Sink(file)
        none = RowFileWriter(sink).finish()
        sink.flush()
        file.sync()
    finally:
        file.close()
    disk.sync_dir(output.rpartition("/")[0])
    return Rebuilt(
        total=none, of=none, applied=0, stamp=0, sealed=0, chain=chains.START, schema="", proven=0, exact=False, bytes=sink.offset, segments=0,
        records=0, raw_bytes=0,
    )  # fmt: skip


def base_blocks(file: File, base: BaseManifest) -> Iterator[Block]:
    """The rows of a base that was fetched. Raises Corrupt: forged and of the base, if the file still holds the bytes that the base names, else of the file."""
    try:
        yield from read_blocks(file.pread, file.size())
    except Corrupt as error:
        whole = hashlib.sha256()
        for at in range(0, file.size(), WRITE_BYTES):
            whole.update(file.pread(at, min(WRITE_BYTES, file.size() - at)))
        if whole.hexdigest() != base.file.sha256:
            raise
        raise Corrupt(f"the base is no sound row file: {error}", kind=FORGED, what="base", where=build(base.key())) from error


def _nowhere(data: bytes) -> None:
    """The sink of a rebuild that only proves."""


def segment_keys(keys: Sequence[str]) -> list[SegmentKey]:
    """Object keys of segments, parsed. Raises Invalid."""
    found = []
    for text in keys:
        key = parse(text)
        if not isinstance(key, SegmentKey):
            raise Invalid("not a segment's key", key=text)
        found.append(key._replace(manifest=False))
    return found


async def rebuild_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`rebuild` in a worker process.

    arguments: url; base (object key of a base manifest, `Inheritance.argument`, or None); segments (object keys in LSN order); stamp or lsn (the cut, None: all); output (path
    below the data folder, or None); work (scratch path); rebase; lasting (absent: it is); tree (`TreesHere.asked`: a tree of the rows is made beside them; absent: none).
    Answer: the fields of `Rebuilt`, with total and of as {sum: hex, rows} and chain as hex; and those of `TreeBeside.finish`.
    """
    return await run_rebuild(context, arguments)


async def run_rebuild(context: JobContext, arguments: dict[str, Any], *, chosen: Chosen | None = None) -> dict[str, Any]:
    """`rebuild_job`, of all rows or of those chosen."""
    store = context.store(arguments["url"])
    base = await start_of(store, arguments.get("base"))
    tree = TreeBeside(context.disk, arguments.get("tree"))
    try:
        answer = await _rebuilt(context, store, base, arguments, chosen, also=tree.add if tree.wanted else None)
        return {**answer, **tree.finish()}
    finally:
        tree.close()


async def _rebuilt(
    context: JobContext,
    store: ObjectStore,
    base: BaseManifest | None,
    arguments: dict[str, Any],
    chosen: Chosen | None,
    *,
    also: Also | None,
) -> dict[str, Any]:
    segments = segment_keys(arguments["segments"])
    stamp, lsn = arguments.get("stamp"), arguments.get("lsn")
    rebuilt = await rebuild(
        store,
        context.disk,
        base=base,
        segments=segments,
        cut=Cut(None if stamp is None else Stamp(stamp), None if lsn is None else Lsn(lsn)),
        output=arguments.get("output"),
        work=arguments["work"],
        rebase=bool(arguments.get("rebase")),
        chosen=chosen,
        progress=context.progress,
        lasting=bool(arguments.get("lasting", True)),
        also=also,
    )
    return as_answer(rebuilt)


def as_answer(rebuilt: Rebuilt) -> dict[str, Any]:
    """A `Rebuilt` as plain data."""
    return {
        "total": {"sum": rebuilt.total.hex, "rows": rebuilt.total.rows},
        "of": {"sum": rebuilt.of.hex, "rows": rebuilt.of.rows},
        "applied": rebuilt.applied,
        "stamp": rebuilt.stamp,
        "sealed": rebuilt.sealed,
        "chain": rebuilt.chain.hex(),
        "schema": rebuilt.schema,
        "proven": rebuilt.proven,
        "exact": rebuilt.exact,
        "bytes": rebuilt.bytes,
        "segments": rebuilt.segments,
        "records": rebuilt.records,
        "raw_bytes": rebuilt.raw_bytes,
        "spoilt": [list(one) for one in rebuilt.spoilt],
    }


def from_answer(answer: dict[str, Any]) -> Rebuilt:
    """The other way."""
    fields = dict(answer)
    for name in ("total", "of"):
        fields[name] = Total(int(answer[name]["sum"], 16), answer[name]["rows"])
    fields["chain"] = bytes.fromhex(answer["chain"])
    fields["spoilt"] = tuple(Fault(*one) for one in answer["spoilt"])
    return Rebuilt(**fields)
