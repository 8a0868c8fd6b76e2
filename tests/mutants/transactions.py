"""Mutants of transactions (ADR 0072): each breaks one of its rules."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SIM = "tests/sim/test_transactions.py::"
_LIMITS = "tests/sim/test_transactions_at_limits.py::"
_LEADER = "storage/replica/transacting.py"
_COORDINATOR = "storage/control/transactions/coordinator.py"

MUTANTS = [
    Mutant(
        "transact-every-invalid-item-told",
        "storage/api/operations/transactions.py",
        'reason if len(parts) == len(reasons) else {"Code": NONE}',
        "reason",
        ("tests/contract/api/test_transactions.py::test_of_several_items_that_are_nothing_of_their_table_the_first_is_told",),
    ),
    Mutant(
        "transact-locks-unasked",
        "storage/replica/term.py",
        "        if self.transacting.locks(command.key):\n",
        "        if False:\n",
        (_SIM + "test_a_held_item_is_written_by_nobody_else_and_read_as_it_was",),
    ),
    Mutant(
        "transact-half-prepared",
        _LEADER,
        "        if refused or busy or (command.whole and not effects):\n",
        "        if busy or (command.whole and not effects):\n",
        (_SIM + "test_all_of_a_transaction_is_written_or_nothing",),
    ),
    Mutant(
        "transact-seal-over-pending",
        _LEADER,
        "        if not self.any:\n            self._draining_us = 0\n            return True\n",
        "        return True\n",
        (_SIM + "test_no_seal_is_written_while_a_transaction_is_pending",),
    ),
    Mutant(
        "transact-held-is-read",
        _LEADER,
        "        if key in self._locks or key in self._replica.transactions.locks:\n",
        "        if False:\n",
        (_SIM + "test_a_held_item_is_written_by_nobody_else_and_read_as_it_was",),
    ),
    Mutant(
        "transact-pending-forgotten",
        "storage/replica/apply.py",
        "            transactions = pending_of(extra.pending, replica.owner)\n",
        "",
        (_SIM + "test_a_commit_that_did_not_reach_a_partition_reaches_it_later",),
    ),
    Mutant(
        "transact-nobody-resolves",
        "storage/control/transactions/resolver.py",
        "            self.look()\n",
        "",
        (_SIM + "test_what_a_dead_coordinator_left_is_ended_by_what_the_ledger_says",),
    ),
    Mutant(
        "transact-resolved-by-abort-alone",
        "storage/control/transactions/resolver.py",
        "        mine = entry is not None and entry.attempt == one.id\n",
        "        mine = False\n",
        (_SIM + "test_a_commit_that_did_not_reach_a_partition_reaches_it_later",),
    ),
    Mutant(
        "transact-token-forgotten",
        _COORDINATOR,
        "            if stands.state == COMMIT and not over:\n",
        "            if False:\n",
        (_SIM + "test_a_token_is_remembered",),
    ),
    Mutant(
        "transact-token-of-anything",
        _COORDINATOR,
        "            if not over and stands.digest != entry.digest:\n",
        "            if False:\n",
        (_SIM + "test_a_token_is_remembered",),
    ),
    Mutant(
        "transact-given-up-holds",
        _COORDINATOR,
        '        await gather(self._env.tasks, [self.finish(group.place, entry) for group in groups], name="abort")\n',
        "",
        (_SIM + "test_all_of_a_transaction_is_written_or_nothing",),
    ),
    Mutant(
        "transact-forgets-anothers-lock",
        _LEADER,
        "            if self._locks.get(key) == id_:",
        "            if True:",
        (_LIMITS + "test_an_item_given_up_before_it_was_held_is_another_ones_behind_that",),
    ),
    Mutant(
        "transact-closed-while-pending",
        _LEADER,
        "        held = [_Held(record.stamp, Stamp(0)) for id_, (record, _) in pending.items() if id_ not in self._ended]\n",
        "        held: list[_Held] = []\n",
        (_SIM + "test_no_moment_between_a_prepare_and_its_end_is_called_closed",),
    ),
    Mutant(
        "transact-closed-between-end-and-effect",
        _LEADER,
        "                self._held.append(_Held(since, stamp))\n",
        "                pass\n",
        (_SIM + "test_no_moment_between_a_prepare_and_its_end_is_called_closed",),
    ),
    Mutant(
        "transact-gives-away-anothers-lock",
        _LEADER,
        "            if self._locks.get(key) == id_:",
        "            if key in self._locks:",
        (_LIMITS + "test_an_item_given_up_before_it_was_held_is_another_ones_behind_that",),
    ),
    Mutant(
        "transact-ends-for-an-empty-window",
        _LEADER,
        "            room = group.can_propose(records.HEADER_SIZE, node.now())\n",
        "            room = group.can_propose(len(payload) + records.HEADER_SIZE, node.now())\n",
        (_LIMITS + "test_the_end_of_a_transaction_does_not_wait_for_an_empty_window",),
    ),
    Mutant(
        "transact-ledger-full",
        "storage/replica/term.py",
        "        if node.full and not reserved and replica.table.name != METADATA_TABLE:\n",
        "        if node.full and replica.table.name != METADATA_TABLE:\n",
        (_LIMITS + "test_what_was_decided_or_given_up_is_noted_in_a_ledger_whose_log_is_full",),
    ),
    Mutant(
        "transact-ledger-begins-out-of-the-reserve",
        "storage/replica/term.py",
        "type(command) is SwapCommand and command.expect is not None\n",
        "type(command) is SwapCommand\n",
        (_LIMITS + "test_nothing_begins_out_of_the_reserve_of_a_full_log",),
    ),
    Mutant(
        "transact-any-delete-is-a-change",
        "storage/replica/replica.py",
        "        return min(self.follow.newest_delete, self.checkpoints.committed)\n",
        "        return self.follow.newest_delete\n",
        (_LIMITS + "test_items_that_are_not_there_are_read_while_others_are_deleted",),
    ),
    Mutant(
        "transact-begun-for-ever",
        "storage/control/transactions/decisions.py",
        "    if entry.done_us or entry.state == BEGUN:",
        "    if entry.done_us:",
        (_LIMITS + "test_what_only_began_goes_by_its_time_to_live",),
    ),
    Mutant(
        "transact-anybodys-ledger",
        "storage/control/store.py",
        "        if spec.name in SYSTEM_TABLES:\n",
        "        if False:\n",
        (_LIMITS + "test_nobodys_table_has_the_name_of_the_ledger",),
    ),
    Mutant(
        "transact-lost-answer-leaves-a-row",
        _COORDINATOR,
        '            self._afterwards(partial(self._again, decided), "transaction commits")\n',
        "",
        (_LIMITS + "test_a_transaction_whose_last_answer_was_lost_leaves_no_row",),
    ),
    Mutant(
        "transact-stops-before-it-is-noted",
        _COORDINATOR,
        "                await work()\n            finally:\n                self.active -= 1\n",
        "                self.active -= 1\n                await work()\n            finally:\n                pass\n",
        (_LIMITS + "test_a_planned_stop_waits_until_a_transaction_is_noted_as_done",),
    ),
]
