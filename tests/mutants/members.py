"""Mutants of membership: who counts, who may lead, what may be proposed, what a removed member may still do."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_TEST = "tests/unit/consensus/test_membership.py::"
_UNHEARD = "tests/sim/test_members_profile.py::test_a_copy_that_a_node_is_told_to_make_while_its_process_stands_still_is_made"

MUTANTS: list[Mutant] = [
    Mutant(
        "member-id-comes-back",
        "storage/consensus/membership.py",
        "change.member.incarnation <= place.member.incarnation",
        "change.member.incarnation < place.member.incarnation",
        (_TEST + "test_a_change_that_changes_nothing_or_leaves_nobody_is_refused",),
    ),
    Mutant(
        "member-nobody-left",
        "storage/consensus/membership.py",
        "if not any(one.vote is Vote.VOTES and one.kind is CopyKind.STORAGE for one in configuration.places):",
        "if not any(one.vote is Vote.VOTES for one in configuration.places):",
        (_TEST + "test_a_change_that_changes_nothing_or_leaves_nobody_is_refused",),
    ),
    Mutant(
        "member-two-places",
        "storage/consensus/membership.py",
        "if len(nodes) != 1:",
        "if not nodes:",
        (_TEST + "test_two_places_at_once_and_ones_own_are_refused",),
    ),
    Mutant(
        "member-own-place",
        "storage/consensus/membership.py",
        "if leader.node in nodes:",
        "if False:",
        (_TEST + "test_two_places_at_once_and_ones_own_are_refused",),
    ),
    Mutant(
        "member-learner-counts",
        "storage/consensus/membership.py",
        "self.voters = frozenset([place.member for place in present if place.vote is Vote.VOTES])",
        "self.voters = frozenset([place.member for place in present])",
        (_TEST + "test_who_counts_and_who_may_lead",),
    ),
    Mutant(
        "member-log-leads",
        "storage/consensus/membership.py",
        "self.leads = MemberPlace(me, CopyKind.STORAGE, Vote.VOTES) in present",
        "self.leads = me in self.voters",
        (_TEST + "test_who_counts_and_who_may_lead",),
    ),
    Mutant(
        "member-cut-forgotten",
        "storage/consensus/adoption.py",
        "    state.memberships.cut(staging.kept)\n",
        "",
        (_TEST + "test_a_config_that_is_cut_off_counts_no_more",),
    ),
    Mutant(
        "member-own-config",
        "storage/consensus/campaign.py",
        "return campaign.members.get(self._best(campaign)[1], self._state.members)",
        "return self._state.members",
        (_TEST + "test_a_candidate_counts_by_the_log_that_it_adopts",),
    ),
    Mutant(
        "member-leads-though-none",
        "storage/consensus/campaign.py",
        "if not self._leads_by(members):",
        "if False:",
        (_TEST + "test_a_candidate_whom_the_adopted_log_calls_none_gives_up",),
    ),
    Mutant(
        "member-early-config",
        "storage/consensus/leading.py",
        "return self._state.log.chosen >= leadership.own_from",
        "return True",
        (_TEST + "test_one_change_at_a_time_and_none_before_a_record_of_the_own_ballot",),
    ),
    Mutant(
        "member-many-pending",
        "storage/consensus/leading.py",
        "return self._state.log.chosen >= self._state.members.lsn",
        "return True",
        (_TEST + "test_one_change_at_a_time_and_none_before_a_record_of_the_own_ballot",),
    ),
    Mutant(
        "member-lags",
        "storage/consensus/leading.py",
        "if isinstance(change, LetVote) and not self._caught_up(leadership, change.node):",
        "if False:",
        (_TEST + "test_a_learner_is_let_vote_once_it_holds_the_log_and_then_counts",),
    ),
    Mutant(
        "member-grant-of-a-learner",
        "storage/consensus/lease.py",
        "if follower.votes and credit.until_us",
        "if credit.until_us",
        (_TEST + "test_a_learner_gets_the_log_and_does_not_count",),
    ),
    Mutant(
        "member-accept-of-a-learner",
        "storage/consensus/leading.py",
        "if follower.adopted and follower.votes]",
        "if follower.adopted]",
        (_TEST + "test_a_learner_gets_the_log_and_does_not_count",),
    ),
    Mutant(
        "member-removed-votes-on",
        "storage/consensus/group_state.py",
        "return self.may_vote and self.unread is None and not self.removed",
        "return self.may_vote and self.unread is None",
        (_TEST + "test_whoever_is_bound_to_a_removed_member_is_freed",),
    ),
    Mutant(
        "member-unread-votes",
        "storage/consensus/group_state.py",
        "return self.may_vote and self.unread is None and not self.removed",
        "return self.may_vote and not self.removed",
        (_TEST + "test_a_restart_reads_the_members_from_the_log",),
    ),
    Mutant(
        "member-removed-is-heard",
        "storage/consensus/group.py",
        "(member not in state.members.all and self._was_removed(member, message))",
        "False",
        (_TEST + "test_a_removed_member_gives_up_and_is_heard_no_more",),
    ),
    Mutant(
        "member-removal-of-another",
        "storage/consensus/group.py",
        "if message.incarnation == self.me.incarnation:",
        "if True:",
        (_TEST + "test_a_removal_meant_for_an_earlier_member_of_the_node_is_ignored",),
    ),
    Mutant(
        "member-snapshot-without",
        "storage/consensus/group.py",
        "state.install(lsn, stamp, members, lsn if members_lsn is None else members_lsn)",
        "state.install(lsn, stamp, None, lsn)",
        (_TEST + "test_a_snapshot_brings_its_members",),
    ),
    Mutant(
        "member-heir-is-a-log",
        "storage/consensus/handover.py",
        " and self._state.members.may_lead(to):",
        ":",
        (_TEST + "test_a_log_replica_neither_campaigns_nor_is_handed_over_to",),
    ),
    Mutant(
        "member-config-later-version",
        "storage/log/configuration.py",
        "kind not in _KINDS or vote not in _VOTES or ",
        "",
        (_TEST + "test_a_payload_that_is_malformed_or_of_a_later_version_is_refused",),
    ),
    Mutant(
        "simulated-orders-die-with-a-process",
        "sim/members_run.py",
        "            self._copies[host.name][at[1]] = self._unheard.pop(at)\n",
        "            self._unheard.pop(at)\n",
        (_UNHEARD,),
    ),
    Mutant(
        "simulated-copies-are-dropped-before-they-are-made",
        "sim/members_run.py",
        " if (host.name, partition) not in self._unheard else None",
        "",
        (_UNHEARD,),
    ),
]
