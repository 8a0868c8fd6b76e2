"""Structure-aware fuzzing of the API's HTTP and JSON boundary.

Starts from valid requests of every operation and mutates them by type, depth, size, encoding and framing. Counted: requests, answers by status, error
names, mutations. Found: an answer of 5xx, no answer, an answer that is not of the service's kind, a checksum that is wrong, a server that keeps
something (bytes or requests in flight) afterwards. A finding names the seed and the request; `tests/fuzz/vectors/` keeps those ever found.

Run longer: python -m tests.fuzz.api_fuzz --seconds 600 [--seed N]
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import socket
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scrubjay.base.env import Clock
from scrubjay.storage.api import limits
from scrubjay.storage.api.sigv4 import SignatureVerifier, Signer
from tests.api_model import check_answer
from tests.api_server import ApiServer, request_headers

VECTORS = Path(__file__).parent / "vectors"

KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}
ITEM = {
    **KEY,
    "b": {"B": "aGk="},
    "l": {"L": [{"S": "x"}, {"NULL": True}]},
    "m": {"M": {"x": {"BOOL": True}}},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
}
EQ = {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}
SEEDS: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {"TableName": "fuzz", "Item": ITEM, "ReturnValues": "ALL_OLD", "ReturnConsumedCapacity": "TOTAL"}),
    ("PutItem", {"TableName": "fuzz", "Item": ITEM, "ConditionExpression": "attribute_not_exists(pk) OR size(#b) < :n", "ExpressionAttributeNames": {"#b": "b"}, "ExpressionAttributeValues": {":n": {"N": "5"}}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}),
    ("PutItem", {"TableName": "fuzz", "Item": ITEM, "Expected": {"pk": {"Exists": False}, "b": {"ComparisonOperator": "NULL"}}, "ConditionalOperator": "OR"}),
    ("GetItem", {"TableName": "fuzz", "Key": KEY, "ProjectionExpression": "#p, m.x, l[0]", "ExpressionAttributeNames": {"#p": "pk"}, "ConsistentRead": True}),
    ("GetItem", {"TableName": "fuzz", "Key": KEY, "AttributesToGet": ["pk", "m"]}),
    ("UpdateItem", {"TableName": "fuzz", "Key": KEY, "UpdateExpression": "SET m.y = if_not_exists(m.y, :z) + :o, l = list_append(l, :l) REMOVE gone ADD c :o DELETE ss :s", "ExpressionAttributeValues": {":z": {"N": "0"}, ":o": {"N": "1"}, ":l": {"L": [{"S": "y"}]}, ":s": {"SS": ["a"]}}, "ReturnValues": "UPDATED_NEW"}),
    ("UpdateItem", {"TableName": "fuzz", "Key": KEY, "AttributeUpdates": {"c": {"Action": "ADD", "Value": {"N": "1"}}, "gone": {"Action": "DELETE"}}}),
    ("DeleteItem", {"TableName": "fuzz", "Key": KEY, "ConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}),
    ("Query", {"TableName": "fuzz", "KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b", "FilterExpression": "contains(ss, :p) AND NOT m.x = :f", "ExpressionAttributeValues": {":p": {"S": "a"}, ":a": {"N": "0"}, ":b": {"N": "9"}, ":f": {"BOOL": False}}, "Limit": 3, "ScanIndexForward": False, "Select": "ALL_ATTRIBUTES"}),
    ("Query", {"TableName": "fuzz", "KeyConditions": {"pk": EQ}, "QueryFilter": {"b": {"ComparisonOperator": "NOT_NULL"}}, "ExclusiveStartKey": KEY}),
    ("Scan", {"TableName": "fuzz", "FilterExpression": "attribute_type(b, :t)", "ExpressionAttributeValues": {":t": {"S": "B"}}, "Segment": 0, "TotalSegments": 3, "ExclusiveStartKey": KEY, "Limit": 2}),
    ("Scan", {"TableName": "fuzz", "ScanFilter": {"pk": EQ}, "Select": "COUNT", "ReturnConsumedCapacity": "INDEXES"}),
    ("BatchGetItem", {"RequestItems": {"fuzz": {"Keys": [KEY, {**KEY, "sk": {"N": "2"}}], "ProjectionExpression": "pk"}}}),
    ("BatchWriteItem", {"RequestItems": {"fuzz": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": {**KEY, "sk": {"N": "3"}}}}]}, "ReturnItemCollectionMetrics": "SIZE"}),
    ("ExecuteStatement", {"Statement": "SELECT pk, m.x FROM fuzz WHERE pk = ? AND sk > ? AND contains(ss, 'a') ORDER BY sk DESC", "Parameters": [{"S": "a"}, {"N": "0"}], "Limit": 2, "ConsistentRead": True, "NextToken": "AQ==", "ReturnConsumedCapacity": "INDEXES"}),
    ("ExecuteStatement", {"Statement": "INSERT INTO fuzz VALUE {'pk': 'a', 'sk': ?, 'l': [1, {'x': <<'a'>>}]}", "Parameters": [{"N": "9"}]}),
    ("ExecuteStatement", {"Statement": "UPDATE fuzz SET m.y = ?, ss = set_add(ss, <<'z'>>) REMOVE gone WHERE pk = 'a' AND sk = 1 RETURNING MODIFIED NEW *", "Parameters": [{"BOOL": True}], "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}),
    ("BatchExecuteStatement", {"Statements": [{"Statement": "DELETE FROM fuzz WHERE pk = ? AND sk = 3 RETURNING ALL OLD *", "Parameters": [{"S": "a"}]}, {"Statement": "UPDATE fuzz SET c = c + 1 WHERE pk = 'a' AND sk = 1"}], "ReturnConsumedCapacity": "TOTAL"}),
    ("CreateTable", {"TableName": "fuzz", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}, "Tags": [{"Key": "a", "Value": "b"}], "GlobalSecondaryIndexes": [{"IndexName": "idx", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}]}),
    ("UpdateTable", {"TableName": "absent", "BillingMode": "PAY_PER_REQUEST", "DeletionProtectionEnabled": True}),
    ("DescribeTable", {"TableName": "fuzz"}),
    ("DeleteTable", {"TableName": "absent"}),
    ("ListTables", {"Limit": 3, "ExclusiveStartTableName": "abc"}),
    ("TagResource", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz", "Tags": [{"Key": "k", "Value": "v"}]}),
    ("UntagResource", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz", "TagKeys": ["k"]}),
    ("ListTagsOfResource", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz"}),
    ("DescribeLimits", {}),
    ("DescribeEndpoints", {}),
    ("DescribeContinuousBackups", {"TableName": "fuzz"}),
    ("UpdateContinuousBackups", {"TableName": "fuzz", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 3}}),
    ("RestoreTableToPointInTime", {"SourceTableName": "absent", "TargetTableName": "target", "RestoreDateTime": 1.5, "BillingModeOverride": "PROVISIONED"}),
    ("CreateBackup", {"TableName": "absent", "BackupName": "quarter"}),
    ("DescribeBackup", {"BackupArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz/backup/01489602797149-73d8d5bc"}),
    ("DeleteBackup", {"BackupArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz/backup/01489602797149-73d8d5bc"}),
    ("ListBackups", {"TableName": "fuzz", "Limit": 3, "TimeRangeLowerBound": 1.5, "TimeRangeUpperBound": 2, "BackupType": "ALL"}),
    ("RestoreTableFromBackup", {"TargetTableName": "target", "BackupArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz/backup/01489602797149-73d8d5bc", "BillingModeOverride": "PROVISIONED"}),
    ("DescribeTimeToLive", {"TableName": "fuzz"}),
    ("UpdateTimeToLive", {"TableName": "fuzz", "TimeToLiveSpecification": {"Enabled": False, "AttributeName": "ttl"}}),
    ("DescribeContributorInsights", {"TableName": "fuzz", "IndexName": "idx"}),
    ("UpdateContributorInsights", {"TableName": "fuzz", "ContributorInsightsAction": "DISABLE", "ContributorInsightsMode": "THROTTLED_KEYS"}),
    ("ListContributorInsights", {"TableName": "fuzz", "MaxResults": 3}),
    ("DescribeKinesisStreamingDestination", {"TableName": "fuzz"}),
    ("DisableKinesisStreamingDestination", {"TableName": "fuzz", "StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/changes", "EnableKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "MICROSECOND"}}),
    ("GetResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz"}),
    ("DeleteResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/fuzz", "ExpectedRevisionId": "12"}),
    ("ListGlobalTables", {"ExclusiveStartGlobalTableName": "abc", "Limit": 3}),
    ("CreateGlobalTable", {"GlobalTableName": "fuzz", "ReplicationGroup": [{"RegionName": "us-east-1"}]}),
    ("UpdateGlobalTableSettings", {"GlobalTableName": "fuzz", "ReplicaSettingsUpdate": [{"RegionName": "us-east-1", "ReplicaProvisionedReadCapacityUnits": 1}]}),
    ("PutItem", {"TableName": "indexed", "Item": {**KEY, "g": {"S": "g"}, "h": {"N": "1"}, "at": {"B": "AA=="}}, "ReturnConsumedCapacity": "INDEXES"}),
    ("UpdateItem", {"TableName": "indexed", "Key": KEY, "UpdateExpression": "SET g = if_not_exists(gone, :g), h = :h REMOVE #at", "ExpressionAttributeNames": {"#at": "at"}, "ExpressionAttributeValues": {":g": {"S": "g"}, ":h": {"N": "1"}}, "ReturnConsumedCapacity": "INDEXES"}),
    ("Query", {"TableName": "indexed", "IndexName": "by-g", "KeyConditionExpression": "g = :g AND #at > :at", "ExpressionAttributeNames": {"#at": "at"}, "ExpressionAttributeValues": {":g": {"S": "g"}, ":at": {"B": "AA=="}}, "ExclusiveStartKey": {**KEY, "g": {"S": "g"}, "at": {"B": "AQ=="}}, "Limit": 2}),
    ("Query", {"TableName": "indexed", "IndexName": "parts", "KeyConditionExpression": "g = :g AND h = :h AND sk = :h AND begins_with(#at, :at)", "ExpressionAttributeNames": {"#at": "at"}, "ExpressionAttributeValues": {":g": {"S": "g"}, ":h": {"N": "1"}, ":at": {"B": "AA=="}}, "ProjectionExpression": "pk, h", "ScanIndexForward": False}),
    ("Query", {"TableName": "indexed", "IndexName": "by-g", "KeyConditions": {"g": EQ}, "QueryFilter": {"x": {"ComparisonOperator": "NULL"}}, "Select": "COUNT"}),
    ("Scan", {"TableName": "indexed", "IndexName": "parts", "FilterExpression": "attribute_exists(pk)", "Segment": 1, "TotalSegments": 3, "ReturnConsumedCapacity": "INDEXES"}),
    ("ExecuteStatement", {"Statement": "SELECT pk FROM \"indexed\".\"parts\" WHERE g = 'g' AND h = 1"}),
    ("CreateTable", {"TableName": "indexed", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST", "GlobalSecondaryIndexes": [{"IndexName": "idx", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}, "OnDemandThroughput": {"MaxReadRequestUnits": 5}, "WarmThroughput": {"ReadUnitsPerSecond": 12000}}], "WarmThroughput": {"WriteUnitsPerSecond": 4000}}),
    ("UpdateTable", {"TableName": "indexed", "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "N"}], "GlobalSecondaryIndexUpdates": [{"Create": {"IndexName": "by-g", "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}}]}),
    ("UpdateTable", {"TableName": "indexed", "GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-g", "OnDemandThroughput": {"MaxReadRequestUnits": 7}, "WarmThroughput": {"ReadUnitsPerSecond": 13000}}}, {"Delete": {"IndexName": "absent"}}]}),
    ("RestoreTableToPointInTime", {"SourceTableName": "indexed", "TargetTableName": "ab", "UseLatestRestorableTime": True, "GlobalSecondaryIndexOverride": [{"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}], "Projection": {"ProjectionType": "ALL"}, "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}], "LocalSecondaryIndexOverride": []}),
    ("PutItem", {"TableName": "places", "Item": {**KEY, "day": {"S": "mon"}, "n": {"N": "1"}}, "ReturnItemCollectionMetrics": "SIZE", "ReturnConsumedCapacity": "INDEXES"}),
    ("Query", {"TableName": "places", "IndexName": "by-day", "KeyConditionExpression": "pk = :p AND begins_with(#d, :d)", "FilterExpression": "n > :n", "ExpressionAttributeNames": {"#d": "day"}, "ExpressionAttributeValues": {":p": {"S": "a"}, ":d": {"S": "m"}, ":n": {"N": "0"}}, "ConsistentRead": True, "Select": "ALL_ATTRIBUTES", "ExclusiveStartKey": {**KEY, "day": {"S": "mon"}}, "Limit": 2}),
    ("Scan", {"TableName": "places", "IndexName": "by-day", "Select": "ALL_PROJECTED_ATTRIBUTES", "Segment": 0, "TotalSegments": 2}),
    ("CreateTable", {"TableName": "places", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}, {"AttributeName": "day", "AttributeType": "S"}], "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}], "BillingMode": "PAY_PER_REQUEST", "LocalSecondaryIndexes": [{"IndexName": "by-day", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "day", "KeyType": "RANGE"}], "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["n"]}}], "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}, "ResourcePolicy": "@policy@"}),
    ("UpdateTable", {"TableName": "kept", "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}),
    ("UpdateTable", {"TableName": "kept", "SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/mine"}}),
    ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "fuzz", "Item": ITEM, "ConditionExpression": "attribute_not_exists(gone)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}, {"Update": {"TableName": "indexed", "Key": KEY, "UpdateExpression": "SET h = :h ADD c :h", "ExpressionAttributeValues": {":h": {"N": "1"}}}}, {"Delete": {"TableName": "fuzz", "Key": {**KEY, "sk": {"N": "8"}}}}, {"ConditionCheck": {"TableName": "places", "Key": KEY, "ConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}}], "ClientRequestToken": "token-1", "ReturnConsumedCapacity": "INDEXES", "ReturnItemCollectionMetrics": "SIZE"}),
    ("TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": "fuzz", "Key": {**KEY, "sk": {"N": "7"}}}}]}),
    ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "fuzz", "Key": KEY, "ProjectionExpression": "#p, m.x", "ExpressionAttributeNames": {"#p": "pk"}}}, {"Get": {"TableName": "indexed", "Key": KEY}}], "ReturnConsumedCapacity": "TOTAL"}),
    ("ExecuteTransaction", {"TransactStatements": [{"Statement": "UPDATE fuzz SET c = 1 WHERE pk = 'a' AND sk = ?", "Parameters": [{"N": "1"}], "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}, {"Statement": "EXISTS(SELECT * FROM places WHERE pk = 'a' AND sk = 1 AND n = 1)"}], "ClientRequestToken": "token-2", "ReturnConsumedCapacity": "TOTAL"}),
    ("ExecuteTransaction", {"TransactStatements": [{"Statement": "SELECT * FROM fuzz WHERE pk = 'a' AND sk = 1"}]}),
    ("ListStreams", {"TableName": "fuzz", "Limit": 3, "ExclusiveStartStreamArn": "@stream@"}),
    ("DescribeStream", {"StreamArn": "@stream@", "Limit": 3, "ExclusiveStartShardId": "@part@", "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": "@part@"}}),
    ("DescribeStream", {"StreamArn": "@stream@"}),
    ("GetShardIterator", {"StreamArn": "@stream@", "ShardId": "@part@", "ShardIteratorType": "TRIM_HORIZON"}),
    ("GetShardIterator", {"StreamArn": "@stream@", "ShardId": "@part@", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "@number@"}),
    ("GetShardIterator", {"StreamArn": "@stream@", "ShardId": "@part@", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1.5}),
    ("GetRecords", {"ShardIterator": "@iterator@", "Limit": 2}),
    ("UpdateTimeToLive", {"TableName": "kept", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}),
    ("PutResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/kept", "Policy": "@policy@", "ExpectedRevisionId": "NO_POLICY", "ConfirmRemoveSelfResourceAccess": True}),
    ("PutResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/kept", "Policy": "@policy@"}),
    ("PutResourcePolicy", {"ResourceArn": "@stream@", "Policy": "@policy@"}),
    ("GetResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/kept"}),
    ("DeleteResourcePolicy", {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/kept"}),
    ("GetItem", {"TableName": "kept", "Key": {"pk": {"S": "a"}}}),
    ("Query", {"TableName": "kept", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}, "Select": "COUNT"}),
]  # fmt: skip

USERS = {"clerk": "data", "guest": "policy", "boss": "admin"}
"""Access keys and their roles, of a server that knows its callers."""
_USER = "arn:aws:iam::000000000000:user/"
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Id": "fuzzed",
    "Statement": [
        {
            "Sid": "one",
            "Effect": "Allow",
            "Principal": {"AWS": [f"{_USER}guest", "000000000000"]},
            "Action": ["dynamodb:*"],
            "Resource": "*",
        },
        {
            "Effect": "Deny",
            "Principal": "*",
            "NotAction": "dynamodb:Get*",
            "Resource": ["arn:aws:dynamodb:us-east-1:000000000000:table/kept", "arn:aws:dynamodb:*:000000000000:table/kept/index/*"],
            "Condition": {
                "ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["${aws:username}*", "x?"]},
                "StringNotEqualsIfExists": {"dynamodb:Select": "COUNT"},
                "Null": {"dynamodb:EnclosingOperation": "true"},
            },
        },
    ],
}
OPEN = json.dumps({"Version": "2012-10-17", "Statement": [POLICY["Statement"][0]]})
"""Of the tables that are to be read and written by all, whoever they are."""

INDEXED: dict[str, Any] = {
    "TableName": "indexed",
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "N"), ("g", "S"), ("h", "N"), ("at", "B"))
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-g",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        },
        {
            "IndexName": "parts",
            "KeySchema": [
                {"AttributeName": "g", "KeyType": "HASH"},
                {"AttributeName": "h", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
"""A table with a global index of each kind of key."""

_STRINGS = [
    "",
    "@deep@",
    "a",
    "x" * 300,
    "x" * 5000,
    "\x00",
    "é",
    "😀",
    "\u202e",
    "#",
    ":",
    "#p",
    ":v",
    "pk",
    "1e400",
    "-0",
    "١",
    "NaN",
    "arn:aws:dynamodb",
    "a.b[0]",
    "(((",
    "SET",
    "\ud800",
]
_SCALARS: list[Any] = [None, True, False, 0, 1, -1, 2**31, 2**63, 2**70, 1.5, -1e308, *_STRINGS]
_EXPRESSIONS = [
    "pk",
    "= = =",
    "a = :v",
    "SET a = b + c",
    "REMOVE a[0], a",
    "size(a) > :n",
    "contains(a, a)",
    "a IN (" + ", ".join(["b"] * 101) + ")",
    " AND ".join(["a = b"] * 400),
    "(" * 200 + "a" + ")" * 200,
    "NOT " * 300 + "a = b",
    "a" + "[0]" * 40,
    "a BETWEEN b AND c",
    "begins_with(#a, :b)",
    "ADD a :n",
    "DELETE a :v",
    "SET a[99999999999] = :v",
    "SELECT * FROM fuzz WHERE " + "(" * 3000 + "a = 1" + ")" * 3000,
    "SELECT * FROM fuzz WHERE pk = 'a'" + " OR pk = 'b'" * 500,
    "UPDATE fuzz SET a = " + "[" * 300 + "]" * 300 + " WHERE pk = 'a' AND sk = 1",
    "DELETE FROM fuzz WHERE pk = 'a' AND sk = ? AND a IS STRING",
]
_VALUES: list[Any] = [
    {"S": "x"},
    {"N": "1"},
    {"N": "1" * 40},
    {"N": "1e-200"},
    {"B": "AA=="},
    {"B": "A"},
    {"B": "=+/="},
    {"SS": []},
    {"SS": ["a", "a"]},
    {"NS": ["1", "1.0"]},
    {"NS": ["x"]},
    {"BS": [""]},
    {"L": []},
    {"M": {}},
    {"M": {"": {"S": ""}}},
    {"NULL": False},
    {"BOOL": "yes"},
    {},
    {"S": "a", "N": "1"},
    {"X": 1},
    {"S": None},
    "text",
    5,
    [],
    None,
]


def deep(levels: int, kind: str) -> Any:
    value: Any = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}} if kind == "M" else {"L": [value]}
    return value


@dataclass
class Stats:
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "statuses": dict(sorted(self.statuses.items())),
            "errors": dict(self.errors.most_common()),
            "mutations": dict(self.mutations.most_common()),
            "findings": self.findings,
        }


class Fuzzer:
    """live: what stands in requests in place of names like `@stream@`."""

    def __init__(self, server: ApiServer, seed: int, live: Mapping[str, str]) -> None:
        self.server = server
        self.live = live
        self.seed = seed
        self.rng = random.Random(seed)
        self.stats = Stats()
        self._socket: socket.socket | None = None
        self._file: Any = None

    # -- making requests --------------------------------------------------------------------------------------------------------------

    def places(self, obj: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [path] if path else []
        if isinstance(obj, dict):
            for name, value in obj.items():
                found += self.places(value, (*path, name))
        elif isinstance(obj, list):
            for index, value in enumerate(obj):
                found += self.places(value, (*path, index))
        return found

    def mutate(self, body: dict[str, Any]) -> None:
        places = self.places(body)
        if not places:
            body["Extra"] = self.rng.choice(_SCALARS)
            return
        if "@policy@" in body.values() and self.rng.random() < 0.7:
            self.stats.mutations["policy"] += 1
            policy = copy.deepcopy(POLICY)
            for _ in range(self.rng.choice((0, 1, 1, 2, 4))):
                self.mutate(policy)
            name = next(name for name, value in body.items() if value == "@policy@")
            body[name] = json.dumps(policy, indent=self.rng.choice((None, 1)))
            return
        path = self.rng.choice(places)
        parent: Any = body
        for step in path[:-1]:
            parent = parent[step]
        last = path[-1]
        value = parent[last]
        choice = self.rng.choice(("scalar", "value", "drop", "wrap", "double", "rename", "deep", "grow", "expression", "swap", "number"))
        self.stats.mutations[choice] += 1
        if choice == "scalar":
            parent[last] = self.rng.choice(_SCALARS)
        elif choice == "value":
            parent[last] = copy.deepcopy(self.rng.choice(_VALUES))
        elif choice == "drop":
            del parent[last]
        elif choice == "wrap":
            parent[last] = self.rng.choice(([value], {"x": value}, {"M": {"x": value}}, {"L": [value]}))
        elif choice == "double" and isinstance(value, list):
            parent[last] = value * self.rng.choice((2, 30, 120))
        elif choice == "rename" and isinstance(parent, dict):
            del parent[last]
            parent[self.rng.choice(_STRINGS)] = value
        elif choice == "deep":
            parent[last] = deep(self.rng.choice((5, 31, 32, 33, 62, 63, 100)), self.rng.choice("ML"))
        elif choice == "grow":
            parent[last] = {"S": "x" * self.rng.choice((1024, 2048, 2049, 409_600, 500_000))}
        elif choice == "expression":
            parent[last] = self.rng.choice(_EXPRESSIONS)
        elif choice == "swap":
            other = self.rng.choice(SEEDS)[1]
            if other:
                name = self.rng.choice(list(other))
                body[name] = copy.deepcopy(other[name])
        elif choice == "number":
            parent[last] = {
                "N": self.rng.choice(
                    ("0", "-0.0", "1e125", "1e126", "1E-130", "1e-131", ".5", "5.", "+1", "0x1", "1_000", "9" * 38, "9" * 39, "", " 1")
                )
            }

    def very_deep(self) -> bytes:
        """A value nested far beyond every limit, as text."""
        levels = self.rng.choice((200, 500, 5000, 50_000))
        return b'{"M":{"n":' * levels + b'{"S":""}' + b"}}" * levels

    def encode(self, body: Any) -> bytes:
        text = json.dumps(body, ensure_ascii=self.rng.random() < 0.5)
        for name, value in self.live.items():
            text = text.replace(name, value)
        data = text.encode("utf-8", "surrogatepass").replace(b'"@deep@"', self.very_deep())
        roll = self.rng.random()
        if roll < 0.04:
            self.stats.mutations["cut"] += 1
            return data[: self.rng.randrange(len(data) + 1)]
        if roll < 0.08 and data:
            self.stats.mutations["flip"] += 1
            at = self.rng.randrange(len(data))
            return data[:at] + bytes([data[at] ^ (1 << self.rng.randrange(8))]) + data[at + 1 :]
        if roll < 0.09:
            self.stats.mutations["duplicate member"] += 1
            return b'{"TableName":"fuzz",' + data[1:] if data.startswith(b"{") else data
        if roll < 0.10:
            self.stats.mutations["brackets"] += 1
            return self.rng.choice((b"[", b'{"a":')) * self.rng.choice((10, 1000, 100_000))
        return data

    def one(self) -> tuple[str, bytes]:
        operation, seed = self.rng.choice(SEEDS)
        body = copy.deepcopy(seed)
        for _ in range(self.rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            self.mutate(body)
        return operation, self.encode(body)

    # -- sending them -----------------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = None

    def framed(self, operation: str, data: bytes) -> bytes:
        headers = {"Host": "localhost", **request_headers(operation)}
        if self.rng.random() < 0.1:
            headers["Accept-Encoding"] = "identity"
        head = "".join(f"{self.rng.choice((str, str.lower, str.upper))(name)}: {value}\r\n" for name, value in headers.items())
        if self.rng.random() < 0.1:
            step = self.rng.choice((1, 7, 4096)) if len(data) < 5000 else 65_536
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(data[at : at + step]), data[at : at + step]) for at in range(0, len(data), step))
            return f"POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
        return f"POST / HTTP/1.1\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        status = int(line.split()[1])
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return status, headers, self._file.read(int(headers["content-length"]))

    def run(self, *, seconds: float, requests: int) -> Stats:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.stats.requests < requests and len(self.stats.findings) < 20:
            batch = [self.one() for _ in range(self.rng.choice((1, 1, 4)))]
            self.exchange(batch)
        self.close()
        return self.stats

    def exchange(self, batch: list[tuple[str, bytes]]) -> None:
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        try:
            self._socket.sendall(b"".join(self.framed(operation, data) for operation, data in batch))
        except OSError as error:
            self.found("the connection broke while sending", *batch[0], str(error))
            self.close()
            return
        for operation, data in batch:
            self.stats.requests += 1
            try:
                status, headers, body = self.answer()
            except (OSError, ConnectionError, ValueError) as error:
                self.found("no answer", operation, data, repr(error))
                self.close()
                return
            if len(data) > limits.BODY_BYTES_MAX and status == 413:
                self.close()
                return
            self.check(operation, data, status, headers, body)

    def check(self, operation: str, data: bytes, status: int, headers: dict[str, str], body: bytes) -> None:
        self.stats.statuses[status] += 1
        if status not in (200, 400):
            self.found(f"status {status}", operation, data, body[:300].decode("latin-1"))
            return
        if headers.get("x-amz-crc32") != str(zlib.crc32(body)):
            self.found("wrong checksum", operation, data, str(headers))
        decoded = json.loads(body) if body else None
        faults = check_answer(operation, status, decoded)
        if faults:
            self.found("not of the service's kind", operation, data, "; ".join(faults[:3]))
        if status == 400 and isinstance(decoded, dict):
            self.stats.errors[str(decoded.get("__type", "")).partition("#")[2]] += 1

    def found(self, what: str, operation: str, data: bytes, detail: str) -> None:
        self.stats.findings.append(f"seed {self.seed}: {what}: {operation} {data[:400]!r}: {detail}")


class AnyoneVerifier(SignatureVerifier):
    """Takes each request for one of somebody else, unproven: what policies say is asked, and nothing has to be signed."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        super().__init__(clock, None)
        self._rng = rng

    def verify(self, *request: Any) -> Signer:
        signer = super().verify(*request)
        user = self._rng.choice((None, None, None, *USERS))
        return signer if user is None else Signer(user, USERS[user], signer.region)


