"""The verbs of time travel as the server keeps them: `history`, `diff` and its pages, `undo`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from scrubjay.archiver.expire.plan import RESTORE, Need
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, parse
from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import Corrupt, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import PartitionId, Stamp
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import Progress, TableArchive, TimelineArchive
from scrubjay.pitr.job import WindowNote
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.plan import PartitionHistory, PartitionPlan, Plan, PlannedSegment, distinct, plan_partition
from scrubjay.pitr.planning import Planning
from scrubjay.pitr.prepare import Preparing
from scrubjay.pitr.selection import EVERYTHING, Selection, beginning, one_key
from scrubjay.pitr.target import Bounds
from scrubjay.pitr.timeline import jobs
from scrubjay.pitr.timeline.results import ResultPage, Results, folder_of
from scrubjay.pitr.timeline.undo import LiveTable, Undo
from scrubjay.pitr.timeline.what_to_read import TwoPaths, forks_in, holes_in, newest_first, two_paths, unproven
from scrubjay.pitr.window import in_a_hole, reach_in, window_note, window_text
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, as_of, parent_of
from scrubjay.storage.items.keys import key_attributes
from scrubjay.storage.items.wire import item_bytes_to_json
from scrubjay.storage.service_port import ServicePort

Report = dict[str, Any]
T = TypeVar("T")
DIFF = "scrubjay.pitr.timeline.jobs:diff_job"
HISTORY = "scrubjay.pitr.timeline.jobs:history_job"
LIMIT_MAX = 10_000
"""Versions in one answer."""
BASES_DONE_WITHOUT = 4
"""Rotten bases of which one comparison does without, one after the other."""


class Ends(NamedTuple):
    """Two moments, inclusive, both proven. window: as printed. forks: of what is read, as `unproven[]` says them."""

    from_us: int
    to_us: int
    window: WindowNote
    paths: tuple[TwoPaths, ...]
    forks: list[Report]

    def facts(self, table: TableMeta) -> Report:
        return {
            "table": table.name,
            "table_id": table.table_id,
            "from": utc_text(self.from_us),
            "to": utc_text(self.to_us),
            "window": msgspec.to_builtins(self.window),
            "unproven": self.forks,
        }


class Differences(NamedTuple):
    """What differs, in the result `ident`. files: in the order of storage keys; bytes: of them."""

    ident: str
    totals: dict[str, int]
    files: list[str]
    bytes: int


class TimelineService:
    """preparing, archive, options: of the restores. writer: the live tables, for an undo. disk: rooted at the data folder. log: an undo is noted there before its
    first write and when it ends."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        preparing: Preparing,
        archive: TimelineArchive,
        options: RestoreOptions,
        writer: LiveTable,
        disk: Disk,
        *,
        log: Callable[[str], None],
    ) -> None:
        self._env, self._port, self._preparing, self._archive, self._options = env, port, preparing, archive, options
        self._writer, self._disk, self._log = writer, disk, log
        self._results = Results(env, disk)
        self._undoing = Gate(env.tasks)
        self._reading: dict[object, Need] = {}

    def sweep(self) -> None:
        """At start."""
        self._results.sweep()

    def needs(self) -> list[Need]:
        """What is being read: retention must leave it. Never waits."""
        return list(self._reading.values())

    # ------------------------------------------------------------------ history

    async def history(
        self, source: TableMeta, *, key: Any, from_us: int | None, to_us: int | None, limit: int, progress: Progress
    ) -> Report:
        """to_us None: now. Raises Invalid (the key, the range), Unsafe (outside the window), Unavailable."""
        received_us = self._env.clock.wall_us()
        if not 1 <= limit <= LIMIT_MAX:
            raise Invalid("so many versions do not come in one answer", asked=str(limit), found=f"1 to {LIMIT_MAX}")
        source = await self._preparing.settled(source)
        selection = one_key(source.key, key)
        seen, bounds = await self._preparing.look(source)
        end_us = _end(to_us, bounds, received_us)
        shown = window_note(seen)
        _check_order(from_us or 0, end_us, shown)
        end = reach_in(end_us, bounds, shown, now_us=self._env.clock.wall_us())
        (info,) = selection.among(as_of(source, end_us).partitions)
        planning = Planning(self._env, self._port, self._archive, self._options, source, at_us=end_us, only={info.partition_id})
        begin_us = from_us or 0
        missing: list[dict[str, Any]] = []
        upto: int | None = None
        done = self._need(source, begin_us, "history")
        try:
            try:
                plan = await (planning.beyond() if end.beyond_latest else planning.once({}))
                upto = _of(plan, info.partition_id).to_lsn
            except Unavailable as error:
                missing.append(unproven("archive_lags", info.partition_id, from_us=seen.window.latest_us, to_us=end_us))
                self._log(f"history of {source.name}: its end is not proven: {error}")
            except Missing:  # a hole: named below
                if end.beyond_latest:  # and nobody has seen to what came after it
                    missing.append(unproven("archive_lags", info.partition_id, from_us=seen.window.latest_us, to_us=end_us))
            seen = await self._archive.look(source)
            line = _line(source, seen, info.partition_id)
            for one in line:
                missing += forks_in(one)
                missing += holes_in(one, seen.window.holes, from_us=begin_us, to_us=end_us)
            earliest = seen.window.earliest_us
            if from_us is not None and line[-1].facts.expired and earliest is not None and from_us < earliest:
                missing.append(unproven("expired", line[-1].partition, from_us=from_us, to_us=earliest))
            sources = newest_first(line[0], from_us=begin_us, upto_lsn=upto, to_cut=last_stamp_at(end_us))
            for one in line[1:]:  # all of what it came of lies in front of it
                sources += newest_first(
                    one, from_us=begin_us, upto_lsn=one.segments[-1].last if one.segments else None, to_cut=last_stamp_at(end_us)
                )
            objects = distinct(sources)
            answer = await self._archive.read(
                HISTORY,
                {
                    "key": selection.low.hex(),
                    "sources": objects,
                    "absent": await self._archive.without(selection.low, objects),
                    "from_us": begin_us,
                    "to_us": end_us,
                    "first": min((one.first for one in sources if isinstance(one, PlannedSegment)), default=0),
                    "limit": limit,
                    "begun_us": source.created_at,
                },
                progress=progress,
            )
        finally:
            done()
        for bad in map(_fault, answer["bad"]):
            missing.append(unproven("damaged", info.partition_id, from_us=None, to_us=None, object=bad.object))
        told = answer["versions"]
        versions = await self._env.tasks.blocking(lambda: [_version(one) for one in told])
        return {
            "exit": 3 if missing else 0,
            "error": None,
            "table": source.name,
            "table_id": source.table_id,
            "key": key,
            "from": None if from_us is None else utc_text(from_us),
            "to": utc_text(end_us),
            "window": msgspec.to_builtins(window_note(seen)),
            "versions": versions,
            "more": answer["more"],
            "unproven": missing,
            "read": {"segments": answer["segments"], "skipped": answer["skipped"], "of": len(sources), "raw_bytes": answer["raw_bytes"]},
        }

    # ------------------------------------------------------------------ diff

    async def diff(self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, progress: Progress) -> Report:
        """The totals, and in `result` under which name the changes are fetched (`changes`). to_us None: now. Raises Invalid, Unsafe, Missing, Corrupt, Unavailable."""
        received_us = self._env.clock.wall_us()
        source = await self._preparing.settled(source)
        selection = _selected(source, key, prefix)
        done = self._need(source, from_us, "diff")
        try:
            between, found = await self._read(source, selection, from_us, to_us, received_us, jobs.SHOWN, progress)
        finally:
            done()
        self._results.keep(found.ident, found.files)
        return {
            "exit": 3 if between.forks else 0,
            "error": None,
            **between.facts(source),
            "partitions": [path.as_json() for path in between.paths],
            "totals": found.totals,
            "result": found.ident,
            "bytes": found.bytes,
        }

    def changes(self, result: str, at: str) -> ResultPage:
        """A page of what a diff found. Raises Unavailable (ResourceNotFound), Corrupt."""
        return self._results.page(result, at)

    async def with_changes(
        self,
        source: TableMeta,
        *,
        from_us: int,
        to_us: int,
        progress: Progress,
        use: Callable[[Sequence[tuple[str, str]]], Awaitable[T]],
    ) -> T:
        """What differs between two moments, for an export. use: told (partition, row file of the form `jobs.KEPT`), which are gone when it returns. Raises as diff does,
        and what `use` raises."""
        done = self._need(source, from_us, "export")
        try:
            received_us = self._env.clock.wall_us()
            between, found = await self._read(source, EVERYTHING, from_us, to_us, received_us, jobs.KEPT, progress)
            try:
                return await use([(path.partition, file) for path, file in zip(between.paths, found.files, strict=True)])
            finally:
                self._results.drop(found.ident)
        finally:
            done()

    async def _read(
        self,
        source: TableMeta,
        selection: Selection,
        from_us: int,
        to_us: int | None,
        received_us: int,
        form: str,
        progress: Progress,
    ) -> tuple[Ends, Differences]:
        """Both moments and what differs between them, in a result that the caller keeps or drops. A base that has rotted is done without: whoever read it has said so, and
        the next plan begins with an older one, or with the log. Raises what `_between` does, Missing, Corrupt."""
        for left in reversed(range(BASES_DONE_WITHOUT + 1)):
            ident = self._results.begin()
            kept = False
            try:
                between = await self._between(source, selection, from_us, to_us, received_us)
                found = await self._compare(source, selection, between, ident, form, progress)
                kept = True
                return between, found
            except (Corrupt, Missing) as error:
                if not left or not any(isinstance(parse(one.object), BaseKey) for one in error.fields.get("damage", ())):
                    raise
                self._log(f"comparing moments of {source.name}: done without a base: {error}")
            finally:
                if not kept:
                    self._results.drop(ident)
        raise AssertionError("the last try returns or raises")

    async def _between(self, source: TableMeta, selection: Selection, from_us: int, asked_us: int | None, received_us: int) -> Ends:
        """Both moments proven to be in the archive, and what is read. asked_us: the later one, None: now. Raises Invalid, Unsafe, Unavailable."""
        seen, bounds = await self._preparing.look(source)
        to_us = _end(asked_us, bounds, received_us)
        shown = window_note(seen)
        _check_order(from_us, to_us, shown)
        now_us = self._env.clock.wall_us()
        reach_in(from_us, bounds, shown, now_us=now_us)
        end = reach_in(to_us, bounds, shown, now_us=now_us)
        later, earlier = as_of(source, to_us).partitions, as_of(source, from_us).partitions
        infos = selection.among(later)
        wanted = {info.partition_id for info in infos}
        planning = Planning(self._env, self._port, self._archive, self._options, source, at_us=to_us, only=wanted)
        at_us = to_us
        try:
            plan = await (planning.beyond() if end.beyond_latest else planning.once({}))
            seen = await self._archive.look(source)
            at_us = from_us
            paths = tuple(
                _two_paths(
                    seen, info, earlier, _of(plan, info.partition_id), before_cut=last_stamp_at(from_us), after_cut=last_stamp_at(to_us)
                )
                for info in infos
            )
        except Missing as error:
            raise in_a_hole(error, shown, at_us=at_us) from None
        read = {one for path in paths for one in (path.partition, path.before.partition)}
        forks = [one for history in seen.histories if history.partition in read for one in forks_in(history)]
        return Ends(from_us, to_us, window_note(seen), paths, forks)

    async def _compare(
        self, source: TableMeta, selection: Selection, between: Ends, ident: str, form: str, progress: Progress
    ) -> Differences:
        names = [one.name for one in key_attributes(source.key)]
        cuts = (last_stamp_at(between.from_us), last_stamp_at(between.to_us))

        async def one(number: int) -> dict[str, Any]:
            path = between.paths[number]
            sides = [
                {
                    "partition": plan.partition,
                    "base": None if plan.base is None else plan.base.asked,
                    "segments": plan.objects(),
                    "cut": cut,
                }
                for plan, cut in zip((path.before, path.after), cuts, strict=True)
            ]
            chosen = selection if path.within is None else selection.within(path.within)
            return await self._archive.read(
                DIFF,
                {
                    "before": sides[0],
                    "after": sides[1],
                    "shared": path.shared,
                    "low": chosen.low.hex(),
                    "high": None if chosen.high is None else chosen.high.hex(),
                    "names": names,
                    "form": form,
                    "output": f"{folder_of(ident)}/{number:06d}",
                    "work": f"{folder_of(ident)}/base{number}",
                },
                progress=progress,
            )

        numbers = range(len(between.paths))
        answers = await in_parallel(self._env.tasks, one, numbers, lanes=self._options.lanes, name="diff")
        totals = {name: sum(answer["totals"][name] for answer in answers) for name in ("added", "removed", "changed", "same")}
        return Differences(
            ident, totals, [f"{folder_of(ident)}/{number:06d}" for number in numbers], sum(answer["bytes"] for answer in answers)
        )

    # ------------------------------------------------------------------ undo

    async def undo(
        self, source: TableMeta, *, from_us: int, to_us: int | None, key: Any, prefix: Any, confirm: bool, progress: Progress
    ) -> Report:
        """One at a time. Raises as diff does, and Unavailable with the totals so far: the same again does what is left."""
        received_us = self._env.clock.wall_us()
        source = await self._preparing.settled(source)
        if source.dropped_at is not None or source.status in ("DELETING", "DROPPED"):
            raise Unsafe(
                "the table is dropped: there is nothing to put back into", asked=source.name, next="scrubjay restore run brings it back"
            )
        selection = _selected(source, key, prefix)
        async with self._undoing:
            done = self._need(source, from_us, "undo")
            try:
                between, found = await self._read(source, selection, from_us, to_us, received_us, jobs.KEPT, progress)
                try:
                    return await self._put_back(source, between, found.files, confirm, progress)
                finally:
                    self._results.drop(found.ident)
            finally:
                done()

    async def _put_back(self, source: TableMeta, between: Ends, files: Sequence[str], confirm: bool, progress: Progress) -> Report:
        names = [one.name for one in key_attributes(source.key)]
        undo = Undo(self._env.tasks, self._writer, source, confirm=confirm)
        what = f"undo of {source.name} ({source.table_id}) from {utc_text(between.from_us)} to {utc_text(between.to_us)}"
        if confirm:
            self._log(f"{what}: begins")
        try:
            for path in files:
                file = self._disk.open(path)
                try:
                    await undo.put_back(read_rowfile(file.pread, file.size()), progress)
                finally:
                    file.close()
        except ScrubjayError as error:
            error.fields["body"] = {**between.facts(source), "totals": undo.done.totals, "written": confirm}
            raise
        finally:
            if confirm:
                self._log(f"{what}: {', '.join(f'{count} {name}' for name, count in undo.done.totals.items())}")
        conflicts = [one.as_json(names) for one in undo.done.conflicts]
        return {
            "exit": 3 if (confirm and undo.done.totals["conflicts"]) or between.forks else 0,
            "error": None,
            **between.facts(source),
            "written": confirm,
            "totals": undo.done.totals,
            "conflicts": conflicts,
        }

    # ------------------------------------------------------------------ helpers

    def _need(self, source: TableMeta, from_us: int, what: str) -> Callable[[], None]:
        """Retention leaves what is behind `from_us` until the returned function is called."""
        token = object()
        self._reading[token] = Need(source.table_id, from_us, RESTORE, f"{what} of {source.name}")

        def over() -> None:
            self._reading.pop(token, None)

        return over


