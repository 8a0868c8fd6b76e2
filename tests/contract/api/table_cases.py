"""Cases of the table operations and of tags (see error_cases)."""

from __future__ import annotations

from typing import Any

from tests.contract.api.item_cases import GONE, INVALID, ONE, PATTERN, N, S, V


def table(**more: Any) -> tuple[str, dict[str, Any]]:
    base = {
        "TableName": "new_table",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    }
    return "CreateTable", {name: value for name, value in (base | more).items() if value is not None}


def definitions(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def schema(*keys: str) -> list[dict[str, str]]:
    return [{"AttributeName": key.partition(":")[0], "KeyType": key.partition(":")[2]} for key in keys]


NO_CLASS = (
    "Invalid table-class parameter provided. Please try again with a valid table-class value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."
)
INDEX = {"IndexName": "index", "KeySchema": schema("pk:HASH"), "Projection": {"ProjectionType": "ALL"}}

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/changes"
NO_BACKUP = "arn:aws:dynamodb:us-east-1:000000000000:table/hash/backup/01489602797149-73d8d5bc"
TABLES = [
    (table(TableName=None), V, "The parameter 'TableName' is required but was not present in the request"),
    (
        table(TableName="ab"),
        V,
        f"{ONE}Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3",
    ),
    (table(KeySchema=schema("pk:HASH", "pk:RANGE")), V, "Invalid KeySchema: Some index key attribute have no definition"),
    (
        table(AttributeDefinitions=definitions("pk", "sk", "extra"), KeySchema=schema("pk:HASH", "sk:RANGE", "extra:RANGE")),
        V,
        (
            f"{ONE}Value '[KeySchemaElement(attributeName=pk, keyType=HASH), KeySchemaElement(attributeName=sk, keyType=RANGE), "
            "KeySchemaElement(attributeName=extra, keyType=RANGE)]' at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2"
        ),
    ),
    (
        table(KeySchema=schema("pk:INVALID")),
        V,
        f"{ONE}Value 'INVALID' at 'keySchema.1.member.keyType' failed to satisfy constraint: Member must satisfy enum value set: [HASH, RANGE]",
    ),
    (
        table(AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "INVALID"}]),
        V,
        f"{ONE}Value 'INVALID' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]",
    ),
    (
        table(BillingMode="X"),
        V,
        f"{ONE}Value 'X' at 'billingMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]",
    ),
    (
        table(BillingMode="PAY_PER_REQUEST"),
        V,
        INVALID + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
    ),
    (
        table(ProvisionedThroughput=None),
        V,
        INVALID + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
    ),
    (
        table(ProvisionedThroughput={"ReadCapacityUnits": 0, "WriteCapacityUnits": 5}),
        V,
        f"{ONE}Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ),
    (table(KeySchema=schema("pk:RANGE")), V, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    (
        table(AttributeDefinitions=definitions("pk", "sk"), KeySchema=schema("pk:HASH", "sk:HASH")),
        V,
        "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
    ),
    (
        table(AttributeDefinitions=definitions("pk", "sk")),
        V,
        INVALID + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
    ),
    (
        table(AttributeDefinitions=definitions("xx")),
        V,
        INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: [pk], AttributeDefinitions: [xx]",
    ),
    (table(GlobalSecondaryIndexes=[]), V, INVALID + "List of GlobalSecondaryIndexes is empty"),
    (table(GlobalSecondaryIndexes=[INDEX, INDEX]), V, INVALID + "Duplicate index name: index"),
    (table(GlobalSecondaryIndexes=[INDEX]), V, INVALID + "ProvisionedThroughput is not specified for index: index"),
    (
        table(LocalSecondaryIndexes=[INDEX]),
        V,
        INVALID + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
    ),
    (
        table(GlobalSecondaryIndexes=[{**INDEX, "IndexName": "g1"}], LocalSecondaryIndexes=[{**INDEX, "IndexName": "l1"}]),
        V,
        (
            "2 validation errors detected: Value 'g1' at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must have "
            "length greater than or equal to 3; Value 'l1' at 'localSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must "
            "have length greater than or equal to 3"
        ),
    ),
    (
        table(StreamSpecification={"StreamEnabled": True}),
        V,
        INVALID + "Table is being created with a stream enabled, UpdateViewType is required",
    ),
    (
        table(StreamSpecification={"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"}),
        V,
        INVALID + "Table is being created with a stream disabled, UpdateViewType should not be specified",
    ),
    (
        table(StreamSpecification={"StreamEnabled": True, "StreamViewType": "new_image"}),
        V,
        (
            f"{ONE}Value 'new_image' at 'streamSpecification.streamViewType' failed to satisfy constraint: Member must satisfy enum value set: "
            "[OLD_IMAGE, KEYS_ONLY, NEW_AND_OLD_IMAGES, NEW_IMAGE]"
        ),
    ),
    (table(TableClass="standard"), V, NO_CLASS),
    (("UpdateTable", {"TableName": "hash", "TableClass": "junk"}), V, NO_CLASS),
    (table(SSESpecification={"Enabled": True}), V, INVALID + "SSESpecification is not supported"),
    (table(SSESpecification={"SSEType": "KMS"}), V, INVALID + "SSESpecification is not supported"),
    (
        table(SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/aws/dynamodb"}),
        V,
        INVALID + "SSESpecification is not supported",
    ),
    (table(SSESpecification={"Enabled": True, "SSEType": "AES256"}), V, INVALID + "SSEType AES256 is not supported"),
    (
        table(SSESpecification={"Enabled": True, "KMSMasterKeyId": "k"}),
        V,
        INVALID + "SSEType KMS is required if KMSMasterKeyId is specified",
    ),
    (table(SSESpecification={"Enabled": False, "SSEType": "KMS"}), V, INVALID + "SSEType can not be specified if Enabled is false"),
    (
        table(SSESpecification={"Enabled": False, "KMSMasterKeyId": "k"}),
        V,
        INVALID + "KMSMasterKeyId can not be specified if Enabled is false",
    ),
    *[
        (
            table(SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}),
            V,
            f"KMS validation error: com.amazonaws.services.kms.model.NotFoundException: {what} (Service: AWSKMS; Status Code: 400; Error Code: NotFoundException)",
        )
        for key, what in (
            ("k-1", "Key 'arn:aws:kms:us-east-1:000000000000:key/k-1' does not exist"),
            ("alias/mine", "Alias arn:aws:kms:us-east-1:000000000000:alias/mine is not found."),
            ("arn:aws:kms:us-west-2:111122223333:key/k-1", "Key 'arn:aws:kms:us-west-2:111122223333:key/k-1' does not exist"),
        )
    ],
    (table(TableName="hash"), "ResourceInUseException", "Table already exists: hash"),
    (("DescribeTable", {"TableName": "absent"}), N, "Requested resource not found: Table: absent not found"),
    (("DescribeTable", {}), V, "The parameter 'TableName' is required but was not present in the request"),
    (("DeleteTable", {"TableName": "absent"}), N, "Requested resource not found: Table: absent not found"),
    (
        ("UpdateTable", {"TableName": "hash", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}),
        V,
        INVALID + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
    ),
    (
        ("UpdateTable", {"TableName": "hash", "BillingMode": "PROVISIONED"}),
        V,
        INVALID + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED",
    ),
    (
        ("UpdateTable", {"TableName": "hash", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "does_not_exist"}}]}),
        N,
        f"{GONE}: Index does_not_exist for table hash",
    ),
    (
        ("UpdateTable", {"TableName": "hash", "ReplicaUpdates": [{"Create": {"RegionName": "x"}}]}),
        V,
        INVALID + "ReplicaUpdates is not supported",
    ),
    *[
        (
            (
                "UpdateTable",
                {"TableName": "hash", "ReplicaUpdates": [{"Create": {"RegionName": "x"}}, {action: {"RegionName": "us-east-1"}}]},
            ),
            V,
            "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or UpdateTable as required.",
        )
        for action in ("Create", "Delete")
    ],
    (
        ("ListTables", {"Limit": 101, "ExclusiveStartTableName": "a;"}),
        V,
        (
            "3 validation errors detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100; "
            f"Value 'a;' at 'exclusiveStartTableName' {PATTERN}; "
            "Value 'a;' at 'exclusiveStartTableName' failed to satisfy constraint: Member must have length greater than or equal to 3"
        ),
    ),
    (("ListTagsOfResource", {}), V, "Invalid TableArn"),
    (
        ("TagResource", {"ResourceArn": "not-a-valid-arn", "Tags": [{"Key": "a", "Value": "b"}]}),
        V,
        INVALID + "ARNs must start with 'arn:': not-a-valid-arn",
    ),
    (("DescribeTimeToLive", {"TableName": "absent"}), "ResourceNotFoundException", "Requested resource not found: Table: absent not found"),
    (("DescribeTimeToLive", {}), V, "The parameter 'TableName' is required but was not present in the request"),
    (
        ("UpdateTimeToLive", {"TableName": "hash", "TimeToLiveSpecification": {"Enabled": False, "AttributeName": "ttl"}}),
        V,
        "TimeToLive is already disabled",
    ),
    (
        ("UpdateTimeToLive", {"TableName": "absent", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}),
        "ResourceNotFoundException",
        "Requested resource not found: Table: absent not found",
    ),
    (
        ("UpdateTimeToLive", {"TableName": "hash", "TimeToLiveSpecification": {"Enabled": False, "AttributeName": ""}}),
        V,
        f"{ONE}Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (
        ("UpdateContributorInsights", {"TableName": "hash", "ContributorInsightsAction": "ENABLE"}),
        V,
        f"{INVALID}ContributorInsightsAction ENABLE is not supported",
    ),
    (
        ("DescribeContributorInsights", {"TableName": "hash", "IndexName": "by_day"}),
        "ResourceNotFoundException",
        "Requested resource not found: Index: by_day not found for table: hash",
    ),
    (
        ("UpdateKinesisStreamingDestination", {"TableName": "hash", "StreamArn": STREAM}),
        V,
        "Streaming destination cannot be updated with given parameters: UpdateKinesisStreamingConfiguration cannot be null or contain only null values",
    ),
    (
        (
            "UpdateKinesisStreamingDestination",
            {
                "TableName": "hash",
                "StreamArn": STREAM,
                "UpdateKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "MICROSECOND"},
            },
        ),
        V,
        "Table is not in a valid state to enable Kinesis Streaming Destination: KinesisStreamingDestination must be ACTIVE to perform UPDATE operation.",
    ),
    (
        ("UpdateTableReplicaAutoScaling", {"TableName": "hash", "ProvisionedWriteCapacityAutoScalingUpdate": {"MinimumUnits": 1}}),
        "ResourceNotFoundException",
        "Global table with name: hash does not exist.",
    ),
    (
        ("UpdateGlobalTable", {"GlobalTableName": "hash", "ReplicaUpdates": [{"Create": {"RegionName": "us-west-2"}}]}),
        "GlobalTableNotFoundException",
        "Global table not found: Global table with name: 'hash' does not exist.",
    ),
    (
        ("UpdateGlobalTableSettings", {"GlobalTableName": "hash", "GlobalTableBillingMode": "PAY_PER_REQUEST"}),
        "GlobalTableNotFoundException",
        "Global table with name: 'hash' does not exist.",
    ),
    (
        ("ListContributorInsights", {"TableName": "absent"}),
        "ResourceNotFoundException",
        "Requested resource not found: Table: absent not found",
    ),
    (
        ("EnableKinesisStreamingDestination", {"TableName": "hash", "StreamArn": STREAM}),
        V,
        f"{INVALID}StreamArn is not supported",
    ),
    (
        ("DisableKinesisStreamingDestination", {"TableName": "hash", "StreamArn": STREAM}),
        V,
        (
            "Table is not in a valid state to enable Kinesis Streaming Destination: KinesisStreamingDestination must be ACTIVE to perform DISABLE "
            "operation."
        ),
    ),
    (
        ("DescribeKinesisStreamingDestination", {"TableName": "absent"}),
        "ResourceNotFoundException",
        "Requested resource not found: Table: absent not found",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash"}),
        "PolicyNotFoundException",
        f"Resource-based policy not found for the provided ResourceArn: {ARN}hash",
    ),
    (("GetResourcePolicy", {"ResourceArn": "hash"}), V, f"{INVALID}ARNs must start with 'arn:': hash"),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}absent"}),
        "ResourceNotFoundException",
        "Requested resource not found: Table: absent not found",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash".replace("000000000000", "999999999999")}),
        V,
        "This action is only supported by accounts that match the resource owner\u2019s account.",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash/index/by_day"}),
        V,
        f"{INVALID}Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {ARN}hash/index/by_day",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash/stream/2000-01-01T00:00:00.000"}),
        "ResourceNotFoundException",
        "Requested resource not found: Stream: 2000-01-01T00:00:00.000 not found for Table: hash",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash/backup/0170"}),
        V,
        f"{INVALID}Provided Arn is not a DynamoDB resource arn: {ARN}hash/backup/0170",
    ),
    (
        ("GetResourcePolicy", {"ResourceArn": f"{ARN}hash".replace("arn:aws:", "arn:aws-cn:")}),
        V,
        f"{INVALID}Invalid resource Arn: {ARN}hash".replace("arn:aws:", "arn:aws-cn:"),
    ),
    (
        ("PutResourcePolicy", {"ResourceArn": f"{ARN}hash", "Policy": "{}"}),
        V,
        f"{INVALID}Invalid policy document: Syntax error at position (1,3)",
    ),
    (
        ("DeleteResourcePolicy", {"ResourceArn": f"{ARN}hash", "ExpectedRevisionId": "12"}),
        "PolicyNotFoundException",
        (
            "Resource-based policy not found for the provided ResourceArn: Requested update for policy with revision id 12, "
            "but table hash has no associated resource-based policy."
        ),
    ),
    (
        ("DescribeTableReplicaAutoScaling", {"TableName": "hash"}),
        "ResourceNotFoundException",
        "Global table with name: hash does not exist.",
    ),
    (
        ("DescribeGlobalTable", {"GlobalTableName": "hash"}),
        "GlobalTableNotFoundException",
        "Global table not found: Global table with name: 'hash' does not exist.",
    ),
    (
        ("DescribeGlobalTableSettings", {"GlobalTableName": "hash"}),
        "GlobalTableNotFoundException",
        "Global table with name: 'hash' does not exist.",
    ),
    (
        ("CreateGlobalTable", {"GlobalTableName": "hash", "ReplicationGroup": [{"RegionName": "us-east-1"}]}),
        V,
        (
            f"{INVALID}DynamoDB global tables version 2017.11.29 is not supported. We recommend using DynamoDB global tables version 2019.11.21, "
            "instead of version 2017.11.29 (Legacy)."
        ),
    ),
    (("DescribeContinuousBackups", {"TableName": "absent"}), "TableNotFoundException", "Table not found: absent"),
    (("CreateBackup", {"TableName": "absent", "BackupName": "quarter"}), "TableNotFoundException", "Table not found: absent"),
    (
        ("CreateBackup", {"TableName": "hash", "BackupName": "q"}),
        V,
        f"{ONE}Value 'q' at 'backupName' failed to satisfy constraint: Member must have length greater than or equal to 3",
    ),
    (("DescribeBackup", {"BackupArn": NO_BACKUP}), "BackupNotFoundException", f"Backup not found: {NO_BACKUP}"),
    (("DeleteBackup", {"BackupArn": NO_BACKUP}), "BackupNotFoundException", f"Backup not found: {NO_BACKUP}"),
    (
        ("DeleteBackup", {"BackupArn": "arn:aws:dynamodb:us-east-1:000000000000:table/hash"}),
        V,
        "Invalid Backup ARN",
    ),
    (
        ("ListBackups", {"Limit": 101}),
        V,
        f"{ONE}Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
    ),
    (
        ("RestoreTableFromBackup", {"BackupArn": NO_BACKUP, "TargetTableName": "fresh"}),
        "BackupNotFoundException",
        f"Backup not found: {NO_BACKUP}",
    ),
    (
        ("RestoreTableFromBackup", {"BackupArn": NO_BACKUP, "TargetTableName": "hash"}),
        "TableAlreadyExistsException",
        "Table already exists: hash",
    ),
    (
        ("UpdateContinuousBackups", {"TableName": "hash"}),
        V,
        f"{ONE}Value null at 'pointInTimeRecoverySpecification' failed to satisfy constraint: Member must not be null",
    ),
    (
        (
            "UpdateContinuousBackups",
            {"TableName": "hash", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 36}},
        ),
        V,
        f"{ONE}Value '36' at 'pointInTimeRecoverySpecification.recoveryPeriodInDays' failed to satisfy constraint: Member must have value less than or equal to 35",
    ),
    (
        ("RestoreTableToPointInTime", {"SourceTableName": "hash", "TargetTableName": "hash", "UseLatestRestorableTime": True}),
        "TableAlreadyExistsException",
        "Table already exists: hash",
    ),
    (
        ("RestoreTableToPointInTime", {"SourceTableName": "absent", "TargetTableName": "fresh", "UseLatestRestorableTime": True}),
        "TableNotFoundException",
        "Table not found: absent",
    ),
]

