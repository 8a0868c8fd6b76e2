"""Mutants of what the catalogue, routers and the control part know of splits (ADR 0078)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_CATALOGUE = "storage/catalogue.py"
_KNOWN = "tests/unit/control/test_split_catalogue.py::"
_ROUTER = "storage/control/router.py"
_WAITS = "storage/control/map_waits.py"
_PAGES = "storage/api/pages.py"
_COORDINATOR = "storage/control/transactions/coordinator.py"
_SPLITS = "storage/control/splits.py"
_CARRIED = "tests/unit/control/test_splits.py::"
_WHOLE = (_CARRIED + "test_a_partition_becomes_two_while_it_is_written_to",)
_REFUSED = (_CARRIED + "test_what_is_no_split_is_refused",)
_FAR = (_CARRIED + "test_how_far_the_childrens_trees_have_to_be",)
_STOPPED = (_CARRIED + "test_a_split_waits_for_trees_and_goes_on_after_any_stop",)
_ROUTED = "tests/unit/control/test_router_split.py::"
_HEIR = "test_an_heir_leads_as_soon_as_the_others_are_there_and_its_answers_may_be_slow"
_PAST = "test_what_was_split_leaves_the_catalogue_when_nothing_of_it_is_left_to_be_asked_for_the_oldest_first"

MUTANTS = [
    Mutant(
        "split-notes-stay",
        "storage/control/splits.py",
        "            await self._clean_notes()\n",
        "",
        ("tests/unit/control/test_index_splits.py::test_nothing_is_left_of_an_index_that_goes_while_it_is_split",),
    ),
    Mutant(
        "split-notes-go-under-way",
        "storage/control/splits.py",
        "            if parent not in under_way:\n",
        "            if True:\n",
        ("tests/unit/control/test_splits.py::test_the_notes_of_a_split_stay_while_it_is_under_way",),
    ),
    Mutant(
        "split-never-beside-a-log-that-stands-by",
        "storage/control/splits.py",
        "if place.vote is Vote.LEARNER and place.member.node not in info.logs]",
        "if place.vote is Vote.LEARNER]",
        ("tests/sim/test_standing_in.py::test_a_partition_beside_which_a_log_stands_by_is_split_and_its_halves_have_the_log_too",),
    ),
    Mutant(
        "split-log-that-stands-by-counts",
        "storage/control/splits.py",
        "wanted = max(min(PREPARED_MIN, len(storage)), voters // 2 + 1)",
        "wanted = max(min(PREPARED_MIN, len(storage)), len(info.nodes) // 2 + 1)",
        ("tests/unit/control/test_splits.py::test_a_log_that_stands_by_counts_for_no_majority",),
    ),
    Mutant(
        "split-feed-falls-over-the-map",
        "storage/control/indexing/feeding.py",
        "stated.get(self._info.partition_id)",
        "stated[self._info.partition_id]",
        ("tests/unit/control/test_split_follow.py::test_an_index_is_fed_to_the_end_of_the_parent_and_then_from_both_children",),
    ),
    Mutant(
        "split-late-copy-waits-for-ever",
        _SPLITS,
        "                await self._begin_rest(table, former, *children)\n",
        "                pass\n",
        (_CARRIED + "test_a_copy_that_heard_of_nothing_until_the_map_was_written_begins_then",),
    ),
    Mutant(
        "split-log-replicas-not-asked",
        _SPLITS,
        "if (logs or node.number not in info.logs) and",
        "if node.number not in info.logs and",
        ("tests/unit/control/test_split_whole.py::test_who_keeps_the_log_alone_keeps_the_childrens_too",),
    ),
    Mutant("split-past-forgotten-from-its-middle", _CATALOGUE, "not (older or place in shown", "not (place in shown", (_KNOWN + _PAST,)),
    Mutant("split-past-forgotten-under-a-stream", _CATALOGUE, "(older or place in shown or", "(older or", (_KNOWN + _PAST,)),
    Mutant("split-past-forgotten-before-a-copy-begins", _CATALOGUE, " or children & fresh):", "):", (_KNOWN + _PAST,)),
    Mutant(
        "split-past-forgotten-before-it-is-archived",
        _CATALOGUE,
        "place in gone and former.archived_at is not None and",
        "place in gone and",
        (_KNOWN + _PAST,),
    ),
    Mutant("split-said-with-each-number", _SPLITS, '_NUMBERS.sub("", why)', "why", _STOPPED),
    Mutant(
        "split-anybody-leads-first",
        "storage/node/splitting.py",
        "heir=parent.group is not None and parent.group.leading)",
        "heir=False)",
        ("tests/unit/control/test_split_whole.py::test_no_write_fails_and_every_copy_of_each_child_is_the_same",),
    ),
    Mutant(
        "split-heir-waits-as-others-do",
        "storage/consensus/election.py",
        "        if self.eager:\n",
        "        if False:\n",
        ("tests/unit/consensus/test_group.py::" + _HEIR,),
    ),
    Mutant(
        "split-heir-hears-the-last-answer-alone",
        "storage/consensus/campaign.py",
        "        if not (self._nonce and self._election.eager):",
        "        if True:",
        ("tests/unit/consensus/test_group.py::" + _HEIR,),
    ),
    Mutant(
        "split-heir-asks-for-ever",
        "storage/consensus/election.py",
        "            self._asks -= 1\n",
        "",
        ("tests/unit/consensus/test_group.py::test_an_heir_that_nobody_answers_waits_as_the_others_do",),
    ),
    Mutant(
        "split-moment-is-the-childrens",
        _CATALOGUE,
        "        if at_us <= former.closed_us:\n",
        "        if at_us < former.closed_us:\n",
        (_KNOWN + "test_a_moment_has_the_partitions_whose_history_reaches_it",),
    ),
    Mutant(
        "split-past-of-one-generation",
        _CATALOGUE,
        "    for former in reversed(table.former or ()):\n",
        "    for former in table.former or ():\n",
        (_KNOWN + "test_a_moment_has_the_partitions_whose_history_reaches_it",),
    ),
    Mutant(
        "split-past-of-a-restored-table",
        _CATALOGUE,
        "        former=msgspec.UNSET,\n    )\n\n\ndef without_index",
        "    )\n\n\ndef without_index",
        (_KNOWN + "test_a_table_that_is_made_after_another_has_no_past",),
    ),
    Mutant(
        "split-copies-of-the-parent-unknown",
        _CATALOGUE,
        "    return (*every_partition(table), *coming(table))\n",
        "    return (*table.partitions, *coming(table))\n",
        (_KNOWN + "test_whose_partition_it_is_is_known_of_those_that_come_and_go",),
    ),
    Mutant(
        "split-map-not-asked-for",
        _WAITS,
        "                if self.catalogue is not None and not self.catalogue.alone:\n",
        "                if False:\n",
        (_ROUTED + "test_a_router_in_another_process_asks_for_the_map",),
    ),
    Mutant(
        "split-map-not-heard-of",
        _WAITS,
        "        if table.table_id in self._waiting:\n",
        "        if False:\n",
        (_ROUTED + "test_while_requests_wait_the_parent_is_left_alone",),
    ),
    Mutant(
        "split-parent-asked-again",
        _ROUTER,
        "        if was_split(last):\n            if not place.wait(self._deadline, self._goes_on):\n",
        "        if False:\n            if not place.wait(self._deadline, self._goes_on):\n",
        (_ROUTED + "test_while_requests_wait_the_parent_is_left_alone",),
    ),
    Mutant(
        "split-waits-for-ever",
        _WAITS,
        "self._env.tasks.call_later(left_us / 1e6, partial(",
        "self._env.tasks.call_later(left_us, partial(",
        (_ROUTED + "test_the_time_of_a_request_does_not_begin_anew",),
    ),
    Mutant(
        "split-keys-of-both-to-one",
        _ROUTER,
        "        if any(self.router.partition_of(known, key).partition_id != here for key in self._keys):\n",
        "        if False:\n",
        (_ROUTED + "test_a_transaction_in_one_partition_is_one_in_two_when_that_was_split",),
    ),
    Mutant(
        "split-transaction-by-the-old-map",
        _COORDINATOR,
        "self._router.partition_of(self._metadata.known(part.table), part.command.key)",
        "self._router.partition_of(part.table, part.command.key)",
        (_ROUTED + "test_a_transaction_with_a_token_is_begun_again_in_the_children",),
    ),
    Mutant(
        "split-transactional-read-by-the-old-map",
        _COORDINATOR,
        "self._router.partition_of(self._metadata.known(table), key)",
        "self._router.partition_of(table, key)",
        (_ROUTED + "test_a_transactional_read_looks_at_both_children",),
    ),
    Mutant(
        "split-page-from-its-start",
        _PAGES,
        "        parts = ranges_of(known, self._start, ",
        "        parts = ranges_of(known, self._ranges[self._at].start, ",
        (_ROUTED + "test_a_page_that_had_begun_reads_what_is_left_of_it_in_the_children",),
    ),
    Mutant(
        "split-page-backwards-in-order",
        _PAGES,
        "reversed(parts) if self._reverse else parts",
        "parts",
        (_ROUTED + "test_a_page_goes_on_in_the_children_and_has_every_row_once",),
    ),
    Mutant(
        "split-waits-for-a-leader-that-is-gone",
        _SPLITS,
        "SPLIT_WAIT_S = 1.0\n",
        "SPLIT_WAIT_S = 10.0\n",
        ("tests/unit/control/test_splits.py::test_a_leader_that_ends_its_log_and_is_heard_no_more_is_not_waited_for",),
    ),
    Mutant(
        "split-stamped-by-the-clock",
        _SPLITS,
        "        bound = await began.moment()\n",
        "        bound = last_stamp_at(split.began_at)\n",
        _WHOLE,
    ),
    Mutant(
        "split-children-not-hosted",
        "storage/control/fleet.py",
        "                for info in coming(table)\n",
        "                for info in ()\n",
        _WHOLE,
    ),
    Mutant(
        "split-copies-gone-at-the-map",
        _SPLITS,
        "            elif self._fleet.archived(former.info.partition_id) >= former.final.lsn:\n",
        "            elif True:\n",
        _WHOLE,
    ),
    Mutant(
        "split-two-at-a-time",
        _SPLITS,
        "        if not isinstance(known.split, msgspec.UnsetType):\n            raise",
        "        if False:\n            raise",
        _REFUSED,
    ),
    Mutant("split-beside-an-older-release", _SPLITS, "    if lacks:\n", "    if False:\n", _REFUSED),
    Mutant("split-trees-behind", _SPLITS, "    if behind:\n", "    if False:\n", _FAR),
    Mutant("split-trees-of-too-few", _SPLITS, ", voters // 2 + 1)", ", 0)", _FAR),
    Mutant(
        "split-map-before-the-children",
        _SPLITS,
        "        if not all(serve):\n            self.why",
        "        if False:\n            self.why",
        _STOPPED,
    ),
    Mutant(
        "split-child-begun-empty",
        _SPLITS,
        "heal=all(serve), logs=bool(",
        "heal=True, logs=bool(",
        (_CARRIED + "test_a_member_without_a_copy_is_healed_when_the_others_serve",),
    ),
    Mutant(
        "split-absent-member-locked-out",
        _SPLITS,
        "        fresh = began.without_log()\n",
        "        fresh: dict[PartitionId, tuple[int, ...]] = {}\n",
        (_CARRIED + "test_a_node_that_is_away_may_begin_its_copies_of_the_children_when_it_is_back",),
    ),
    Mutant(
        "split-of-a-dropped-table",
        "storage/control/drops.py",
        "            split=msgspec.UNSET,\n",
        "",
        (_CARRIED + "test_a_table_that_is_dropped_while_its_split_waits_is_gone",),
    ),
    Mutant(
        "split-told-too-early-to-a-heal",
        "storage/control/service.py",
        "if facts.split and facts.ended == lsn), b",
        "if facts.split), b",
        (_CARRIED + "test_a_copy_that_is_healed_at_the_end_of_a_log_hears_in_which_split_it_ended",),
    ),
    Mutant(
        "split-while-a-member-learns",
        "storage/control/splits.py",
        "    if learners:\n",
        "    if False:\n",
        ("tests/unit/control/test_splits.py::test_a_partition_waits_while_one_of_its_members_does_not_vote",),
    ),
    Mutant(
        "child-archived-before-its-parents-end",
        "storage/node/archive_source.py",
        "            and parent.segments.facts.archived < born.lsn\n",
        "            and parent.segments.facts.archived < born.lsn - 1\n",
        ("tests/sim/test_split_trees.py::test_a_child_is_archived_behind_its_parents_end",),
    ),
]
