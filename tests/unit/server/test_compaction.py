"""What a run of compaction by the schedule comes to, and that it is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scrubjay.archiver.compact.plan import LOCK, PackedPlace, PackPlan
from scrubjay.archiver.compact.report import PackOutcome, PackReport
from scrubjay.archiver.expire.plan import DAY_US, Held
from scrubjay.archiver.format.fault import Fault
from scrubjay.base.errors import UNREADABLE
from scrubjay.scrubber.schedule.views import ShiftOutcome
from scrubjay.server.compaction import compact_outcome

PLACE = PackedPlace("t", "cities", "p", 9, 35 * DAY_US)


def came_to(outcome: PackOutcome, **more: Any) -> ShiftOutcome:
    return compact_outcome(replace(PackReport(1, True, [outcome]), **more).as_json())


def test_what_a_run_of_the_schedule_comes_to() -> None:
    plan = PackPlan(PLACE)
    assert came_to(PackOutcome(plan)) == ShiftOutcome("nothing_due", 1, 0)
    assert came_to(PackOutcome(plan, packs=1, packed=4, deleted=8)) == ShiftOutcome("done", 1, 0)
    cut = came_to(PackOutcome(plan, packs=1, packed=4, deleted=8), cut="budget_spent", left=(PLACE,))
    assert cut == ShiftOutcome("done", 1, 1, "budget_spent")
    bad = came_to(PackOutcome(plan, faults=[Fault(UNREADABLE, "x.seg", 3, "segment frame checksum differs")]))
    assert (bad.verdict, bad.why) == ("mismatch", "unreadable in x.seg, segment frame checksum differs")
    refused = came_to(PackOutcome(replace(plan, refused="two histories from LSN 3 on")))
    assert (refused.verdict, refused.why) == ("refused", "two histories from LSN 3 on")
    kept = came_to(PackOutcome(plan, held=[Held(LOCK, "x.seg", "locked until then")]))
    assert (kept.verdict, kept.why) == ("incomplete", "held by lock: locked until then")
    away = came_to(PackOutcome(plan, error="the store does not answer"))
    assert (away.verdict, away.why, away.again) == ("failed", "the store does not answer", True)
    locked = came_to(PackOutcome(replace(plan, held=Held(LOCK, "", "the store locks what is put"))))
    assert (locked.verdict, locked.why) == ("nothing_due", "held by lock: the store locks what is put")
