"""Carrying a plan of retention out, one partition after the other.

For each: look and plan; prove the base on which the rest will stand, row by row; look and plan again, and go on only if nothing has changed; say in
`expired/` what goes, and read that back; look once more, as every reader does from now on, and delete what the plan made then says, manifests first.

What must stay, and of which the store's lock would end before, is locked for longer along the way: its names are at hand here, so that it costs no listing.

How old anything is, is judged by the clock as it was when the run began, and where no person vouches for that, less what nobody saw pass (`lived`). How
long it is kept is asked anew.

Whoever comes to need an older moment is either seen (`holds`) by the plan in front of a delete, or sees himself that the history begins later: he says
what he needs before he looks, and this says what goes before it asks. A run that is cut off anywhere leaves a sound archive, and the next goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from scrubjay.archiver.expire.deleting import BATCH, delete_some
from scrubjay.archiver.expire.keeping import LockKeeper, PartLook
from scrubjay.archiver.expire.lived import Lived, lived
from scrubjay.archiver.expire.locks import LATE_US, LockBook
from scrubjay.archiver.expire.plan import (
    CHANGED,
    DAY_US,
    KEEP_MAX_US,
    PIN,
    Held,
    Locks,
    Need,
    PartPlan,
    Wanted,
    concerns,
    pin_need,
    plan_closed,
    plan_index,
    plan_partition,
)
from scrubjay.archiver.expire.report import ExpireReport, LockOutcome, PartOutcome
from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.expired import DROPPED, RETENTION, ExpiredObject, decode_expired, encode_expired
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import (
    build,
    closed_prefix,
    index_prefix,
    time_text,
)
from scrubjay.archiver.read.backup_pins import PinReader
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.names import Names, closed_nodes, list_all, names_of
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Fenced, Missing, ScrubjayError, Unavailable

FORGET_US = 2 * DAY_US
"""So long after it ended a lock is still known: what it kept goes meanwhile, and is not asked about again."""
GENERATIONS_MAX = 16

Prove = Callable[[BaseManifest], Awaitable[Sequence[Fault]]]
"""Reads a base whole, every row against its digest; what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ExpireParts:
    """What a run is given. holds: what is needed now, asked again before every delete; never waits. forget: told of keys that are gone. untold: whether the daily index
    does not say yet, in objects since then, of all that should be there. afresh: a partition as
    the cluster has it by now, its retention above all, None: it has it no more; never waits. locks: what is known of the store's."""

    env: Env
    store: ObjectStore
    index: ArchiveIndex
    writer: Writer
    prove: Prove
    holds: Callable[[], Sequence[Need]]
    archived: Callable[[], Sequence[KnownArchived]]
    afresh: Callable[[Wanted], Wanted | None]
    forget: Callable[[Sequence[str]], Awaitable[None]]
    untold: Callable[[int], Awaitable[bool]]
    progress: Callable[[dict[str, object]], None]
    locks: LockBook


