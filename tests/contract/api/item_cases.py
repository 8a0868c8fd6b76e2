"""Cases of the item operations (see error_cases), and how their requests are written."""

from __future__ import annotations

from typing import Any

ONE = "1 validation error detected: "
INVALID = "One or more parameter values were invalid: "
NO_MATCH = "The provided key element does not match the schema"
EMPTY_KEY = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {} value. Key: pk"
NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
NEST = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
RCC = "Value 'BOGUS' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
RICM = "Value 'BOGUS' at 'returnItemCollectionMetrics' failed to satisfy constraint: Member must satisfy enum value set: [SIZE, NONE]"
RV_NEW = "Failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
RV_OLD = (
    "Value 'BOGUS' at 'returnValues' failed to satisfy constraint: "
    "Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
)
NO_NAME = "Value null at 'tableName' failed to satisfy constraint: Member must not be null"
SHORT_NAME = "Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1"
PATTERN = "failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
MIXED = "Can not use both expression and non-expression parameters in the same request: "
PK = {"pk": {"S": "a"}}
EQUALS = {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}
CK = {"pk": {"S": "a"}, "sk": {"S": "b"}}


def deep(levels: int) -> Any:
    value: Any = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


def put(table: str = "hash", item: Any = PK, **more: Any) -> tuple[str, dict[str, Any]]:
    return "PutItem", {"TableName": table, "Item": item, **more}


def update(table: str = "hash", key: Any = PK, **more: Any) -> tuple[str, dict[str, Any]]:
    return "UpdateItem", {"TableName": table, "Key": key, **more}


def delete(table: str = "hash", key: Any = PK, **more: Any) -> tuple[str, dict[str, Any]]:
    return "DeleteItem", {"TableName": table, "Key": key, **more}


def get(table: str = "hash", key: Any = PK, **more: Any) -> tuple[str, dict[str, Any]]:
    return "GetItem", {"TableName": table, "Key": key, **more}


def query(table: str = "composite", **more: Any) -> tuple[str, dict[str, Any]]:
    base: dict[str, Any] = {"TableName": table}
    if not {"KeyConditions", "KeyConditionExpression"} & set(more):
        base |= {"KeyConditionExpression": "pk = :p"}
        more["ExpressionAttributeValues"] = {":p": {"S": "a"}, **more.get("ExpressionAttributeValues", {})}
    return "Query", base | more


def scan(table: str = "hash", **more: Any) -> tuple[str, dict[str, Any]]:
    return "Scan", {"TableName": table, **more}


def batch_write(*requests: Any, table: str = "hash", **more: Any) -> tuple[str, dict[str, Any]]:
    return "BatchWriteItem", {"RequestItems": {table: list(requests)}, **more}


def batch_get(*keys: Any, table: str = "hash", **more: Any) -> tuple[str, dict[str, Any]]:
    return "BatchGetItem", {"RequestItems": {table: {"Keys": list(keys), **more}}}


V = "ValidationException"
N = "ResourceNotFoundException"
S = "SerializationException"
GONE = "Requested resource not found"

