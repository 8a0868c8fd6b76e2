"""Mutants of the sizes of item collections and of their limit (tests/mutants/catalogue.py)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_OF = "tests/unit/control/test_item_collections.py::"
_LIMIT = (_OF + "test_a_collection_may_have_so_many_bytes_and_not_one_more",)
_SMALLER = (_OF + "test_what_is_over_the_limit_already_may_become_smaller",)
_NAMES = (_OF + "test_whatever_writes_is_refused_by_name_and_nothing_of_it_happens",)
_PARTS = (_OF + "test_the_parts_of_a_transaction_are_counted_together",)
_AFTER = (_OF + "test_it_holds_after_a_fail_over_a_restart_a_heal_and_a_restore",)
_WRONG = (_OF + "test_a_wrong_size_is_found_by_a_scrub_and_healed",)
_METRICS = (_OF + "test_metrics_tell_in_which_gigabyte_a_collection_is",)
_LOADED = ("tests/unit/btree/test_index_rows.py",)
_KEYS = ("tests/unit/items/test_local_index.py",)
_LIMITING = "storage/replica/collection_limit.py"
_APPLY = "storage/replica/apply.py"

MUTANTS = (
    Mutant("collection-limit-missed-by-one", _LIMITING, "self._size + grown > self._limit", "self._size + grown > self._limit + 1", _LIMIT),
    Mutant("collection-limit-one-too-early", _LIMITING, "self._size + grown > self._limit", "self._size + grown >= self._limit", _LIMIT),
    Mutant("collection-that-does-not-grow-refused", _LIMITING, "if grown > 0 and self", "if self", _SMALLER),
    Mutant("collection-never-near", _LIMITING, "ITEM_ENCODED_BYTES_MAX > self._limit", "ITEM_ENCODED_BYTES_MAX < 0", _LIMIT),
    Mutant("collection-of-a-blind-put", "storage/replica/term.py", "and (limit is None or not limit.near)", "and True", _LIMIT),
    Mutant("collection-parts-counted-alone", _LIMITING, "        self._size += grown\n", "", _PARTS),
    Mutant("collection-full-in-a-batch-comes-back", "storage/api/operations/batch.py", "        if full is not None:", "        if False:", _NAMES),
    Mutant("collection-full-is-a-fault-of-ours", "storage/api/operations/items.py", "if failure.code == COLLECTION_FULL:", "if False:", _NAMES),
    Mutant("collection-full-is-no-reason", "storage/api/operations/transactions.py", "if failure.code == COLLECTION_FULL:", "if False:", _NAMES),
    Mutant("collection-of-nothing-stays", _APPLY, "encode_size(whole) if whole > 0 else None", "encode_size(whole)", _LIMIT),
    Mutant("collection-grows-by-its-items-alone", "storage/items/local_index.py", "(0 if item is None else len(item)) + sum(map(len, rows))", "0 if item is None else len(item)", _LIMIT),
    Mutant("collection-not-loaded", "storage/btree/index_rows.py", "        if size is not None:\n            self._held", "        if False:\n            self._held", _AFTER),
    Mutant("collection-not-derived-for-a-scrub", "storage/btree/index_rows.py", "    add(collections.finish())\n    return tally", "    return tally", _WRONG),
    Mutant("collection-not-named-by-a-scrub", "scrubber/jobs.py", "        add(collections.finish())\n    return", "        pass\n    return", _WRONG),
    Mutant("collection-runs-into-the-next", "storage/btree/index_rows.py", "self._last, self._size = None, 0", "self._last = None", _LOADED),
    Mutant("collection-among-the-rows-of-an-index", "storage/items/local_index.py", "SIZE_NUMBER = 0", "SIZE_NUMBER = 1", _KEYS),
    Mutant("collection-estimate-of-the-table", "storage/api/item_collections.py", "if isinstance(answer, ReadAnswer):", "if False:", _METRICS),
    Mutant("collection-estimate-below", "storage/api/item_collections.py", "return [float(whole), float(whole + 1)]", "return [0.0, float(whole)]", _METRICS),
    Mutant("collection-size-unknown-is-none", "storage/api/item_collections.py", "stats.bytes + sum(size for _, size in stats.indexes)", "0", _METRICS),
)  # fmt: skip