def _selected(source: TableMeta, key: Any, prefix: Any) -> Selection:
    """Raises Invalid."""
    if key is not None and prefix is not None:
        raise Invalid("one or the other", asked="--key and --prefix", next="give one of them")
    if key is not None:
        return one_key(source.key, key)
    return EVERYTHING if prefix is None else beginning(source.key, prefix)


def _end(asked_us: int | None, bounds: Bounds, received_us: int) -> int:
    """The later moment. None: now, which for a dropped table is its last moment, as `--latest` of a restore is. Pure."""
    if asked_us is not None:
        return asked_us
    return received_us if bounds.ends_us is None else bounds.ends_us


def _two_paths(
    seen: TableArchive, info: PartitionInfo, earlier: Sequence[PartitionInfo], after: PartitionPlan, *, before_cut: Stamp, after_cut: Stamp
) -> TwoPaths:
    """earlier: the table's partitions at the earlier moment: where a split lies between, of the one that was split only the range that this one got. Raises Missing, Unavailable. Pure."""
    (history,) = seen.of([info])
    if info in earlier:
        return two_paths(history, after, before_cut=before_cut, after_cut=after_cut)
    (parent,) = seen.of([one for one in earlier if one.lo <= info.lo and (not one.hi or info.lo < one.hi)])
    return TwoPaths(info.partition_id, plan_partition(parent, before_cut), after, False, info)