class Expirer:
    """One run, or one plan. keep_us: as it was asked for, None: each table's own.

    attended: a person sees the plan and vouches for this machine's clock by confirming it. Where nobody does, a time that nobody saw pass ages nothing; ahead_us:
    nor does so much by which the clock is known to have leapt. stop(bytes read): why a run must end in front of its next partition, None: it goes on.
    """

    def __init__(
        self, parts: ExpireParts, *, keep_us: int | None, attended: bool, ahead_us: int = 0, stop: Callable[[int], str | None] | None = None
    ) -> None:
        self._parts = parts
        self._store, self._index, self._writer = parts.store, parts.index, parts.writer
        self._pins: list[Need] = []
        self._keep_us, self._attended = keep_us, attended
        self._ahead_us, self._stop, self._read = ahead_us, stop, 0
        self._began_us = self._now()
        self._lived = Lived(0)
        self._book = parts.locks
        self._keeper = LockKeeper(
            parts.env,
            parts.store,
            parts.locks,
            cluster=parts.index.cluster,
            stop=lambda: None if stop is None else stop(self._read),
            progress=parts.progress,
        )
        self._seen: PartLook | None = None
        """The last look at a partition."""

    async def plan(self, wanted: Sequence[Wanted], *, closed_keep_us: int | None) -> ExpireReport:
        """Changes nothing. closed_keep_us: the longest retention of any table; None: closed objects are left out. Raises Unavailable."""
        report = await self._begin(closed_keep_us, ran=False)
        if report.doubted:
            return report
        for one in wanted:
            report.outcomes.append(PartOutcome((await self._look(one))[0]))
            if self._seen is not None:
                self._keeper.count(self._seen, self._holds())
        await self._rest(report, wanted, closed_keep_us)
        return report

    async def run(self, wanted: Sequence[Wanted], *, closed_keep_us: int | None) -> ExpireReport:
        """Take away what may go. A partition that fails does not keep the others; a store that does not answer ends the run. Raises Fenced, Unavailable."""
        _ = self._writer.attached
        report = await self._begin(closed_keep_us, ran=True)
        if report.doubted:
            await self._extend_all(wanted, closed_keep_us)
            return report
        for number, one in enumerate(wanted):
            report.cut = None if self._stop is None else self._stop(self._read)
            if report.cut is not None:
                report.left = tuple(wanted[number:])
                return report
            self._parts.progress({"phase": "expire", "done": number, "total": len(wanted), "unit": "partitions"})
            outcome = PartOutcome(PartPlan(one, self._dated() - one.keep_us))
            report.outcomes.append(outcome)
            try:
                await self._one(outcome)
            except (Unavailable, Fenced) as error:
                outcome.error = str(error)
                return report
            except ScrubjayError as error:
                outcome.error = str(error)
            await self._keep_locked()
        try:
            await self._rest(report, wanted, closed_keep_us)
            await self._delete_closed(report)
            await self._keeper.extend_others(closed_keep_us)
        except (Unavailable, Fenced) as error:
            report.error = str(error)
        return report

    async def keep_locked(self, wanted: Sequence[Wanted], *, closed_keep_us: int | None) -> LockOutcome | None:
        """Only extend the locks of what must stay, where nothing may be taken away; None: the store locks nothing. Raises Unavailable."""
        if self._keeper.outcome is not None:
            _ = self._writer.attached
            await self._begin(closed_keep_us, ran=True)
            await self._extend_all(wanted, closed_keep_us)
        return self._keeper.outcome

    async def _begin(self, closed_keep_us: int | None, *, ran: bool) -> ExpireReport:
        await self._store.uncover(
            f"{self._index.cluster}/"
        )  # also a backup's pin that somebody deleted in a bucket with versions keeps what it kept
        found = await PinReader(self._parts.env.tasks, self._store, self._index.cluster).all()
        # What cannot be read, damaged or of a later version, keeps nobody knows what: it holds everything.
        self._pins = [*(pin_need(one) for one in found.pins), *(Need(None, 0, PIN, one.object) for one in found.unread)]
        seen = await lived(self._store, self._index.cluster, now_us=self._began_us, keep_us=closed_keep_us or KEEP_MAX_US)
        self._lived = seen._replace(unlived_us=max(seen.unlived_us, self._ahead_us))
        self._book.forget(self._now() - FORGET_US)
        return ExpireReport(
            self._began_us, self._keep_us, ran, lived=self._lived, attended=self._attended, unread=found.unread, locks=self._keeper.outcome
        )

    def _now(self) -> int:
        return self._parts.env.clock.wall_us()

    def _holds(self) -> list[Need]:
        return list(dict.fromkeys([*self._parts.holds(), *self._pins]))  # a backup made by this process is in both

    # --- one partition ---

    async def _look(self, wanted: Wanted) -> tuple[PartPlan, PartitionIndex, Names]:
        """By a new look at everything that lies there. Raises Unavailable."""
        self._seen = None
        cluster = self._index.cluster
        archived = [one for one in self._parts.archived() if (one.table, one.partition) == (wanted.table, wanted.partition)]
        await self._index.refresh(now_us=self._now(), table=wanted.table, partition=wanted.partition, archived=archived)
        index = self._index.partitions.get((wanted.table, wanted.partition)) or PartitionIndex(cluster, wanted.table, wanted.partition)
        names = await names_of(self._store, cluster, wanted.table, wanted.partition)
        await self._keeper.ask_of_words(index, names)
        now_us, fresh = self._dated(), self._parts.afresh(wanted)
        if fresh is None:
            return PartPlan(wanted, now_us - wanted.keep_us), index, names
        over = self._index.covered_of(wanted.table, wanted.partition)
        locks = Locks(self._book, self._now()) if self._book.locks_us else None
        found = index.coverage()
        plan = plan_partition(fresh, index, names, now_us=now_us, holds=self._holds(), over=over, locks=locks, found=found)
        self._seen = PartLook(plan, index, names, found)
        return plan, index, names

    def _dated(self) -> int:
        """By which what lies there is old."""
        return min(self._began_us, self._now()) - (0 if self._attended else self._lived.unlived_us)

    def _needing(self, plan: PartPlan) -> list[Need]:
        """Who needs now what the plan takes away."""
        begins_us = None if plan.whole else plan.earliest_us
        return [one for one in self._holds() if concerns(one, plan.wanted) and (begins_us is None or one.at_us < begins_us)]

    def _stands(self, plan: PartPlan) -> bool:
        """Nobody has come to need what it takes away since it was made. Never waits."""
        fresh = self._parts.afresh(plan.wanted)
        return fresh is not None and fresh.keep_us <= plan.wanted.keep_us and not self._needing(plan)

    async def _one(self, outcome: PartOutcome) -> None:
        plan, index, _ = await self._look(outcome.plan.wanted)
        outcome.plan = plan
        if plan.refused is not None or (not plan.lsn and not plan.objects):
            return
        if plan.lsn:
            if plan.base is not None and not await self._proven(plan, outcome):
                return
            again, index, _ = await self._look(plan.wanted)
            await self._writer.assure(self._store)
            same = (again.lsn, again.base, again.whole, again.refused) == (plan.lsn, plan.base, plan.whole, None)
            if not same or not self._stands(again):
                outcome.held.append(Held(CHANGED, "", "what may go has changed while the base was proven: the next run sees to it"))
                return
            outcome.plan = again
            await self._say(again, index)
        await self._delete(outcome)

    async def _proven(self, plan: PartPlan, outcome: PartOutcome) -> bool:
        """The base was read, row by row, now. One that is bad is used by nobody any more."""
        assert plan.base is not None
        where = build(plan.base.key(self._index.cluster, plan.wanted.table, plan.wanted.partition))
        self._read += plan.base.size
        try:
            faults = await self._parts.prove(decode_base(await self._store.get(where), where=where))
        except (Corrupt, Missing) as error:
            faults = [Fault(error.kind, where, plan.base.lsn, str(error))]
        for fault in faults:
            self._index.distrust([fault.object], kind=fault.kind, detail=fault.detail)
            outcome.refused = f"the base on which the rest would stand is not sound: {fault.object}: {fault.detail}"
        return not faults

    async def _say(self, plan: PartPlan, index: PartitionIndex) -> None:
        """Put the word about what goes, and read it back. Raises Corrupt if the store keeps no generation of it as it was put."""
        who = self._writer.attached
        base = plan.base
        for generation in range(1, GENERATIONS_MAX + 1):
            made = ExpiredObject(
                cluster=self._index.cluster, table=plan.wanted.table, partition=plan.wanted.partition,
                table_name=index.table_name or plan.wanted.table_name, lsn=plan.lsn, stamp=base.stamp if base is not None else plan.wanted.final_stamp,
                chain=base.chain if base is not None else None,
                base=build(base.key(self._index.cluster, plan.wanted.table, plan.wanted.partition)) if base is not None else None,
                reason=RETENTION if base is not None else DROPPED, keep_from_us=plan.keep_from_us, at_us=self._now(), objects=len(plan.objects),
                bytes=plan.bytes, generation=generation, epoch=who.epoch, owner=who.owner,
            )  # fmt: skip
            where = build(made.key())
            with suppress(Exists):
                until_us = self._now() + self._book.locks_us
                await self._store.put(where, encode_expired(made))
                if self._book.locks_us:
                    self._book.note(where, until_us)
            try:
                there = decode_expired(await self._store.get(where), where=where)
            except Corrupt:
                continue
            except Missing:
                return  # somebody else has taken more away meanwhile, and this word with it: the look that follows says so
            if (there.whole, there.chain, there.stamp) == (made.whole, made.chain, made.stamp):
                return
        raise Corrupt("no generation of what is to be said of expired history holds what was put there", what="expired", where=where)

    async def _delete(self, outcome: PartOutcome) -> None:
        """What the plan of this moment says may go: after the word about it was read by a look like everybody's."""
        plan, index, _ = await self._look(outcome.plan.wanted)
        said = index.beginning
        if said is None or said.lsn < outcome.plan.lsn or (plan.whole and not said.whole):
            raise Corrupt("what was said of expired history is not what readers find", what="expired", lsn=outcome.plan.lsn)
        if plan.lsn > said.lsn:
            outcome.held.append(Held(CHANGED, "", "what may go has changed since it was said: the next run sees to it"))
            return
        # Manifests all before the first of what they describe.
        manifests = [one for one in plan.objects if one[0].endswith(".json")]
        bodies = [one for one in plan.objects if not one[0].endswith(".json")]
        words = [one for one in manifests if "/expired/" in one[0]]
        for some in ([one for one in manifests if one not in words], bodies, words):
            for start in range(0, len(some), BATCH):
                await self._writer.assure(self._store)
                # Without waiting for anything in between: who needs it now is seen, who comes later sees that it is gone.
                needing = self._needing(plan)
                if needing:
                    outcome.held += [Held(one.by, one.name, "came while it was being taken away: the rest stays") for one in needing]
                    return
                await self._batch([key for key, _ in some[start : start + BATCH]], outcome, dict(some))
                self._parts.progress({"phase": "delete", "done": outcome.deleted, "total": len(plan.objects), "unit": "objects"})

    async def _batch(self, keys: Sequence[str], outcome: PartOutcome, sizes: dict[str, int]) -> None:
        gone = await self._delete_some(keys, outcome.held)
        outcome.deleted += len(gone)
        outcome.freed += sum(sizes[key] for key in gone)

    async def _delete_some(self, keys: Sequence[str], held: list[Held]) -> list[str]:
        """Those that are gone. One that the store refuses to delete (a lock) is noted, and stays."""
        return await delete_some(self._store, self._parts.env.tasks, self._index, keys, held, self._parts.forget, note=self._book.note)

    # --- locks of what must stay ---

    async def _keep_locked(self) -> None:
        """Of the partition that was looked at last. Raises nothing of the store's."""
        if self._seen is not None:
            await self._keeper.extend(self._seen, self._holds())

    async def _extend_all(self, wanted: Sequence[Wanted], closed_keep_us: int | None) -> None:
        """Where nothing may go. Raises Unavailable."""
        if self._keeper.outcome is None:
            return
        for one in wanted:
            await self._look(one)
            await self._keep_locked()
        if closed_keep_us is not None:
            await self._look_at_closed(self._keep_closed_from(closed_keep_us))
        await self._keeper.extend_others(closed_keep_us)

    # --- what belongs to no partition ---

    async def _rest(self, report: ExpireReport, wanted: Sequence[Wanted], closed_keep_us: int | None) -> None:
        if closed_keep_us is None:
            return
        known = {one.table for one in wanted}
        # Of what went whole only the word about it is left.
        there = {table for (table, _), one in self._index.partitions.items() if one.beginning is None or not one.beginning.whole}
        report.foreign = tuple(sorted(there - known))
        keep_from_us = self._keep_closed_from(closed_keep_us)
        days = await list_all(self._store, index_prefix(self._index.cluster))
        report.closed = (
            *await self._look_at_closed(keep_from_us),
            *(() if await self._parts.untold(keep_from_us) else plan_index(days, keep_from_us=keep_from_us, now_us=self._now())),
        )

    def _keep_closed_from(self, closed_keep_us: int) -> int:
        """Since when they are needed."""
        # What a backup needs of them the later ones say too, and the seals; where nobody knows what is needed, all stay.
        needs = [one.at_us for one in self._holds() if one.by != PIN or one.table is None]
        return min([self._dated() - closed_keep_us, *needs])

    async def _look_at_closed(self, keep_from_us: int) -> tuple[tuple[str, int], ...]:
        """Those that may go, by their names; what the store still locks may not. Raises Unavailable."""
        book, now_us = self._book, self._now()
        if not book.locks_us:
            return plan_closed(await self._closed(keep_from_us), keep_from_us=keep_from_us, now_us=self._dated())
        ends_us = now_us + book.ahead_us - book.locks_us if book.since_us is not None else now_us
        listed = await self._closed(max(keep_from_us, ends_us))
        free = plan_closed(listed, keep_from_us=keep_from_us, now_us=self._dated())
        self._keeper.closed(listed, frozenset(name for name, _ in free))
        unlocked = frozenset(name for name, _ in plan_closed(listed, keep_from_us=now_us - book.locks_us - LATE_US, now_us=self._dated()))
        return tuple(one for one in free if one[0] in unlocked and book.until(one[0]) <= now_us)

    async def _closed(self, until_us: int) -> dict[str, int]:
        """Closed objects up to `until_us`, and each node's newest: what lies between is not listed. Raises Unavailable."""
        found: dict[str, int] = {}
        for node in await closed_nodes(self._store, self._index.cluster):
            prefix = closed_prefix(self._index.cluster, node)
            after, end = "", prefix + time_text(max(until_us, 0))
            while after < end:
                page = await self._store.list(prefix, after=after)
                found.update({info.key: info.size for info in page.objects if info.key < end})
                if not page.more or not page.objects:
                    found.update({info.key: info.size for info in page.objects})
                    break
                after = page.objects[-1].key
            else:
                # There are more than a page of later ones: none listed so far is among the newest.
                later = await self._store.list(prefix, after=end)
                found.update({info.key: info.size for info in later.objects})
        return found

    async def _delete_closed(self, report: ExpireReport) -> None:
        keys = [key for key, _ in report.closed]
        held: list[Held] = []
        for start in range(0, len(keys), BATCH):
            await self._writer.assure(self._store)
            report.closed_deleted += len(await self._delete_some(keys[start : start + BATCH], held))
            self._parts.progress({"phase": "closed", "done": report.closed_deleted, "total": len(keys), "unit": "objects"})