PUTS = [
    (("PutItem", {"Item": PK}), V, ONE + NO_NAME),
    (put(""), V, ONE + SHORT_NAME),
    (put("", ReturnValues="BOGUS"), V, ONE + SHORT_NAME),
    (
        put("a" * 256),
        V,
        f"{ONE}Value '{'a' * 256}' at 'tableName' failed to satisfy constraint: Member must have length less than or equal to 255",
    ),
    (put("bad table!@#"), V, f"{ONE}Value 'bad table!@#' at 'tableName' {PATTERN}"),
    (
        put(ReturnConsumedCapacity="BOGUS", ReturnValues="BOGUS", ReturnItemCollectionMetrics="BOGUS"),
        V,
        f"3 validation errors detected: {RCC}; {RV_NEW}; {RICM}",
    ),
    (put("absent"), N, GONE),
    (put(item={"other": {"S": "x"}}), V, INVALID + "Missing the key pk in the item"),
    (put(item={"pk": {"N": "1"}}), V, INVALID + "Type mismatch for key pk expected: S actual: N"),
    (put(item={"pk": {"S": ""}}), V, EMPTY_KEY.format("string")),
    (put("binary", {"pk": {"B": ""}}), V, EMPTY_KEY.format("binary")),
    (put(item={**PK, "x": {"SS": []}}), V, ONE + INVALID + "An string set  may not be empty"),
    (put(item={**PK, "x": {"NS": []}}), V, ONE + INVALID + "An number set  may not be empty"),
    (put(item={**PK, "x": {"BS": []}}), V, ONE + INVALID + "Binary sets should not be empty"),
    (put(item={**PK, "x": {"NULL": False}}), V, ONE + INVALID + "Null attribute value types must have the value of true"),
    (put(item={**PK, "x": {"SS": ["b", "a", "b"]}}), V, ONE + INVALID + 'Input collection ["a", "b", "b"] contains duplicates.'),
    (put(item={**PK, "x": {"NS": ["2", "1", "2"]}}), V, ONE + INVALID + "Input collection contains duplicates."),
    (
        put(item={**PK, "x": {"BS": ["/w==", "AA==", "AA=="]}}),
        V,
        ONE + INVALID + 'Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.',
    ),
    (put(item={**PK, "x": {"N": "abc"}}), V, f"{ONE}{NOT_NUMERIC}: abc"),
    (put(item={**PK, "x": {"N": ""}}), V, f"{ONE}{NOT_NUMERIC}: "),
    (put(item={**PK, "x": {"N": " 1"}}), V, f"{ONE}{NOT_NUMERIC}:  1"),
    (put(item={**PK, "x": {"N": "1e126"}}), V, ONE + OVERFLOW),
    (put(item={**PK, "x": {"N": "1e2147483647"}}), V, ONE + OVERFLOW),
    (put(item={**PK, "x": {"N": "1e-131"}}), V, ONE + UNDERFLOW),
    (put(item={**PK, "x": {"N": "1" * 39}}), V, ONE + "Attempting to store more than 38 significant digits in a Number"),
    (put(item={**PK, "x": {}}), V, ONE + "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
    (
        put(item={**PK, "x": {"S": "a", "N": "1"}}),
        V,
        ONE + "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
    ),
    (put(item={**PK, "x": deep(32)}), V, ONE + NEST),
    (put(item={**PK, "x": {"S": "x" * 409_600}}), V, ONE + "Item size has exceeded the maximum allowed size"),
    (put(ReturnValues="ALL_NEW"), V, ONE + "ReturnValues can only be ALL_OLD or NONE"),
    (
        put(Expected={"pk": {"Exists": False}}, ConditionExpression="attribute_not_exists(pk)"),
        V,
        f"{ONE}{MIXED}Non-expression parameters: {{Expected}} Expression parameters: {{ConditionExpression}}",
    ),
    (put(ExpressionAttributeValues={":v": {"S": "x"}}), V, ONE + "ExpressionAttributeValues can only be specified when using expressions"),
    (put(ExpressionAttributeNames={"#a": "a"}), V, ONE + "ExpressionAttributeNames can only be specified when using expressions"),
    (put(ConditionExpression=""), V, ONE + "Invalid ConditionExpression: The expression can not be empty;"),
    (
        put(ConditionExpression="((attribute_not_exists(pk)))"),
        V,
        ONE + "Invalid ConditionExpression: The expression has redundant parentheses;",
    ),
    (
        put(ConditionExpression="contains(#a, #a)", ExpressionAttributeNames={"#a": "data"}),
        V,
        ONE + "Invalid ConditionExpression: The first operand must be distinct from the remaining operands for this operator or function; "
        "operator: contains, first operand: [data]",
    ),
    (put(ConditionExpression="a = :v", ExpressionAttributeValues={":v": {"N": "abc"}}), V, f"{ONE}{NOT_NUMERIC}: abc"),
    (put(Expected={"n": {"Value": {"N": "abc"}}}), V, f"{ONE}{NOT_NUMERIC}: abc"),
    (put(Expected={"a": {"Exists": True}}), V, ONE + INVALID + "Value must be provided when Exists is true for Attribute: a"),
    (
        put(Expected={"a": {"ComparisonOperator": "EQ"}}),
        V,
        ONE + INVALID + "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
    ),
    (
        put(Expected={"a": {"Value": {"S": "x"}}}, ConditionalOperator="AND"),
        V,
        ONE + "ConditionalOperator can only be used when Filter or Expected has two or more elements",
    ),
    (put(ConditionalOperator="AND"), V, ONE + "ConditionalOperator cannot be used without Filter or Expected"),
    (
        put(ConditionalOperator="AND", ConditionExpression="attribute_exists(pk)"),
        V,
        f"{ONE}{MIXED}Non-expression parameters: {{ConditionalOperator}} Expression parameters: {{ConditionExpression}}",
    ),
    (put(item={**PK, "x": {"N": "0e126"}}), V, ONE + OVERFLOW),
    (put(item={**PK, "x": {"N": "0e-131"}}), V, ONE + UNDERFLOW),
    (put(item={**PK, "x": {"N": "1e2147483648"}}), V, ONE + OVERFLOW),
    (put(item={**PK, "x": {"N": "1e9223372036854775808"}}), V, f"{ONE}{NOT_NUMERIC}: 1e9223372036854775808"),
    (put(item={**PK, "x": {"SS": ["", ""]}}), V, ONE + INVALID + 'Input collection ["", ""] contains duplicates.'),
    (put(item={**PK, "x": {"NS": ["1", ""]}}), V, f"{ONE}{NOT_NUMERIC}: "),
    (
        put("arn:aws:dynamodb:us-east-1:999999999999:table/hash"),
        "AccessDeniedException",
        (
            "User: arn:aws:iam::000000000000:root is not authorized to perform: dynamodb:PutItem on resource: "
            "arn:aws:dynamodb:us-east-1:999999999999:table/hash because no resource-based policy allows the dynamodb:PutItem action"
        ),
    ),
    (put("arn:aws:dynamodb:us-east-1:000000000000:table/absent"), N, GONE),
    (
        put("absent", ConditionalOperator="XOR", Expected={"a": {"Value": deep(100)}, "b": {"Exists": False}}),
        V,
        ONE + "Value 'XOR' at 'conditionalOperator' failed to satisfy constraint: Member must satisfy enum value set: [OR, AND]",
    ),
    (
        put("composite", {"pk": {"S": "a" * 2049}, "sk": {"S": "b"}}),
        V,
        INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes",
    ),
    (
        put("composite", {"pk": {"S": "a"}, "sk": {"S": "b" * 1025}}),
        V,
        INVALID + "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
    ),
]

UPDATES = [
    (update("", {}), V, ONE + SHORT_NAME),
    (update(ReturnValues="BOGUS", ReturnConsumedCapacity="BOGUS"), V, ONE + RV_NEW),
    (update("x!", {}), V, f"{ONE}Value 'x!' at 'tableName' {PATTERN}"),
    (
        ("UpdateItem", {"TableName": "", "ReturnConsumedCapacity": "BOGUS", "ReturnValues": "BOGUS"}),
        V,
        (
            f"4 validation errors detected: {RCC}; Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or "
            f"equal to 1; {RV_OLD}; Value null at 'key' failed to satisfy constraint: Member must not be null"
        ),
    ),
    (
        update(UpdateExpression="SET pk = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        INVALID + "Cannot update attribute pk. This attribute is part of the key",
    ),
    (
        update("composite", CK, UpdateExpression="SET sk = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        INVALID + "Cannot update attribute sk. This attribute is part of the key",
    ),
    (
        update(UpdateExpression="INVALID SYNTAX HERE", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        ONE + 'Invalid UpdateExpression: Syntax error; token: "INVALID", near: "INVALID SYNTAX"',
    ),
    (
        update(UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"S": "x"}}, ExpressionAttributeNames={"#unused": "b"}),
        V,
        ONE + "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}",
    ),
    (
        update(UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"S": "x"}, ":unused": {"S": "y"}}),
        V,
        ONE + "Value provided in ExpressionAttributeValues unused in expressions: keys: {:unused}",
    ),
    (
        update(UpdateExpression="SET a = :v"),
        V,
        ONE + "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :v",
    ),
    (
        update(UpdateExpression="SET b = :w", ConditionExpression="a = :v", ExpressionAttributeValues={":w": {"S": "x"}}),
        V,
        ONE + "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :v",
    ),
    (
        update(UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"S": "x"}}, AttributeUpdates={"a": {"Value": {"S": "x"}}}),
        V,
        f"{ONE}{MIXED}Non-expression parameters: {{AttributeUpdates}} Expression parameters: {{UpdateExpression}}",
    ),
    (update(UpdateExpression=""), V, ONE + "Invalid UpdateExpression: The expression can not be empty;"),
    (
        update("binary", {"pk": {"B": ""}}, UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        EMPTY_KEY.format("binary"),
    ),
    (update(key={"pk": {"N": "abc"}}), V, f"{ONE}{NOT_NUMERIC}: abc"),
    (update(key={"pk": {"SS": ["b", "a", "b"]}}), V, ONE + INVALID + 'Input collection ["a", "b", "b"] contains duplicates.'),
    (update(AttributeUpdates={"n": {"Action": "PUT", "Value": {"N": "1e126"}}}), V, ONE + OVERFLOW),
    (
        update(
            UpdateExpression="SET t = :t",
            ConditionExpression="#d = :deep",
            ExpressionAttributeNames={"#d": "data"},
            ExpressionAttributeValues={":t": {"S": "y"}, ":deep": deep(32)},
        ),
        V,
        ONE + NEST,
    ),
    (update("absent", UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"S": "x"}}), N, GONE),
    (update("composite", PK), V, NO_MATCH),
]

