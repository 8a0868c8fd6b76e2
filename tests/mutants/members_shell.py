"""Mutants of membership in the shell: which member a folder is, who is a member where a log goes on from, what is done next when a node is replaced."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SIM = "tests/sim/test_replace.py::"
_CONFIGURED = "tests/unit/consensus/test_configured.py::"
_INCARNATIONS = "tests/unit/node/test_incarnations.py::"
_REPLACING = "tests/unit/server/test_replacing.py::"
_POST = "tests/unit/node/test_post.py::test_what_is_for_a_node_that_a_config_names_and_nobody_knows_is_not_sent"
_PLACE = _SIM + "test_a_learner_serves_nothing_and_votes_only_once_its_copy_is_whole"

MUTANTS: list[Mutant] = [
    Mutant(
        "replace-starts-again",
        "storage/node/identity.py",
        "    return max(starts, (incarnation - INCARNATION_FIRST) << STARTS_BITS) + 1",
        "    return starts + 1",
        (_INCARNATIONS + "test_starts_of_a_member_are_above_all_of_the_one_before",),
    ),
    Mutant(
        "replace-half-a-disk",
        "storage/node/identity.py",
        "    if identity is None and not _has_log(disk):",
        "    if identity is None:",
        (_INCARNATIONS + "test_a_folder_gets_one_identity_and_none_where_a_log_lies",),
    ),
    Mutant(
        "replace-any-other-seat",
        "storage/node/identity.py",
        "        if seat is None or identity.incarnation > seat.incarnation:",
        "        if seat is None or identity.incarnation != seat.incarnation:",
        (_INCARNATIONS + "test_the_folder_that_was_made_a_member_takes_the_seat_and_joins_and_the_one_before_stays_out",),
    ),
    Mutant(
        "replace-met-again",
        "storage/node/identity.py",
        "        if seat is None or incarnation > seat.incarnation:  #",
        "        if seat is None or incarnation >= seat.incarnation:  #",
        (_INCARNATIONS + "test_another_process_knows_a_member_by_its_higher_incarnation_alone",),
    ),
    Mutant(
        "replace-waits-for-a-folder-that-is-gone",
        "server/replacing.py",
        "        if told.id != member.id:\n            self._elsewhere",
        "        if False:\n            self._elsewhere",
        ("tests/sim/test_replace.py::test_a_folder_that_is_lost_before_it_spoke_as_the_new_member_is_waited_for_by_nobody",),
    ),
    Mutant(
        "replace-who-speaks",
        "server/replacing.py",
        "        if not told.out:",
        "        if False:",
        (_REPLACING + "test_what_is_refused_leaves_nothing_behind",),
    ),
    Mutant(
        "replace-not-empty",
        "server/replacing.py",
        "        if not told.fresh or not told.id:",
        "        if not told.id:",
        (_REPLACING + "test_what_is_refused_leaves_nothing_behind",),
    ),
    Mutant(
        "replace-while-another-is-out",
        "server/replacing.py",
        "            if other != name and (status.failed is not None or not status.started):",
        "            if False:",
        (_REPLACING + "test_what_is_refused_leaves_nothing_behind",),
    ),
    Mutant(
        "replace-before-all-are-new",
        "server/replacing.py",
        "        self._control.store.version.allow(REPLACING, besides=name, node=name)\n",
        "",
        (_REPLACING + "test_what_is_refused_leaves_nothing_behind",),
    ),
    Mutant(
        "replace-same-incarnation",
        "server/replacing.py",
        "        known = before.incarnation if before is not None else 1\n",
        "        known = 1\n",
        (_REPLACING + "test_the_catalogue_gives_the_folder_the_next_incarnation",),
    ),
    Mutant(
        "replace-twice-at-once",
        "server/replacing.py",
        "        if before is not None and before.id == told.id:\n",
        "        if False:\n",
        (_REPLACING + "test_two_who_ask_at_once_make_one_member_of_a_folder",),
    ),
    Mutant(
        "replace-waits-for-another",
        "server/replacing.py",
        "            if metadata.nodes.get(name) != member:\n",
        "            if False:\n",
        (_REPLACING + "test_two_who_ask_at_once_make_one_member_of_a_folder",),
    ),
    Mutant(
        "group-mail-to-a-stranger",
        "storage/node/post.py",
        "for to in sorted(self._names.keys() & {*groups, *nodes}):",
        "for to in sorted({*groups, *nodes}):",
        (_POST,),
    ),
    Mutant(
        "talk-to-a-stranger",
        "storage/node/post.py",
        "for to in sorted(self._names.keys() & said.keys()):",
        "for to in sorted(said.keys()):",
        (_POST,),
    ),
    Mutant(
        "replace-votes-unhealed",
        "server/replacing.py",
        '    if not there or copy is None or copy.tree != "ok" or copy.behind or copy.vote != "learner":',
        "    if not there or copy is None:",
        (_REPLACING + "test_the_next_step",),
    ),
    Mutant(
        "replace-votes-behind",
        "server/replacing.py",
        "    if copy.applied + LAG_MAX < leader.applied:",
        "    if False:",
        (_REPLACING + "test_the_next_step",),
    ),
    Mutant(
        "replace-before-a-log",
        "server/replacing.py",
        "copy.incarnation == wanted.incarnation and copy.logged",
        "copy.incarnation == wanted.incarnation",
        (_REPLACING + "test_the_next_step",),
    ),
    Mutant(
        "base-put-back",
        "storage/consensus/membership.py",
        "            if record.kind is RecordKind.CONFIG and record.lsn > known",
        "            if record.kind is RecordKind.CONFIG",
        (_CONFIGURED + "test_a_base_that_knows_more_than_its_log_is_not_put_back_by_it",),
    ),
    Mutant(
        "snapshot-keeps-the-unchosen",
        "storage/consensus/membership.py",
        "[entry for entry in rest if entry.lsn <= known or entry.lsn > lsn]",
        "rest",
        (_CONFIGURED + "test_a_snapshot_takes_the_place_of_what_the_own_log_said_below_it",),
    ),
    Mutant(
        "snapshot-told-an-older-config",
        "storage/consensus/membership.py",
        "        if configuration is not None and configured >= self._entries[0].lsn:",
        "        if configuration is not None:",
        (_CONFIGURED + "test_an_older_word_than_what_is_known_changes_nothing",),
    ),
    Mutant(
        "snapshot-config-at-its-own-lsn",
        "storage/consensus/group.py",
        "state.install(lsn, stamp, members, lsn if members_lsn is None else members_lsn)",
        "state.install(lsn, stamp, members, lsn)",
        (_CONFIGURED + "test_a_copy_is_told_of_a_later_config_than_its_snapshot",),
    ),
    Mutant(
        "learner-serves",
        "storage/replica/log_replica.py",
        "        if not votes and self.status.vote == VOTES:",
        "        if False:",
        (_PLACE,),
    ),
    Mutant(
        "founders-for-a-lost-tree",
        "storage/node/hosting.py",
        "        if replica.member not in founders or told:",
        "        if replica.member not in founders:",
        (_SIM + "test_a_tree_that_cannot_be_read_says_nothing_of_members_and_its_copy_leads_nobody_until_it_is_healed",),
    ),
    Mutant(
        "founders-after-a-heal",
        "storage/node/healing.py",
        "                configured=self._configured(replica, request),\n",
        "",
        (_SIM + "test_a_tree_that_cannot_be_read_says_nothing_of_members_and_its_copy_leads_nobody_until_it_is_healed",),
    ),
    Mutant(
        "founders-after-a-checkpoint",
        "storage/replica/apply.py",
        "self.stated, self.configured, transactions.encode(), split, self.born",
        "self.stated, UNCONFIGURED, transactions.encode(), split, self.born",
        (_SIM + "test_an_empty_disk_becomes_another_member_and_nothing_is_lost",),
    ),
    Mutant(
        "tables-with-the-lost",
        "server/control.py",
        "return Site(Member(member.number, member.incarnation), ",
        "return Site(Member(member.number, 1), ",
        (_SIM + "test_an_empty_disk_becomes_another_member_and_nothing_is_lost",),
    ),
]
