"""Mutants of a replica where its own facts, its log and its peers do not fit together, and of what a log replica leaves to those who have a tree."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

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
        "storage/node/port_server.py",
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
        "(state.accepted, state.log.last) if state.may_lead and state.may_vote else (NONE, Lsn(0))",
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
        "            elif replica is not None and replica.out and isinstance(message, consensus.Question):\n"
        "                self.boxes.group(partition, resigned_for_good(number, message, node.number))\n",
        "",
        ("tests/sim/test_node_identity.py::test_a_log_unknown_to_the_wal_is_made_only_while_its_table_is",),
    ),
]
