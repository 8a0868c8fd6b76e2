"""Mutants of what coordinators of transactions leave behind (ADR 0072)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_LEFT = "tests/sim/test_transactions_left_behind.py::"
_LEADER = "storage/replica/transacting.py"
_COORDINATOR = "storage/control/transactions/coordinator.py"
_RESOLVER = "storage/control/transactions/resolver.py"
_SWEEP = "storage/control/transactions/sweeping.py"
_DECISIONS = "storage/control/transactions/decisions.py"
_STUCK = _LEFT + "test_transactions_that_cannot_be_ended_hold_no_other_up"
_NOTED = _LEFT + "test_a_decision_that_was_not_noted_as_done_is_noted_once_its_token_may_be_forgotten"
_RECOVERED = _LEFT + "test_what_a_recovered_ledger_cannot_know_is_not_done_again_while_its_token_is_remembered"
_PROBLEM = _LEFT + "test_a_transaction_that_stays_pending_is_a_problem_with_its_reason"
_READ = _LEFT + "test_no_more_is_read_together_than_a_transaction_may"
_MODEL = "tests/property/api/test_against_model.py::test_a_thousand_sequences"

MUTANTS = [
    Mutant(
        "transact-same-stalled-told",
        _LEADER,
        "        at = now_us // 1_000_000 * (most - 1) % len(others)\n",
        "        at = 0\n",
        (_STUCK,),
    ),
    Mutant(
        "transact-one-look-waits-for-another",
        _RESOLVER,
        "            if not met.under_way and met.after_us <= now_us:\n",
        "            if not any(other.under_way for other in self._met.values()):\n",
        (_STUCK,),
    ),
    Mutant(
        "transact-ended-one-after-the-other",
        _COORDINATOR,
        '        for one in await gather(self._env.tasks, [self.finish(place, entry) for place in entry.places], name="commit"):\n'
        "            if isinstance(one, ScrubjayError):\n                raise one\n",
        "        for place in reversed(entry.places):\n            await self.finish(place, entry)\n",
        (_LEFT + "test_the_part_where_it_is_pending_ends_though_another_partition_cannot_be_reached",),
    ),
    Mutant("transact-nobody-sweeps", "server/control.py", "        self.sweep.start()\n", "", (_NOTED,)),
    Mutant("transact-sweeps-what-is-young", _SWEEP, " or self._env.clock.wall_us() - entry.at_us < KEPT_US:", ":", (_NOTED,)),
    Mutant("transact-sweeps-one-page", _SWEEP, "            if not page.more or not page.rows:\n", "            if True:\n", (_NOTED,)),
    Mutant(
        "transact-recovered-begun-again",
        _COORDINATOR,
        "(KEPT_US if left is Left.UNKNOWN else STALE_US)",
        "STALE_US",
        (_RECOVERED,),
    ),
    Mutant(
        "transact-recovered-decision-believed",
        _COORDINATOR,
        "            if left is Left.NEVER:\n",
        "            if False:\n",
        (_RECOVERED,),
    ),
    Mutant(
        "transact-recovered-for-ever",
        _DECISIONS,
        " or entry.at_us > table.restore_of.at + _SKEW_US:",
        ":",
        (_RECOVERED,),
    ),
    Mutant(
        "transact-flood-keeps-a-seal-waiting",
        "storage/replica/term.py",
        "        if self.transacting.draining:\n",
        "        if False:\n",
        (_LEFT + "test_a_flood_of_transactions_leaves_room_for_a_seal_by_size",),
    ),
    Mutant("transact-reads-any-size", _LEADER, "                _check_read([one.old for one in outcomes])\n", "", (_READ,)),
    Mutant(
        "transact-reads-by-encoding",
        _LEADER,
        "sum([item_size(decode_item(item)) for item in there]) > TRANSACTION_SIZE_MAX",
        "True",
        (_READ,),
    ),
    Mutant("transact-reads-any-encoding", _LEADER, "size > READ_BYTES_MAX or ", "", (_READ,)),
    Mutant(
        "transact-too-large-is-a-fault",
        "storage/api/operations/transactions.py",
        'if error.fields.get("transaction") == "too_large" else error from None',
        "if False else error from None",
        ("tests/contract/api/test_transactions.py::test_more_than_4_mb_is_too_much_to_read",),
    ),
    Mutant(
        "transact-pending-unseen", "server/health.py", "            if one.leads and one.stalled\n", "            if False\n", (_PROBLEM,)
    ),
    Mutant(
        "transact-pending-too-soon",
        "server/problems.py",
        '"transaction-pending": Rule("node-out-of-service.md", grace_s=10.0)',
        '"transaction-pending": Rule("node-out-of-service.md")',
        (_PROBLEM,),
    ),
    Mutant(
        "transact-one-item-twice",
        "storage/api/operations/transactions.py",
        "    if len(set(places)) != len(places):\n",
        "    if False:\n",
        (_MODEL,),
    ),
    Mutant(
        "transact-repeated-as-written",
        "storage/api/operations/transactions.py",
        "        if done.repeated:\n            body",
        "        if False:\n            body",
        (_MODEL,),
    ),
]
