"""The profile "members": groups whose members change while everything else goes wrong. A seed holds, the changes happen, and planted bugs are noticed.

Three of the planted bugs here; all of them by `python -m scrubjay.sim mutants`, and each as a mutant of the source in `tests/mutants/members.py`.
"""

from __future__ import annotations

import pytest

from scrubjay.sim.members_run import MembersRun
from scrubjay.sim.mutants import MEMBERS, hunt

QUICK = {"emptied-votes": 1, "learners-count": 1, "log-replica-leads": 2}
"""Planted bug -> a seed that notices it early in its run."""


def test_a_seed_holds_and_its_members_change() -> None:
    result = MembersRun(2, seconds=8).run()
    assert not result.violation, f"{result.violation}\npython -m scrubjay.sim run --profile members --seed 2 --seconds 8 --trace"
    assert result.unknown == 0
    assert result.changes >= 5
    assert {"AddLearner", "LetVote", "Remove"} <= result.faults.keys()


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_planted_bug_is_noticed(name: str) -> None:
    (mutant,) = [one for one in MEMBERS if one.name == name]
    result, _ = hunt(mutant, [QUICK[name]])
    assert result is not None, f"{name} survives: {mutant.rule}"
