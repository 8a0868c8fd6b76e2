"""Mutants of how a log ends in a SPLIT (ADR 0078): each breaks one of its rules."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SIM = "tests/sim/test_split_log.py::"
_END = (_SIM + "test_split_and_its_seal_are_the_end_of_the_log_on_every_copy",)
_REFUSED = (_SIM + "test_what_is_refused_changes_nothing",)
_STOPS = (_SIM + "test_a_log_that_no_leader_writes_stops_its_copies",)
_NEXT = (_SIM + "test_the_next_leader_gives_a_split_the_seal_that_it_lacks",)
_SILENT = (_SIM + "test_a_partition_that_was_split_answers_nothing_more",)
_AGAIN = (_SIM + "test_a_copy_that_starts_again_knows_that_it_was_split",)
_RETRY = (_SIM + "test_a_leader_that_could_not_seal_its_split_tries_again",)
_LINEAGE = "archiver/lineage.py"
_BEFORE = "tests/unit/archiver/test_lineage.py::"
_TERM = "storage/replica/term.py"

MUTANTS = [
    Mutant(
        "split-written-behind", _TERM, "            self.ended, self._split = True, split\n", "            self._split = split\n", _RETRY
    ),
    Mutant(
        "split-written-behind-by-the-next",
        _TERM,
        "        return self.ended or replica.split is not None or replica.segments.facts.ended > 0\n",
        "        return self.ended or replica.segments.facts.ended > 0\n",
        _NEXT,
    ),
    Mutant(
        "split-over-pending",
        _TERM,
        '        elif not self.transacting.wants_seal():\n            done(Unavailable("no split',
        '        elif False:\n            done(Unavailable("no split',
        _REFUSED,
    ),
    Mutant("split-outside-its-range", "storage/log/split.py", "    if not lo < split.cut or", "    if not lo <= split.cut or", _REFUSED),
    Mutant(
        "split-into-itself",
        "storage/log/split.py",
        "{split.left, split.right, parent}) != 3",
        "{split.left, split.right, parent}) < 2",
        _REFUSED,
    ),
    Mutant(
        "split-never-sealed",
        _TERM,
        "            self._propose_seal(Seal.SPLIT)\n        if self._ending",
        "            pass\n        if self._ending",
        _NEXT,
    ),
    Mutant(
        "split-end-not-owed",
        _TERM,
        "        if self._owes_end():\n            return self._replica.node.boot_us() + BEGIN_RETRY_US\n",
        "",
        _RETRY,
    ),
    Mutant("split-seal-goes-on", "storage/log/record.py", "frozenset({DROP, SPLIT})", "frozenset({DROP})", _END),
    Mutant("split-parent-read", "storage/replica/replica.py", "        if self.split is not None:\n", "        if False:\n", _SILENT),
    Mutant(
        "split-forgotten", "storage/replica/apply.py", "            split = split_from(extra.split) if extra.split else None\n", "", _AGAIN
    ),
    Mutant(
        "split-state-of-an-older-release",
        "storage/replica/state.py",
        "BORN_VERSION if born else SPLIT_VERSION if split else",
        "BORN_VERSION if born else SPLIT_VERSION if False else",
        ("tests/unit/storage/test_golden_storage.py::test_replica_state_of_a_partition_that_was_split",),
    ),
    Mutant(
        "split-applied-over-pending",
        "storage/replica/apply.py",
        '        if self.transactions.locks:\n            raise Corrupt("a transaction is pending at a SPLIT"',
        '        if False:\n            raise Corrupt("a transaction is pending at a SPLIT"',
        _STOPS,
    ),
    Mutant(
        "split-content-behind",
        "storage/replica/follow.py",
        "        if self.split is not None and record.kind.is_content:\n",
        "        if False:\n",
        _STOPS,
    ),
    Mutant(
        "split-seal-does-not-fit",
        "storage/replica/follow.py",
        "        if (self.split is not None) != (seal.reason == Seal.SPLIT) and (self._digests or seal.reason != Seal.SPLIT):\n",
        "        if False:\n",
        _STOPS,
    ),
    Mutant(
        "split-range-taken-as-it-is",
        "storage/replica/apply.py",
        "            check_split(split, parent=replica.partition, lo=replica.lo, hi=replica.hi)\n",
        "            pass\n",
        _STOPS,
    ),
    Mutant(
        "later-kind-passed-over",
        "archiver/format/records.py",
        " or flags or kind not in kinds:\n",
        " or flags:\n",
        (
            "tests/unit/scrubber/test_scrub_archive.py::test_the_search_for_a_record_stops_at_a_kind_of_a_later_version",
            "tests/unit/archiver/test_archive_rebuild.py::test_a_record_of_an_unknown_kind_stops_a_rebuild",
        ),
    ),
    Mutant(
        "lineage-of-another-history",
        _LINEAGE,
        "    if reached[:3] != (born.lsn, born.stamp, born.chain):\n",
        "    if False:\n",
        (_BEFORE + "test_another_history_of_the_parent_proves_nothing_of_the_child",),
    ),
    Mutant(
        "lineage-nothing-inherited-is-no-hole",
        _LINEAGE,
        "expired=max(facts.expired, born.lsn))\n",
        "expired=facts.expired)\n",
        (_BEFORE + "test_a_parent_that_lost_its_end_is_a_hole_in_front_of_the_child_until_the_child_has_a_base_of_its_own",),
    ),
    Mutant(
        "lineage-before-its-own-base",
        _LINEAGE,
        "    starts = facts.starts if own or start is None else",
        "    starts = facts.starts if start is None else",
        (_BEFORE + "test_a_parent_that_lost_its_end_is_a_hole_in_front_of_the_child_until_the_child_has_a_base_of_its_own",),
    ),
    Mutant(
        "lineage-gap-joined",
        _LINEAGE,
        " or parent.latest_us + 1 < after.earliest_us:\n",
        ":\n",
        (_BEFORE + "test_what_is_restorable_ends_with_the_parent_while_a_child_proves_nothing",),
    ),
    Mutant(
        "split-point-thinned-by-number",
        "storage/btree/split_point.py",
        "            if after[0] - last > grain:\n",
        '            if len(kept) % 2 == 0 or after[1] == b"":\n',
        ("tests/unit/btree/test_split_point.py::test_what_it_forgets_costs_a_grain_at_most",),
    ),
    Mutant(
        "split-point-within-a-key",
        "storage/btree/split_point.py",
        "        if hash_ != self._hash:\n",
        "        if True:\n",
        ("tests/unit/btree/test_split_point.py::test_one_partition_key_is_never_divided",),
    ),
    Mutant(
        "simulated-losses-forget-what-was-split",
        "sim/whole/copies.py",
        "*coming(table), *leaving(table))",
        "*coming(table))",
        ("tests/sim/test_whole_checkers.py::test_a_log_is_needed_from_when_its_partition_is_to_come_until_it_is_archived",),
    ),
    Mutant(
        "simulated-halves-are-awaited-on-nodes-that-stay-out",
        "sim/whole/splits_operator.py",
        "any(not stays_out(number) for number in info.fresh)",
        "info.fresh",
        ("tests/sim/test_whole_checkers.py::test_halves_are_awaited_but_on_a_node_that_stays_out",),
    ),
    Mutant(
        "simulated-nodes-forget-what-was-split",
        "sim/whole/cluster.py",
        "                if former.archived_at is None:\n                    host(owner, former.info)\n",
        "                if former.archived_at is None:\n                    pass\n",
        ("tests/sim/test_whole_checkers.py::test_a_node_that_starts_again_hosts_what_was_split_until_it_is_archived",),
    ),
]
