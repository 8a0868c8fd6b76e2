"""Data files of an export: AWS's lines and sums, a bounded size, and a digest of what was read back, which notices whatever the place changed."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
from typing import Any

import msgspec
import pytest

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Unsafe
from scrubjay.pitr.transfer import export_files
from scrubjay.pitr.transfer.aws_layout import NEW_AND_OLD_IMAGES, NEW_IMAGE, DataFile, ExportSummary, manifests
from scrubjay.pitr.transfer.export_files import export_rows, put_job
from scrubjay.pitr.transfer.formats import CsvItems, Format, JsonChanges, JsonItems
from scrubjay.sim.jobs import SimJobContext
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.wire import item_from_json, item_to_json
from scrubjay.storage.log.digest import MASK, Total

KEY = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))
ID, PARTITION = "01760000000123-00c0ffee", "9a471710-0000-4000-8000-000000000003"
PAD = 'pä"d\u2028\r\n,'
Rows = dict[bytes, bytes]


def items(count: int) -> Rows:
    """Of every type there is, by storage key."""
    found = {}
    for number in range(count):
        item = item_from_json(
            {
                "pk": {"S": f"key-{number % 7}"}, "sk": {"N": str(number)}, "text": {"S": PAD * (number % 5)}, "number": {"N": "-1.50E+30"}, "none": {"NULL": True},
                "yes": {"BOOL": number % 2 == 0}, "bytes": {"B": base64.b64encode(bytes(range(number % 9))).decode()}, "empty": {"S": ""},
                "list": {"L": [{"N": "0"}, {"M": {"deep": {"SS": ["b", "a"]}}}]}, "numbers": {"NS": ["10", "9.0"]}, "blobs": {"BS": ["AA==", "Ag=="]},
            }
        )  # fmt: skip
        found[storage_key(KEY, item)] = encode_item(item)
    return dict(sorted(found.items()))


def flat(count: int) -> Rows:
    found = {}
    for number in range(count):
        item = item_from_json(
            {
                "pk": {"S": f"key-{number % 7}"}, "sk": {"N": str(number)}, f"text{number % 3}": {"S": PAD * (1 + number % 3)}, "yes": {"BOOL": number % 2 == 0},
                "bytes": {"B": "AAEC"},
            }
        )  # fmt: skip
        found[storage_key(KEY, item)] = encode_item(item)
    return dict(sorted(found.items()))


def shown(item: bytes) -> Any:
    from scrubjay.storage.items.encoding import decode_item

    return json.loads(json.dumps(item_to_json(decode_item(item))))


def row_file(disk: LoneDisk, rows: Rows, *, stamp: int = 5 << 12) -> Total:
    data = bytearray()
    writer = RowFileWriter(data.extend)
    for lsn, (key, item) in enumerate(rows.items(), 1):
        writer.add(key, lsn, stamp, item)
    total = writer.finish()
    disk.write_file("rows", bytes(data))
    return total


def exported(
    rows: Rows, store: LoneStore, format_: Format, *, incremental: bool = False, stamp: int = 5 << 12
) -> tuple[list[DataFile], Total]:
    disk, host = LoneDisk(), LoneHost()
    total = row_file(disk, rows, stamp=stamp)
    files, found = host.run(export_rows(store, disk, "rows", format_=format_, id_=ID, partition=PARTITION, incremental=incremental))
    assert found == total
    return files, found


def repr_of(text: str) -> str:
    return ascii(text[:9])


def lines_in(store: LoneStore, files: list[DataFile]) -> list[Any]:
    return [json.loads(line) for file in files for line in gzip.decompress(store.objects[file.key]).split(b"\n")[:-1]]


def test_every_item_is_there_as_dynamodb_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "FILE_BYTES", 4000)
    rows, store = items(60), LoneStore()
    files, found = exported(rows, store, JsonItems(KEY))
    assert found == Total(sum(row_hash(key, item) for key, item in rows.items()) & MASK, 60)
    assert len(files) == 4
    for number, file in enumerate(files):
        data = store.objects[file.key]
        assert file.key == f"AWSDynamoDB/{ID}/data/{PARTITION}-{number:06d}.json.gz"
        assert (file.bytes, file.etag) == (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
        assert base64.b64decode(file.md5).hex() == file.etag
        assert len(gzip.decompress(data)) < 3 * 4000, "one file is held in memory"
    assert sum(file.items for file in files) == 60
    assert lines_in(store, files) == [{"Item": shown(item)} for item in rows.values()]


@pytest.mark.parametrize("format_", [JsonItems(KEY), CsvItems(KEY), JsonChanges(KEY, NEW_IMAGE)])
def test_an_empty_partition_has_one_file(format_: Format) -> None:
    files, found = exported({}, LoneStore(), format_)
    assert (found, [file.items for file in files]) == (Total(0, 0), [0])


def test_changes_have_both_images_their_key_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    both = list(items(3).items())
    images = [(None, both[0][1]), (both[1][1], None), (both[2][1], both[2][1][:-1] + both[2][1][-1:])]
    rows = {key: msgspec.msgpack.encode(image) for (key, _), image in zip(both, images, strict=True)}
    stamp = 1_760_000_000_000_001 << 12
    for view in (NEW_AND_OLD_IMAGES, NEW_IMAGE):
        store = LoneStore()
        files, _ = exported(rows, store, JsonChanges(KEY, view), incremental=True, stamp=stamp)
        assert files[0].key == f"AWSDynamoDB/data/{ID}-{PARTITION}-000000.json.gz"
        expected = []
        for (before, after), (_, item) in zip(images, both, strict=True):
            line = {
                "Metadata": {"WriteTimestampMicros": {"N": "1760000000000001"}},
                "Keys": {name: shown(item)[name] for name in ("pk", "sk")},
            }
            if before is not None and view == NEW_AND_OLD_IMAGES:
                line["OldImage"] = shown(before)
            if after is not None:
                line["NewImage"] = shown(after)
            expected.append(line)
        assert lines_in(store, files) == expected
    store = LoneStore()
    files, _ = exported(rows, store, JsonChanges(KEY, NEW_IMAGE), incremental=True, stamp=0)
    assert "Metadata" not in lines_in(store, files)[0], "nobody knows when"


def test_csv_has_scalars_as_text_under_a_header_and_refuses_the_rest() -> None:
    rows, store = flat(20), LoneStore()
    files, _ = exported(rows, store, CsvItems(KEY))
    assert files[0].key.endswith(".csv.gz")
    header, *lines = csv.reader(io.StringIO(gzip.decompress(store.objects[files[0].key]).decode(), newline=""))
    assert header == ["pk", "sk", "bytes", "text0", "text1", "text2", "yes"]
    found = [{name: text for name, text in zip(header, line, strict=True) if text} for line in lines]
    texts = [{name: next(iter(value.values())) for name, value in shown(item).items()} for item in rows.values()]
    assert found == [{name: {True: "true", False: "false"}.get(text, text) for name, text in one.items()} for one in texts]
    for bad in ({"L": []}, {"NULL": True}, {"SS": ["a"]}, {"M": {}}, {"S": ""}, {"B": ""}):
        item = item_from_json({"pk": {"S": "a"}, "sk": {"N": "1"}, "bad": bad})
        with pytest.raises(Unsafe, match="CSV cannot carry") as refused:
            exported({storage_key(KEY, item): encode_item(item)}, LoneStore(), CsvItems(KEY))
        assert refused.value.fields["attribute"] == "bad"
        assert refused.value.fields["key"] == {"pk": {"S": "a"}, "sk": {"N": "1"}}


@pytest.mark.parametrize(
    "text", ["a\rb", "\r", "\n", "a\r\nb", '"', ",", " a ", "\0", "\x1c\x85\u2028", "\ufeff", "'", "x" * 300_000], ids=repr_of
)
def test_csv_carries_any_text(text: str) -> None:
    item = item_from_json(
        {"pk": {"S": "a"}, "sk": {"N": "1"}, "text": {"S": text}, f"name {text[:9]}": {"B": base64.b64encode(text.encode()).decode()}}
    )
    store = LoneStore()
    files, _ = exported({storage_key(KEY, item): encode_item(item)}, store, CsvItems(KEY))
    header, line = csv.reader(io.StringIO(gzip.decompress(store.objects[files[0].key]).decode(), newline=""))
    assert dict(zip(header, line, strict=True)) == {name: next(iter(value.values())) for name, value in shown(encode_item(item)).items()}


def changed(what: str, lines: list[bytes]) -> list[bytes]:
    return {
        "value": [lines[0], lines[1].replace(b"key-", b"kez-"), *lines[2:]], "lost": lines[:-1], "twice": [*lines[:-1], lines[1]],
        "no item": [lines[0], b"{}", *lines[2:]], "no json": [lines[0], b"{", *lines[2:]],
    }[what]  # fmt: skip


@pytest.mark.parametrize("what", ["value", "lost", "twice", "torn", "no gzip", "no item", "no json"])
@pytest.mark.parametrize("format_", [JsonItems(KEY), CsvItems(KEY)])
def test_whatever_the_place_changes_is_noticed(what: str, format_: Format) -> None:
    class Lying(LoneStore):
        async def get(self, key: str) -> bytes:
            lines = gzip.decompress(await super().get(key)).split(b"\n")[:-1]
            if what == "torn":
                return (await super().get(key))[:-9]
            if what == "no gzip":
                return b"\n".join(lines)
            return gzip.compress(b"\n".join(changed(what, lines)) + b"\n")

    with pytest.raises(Corrupt):
        exported(flat(12) if isinstance(format_, CsvItems) else items(12), Lying(), format_)


def test_an_image_that_differs_is_noticed() -> None:
    key, item = next(iter(items(1).items()))

    class Lying(LoneStore):
        async def get(self, key: str) -> bytes:
            return gzip.compress(gzip.decompress(await super().get(key)).replace(b'"OldImage"', b'"OtherImage"'))

    with pytest.raises(Corrupt, match="does not hold"):
        exported({key: msgspec.msgpack.encode((item, None))}, Lying(), JsonChanges(KEY, NEW_AND_OLD_IMAGES))


SUMMARY = ExportSummary(
    id="x", table="orders", table_id="id", arn="arn:aws:dynamodb:us-east-1:000000000000:table/orders", format="dynamodb-json", at_us=1_760_000_000_000_000,
    from_us=None, view="NEW_IMAGE", started_us=1_760_000_001_000_000, ended_us=1_760_000_002_000_000, place="s3://bucket/deep/prefix", digest="ab",
    key=[("pk", "S")],
)  # fmt: skip


def test_the_manifests_name_every_file_and_prove_themselves() -> None:
    files = [
        DataFile("AWSDynamoDB/x/data/a-000000.json.gz", 3, "m1", "e1", 10),
        DataFile("AWSDynamoDB/x/data/b-000000.json.gz", 4, "m2", "e2", 20),
    ]
    put = manifests(SUMMARY, files)
    names = [key.removeprefix("AWSDynamoDB/x/") for key, _ in put]
    assert names == ["manifest-files.json", "manifest-files.md5", "manifest-scrubjay.json", "manifest-summary.md5", "manifest-summary.json"]
    by = dict(zip(names, (data for _, data in put), strict=True))
    for name in ("manifest-files", "manifest-summary"):
        assert base64.b64decode(by[f"{name}.md5"]) == hashlib.md5(by[f"{name}.json"], usedforsecurity=False).digest()
    assert [json.loads(line) for line in by["manifest-files.json"].splitlines()] == [
        {"itemCount": 3, "md5Checksum": "m1", "etag": "e1", "dataFileS3Key": "deep/prefix/AWSDynamoDB/x/data/a-000000.json.gz"},
        {"itemCount": 4, "md5Checksum": "m2", "etag": "e2", "dataFileS3Key": "deep/prefix/AWSDynamoDB/x/data/b-000000.json.gz"},
    ]
    said = json.loads(by["manifest-summary.json"])
    assert (said["itemCount"], said["billedSizeBytes"], said["exportTime"]) == (7, 30, "2025-10-09T08:53:20.000000Z")
    assert (said["s3Bucket"], said["s3Prefix"], said["outputFormat"], said["exportType"]) == (
        "bucket",
        "deep/prefix",
        "DYNAMODB_JSON",
        "FULL_EXPORT",
    )
    assert said["manifestFilesS3Key"] == "deep/prefix/AWSDynamoDB/x/manifest-files.json"
    local = json.loads(manifests(SUMMARY._replace(place="file:///srv/my%20out"), files)[-1][1])
    assert (local["s3Bucket"], local["s3Prefix"], local["manifestFilesS3Key"]) == (
        "/srv/my out",
        None,
        "AWSDynamoDB/x/manifest-files.json",
    )
    part = json.loads(manifests(SUMMARY._replace(from_us=1_759_999_999_000_000, view=NEW_AND_OLD_IMAGES), files)[-1][1])
    assert (part["exportType"], part["outputView"]) == ("INCREMENTAL_EXPORT", "NEW_AND_OLD_IMAGES")
    assert (part["exportFromTime"], part["exportToTime"]) == ("2025-10-09T08:53:19.000000Z", "2025-10-09T08:53:20.000000Z")
    assert "exportTime" not in part


def test_what_another_life_put_is_proven_and_not_believed() -> None:
    """A second life of one export finds its files there; what another wrote is no such file."""
    rows, store = items(12), LoneStore()
    first, _ = exported(rows, store, JsonItems(KEY))
    assert exported(rows, store, JsonItems(KEY))[0] == first
    with pytest.raises(Corrupt, match="does not hold"):
        exported(items(11), store, JsonItems(KEY))
    host = LoneHost()
    context = SimJobContext(LoneDisk(), lambda _url: store, None)
    arguments = {"url": "x", "objects": [["a", "1"], ["b", ""]]}
    host.run(put_job(context, arguments))
    host.run(put_job(context, arguments))
    assert (store.objects["a"], store.objects["b"]) == (b"1", b"")
    with pytest.raises(Corrupt, match="what was put"):
        host.run(put_job(context, {"url": "x", "objects": [["a", "2"]]}))
