"""Cases: what is refused, in whose words: (operation, request, error, message) as real DynamoDB answers. Sources: docs/API.md."""

from __future__ import annotations

from tests.contract.api.item_cases import BATCHES, DELETES, NAMES, PUTS, READS, UPDATES, S, get, put, query
from tests.contract.api.recovery_cases import RECOVERY
from tests.contract.api.table_cases import INDEX_UPDATES, TABLES, TAGS, table

SHAPES = [
    (("PutItem", {"TableName": 5, "Item": {}}), S, "NUMBER_VALUE cannot be converted to String"),
    (("PutItem", {"TableName": ["a"], "Item": {}}), S, "Unrecognized collection type class java.lang.String"),
    (("PutItem", {"TableName": {"a": 1}, "Item": {}}), S, "Start of structure or map found where not expected"),
    (("PutItem", {"TableName": "hash", "Item": "x"}), S, "Unexpected field type"),
    (
        ("PutItem", {"TableName": "hash", "Item": []}),
        S,
        "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>",
    ),
    (put(item={"pk": "x"}), S, "Unexpected value type in payload"),
    (put(item={"pk": {"S": True}}), S, "TRUE_VALUE cannot be converted to String"),
    (put(item={"pk": {"B": "23456"}}), S, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
    (put(item={"pk": {"SS": "x"}}), S, "Unexpected field type"),
    (put(item={"pk": {"BOOL": "maybe"}}), S, "Unexpected token received from parser"),
    (put("", item={"pk": {"S": 5}}), S, "NUMBER_VALUE cannot be converted to String"),
    (put(item={"pk": {"N": "abc"}, "x": {"S": 5}}), S, "NUMBER_VALUE cannot be converted to String"),
    (get(ConsistentRead="maybe"), S, "Unexpected token received from parser"),
    (query(Limit="1"), S, "STRING_VALUE cannot be converted to Integer"),
    (query(ExpressionAttributeNames="x"), S, "Unexpected field type"),
    (table(KeySchema="x"), S, "Unexpected field type"),
    (table(KeySchema=["x"]), S, "Unexpected value type in payload"),
    (table(ProvisionedThroughput={"ReadCapacityUnits": "1"}), S, "STRING_VALUE cannot be converted to Long"),
    (("ListTables", []), S, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.ListTablesInput"),
]


def case_id(value: object) -> str | None:
    """The operation of a case, as the name of its test."""
    return value[0] if isinstance(value, tuple) else None


CASES = PUTS + UPDATES + DELETES + READS + BATCHES + TABLES + NAMES + TAGS + INDEX_UPDATES + RECOVERY + SHAPES


TABLE_KEYS = {"hash": ("pk:S", None), "composite": ("pk:S", "sk:S"), "numeric": ("pk:S", "sk:N"), "binary": ("pk:B", None)}
"""The tables the cases speak of: partition and sort key."""
