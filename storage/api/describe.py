"""Tables as the API describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.storage.api.call import Body
from scrubjay.storage.api.streams import latest_members
from scrubjay.storage.api.throughput import decreases_today, warm_units
from scrubjay.storage.catalogue import GlobalIndex, KeySchema, LocalIndex, TableMeta, TableStats, Throughput

REGION, ACCOUNT = "us-east-1", "000000000000"
"""In every ARN, as DynamoDB's own local version has them."""


def seconds(micros: int) -> float:
    """A timestamp of an answer: seconds since the epoch, to the millisecond."""
    return round(micros / 1_000_000, 3)


def table_description(
    meta: TableMeta,
    stats: TableStats,
    arn: str,
    source_arn: str | None = None,
    *,
    now_us: int,
    status: str | None = None,
    index_stats: Sequence[TableStats] = (),
) -> Body:
    """The TableDescription. source_arn: of the table this one was restored from. status: instead of the table's own. index_stats: of each global index."""
    result: Body = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in sorted(meta.shown_attributes)],
        "TableName": meta.name,
        "KeySchema": key_schema(meta),
        "TableStatus": _status(meta) if status is None else status,
        "CreationDateTime": seconds(meta.created_at),
        **throughput_description(meta, now_us),
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
    if meta.table_class != "STANDARD" or meta.table_class_changed_at is not None or meta.class_named:
        class_summary: Body = {"TableClass": meta.table_class}
        if meta.table_class_changed_at is not None:
            class_summary["LastUpdateDateTime"] = seconds(meta.table_class_changed_at)
        result["TableClassSummary"] = class_summary
    result |= on_demand_member(meta.on_demand)
    if meta.restore_of is not None and meta.restore_of.imported is None:
        result["RestoreSummary"] = _restore_summary(meta, source_arn)
    result |= latest_members(meta, arn)
    if meta.local_indexes:
        result["LocalSecondaryIndexes"] = _local_indexes(meta, stats, arn)
    if meta.global_indexes:
        result["GlobalSecondaryIndexes"] = [
            _global_index(meta, index, one, f"{arn}/index/{index.name}", now_us)
            for index, one in zip(meta.global_indexes, index_stats, strict=True)
        ]
    result["DeletionProtectionEnabled"] = meta.deletion_protection
    result["WarmThroughput"] = warm_description(meta.billing, meta.throughput, meta.warm or None)
    return result


def _global_index(meta: TableMeta, index: GlobalIndex, stats: TableStats, arn: str, now_us: int) -> Body:
    shown: Body = {
        **global_index_info(index),
        "IndexStatus": index.status,
        **index_throughput(meta.billing, index, now_us),
        "IndexSizeBytes": stats.bytes,
        "ItemCount": stats.rows,
        "IndexArn": arn,
        "WarmThroughput": warm_description(meta.billing, index.throughput, index.warm),
    }
    if index.status == "CREATING" and meta.status != "CREATING":
        shown["Backfilling"] = index.backfilling
    return shown | on_demand_member(index.on_demand)


def global_index_info(index: GlobalIndex) -> Body:
    """Name, KeySchema and Projection of a global index."""
    return {
        "IndexName": index.name,
        "KeySchema": [
            *[{"AttributeName": one.name, "KeyType": "HASH"} for one in index.hash],
            *[{"AttributeName": one.name, "KeyType": "RANGE"} for one in index.sort],
        ],
        "Projection": _projection(index.projection, index.attributes),
    }


def on_demand_member(ceilings: Throughput | None) -> Body:
    """The member OnDemandThroughput, with what has a ceiling; no member where nothing has."""
    given = () if ceilings is None else (("MaxReadRequestUnits", ceilings.read), ("MaxWriteRequestUnits", ceilings.write))
    shown = {name: value for name, value in given if value != -1}
    return {"OnDemandThroughput": shown} if shown else {}