UPDATES += [
    (
        update(
            AttributeUpdates={"a": {"Value": {"S": "v"}}},
            Expected={"a": {"Exists": False}},
            ConditionalOperator="AND",
            UpdateExpression="SET a = :v",
            ConditionExpression="attribute_exists(pk)",
        ),
        V,
        (
            f"{ONE}{MIXED}Non-expression parameters: {{AttributeUpdates, Expected, ConditionalOperator}} "
            "Expression parameters: {UpdateExpression, ConditionExpression}"
        ),
    ),
    (update(ConditionalOperator="AND"), V, ONE + "ConditionalOperator cannot be used without Filter or Expected"),
]

DELETES = [
    (delete("", {}), V, ONE + SHORT_NAME),
    (delete(ReturnConsumedCapacity="BOGUS", ReturnValues="BOGUS"), V, f"2 validation errors detected: {RCC}; {RV_NEW}"),
    (delete("absent"), N, GONE),
    (delete("composite"), V, NO_MATCH),
    (delete(key={"pk": {"S": ""}}), V, EMPTY_KEY.format("string")),
    (delete(key={"pk": {"N": "5"}}), V, NO_MATCH),
    (delete(key={"pk": {"L": [{"S": "x"}]}}), V, NO_MATCH),
    (delete(ReturnValues="UPDATED_NEW"), V, ONE + "ReturnValues can only be ALL_OLD or NONE"),
    (
        delete(ConditionExpression="attribute_exists(a)", ExpressionAttributeValues={}),
        V,
        ONE + "ExpressionAttributeValues must not be empty",
    ),
    (delete(ConditionExpression="attribute_exists(a)", ExpressionAttributeNames={}), V, ONE + "ExpressionAttributeNames must not be empty"),
    (
        delete(Expected={"a": {"Exists": False}}, ExpressionAttributeNames={"#a": "a"}),
        V,
        ONE + "ExpressionAttributeNames can only be specified when using expressions",
    ),
    (
        delete(Expected={"a": {"Exists": False, "Value": {"S": "x"}}}),
        V,
        ONE + INVALID + "Value cannot be used when Exists is false for Attribute: a",
    ),
    (
        delete(Expected={"a": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"S": "x"}]}}),
        V,
        ONE + INVALID + "Invalid number of argument(s) for the BETWEEN ComparisonOperator",
    ),
    (
        delete(
            "absent",
            CK,
            ConditionExpression="#d = :deep",
            ExpressionAttributeNames={"#d": "d"},
            ExpressionAttributeValues={":deep": deep(63)},
            ReturnValues="BOGUS",
        ),
        V,
        ONE + RV_OLD,
    ),
    (
        delete(
            "absent",
            CK,
            ConditionExpression="#d = :deep",
            ExpressionAttributeNames={"#d": "d"},
            ExpressionAttributeValues={":deep": deep(100)},
            ReturnValues="UPDATED_NEW",
        ),
        V,
        "ReturnValues can only be ALL_OLD or NONE",
    ),
]

