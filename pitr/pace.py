"""How long a recovery or a restore will take, from what pieces of the archive cost: its steps in the order that they will have, on the cores and the one disk there are. Pure.

Reading a partition (fetch, check, merge, write as rows and as a tree, read that back) is work of a core, in one of the workers. Then every copy takes the tree: the bytes are copied, which is work
of a core, synced, which is the disk's, and hashed. A table's copies begin when all its partitions are read; tables go side by side; the last copy takes the file, and waits for the
others. So what adds up within one table goes on at once in several, and a disk that is slow keeps nobody from reading: a sum of rates told neither.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class StepCost(NamedTuple):
    """Seconds for each byte that a plan counts, while every core does the like. read: until the tree is read back. Of one copy: copy, until its bytes are there; sync, until they are durable, which waits for
    the disk while as many do as there are cores; hash, until they are proven."""

    read: float
    copy: float
    sync: float
    hash: float


class Work(NamedTuple):
    """What one partition takes, in seconds: see `StepCost`."""

    read: float
    copy: float
    sync: float
    hash: float


class Costs(NamedTuple):
    """of: what was measured, by table and whether of its bases (True) or its log; other: what counts for the rest, of log and of bases. fixed: seconds that it takes whatever its size; each: more for
    each table. samples: pieces that were measured; 0: these are figures of old."""

    of: dict[tuple[str, bool], StepCost]
    other: tuple[StepCost, StepCost]
    fixed: float
    each: float
    samples: int

    def work(self, table: str, *, log: int, base: int) -> Work:
        """log, base: bytes of one partition, as a plan counts them."""
        costs = [self.of.get((table, of_base), self.other[of_base]) for of_base in (False, True)]
        return Work(*(log * of_log + base * of_base for of_log, of_base in zip(*costs, strict=True)))


@dataclass(slots=True, eq=False)
class _Step:
    """stages: what is left of it, first (True: of a core, False: of the disk; seconds). token: of which there are only so many, while it runs. waits: for so many others. then: which wait for it."""

    stages: deque[tuple[bool, float]]
    token: str
    waits: int = 0
    then: list[_Step] = field(default_factory=list)


_CORE, _DISK = True, False
_END = "end"


def _table(partitions: Sequence[Work], copies: int) -> tuple[list[_Step], _Step]:
    """The steps that it begins with, and the one that ends it."""
    end = _Step(deque([(_CORE, 0.0)]), _END, waits=len(partitions))
    reads = [_Step(deque([(_CORE, work.read)]), "worker") for work in partitions]
    for work in partitions:
        last = _Step(deque([(_DISK, work.sync), (_CORE, work.hash)]), f"node{copies - 1}", waits=max(1, copies - 1), then=[end])
        firsts = [
            _Step(deque([(_CORE, work.copy), (_DISK, work.sync), (_CORE, work.hash)]), f"node{number}", waits=len(reads), then=[last])
            for number in range(copies - 1)
        ]
        for read in reads:
            read.then += firsts or [last]
        if not firsts:
            last.waits = len(reads)
    return reads, end


def predict_seconds(tables: Sequence[Sequence[Work]], costs: Costs, *, workers: int, lanes: int, copies: int) -> float:
    """Seconds until all tables are published. tables: of each the work of its partitions. workers: processes that read, as many as there are cores; lanes: tables side by side; copies: of each
    partition."""
    waiting = deque(_table(sorted(table, reverse=True), copies) for table in tables if table)
    count = len(waiting)
    free = {"worker": workers, _END: count, **{f"node{number}": 1 for number in range(copies)}}
    ready: list[_Step] = []
    running: list[_Step] = []
    ends: set[_Step] = set()
    now = 0.0
    for _ in range(min(lanes, count)):
        _begin(waiting, ready, ends)
    while ready or running:
        for step in list(ready):
            if free[step.token]:
                free[step.token] -= 1
                ready.remove(step)
                running.append(step)
        now += _pass(running, workers)
        for step in [one for one in running if not one.stages]:
            running.remove(step)
            free[step.token] += 1
            for other in step.then:
                other.waits -= 1
                if not other.waits:
                    ready.append(other)
            if step in ends:
                _begin(waiting, ready, ends)
    return round(costs.fixed + costs.each * count + now, 3)


def _begin(waiting: deque[tuple[list[_Step], _Step]], ready: list[_Step], ends: set[_Step]) -> None:
    if waiting:
        first, end = waiting.popleft()
        ready += first
        ends.add(end)


def _pass(running: Sequence[_Step], workers: int) -> float:
    """Let time go by until the first stage of one ends. How long that was. What syncs has its share of the disk, of which costs were measured with as many at once as there are workers."""
    on_cores = sum(step.stages[0][0] for step in running)
    on_disk = len(running) - on_cores
    speed = {_CORE: min(1.0, workers / max(1, on_cores)), _DISK: workers / max(1, on_disk)}
    span = min(step.stages[0][1] / speed[step.stages[0][0]] for step in running)
    for step in running:
        resource, left = step.stages[0]
        left -= span * speed[resource]
        if left <= 1e-9:
            step.stages.popleft()
        else:
            step.stages[0] = resource, left
    return span


WEIGHT = 0.1
"""Of what was predicted, against what it took so far, in what is left: as if a tenth had gone by as predicted."""


def seconds_left(predicted_s: float, *, done: float, elapsed_s: float) -> float:
    """Of work that was predicted to take so long, of which a part (0 to 1) is done after so many seconds: it goes on at the pace that it had, and the less is done the more the prediction counts."""
    pace = (WEIGHT * predicted_s + elapsed_s) / (WEIGHT * predicted_s + done * predicted_s) if predicted_s > 0 else 1.0
    return max(0.0, (1.0 - done) * predicted_s * pace)
