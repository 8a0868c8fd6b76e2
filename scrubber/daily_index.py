"""What a day has proven and found, told to the archive: `index/` objects (docs/formats/index.md). A ledger that is lost is rebuilt from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Protocol

from scrubjay.archiver.format.day import IndexedRun, IndexObject, day_of, encode_index, is_indexed, missed
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import IndexKey, build, index_prefix, parse, partition_prefix
from scrubjay.archiver.read.days import Days, each_day, read_day
from scrubjay.archiver.read.epochs import Epochs
from scrubjay.archiver.read.manifests import ManifestReader
from scrubjay.archiver.read.names import list_all, names_of
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import SegmentRows
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Exists, ScrubjayError, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.scrubber.ledger import LedgerRun, Proof, report_read

AGAIN_US = 28 * 86_400_000_000
"""A name is told again after so long: so an object younger than the window tells it always, and older ones can go."""
NAMES = 1_000
"""Of one object, about 70 KB: so many are encoded on the loop in some 10 ms;"""
RUNS = 8
"""so many runs of it at most, and no more of them"""
REPORTS_CHARS = 256 * 1024
"""than reports so long together, but always one;"""
OBJECTS = 1_000
"""so many objects a night at most: what is left is told by the next."""
FINDINGS = 500
PARTITIONS = 2_000
"""Of one run's report. More are counted in what the ledger says, and not told here."""

Log = Callable[[str], None]


class IndexedLedger(Protocol):
    """See scrubber.sqlite_ledger.SqliteLedger. Raises Unavailable."""

    async def unsaid(self, cluster: str, *, before_us: int, now_us: int, limit: int) -> list[str]: ...

    async def unsaid_runs(self, limit: int, *, now_us: int) -> list[LedgerRun]: ...

    async def said(self, objects: Sequence[str], runs: Sequence[int], at_us: int) -> None: ...

    async def heard(self, objects: Sequence[str], at_us: int) -> None: ...

    async def known(self, prefix: str) -> list[str]: ...

    async def proved(self, proofs: Sequence[Proof]) -> None: ...

    async def told_at(self, times: Sequence[int], *, since_us: int) -> int: ...

    async def take_back_runs(self, runs: Sequence[LedgerRun], at_us: int) -> int: ...


