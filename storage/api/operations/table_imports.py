"""Imports of tables, in DynamoDB's words. What is behind them: `storage.backend.TableTransfers`."""

from __future__ import annotations

from typing import Any

from scrubjay.base.errors import Conflict, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import import_arn, seconds
from scrubjay.storage.api.operations.backups import TARGET_NAME, table_of_arn
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.table_exports import TABLE_ARN, place_of
from scrubjay.storage.api.operations.table_shapes import (
    ATTRIBUTE_DEFINITIONS,
    BILLING_MODE,
    ENCRYPTION,
    GLOBAL_INDEXES,
    KEY_SCHEMA,
    ON_DEMAND_THROUGHPUT,
    PROVISIONED_THROUGHPUT,
    TRANSFER_BUCKET,
    TRANSFER_OWNER,
    TRANSFER_PREFIX,
    TRANSFER_TOKEN,
    VECTOR_INDEXES,
)
from scrubjay.storage.api.operations.tables import check_quotas_of, table_spec
from scrubjay.storage.api.shapes import Int, ListOf, Str, Struct
from scrubjay.storage.api.transfer_words import failure_members, named_by, page_token, place_of_token
from scrubjay.storage.backend import ImportInfo, ImportSpec

_INVALID = "One or more parameter values were invalid: "
_FORMATS = {"DYNAMODB_JSON": "dynamodb-json", "CSV": "csv"}
_IMPORT_ARN = Str(min_chars=limits.TRANSFER_ARN_CHARS_MIN, max_chars=limits.TRANSFER_ARN_CHARS_MAX)
_ECHOED = ("S3BucketSource", "InputFormat", "InputFormatOptions", "InputCompressionType", "TableCreationParameters")

_IMPORT = Struct(
    "ImportTableInput",
    {
        "ClientToken": TRANSFER_TOKEN,
        "S3BucketSource": Struct(
            "S3BucketSource",
            {"S3BucketOwner": TRANSFER_OWNER, "S3Bucket": TRANSFER_BUCKET, "S3KeyPrefix": TRANSFER_PREFIX},
            required=("S3Bucket",),
        ),
        "InputFormat": Str(enum=("DYNAMODB_JSON", "ION", "CSV")),
        "InputFormatOptions": Struct(
            "InputFormatOptions",
            {
                "Csv": Struct(
                    "CsvOptions",
                    {
                        "Delimiter": Str(pattern=r"[,;:|\t ]", min_chars=1, max_chars=1),
                        "HeaderList": ListOf(
                            Str(pattern=r"[\x20-\x21\x23-\x2B\x2D-\x7E]*", min_chars=1, max_chars=limits.CSV_HEADER_CHARS_MAX),
                            min_items=1,
                            max_items=limits.CSV_HEADER_NAMES_MAX,
                        ),
                    },
                )
            },
        ),
        "InputCompressionType": Str(enum=("ZSTD", "NONE", "GZIP")),
        "TableCreationParameters": Struct(
            "TableCreationParameters",
            {
                "TableName": TARGET_NAME,
                "AttributeDefinitions": ATTRIBUTE_DEFINITIONS,
                "KeySchema": KEY_SCHEMA,
                "BillingMode": BILLING_MODE,
                "ProvisionedThroughput": PROVISIONED_THROUGHPUT,
                "OnDemandThroughput": ON_DEMAND_THROUGHPUT,
                "SSESpecification": ENCRYPTION,
                "GlobalSecondaryIndexes": GLOBAL_INDEXES,
                "VectorIndexes": VECTOR_INDEXES,
            },
            required=("TableName", "AttributeDefinitions", "KeySchema"),
        ),
    },
    required=("ClientToken", "S3BucketSource", "InputFormat", "TableCreationParameters"),
)
_DESCRIBE = Struct("DescribeImportInput", {"ImportArn": _IMPORT_ARN}, required=("ImportArn",))
_LIST = Struct(
    "ListImportsInput",
    {
        "TableArn": TABLE_ARN,
        "PageSize": Int(minimum=1, maximum=limits.LIST_TRANSFERS_MAX),
        "NextToken": Str(pattern=r"([0-9a-f]{16})+", min_chars=limits.TRANSFER_TOKEN_CHARS_MIN, max_chars=limits.TRANSFER_TOKEN_CHARS_MAX),
    },
)


