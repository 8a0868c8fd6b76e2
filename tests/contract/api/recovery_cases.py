"""Cases of backups, restores, exports and imports (see error_cases). Nothing of the tables that they name is changed by one."""

from __future__ import annotations

from typing import Any

from tests.contract.api.item_cases import INVALID, ONE, V

Case = tuple[tuple[str, dict[str, Any]], str, str]
HASH = "arn:aws:dynamodb:us-east-1:000000000000:table/hash"
FOREIGN = HASH.replace("000000000000", "123456789012")
ID = "01489602797149-73d8d5bc"
REQUEST = "Invalid Request: "
DENIED = ("AccessDeniedException", "Access is denied")
TIME = "InvalidExportTimeException"


def export(**more: Any) -> tuple[str, dict[str, Any]]:
    return "ExportTableToPointInTime", {"TableArn": HASH, "S3Bucket": "bucket", **more}


def imported(**more: Any) -> tuple[str, dict[str, Any]]:
    table = {
        "TableName": "fresh", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST",
    }  # fmt: skip
    source = {"S3Bucket": "bucket", "S3KeyPrefix": "p"}
    return "ImportTable", {
        "S3BucketSource": source, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": table, "ClientToken": "t", **more
    }  # fmt: skip


def restore(**more: Any) -> tuple[str, dict[str, Any]]:
    return "RestoreTableToPointInTime", {"SourceTableName": "hash", "TargetTableName": "fresh", "UseLatestRestorableTime": True, **more}


def of_source(**source: Any) -> tuple[str, dict[str, Any]]:
    return "RestoreTableToPointInTime", {"TargetTableName": "fresh", "UseLatestRestorableTime": True, **source}


def null_at(member: str) -> str:
    return f"{ONE}Value null at '{member}' failed to satisfy constraint: Member must not be null"


def no_backup(arn: str) -> tuple[str, dict[str, Any]]:
    return "DescribeBackup", {"BackupArn": arn}


