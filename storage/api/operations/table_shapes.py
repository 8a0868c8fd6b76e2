"""What the table operations take, as tables. Members of features that are not there yet have their JSON types and no constraints: a wrong type is still a
SerializationException, anything else is refused by the member's name.
"""

from __future__ import annotations

from scrubjay.storage.api import limits
from scrubjay.storage.api.shapes import BOOLEAN, INDEX_NAME, NAME_PATTERN, STRING, TABLE_NAME, TABLE_NAME_OR_ARN, Int, ListOf, Str, Struct

_LONG = "Long"
LONG = Int(java=_LONG)
ATTRIBUTE_NAME = Str(min_chars=1, max_chars=limits.KEY_NAME_CHARS_MAX)
"""Of keys and of what an index projects; other attribute names may be longer (storage.items.wire)."""
BILLING_MODE = Str(enum=("PROVISIONED", "PAY_PER_REQUEST"))
TABLE_CLASSES = ("STANDARD", "STANDARD_INFREQUENT_ACCESS")
"""Another is refused in words of its own (operations.tables)."""
PROVISIONED_THROUGHPUT = Struct(
    "ProvisionedThroughput",
    {"WriteCapacityUnits": Int(minimum=1, java=_LONG), "ReadCapacityUnits": Int(minimum=1, java=_LONG)},
    required=("WriteCapacityUnits", "ReadCapacityUnits"),
)
ON_DEMAND_THROUGHPUT = Struct("OnDemandThroughput", {"MaxReadRequestUnits": LONG, "MaxWriteRequestUnits": LONG})
WARM_THROUGHPUT = Struct("WarmThroughput", {"ReadUnitsPerSecond": LONG, "WriteUnitsPerSecond": LONG})
_KEY_ELEMENT = Struct(
    "KeySchemaElement",
    {"AttributeName": ATTRIBUTE_NAME, "KeyType": Str(enum=("HASH", "RANGE"))},
    required=("AttributeName", "KeyType"),
)
KEY_SCHEMA = ListOf(_KEY_ELEMENT, min_items=1, max_items=2)
"""Of a table and a local index; a global index may have more."""
ATTRIBUTE_DEFINITIONS = ListOf(
    Struct(
        "AttributeDefinition",
        {"AttributeName": ATTRIBUTE_NAME, "AttributeType": Str(enum=("B", "N", "S"))},
        required=("AttributeName", "AttributeType"),
    )
)
PROJECTION = Struct(
    "Projection",
    {"ProjectionType": Str(enum=("ALL", "INCLUDE", "KEYS_ONLY")), "NonKeyAttributes": ListOf(ATTRIBUTE_NAME, min_items=1, max_items=20)},
)
_INDEX_MEMBERS = {"IndexName": INDEX_NAME, "KeySchema": KEY_SCHEMA, "Projection": PROJECTION}
_INDEX_REQUIRED = ("IndexName", "KeySchema", "Projection")
_GLOBAL_MEMBERS = {**_INDEX_MEMBERS, "KeySchema": ListOf(_KEY_ELEMENT, min_items=1)}
_INDEX_THROUGHPUT = {
    "ProvisionedThroughput": PROVISIONED_THROUGHPUT,
    "OnDemandThroughput": ON_DEMAND_THROUGHPUT,
    "WarmThroughput": WARM_THROUGHPUT,
}
GLOBAL_INDEXES = ListOf(
    Struct(
        "GlobalSecondaryIndex",
        {**_GLOBAL_MEMBERS, **_INDEX_THROUGHPUT},
        required=_INDEX_REQUIRED,
        java_members=(*_INDEX_MEMBERS, "ProvisionedThroughput"),
    )
)
LOCAL_INDEXES = ListOf(Struct("LocalSecondaryIndex", _INDEX_MEMBERS, required=_INDEX_REQUIRED))
GLOBAL_INDEX_UPDATES = ListOf(
    Struct(
        "GlobalSecondaryIndexUpdate",
        {
            "Update": Struct("UpdateGlobalSecondaryIndexAction", {"IndexName": INDEX_NAME, **_INDEX_THROUGHPUT}, required=("IndexName",)),
            "Create": Struct("CreateGlobalSecondaryIndexAction", {**_GLOBAL_MEMBERS, **_INDEX_THROUGHPUT}, required=_INDEX_REQUIRED),
            "Delete": Struct("DeleteGlobalSecondaryIndexAction", {"IndexName": INDEX_NAME}, required=("IndexName",)),
        },
    )
)
STREAM = Struct(
    "StreamSpecification",
    {"StreamEnabled": BOOLEAN, "StreamViewType": Str(enum=("OLD_IMAGE", "KEYS_ONLY", "NEW_AND_OLD_IMAGES", "NEW_IMAGE"))},
    required=("StreamEnabled",),
)
ENCRYPTION = Struct("SSESpecification", {"Enabled": BOOLEAN, "SSEType": Str(enum=("AES256", "KMS")), "KMSMasterKeyId": Str(min_chars=1)})
TRANSFER_BUCKET = Str(pattern=r"^[a-z0-9A-Z]+[\.\-\w]*[a-z0-9A-Z]+$", max_chars=limits.S3_BUCKET_CHARS_MAX)
TRANSFER_OWNER = Str(pattern="[0-9]{12}")
TRANSFER_PREFIX = Str(max_chars=limits.S3_PREFIX_CHARS_MAX)
TRANSFER_TOKEN = Str(pattern=r"[^\$]+")
"""Of exports and imports."""
TAGS = ListOf(Struct("Tag", {"Key": STRING, "Value": STRING}))
"""Their lengths and characters are told in words of their own (operations.tags)."""