class DailyIndex:
    """Nothing here waits for anybody: what could not be told today is told tomorrow, and a line says why."""

    def __init__(self, env: Env, store: ObjectStore, ledger: IndexedLedger, writer: Writer, *, log: Log) -> None:
        self._env, self._store, self._ledger, self._writer, self._log = env, store, ledger, writer, log
        self._gate = Gate(env.tasks)
        self._epochs = Epochs(store, writer.cluster)
        self._heard: dict[str, int] = {}
        """Objects that there are, and of which the ledger knows what they tell, with the time at which each was made."""

    async def tell(self) -> None:
        """What is proven or found and not told yet. Nothing new is no object."""
        try:
            async with self._gate:
                await self._hear()
                for _ in range(OBJECTS):
                    if not await self._one():
                        return
        except ScrubjayError as error:
            self._log(f"what was there today could not be told to the archive, the next night does: {error}")

    async def _hear(self) -> None:
        """What was told already, by an earlier life whose ledger was lost or by another process that ran the schedule, is not told again. What cannot be read says
        nothing here; a verify tells of it. What it told, or one that is gone, is told again: else nobody but the ledger would know it for weeks. Raises Unavailable."""
        now_us = self._env.clock.wall_us()
        listed = [(name, parse(name)) for name in await list_all(self._store, index_prefix(self._writer.cluster))]
        there = [name for name, key in listed if isinstance(key, IndexKey) and key.day >= day_of(now_us - AGAIN_US)]
        self._heard = {name: self._heard[name] for name in there if name in self._heard}
        for name in there:
            if name not in self._heard:
                found = await read_day(self._store, name, self._epochs, now_us=now_us, ahead_us=0)
                if not isinstance(found, Fault):
                    await self._ledger.heard(found.names, found.time_us)
                    self._heard[name] = found.time_us
        anew = await self._ledger.told_at(list(self._heard.values()), since_us=now_us - AGAIN_US)
        if anew:
            self._log(f"{anew} names and runs are told to the archive again: what told of them is gone, or cannot be read")

    async def _one(self) -> bool:
        now_us = self._env.clock.wall_us()
        unsaid = await self._ledger.unsaid(self._writer.cluster, before_us=now_us - AGAIN_US, now_us=now_us, limit=NAMES)
        names = [name for name in unsaid if is_indexed(name)]  # a row that rotted may hold anything: it is told of as done, and not told
        told = fitting([(run.id, indexed(run)) for run in await self._ledger.unsaid_runs(RUNS, now_us=now_us)])
        if not unsaid and not told:
            return False
        if names or told:
            self._heard[await self._put(names, [run for _, run in told], now_us)] = now_us
        await self._ledger.said(unsaid, [number for number, _ in told], now_us)
        return True

    async def _put(self, names: Sequence[str], runs: Sequence[IndexedRun], now_us: int) -> str:
        """Under the day's next free generation, and read back; its key. Raises Unavailable, Fenced."""
        await self._writer.assure(self._store)
        attached, day = self._writer.attached, day_of(now_us)
        for generation in range(await self._next(day), 10**9):
            made = IndexObject(
                cluster=attached.cluster, day=day, generation=generation, time_us=now_us, epoch=attached.epoch, owner=attached.owner,
                names=tuple(names), runs=tuple(runs),
            )  # fmt: skip
            key, data = build(made.key()), encode_index(made)
            try:
                await self._store.put(key, data)
            except Exists:
                continue  # another's, or ours of which we were not told
            if await self._store.get(key) != data:
                raise Unavailable("an object of the day's index does not hold what was put there", object=key)
            return key
        raise Unavailable("no generation of this day's index is free", day=day)

    async def _next(self, day: str) -> int:
        prefix, after, newest = f"{index_prefix(self._writer.cluster)}{day}.", "", 0
        while True:
            page = await self._store.list(prefix, after=after)
            for info in page.objects:
                number = info.key.removeprefix(prefix).removesuffix(".json")
                newest = max(newest, int(number) if number.isdecimal() else 0)
            if not page.more or not page.objects:
                return newest + 1
            after = page.objects[-1].key

    async def recall(self) -> tuple[int, int]:
        """For a ledger that was lost and knows what is listed: names that should be there and are not, and runs. How many of each. Raises Unavailable."""
        days, runs = Days(), 0
        async for found in each_day(self._store, self._writer.cluster):
            if isinstance(found, Fault):
                self._log(f"an object of the daily index says nothing: {found.object}: {found.detail}")
                continue
            days.note_names(found)
            if found.runs:  # the newest object first, so that each one's come in front of those that are there
                runs += await self._ledger.take_back_runs([recalled(run) for run in found.runs], found.time_us)
        return await self._recall_names(days), runs

    async def _recall_names(self, days: Days) -> int:
        count, now_us = 0, self._env.clock.wall_us()
        for (table, partition), names in days.names.items():
            listed = dict.fromkeys(await self._ledger.known(partition_prefix(self._writer.cluster, table, partition)))
            found = missed(names, listed)
            if found:
                found = await self._not_taken(table, partition, found)
            await self._ledger.proved([Proof(name, "listed", now_us) for name in found])
            count += len(found)
        return count

    async def _not_taken(self, table: str, partition: str, found: Sequence[str]) -> list[str]:
        """Without those that retention says it took away. Raises Unavailable."""
        names = await names_of(self._store, self._writer.cluster, table, partition)
        reader, index = (
            ManifestReader(self._store, self._writer.cluster, self._env.tasks),
            PartitionIndex(self._writer.cluster, table, partition),
        )
        begun = await reader.beginning(names, index, SegmentRows())
        return [name for name in found if begun.beginning is None or not begun.beginning.took(name)]


def fitting(runs: Sequence[tuple[int, IndexedRun]]) -> Sequence[tuple[int, IndexedRun]]:
    """The first of them, at least one, whose reports are no longer than REPORTS_CHARS together. Pure."""
    left = REPORTS_CHARS
    for place, (_, run) in enumerate(runs):
        left -= len(run.report)
        if left < 0:
            return runs[: max(1, place)]
    return runs


def indexed(run: LedgerRun) -> IndexedRun:
    """Shortened to what `scrub history` tells, and to FINDINGS of its findings. Pure."""
    report = run.report or {}
    left, parts_left, tables = FINDINGS, PARTITIONS, []
    for table in report.get("tables") or []:
        parts = []
        for part in table["partitions"][:parts_left]:
            told = part["findings"][:left]
            left -= len(told)
            parts.append({"partition": part["partition"], "verdict": part["verdict"], "findings": told})
        parts_left -= len(parts)
        tables.append({"table": table["table"], "table_id": table.get("table_id"), "partitions": parts})
    short = {"exit": report.get("exit"), "verdict": report.get("verdict"), "totals": report.get("totals"), "tables": tables}
    short["findings"] = (report.get("findings") or [])[:left]
    text = json.dumps(short, sort_keys=True)
    return IndexedRun(run.kind, run.started_us, run.finished_us or run.started_us, run.verdict or "unverified", run.healed, text)


def recalled(run: IndexedRun) -> LedgerRun:
    """A report that is none is left out: its checksum was right, so whoever wrote it is of another version. Pure."""
    return LedgerRun(0, run.started_us, run.finished_us, run.verdict, run.healed, report_read(run.report), run.kind)
