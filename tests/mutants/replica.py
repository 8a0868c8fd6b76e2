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
]