def warm_description(billing: str, throughput: Throughput, kept: Throughput | None) -> Body:
    """The member WarmThroughput: at least what every table or index of this kind has. kept: as the catalogue has it."""
    warm = warm_units(billing, throughput, kept)
    return {"ReadUnitsPerSecond": warm.read, "WriteUnitsPerSecond": warm.write, "Status": "ACTIVE"}


def _projection(kind: str, attributes: Sequence[str]) -> Body:
    projection: Body = {"ProjectionType": kind}
    if kind == "INCLUDE":
        projection["NonKeyAttributes"] = sorted(attributes)
    return projection


def _local_indexes(meta: TableMeta, stats: TableStats, arn: str) -> list[Body]:
    shown = []
    for at, index in enumerate(meta.local_indexes or ()):
        rows, size = stats.indexes[at] if at < len(stats.indexes) else (0, 0)
        place = f"{arn}/index/{index.name}"
        shown.append({**index_info(meta.key, index), "IndexSizeBytes": size, "ItemCount": rows, "IndexArn": place})
    return shown


def index_info(key: KeySchema, index: LocalIndex) -> Body:
    """The LocalSecondaryIndexInfo of an index."""
    return {
        "IndexName": index.name,
        "KeySchema": [
            {"AttributeName": key.partition.name, "KeyType": "HASH"},
            {"AttributeName": index.sort.name, "KeyType": "RANGE"},
        ],
        "Projection": _projection(index.projection, index.attributes),
    }


def table_arn(name: str, *, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:dynamodb:{region}:{account}:table/{name}"


def backup_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/backup/{id_}"


def export_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/export/{id_}"


def import_arn(table_arn: str, id_: str) -> str:
    return f"{table_arn}/import/{id_}"


def throughput_description(meta: TableMeta, now_us: int) -> Body:
    """The member ProvisionedThroughput alone."""
    return _throughput(
        meta.billing, meta.throughput, meta.throughput_changed_at, decreases_today(meta.decreases or 0, meta.throughput_changed_at, now_us)
    )


def index_throughput(billing: str, index: GlobalIndex, now_us: int) -> Body:
    """As `throughput_description`."""
    return _throughput(
        billing, index.throughput, index.throughput_changed_at, decreases_today(index.decreases, index.throughput_changed_at, now_us)
    )


def _throughput(billing: str, units: Throughput, changed_at: tuple[int | None, int | None], decreases: int) -> Body:
    """changed_at: when it was last increased, and decreased."""
    increased, decreased = changed_at
    throughput: Body = {
        "NumberOfDecreasesToday": decreases,
        "ReadCapacityUnits": units.read if billing == "PROVISIONED" else 0,
        "WriteCapacityUnits": units.write if billing == "PROVISIONED" else 0,
    }
    if increased is not None:
        throughput["LastIncreaseDateTime"] = seconds(increased)
    if decreased is not None:
        throughput["LastDecreaseDateTime"] = seconds(decreased)
    return {"ProvisionedThroughput": throughput}


_MADE_OF = ("AttributeDefinitions", "CreationDateTime", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes")


def deleted_description(description: Body) -> Body:
    """What DeleteTable shows of `description`: without what the table was made of."""
    return {name: value for name, value in description.items() if name not in _MADE_OF}


def brings_indexes(meta: TableMeta) -> bool:
    """A table that was restored or imported, and serves, has not yet all the global indexes that came with it."""
    origin = meta.restore_of
    return origin is not None and any(origin.brings(index) for index in meta.global_indexes or ())


def _is_coming(meta: TableMeta) -> bool:
    """It is being restored or imported, as AWS counts: until its indexes are there too. Who waits for ACTIVE reads them next."""
    return meta.restore_of is not None and (meta.restore_of.in_progress or brings_indexes(meta))


def _status(meta: TableMeta) -> str:
    return "CREATING" if _is_coming(meta) else meta.status


def _restore_summary(meta: TableMeta, source_arn: str | None) -> Body:
    assert meta.restore_of is not None
    summary: Body = {"RestoreDateTime": seconds(meta.restore_of.at), "RestoreInProgress": _is_coming(meta)}
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
