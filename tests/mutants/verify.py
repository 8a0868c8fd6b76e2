"""Mutants of verify: several partitions at once, what it holds of the daily index, and the small objects."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "told-twice",
        "archiver/read/days.py",
        "            if packed != last:\n                last = packed\n                yield self._name(packed)",
        "            yield self._name(packed)",
        ("tests/unit/archiver/test_told_names.py::test_each_name_once_in_order_and_as_often_as_asked",),
    ),
    Mutant(
        "told-unsorted",
        "archiver/read/days.py",
        'b"".join(sorted(map(_packed, keys)))',
        'b"".join(map(_packed, keys))',
        ("tests/unit/archiver/test_told_names.py::test_each_name_once_in_order_and_as_often_as_asked",),
    ),
    Mutant(
        "told-all-at-once",
        "archiver/read/days.py",
        "return (packed[at : at + _NAME.size] for at in range(0, len(packed), _NAME.size))",
        "return iter([packed[at : at + _NAME.size] for at in range(0, len(packed), _NAME.size)])",
        ("tests/unit/archiver/test_told_names.py::test_a_name_takes_32_bytes",),
    ),
    Mutant(
        "verify-parts-as-they-end",
        "archiver/verify/round.py",
        "self._ended.pop(self._taken, None)",
        "self._ended.pop(min(self._ended, default=-1), None)",
        ("tests/unit/archiver/test_verify_parallel.py::test_a_part_takes_back_what_is_its_own_and_ends_in_the_order_in_which_it_began",),
    ),
    Mutant(
        "verify-one-scratch-for-all",
        "archiver/verify/round.py",
        'work=f"{self.work}.{self._begun}"',
        "work=self.work",
        ("tests/unit/archiver/test_verify_parallel.py::test_it_says_what_one_after_the_other_says",),
    ),
    Mutant(
        "verify-budget-of-each-part",
        "archiver/verify/round.py",
        "self.options.stop(self.counts().bytes)",
        "self.options.stop(self.report.bytes)",
        ("tests/unit/archiver/test_verify_parallel.py::test_a_spent_budget_ends_all_of_them_and_the_next_run_goes_on",),
    ),
    Mutant(
        "verify-more-lanes",
        "archiver/verify/run.py",
        'lanes=lanes, name="verify"',
        'lanes=lanes + 1, name="verify"',
        ("tests/unit/archiver/test_verify_parallel.py::test_it_says_what_one_after_the_other_says",),
    ),
    Mutant(
        "verify-spent-is-complete",
        "archiver/verify/run.py",
        "        if self._spent is not None:\n            raise self._spent\n",
        "",
        ("tests/unit/archiver/test_verify_parallel.py::test_a_spent_budget_ends_all_of_them_and_the_next_run_goes_on",),
    ),
    Mutant(
        "verify-findings-bounded-for-each",
        "archiver/verify/round.py",
        "mine.findings += told[:left]",
        "mine.findings += told",
        ("tests/unit/archiver/test_verify_parallel.py::test_the_findings_of_all_are_bounded_together",),
    ),
    Mutant(
        "verify-part-without-its-unread",
        "archiver/verify/round.py",
        "        self.unread |= {key: why for key, why in part.unread.items() if key not in self.failed}\n",
        "",
        ("tests/unit/archiver/test_verify_parallel.py::test_a_part_takes_back_what_is_its_own_and_ends_in_the_order_in_which_it_began",),
    ),
    Mutant(
        "closed-link-unchecked",
        "archiver/verify/small.py",
        '            if name not in sizes and not _may_have_expired(name, newest) and await self._round.store.head(name) is None:\n                self._round.find(HOLE, name, "the closed',
        '            if False:\n                self._round.find(HOLE, name, "the closed',
        ("tests/unit/archiver/test_archive_verify.py::test_a_deleted_object_is_found_and_named",),
    ),
    Mutant(
        "members-unchecked",
        "archiver/verify/log.py",
        "self._round.options.members is not None and not self._round.options.members.issuperset(agreed := _agreed(best))",
        "bool(agreed := None)",
        ("tests/unit/archiver/test_forged.py::test_members_that_do_not_exist",),
    ),
    Mutant(
        "memory-of-verify-unused",
        "archiver/verify/round.py",
        "                if key not in listed and not took(key) and not packed(key) and await self.store.head(key) is None:\n",
        "                if False:\n",
        ("tests/unit/archiver/test_archive_verify.py::test_what_was_proven_once_is_missed_later",),
    ),
    Mutant(
        "verify-one-listing-is-proof",
        "archiver/verify/partition.py",
        "        if unread or not seems_whole(names,",
        "        if False and not seems_whole(names,",
        ("tests/unit/archiver/test_archive_verify.py::test_what_one_listing_missed_is_looked_for_again_before_it_is_called_gone",),
    ),
    Mutant(
        "verify-by-the-clock-of-its-start",
        "archiver/verify/small.py",
        "self._round.options.wall_us() if self._round.options.wall_us is not None else closed.time_us",
        'self.__dict__.setdefault("at", self._round.options.wall_us()) if self._round.options.wall_us is not None else closed.time_us',
        ("tests/unit/archiver/test_archive_verify.py::test_what_was_published_while_a_verify_went_on_is_not_ahead_of_it",),
    ),
    Mutant(
        "findings-that-find-no-room-forgotten",
        "archiver/verify/round.py",
        "            self.report.complete, self.report.reason = False, self.report.reason or TOO_MANY\n",
        "",
        ("tests/unit/archiver/test_archive_verify.py::test_more_findings_than_a_report_holds_make_it_incomplete",),
    ),
    Mutant(
        "verify-does-not-miss-a-pin",
        "archiver/verify/small.py",
        "            if key in self._round.options.noted() and",
        "            if False and",
        ("tests/unit/archiver/test_pins.py::test_a_pin_that_is_gone_is_a_hole_as_long_as_somebody_remembers_it",),
    ),
]
