"""Mutants of how the children of a split begin (ADR 0078): each breaks one of the rules."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SIM = "tests/sim/test_split_trees.py::"
_ON = (_SIM + "test_two_children_go_on_where_the_parent_ends",)
_DIES = (_SIM + "test_a_node_that_dies_on_the_way_begins_again",)
_SUM = (_SIM + "test_halves_that_do_not_add_up_begin_nothing",)
_DROP = (_SIM + "test_a_drop_that_comes_first_leaves_nothing_of_the_children",)
_ROTTED = (_SIM + "test_a_copy_that_rotted_divides_nothing_and_is_healed",)
_INDEXED = (_SIM + "test_rows_of_local_indexes_follow_their_items_into_the_children",)
_SPLITTING = "storage/node/splitting.py"
_TERM = "storage/replica/term.py"

MUTANTS = [
    Mutant(
        "split-waits-for-its-tree-until-the-next-start",
        "storage/node/hosting.py",
        "            if healing and isinstance(tree, Missing):\n",
        "            if False:\n",
        ("tests/unit/control/test_split_whole.py::test_a_copy_that_waits_for_its_tree_is_no_new_fault_however_often_it_dies",),
    ),
    Mutant(
        "split-lacking-copy-is-not-seen",
        "storage/node/hosting.py",
        '        replica.lacks_its_tree("no copy was here of the partition that was split")\n',
        '        replica.behind = True\n        replica.suspect("no copy was here of the partition that was split")\n',
        (_SIM + "test_a_copy_that_rotted_divides_nothing_and_is_healed",),
    ),
    Mutant(
        "split-tree-that-comes-too-late",
        "storage/node/splitting.py",
        "                    self._look(division)  # the child may have begun without a tree meanwhile\n",
        "                    pass\n",
        (_SIM + "test_a_tree_that_comes_too_late_is_none",),
    ),
    Mutant(
        "split-a-child-that-is-opened-waits",
        "storage/node/splitting.py",
        "if not child.begun and not child.out]",
        "if child.group is None and not child.out]",
        (
            "tests/sim/test_split_trees.py::test_a_child_whose_tree_is_only_being_opened_has_begun[to divide]",
            "tests/sim/test_split_trees.py::test_a_child_whose_tree_is_only_being_opened_has_begun[nothing here]",
        ),
    ),
    Mutant(
        "split-leftovers-of-a-child",
        "storage/node/hosting.py",
        "            node.engine.drop(replica.partition)  # what an earlier life made of it, and died before its log began\n",
        "",
        (_SIM + "test_what_an_earlier_life_made_of_a_child_goes_when_its_log_begins_behind",),
    ),
    Mutant(
        "split-half-that-is-not-there-is-told-of",
        "storage/node/archive_source.py",
        "        here = [half for half in halves if half in self._node.members]",
        "        here = list(halves)",
        (_SIM + "test_a_half_that_is_not_hosted_is_told_to_nobody",),
    ),
    Mutant(
        "child-short-of-the-end",
        _SPLITTING,
        "            end = ended or parent.applied\n",
        "            end = division.at if ended else parent.applied\n",
        _ON,
    ),
    Mutant(
        "child-follows-nothing", _SPLITTING, "                        child.follow.inherit(record)\n", "                        pass\n", _ON
    ),
    Mutant("child-of-all-rows", _SPLITTING, "start=child.lo, end=child.hi", 'start=b"", end=None', _ON),
    Mutant("child-not-added-up", _SPLITTING, "        if found is not None and found != expected:\n", "        if False:\n", _SUM),
    Mutant(
        "child-of-a-dropped-table", _SPLITTING, "            raise _Over  # its table was dropped\n", "            return Lsn(0)\n", _DROP
    ),
    Mutant("child-of-a-bad-copy", _SPLITTING, "    return parent.status.serves and parent", "    return parent", _ROTTED),
    Mutant(
        "child-half-made-kept",
        _SPLITTING,
        "            if child.group is None and child.tree is not None:\n",
        "            if False:\n",
        _DROP,
    ),
    Mutant("child-holds-the-log", _SPLITTING, "            self.parent.checkpoints.release_hold(before)\n", "            pass\n", _ON),
    Mutant("child-leaves-its-rows", _SPLITTING, "                    self._disk.remove(path)\n", "                    pass\n", _ON),
    Mutant("child-heals-unasked", _SPLITTING, "        if not request.heal or opening:\n", "        if False:\n", _ROTTED),
    Mutant(
        "child-log-from-one",
        "storage/node/hosting.py",
        "self._create_log(replica, Lsn(tree.state.applied + 1))",
        "self._create_log(replica)",
        _ON,
    ),
    Mutant(
        "child-group-from-one", "storage/node/hosting.py", "Lsn(applied + 1), applied, applied, stamp)", "Lsn(1), Lsn(0), applied)", _ON
    ),
    Mutant("child-begins-by-itself", "storage/node/hosting.py", "        elif coming:\n            replica.awaits_parent()\n", "", _ON),
    Mutant("child-says-not-how-it-began", _TERM, "    if begins and born is not None:\n", "    if False:\n", _ON),
    Mutant("child-begins-without-a-schema", _TERM, "(0 if born is None else born.lsn)", "0", _ON),
    Mutant(
        "child-forgets-how-it-began",
        "storage/replica/apply.py",
        "            born = extra.born or born\n",
        "",
        _ON,
    ),
    Mutant(
        "child-takes-what-is-the-others",
        "storage/replica/apply.py",
        "                if self.digest.holds(effect.key):\n",
        "                if True:\n",
        _ON,
    ),
    Mutant(
        "heal-forgets-the-split",
        "storage/node/healing.py",
        "                split=_split(request),\n",
        "",
        ("tests/sim/test_split_log.py::test_a_copy_that_is_healed_at_the_end_knows_that_it_was_split",),
    ),
    Mutant(
        "child-forgets-its-index-rows",
        _SPLITTING,
        "encode_extra(digest, size, SegmentFacts(), indexes)",
        "encode_extra(digest, size, SegmentFacts(), ())",
        _INDEXED,
    ),
    Mutant(
        "half-of-a-tree-is-all-of-it",
        "storage/btree/scan.py",
        "reader.range(start or FIRST_START, end)",
        "reader.range(FIRST_START, None)",
        ("tests/unit/btree/test_lmdb_engine.py::test_pins_see_one_lsn_while_the_tree_moves_on",),
    ),
]
