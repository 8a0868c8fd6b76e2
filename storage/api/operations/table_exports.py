"""Exports of tables, in DynamoDB's words. What is behind them: `storage.backend.TableTransfers`."""

from __future__ import annotations

from typing import Any

from scrubjay.base.errors import Conflict, Invalid, Missing, ScrubjayError, Unsafe
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import export_arn, seconds
from scrubjay.storage.api.operations.backups import backed_up_table, check_settled, table_of_arn
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_not_asked, read_input
from scrubjay.storage.api.operations.table_shapes import TRANSFER_BUCKET, TRANSFER_OWNER, TRANSFER_PREFIX, TRANSFER_TOKEN
from scrubjay.storage.api.shapes import NAMES, VALUES, Int, Str, Struct, Timestamp
from scrubjay.storage.api.transfer_words import failure_members, named_by, page_token, place_of_token
from scrubjay.storage.backend import ExportInfo, ExportSpec

_INVALID = "One or more parameter values were invalid: "
_REQUEST = "Invalid Request: "
_FULL, _INCREMENTAL = "FULL_EXPORT", "INCREMENTAL_EXPORT"
TABLE_ARN = Str(min_chars=1, max_chars=limits.TABLE_ARN_CHARS_MAX)
_EXPORT_ARN = Str(min_chars=limits.TRANSFER_ARN_CHARS_MIN, max_chars=limits.TRANSFER_ARN_CHARS_MAX)
_ECHOED = ("S3Bucket", "S3BucketOwner", "S3Prefix", "S3SseAlgorithm", "ExportType")

_EXPORT = Struct(
    "ExportTableToPointInTimeInput",
    {
        "TableArn": Str(max_chars=limits.TABLE_ARN_CHARS_MAX),
        "ExportTime": Timestamp(),
        "ClientToken": TRANSFER_TOKEN,
        "S3Bucket": TRANSFER_BUCKET,
        "S3BucketOwner": TRANSFER_OWNER,
        "S3Prefix": TRANSFER_PREFIX,
        "S3SseAlgorithm": Str(enum=("AES256", "KMS")),
        "S3SseKmsKeyId": Str(min_chars=1, max_chars=limits.KMS_KEY_CHARS_MAX),
        "ExportFormat": Str(enum=("DYNAMODB_JSON", "ION")),
        "ExportType": Str(enum=(_FULL, _INCREMENTAL)),
        "IncrementalExportSpecification": Struct(
            "IncrementalExportSpecification",
            {
                "ExportFromTime": Timestamp(),
                "ExportToTime": Timestamp(),
                "ExportViewType": Str(enum=("NEW_IMAGE", "NEW_AND_OLD_IMAGES")),
            },
        ),
        "FilterSpecification": Struct(
            "FilterSpecification",
            {
                "FilterExpression": Str(),
                "ProjectionExpression": Str(),
                "KeyConditionExpression": Str(),
                "ExpressionAttributeNames": NAMES,
                "ExpressionAttributeValues": VALUES,
            },
        ),
    },
    required=("TableArn", "S3Bucket"),
)
_DESCRIBE = Struct("DescribeExportInput", {"ExportArn": _EXPORT_ARN}, required=("ExportArn",))
_LIST = Struct(
    "ListExportsInput", {"TableArn": TABLE_ARN, "MaxResults": Int(minimum=1, maximum=limits.LIST_TRANSFERS_MAX), "NextToken": Str()}
)


def place_of(bucket: str, prefix: str | None) -> str:
    return f"s3://{bucket}/{(prefix or '').strip('/')}".rstrip("/")


def _spec(data: Body) -> ExportSpec:
    """What is asked for, in our words: from exclusive, to inclusive. Raises ValidationException."""
    if "FilterSpecification" in data and not data["FilterSpecification"]:
        raise errors.validation(_REQUEST + "Invalid FilterSpecification: The specification can not be empty")
    if "S3SseKmsKeyId" in data and data.get("S3SseAlgorithm") != "KMS":
        raise errors.validation(_REQUEST + "KMS Key Id is not supported for this encryption type")
    check_not_asked(data, "FilterSpecification", "S3SseKmsKeyId")
    if data.get("ExportFormat") == "ION":
        raise errors.not_built("ExportFormat ION")
    if data.get("S3SseAlgorithm") == "KMS":
        raise errors.not_built("S3SseAlgorithm KMS")
    kind, part = data.get("ExportType", _FULL), data.get("IncrementalExportSpecification")
    echo = {name: data[name] for name in _ECHOED if name in data}
    token, place = data.get("ClientToken"), place_of(data["S3Bucket"], data.get("S3Prefix"))
    if kind == _FULL:
        if part is not None and "ExportType" in data:
            raise errors.validation(_REQUEST + "When Export Type is Full Export , Incremental Export Specification should not be provided")
        if part is not None:
            raise errors.validation(
                _REQUEST + "Export Type expected to be Incremental Export when incremental export specification is provided"
            )
        return ExportSpec(place=place, at_us=data.get("ExportTime"), token=token, echo=echo)
    if "ExportTime" in data:
        raise errors.validation(_INVALID + "ExportTime cannot be specified when ExportType is INCREMENTAL_EXPORT")
    if part is None:
        raise errors.validation(_REQUEST + "Incremental Export Specification expected when export type is set as Incremental Export")
    if "ExportFromTime" not in part:
        raise errors.validation(_REQUEST + "ExportFromTime must be provided in IncrementalExportSpecification")
    to_us = part.get("ExportToTime")
    if to_us is not None and to_us <= part["ExportFromTime"]:
        raise errors.invalid_export_time("Incremental export period is invalid: ExportToTime must be later than ExportFromTime")
    return ExportSpec(
        place=place, at_us=None if to_us is None else to_us - 1, from_us=part["ExportFromTime"] - 1,
        view=part.get("ExportViewType", "NEW_AND_OLD_IMAGES"), token=token, echo=echo,
    )  # fmt: skip


