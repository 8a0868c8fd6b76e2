"""Mutants of a replica where its own facts, its log and its peers do not fit together, and of what a log replica leaves to those who have a tree."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_COUNTED = "tests/unit/storage/test_segments.py::test_an_outage_of_a_thousand_segments_costs_a_look_no_more_than_one_of_ten"

_IN_ORDER = "tests/unit/control/test_archived_in_order.py::test_what_lies_before_a_segment_that_nobody_has_in_the_archive_is_kept"

MUTANTS: list[Mutant] = [
    Mutant(
        "malformed-state-applied-to",
        "storage/replica/replica.py",
        "        self.follow.load(state)\n        self.tree = tree  # not before: what cannot be loaded is closed by whoever opened it, and never applied to\n",
        "        self.tree = tree\n        self.follow.load(state)\n",
        ("tests/unit/storage/test_hosting.py::test_a_tree_whose_state_is_malformed_is_suspect_and_takes_no_node_down",),
    ),
    Mutant(
        "stray-seal-taken-for-damage",
        "storage/replica/follow.py",
        "        if first != self.segments.facts.first:\n",
        "        if False:\n",
        ("tests/sim/test_replica_rules.py::test_a_copy_whose_segments_a_seal_does_not_continue_is_suspect_and_applies_no_further",),
    ),
    Mutant(
        "lead-handed-to-a-log-replica",
        "storage/replica/term.py",
        "besides=leaving.union(self._replica.info.logs)",
        "besides=leaving",
        ("tests/sim/test_log_replica.py::test_the_lead_is_not_handed_to_it",),
    ),
    Mutant(
        "log-replica-tells-an-end",
        "storage/node/moved_facts.py",
        "    if not facts.ended or replica.status.tree == LOG:\n",
        "    if not facts.ended:\n",
        ("tests/sim/test_log_replica.py",),
    ),
    Mutant(
        "asks-for-ever",
        "storage/replica/attest.py",
        "        if not replica.follows:\n            self._ask_at_us = None\n            return\n",
        "",
        ("tests/sim/test_log_replica.py",),
    ),
    Mutant(
        "first-try-left-to-who-never-stands",
        "storage/consensus/campaign.py",
        "(state.accepted, state.log.last) if stands else (NONE, Lsn(0))",
        "(state.accepted, state.log.last)",
        ("tests/unit/consensus/test_traces.py",),
    ),
    Mutant(
        "lost-log-takes-the-node-down",
        "storage/node/hosting.py",
        "            known=False,\n",
        "",
        ("tests/sim/test_node_identity.py::test_a_log_unknown_to_the_wal_is_made_only_while_its_table_is",),
    ),
    Mutant(
        "lost-log-binds-its-peers",
        "storage/node/peers.py",
        "            elif (replica is None or replica.out or replica.group is None) and isinstance(message, consensus.Question):\n"
        "                # Its log is gone, or its copy went to another node, or cannot be opened: whoever is bound to a ballot of it would be for as long as this node lives.\n"
        "                self.boxes.group(partition, resigned_for_good(number, message, node.number))\n",
        "",
        ("tests/sim/test_node_identity.py::test_a_log_unknown_to_the_wal_is_made_only_while_its_table_is",),
    ),
    Mutant(
        "every-statement-walks-what-waits",
        "storage/replica/segments.py",
        "        return [own for own in map(self.sealed_at, sorted(news)) if own is not None]",
        "        return list(self.facts.sealed) if news else []",
        (_COUNTED,),
    ),
    Mutant(
        "a-look-walks-what-waits",
        "storage/replica/segments.py",
        "        oldest = next((own.first_stamp for own in self.facts.sealed if own.known), 0) if self._able else 0",
        "        oldest = min((own.first_stamp for own in self.facts.sealed if own.known), default=0)",
        (_COUNTED,),
    ),
    Mutant(
        "learns-from-the-first-each-time",
        "storage/replica/segments.py",
        "for at in range(bisect_left(facts.sealed, self._learned, key=_last), ",
        "for at in range(0, ",
        (f"{_COUNTED}[False]",),
    ),
    Mutant(
        "what-is-archived-still-counts-as-waiting",
        "storage/replica/segments.py",
        "            for own in facts.sealed[:gone]:\n                self._counts(own, -1)\n",
        "",
        ("tests/unit/storage/test_segments.py::test_what_waits_is_counted_as_it_comes_is_learned_and_goes",),
    ),
    Mutant(
        "all-that-was-stated-is-compared-each-time",
        "storage/replica/attest.py",
        "        for own in replica.segments.news():\n",
        "        for own in replica.segments.facts.sealed:\n",
        ("tests/sim/test_store_hour.py::test_an_outage_of_the_store_over_a_whole_cluster_under_load",),
    ),
    Mutant(
        "what-others-archived-is-a-trouble",
        "archiver/write/settling.py",
        " or self._source.archived(segment.partition) >= segment.last:",
        ":",
        ("tests/unit/archiver/test_archive_agent.py::test_what_others_archived_after_an_outage_before_we_came_to_it_is_no_trouble",),
    ),
    Mutant(
        "a-seal-reads-all-of-its-segment",
        "storage/replica/segments.py",
        "        if self._unread >= STEP_BYTES:\n",
        "        if False:\n",
        ("tests/unit/storage/test_segments.py::test_a_segment_is_read_back_in_steps_while_it_grows_and_not_all_of_it_at_its_seal",),
    ),
    Mutant(
        "a-segment-is-read-in-one-go",
        "archiver/write/settling.py",
        "                pieces.append(piece)\n                await self._env.tasks.sleep(0)\n",
        "                pieces.append(piece)\n",
        ("tests/unit/archiver/test_archive_agent.py::test_a_segment_is_read_in_pieces_between_which_others_run",),
    ),
    Mutant(
        "a-tiny-partition-costs-a-night-nothing",
        "scrubber/service.py",
        "        if wait_s > 0.0:\n",
        "        if False:\n",
        ("tests/unit/scrubber/test_scrub_service.py::test_what_a_partition_costs_however_small_it_is_counts_against_the_share_of_a_night",),
    ),
    Mutant(
        "what-the-cache-remembers-is-what-the-log-holds",
        "storage/node/archive_source.py",
        "max_bytes=PIECE_BYTES, cached=False):",
        "max_bytes=PIECE_BYTES):",
        (
            "tests/unit/control/test_rot_before_archive.py::test_rot_between_a_step_of_the_hash_and_the_seal_is_found_before_the_member_attests",
        ),
    ),
    Mutant(
        "no-log-for-who-was-away",
        "storage/replica/checkpoints.py",
        "needed = min(kept, self.committed_before",
        "needed = min(self.committed_before",
        ("tests/unit/control/test_kept_log.py::test_who_was_away_for_less_than_the_log_is_kept_goes_on_from_it",),
    ),
    Mutant(
        "kept-log-stays-until-the-next-write",
        "storage/replica/checkpoints.py",
        "        if due is not None and due <= now_us:\n            self.trim()\n",
        "        if due is not None and due <= now_us:\n            self.kept.first(now_us, room=True)\n",
        ("tests/unit/control/test_kept_log.py::test_what_was_kept_goes_by_itself_once_its_time_is_over",),
    ),
    Mutant(
        "kept-log-needs-no-room",
        "storage/replica/checkpoints.py",
        "room=not node.full and node.wal.ample()",
        "room=not node.full",
        ("tests/unit/control/test_kept_log.py::test_where_room_is_short_nothing_is_kept",),
    ),
    Mutant(
        "kept-log-of-an-earlier-life-goes-at-the-start",
        "storage/replica/kept_log.py",
        "deque([(0, Lsn(0)), (now_us, applied)] if self._keep_us else [(0, applied)])",
        "deque([(0, applied)])",
        ("tests/unit/control/test_kept_log.py::test_what_the_log_held_before_a_restart_is_kept_as_long_as_what_came_after",),
    ),
    Mutant(
        "archived-over-a-hole",
        "storage/replica/term.py",
        "            if first > reaches + 1:\n                return\n",
        "",
        (_IN_ORDER,),
    ),
    Mutant(
        "archived-one-at-a-time",
        "storage/replica/term.py",
        "len(members))\n            reaches = max(reaches, last)\n",
        "len(members))\n            return\n",
        (_IN_ORDER,),
    ),
    Mutant(
        "trims-beyond-what-the-group-applied",
        "storage/replica/checkpoints.py",
        "below = min(self._needed_from(), replica.group.applied + 1)",
        "below = self._needed_from()",
        ("tests/unit/storage/test_checkpoints.py::test_a_tree_that_is_ahead_of_its_log_lets_go_of_what_the_group_has_applied_and_no_more",),
    ),
]
