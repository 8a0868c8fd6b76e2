"""Reading `index/` objects: the names that should be there, and what was found, of all days that are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from scrubjay.archiver.format.day import IndexedRun, IndexObject, decode_index
from scrubjay.archiver.format.fault import Fault, said_of
from scrubjay.archiver.format.layout import BaseKey, IndexKey, SegmentKey, index_prefix, parse
from scrubjay.archiver.read.epochs import Epochs, index_fault
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing, NoKey


@dataclass(slots=True)
class Days:
    """names: by (table, partition), each once. runs: by kind and begin, each once. unread: objects that say nothing; what they alone said is not known."""

    names: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    runs: dict[tuple[str, int], IndexedRun] = field(default_factory=dict)
    unread: list[Fault] = field(default_factory=list)

    def note_names(self, found: IndexObject) -> None:
        for one in found.names:
            key = parse(one)
            if isinstance(key, SegmentKey | BaseKey):
                self.names.setdefault((key.table, key.partition), {})[one] = None


async def read_days(store: ObjectStore, cluster: str) -> Days:
    """All of them, one after another; also those of a clock that ran ahead: what they name was proven all the same. Raises Unavailable."""
    days, epochs = Days(), Epochs(store, cluster)
    for name in await list_all(store, index_prefix(cluster)):
        if not isinstance(parse(name), IndexKey):
            continue
        found = await read_day(store, name, epochs, now_us=None, ahead_us=0)
        if isinstance(found, Fault):
            days.unread.append(found)
            continue
        days.note_names(found)
        days.runs |= {(run.kind, run.started_us): run for run in found.runs}
    return days


async def read_day(store: ObjectStore, name: str, epochs: Epochs, *, now_us: int | None, ahead_us: int) -> IndexObject | Fault:
    """One of them, or why it says nothing. now_us None: no time is called untrue. Raises Unavailable."""
    try:
        found = decode_index(await store.get(name), where=name)
    except Missing:
        return Fault(HOLE, name, None, "it went since it was listed")
    except (Corrupt, NoKey) as error:
        return Fault(error.kind, name, None, said_of(error))
    fault = await index_fault(found, epochs, now_us=now_us, ahead_us=ahead_us)
    return found if fault is None else Fault(FORGED, name, None, fault)