EXPORTS: list[Case] = [
    (export(TableArn="hash"), V, INVALID + "tableArn is not a valid ARN"),
    (export(TableArn=HASH + "/index/by_day"), V, REQUEST + "Table ARN is invalid."),
    (export(TableArn=FOREIGN), *DENIED),
    (export(TableArn=HASH.replace("hash", "absent")), "TableNotFoundException", "Table not found: " + HASH.replace("hash", "absent")),
    (export(S3SseKmsKeyId="k"), V, REQUEST + "KMS Key Id is not supported for this encryption type"),
    (export(S3SseKmsKeyId="k", S3SseAlgorithm="KMS"), V, INVALID + "S3SseKmsKeyId is not supported"),
    (export(FilterSpecification={}), V, REQUEST + "Invalid FilterSpecification: The specification can not be empty"),
    (
        export(IncrementalExportSpecification={}),
        V,
        REQUEST + "Export Type expected to be Incremental Export when incremental export specification is provided",
    ),
    (
        export(ExportType="FULL_EXPORT", IncrementalExportSpecification={"ExportFromTime": 1}),
        V,
        REQUEST + "When Export Type is Full Export , Incremental Export Specification should not be provided",
    ),
    (
        export(ExportType="INCREMENTAL_EXPORT"),
        V,
        REQUEST + "Incremental Export Specification expected when export type is set as Incremental Export",
    ),
    (
        export(ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification={"ExportViewType": "NEW_IMAGE"}),
        V,
        REQUEST + "ExportFromTime must be provided in IncrementalExportSpecification",
    ),
    (
        export(ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification={"ExportFromTime": 9, "ExportToTime": 9}),
        TIME,
        "Incremental export period is invalid: ExportToTime must be later than ExportFromTime",
    ),
    (("DescribeExport", {"ExportArn": HASH}), V, "Invalid Export ARN"),
    (("DescribeExport", {"ExportArn": f"{HASH}/import/{ID}"}), V, "Invalid Export ARN"),
    (("DescribeExport", {"ExportArn": "x" * 40}), V, "Invalid Export ARN"),
    (("DescribeExport", {"ExportArn": f"{FOREIGN}/export/{ID}"}), *DENIED),
    (
        ("DescribeExport", {"ExportArn": f"{HASH}/export/{ID}"}),
        "ExportNotFoundException",
        f"Export not found: Export not found: {HASH}/export/{ID}",
    ),
    (("ListExports", {"NextToken": "0" * 112}), V, REQUEST + "Provided nextToken is invalid: " + "0" * 112),
    (("ListExports", {"NextToken": "junk"}), V, REQUEST + "Provided nextToken is invalid: junk"),
    (
        ("ListExports", {"MaxResults": 26}),
        V,
        f"{ONE}Value '26' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 25",
    ),
]
IMPORTS: list[Case] = [
    (imported(ClientToken=None), V, null_at("clientToken")),
    (
        imported(ClientToken="has$dollar"),
        V,
        f"{ONE}Value 'has$dollar' at 'clientToken' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\$]+",
    ),
    (
        imported(InputFormatOptions={"Csv": {"Delimiter": ","}}),
        V,
        REQUEST + "Unsupported InputFormatOptions for the given input format: DYNAMODB_JSON.",
    ),
    (
        imported(InputCompressionType="BZIP2"),
        V,
        f"{ONE}Value 'BZIP2' at 'inputCompressionType' failed to satisfy constraint: Member must satisfy enum value set: [ZSTD, NONE, GZIP]",
    ),
    (("DescribeImport", {"ImportArn": HASH}), V, "Invalid Import ARN"),
    (("DescribeImport", {"ImportArn": HASH.replace("hash", f"x/import/{ID}")}), V, "Invalid Import ARN"),
    (("DescribeImport", {"ImportArn": f"{HASH}/export/{ID}"}), V, "Invalid Import ARN"),
    (("DescribeImport", {"ImportArn": f"{FOREIGN}/import/{ID}"}), *DENIED),
    (("DescribeImport", {"ImportArn": f"{HASH}/import/{ID}"}), "ImportNotFoundException", f"Import not found: {HASH}/import/{ID}"),
    (("ListImports", {"NextToken": "0" * 112}), V, REQUEST + "Provided nextToken is invalid: " + "0" * 112),
]
RESTORES: list[Case] = [
    (restore(SourceTableArn=HASH), V, INVALID + "Must provide exactly one of: sourceTableArn, sourceTableName"),
    (of_source(), V, "The parameter 'TableName' is required but was not present in the request"),
    (of_source(SourceTableArn="hash"), V, INVALID + "ARNs must start with 'arn:': hash"),
    (of_source(SourceTableArn="arn:hash"), V, INVALID + "sourceTableArn is not a valid ARN"),
    (of_source(SourceTableArn=FOREIGN), V, "This action is only supported by accounts that match the resource owner\u2019s account."),
    (
        restore(RestoreDateTime=9),
        V,
        REQUEST + "Both RestoreDateTime and UseLatestRestorableTime cannot be set for point-in-time restore request. "
        "Please specify either RestoreDateTime time or UseLatestRestorableTime",
    ),
    (
        restore(UseLatestRestorableTime=False),
        V,
        REQUEST + "Either one of RestoreDateTime or UseLatestRestorableTime must be specified, but not both",
    ),
    (
        restore(ProvisionedThroughputOverride={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}),
        V,
        REQUEST + "Cannot override ProvisionedThroughput unless BillingMode is PROVISIONED",
    ),
    (
        restore(BillingModeOverride="PAY_PER_REQUEST", ProvisionedThroughputOverride={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}),
        V,
        REQUEST + "Cannot override ProvisionedThroughput if BillingMode is overridden to PAY_PER_REQUEST",
    ),
    (
        restore(BillingModeOverride="PROVISIONED"),
        V,
        REQUEST + "Must override ProvisionedThroughput if BillingMode is overridden to PROVISIONED",
    ),
    (
        restore(OnDemandThroughputOverride={"MaxReadRequestUnits": 0}),
        V,
        REQUEST + "Requested MaxReadRequestUnits for OnDemandThroughput is outside of valid range",
    ),
    (
        restore(
            BillingModeOverride="PROVISIONED",
            ProvisionedThroughputOverride={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            OnDemandThroughputOverride={"MaxWriteRequestUnits": 5},
        ),
        V,
        REQUEST + "Cannot override MaxWriteRequestUnits for OnDemandThroughput unless BillingModeOverride is PAY_PER_REQUEST",
    ),
    (
        (
            "UpdateContinuousBackups",
            {"TableName": "hash", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False, "RecoveryPeriodInDays": 7}},
        ),
        V,
        REQUEST + "Cannot specify RecoveryPeriodInDays when disabling point-in-time recovery.",
    ),
    (no_backup(HASH), V, "Invalid Backup ARN"),
    (no_backup("x" * 48), V, "Invalid Backup ARN"),
    (no_backup(f"{FOREIGN}/backup/{ID}"), *DENIED),
    (no_backup(f"{HASH.replace('dynamodb', 's3')}/backup/{ID}"), V, REQUEST + "BackupArn is not valid"),
    (
        ("ListBackups", {"TimeRangeLowerBound": 9, "TimeRangeUpperBound": 8}),
        V,
        INVALID + "Time range lower bound must be less than or equal to upper bound",
    ),
]
RECOVERY = EXPORTS + IMPORTS + RESTORES