def _spec(data: Body) -> ImportSpec:
    """Raises ValidationException."""
    if data["InputFormat"] == "ION":
        raise errors.not_built("InputFormat ION")
    source, asked = data["S3BucketSource"], data["TableCreationParameters"]
    csv = data.get("InputFormatOptions", {}).get("Csv")
    if csv and data["InputFormat"] != "CSV":
        raise errors.validation(f"Invalid Request: Unsupported InputFormatOptions for the given input format: {data['InputFormat']}.")
    csv = csv or {}
    return ImportSpec(
        place=place_of(source["S3Bucket"], source.get("S3KeyPrefix")),
        table=table_spec(asked),
        format=_FORMATS[data["InputFormat"]],
        compression=data.get("InputCompressionType", "NONE"),
        delimiter=csv.get("Delimiter", ","),
        header=tuple(csv["HeaderList"]) if "HeaderList" in csv else None,
        token=data.get("ClientToken"),
        echo={"InputCompressionType": "NONE"} | {name: data[name] for name in _ECHOED if name in data},
    )


def _summary(call: Call, info: ImportInfo) -> Body:
    table_arn = call.api.table_arn(info.table_name)
    found: Body = {
        "ImportArn": import_arn(table_arn, info.id),
        "ImportStatus": info.status,
        "TableArn": table_arn,
        "StartTime": seconds(info.started_us),
        **{name: info.echo[name] for name in ("S3BucketSource", "InputFormat") if name in info.echo},
    }
    if info.status != "IN_PROGRESS" and info.ended_us is not None:
        found["EndTime"] = seconds(info.ended_us)
    return found


def _description(call: Call, info: ImportInfo) -> Body:
    """What was counted is told at the end, as AWS: before, all counts are 0."""
    done = info.status == "COMPLETED"
    items = (info.items or 0) if done else 0
    found: Body = {
        **_summary(call, info),
        "TableId": info.table_id,
        "ProcessedItemCount": items + info.bad_lines,
        "ImportedItemCount": items,
        "ErrorCount": info.bad_lines,
        **info.echo,
    }
    if info.token is not None:
        found["ClientToken"] = info.token
    if done:
        found["ProcessedSizeBytes"] = info.bytes
    return found | failure_members(info.failure)


async def import_table(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    spec = _spec(data)
    check_quotas_of(call, spec.table)
    try:
        info = await call.api.backend.table_transfers().start_import(spec)
    except Conflict as error:
        if error.fields.get("error_code") == "TokenTaken":
            raise errors.import_conflict() from None
        raise errors.resource_in_use(f"Table already exists: {spec.table.name}") from None
    except Unsafe as error:
        if error.fields.get("error_code") == "TooMany":
            raise errors.limit_exceeded(error.message) from None
        raise errors.validation(_INVALID + error.message) from None
    except Invalid as error:
        raise errors.validation(_INVALID + error.message) from None
    except Unavailable as error:
        raise errors.internal(f"The import was not started, or ListImports shows it: {error.message}") from error
    except ScrubjayError as error:  # what lies there is damaged
        raise errors.validation(_INVALID + str(error)) from None
    call.reply({"ImportTableDescription": _description(call, info)})


def describe_import(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    arn = data["ImportArn"]
    named = named_by(arn, "import", call.api.account)
    info = next((one for one in call.api.backend.table_transfers().imports_info() if (one.table_name, one.id) == named), None)
    if info is None:
        raise errors.import_not_found(arn)
    call.reply({"ImportTableDescription": _description(call, info)})


def list_imports(call: Call) -> None:
    """Newest first. Of a table: those of all that had the name."""
    data = read_input(call)
    check_constraints(call)
    before = place_of_token("import", data["NextToken"]) if "NextToken" in data else None
    table = table_of_arn(call, data["TableArn"]) if "TableArn" in data else None
    limit = data.get("PageSize", limits.LIST_TRANSFERS_DEFAULT)
    found = [
        one
        for one in reversed(call.api.backend.table_transfers().imports_info())
        if table in (None, one.table_name) and (before is None or one.id < before)
    ]
    answer: Body = {"ImportSummaryList": [_summary(call, one) for one in found[:limit]]}
    if len(found) > limit:
        answer["NextToken"] = page_token("import", found[limit - 1].id)
    call.reply(answer)


OPERATIONS: dict[str, Any] = {
    "ImportTable": Operation(_IMPORT, import_table),
    "DescribeImport": Operation(_DESCRIBE, describe_import),
    "ListImports": Operation(_LIST, list_imports),
}
