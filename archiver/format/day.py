"""`index/` objects: what was there, and what was found, at the end of a day (docs/formats/index.md).

They remember what should be there where nothing else does: a ledger that was lost together with a whole partition, or the end of one, begins with these names.
They prove nothing of what an object holds, and nothing is read by them that is listed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import BaseKey, IndexKey, SegmentKey, parse, partition_prefix
from scrubjay.base.errors import Invalid

FORMAT = "scrubjay index"
VERSION = 1
TIME_MAX = (1 << 63) - 1
"""A ledger, which takes these runs in, has no larger numbers."""
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
    """Names are told below their partition's, so that its ids stand there once: about 70 bytes a name. Raises Invalid: a name is none that is told (`is_indexed`)."""
    parts: dict[tuple[str, str], list[str]] = {}
    for name in index.names:
        key = parse(name)
        if not isinstance(key, SegmentKey | BaseKey) or not is_indexed(name):
            raise Invalid("no segment and no base's manifest: the index does not tell of it", asked=name)
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
    if index.day != day_of(index.time_us):
        raise f.bad("day")
    return index


def _run(row: object, f: Fields, where: str) -> IndexedRun:
    if not isinstance(row, list) or len(row) != len(_RUN):
        raise f.bad("runs")
    r = Fields(dict(zip(_RUN, row, strict=True)), what="index", where=where)
    healed = r.fields["healed"]
    if not isinstance(healed, bool):
        raise f.bad("runs")
    started, finished = (r.integer(name, high=TIME_MAX) for name in ("started", "finished"))
    return IndexedRun(r.text("kind"), started, finished, r.text("verdict"), healed, r.text("report"))


def day_of(at_us: int) -> str:
    """YYYYMMDD in UTC; "" where no calendar has that time."""
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y%m%d")
    except (ValueError, OverflowError, OSError):
        return ""


def is_indexed(name: str) -> bool:
    """A segment, or a base's manifest: what else is there is named by these."""
    key = parse(name)
    return (isinstance(key, SegmentKey) and not key.manifest) or (isinstance(key, BaseKey) and key.part is None)


def missed(names: Iterable[str], listed: Mapping[str, object]) -> list[str]:
    """Those of one partition that should be there and are not listed. A segment whose records are all in others was taken the place of, and is not missed. Pure."""
    there = joined(sorted((key.first, key.last) for key in map(parse, listed) if isinstance(key, SegmentKey) and not key.manifest))
    found = []
    for name in names:
        if name not in listed:
            key = parse(name)
            if not (isinstance(key, SegmentKey) and covers(there, key.first, key.last)):
                found.append(name)
    return found


def taken_in(listed: Iterable[str]) -> Callable[[str], bool]:
    """Whether the records of a segment of one partition lie in a wider object that is listed: a pack took its place. Pure."""
    spans = sorted((key.first, key.last) for key in map(parse, listed) if isinstance(key, SegmentKey) and not key.manifest)
    firsts = [first for first, _ in spans]
    ends = [0, *accumulate((last for _, last in spans), max)]

    def wider(name: str) -> bool:
        key = parse(name)
        if not isinstance(key, SegmentKey):
            return False
        return ends[bisect_left(firsts, key.first)] >= key.last or ends[bisect_right(firsts, key.first)] > key.last

    return wider


def joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of LSNs, both ends included: those that touch or overlap as one. spans: rising."""
    found: list[tuple[int, int]] = []
    for first, last in spans:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def covers(there: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """there: joined, rising."""
    at = bisect_right(there, first, key=lambda span: span[0]) - 1
    return at >= 0 and last <= there[at][1]
