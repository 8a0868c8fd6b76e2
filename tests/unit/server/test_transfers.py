"""Exports and imports between the DynamoDB API's words and the coordinators' own, over a real archive and real jobs."""

from __future__ import annotations

from scrubjay.server.transfers import Transfers
from scrubjay.storage.backend import ExportSpec, ImportSpec, TableSpec
from scrubjay.storage.catalogue import Throughput
from tests.unit.pitr.test_imports import Importing
from tests.unit.pitr.test_restore_archive import window
from tests.unit.pitr.timeline_world import made
from tests.unit.scrubber.scrub_world import KEY


def test_what_the_api_exports_it_imports() -> None:
    world = Importing(made(3, partitions=2))
    transfers = Transfers(world.exports, world.imports)
    low, high = window(world.world)
    source = world.world.source
    begun = world.world.run(
        transfers.start_export(source, ExportSpec(place="s3://bucket/some/where", at_us=high, token="t", echo={"S3Bucket": "bucket"}))
    )
    assert (begun.status, begun.at_us, begun.table_name, begun.spec.token, begun.spec.echo) == (
        "IN_PROGRESS",
        high,
        source.name,
        "t",
        {"S3Bucket": "bucket"},
    )
    world.world.finish()
    (exported,) = transfers.exports_info()
    assert (exported.id, exported.status, exported.failure) == (begun.id, "COMPLETED", None)
    assert exported.manifest == f"some/where/AWSDynamoDB/{begun.id}/manifest-summary.json"
    assert exported.items == len(world.world.model(high))
    changes = world.world.run(transfers.start_export(source, ExportSpec(place="s3://bucket", from_us=low, at_us=high, view="NEW_IMAGE")))
    assert (changes.spec.from_us, changes.spec.view) == (low, "NEW_IMAGE")
    world.world.finish()
    for format_, word in (("csv", "CSV"), ("parquet", "PARQUET")):
        world.world.run(transfers.export(source, url=f"s3://bucket/{format_}", format=format_, at_us=high, from_us=None))
        world.world.finish()
        assert (transfers.exports_info()[-1].spec.format, transfers.exports_info()[-1].status) == (word, "COMPLETED"), "and no other"

    table = TableSpec(name="new", key=KEY, attributes=(("pk", "S"), ("sk", "N")), billing="PROVISIONED", throughput=Throughput(3, 4))
    place = f"s3://bucket/some/where/AWSDynamoDB/{begun.id}/data"
    spec = ImportSpec(
        place=place, table=table, format="dynamodb-json", compression="NONE", token="i", echo={"InputFormat": "DYNAMODB_JSON"}
    )
    started = world.world.run(transfers.start_import(spec))
    assert (started.status, started.table_name, started.token, started.echo) == (
        "IN_PROGRESS",
        "new",
        "i",
        {"InputFormat": "DYNAMODB_JSON"},
    )
    world.world.finish()
    (done,) = transfers.imports_info()
    assert (done.id, done.status, done.items, done.failure, done.bad_lines) == (started.id, "COMPLETED", exported.items, None, 0)
    meta = next(one for one in world.world.tables() if one.name == "new")
    assert (meta.billing, meta.throughput) == ("PROVISIONED", Throughput(3, 4))
    assert world.world.restored(meta.table_id) == world.world.model(high)


def test_a_failure_is_told_with_its_line() -> None:
    world = Importing(made(3, partitions=1))
    transfers = Transfers(world.exports, world.imports)
    world.put(a=b"{}\n")
    table = TableSpec(name="new", key=KEY, attributes=(), billing="PAY_PER_REQUEST", throughput=Throughput())
    world.world.run(transfers.start_import(ImportSpec(place="s3://bucket", table=table, format="dynamodb-json")))
    world.world.finish()
    (failed,) = transfers.imports_info()
    assert (failed.status, failed.bad_lines) == ("FAILED", 1)
    assert failed.failure is not None
    assert failed.failure[0] == "BadLine"
    assert "file=a; line=1" in failed.failure[1]
