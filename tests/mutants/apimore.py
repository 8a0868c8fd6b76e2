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
]
