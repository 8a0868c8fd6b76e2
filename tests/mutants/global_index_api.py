"""Mutants of global secondary indexes at the API: their rows' keys, what may be written, how they are read, changed, counted and described."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

ROWS = "storage/items/global_index.py"
KEYS = "storage/items/index_keys.py"
READS = "storage/api/index_reads.py"
MADE = "storage/api/index_definitions.py"
CHANGED = "storage/api/index_updates.py"
UNIT = "tests/unit/items/test_global_index.py"
ASKED = "tests/unit/items/test_index_keys.py"
API = "tests/contract/api/test_global_indexes.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "global-row-ungrouped",
        ROWS,
        "MARK, *[grouped(sort_bytes(value)) for value in sorted_]",
        "MARK, *[sort_bytes(value) for value in sorted_]",
        (f"{UNIT}::test_rows_of_one_hash_value_lie_together_in_the_order_of_every_sort_attribute",),
    ),
    Mutant(
        "global-row-of-no-item",
        ROWS,
        " + key[:HASH_BYTES] + tail_of(",
        " + tail_of(",
        (f"{UNIT}::test_items_with_equal_index_keys_have_a_row_each",),
    ),
    Mutant(
        "global-row-unmarked",
        ROWS,
        'MARK = b"\\x01"\n',
        'MARK = b"\\x00"\n',
        (f"{UNIT}::test_golden_rows",),
    ),
    Mutant(
        "global-row-too-long",
        ROWS,
        "        if sum(map(value_size, hashed)) > PARTITION_KEY_BYTES_MAX or sum(map(value_size, sorted_)) > SORT_KEY_BYTES_MAX:\n",
        "        if sum(map(value_size, hashed)) > PARTITION_KEY_BYTES_MAX:\n",
        (f"{UNIT}::test_attributes_of_a_key_are_not_too_long_together",),
    ),
    Mutant(
        "global-row-of-an-empty-key",
        ROWS,
        "        if wrapped is None or not wrapped.get(attribute.type):\n",
        "        if wrapped is None or attribute.type not in wrapped:\n",
        (f"{UNIT}::test_an_item_without_all_key_attributes_has_no_row",),
    ),
    Mutant(
        "index-keys-without-global-ones",
        KEYS,
        "        keys += [\n",
        "        _ = [\n",
        (f"{API}::test_what_cannot_be_a_key_of_an_index_is_not_written",),
    ),
    Mutant(
        "index-keys-of-one-that-goes",
        KEYS,
        ' if index.status != "DELETING"\n',
        "\n",
        (f"{ASKED}::test_an_index_that_is_being_removed_asks_for_nothing",),
    ),
    Mutant(
        "index-key-lengths-apart",
        "storage/items/keys.py",
        "    if sum([value_size(item[one.name]) for one in key.sort if one.name in item]) > SORT_KEY_BYTES_MAX:\n",
        "    if max([value_size(item[one.name]) for one in key.sort if one.name in item], default=0) > SORT_KEY_BYTES_MAX:\n",
        (f"{ASKED}::test_a_key_is_no_longer_than_a_tables_all_its_attributes_together",),
    ),
    Mutant(
        "global-read-strong",
        READS,
        '    if data.get("ConsistentRead"):\n',
        "    if False:\n",
        (f"{API}::test_reads_that_are_refused",),
    ),
    Mutant(
        "global-read-of-what-is-not-there",
        READS,
        "    return [name for name in dict.fromkeys([str(path[0]) for path in named.paths]) if not rows.holds([name])]\n",
        "    return []\n",
        (f"{API}::test_reads_that_are_refused",),
    ),
    Mutant(
        "global-read-while-filled",
        READS,
        '    if table is None or index.status == "CREATING":\n',
        "    if table is None:\n",
        (f"{API}::test_an_index_is_made_of_a_table_that_is_there_and_removed_again",),
    ),
    Mutant(
        "global-start-key-of-more",
        READS,
        "        if set(key) != set(self.rows.key_names):\n",
        "        if False:\n",
        (f"{API}::test_starting_keys_that_are_refused",),
    ),
    Mutant(
        "global-start-key-anywhere",
        "storage/api/operations/query.py",
        "    if elsewhere and not sorts:\n",
        "    if False:\n",
        (f"{API}::test_starting_keys_that_are_refused",),
    ),
    Mutant(
        "start-key-hash-before-sort",
        "storage/api/operations/query.py",
        "    if elsewhere and not sorts:\n",
        "    if elsewhere:\n",
        ("tests/contract/api/test_local_indexes.py::test_requests_that_are_refused",),
    ),
    Mutant(
        "key-condition-with-a-gap",
        "storage/items/expressions/keycondition.py",
        '    if any(conditions[attribute.name].operator != "=" for attribute in (*parts.hash, *sorts[:-1])):\n',
        '    if any(conditions[attribute.name].operator != "=" for attribute in parts.hash):\n',
        (f"{API}::test_reads_that_are_refused",),
    ),
    Mutant(
        "key-condition-of-a-part",
        "storage/items/expressions/keycondition.py",
        "    given = attributes[: max(len(conditions), len(parts.hash))]\n",
        "    given = attributes[: len(conditions)]\n",
        (f"{API}::test_reads_that_are_refused",),
    ),
    Mutant(
        "global-read-charged-to-the-table",
        "storage/api/operations/paged.py",
        "        add(units.global_, view.definition.name, read)\n",
        "        units.table += read\n",
        (f"{API}::test_capacity_of_reads",),
    ),
    Mutant(
        "global-rows-not-charged",
        "storage/api/capacity.py",
        "                add(self.global_, index.name, _row_units(touched))\n",
        "                pass\n",
        (f"{API}::test_capacity_of_writes",),
    ),
    Mutant(
        "global-indexes-beyond-the-limit",
        MADE,
        "    if len(global_ or ()) > limits.GLOBAL_INDEXES_MAX:\n",
        "    if False:\n",
        (f"{API}::test_definitions_that_are_refused",),
    ),
    Mutant(
        "global-key-of-five",
        MADE,
        "        if kinds.count(kind) > limits.KEY_PARTS_MAX:\n",
        "        if False:\n",
        (f"{API}::test_definitions_that_are_refused",),
    ),
    Mutant(
        "restore-of-another-index",
        MADE,
        'if one.get("KeySchema") == info["KeySchema"] and given == info["Projection"]]',
        'if given == info["Projection"]]',
        (f"{API}::test_a_backup_tells_of_the_indexes_and_a_restore_takes_those_that_are_named",),
    ),
    Mutant(
        "restore-keeps-definitions",
        MADE,
        '    changed["attributes"] = used_attributes(result)\n',
        "",
        (f"{API}::test_a_backup_tells_of_the_indexes_and_a_restore_takes_those_that_are_named",),
    ),
    Mutant(
        "two-indexes-at-once",
        CHANGED,
        '        elif index.status in ("CREATING", "DELETING"):\n',
        "        elif False:\n",
        (f"{API}::test_an_index_is_made_of_a_table_that_is_there_and_removed_again",),
    ),
    Mutant(
        "index-made-beside-anything",
        CHANGED,
        "        if data.get(member) is not None:\n",
        "        if False:\n",
        (f"{API}::test_updates_that_are_refused",),
    ),
    Mutant(
        "billed-otherwise-without-the-indexes",
        CHANGED,
        '        elif "throughput" not in here:\n',
        "        elif False:\n",
        (f"{API}::test_a_table_that_is_billed_otherwise_takes_its_indexes_along",),
    ),
    Mutant(
        "table-gone-from-under-an-index",
        "storage/api/operations/tables.py",
        "    check_indexes_settled(meta)\n",
        "",
        (f"{API}::test_an_index_is_made_of_a_table_that_is_there_and_removed_again",),
    ),
    Mutant(
        "key-under-another-type",
        CHANGED,
        "    _check_same_types(asked, data, meta)\n",
        "",
        (f"{API}::test_updates_that_are_refused",),
    ),
    Mutant(
        "table-defined-anew",
        CHANGED,
        'known.setdefault(one["AttributeName"], one["AttributeType"])',
        'known[one["AttributeName"]] = one["AttributeType"]',
        (f"{API}::test_what_is_no_key_of_the_new_index_is_not_defined_anew",),
    ),
    Mutant(
        "sort-attributes-skipped-in-other-words",
        "storage/items/expressions/keycondition.py",
        "        _check_from_the_left([one.name for one in parts.sort], conditions)\n",
        "        pass\n",
        (f"{API}::test_reads_that_are_refused",),
    ),
    Mutant(
        "absent-indexes-told-before-their-number",
        CHANGED,
        "    if len(online) > 1:\n        raise errors.limit_exceeded(_ONE_AT_A_TIME)\n    _check_known(asked, meta)\n",
        "    _check_known(asked, meta)\n    if len(online) > 1:\n        raise errors.limit_exceeded(_ONE_AT_A_TIME)\n",
        (f"{API}::test_updates_that_are_refused",),
    ),
    Mutant(
        "warm-may-cool",
        "storage/api/throughput.py",
        "        if value >= floor:\n",
        "        if True:\n",
        (f"{API}::test_table_warm_throughput_is_kept_and_never_less",),
    ),
    Mutant(
        "restored-before-its-indexes",
        "storage/api/describe.py",
        "(meta.restore_of.in_progress or brings_indexes(meta))",
        "meta.restore_of.in_progress",
        ("tests/unit/control/test_global_indexes.py::test_a_restore_builds_the_indexes_that_the_new_table_has",),
    ),
    Mutant(
        "every-index-came-with-the-table",
        "storage/catalogue.py",
        " and index.created_at <= self.published_at",
        "",
        ("tests/unit/control/test_global_indexes.py::test_a_restore_builds_the_indexes_that_the_new_table_has",),
    ),
]