# -- what is not there yet -------------------------------------------------------------------------------------------------------------

_PROJECTION_TYPES = Struct("Projection", {"ProjectionType": STRING, "NonKeyAttributes": ListOf(STRING)})
_VECTOR_INDEX = {
    "IndexName": STRING,
    "VectorAttribute": Struct("VectorAttributeDefinition", {"AttributeName": STRING}),
    "SearchSchema": ListOf(Struct("SearchSchemaElement", {"AttributeName": STRING, "SearchSchemaElementType": STRING})),
    "Projection": _PROJECTION_TYPES,
    "Dimensions": LONG,
    "DistanceFunction": STRING,
}
VECTOR_INDEXES = ListOf(Struct("VectorIndex", _VECTOR_INDEX))
_VECTOR_INDEX_UPDATES = ListOf(
    Struct(
        "VectorIndexUpdate",
        {"Create": Struct("CreateVectorIndexAction", _VECTOR_INDEX), "Delete": Struct("DeleteVectorIndexAction", {"IndexName": STRING})},
    )
)
_REPLICA_THROUGHPUT = {
    "ProvisionedThroughputOverride": Struct("ProvisionedThroughputOverride", {"ReadCapacityUnits": LONG}),
    "OnDemandThroughputOverride": Struct("OnDemandThroughputOverride", {"MaxReadRequestUnits": LONG}),
}
_REPLICA = {
    "RegionName": STRING,
    "KMSMasterKeyId": STRING,
    **_REPLICA_THROUGHPUT,
    "GlobalSecondaryIndexes": ListOf(Struct("ReplicaGlobalSecondaryIndex", {"IndexName": STRING, **_REPLICA_THROUGHPUT})),
    "TableClassOverride": STRING,
}
_REPLICA_UPDATES = ListOf(
    Struct(
        "ReplicationGroupUpdate",
        {
            "Create": Struct("CreateReplicationGroupMemberAction", _REPLICA),
            "Update": Struct("UpdateReplicationGroupMemberAction", _REPLICA, required=("RegionName",)),
            "Delete": Struct("DeleteReplicationGroupMemberAction", {"RegionName": STRING}),
            "Disassociate": Struct("DisassociateReplicationGroupMemberAction", {"RegionName": STRING, "DisassociationMode": STRING}),
        },
    )
)
_WITNESS_UPDATES = ListOf(
    Struct(
        "GlobalTableWitnessGroupUpdate",
        {
            "Create": Struct("CreateGlobalTableWitnessGroupMemberAction", {"RegionName": STRING}),
            "Delete": Struct("DeleteGlobalTableWitnessGroupMemberAction", {"RegionName": STRING}),
        },
    )
)
GLOBAL_INDEX_OVERRIDE = GLOBAL_INDEXES
LOCAL_INDEX_OVERRIDE = LOCAL_INDEXES

# -- the operations --------------------------------------------------------------------------------------------------------------------

CREATE = Struct(
    "CreateTableInput",
    {
        "AttributeDefinitions": ATTRIBUTE_DEFINITIONS,
        "TableName": TABLE_NAME,
        "BillingMode": BILLING_MODE,
        "ProvisionedThroughput": PROVISIONED_THROUGHPUT,
        "KeySchema": KEY_SCHEMA,
        "GlobalSecondaryIndexes": GLOBAL_INDEXES,
        "LocalSecondaryIndexes": LOCAL_INDEXES,
        "TableClass": STRING,
        "DeletionProtectionEnabled": BOOLEAN,
        "OnDemandThroughput": ON_DEMAND_THROUGHPUT,
        "Tags": TAGS,
        "StreamSpecification": STREAM,
        "SSESpecification": ENCRYPTION,
        "WarmThroughput": WARM_THROUGHPUT,
        "ResourcePolicy": STRING,
        "GlobalTableSourceArn": STRING,
        "GlobalTableSettingsReplicationMode": STRING,
        "VectorIndexes": VECTOR_INDEXES,
    },
    required=("AttributeDefinitions", "KeySchema"),
)
DESCRIBE = Struct("DescribeTableInput", {"TableName": TABLE_NAME_OR_ARN})
DELETE = Struct("DeleteTableInput", {"TableName": TABLE_NAME_OR_ARN})
LIST = Struct(
    "ListTablesInput",
    {
        "Limit": Int(minimum=1, maximum=limits.LIST_TABLES_MAX),
        "ExclusiveStartTableName": Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX),
    },
)
UPDATE = Struct(
    "UpdateTableInput",
    {
        "AttributeDefinitions": ATTRIBUTE_DEFINITIONS,
        "TableName": TABLE_NAME_OR_ARN,
        "BillingMode": BILLING_MODE,
        "ProvisionedThroughput": PROVISIONED_THROUGHPUT,
        "GlobalSecondaryIndexUpdates": GLOBAL_INDEX_UPDATES,
        "StreamSpecification": STREAM,
        "SSESpecification": ENCRYPTION,
        "ReplicaUpdates": _REPLICA_UPDATES,
        "TableClass": STRING,
        "DeletionProtectionEnabled": BOOLEAN,
        "MultiRegionConsistency": STRING,
        "GlobalTableWitnessUpdates": _WITNESS_UPDATES,
        "OnDemandThroughput": ON_DEMAND_THROUGHPUT,
        "WarmThroughput": WARM_THROUGHPUT,
        "GlobalTableSettingsReplicationMode": STRING,
        "DisassociationProtectionEnabled": BOOLEAN,
        "VectorIndexUpdates": _VECTOR_INDEX_UPDATES,
    },
)
