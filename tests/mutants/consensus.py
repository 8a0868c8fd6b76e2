"""Mutants of consensus: grants and leases, adoption, what is chosen, what is closed."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "offset",
        "storage/consensus/leading.py",
        "return now.boot_us < until and lowest <= now.wall_us - now.boot_us <= highest",
        "return now.boot_us < until",
        ("tests/unit/consensus/test_group.py::test_the_lease_is_void_when_the_clocks_of_the_node_move_apart",),
    ),
    Mutant(
        "drift",
        "storage/consensus/liveness.py",
        "self.options.grant_us - self.options.drift_us",
        "self.options.grant_us",
        ("tests/unit/consensus/test_liveness.py::test_credit_is_counted_from_sending_and_ends_before_support",),
    ),
    Mutant(
        "epoch-once",
        "storage/consensus/liveness.py",
        "if peer.until_us <= now.boot_us:\n            peer.epoch",
        "if not peer.epoch:\n            peer.epoch",
        ("tests/unit/consensus/test_liveness.py::test_a_renewal_keeps_the_epoch_and_a_lapse_moves_it",),
    ),
    Mutant(
        "ack-unreserved",
        "storage/consensus/liveness.py",
        "return min(ask.clock, self._clock.reservation)",
        "return ask.clock",
        ("tests/unit/consensus/test_liveness.py::test_an_acknowledged_clock_is_covered_by_the_granters_reservation",),
    ),
    Mutant(
        "old-ask",
        "storage/consensus/liveness.py",
        "        if ask.boot < peer.boot:\n            return []\n",
        "",
        ("tests/unit/consensus/test_liveness.py",),
    ),
    Mutant(
        "old-grant",
        "storage/consensus/liveness.py",
        "        if grant.boot != self.boot_count:\n            return\n",
        "",
        ("tests/unit/consensus/test_guards.py::test_a_grant_of_an_earlier_life_is_worth_nothing_even_if_the_boot_clock_agrees",),
    ),
    Mutant(
        "empty-batch-ack",
        "storage/consensus/acceptor.py",
        "            if self._outstanding:\n                self._outstanding[-1].messages += messages\n            else:\n                self._send_now += messages",
        "            self._send_now += messages",
        ("tests/unit/consensus/test_guards.py::test_an_answer_that_persists_nothing_waits_for_the_sync_of_what_it_rests_on",),
    ),
    Mutant(
        "restart-chosen",
        "storage/consensus/acceptor.py",
        "self.chosen: Lsn = state.applied",
        "self.chosen: Lsn = state.last",
        ("tests/unit/consensus/test_guards.py::test_what_was_accepted_before_a_restart_is_not_chosen_for_that",),
    ),
    Mutant(
        "closed-off-by-one",
        "storage/consensus/leading.py",
        "self._first_unchosen_stamp() - 1",
        "self._first_unchosen_stamp()",
        ("tests/unit/consensus/test_guards.py::test_closed_lies_below_the_first_record_that_is_not_chosen",),
    ),
    Mutant(
        "cut-unsafe",
        "storage/consensus/acceptor.py",
        "return self.chosen <= message.cut_at and (same or message.cut_at == self.chosen) and message.cut_at <= message.adopted_last",
        "return self.chosen <= message.cut_at",
        ("tests/unit/consensus/test_guards.py::test_a_log_is_cut_only_where_it_is_known_to_agree",),
    ),
    Mutant(
        "resign-volatile",
        "storage/consensus/campaign.py",
        "                self.resigned = given_up\n                self._save(wal.Resign(self.partition, given_up))",
        "                self.resigned = given_up",
        ("tests/unit/consensus/test_guards.py::test_a_resignation_is_in_the_log_before_it_is_acknowledged",),
    ),
    Mutant(
        "resign-on-suspect",
        "storage/consensus/group.py",
        "        self.may_lead = may_lead\n        if not may_lead:\n            self.resign(now)",
        "        self.may_lead = may_lead",
        ("tests/unit/consensus/test_guards.py::test_a_copy_that_must_not_lead_gives_its_leadership_up_at_once",),
    ),
    Mutant(
        "chosen-unsynced",
        "storage/consensus/group.py",
        "end = min(self.chosen, self._synced_last)",
        "end = self.chosen",
        ("tests/unit/consensus/test_group.py::test_chosen_is_given_only_from_the_own_synced_log",),
    ),
    Mutant(
        "cut-not-min",
        "storage/consensus/leading.py",
        "cut_at = min(standing.last, self._adopted_last)",
        "cut_at = standing.last",
        ("tests/unit/consensus/test_group.py::test_an_old_leaders_tail_is_replaced_not_mixed",),
    ),
    Mutant(
        "frames-lost-with-a-rotten-log",
        "storage/consensus/group.py",
        "            if damage is not None:\n                raise damage\n            return None\n        ready = Ready(token, frames",
        "            if damage is not None:\n                raise damage\n            return None\n        if damage is not None:\n            raise damage\n        ready = Ready(token, frames",
        ("tests/unit/consensus/test_guards.py::test_what_was_queued_is_not_lost_over_a_log_that_cannot_be_read",),
    ),
]