NO_TAGS = f"{ONE}Value null at 'tags' failed to satisfy constraint: Member must not be null"
BAD_KEY = "The Tag Key provided is invalid, Key: "
BAD_VALUE = "The Tag Value provided is invalid, Value: "
TOO_MANY_TAGS = "Number of Tags exceed the current limit for the provided ResourceArn"


def tag(*pairs: tuple[str, str | None], name: str = "hash") -> tuple[str, dict[str, Any]]:
    """TagResource. A value of None: the member is left out."""
    tags = [{"Key": key, **({} if value is None else {"Value": value})} for key, value in pairs]
    return "TagResource", {"ResourceArn": ARN + name, "Tags": tags}


def untag(*keys: str, name: str = "hash") -> tuple[str, dict[str, Any]]:
    return "UntagResource", {"ResourceArn": ARN + name, "TagKeys": list(keys)}


TAGS = [
    *[(tag((f"a{sign}b", "v")), V, f"{BAD_KEY}a{sign}b") for sign in "!%\"#,;'()[]{}<>&*?^~`|\\$\t\n€→"],
    *[(tag(("k", f"a{sign}b")), V, f"{BAD_VALUE}a{sign}b") for sign in "!%\"#,;'()\x00\n"],
    *[(table(Tags=[{"Key": f"a{sign}", "Value": "v"}]), V, f"{BAD_KEY}a{sign}") for sign in '!%"'],
    (table(Tags=[{"Key": "k", "Value": "100%"}]), V, BAD_VALUE + "100%"),
    (tag(("", "v")), V, BAD_KEY),
    (tag(("k" * 129, "v")), V, BAD_KEY + "k" * 129),
    (tag(("k", "v" * 257)), V, BAD_VALUE + "v" * 257),
    (tag(("k", None)), V, BAD_VALUE + "null"),
    (tag(("good", "v"), ("k!", "v")), V, BAD_KEY + "k!"),
    (tag(("aws:foo", "v")), V, "Tag Key cannot be prefixed with aws:, Key: aws:foo"),
    (tag(("dup", "1"), ("dup", "2")), V, "Duplicate Tag Keys provided as input: Duplicate Tag Key found dup"),
    (tag(*[(f"k{number}", "v") for number in range(51)]), V, TOO_MANY_TAGS),
    (table(Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(51)]), V, TOO_MANY_TAGS),
    (tag(), V, "Atleast one Tag needs to be provided as Input."),
    (tag(name="absent"), V, "Atleast one Tag needs to be provided as Input."),
    (tag(("k", "v"), name="absent"), N, f"Requested resource not found: ResourcArn: {ARN}absent not found"),
    (tag(("k!", "v"), name="absent"), V, BAD_KEY + "k!"),
    (("TagResource", {"ResourceArn": "not-a-valid-arn"}), V, NO_TAGS),
    (("TagResource", {"ResourceArn": "arn:aws:dynamodb:nonsense"}), V, NO_TAGS),
    (("TagResource", {"ResourceArn": "a:b:c:d:e:f/g"}), V, NO_TAGS),
    (("TagResource", {"ResourceArn": f"{ARN}ab"}), V, NO_TAGS),
    (("TagResource", {}), V, "Invalid TableArn"),
    (tag(name="ab"), V, f"Invalid TableArn: Invalid ResourceArn provided as input {ARN}ab"),
    (("ListTagsOfResource", {"ResourceArn": "a:b:c:d:e:f/g"}), V, INVALID + "ARNs must start with 'arn:': a:b:c:d:e:f/g"),
    *[
        (
            request,
            V,
            f"{INVALID}Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {ARN}hash/index/by_day",
        )
        for request in (tag(("k", "v"), name="hash/index/by_day"), ("ListTagsOfResource", {"ResourceArn": ARN + "hash/index/by_day"}))
    ],
    *[
        (request, V, f"{INVALID}Provided Arn is not a DynamoDB resource arn: {NO_BACKUP}")
        for request in (
            ("TagResource", {"ResourceArn": NO_BACKUP, "Tags": [{"Key": "k", "Value": "v"}]}),
            ("UntagResource", {"ResourceArn": NO_BACKUP, "TagKeys": ["k"]}),
            ("ListTagsOfResource", {"ResourceArn": NO_BACKUP}),
        )
    ],
    (untag(), V, "Atleast one Tag Key needs to be provided as Input."),
    (untag(name="absent"), V, "Atleast one Tag Key needs to be provided as Input."),
    (untag("k" * 129), V, BAD_KEY + "k" * 129),
    (untag("a!"), V, BAD_KEY + "a!"),
    (untag(*[f"k{number}" for number in range(51)]), V, TOO_MANY_TAGS),
    (
        ("UntagResource", {"ResourceArn": ARN + "hash"}),
        V,
        f"{ONE}Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    ),
]

