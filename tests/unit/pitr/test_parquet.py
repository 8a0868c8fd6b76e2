"""Parquet: what an export writes carries every item whole, and tells where it was changed; files of anybody become items, or say which row does not."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scrubjay.base.errors import Corrupt, Invalid, Unavailable, Unsafe
from scrubjay.pitr.transfer import export_files, known_formats
from scrubjay.pitr.transfer.aws_layout import NEW_AND_OLD_IMAGES, NEW_IMAGE
from scrubjay.pitr.transfer.known_formats import format_of
from scrubjay.pitr.transfer.parquet import ParquetChanges, ParquetItems, parquet_rows
from scrubjay.sim.lone import LoneStore
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.wire import item_from_json, item_to_json
from tests.fixtures.golden import Golden
from tests.unit.pitr.test_export_files import KEY, exported, items, shown
from tests.unit.pitr.test_exports import TO
from tests.unit.pitr.test_imports import KEY_ASKED, Importing, rows_of
from tests.unit.pitr.test_restore_archive import window
from tests.unit.pitr.timeline_world import made

TYPED = (("pk", "S"), ("sk", "N"))


def table_in(data: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    return rows


def file_of(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def read(data: bytes) -> list[Any]:
    return [item if why == "" else (number, why) for number, item, why in parquet_rows(io.BytesIO(data), name="f")]  # type: ignore[arg-type]


@pytest.fixture
def importing() -> Importing:
    return Importing(made(3, partitions=3))


# ------------------------------------------------------------------ what an export writes


def test_every_item_is_there_whole_and_its_key_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "FILE_BYTES", 4000)
    rows, store = items(60), LoneStore()
    number = "-" + "12345678901234567890123456789012345678" + "0" * 80
    precise = item_from_json(
        {"pk": {"S": "é\0"}, "sk": {"N": number}, "n": {"N": "0." + "0" * 90 + "1" * 38}, "set": {"NS": [number, "3"]}}
    )
    rows = dict(sorted({**rows, storage_key(KEY, precise): encode_item(precise)}.items()))
    files, found = exported(rows, store, ParquetItems(KEY))
    assert (len(files), found.rows) == (4, 61)
    there = [row for file in files for row in table_in(store.objects[file.key])]
    assert [json.loads(row["dynamodb_json"]) for row in there] == [shown(item) for item in rows.values()]
    for row, item in zip(there, rows.values(), strict=True):
        assert (row["pk"], row["sk"]) == (shown(item)["pk"]["S"], shown(item)["sk"]["N"])
    assert {number, "0"} <= {row["sk"] for row in there}
    assert files[0].key.endswith("-000000.parquet")
    assert pq.read_schema(pa.BufferReader(store.objects[files[0].key])).names == ["pk", "sk", "dynamodb_json"]


@pytest.mark.parametrize("format_", [ParquetItems(KEY), ParquetChanges(KEY, NEW_IMAGE)])
def test_an_empty_partition_has_one_file_with_the_columns_of_all(format_: Any) -> None:
    store = LoneStore()
    files, _ = exported({}, store, format_)
    assert [file.items for file in files] == [0]
    assert {"pk", "sk"} < set(pq.read_schema(pa.BufferReader(store.objects[files[0].key])).names)


def test_changes_have_both_images_and_when_or_none() -> None:
    both = list(items(3).items())
    images = [(None, both[0][1]), (both[1][1], None), (both[2][1], both[2][1])]
    rows = {key: msgspec.msgpack.encode(image) for (key, _), image in zip(both, images, strict=True)}
    for view in (NEW_AND_OLD_IMAGES, NEW_IMAGE):
        for stamp in (1_760_000_000_000_001 << 12, 0):
            store = LoneStore()
            files, _ = exported(rows, store, ParquetChanges(KEY, view), incremental=True, stamp=stamp)
            there = table_in(store.objects[files[0].key])
            for row, (before, after), (_, item) in zip(there, images, both, strict=True):
                assert (row["pk"], row["sk"]) == (shown(item)["pk"]["S"], shown(item)["sk"]["N"])
                when = datetime.datetime(2025, 10, 9, 8, 53, 20, 1, datetime.UTC) if stamp else None
                assert row["written_at"] == when
                assert row["new_dynamodb_json"] == (
                    None if after is None else json.dumps(shown(after), separators=(",", ":"), ensure_ascii=False)
                )
                old = row.get("old_dynamodb_json")
                assert (None if old is None else json.loads(old)) == (
                    shown(before) if before is not None and view == NEW_AND_OLD_IMAGES else None
                )
                assert ("old_dynamodb_json" in row) is (view == NEW_AND_OLD_IMAGES)


def test_a_key_of_bytes_is_bytes_and_reserved_names_are_refused() -> None:
    key = KeySchema(KeyAttribute("id", "B"), None)
    item = item_from_json({"id": {"B": "AAH/"}})
    store = LoneStore()
    files, _ = exported({storage_key(key, item): encode_item(item)}, store, ParquetItems(key))
    assert table_in(store.objects[files[0].key]) == [{"id": b"\0\1\xff", "dynamodb_json": '{"id":{"B":"AAH/"}}'}]
    for name in ("dynamodb_json", "Written_At"):
        with pytest.raises(Unsafe, match="Parquet cannot carry"):
            ParquetItems(KeySchema(KeyAttribute(name, "S"), None))


def rewritten(data: bytes, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    return file_of(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema))


def with_(rows: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [{**rows[0], **fields}, *rows[1:]]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "value": lambda data: rewritten(data, lambda rows: with_(rows, dynamodb_json=rows[0]["dynamodb_json"].replace('"NULL":true', '"BOOL":true'))),
    "key": lambda data: rewritten(data, lambda rows: with_(rows, pk="other")),
    "number": lambda data: rewritten(data, lambda rows: with_(rows, sk="99")),
    "lost": lambda data: rewritten(data, lambda rows: rows[1:]),
    "twice": lambda data: rewritten(data, lambda rows: [*rows[1:], rows[1]]),
    "null": lambda data: rewritten(data, lambda rows: with_(rows, dynamodb_json=None)),
    "no item": lambda data: rewritten(data, lambda rows: with_(rows, dynamodb_json="{")),
    "torn": lambda data: data[:-9],
    "no parquet": lambda _: b"PAR1",
    "nothing": lambda _: b"",
    "rot": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_whatever_the_place_changes_is_noticed(what: str) -> None:
    class Lying(LoneStore):
        async def get(self, key: str) -> bytes:
            return LIES[what](await super().get(key))

    with pytest.raises(Corrupt):
        exported(items(12), Lying(), ParquetItems(KEY))


@pytest.mark.parametrize("column", ["pk", "old_dynamodb_json", "new_dynamodb_json", "written_at"])
def test_a_column_of_changes_that_differs_is_noticed(column: str) -> None:
    (key, item), (_, other) = items(2).items()
    when = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    lies = {"pk": "other", "written_at": when, "old_dynamodb_json": None, "new_dynamodb_json": json.dumps(shown(other))}

    class Lying(LoneStore):
        async def get(self, key: str) -> bytes:
            return rewritten(await super().get(key), lambda rows: with_(rows, **{column: lies[column]}))

    rows = {key: msgspec.msgpack.encode((item, item))}
    exported(rows, LoneStore(), ParquetChanges(KEY, NEW_AND_OLD_IMAGES), incremental=True)
    with pytest.raises(Corrupt):
        exported(rows, Lying(), ParquetChanges(KEY, NEW_AND_OLD_IMAGES), incremental=True)


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("seed", range(3))
def test_what_was_exported_comes_back_equal_by_digest(seed: int) -> None:
    importing = Importing(made(seed, partitions=seed % 3 + 1))
    exported_ = importing.done(format="parquet")
    assert (exported_["state"], exported_["verdict"]) == ("completed", "match"), exported_
    assert exported_["digest"] == importing.done(at_us=None, url="s3://b/other")["digest"]
    report = importing.imported(f"{TO}/AWSDynamoDB/{exported_['export']}")
    assert (report["state"], report["verdict"], report["digest"]) == ("completed", "match", exported_["digest"]), report
    summary = json.loads(importing.place.objects[exported_["manifest"]])
    assert summary["outputFormat"] == "PARQUET"
    assert not importing.world.disk.files


def test_incremental_ones_and_those_without_manifests(importing: Importing) -> None:
    low, high = window(importing.world)
    report = importing.done(format="parquet", from_us=low, at_us=high)
    assert report["state"] == "completed", report
    assert report["rows"] == importing.done(from_us=low, at_us=high)["rows"]
    with pytest.raises(Unsafe, match="incremental"):
        importing.begin(f"{TO}/AWSDynamoDB/{report['export']}")
    changes = next(data for key, data in importing.place.objects.items() if key.endswith(".parquet"))
    importing.place.objects.clear()
    importing.put(a=changes)
    failed = importing.imported(key=TYPED, format="parquet")
    assert (failed["exit"], failed["error"]["code"]) == (4, "IncrementalExport"), failed
    whole = importing.done(format="parquet")
    files = [data for key, data in importing.place.objects.items() if key.endswith(".parquet")]
    importing.place.objects.clear()
    # As whoever filtered them with another program leaves them: columns in another order, nothing of ours in their metadata.
    tables = [pq.read_table(pa.BufferReader(data)) for data in files]
    importing.put(
        **{
            f"in__{number}": file_of(table.select(["dynamodb_json", "sk"]).replace_schema_metadata(None))
            for number, table in enumerate(tables)
        }
    )
    with pytest.raises(Invalid, match="type of a key attribute"):
        importing.begin(key=KEY_ASKED, format="parquet")
    report = importing.imported(key=TYPED, format="parquet")
    assert (report["state"], report["digest"], report["verdict"]) == ("completed", whole["digest"], None), report


# ------------------------------------------------------------------ files of anybody


FOREIGN = pa.schema(
    [
        ("pk", pa.dictionary(pa.int32(), pa.string())), ("sk", pa.int64()), ("f", pa.float64()), ("d", pa.decimal128(38, 10)), ("yes", pa.bool_()),
        ("bytes", pa.large_binary()), ("none", pa.null()), ("list", pa.list_(pa.float32())), ("deep", pa.struct([("a", pa.int8()), ("b", pa.string())])),
        ("map", pa.map_(pa.string(), pa.list_(pa.bool_()))),
    ]
)  # fmt: skip


def test_columns_become_attributes_and_null_is_none(importing: Importing) -> None:
    row = {
        "pk": "p1", "sk": 2**62, "f": 1e-7, "d": Decimal("12345678901234567890.5"), "yes": False, "bytes": b"\0", "list": [0.5, None],
        "deep": {"a": 1, "b": None}, "map": [("x", [True]), ("y", None)],
    }  # fmt: skip
    data = file_of(pa.Table.from_pylist([row, {"pk": "p2", "sk": 1}], schema=FOREIGN))
    expected = [
        {
            "pk": {"S": "p1"}, "sk": {"N": str(2**62)}, "f": {"N": "0.0000001"}, "d": {"N": "12345678901234567890.5"}, "yes": {"BOOL": False}, "bytes": {"B": "AA=="},
            "list": {"L": [{"N": "0.5"}, {"NULL": True}]}, "deep": {"M": {"a": {"N": "1"}}}, "map": {"M": {"x": {"L": [{"BOOL": True}]}, "y": {"NULL": True}}},
        },
        {"pk": {"S": "p2"}, "sk": {"N": "1"}},
    ]  # fmt: skip
    assert [item_to_json(item) for item in read(data)] == expected
    importing.put(a=data)
    report = importing.imported(key=KEY_ASKED, format="parquet")
    assert (report["state"], report["rows"]) == ("completed", 2), report
    assert importing.world.restored(report["table_id"]) == rows_of(*(json.dumps({"Item": one}).encode() for one in expected))


def plain(**columns: list[Any]) -> pa.Table:
    return pa.table({"pk": [f"p{number}" for number in range(3)], "sk": [1, 2, 3], **columns})


BAD_ROWS: list[tuple[Any, int, str]] = [
    (plain(v=[1.5, 2.5, float("nan")]), 3, "numeric"),
    (plain(v=pa.array([1, 10**76 - 1, 2], type=pa.decimal256(76, 0))), 2, "38 significant"),
    (plain(v=["", "x" * 410_000, ""]), 2, "Item size"),
    (pa.table({"pk": ["a", "b", None], "sk": [1, 2, 3]}), 3, "Missing the key pk"),
    (pa.table({"pk": ["a", "", "c"], "sk": [1, 2, 3]}), 2, "empty string"),
    (pa.table({"pk": ["a"], "sk": ["1"], "dynamodb_json": ['{"pk":{"S":"a"},"sk":{"N":"2"}}']}), 1, "column sk is not what"),
    (pa.table({"new": ["a"], "dynamodb_json": ['{"pk":{"S":"a"},"sk":{"N":"2"}}']}), 1, "column new is not what"),
    (pa.table({"dynamodb_json": ['{"pk":{"S":"a"},"sk":{"N":"2"}}', '{"pk":{"N":"a"}}']}), 2, "numeric"),
    (pa.table({"dynamodb_json": ["{}"]}), 1, "Missing the key"),
    (pa.table({"dynamodb_json": ["["]}), 1, "dynamodb_json is no item"),
    (pa.table({"dynamodb_json": pa.array([None], type=pa.string())}), 1, "no text"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD_ROWS)))
def test_a_row_that_is_no_item_is_named(importing: Importing, case: int) -> None:
    table, row, why = BAD_ROWS[case]
    importing.put(a=file_of(table))
    failed = importing.imported(key=TYPED, format="parquet")
    assert (failed["state"], failed["exit"], failed["error"]["code"]) == ("failed", 4, "BadLine"), failed
    assert f"row={row}" in failed["error"]["found"], failed
    assert why in failed["error"]["found"], failed
    assert "a row of a file" in failed["error"]["message"]
    assert importing.nothing_left()


def deep(levels: int) -> pa.DataType:
    return pa.list_(deep(levels - 1)) if levels else pa.bool_()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (plain(at=[datetime.datetime(2025, 1, 1)] * 3), "column at of type timestamp"),
        (plain(m=pa.array([[(1, "x")]] * 3, type=pa.map_(pa.int8(), pa.string()))), "column m of type map"),
        (plain(deep=pa.array([None] * 3, type=deep(40))), "nested deeper"),
        (pa.table([["a"], ["b"]], names=["pk", "pk"]), "two columns of one name"),
        (plain(**{"": ["", "", ""]}), "Empty attribute name"),
        (plain().replace_schema_metadata({"scrubjay_parquet": "2"}), "of version 2"),
    ],
)
def test_columns_that_are_no_attributes_are_named(importing: Importing, table: pa.Table, why: str) -> None:
    importing.put(a=file_of(table))
    failed = importing.imported(key=TYPED, format="parquet")
    assert (failed["exit"], failed["error"]["code"]) == (4, "NoAttributes"), failed
    assert why in failed["error"]["found"], failed
    assert importing.nothing_left()


@pytest.mark.parametrize(
    "spoil", [lambda _: b"no parquet at all", lambda data: data[:-30], lambda data: data[:60] + b"\xff" * 40 + data[100:], lambda data: data.replace(b"p1", b"q1", 1)]
)  # fmt: skip
def test_bytes_that_are_no_parquet_are_told(importing: Importing, spoil: Callable[[bytes], bytes]) -> None:
    importing.put(a=spoil(file_of(plain(), write_page_checksum=True, compression="none", use_dictionary=False)))
    failed = importing.imported(key=TYPED, format="parquet")
    assert (failed["exit"], failed["error"]["code"]) == (2, "Corrupt"), failed
    assert "read to its end" in failed["error"]["message"]
    assert "where=a" in failed["error"]["found"]
    importing.put(a=b"no parquet")
    with pytest.raises(Invalid, match="type of a key attribute"):
        importing.begin(key=KEY_ASKED, format="parquet")
    assert importing.nothing_left()


def test_two_rows_of_one_item_are_named(importing: Importing) -> None:
    importing.put(a=file_of(plain()), b=file_of(plain(v=[1, 2, 3])))
    failed = importing.imported(key=TYPED, format="parquet")
    assert failed["error"]["code"] == "DuplicateKey"
    assert failed["error"]["found"] in [f"one=a row {row}; other=b row {row}" for row in (1, 2, 3)], failed


def test_a_footer_that_is_long_still_says_the_types(importing: Importing) -> None:
    wide = plain(**{f"column-{number:05d}-{'x' * 40}": [1, 2, 3] for number in range(1000)})
    importing.put(a=file_of(wide))
    assert importing.imported(key=KEY_ASKED, format="parquet")["state"] == "completed"


# ------------------------------------------------------------------ what an earlier release wrote


@pytest.mark.parametrize("name", ["full", "changes"])
def test_golden_files_are_read(golden: Golden, name: str) -> None:
    rows = items(9)
    format_: Any = ParquetItems(KEY) if name == "full" else ParquetChanges(KEY, NEW_AND_OLD_IMAGES)
    if golden.rewrite:  # pyarrow's releases differ in the bytes they write, so nobody compares those
        kept = rows if name == "full" else {key: msgspec.msgpack.encode((None, item)) for key, item in rows.items()}
        store = LoneStore()
        files, _ = exported(kept, store, format_, incremental=name == "changes", stamp=1_760_000_000_000_001 << 12)
        golden.check(f"v3/parquet/{name}.parquet", store.objects[files[0].key])
    stored = golden.read(f"v3/parquet/{name}.parquet")
    golden.check_json(f"v3/parquet/{name}.json", [[key.hex(), content.hex()] for key, content in format_.found(stored)])
    if name == "full":
        assert [encode_item(item) for item in read(stored)] == list(rows.values())


# ------------------------------------------------------------------ without the extra


def test_without_the_extra_it_is_said_which_one(importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    importing.put(a=file_of(plain()))
    monkeypatch.setattr(known_formats.importlib.util, "find_spec", lambda _name: None)
    for call in (
        lambda: importing.start(format="parquet"),
        lambda: importing.begin(format="parquet", key=TYPED),
        lambda: format_of("parquet", KEY, view=None),
    ):
        with pytest.raises(Unavailable, match="not installed") as met:
            call()
        assert "scrubjay[parquet]" in str(met.value.fields["next"])
    assert importing.nothing_left()
    assert importing.exports.running.jobs() == importing.imports.running.jobs() == []


def test_nothing_of_it_is_loaded_by_what_does_not_ask_for_it() -> None:
    import subprocess
    import sys

    code = "import sys, scrubjay.pitr.transfer.exports, scrubjay.pitr.transfer.imports, scrubjay.pitr.transfer.import_runs, scrubjay.cli; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
