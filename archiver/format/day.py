"""`index/` objects: what was there, and what was found, at the end of a day (docs/formats/index.md).

They remember what should be there where nothing else does: a ledger that was lost together with a whole partition, or the end of one, begins with these names.
They prove nothing of what an object holds, and nothing is read by them that is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import BaseKey, IndexKey, SegmentKey, parse, partition_prefix

FORMAT = "scrubjay index"
VERSION = 1
_RUN = ("kind", "started", "finished", "verdict", "healed", "report")


@dataclass(frozen=True, slots=True)
class IndexedRun:
    """A scrub or verify that ended. report: the JSON answer of its verb, shortened, as text."""

    kind: str
    started_us: int
    finished_us: int
    verdict: str
    healed: bool
    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexObject:
    """names: object keys of segments and of bases' manifests that were proven by content, rising. day: YYYYMMDD, UTC. time_us: when it was written, on that clock.
    epoch, owner: as in every object."""

    cluster: str
    day: str
    generation: int
    time_us: int
    epoch: int
    owner: str
    names: tuple[str, ...]
    runs: tuple[IndexedRun, ...]

    def key(self) -> IndexKey:
        return IndexKey(self.cluster, self.day, self.generation)


def encode_index(index: IndexObject) -> bytes:
    """Names are told below their partition's, so that its ids stand there once: about 60 bytes a name."""
    parts: dict[tuple[str, str], list[str]] = {}
    for name in index.names:
        key = parse(name)
        assert isinstance(key, SegmentKey | BaseKey)
        parts.setdefault((key.table, key.partition), []).append(name.removeprefix(partition_prefix(key.cluster, key.table, key.partition)))
    return canonical.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "cluster": index.cluster,
            "day": index.day,
            "generation": index.generation,
            "time": index.time_us,
            "epoch": index.epoch,
            "owner": index.owner,
            "partitions": [[table, partition, sorted(names)] for (table, partition), names in sorted(parts.items())],
            "runs": [[run.kind, run.started_us, run.finished_us, run.verdict, run.healed, run.report] for run in index.runs],
        }
    )


def decode_index(data: bytes, *, where: str) -> IndexObject:
    """where: its object key. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=FORMAT, version=VERSION), what="index", where=where)
    f.only("format", "version", "cluster", "day", "generation", "time", "epoch", "owner", "partitions", "runs")
    cluster = f.uuid("cluster")
    names: list[str] = []
    for row in f.items("partitions"):
        if not isinstance(row, list) or len(row) != 3:
            raise f.bad("partitions")
        r = Fields(dict(zip(("table", "partition", "names"), row, strict=True)), what="index", where=where)
        prefix = partition_prefix(cluster, r.uuid("table"), r.uuid("partition"))
        for name in r.items("names"):
            if not isinstance(name, str) or not is_indexed(prefix + name):
                raise f.bad("partitions")
            names.append(prefix + name)
    index = IndexObject(
        cluster=cluster,
        day=f.text("day"),
        generation=f.integer("generation", low=1),
        time_us=f.integer("time"),
        epoch=f.integer("epoch", low=1),
        owner=f.uuid("owner"),
        names=tuple(names),
        runs=tuple(_run(row, f, where) for row in f.items("runs")),
    )
    f.stands_at(index.key())
    return index


def _run(row: object, f: Fields, where: str) -> IndexedRun:
    if not isinstance(row, list) or len(row) != len(_RUN):
        raise f.bad("runs")
    r = Fields(dict(zip(_RUN, row, strict=True)), what="index", where=where)
    healed = r.fields["healed"]
    if not isinstance(healed, bool):
        raise f.bad("runs")
    return IndexedRun(r.text("kind"), r.integer("started"), r.integer("finished"), r.text("verdict"), healed, r.text("report"))


def is_indexed(name: str) -> bool:
    """A segment, or a base's manifest: what else is there is named by these."""
    key = parse(name)
    return (isinstance(key, SegmentKey) and not key.manifest) or (isinstance(key, BaseKey) and key.part is None)


def missed(names: Sequence[str], listed: Mapping[str, object]) -> list[str]:
    """Those of one partition that should be there and are not listed. A segment whose records are all in others was taken the place of, and is not missed. Pure."""
    there = sorted((key.first, key.last) for key in map(parse, listed) if isinstance(key, SegmentKey) and not key.manifest)
    found = []
    for name in names:
        key = parse(name)
        if name not in listed and not (isinstance(key, SegmentKey) and _covered(key, there)):
            found.append(name)
    return found


def _covered(key: SegmentKey, there: Sequence[tuple[int, int]]) -> bool:
    """there: rising."""
    wanted = key.first
    for first, last in there:
        if first > wanted:
            return False
        wanted = max(wanted, last + 1)
        if wanted > key.last:
            return True
    return False
