"""Mutants of this room: the tree's rows, fences and state, its engine and its workers."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_ENGINE = "tests/unit/btree/test_lmdb_engine.py"
_MODEL = "tests/unit/btree/test_tree_model.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "lmdb-nosync",
        "storage/btree/lmdb_tree.py",
        "            sync=sync,\n            metasync=sync,",
        "            sync=False,\n            metasync=False,",
        ("tests/crash/test_tree_power_loss.py",),
    ),
    Mutant(
        "worker-death-is-rot-at-once",
        "storage/btree/lmdb_engine.py",
        "    if len(deaths) > 1 and all(-status in FAULTS for status in deaths):",
        "    if any(-status in FAULTS for status in deaths):",
        (f"{_ENGINE}::test_deaths_that_have_another_cause_prove_nothing",),
    ),
    Mutant(
        "any-worker-death-is-rot",
        "storage/btree/lmdb_engine.py",
        "all(-status in FAULTS for status in deaths):",
        "True:",
        (f"{_ENGINE}::test_deaths_that_have_another_cause_prove_nothing",),
    ),
    Mutant(
        "checkpoint-anywhere",
        "storage/btree/lmdb_tree.py",
        "            if facts.state.applied != expected:\n",
        "            if False:\n",
        (f"{_MODEL}::test_a_checkpoint_is_refused_unless_it_continues_and_repeated_without_harm",),
    ),
    Mutant(
        "absence-unproven",
        "storage/btree/lmdb_tree.py",
        "        if proven:\n            self.check_absent(key)\n",
        "",
        (_MODEL,),
    ),
    Mutant(
        "range-of-unchecked-runs",
        "storage/btree/lmdb_tree.py",
        "        check_rows(fence, ((row.key, row.item) for row in rows), len(rows))\n",
        "",
        (_MODEL,),
    ),
    Mutant(
        "opening-marker-ignored",
        "storage/btree/worker.py",
        "        deep = marker.exists()\n",
        "        deep = False\n",
        (f"{_ENGINE}::test_an_open_cut_short_leaves_a_marker_that_makes_the_next_one_thorough",),
    ),
    Mutant(
        "another-partitions-tree-opened",
        "storage/btree/lmdb_tree.py",
        "    if owner != partition:\n",
        "    if False:\n",
        (f"{_ENGINE}::test_missing_and_damaged_trees_do_not_open", "tests/unit/btree/test_tree_format.py"),
    ),
    Mutant(
        "want-of-memory-is-rot",
        "storage/btree/lmdb_tree.py",
        '    return error_of_os(number, what="tree", action=str(error))\n',
        '    return Corrupt(f"LMDB: {error}", what="tree")\n',
        (f"{_ENGINE}::test_lmdb_without_descriptors_or_memory_is_exhausted_not_corrupt",),
    ),
    Mutant(
        "new-tree-unsynced",
        "storage/btree/worker.py",
        "                tree.environment.sync(True)\n",
        "                pass\n",
        ("tests/crash/test_tree_power_loss.py",),
    ),
    Mutant(
        "build-no-dirsync",
        "storage/btree/worker.py",
        "        sync_folder(folder / LOADING)\n        (folder / LOADING).rename(folder / LOADED)\n        sync_folder(folder)\n",
        "        (folder / LOADING).rename(folder / LOADED)\n",
        ("tests/crash/test_tree_power_loss.py::test_no_cut_loses_what_a_tree_acknowledged",),
    ),
    Mutant(
        "orphaned-tree-stays-open",
        "storage/btree/lmdb_engine.py",
        "        tree = self._open.get(partition)\n        if tree is not None:\n            tree.close()\n",
        "        return\n",
        (f"{_ENGINE}::test_a_tree_that_nobody_closed_is_closed_before_it_is_set_aside_or_removed",),
    ),
    Mutant(
        "state-ahead-is-rot",
        "storage/btree/lmdb_engine.py",
        "            if found not in (self._state, self._ahead):",
        "            if found != self._state:",
        (f"{_ENGINE}::test_a_tree_that_is_woken_between_a_commit_and_its_answer_is_not_rot",),
    ),
    Mutant(
        "any-state-will-do",
        "storage/btree/lmdb_engine.py",
        "            if found not in (self._state, self._ahead):",
        "            if False:",
        (f"{_ENGINE}::test_a_tree_that_was_changed_behind_a_resting_reader_is_found",),
    ),
    Mutant(
        "binding-refusal-is-rot",
        "storage/btree/lmdb_tree.py",
        "    if type(error) is lmdb.Error and number == 0:",
        "    if False:",
        (f"{_ENGINE}::test_what_the_binding_refuses_says_nothing_of_bytes",),
    ),
    Mutant(
        "values-hashed-unchecked",
        "storage/btree/row.py",
        "            if hash_of(value[_HASHED_FROM:] + key + length(len(key))) == hash_ and version == VERSION and not flags:\n",
        "            if version == VERSION and not flags:\n",
        ("tests/unit/btree/test_many_at_once.py::test_the_hash_of_a_value_is_that_of_its_row_and_none_of_a_damaged_one",),
    ),
    Mutant(
        "rising-rows-all-in-one-sub-range",
        "storage/log/digest.py",
        "            stop = count if end is None else bisect_left(keys, end, at)\n",
        "            stop = count\n",
        ("tests/unit/btree/test_many_at_once.py::test_rising_rows_are_added_to_a_digest_as_one_by_one",),
    ),
    Mutant(
        "scan-takes-any-order",
        "storage/btree/scan.py",
        "last < keys[0] and all(map(lt, keys, keys[1:])) and ",
        "",
        ("tests/unit/btree/test_scan.py",),
    ),
    Mutant(
        "scan-forgets-what-it-read-before-a-break",
        "storage/btree/scan.py",
        "        return taken, size, error\n",
        "        return [], 0, error\n",
        ("tests/unit/btree/test_scan.py",),
    ),
    Mutant(
        "scans-do-not-give-way",
        "storage/btree/worker.py",
        'give_way() if role == "scan" else None',
        "None",
        (f"{_ENGINE}::test_scans_that_nobody_waits_for_give_way_and_rest_and_those_of_a_copy_that_is_to_serve_do_not",),
    ),
    Mutant(
        "a-loaded-copy-is-scanned-at-leisure",
        "storage/btree/lmdb_engine.py",
        "self._checker if hurry else self._scanner",
        "self._scanner",
        (f"{_ENGINE}::test_scans_that_nobody_waits_for_give_way_and_rest_and_those_of_a_copy_that_is_to_serve_do_not",),
    ),
    Mutant(
        "replaced-scan-worker-is-not-told",
        "storage/btree/lmdb_engine.py",
        "if self.greeting is not None:",
        "if self.greeting is not None and not self.deaths:",
        (f"{_ENGINE}::test_a_scan_worker_that_was_replaced_keeps_to_the_share_too",),
    ),
]
