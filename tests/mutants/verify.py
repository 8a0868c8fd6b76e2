"""Mutants of a verify of several partitions at once, and of what it holds of the daily index."""

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
]
