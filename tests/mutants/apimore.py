"""Mutants of what the API says as it was recorded of the service: quotas, payloads, empty structures, what is shown and in which order."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

RECORDED = "tests/contract/api/test_recorded_answers.py"
THROUGHPUT = "storage/api/throughput.py"
TABLES = "storage/api/operations/tables.py"
INDEXES = "storage/api/index_updates.py"
TRANSACTIONS = "storage/api/operations/transactions.py"
DESCRIBED = "storage/api/describe.py"
TABLE_QUOTA = f"{RECORDED}::test_a_table_has_at_most_the_quota_of_an_account"
INDEX_QUOTA = f"{RECORDED}::test_an_index_has_at_most_the_quota_of_an_account"
REFUSED = f"{RECORDED}::test_refused_as_recorded"
PAYLOAD = f"{RECORDED}::test_a_transaction_brings_at_most_four_megabytes"
CEILINGS = f"{RECORDED}::test_a_ceiling_that_is_not_asked_for_stays_and_one_that_is_taken_away_is_shown_no_more"
FIRST = f"{RECORDED}::test_what_is_told_first_of_an_action"
BUSY = f"{RECORDED}::test_only_some_changes_keep_a_table_busy"
WARM = f"{RECORDED}::test_what_is_to_be_warm_is_shown_once_it_is"
COLDER = f"{RECORDED}::test_a_table_and_an_index_get_no_colder"
RESTORING = f"{RECORDED}::test_a_table_that_is_being_restored_is_not_there_yet"
BACKED = f"{RECORDED}::test_it_has_no_backups_either"
TAKEN = f"{RECORDED}::test_but_its_name_is_taken_and_it_is_described"

MUTANTS: list[Mutant] = [
    Mutant(
        "quota-of-units",
        THROUGHPUT,
        "        if value > most:\n            raise",
        "        if value > most + 1:\n            raise",
        (TABLE_QUOTA,),
    ),
    Mutant("quota-of-ceilings", THROUGHPUT, "            if value > most:", "            if value > most + 1:", (TABLE_QUOTA,)),
    Mutant("quota-of-a-new-table", TABLES, "    check_quotas_of(call, spec)\n", "", (TABLE_QUOTA,)),
    Mutant("quota-of-a-table-changed", TABLES, "    _check_update_quotas(call, change, indexes)\n", "", (TABLE_QUOTA,)),
    Mutant(
        "quota-of-a-new-index-later",
        TABLES,
        "        check_quotas(call.api.region, made.throughput, made.on_demand, made.warm, index=made.name)",
        "        pass",
        (INDEX_QUOTA,),
    ),
    Mutant(
        "quota-of-an-index",
        TABLES,
        "        check_quotas(call.api.region, index.throughput, index.on_demand, index.warm, index=index.name)",
        "        pass",
        (INDEX_QUOTA,),
    ),
    Mutant("payload-of-updates", TRANSACTIONS, "    check_payload(call, (action.size for action in actions))\n", "", (PAYLOAD,)),
    Mutant(
        "payload-of-statements",
        "storage/api/operations/statement_transactions.py",
        '    check_payload(call, map(_size, parts, call.raw["TransactStatements"]))\n',
        "",
        (PAYLOAD,),
    ),
    Mutant(
        "empty-index-key-in-a-transaction",
        TRANSACTIONS,
        "    if _EMPTY_KEY in message:",
        "    if message.startswith(_EMPTY_KEY):",
        (f"{RECORDED}::test_an_empty_key_of_an_index_is_a_fault_of_the_whole_transaction",),
    ),
    Mutant(
        "message-beside-an-item",
        "storage/api/errors.py",
        'extra={"Item": item}, message_member="Message")',
        'extra={"Item": item})',
        (f"{RECORDED}::test_a_failed_condition_that_shows_its_item_says_so_in_another_member",),
    ),
    Mutant("ceilings-not-asked-for", THROUGHPUT, "else (now.read, now.write)", "else (-1, -1)", (CEILINGS,)),
    Mutant("ceilings-taken-away", DESCRIBED, " for name, value in given if value != -1}", " for name, value in given}", (CEILINGS,)),
    Mutant("ceilings-answered", TABLES, "                **_ceilings_asked(description, data),\n", "", (CEILINGS,)),
    Mutant("warm-of-nothing", TABLES, '    check_warm_of_indexes(data.get("GlobalSecondaryIndexUpdates"))\n', "", (REFUSED,)),
    Mutant(
        "update-of-an-index-of-nothing",
        INDEXES,
        'or not (asked.get("OnDemandThroughput") or asked.get("WarmThroughput"))',
        "or False",
        (f"{RECORDED}::test_an_update_of_an_index_says_what_is_to_change",),
    ),
    Mutant(
        "empty-throughput-is-a-change",
        TABLES,
        '_EMPTY_IS_NONE = ("WarmThroughput", "OnDemandThroughput")',
        "_EMPTY_IS_NONE = ()",
        (f"{RECORDED}::test_empty_throughput_beside_a_change_is_as_good_as_none",),
    ),
    Mutant(
        "attributes-as-sent",
        DESCRIBED,
        "in sorted(meta.shown_attributes)]",
        "in meta.shown_attributes]",
        (f"{RECORDED}::test_attributes_are_shown_by_name_and_indexes_as_they_were_asked_for",),
    ),
    Mutant(
        "projected-as-sent",
        DESCRIBED,
        'projection["NonKeyAttributes"] = sorted(attributes)',
        'projection["NonKeyAttributes"] = list(attributes)',
        (f"{RECORDED}::test_attributes_are_shown_by_name_and_indexes_as_they_were_asked_for",),
    ),
    Mutant(
        "warmth-of-a-new-table",
        TABLES,
        '        del description["WarmThroughput"]\n',
        "        pass\n",
        (f"{RECORDED}::test_a_new_table_tells_of_its_warmth_where_that_was_asked_for",),
    ),
    Mutant("nameless-after-values", "storage/items/wire.py", '    if "" in obj:', "    if False:", (FIRST,)),
    Mutant(
        "key-before-expressions",
        TRANSACTIONS,
        '    item = item_from_json(body["Item"]) if kind == "Put" else {}\n',
        '    item = item_from_json(body["Item"]) if kind == "Put" else item_from_json(body["Key"], "Key")\n',
        (FIRST,),
    ),
    Mutant("size-of-an-update", "storage/items/expressions/lexer.py", 'if kind == "UpdateExpression" else', "if False else", (FIRST,)),
    Mutant("busy-with-all-changes", TABLES, "    busy = any(member in data for member in _TAKES_TIME)", "    busy = bool(change)", (BUSY,)),
    Mutant("warm-at-once-in-the-answer", TABLES, "                **_warm_before(before, data),\n", "", (WARM,)),
    Mutant(
        "index-busy-with-warmth",
        TABLES,
        '        if set(update) != {"IndexName", "WarmThroughput"}:',
        "        if update:",
        (WARM,),
    ),
    Mutant("table-gets-colder", TABLES, '    if "throughput" in change:\n        warm =', "    if False:\n        warm =", (COLDER,)),
    Mutant("index-gets-colder", INDEXES, "    _keep_warm(meta, billing, changes)\n", "", (COLDER,)),
    Mutant("restoring-is-changed", TABLES, "    if is_restoring(meta) and not restoring:", "    if False:", (RESTORING,)),
    Mutant(
        "restoring-is-not-described",
        TABLES,
        "    meta = find_table(call, name, restoring=True)\n    if is_settling(meta):",
        "    meta = find_table(call, name)\n    if is_settling(meta):",
        (TAKEN,),
    ),
    Mutant("restoring-has-backups", "storage/api/operations/backups.py", "    if is_restoring(meta):", "    if False:", (BACKED,)),
    Mutant(
        "restoring-has-tags",
        "storage/api/operations/tags.py",
        "    if meta is None or (meta.restore_of is not None and meta.restore_of.in_progress):",
        "    if meta is None:",
        (f"{RECORDED}::test_it_has_no_tags_either",),
    ),
    Mutant("restoring-name-exists", TABLES, "if there is not None and is_restoring(there) else", "if False else", (TAKEN,)),
]
