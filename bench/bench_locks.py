"""What retention costs over a partition with a million objects in a store that locks: a plan, and finding what must be locked for longer, in the three cases that there are.

python -m bench.bench_locks [objects]
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from scrubjay.archiver.expire.locks import LockBook, needed_until, to_extend
from scrubjay.archiver.expire.plan import DAY_US, Locks, Wanted, plan_partition
from scrubjay.archiver.format.layout import BaseKey, build
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import BaseEntry, SegmentRow
from scrubjay.base.hlc import stamp_of

CLUSTER, TABLE, PARTITION = (f"{number:08x}-0000-4000-8000-000000000000" for number in range(3))
NOW_US = 1_760_000_000_000_000
DAYS = 45
STATE = b"\0" * 24


def made(objects: int) -> tuple[PartitionIndex, Names]:
    """A log of 45 days in segments of ten records, each with its manifest, and a base every five days."""
    segments = objects // 2
    index, names = PartitionIndex(CLUSTER, TABLE, PARTITION), Names(TABLE, PARTITION)
    chain = [number.to_bytes(32, "big") for number in range(segments + 1)]
    begun_us, step_us = NOW_US - DAYS * DAY_US, DAYS * DAY_US // segments
    for number in range(segments):
        first, last = number * 10 + 1, number * 10 + 10
        stamps = (stamp_of(begun_us + number * step_us), stamp_of(begun_us + (number + 1) * step_us - 1))
        row = SegmentRow(
            first, last, 1, f"{number:016x}", *stamps, stamps[1], 9, 0, 1000, 4000, 1, 2, chain[number], chain[number + 1], STATE
        )
        index.rows.add(row)
        key = row.key(CLUSTER, TABLE, PARTITION)
        names.log[build(key.twin())] = 700
        names.log[build(key)] = 1000
        if (number + 1) % (segments // 9) == 0:
            entry = BaseEntry(last, stamps[1], chain[number + 1], STATE, 1, 1, f"{number:016x}", 4000, 0, 1, ("t", "", "", ""))
            index.bases.append(entry)
            for part in (None, 0):
                names.base[build(BaseKey(CLUSTER, TABLE, PARTITION, last, 1, entry.sha16, part))] = 4000
    return index, names


def timed(what: str, work: Callable[[], Any]) -> Any:
    begun = time.process_time()
    found = work()
    print(f"{what}: {time.process_time() - begun:.2f} s of CPU")
    return found


def main(objects: int) -> None:
    index, names = timed(f"made: {objects} objects", lambda: made(objects))
    found = timed("coverage", index.coverage)
    archived = found.end
    wanted = Wanted(TABLE, "t", PARTITION, archived, 35 * DAY_US)
    print(f"memory so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    for what, since_us, pins in (("a night", 1, []), ("the first run", None, []), ("a backup of all", 1, [NOW_US - 44 * DAY_US])):
        book = LockBook(38 * DAY_US, since_us=since_us)
        plan = timed(
            f"{what}: plan", lambda book=book: plan_partition(wanted, index, names, now_us=NOW_US, locks=Locks(book, NOW_US), found=found)
        )
        goes = {name for name, _ in plan.objects}
        needed = needed_until(found, keep_us=35 * DAY_US, archived=archived, pins=pins)
        some = timed(
            f"{what}: what must be locked for longer",
            lambda book=book, needed=needed, goes=goes: list(to_extend(names, goes.__contains__, found, needed, None, book, now_us=NOW_US)),
        )
        timed(f"{what}: remembered", lambda book=book, some=some: book.learn(some))
        ranges = sum(len(one._ranges) for one in book._groups.values())
        print(f"  goes {len(goes)}, asked {len(some)}, ranges {ranges}")
        again = timed(
            f"{what}: the night after",
            lambda book=book, needed=needed, goes=goes: sum(
                1 for _ in to_extend(names, goes.__contains__, found, needed, None, book, now_us=NOW_US + DAY_US)
            ),
        )
        print(f"  asked {again}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB; load {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