def _description(call: Call, info: ExportInfo) -> Body:
    spec = info.spec
    table_arn = call.api.table_arn(info.table_name)
    found: Body = {
        "ExportArn": export_arn(table_arn, info.id),
        "ExportStatus": info.status,
        "StartTime": seconds(info.started_us),
        "TableArn": table_arn,
        "TableId": info.table_id,
        "S3SseAlgorithm": "AES256",
        "ExportFormat": spec.format,
        **({} if spec.from_us is None else {"ExportType": _INCREMENTAL}),  # of a full one only if it was asked for
        **spec.echo,
    }
    if spec.token is not None:
        found["ClientToken"] = spec.token
    if spec.from_us is None:
        found["ExportTime"] = seconds(info.at_us)
    else:
        found["IncrementalExportSpecification"] = {
            "ExportFromTime": seconds(spec.from_us + 1),
            "ExportToTime": seconds(info.at_us + 1),
            "ExportViewType": spec.view,
        }
    if info.status != "IN_PROGRESS" and info.ended_us is not None:
        found["EndTime"] = seconds(info.ended_us)
    if info.status == "COMPLETED":
        found |= {"ExportManifest": info.manifest, "ItemCount": info.items, "BilledSizeBytes": info.bytes}
    return found | failure_members(info.failure)


def _kind(info: ExportInfo) -> str:
    return _FULL if info.spec.from_us is None else _INCREMENTAL


async def export_table_to_point_in_time(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    spec = _spec(data)
    if not data["TableArn"]:
        raise errors.validation("Invalid TableArn: Invalid Table ARN")
    meta = backed_up_table(call, table_of_arn(call, data["TableArn"]), data["TableArn"])
    check_settled(meta)
    if not call.api.backend.continuous_backups(meta).enabled:
        raise errors.point_in_time_recovery_unavailable(meta.name)
    time = "Export Time is invalid" if spec.from_us is None else "Incremental export period is invalid"
    try:
        info = await call.api.backend.table_transfers().start_export(meta, spec)
    except Conflict:
        raise errors.export_conflict() from None
    except Unsafe as error:
        if error.fields.get("error_code") == "TooMany":
            raise errors.limit_exceeded(error.message) from None
        raise errors.invalid_export_time(f"{time}: {error.message}") from None
    except Invalid as error:
        raise errors.validation(_INVALID + error.message) from None
    except Missing as error:
        raise errors.invalid_export_time(f"{time}: {error.message}") from None
    except ScrubjayError as error:
        raise errors.internal(f"The export was not started, or ListExports shows it: {error.message}") from error
    call.reply({"ExportDescription": _description(call, info)})


def describe_export(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    arn = data["ExportArn"]
    named = named_by(arn, "export", call.api.account)
    info = next((one for one in call.api.backend.table_transfers().exports_info() if (one.table_name, one.id) == named), None)
    if info is None:
        raise errors.export_not_found(arn)
    call.reply({"ExportDescription": _description(call, info)})


def list_exports(call: Call) -> None:
    """Newest first. Of a table: those of the one that has the name now."""
    data = read_input(call)
    check_constraints(call)
    before = place_of_token("export", data["NextToken"]) if "NextToken" in data else None
    table_id: str | None = None
    if "TableArn" in data:
        meta = call.api.backend.table(table_of_arn(call, data["TableArn"]))
        table_id = "" if meta is None else meta.table_id
    limit = data.get("MaxResults", limits.LIST_TRANSFERS_DEFAULT)
    found = [
        one
        for one in reversed(call.api.backend.table_transfers().exports_info())
        if table_id in (None, one.table_id) and (before is None or one.id < before)
    ]
    answer: Body = {
        "ExportSummaries": [
            {"ExportArn": export_arn(call.api.table_arn(one.table_name), one.id), "ExportStatus": one.status, "ExportType": _kind(one)}
            for one in found[:limit]
        ]
    }
    if len(found) > limit:
        answer["NextToken"] = page_token("export", found[limit - 1].id)
    call.reply(answer)


OPERATIONS: dict[str, Any] = {
    "ExportTableToPointInTime": Operation(_EXPORT, export_table_to_point_in_time),
    "DescribeExport": Operation(_DESCRIBE, describe_export),
    "ListExports": Operation(_LIST, list_exports),
}