READS = [
    (query(ConditionalOperator="AND", KeyConditions={"pk": EQUALS}), V, "ConditionalOperator cannot be used without Filter or Expected"),
    (
        ("Query", {"TableName": "composite", "ConditionalOperator": "AND"}),
        V,
        "ConditionalOperator cannot be used without Filter or Expected",
    ),
    (
        query(ConditionalOperator="AND", KeyConditions={"pk": EQUALS}, QueryFilter={"a": EQUALS}),
        V,
        "ConditionalOperator can only be used when Filter or Expected has two or more elements",
    ),
    (scan(ConditionalOperator="OR", ScanFilter={}), V, "ConditionalOperator cannot be used without Filter or Expected"),
    (
        scan(ConditionalOperator="OR", FilterExpression="a = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        f"{MIXED}Non-expression parameters: {{ConditionalOperator}} Expression parameters: {{FilterExpression}}",
    ),
    (
        query(KeyConditions={"pk": EQUALS}, QueryFilter={"a": EQUALS}, ConditionalOperator="AND", KeyConditionExpression="pk = :p"),
        V,
        f"{MIXED}Non-expression parameters: {{QueryFilter, ConditionalOperator, KeyConditions}} Expression parameters: {{KeyConditionExpression}}",
    ),
    (get("absent"), N, GONE),
    (get("composite"), V, NO_MATCH),
    (get(key={"pk": {"S": ""}}), V, EMPTY_KEY.format("string")),
    (get("binary", {"pk": {"B": ""}}), V, EMPTY_KEY.format("binary")),
    (get(key={"pk": {"N": ""}}), V, f"{NOT_NUMERIC}: "),
    (get(key={"pk": {"S": "a" * 2049}}), V, INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    (get(ProjectionExpression="!!! INVALID !!!"), V, 'Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"'),
    (
        get(ProjectionExpression="a, a.b"),
        V,
        "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
    ),
    (
        get(ProjectionExpression="#a, #b", ExpressionAttributeNames={"#a": "a", "#b": "a"}),
        V,
        "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]",
    ),
    (get(AttributesToGet=["a", "a"]), V, INVALID + "Duplicate value in attribute name: a"),
    (
        get(AttributesToGet=["a"], ProjectionExpression="a"),
        V,
        f"{MIXED}Non-expression parameters: {{AttributesToGet}} Expression parameters: {{ProjectionExpression}}",
    ),
    (
        get(AttributesToGet=[]),
        V,
        f"{ONE}Value '[]' at 'attributesToGet' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (
        query(KeyConditionExpression="sk = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        "Query condition missed key schema element: pk",
    ),
    (
        query(KeyConditionExpression="attr1 = :v", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        "Query condition missed key schema element: pk",
    ),
    (
        query(ExpressionAttributeNames={"#unused": "x"}),
        V,
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}",
    ),
    (
        query(Select="INVALID_VALUE"),
        V,
        f"{ONE}Value 'INVALID_VALUE' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
    ),
    (query(Limit=0), V, f"{ONE}Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    (
        query(KeyConditionExpression="", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        "Invalid KeyConditionExpression: The expression can not be empty;",
    ),
    (
        query(FilterExpression="#missing = :fv", ExpressionAttributeValues={":fv": {"S": "x"}}),
        V,
        "Invalid FilterExpression: An expression attribute name used in the document path is not defined; attribute name: #missing",
    ),
    (
        query(FilterExpression="sk = :fv", ExpressionAttributeValues={":fv": {"S": "x"}}),
        V,
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk",
    ),
    (
        query(Select="SPECIFIC_ATTRIBUTES"),
        V,
        ONE + "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
    ),
    (
        query(Select="COUNT", ProjectionExpression="a"),
        V,
        ONE + "Cannot specify the ProjectionExpression when choosing to get only the Count",
    ),
    (
        query(Select="ALL_ATTRIBUTES", ProjectionExpression="a"),
        V,
        ONE + "Cannot specify the ProjectionExpression when choosing to get ALL_ATTRIBUTES",
    ),
    (query("absent"), N, GONE),
    (query(IndexName="nope"), V, "The table does not have the specified index: nope"),
    (query(ExclusiveStartKey={"bad": {"S": "p"}}), V, "The provided starting key is invalid"),
    (
        query(ExclusiveStartKey={"pk": {"S": "z"}, "sk": {"S": "a"}}),
        V,
        "The provided starting key is outside query boundaries based on provided conditions",
    ),
    (
        ("Query", {"TableName": "composite"}),
        V,
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
    ),
    (
        query(
            "absent",
            KeyConditions={"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}},
            QueryFilter={"b": {"ComparisonOperator": "NULL"}, "c": {"ComparisonOperator": "NULL"}},
            ConditionalOperator="XOR",
            Select="BOGUS",
        ),
        V,
        "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]",
    ),
    (
        query(
            "numeric",
            KeyConditionExpression="pk = :p AND begins_with(sk, :v)",
            ExpressionAttributeValues={":p": {"S": "q"}, ":v": {"N": "1"}},
        ),
        V,
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        query(
            "numeric",
            KeyConditionExpression="pk = :p AND begins_with(sk, :v)",
            ExpressionAttributeValues={":p": {"S": "q"}, ":v": {"S": "a"}},
        ),
        V,
        INVALID + "Condition parameter type does not match schema type",
    ),
    (
        query("numeric", KeyConditionExpression="pk = :p AND sk < :v", ExpressionAttributeValues={":p": {"S": "q"}, ":v": {"BOOL": True}}),
        V,
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
    ),
    (
        query(
            "numeric",
            KeyConditionExpression="pk = :p AND sk > :a AND sk < :b",
            ExpressionAttributeValues={":p": {"S": "q"}, ":a": {"N": "1"}, ":b": {"N": "5"}},
        ),
        V,
        "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
    ),
    (
        query(
            "numeric",
            KeyConditionExpression="pk = :p AND sk > :a AND extra = :b",
            ExpressionAttributeValues={":p": {"S": "q"}, ":a": {"N": "1"}, ":b": {"N": "5"}},
        ),
        V,
        "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
    ),
    (
        query(
            "absent",
            KeyConditionExpression="pk = :p AND begins_with(sk, :n)",
            ExpressionAttributeValues={":p": {"S": "q"}, ":n": {"N": "1"}},
        ),
        V,
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        query(KeyConditionExpression="pk = :t", ExpressionAttributeValues={":t": {"SS": ["b", "a", "b"]}}),
        V,
        INVALID + 'Input collection ["a", "b", "b"] contains duplicates.',
    ),
    (query(ExclusiveStartKey={"pk": {"NS": ["2", "1", "2"]}}), V, INVALID + "Input collection contains duplicates."),
    (scan("absent"), N, GONE),
    (scan(Segment=0), V, "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"),
    (
        scan(TotalSegments=4),
        V,
        "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
    ),
    (scan(Segment=5, TotalSegments=5), V, "The Segment parameter is zero-based and must be less than parameter TotalSegments"),
    (
        scan(Segment=-1, TotalSegments=4),
        V,
        f"{ONE}Value at 'Segment' failed to satisfy constraint: Member must have value greater than or equal to 0",
    ),
    (scan(Limit=0), V, f"{ONE}Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    (
        scan(Select="SPECIFIC_ATTRIBUTES"),
        V,
        "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
    ),
    (scan(Select="COUNT", ProjectionExpression="pk"), V, "Cannot specify the ProjectionExpression when choosing to get only the Count"),
    (scan(ExclusiveStartKey={"bad": {"S": "p"}}), V, "The provided starting key is invalid"),
    (scan(IndexName="nope"), V, "The table does not have the specified index: nope"),
    (
        scan(FilterExpression="begins_with(a, :n)", ExpressionAttributeValues={":n": {"N": "1"}}),
        V,
        "Invalid FilterExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        scan(FilterExpression="((a = :v))", ExpressionAttributeValues={":v": {"S": "x"}}),
        V,
        "Invalid FilterExpression: The expression has redundant parentheses;",
    ),
    (
        scan(ProjectionExpression="#undef"),
        V,
        "Invalid ProjectionExpression: An expression attribute name used in the document path is not defined; attribute name: #undef",
    ),
    (
        scan(FilterExpression="a = :v", ExpressionAttributeValues={":v": {"N": "abc"}}),
        V,
        f"ExpressionAttributeValues contains invalid value: {NOT_NUMERIC}: abc for key :v",
    ),
]

BATCHES = [
    (
        ("BatchWriteItem", {"RequestItems": {}}),
        V,
        f"{ONE}Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (
        ("BatchGetItem", {"RequestItems": {}}),
        V,
        f"{ONE}Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (("BatchGetItem", {}), V, f"{ONE}Value null at 'requestItems' failed to satisfy constraint: Member must not be null"),
    (
        batch_get(*({"pk": {"S": str(index)}} for index in range(101))),
        V,
        f"{ONE}Value at 'RequestItems.hash.member.Keys' failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
    (
        batch_get(),
        V,
        f"{ONE}Value at 'RequestItems.hash.member.Keys' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (batch_get(PK, table="absent"), N, GONE),
    (batch_get(PK, PK), V, "Provided list of item keys contains duplicates"),
    (
        batch_get(PK, AttributesToGet=["pk"], ProjectionExpression="pk"),
        V,
        f"{MIXED}Non-expression parameters: {{AttributesToGet}} Expression parameters: {{ProjectionExpression}}",
    ),
    (batch_get({"pk": {"B": ""}}, table="binary"), V, EMPTY_KEY.format("binary")),
    (
        ("BatchGetItem", {"RequestItems": {"bad!name": {"Keys": [PK]}}, "ReturnConsumedCapacity": "BOGUS"}),
        V,
        (
            """2 validation errors detected: Value '{"bad!name":{"Keys":[{"pk":{"S":"a"}}]}}' at 'requestItems' failed to satisfy constraint: Map keys must """
            "satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 3, Member must "
            f"satisfy regular expression pattern: [a-zA-Z0-9_.-]+]; {RCC}"
        ),
    ),
    (
        batch_write({"PutRequest": {"Item": PK}}, ReturnConsumedCapacity="BOGUS", ReturnItemCollectionMetrics="BOGUS"),
        V,
        f"2 validation errors detected: {RCC}; {RICM}",
    ),
    (batch_write({"PutRequest": {"Item": PK}}, table="bad!name", ReturnConsumedCapacity="BOGUS"), V, ONE + RCC),
    (
        batch_write(table="hash"),
        V,
        f"{ONE}Value '{{hash=[]}}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]",
    ),
    (batch_write({"PutRequest": {"Item": PK}}, {"DeleteRequest": {"Key": PK}}), V, "Provided list of item keys contains duplicates"),
    (batch_write({"PutRequest": {"Item": PK}}, table="absent"), N, GONE),
    (batch_write({"PutRequest": {"Item": {"pk": {"N": "5"}}}}), V, NO_MATCH),
    (batch_write({"PutRequest": {"Item": {"other": {"S": "x"}}}}), V, NO_MATCH),
    (batch_write({"DeleteRequest": {"Key": {"other": {"S": "x"}}}}), V, NO_MATCH),
    (batch_write({"PutRequest": {"Item": {"pk": {"S": ""}}}}), V, EMPTY_KEY.format("string")),
    (batch_write({"PutRequest": {"Item": {**PK, "n": {"N": ""}}}}), V, NOT_NUMERIC),
    (
        batch_write({"PutRequest": {"Item": {**PK, "s": {"SS": ["b", "a", "b"]}}}}),
        V,
        INVALID + "Input collection [b, a, b] contains duplicates.",
    ),
    (batch_write({"PutRequest": {"Item": {**PK, "x": {"S": "x" * 409_600}}}}), V, "Item size has exceeded the maximum allowed size"),
]

LONG_NAME = "n" * 65_536
TOO_LONG = "Attribute name is too large, must be less than 65536 bytes"
NO_NAME_AT_ALL = "Empty attribute name"
IS_A = {"Value": {"S": "a"}}

NAMES = [
    (put(item={**PK, LONG_NAME: {"S": "a"}}), V, ONE + TOO_LONG),
    (put(Expected={LONG_NAME: IS_A}), V, ONE + TOO_LONG),
    (put(Expected={"é" * 32_768: {"Exists": False}}), V, ONE + TOO_LONG),
    (delete(Expected={LONG_NAME: IS_A}), V, ONE + TOO_LONG),
    (delete(key={LONG_NAME: {"S": "a"}}), V, ONE + TOO_LONG),
    (update(Expected={LONG_NAME: IS_A}, AttributeUpdates={"a": IS_A}), V, ONE + TOO_LONG),
    (update(AttributeUpdates={LONG_NAME: IS_A}), V, ONE + TOO_LONG),
    (update(AttributeUpdates={"a": IS_A, LONG_NAME: {"Action": "DELETE"}}), V, ONE + TOO_LONG),
    (update(AttributeUpdates={"": IS_A}), V, ONE + NO_NAME_AT_ALL),
    (put(Expected={"": {"Exists": False}}), V, ONE + NO_NAME_AT_ALL),
    (get(AttributesToGet=[LONG_NAME]), V, TOO_LONG),
    (get(AttributesToGet=[""]), V, NO_NAME_AT_ALL),
    (batch_get(PK, AttributesToGet=["a", LONG_NAME]), V, TOO_LONG),
    (query(KeyConditions={LONG_NAME: EQUALS}), V, TOO_LONG),
    (query(KeyConditions={"pk": EQUALS}, QueryFilter={LONG_NAME: EQUALS}), V, TOO_LONG),
    (query(KeyConditions={"pk": EQUALS}, AttributesToGet=[LONG_NAME]), V, TOO_LONG),
    (query(ExclusiveStartKey={**CK, LONG_NAME: {"S": "a"}}), V, TOO_LONG),
    (scan(ScanFilter={LONG_NAME: EQUALS}), V, TOO_LONG),
    (scan(AttributesToGet=[LONG_NAME]), V, TOO_LONG),
    (scan(ExclusiveStartKey={LONG_NAME: {"S": "a"}}), V, TOO_LONG),
    (
        update(UpdateExpression="SET #n = :v", ExpressionAttributeNames={"#n": LONG_NAME}, ExpressionAttributeValues={":v": {"S": "a"}}),
        V,
        ONE + TOO_LONG,
    ),
    (update(UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"M": {LONG_NAME: {"S": "a"}}}}), V, ONE + TOO_LONG),
]
"""Every member that carries attribute names, with one of 65,536 bytes or of none."""