def _of(plan: Plan, partition: str) -> PartitionPlan:
    return next(one for one in plan.partitions if one.partition == partition)


def _line(table: TableMeta, seen: TableArchive, partition: PartitionId) -> list[PartitionHistory]:
    """A partition and what it came of at splits, the newest first, as far back as its log goes without a gap. Pure."""
    found = {one.partition: one for one in seen.histories}
    line = [found[partition]]
    while (parent := parent_of(table, line[-1].partition)) is not None and line[-1].facts.expired <= parent.final.lsn:
        line.append(found[parent.info.partition_id])
    return line


def _version(told: Sequence[Any]) -> Report:
    """A version as `jobs.history_job` tells it, as INTERFACE has it. Raises Corrupt (the item)."""
    lsn, at_us, op, item, object_ = told
    key = parse(object_)
    partition = key.partition if isinstance(key, SegmentKey | BaseKey) else None
    shown = None if item is None else item_bytes_to_json(item)
    return {"lsn": lsn, "at": utc_text(at_us), "op": op, "item": shown, "partition": partition, "object": object_}


def _fault(found: Sequence[Any]) -> Fault:
    return Fault(*found)


def _check_order(from_us: int, to_us: int, shown: WindowNote) -> None:
    """Raises Invalid, with the window in the answer."""
    if from_us > to_us:
        raise Invalid(
            "the range ends before it begins",
            asked=f"{utc_text(from_us)} to {utc_text(to_us)}",
            found=window_text(shown),
            next="give the earlier moment as --from",
            body={"window": msgspec.to_builtins(shown)},
        )
