"""The layout of an export, as AWS writes it: names of objects, the two manifests with their MD5. Pure.

AWSDynamoDB/<id>/_started                       empty: the place can be written
AWSDynamoDB/<id>/data/<partition>-<nnnnnn>.json.gz     of a full export; at least one file per partition
AWSDynamoDB/data/<id>-<partition>-<nnnnnn>.json.gz     of an incremental one: all of them share that folder
AWSDynamoDB/<id>/manifest-files.json            one line per data file; .md5 beside it
AWSDynamoDB/<id>/manifest-scrubjay.json         ours: the digest of what was exported, for who imports it
AWSDynamoDB/<id>/manifest-summary.json          last: an export without it is none; .md5 beside it
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.times import utc_text
from scrubjay.storage.api.describe import export_arn

MANIFEST_VERSION = "2020-06-30"
OURS_VERSION = 1
DYNAMODB_JSON, CSV, PARQUET = "dynamodb-json", "csv", "parquet"
"""Formats of data files."""
WORDS = {DYNAMODB_JSON: "DYNAMODB_JSON", CSV: "CSV", PARQUET: "PARQUET"}
"""As AWS's summaries and API name them, or would."""
NEW_IMAGE, NEW_AND_OLD_IMAGES = "NEW_IMAGE", "NEW_AND_OLD_IMAGES"
"""Views of an incremental export: whether a line has the image before, too."""
FILES, SUMMARY, OURS = "manifest-files.json", "manifest-summary.json", "manifest-scrubjay.json"
_encode = msgspec.json.Encoder().encode


class DataFile(NamedTuple):
    """key: object key, relative to the URL. md5: base64, as AWS has it. bytes: as they lie there."""

    key: str
    items: int
    md5: str
    etag: str
    bytes: int


class ExportSummary(NamedTuple):
    """What the manifests say beside the files. Times in microseconds. from_us: of an incremental export. place: URL; of `file:///folder` the folder stands for
    the bucket. digest: of the rows."""

    id: str
    table: str
    table_id: str
    arn: str
    format: str
    at_us: int
    from_us: int | None
    view: str
    started_us: int
    ended_us: int
    place: str
    digest: str
    key: list[tuple[str, str]]


def folder(id_: str) -> str:
    return f"AWSDynamoDB/{id_}/"


def started_key(id_: str) -> str:
    return folder(id_) + "_started"


def data_key(id_: str, partition: str, number: int, suffix: str, *, incremental: bool) -> str:
    stem = f"AWSDynamoDB/data/{id_}-{partition}" if incremental else f"{folder(id_)}data/{partition}"
    return f"{stem}-{number:06d}{suffix}"


def md5_of(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def etag_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def check_place(url: str) -> None:
    """Raises Invalid unless it is the URL of a folder or a bucket."""
    parts = urlsplit(url)
    good = parts.scheme in ("file", "s3") and not parts.query and not parts.fragment
    good = good and (bool(parts.netloc) if parts.scheme == "s3" else parts.netloc in ("", "localhost") and parts.path.startswith("/"))
    if not good:
        raise Invalid("no place of ours", asked=url, next="give file:///folder (of the server's machine, and there) or s3://bucket/prefix")


def place_of(url: str) -> tuple[str, str]:
    """Bucket and prefix, as manifests name them: of a folder, the folder itself and no prefix."""
    place = urlsplit(url)
    return (place.netloc, place.path.strip("/")) if place.scheme == "s3" else (unquote(place.path), "")


def manifests(summary: ExportSummary, files: list[DataFile]) -> list[tuple[str, bytes]]:
    """What is put after the data, in that order: the summary last."""
    bucket, prefix = place_of(summary.place)
    above = f"{prefix}/" if prefix else ""
    lines = [_encode({"itemCount": one.items, "md5Checksum": one.md5, "etag": one.etag, "dataFileS3Key": above + one.key}) for one in files]
    listed = b"".join(line + b"\n" for line in lines)
    here = folder(summary.id)
    said = _encode(_said(summary, files, bucket, prefix, above + here + FILES))
    ours = _encode(
        {
            "version": OURS_VERSION,
            "format": summary.format,
            "digest": summary.digest,
            "rows": sum(one.items for one in files),
            "key": summary.key,
            "incremental": summary.from_us is not None,
        }
    )
    return [
        (here + FILES, listed),
        (here + "manifest-files.md5", md5_of(listed).encode()),
        (here + OURS, ours),
        (here + "manifest-summary.md5", md5_of(said).encode()),
        (here + SUMMARY, said),
    ]


def _said(summary: ExportSummary, files: list[DataFile], bucket: str, prefix: str, listed_key: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "version": MANIFEST_VERSION,
        "exportArn": export_arn(summary.arn, summary.id),
        "startTime": utc_text(summary.started_us),
        "endTime": utc_text(summary.ended_us),
        "tableArn": summary.arn,
        "tableId": summary.table_id,
        "exportTime": utc_text(summary.at_us),
        "s3Bucket": bucket,
        "s3Prefix": prefix or None,
        "s3SseAlgorithm": None,
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": listed_key,
        "billedSizeBytes": sum(one.bytes for one in files),
        "itemCount": sum(one.items for one in files),
        "outputFormat": WORDS[summary.format],
        "outputView": summary.view,
        "exportType": "FULL_EXPORT",
    }
    if summary.from_us is not None:
        del said["exportTime"]
        said |= {"exportType": "INCREMENTAL_EXPORT", "exportFromTime": utc_text(summary.from_us), "exportToTime": utc_text(summary.at_us)}
    return said
