"""Mutants of a node and its replicas: what is kept, what is suspected, who may vote, what a start makes of what it finds."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "trim-one-checkpoint",
        "storage/checkpoints.py",
        "needed = min(self.committed_before + 1, self._first_before,",
        "needed = min(self.committed + 1, self._replica.segments.facts.first,",
        ("tests/unit/storage/test_checkpoints.py",),
    ),
    Mutant(
        "trim-archived-plus-one",
        "storage/checkpoints.py",
        "self._replica.segments.facts.archived + 1)",
        "self._replica.segments.facts.archived + 2)",
        ("tests/unit/storage/test_checkpoints.py",),
    ),
    Mutant(
        "hold-ignored",
        "storage/checkpoints.py",
        "return min(needed, min(self._holds) + 1) if self._holds else needed",
        "return needed",
        ("tests/unit/storage/test_checkpoints.py::test_a_hold_keeps_what_follows_it",),
    ),
    Mutant(
        "suspect-volatile",
        "storage/replica/replica.py",
        "            self.keep_tree(SUSPECT)\n            self.set_state",
        "            self.set_state",
        ("tests/sim/test_node_faults.py::test_a_suspicion_outlives_the_process",),
    ),
    Mutant(
        "damaged-votes",
        "storage/replica/repair.py",
        "            group.set_vote(False, replica.node.now())\n            replica.ended()\n",
        "            replica.ended()\n",
        ("tests/sim/test_node_faults.py::test_a_member_with_a_damaged_log_has_no_vote_until_it_is_repaired",),
    ),
    Mutant(
        "amnesiac-votes",
        "storage/replica/replica.py",
        "            if self.group is not None:\n                self.group.set_vote(False, self.node.now())\n            self._no_longer_serves()",
        "            self._no_longer_serves()",
        ("tests/sim/test_node_identity.py",),
    ),
    Mutant(
        "repaired-unread",
        "storage/replica/repair.py",
        "            left = self._still_damaged()\n",
        "            left: tuple[tuple[Lsn, Lsn], ...] = ()\n",
        ("tests/sim/test_log_damage.py",),
    ),
    Mutant(
        "apply-unknown-kind",
        "storage/replica/replica.py",
        "        if kind not in records.IMPLEMENTED:\n",
        "        if False:\n",
        ("tests/sim/test_node_faults.py::test_a_replica_stops_at_a_record_that_it_does_not_know",),
    ),
    Mutant(
        "later-kinds-refused-on-the-wire",
        "storage/consensus/acceptor.py",
        "decode_all(blob, owner=self._owner_tag, opaque=True)",
        "decode_all(blob, owner=self._owner_tag)",
        ("tests/sim/test_node_faults.py::test_a_replica_stops_at_a_record_that_it_does_not_know",),
    ),
    Mutant(
        "later-kinds-are-damage-in-the-log",
        "storage/wal/reader.py",
        "decode_all(data, owner=body.state.owner, opaque=True)",
        "decode_all(data, owner=body.state.owner)",
        (),
        "the body is then read record by record, as a damaged one is, and all of them check: slower, nothing else",
    ),
    Mutant(
        "later-kinds-lost-by-salvage",
        "storage/wal/salvage.py",
        "record = decode(body, at, owner=owner, opaque=True)",
        "record = decode(body, at, owner=owner)",
        ("tests/unit/storage/test_record.py::test_beside_a_damaged_record_one_of_a_later_version_is_none",),
    ),
    Mutant(
        "later-flags-taken-for-known",
        "storage/record.py",
        "if version == VERSION and flags == 0 else Kind.UNKNOWN",
        "if version == VERSION else Kind.UNKNOWN",
        ("tests/unit/storage/test_record.py::test_what_a_later_version_wrote_is_carried_and_never_read",),
    ),
    Mutant(
        "payload-not-understood-breaks-the-node",
        "storage/replica/replica.py",
        "            self.stop_at(record, str(error))\n            return False\n",
        "            raise\n",
        ("tests/sim/test_node_faults.py::test_a_replica_stops_at_a_record_that_it_does_not_know",),
    ),
    Mutant(
        "message-is-own-damage",
        "storage/replica/repair.py",
        'if error.fields.get("what") == "message":',
        "if False:",
        ("tests/sim/test_node_faults.py::test_bad_records_in_a_message_are_not_taken_for_damage_of_the_own_log",),
    ),
    Mutant(
        "backlog-jumped",
        "storage/node/turn.py",
        "        if self._backlog:\n            self._backlog.append(",
        "        if False:\n            self._backlog.append(",
        ("tests/sim/test_node_faults.py::test_the_backlog_of_a_full_log_is_bounded",),
    ),
    Mutant(
        "backlog-bytes-kept",
        "storage/node/turn.py",
        "            self._backlog_bytes -= _size(waiting.frames)\n",
        "",
        ("tests/sim/test_node_faults.py::test_a_table_dropped_while_the_log_is_full_holds_nobody_up",),
    ),
    Mutant(
        "gone-replicas-backlog",
        "storage/node/turn.py",
        "        if len(kept) < len(self._backlog):\n",
        "        if False:\n",
        ("tests/sim/test_node_faults.py::test_a_table_dropped_while_the_log_is_full_holds_nobody_up",),
    ),
]
