"""Mutants of local secondary indexes: keys, derivation, scrub, reads, words."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

ITEMS = "storage/items/local_index.py"
UNIT = "tests/unit/items/test_local_index.py"
WHOLE = "tests/unit/control/test_local_indexes.py"
API = "tests/contract/api/test_local_indexes.py"
SCRUB = f"{WHOLE}::test_a_scrub_finds_an_index_row_that_is_not_its_items_and_heals_the_copy"

MUTANTS: list[Mutant] = [
    Mutant(
        "index-key-ungrouped",
        ITEMS,
        "entry_prefix(key[:HASH_BYTES], number) + grouped(sort_bytes(value)) + tail",
        "entry_prefix(key[:HASH_BYTES], number) + sort_bytes(value) + tail",
        (f"{UNIT}::test_bounds_hold_what_a_condition_asks_for",),
    ),
    Mutant(
        "index-key-tail-cut",
        ITEMS,
        'sort[: limit - 16] + xxhash.xxh3_128_digest(sort) + b"\\xff"',
        'sort[: limit - 16] + b"\\xff"',
        (f"{UNIT}::test_keys_that_differ_behind_what_is_kept_of_them_are_two",),
    ),
    Mutant(
        "index-key-binary-short",
        ITEMS,
        " if self._binary else key",
        " if False else key",
        (f"{UNIT}::test_a_key_of_any_length_fits_a_tree_and_no_item_has_it",),
    ),
    Mutant(
        "index-row-of-empty-key",
        ITEMS,
        "            if value[1] and value_size(value) <= SORT_KEY_BYTES_MAX:\n",
        "            if value_size(value) <= SORT_KEY_BYTES_MAX:\n",
        (f"{UNIT}::test_an_item_without_the_key_is_not_in_the_index",),
    ),
    Mutant(
        "index-row-of-other-type",
        ITEMS,
        "            if wrapped is None or index.sort.type not in wrapped:\n                continue\n            value = (index.sort.type, wrapped[index.sort.type])\n",
        "            if wrapped is None:\n                continue\n            value = next(iter(wrapped.items()))\n",
        (f"{UNIT}::test_an_item_without_the_key_is_not_in_the_index",),
    ),
    Mutant(
        "index-rows-stay",
        "storage/replica/apply.py",
        "            if at not in come:\n                self._replica.overlay.put(at, record.lsn, record.stamp, None)\n",
        "            pass\n",
        (f"{WHOLE}::test_answers_are_those_of_a_plain_model[S]",),
    ),
    Mutant(
        "index-rows-not-derived-at-load",
        "storage/btree/index_rows.py",
        "    if local is None:\n        yield from blocks\n",
        "    if local is None or True:\n        yield from blocks\n",
        (f"{WHOLE}::test_a_restore_derives_the_indexes_that_are_asked_for[None]",),
    ),
    Mutant(
        "index-rows-not-scrubbed",
        "scrubber/passes.py",
        "        truth = reference.whole if reference is not None else None\n",
        "        truth = reference.digest if reference is not None else None\n",
        (f"{WHOLE}::test_answers_are_those_of_a_plain_model[S]",),
    ),
    Mutant(
        "index-rows-of-copies-not-scrubbed",
        "storage/node/pins.py",
        "if found.entries else",
        "if False else",
        (f"{SCRUB}[missing]",),
    ),
    Mutant(
        "index-rows-in-the-state-digest",
        "storage/btree/memory_engine.py",
        "                    if indexed and is_entry(key, item):\n",
        "                    if False:\n",
        (f"{WHOLE}::test_a_restore_derives_the_indexes_that_are_asked_for[None]",),
    ),
    Mutant(
        "index-row-of-nothing-served",
        "storage/replica/reads.py",
        '            raise Corrupt("an index row is of no item", what="row", key=key)\n',
        "            return item_bytes(value)\n",
        (f"{WHOLE}::test_an_index_row_of_no_item_is_found_as_it_is_read",),
    ),
    Mutant(
        "index-scan-stops-where-it-looked",
        "storage/replica/reads.py",
        "replica.applied, resume if more else None)",
        "replica.applied, rows[-1][0] if rows else None)",
        (f"{WHOLE}::test_a_scan_of_a_sparse_index_goes_on_where_it_looked",),
    ),
    Mutant(
        "items-with-index-rows",
        "storage/replica/reads.py",
        "            if entry != (index > 0) or (entry and key[NUMBER_AT] != index):\n",
        "            if index > 0 and (not entry or key[NUMBER_AT] != index):\n",
        (f"{WHOLE}::test_answers_are_those_of_a_plain_model[B]",),
    ),
    Mutant(
        "tree-for-all-adopted",
        "storage/node/healing.py",
        "        if replica.local is not None:\n            raise Missing(",
        "        if False:\n            raise Missing(",
        (f"{WHOLE}::test_a_tree_made_for_all_copies_is_not_taken_by_a_table_with_indexes",),
    ),
    Mutant(
        "index-key-updated-unchecked",
        "storage/commands/evaluate.py",
        "        indexes.check_updated(new)\n",
        "        pass\n",
        (f"{API}::test_what_cannot_be_a_key_of_an_index_is_not_written",),
    ),
    Mutant(
        "index-key-put-unchecked",
        "storage/api/operations/items.py",
        "        indexes.check_put(item)\n",
        "        pass\n",
        (f"{API}::test_what_cannot_be_a_key_of_an_index_is_not_written",),
    ),
    Mutant(
        "moved-row-counted-once",
        "storage/api/capacity.py",
        "    if row.moved:\n",
        "    if False:\n",
        (f"{API}::test_capacity_of_writes",),
    ),
    Mutant(
        "fetched-not-counted",
        "storage/api/operations/paged.py",
        "        units.table += sum([read_units(size, consistent=consistent) for size in page.fetched])\n",
        "        pass\n",
        (f"{API}::test_capacity_of_reads",),
    ),
    Mutant(
        "local-filter-unchecked",
        "storage/api/index_reads.py",
        "    if by_key:\n        check_filter(view, name, condition)\n",
        "",
        (f"{API}::test_a_query_filters_by_what_the_index_has_whatever_it_shows",),
    ),
    Mutant(
        "local-filter-sees-the-item",
        "storage/api/pages.py",
        "condition.evaluate(item if fetched is None or item is None else fetched.projected(item))",
        "condition.evaluate(item)",
        (f"{API}::test_a_scan_filters_by_what_its_rows_have",),
    ),
    Mutant(
        "last-key-without-the-index",
        "storage/api/index_reads.py",
        "names = [key.partition.name, key.sort.name] + ([] if index is None else [index.sort.name])",
        "names = [key.partition.name, key.sort.name]",
        (f"{API}::test_pages_go_on_from_the_keys_of_index_and_table",),
    ),
    Mutant(
        "override-invents-an-index",
        "storage/api/index_definitions.py",
        'and given == info["Projection"]]',
        "]",
        (f"{API}::test_a_backup_tells_of_the_indexes_and_a_restore_takes_those_that_are_named",),
    ),
    Mutant(
        "items-asked-for-without-an-index",
        "storage/replica/reads.py",
        "if request.index is None and replica.local is None else",
        "if request.index is None else",
        (f"{WHOLE}::test_answers_are_those_of_a_plain_model[S]",),
    ),
    Mutant(
        "local-index-updated",
        "storage/api/index_updates.py",
        "        if name in local:\n",
        "        if False:\n",
        (f"{API}::test_a_local_index_is_not_changed",),
    ),
]