def _live(server: ApiServer) -> dict[str, str]:
    """The stream of the table "fuzz", which has a record."""
    server.ok("PutItem", {"TableName": "fuzz", "Item": ITEM})
    arn = server.ok("DescribeTable", {"TableName": "fuzz"})["Table"]["LatestStreamArn"]
    part = server.ok("DescribeStream", {"StreamArn": arn})["StreamDescription"]["Shards"][0]["ShardId"]
    at = {"StreamArn": arn, "ShardId": part, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = server.ok("GetShardIterator", at)["ShardIterator"]
    number = server.ok("GetRecords", {"ShardIterator": iterator})["Records"][0]["dynamodb"]["SequenceNumber"]
    return {"@stream@": arn, "@part@": part, "@iterator@": iterator, "@number@": number, "@policy@": json.dumps(json.dumps(POLICY))[1:-1]}


def fuzz(*, seed: int, seconds: float, requests: int = sys.maxsize, log: Callable[[str], None] = lambda line: None) -> Stats:
    """Fuzz a fresh server; findings include what the server itself did not expect, and what it kept."""
    with ApiServer() as server:
        stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
        server.make_table("fuzz", "pk:S", "sk:N", ResourcePolicy=OPEN, **stream)
        server.ok("CreateTable", {**INDEXED, "ResourcePolicy": OPEN})
        local = next(body for operation, body in SEEDS if operation == "CreateTable" and body["TableName"] == "places")
        server.ok("CreateTable", {**local, "ResourcePolicy": OPEN})
        server.make_table("kept", ResourcePolicy=json.dumps(POLICY))
        for name in ("fuzz", "indexed", "places", "kept"):
            server.wait_active(name)
        live = _live(server)
        server.call(lambda: setattr(server.api, "_verifier", AnyoneVerifier(server.env.clock, random.Random(seed))))
        stats = Fuzzer(server, seed, live).run(seconds=seconds, requests=requests)
        stats.findings += [f"seed {seed}: unexpected in {operation}: {error!r}" for operation, error in server.unexpected]
        time.sleep(0.05)
        kept = server.call(lambda: (server.http.buffered_bytes, server.api.in_flight))
        if kept != (0, 0):
            stats.findings.append(f"seed {seed}: the server keeps (buffered bytes, requests in flight) {kept}")
    log(json.dumps(stats.report(), indent=2))
    return stats


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    return 1 if fuzz(seed=arguments.seed, seconds=arguments.seconds, log=print).findings else 0


if __name__ == "__main__":
    sys.exit(main())
