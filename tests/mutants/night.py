"""Mutants of what gives way beside requests on its way to the archive."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_LATE = ("tests/unit/archiver/test_archive_agent.py::test_the_check_of_a_segment_gives_way_until_it_is_late",)
_ON_TIME = ("tests/unit/archiver/test_archive_agent.py::test_jobs_do_the_checks_when_there_are_any",)

MUTANTS: list[Mutant] = [
    Mutant(
        "late-segment-gives-way",
        "archiver/write/settling.py",
        "late=age_us >= self.options.late_after_s * 1e6",
        "late=False",
        _LATE,
    ),
    Mutant(
        "segment-on-time-in-nobodys-way",
        "archiver/write/settling.py",
        "late=age_us >= self.options.late_after_s * 1e6",
        "late=True",
        _ON_TIME,
    ),
    Mutant(
        "check-of-a-segment-is-a-burst",
        "scrubjay/serving/jobs.py",
        "UNHURRIED = (ANEW_JOB, CHECK_JOB, MAKE_JOB, PREPARE_JOB, REFERENCE, TRACE)",
        "UNHURRIED = (ANEW_JOB, CHECK_JOB, MAKE_JOB, REFERENCE, TRACE)",
        ("tests/unit/real/test_server_jobs.py::test_packs_and_bases_give_way_and_a_segment_that_is_late_does_not",),
    ),
]
