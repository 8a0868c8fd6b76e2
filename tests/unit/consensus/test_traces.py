"""The scripted traces of `traces/`: each is played on real groups, and what they do must be what stands there, to the letter.

A trace changes only by `--rewrite-golden`, in a commit that says why: whoever reads the change sees what the rule change does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from scrubjay.sim.mutants import replaced
from scrubjay.storage.consensus.acceptor import Acceptor
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.follower import Follower
from scrubjay.storage.consensus.group_log import GroupLog
from scrubjay.storage.consensus.handover import Handover
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.outbox import Outbox
from scrubjay.storage.consensus.resignation import Resignation
from tests.unit.consensus.script import ScriptError, perform

FOLDER = Path(__file__).parent / "traces"
TRACES = sorted(path.stem for path in FOLDER.glob("*.txt"))


def _difference(name: str) -> str:
    """What is otherwise than the file says; empty if nothing."""
    stored = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return "".join(difflib.unified_diff(stored.splitlines(True), perform(stored).splitlines(True), "stored", "now", n=6))


@pytest.mark.parametrize("name", TRACES)
def test_a_trace(name: str, request: pytest.FixtureRequest) -> None:
    path = FOLDER / f"{name}.txt"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(perform(path.read_text(encoding="utf-8")), encoding="utf-8")
    difference = _difference(name)
    assert not difference, f"{name} plays otherwise than {path} says (--rewrite-golden writes it anew):\n{difference}"


def test_a_trace_that_is_told_otherwise_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is of every letter, and a command that is none is said to be none."""
    text = (FOLDER / "election.txt").read_text(encoding="utf-8")
    (tmp_path / "election.txt").write_text(text.replace("applies [1]", "applies [2]", 1), encoding="utf-8")
    monkeypatch.setattr("tests.unit.consensus.test_traces.FOLDER", tmp_path)
    assert "-    n1 applies [2]" in _difference("election")
    for wrong in ("> members 3\n> fly 1\n", "> members 3\n> deliver 1->2\n", "> members 3\n> campaign 9\n", "> members 3\nn1 leads\n"):
        with pytest.raises(ScriptError):
            perform(wrong)


def _unsynced_too(self: GroupLog, max_bytes: int) -> Any:
    self.synced = self.last
    return _take_chosen(self, max_bytes)


_take_chosen = GroupLog.take_chosen

BROKEN: dict[str, tuple[str, Callable[[], AbstractContextManager[None]]]] = {
    "a grant counts though the member never answered under its epoch": (
        "lease-refused",
        lambda: replaced(Lease, _confirmed=lambda self, follower, credit: True),
    ),
    "a lease bears any clock": ("lease-clocks", lambda: replaced(Lease, held=lambda self, now: self._state.leadership is not None)),
    "a promise binds nobody": ("duel", lambda: replaced(Allegiance, bound_against=lambda self, candidate, now: False)),
    "anybody may campaign": ("learner", lambda: replaced(Election, may_campaign=lambda self, now: True)),
    "one member is a quorum": ("lost-election", lambda: replaced(Membership, enough=lambda self, others: True)),
    "the best value is a quorum's": ("stop-in-flight", lambda: replaced(Membership, reached=lambda self, values: max(values))),
    "answers do not wait for the sync": ("election", lambda: replaced(Outbox, answer=Outbox.send)),
    "chosen is given before the own sync": ("restart-follower", lambda: replaced(GroupLog, take_chosen=_unsynced_too)),
    "the first piece is the whole log": (
        "adoption-in-pieces",
        lambda: replaced(Acceptor, _adoption_complete=lambda self, staging, message: True),
    ),
    "a restart gives up nothing": ("stop-in-flight", lambda: replaced(Resignation, resign_after_restart=lambda self, now: None)),
    "a restarted node is not quiet": ("stop-in-flight", lambda: replaced(Liveness, _quiet_us=lambda self: 0)),
    "a defeat is kept to oneself": ("lost-election", lambda: replaced(Resignation, resign=lambda self, now, successor=0: None)),
    "leadership is handed over at once": ("hand-over", lambda: replaced(Handover, maybe_resign=_at_once)),
    "an overdue answer is waited for": ("catch-up", lambda: replaced(Follower, rewind=lambda self: None)),
    "what came again counts as new": ("duplicates", lambda: replaced(Follower, acknowledge=lambda self, last: True)),
}


def _at_once(self: Handover) -> None:
    leadership = self._state.leadership
    if leadership is not None and leadership.handover:
        self._resignation.resign(self._state.now, successor=leadership.handover)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_group_that_breaks_a_rule_makes_a_trace_red(rule: str) -> None:
    name, plant = BROKEN[rule]
    with plant():
        try:
            difference = _difference(name)
        except (AssertionError, ScriptError):
            return  # its own invariants noticed, or a message of the script is not there
    assert difference
