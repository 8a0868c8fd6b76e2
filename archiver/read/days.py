"""Reading `index/` objects: the names that should be there, and what was found, of all days that are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from scrubjay.archiver.format.day import IndexedRun, decode_index
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import BaseKey, IndexKey, SegmentKey, index_prefix, parse
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import HOLE, Corrupt, Missing


@dataclass(slots=True)
class Days:
    """names: by (table, partition), each once. runs: by kind and begin, each once. unread: objects that say nothing; what they alone said is not known."""

    names: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    runs: dict[tuple[str, int], IndexedRun] = field(default_factory=dict)
    unread: list[Fault] = field(default_factory=list)


async def read_days(store: ObjectStore, cluster: str) -> Days:
    """All of them, one after another. Raises Unavailable."""
    days = Days()
    for name in await list_all(store, index_prefix(cluster)):
        if not isinstance(parse(name), IndexKey):
            continue
        try:
            found = decode_index(await store.get(name), where=name)
        except Missing:
            days.unread.append(Fault(HOLE, name, None, "it went since it was listed"))
            continue
        except Corrupt as error:
            days.unread.append(Fault(error.kind, name, None, str(error)))
            continue
        for one in found.names:
            key = parse(one)
            if isinstance(key, SegmentKey | BaseKey):
                days.names.setdefault((key.table, key.partition), {})[one] = None
        days.runs |= {(run.kind, run.started_us): run for run in found.runs}
    return days
