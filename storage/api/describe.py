"""Tables as the API describes them."""

from __future__ import annotations

from typing import Any

from scrubjay.storage.api.call import Body
from scrubjay.storage.catalogue import KeySchema, LocalIndex, TableMeta, TableStats

REGION, ACCOUNT = "us-east-1", "000000000000"
"""In every ARN, as DynamoDB's own local version has them."""


def seconds(micros: int) -> float:
    """A timestamp of an answer: seconds since the epoch, to the millisecond."""
    return round(micros / 1_000_000, 3)


def table_description(meta: TableMeta, stats: TableStats, arn: str, source_arn: str | None = None, *, status: str | None = None) -> Body:
    """The TableDescription. source_arn: of the table this one was restored from. status: instead of the table's own."""
    result: Body = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in meta.attributes],
        "TableName": meta.name,
        "KeySchema": key_schema(meta),
        "TableStatus": _status(meta) if status is None else status,
        "CreationDateTime": seconds(meta.created_at),
        **throughput_description(meta),
        "TableSizeBytes": stats.bytes,
        "ItemCount": stats.rows,
        "TableArn": arn,
        "TableId": meta.table_id,
    }
    if meta.billing == "PAY_PER_REQUEST" or meta.billing_changed_at is not None:
        summary: Body = {"BillingMode": meta.billing}
        changed = meta.billing_changed_at
        if changed is None and meta.status != "CREATING":
            changed = meta.created_at
        if changed is not None:
            summary["LastUpdateToPayPerRequestDateTime"] = seconds(changed)
        result["BillingModeSummary"] = summary
    if meta.table_class != "STANDARD" or meta.table_class_changed_at is not None:
        class_summary: Body = {"TableClass": meta.table_class}
        if meta.table_class_changed_at is not None:
            class_summary["LastUpdateDateTime"] = seconds(meta.table_class_changed_at)
        result["TableClassSummary"] = class_summary
    if meta.on_demand is not None:
        result["OnDemandThroughput"] = {"MaxReadRequestUnits": meta.on_demand.read, "MaxWriteRequestUnits": meta.on_demand.write}
    if meta.restore_of is not None and meta.restore_of.imported is None:
        result["RestoreSummary"] = _restore_summary(meta, source_arn)
    if meta.local_indexes:
        result["LocalSecondaryIndexes"] = _local_indexes(meta, stats, arn)
    result["DeletionProtectionEnabled"] = meta.deletion_protection
    return result


def _local_indexes(meta: TableMeta, stats: TableStats, arn: str) -> list[Body]:
    shown = []
    for at, index in enumerate(meta.local_indexes or ()):
        rows, size = stats.indexes[at] if at < len(stats.indexes) else (0, 0)
        place = f"{arn}/index/{index.name}"
        shown.append({**index_info(meta.key, index), "IndexSizeBytes": size, "ItemCount": rows, "IndexArn": place})
    return shown


def index_info(key: KeySchema, index: LocalIndex) -> Body:
    """The LocalSecondaryIndexInfo of an index."""
    projection: Body = {"ProjectionType": index.projection}
    if index.projection == "INCLUDE":
        projection["NonKeyAttributes"] = list(index.attributes)
    return {
        "IndexName": index.name,
        "KeySchema": [
            {"AttributeName": key.partition.name, "KeyType": "HASH"},
            {"AttributeName": index.sort.name, "KeyType": "RANGE"},
        ],
        "Projection": projection,
    }


def table_arn(name: str, *, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:dynamodb:{region}:{account}:table/{name}"


def backup_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/backup/{id_}"


def export_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/export/{id_}"


def import_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/import/{id_}"


def throughput_description(meta: TableMeta) -> Body:
    """The member ProvisionedThroughput alone."""
    increased, decreased = meta.throughput_changed_at
    throughput: Body = {
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": meta.throughput.read if meta.billing == "PROVISIONED" else 0,
        "WriteCapacityUnits": meta.throughput.write if meta.billing == "PROVISIONED" else 0,
    }
    if increased is not None:
        throughput["LastIncreaseDateTime"] = seconds(increased)
    if decreased is not None:
        throughput["LastDecreaseDateTime"] = seconds(decreased)
    return {"ProvisionedThroughput": throughput}


def deleted_description(description: Body) -> Body:
    """What DeleteTable shows of `description`: without what the table was made of."""
    return {name: value for name, value in description.items() if name not in ("AttributeDefinitions", "CreationDateTime", "KeySchema")}


def _status(meta: TableMeta) -> str:
    if meta.restore_of is not None and meta.restore_of.in_progress:
        return "CREATING"
    return meta.status


def _restore_summary(meta: TableMeta, source_arn: str | None) -> Body:
    assert meta.restore_of is not None
    summary: Body = {"RestoreDateTime": seconds(meta.restore_of.at), "RestoreInProgress": meta.restore_of.in_progress}
    if source_arn is not None:
        summary["SourceTableArn"] = source_arn
        if meta.restore_of.backup is not None:
            summary["SourceBackupArn"] = backup_arn(source_arn, meta.restore_of.backup)
    return summary


def key_schema(meta: TableMeta) -> list[dict[str, Any]]:
    """The KeySchema member: partition key, then sort key."""
    result = [{"AttributeName": meta.key.partition.name, "KeyType": "HASH"}]
    if meta.key.sort is not None:
        result.append({"AttributeName": meta.key.sort.name, "KeyType": "RANGE"})
    return result
