"""Mutants of what runs the tests: a spare worker that starts servers, or that never ends."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SPARE = ("tests/unit/test_worker_scheduling.py::test_a_spare_worker_starts_no_server_and_every_test_runs_once",)

_RESOLVED = ("tests/sim/test_checkers.py::test_what_is_resolved_has_an_order_if_and_only_if_it_had_one",)

MUTANTS: list[Mutant] = [
    Mutant(
        "spare-starts-servers",
        "tests/fixtures/schedule.py",
        "if not scope.startswith(WITH_SERVERS + REAL_CLOCKS)), None)",
        "if scope), None)",
        _SPARE,
    ),
    Mutant(
        "spare-waits-for-ever",
        "tests/fixtures/schedule.py",
        "not node.shutting_down and self._for_spare() is None:",
        "not node.shutting_down and not self.workqueue:",
        ("tests/unit/test_worker_scheduling.py::test_with_nothing_for_it_a_spare_worker_ends_at_once",),
    ),
    Mutant(
        "files-with-servers-torn-apart",
        "tests/fixtures/schedule.py",
        'nodeid.partition("::")[0] if nodeid',
        "nodeid if nodeid",
        _SPARE,
    ),
    Mutant(
        "spawned-is-forgotten",
        "sim/tasks.py",
        "    if _which(coro) in _handed_over:",
        "    if False:",
        ("tests/sim/test_world.py::test_a_task_that_never_began_is_nobodys_fault_in_whatever_order_its_circle_ends",),
    ),
    Mutant(
        "forgotten-is-spawned",
        "sim/tasks.py",
        "        _forgotten(coro)",
        "        pass",
        ("tests/sim/test_world.py::test_a_coroutine_that_nobody_spawned_is_still_told",),
    ),
    Mutant(
        "begun-stays-handed-over",
        "sim/tasks.py",
        "        _handed_over.discard(_which(task._coro))\n",
        "",
        ("tests/sim/test_world.py::test_what_began_is_no_longer_kept_in_mind",),
    ),
    Mutant(
        "named-tuples-cannot-import",
        "tests/fixtures/named_tuples.py",
        'known.setdefault("__import__", builtins.__import__)',
        "known.copy()",
        ("tests/sim/test_world.py::test_a_task_that_never_began_is_nobodys_fault_where_a_collection_comes_while_a_named_tuple_is_made",),
    ),
    Mutant(
        "unseen-goes-though-a-cas-was-refused",
        "sim/checkers/history.py",
        "    refused = any(one.kind is Kind.CAS and one.ok is False for one in operations)\n",
        "    refused = False\n",
        _RESOLVED,
    ),
    Mutant(
        "what-an-open-cas-saw-goes",
        "sim/checkers/history.py",
        "    while turn:",
        "    while False:",
        _RESOLVED,
    ),
    Mutant(
        "what-a-cas-saw-goes",
        "sim/checkers/history.py",
        "(one.kind is Kind.READ or (one.kind is Kind.CAS and one.ok)):",
        "one.kind is Kind.READ:",
        _RESOLVED,
    ),
    Mutant(
        "bound-before-it-was-seen",
        "sim/checkers/history.py",
        "seen[value] = min(one.end, seen.get(value, FOREVER))",
        "seen[value] = min(one.end, seen.get(value, FOREVER)) - 4",
        _RESOLVED,
    ),
]