NOTHING_ASKED = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, "
    "MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput "
    "or TableClass is required"
)
NO_ACTION = (
    INVALID
    + "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null"
)
GONE_INDEX = {"Delete": {"IndexName": "gone"}}


def update_indexes(*updates: Any, name: str = "hash", **more: Any) -> tuple[str, dict[str, Any]]:
    return "UpdateTable", {"TableName": name, "GlobalSecondaryIndexUpdates": list(updates), **more}


PAIRS = {
    "SSESpecification": {"Enabled": False},
    "TableClass": "STANDARD",
    "DeletionProtectionEnabled": True,
    "OnDemandThroughput": {"MaxReadRequestUnits": 9},
    "WarmThroughput": {"ReadUnitsPerSecond": 20_000, "WriteUnitsPerSecond": 20_000},
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    "BillingMode": "PAY_PER_REQUEST",
    "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    "GlobalSecondaryIndexUpdates": [GONE_INDEX],
}
"""Members of UpdateTable."""
ALONE = {
    "SSESpecification": "Server-Side Encryption modification must be the only operation in the request",
    "TableClass": "TableClass modification must be the only operation in the request",
    "DeletionProtectionEnabled": "DeletionProtection modification must be the only operation in the request",
    "WarmThroughput": "WarmThroughput must be the only operation in the request",
}
TOGETHER = [
    (
        ("UpdateTable", {"TableName": "hash", first: PAIRS[first], second: PAIRS[second]}),
        V,
        INVALID + ("OnDemandThroughput can only be combined with BillingMode in an UpdateTable request" if odd else why),
    )
    for at, (first, why) in enumerate(ALONE.items())
    for second in PAIRS
    if second != first and second not in list(ALONE)[:at]
    for odd in [(first, second) == ("WarmThroughput", "OnDemandThroughput")]
] + [
    (
        (
            "UpdateTable",
            {"TableName": "hash", "StreamSpecification": PAIRS["StreamSpecification"], "OnDemandThroughput": {"MaxReadRequestUnits": 9}},
        ),
        V,
        INVALID + "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
    ),
    (
        update_indexes(GONE_INDEX, StreamSpecification=PAIRS["StreamSpecification"]),
        V,
        INVALID + "You cannot create or delete index while changing stream status",
    ),
]
"""Two changes that are none of one request; of several that must be alone the first is named."""
INDEX_UPDATES = [
    *TOGETHER,
    (("UpdateTable", {"TableName": "hash"}), V, NOTHING_ASKED),
    (("UpdateTable", {"TableName": "absent"}), V, NOTHING_ASKED),
    (("UpdateTable", {"TableName": "hash", "AttributeDefinitions": definitions("pk")}), V, NOTHING_ASKED),
    (("UpdateTable", {"TableName": "hash", "ReplicaUpdates": []}), V, NOTHING_ASKED),
    (update_indexes(), V, NOTHING_ASKED),
    (
        ("UpdateTable", {"TableName": "hash", "SSESpecification": {"Enabled": False}}),
        V,
        INVALID + "Table is already encrypted by default",
    ),
    (
        ("UpdateTable", {"TableName": "hash", "SSESpecification": {"Enabled": False}, "DeletionProtectionEnabled": True}),
        V,
        INVALID + "Server-Side Encryption modification must be the only operation in the request",
    ),
    (
        ("UpdateTable", {"TableName": "hash", "SSESpecification": {"Enabled": True, "SSEType": "KMS"}}),
        V,
        INVALID + "SSESpecification is not supported",
    ),
    (update_indexes(DeletionProtectionEnabled=True), V, INVALID + "List of GlobalSecondaryIndexUpdates is empty"),
    (update_indexes({}), V, NO_ACTION),
    (update_indexes({}, name="absent"), V, NO_ACTION),
    (update_indexes(GONE_INDEX, {}), V, NO_ACTION),
    (
        update_indexes({**GONE_INDEX, "Update": {"IndexName": "gone"}}),
        V,
        INVALID + "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object",
    ),
    (
        update_indexes(GONE_INDEX, GONE_INDEX),
        V,
        INVALID + "Only one global secondary index update per index is allowed simultaneously. Index: gone",
    ),
    (
        update_indexes({"Delete": {}}),
        V,
        (
            f"{ONE}Value null at 'globalSecondaryIndexUpdates.1.member.delete.indexName' failed to satisfy constraint: "
            "Member must not be null"
        ),
    ),
    (update_indexes({"Update": {"IndexName": "gone"}}), N, f"{GONE}: Index gone for table hash"),
    (update_indexes({"Create": INDEX}), V, INVALID + "AttributeDefinitions is not specified for index: index"),
    (update_indexes({"Delete": {"IndexName": 5}}), S, "NUMBER_VALUE cannot be converted to String"),
    (update_indexes({"Create": {"KeySchema": "x"}}, name="absent"), S, "Unexpected field type"),
    (("UpdateTable", {"GlobalSecondaryIndexUpdates": [{"Update": "x"}]}), S, "Unexpected value type in payload"),
]
