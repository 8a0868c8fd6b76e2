"""Imports over the real jobs, from what an export put there and from plain objects: the table holds what the files hold, or there is no table."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from scrubjay.base.errors import Conflict, Corrupt, Invalid, Unavailable, Unsafe
from scrubjay.base.real.localfs import LocalStore
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.transfer import import_runs, running
from scrubjay.pitr.transfer import imports as module
from scrubjay.pitr.transfer.import_notes import ImportAsked, ImportJob
from scrubjay.pitr.transfer.import_source import find_source
from scrubjay.pitr.transfer.imports import FAILS_LATER, Imports
from scrubjay.sim.jobs import SimJobContext
from scrubjay.sim.lone import LoneDisk
from scrubjay.storage.btree.beside import TreesHere, folder_of
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.btree.memory_treefile import FILE, MAKER
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.wire import item_from_json
from scrubjay.storage.log.digest import RangeDigest, Total
from tests.fixtures.golden import Golden
from tests.unit.pitr.restore_world import Killed, Rows, total_of
from tests.unit.pitr.test_exports import TO, Exporting, Place
from tests.unit.pitr.test_restore_archive import window
from tests.unit.pitr.timeline_world import made
from tests.unit.scrubber.scrub_world import KEY

PREFIX = "import/"
KEY_ASKED = (("pk", None), ("sk", None))


class Importing(Exporting):
    """A world with a place, what exports put there, and the imports of one life of the server."""

    def start_again(self) -> None:
        super().start_again()
        world: Any = self.world
        self.import_jobs = Place(self.world, self.place)
        self.import_ends: list[str] = []
        self.imports = Imports(
            world.env, world, world.source_archive, self.import_jobs, RestoreOptions(archive_wait_s=10.0, lanes=2), pitr_default=True,
            log=world.lines.append, ended=lambda state, _took_us: self.import_ends.append(state),
        )  # fmt: skip

    def begin(self, url: str = TO, table: str = "new", **fields: Any) -> ImportJob:
        job: ImportJob = self.world.run(self.imports.start(ImportAsked(url=url, table=table, **fields)))
        return job

    def imported(self, url: str = TO, table: str = "new", **fields: Any) -> dict[str, Any]:
        job = self.begin(url, table, **fields)
        self.world.finish()
        return self.imports.running.report(self.imports.running.find(job.id) or job)

    def put(self, **objects: bytes) -> None:
        for name, data in objects.items():
            self.place.objects[name.replace("__", "/").replace("_at_", ".")] = data

    def nothing_left(self) -> bool:
        names = {table.name for table in self.world.tables()}
        return "new" not in names and not self.world.disk.files


def line(number: int, **more: Any) -> bytes:
    return json.dumps({"Item": {"pk": {"S": f"p{number % 5}"}, "sk": {"N": str(number)}, **more}}).encode() + b"\n"


def rows_of(*lines: bytes) -> Rows:
    items = [item_from_json(json.loads(one)["Item"]) for one in lines]
    return {storage_key(KEY, item): encode_item(item) for item in items}


@pytest.fixture
def importing() -> Importing:
    return Importing(made(3, partitions=3))


@pytest.mark.parametrize("seed", range(4))
def test_what_was_exported_comes_back_equal_by_digest(seed: int) -> None:
    importing = Importing(made(seed, partitions=seed % 3 + 1))
    exported = importing.done()
    report = importing.imported()
    assert (report["state"], report["exit"], report["verdict"]) == ("completed", 0, "match"), report
    assert (report["digest"], report["expected_digest"], report["rows"]) == (exported["digest"], exported["digest"], exported["rows"])
    assert importing.world.restored(report["table_id"]) == importing.rows(exported)
    table = next(one for one in importing.world.tables() if one.name == "new")
    assert (table.status, table.key, table.restore_of is not None and table.restore_of.imported) == ("ACTIVE", KEY, report["import"])
    assert importing.import_ends == ["completed"]
    assert not importing.world.disk.files


def test_the_new_table_has_the_global_indexes_that_were_asked_for(importing: Importing) -> None:
    importing.done()
    index = GlobalIndex(name="by-g", hash=(KeyAttribute("g", "S"),), projection="KEYS_ONLY")
    attributes = (("pk", "S"), ("sk", "N"), ("g", "S"))
    assert importing.imported(global_indexes=(index,), attributes=attributes)["state"] == "completed"
    table = next(one for one in importing.world.tables() if one.name == "new")
    assert (table.global_indexes, table.attributes) == ((index,), attributes)


def test_the_folder_of_an_export_may_be_named_and_have_been_moved(importing: Importing) -> None:
    first, second = importing.done(), importing.done()
    with pytest.raises(Unsafe, match="several exports") as met:
        importing.begin()
    assert first["export"] in str(met.value)
    for number, url in enumerate(
        (f"{TO}/AWSDynamoDB/{second['export']}", f"s3://other/x/y/AWSDynamoDB/{second['export']}/manifest-summary.json")
    ):
        assert importing.imported(url, f"new{number}")["digest"] == second["digest"]


def test_what_is_no_export_is_refused_and_nothing_is_noted(importing: Importing) -> None:
    def refused(error: type[Exception], text: str, *arguments: Any, **fields: Any) -> None:
        with pytest.raises(error, match=text):
            importing.begin(*arguments, **fields)
        assert not [key for key in importing.world.notes if key.startswith(PREFIX)]
        assert importing.nothing_left()

    refused(Unsafe, "nothing is there")
    refused(Invalid, "no place", "/no/url")
    refused(Invalid, "no such format", format="ion")
    refused(Invalid, "no type of a key", key=(("pk", "BOOL"),))
    refused(Invalid, "no key", key=(("pk", None), ("pk", None)))
    report = importing.done()
    at = report["manifest"].removesuffix("manifest-summary.json")
    whole = dict(importing.place.objects)
    refused(Conflict, "exists", table=importing.world.source.name)

    def changed(key: str, change: Callable[[bytes], bytes | None]) -> None:
        importing.place.objects.clear()
        importing.place.objects.update(whole)
        data = change(whole[at + key])
        del importing.place.objects[at + key]
        if data is not None:
            importing.place.objects[at + key] = data

    changed("manifest-summary.json", lambda _: None)
    refused(Unsafe, "no summary")
    changed("manifest-files.json", lambda _: None)
    refused(Exception, "no such object")
    changed("manifest-files.json", lambda data: data.replace(b'"itemCount":', b'"itemCount":1'))
    refused(Corrupt, "checksum")
    changed("manifest-files.md5", lambda _: None)
    importing.place.objects[at + "manifest-files.json"] = whole[at + "manifest-files.json"].replace(b'"itemCount":', b'"itemCount":1')
    refused(Corrupt, "differ in how many")
    changed("manifest-scrubjay.json", lambda _: b"{")
    refused(Corrupt, "malformed")
    changed("manifest-summary.json", lambda _: b"[]")
    del importing.place.objects[at + "manifest-summary.md5"]
    refused(Corrupt, "malformed")


def test_an_export_of_another_format_is_not_what_was_asked_for(importing: Importing) -> None:
    importing.done()
    with pytest.raises(Invalid, match="another format"):
        importing.begin(format="csv")
    assert importing.nothing_left()


def test_an_incremental_export_is_no_table(importing: Importing) -> None:
    low, high = window(importing.world)
    importing.done(from_us=low, at_us=high)
    with pytest.raises(Unsafe, match="incremental"):
        importing.begin()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_plain_objects_of_any_compression(importing: Importing, pack: Callable[[bytes], bytes]) -> None:
    lines = [line(number, v={"M": {"a": {"L": [{"NULL": True}, {"BS": ["AA=="]}]}}}) for number in range(40)]
    importing.put(in__a_at_json=pack(b"".join(lines[:25])), in__b=pack(b"\n" + b"".join(lines[25:]).rstrip()))
    report = importing.imported(key=KEY_ASKED)
    assert (report["state"], report["rows"], report["verdict"], report["files"]) == ("completed", 40, None, 2), report
    assert importing.world.restored(report["table_id"]) == rows_of(*lines)
    assert report["digest"] == total_of(rows_of(*lines)).hex


def test_one_object_and_an_empty_table(importing: Importing) -> None:
    importing.put(only=line(1))
    assert importing.imported("s3://b/only", key=KEY_ASKED)["rows"] == 1
    importing.put(only=b"")
    with pytest.raises(Invalid, match="type of a key attribute"):
        importing.begin("s3://b/only", "none", key=KEY_ASKED)
    report = importing.imported("s3://b/only", "none", key=(("pk", "S"),))
    assert (report["state"], report["rows"]) == ("completed", 0)


def test_what_no_object_can_be_called_is_not_there(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, create=False)
    gone = LocalStore(tmp_path / "two words", create=False)
    context = SimJobContext(LoneDisk(), lambda url: gone if url.endswith("words") else store, None)
    with pytest.raises(Unsafe, match="nothing is there"):
        asyncio.run(find_source(context, f"file://{tmp_path}/two words", None))
    for opened in (store, gone):
        opened.close()


def test_a_place_whose_folder_is_not_there_is_not_called_an_archive_that_is_gone(tmp_path: Path) -> None:
    """Nor is it tried again for seconds: who mistyped it reads what he asked for."""
    opened = LocalStore(tmp_path / "nowhere", create=False)
    context = SimJobContext(LoneDisk(), lambda url: opened, None)
    for path in ("nowhere", "nowhere/deep/down"):
        with pytest.raises(Unsafe, match="nothing is there") as refused:
            asyncio.run(find_source(context, f"file://{tmp_path}/{path}", None))
        assert refused.value.fields["error_code"] == "NothingThere"
        assert refused.value.fields["next"].startswith("give an export")
    opened.close()


def test_csv_has_typed_keys_and_strings(importing: Importing) -> None:
    text = 'sk,pk,note,data\r\n1,p1,"a ""quoted""\r\nnote, of two lines",\r\n-2.50,p2,,x\r\n'
    importing.put(a=text.encode())
    fields: dict[str, Any] = {"key": (("pk", None), ("sk", "N")), "format": "csv"}
    report = importing.imported(**fields)
    items = [
        {"pk": {"S": "p1"}, "sk": {"N": "1"}, "note": {"S": 'a "quoted"\r\nnote, of two lines'}},
        {"pk": {"S": "p2"}, "sk": {"N": "-2.5"}, "data": {"S": "x"}},
    ]
    assert importing.world.restored(report["table_id"]) == rows_of(*(json.dumps({"Item": one}).encode() for one in items))
    importing.put(a=b"p1;3\np2;4\n")
    assert importing.imported(table="second", **fields, delimiter=";", header=("pk", "sk"))["rows"] == 2
    for number, (bad, at) in enumerate(
        ((b"pk,sk\np1,1,2\n", 2), (b"pk,sk\np1,1\np1,one\n", 3), (b'pk,sk\n"p1,1\n', 2), (b"pk,sk\np1\xff,1\n", 2), (b"pk,pk\n", 1))
    ):
        importing.put(a=bad)
        failed = importing.imported(table=f"bad{number}", **fields)
        assert (failed["state"], failed["exit"], failed["error"]["code"]) == ("failed", 4, "BadLine"), failed
        assert f"file=a; line={at}" in failed["error"]["found"], failed


def test_csv_of_our_own_comes_back_as_strings_and_is_not_compared(importing: Importing) -> None:
    exported = importing.done(format="csv")
    report = importing.imported()
    assert (report["state"], report["rows"], report["verdict"]) == ("completed", exported["rows"], None), report


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{}\n", "no {"),
        (b'{"Item": {"pk": {"S": "x"}}}\n', "Missing the key sk"),
        (line(7).replace(b'"N"', b'"S"'), "Type mismatch"),
        (b"not json\n", "no {"),
        (line(7, big={"S": "x" * 410_000}), "Item size"),
        (line(7, v={"N": "1", "S": "2"}), "no {"),
    ],
)
def test_a_bad_line_is_named_and_leaves_no_table(importing: Importing, bad: bytes, why: str) -> None:
    importing.put(a=line(1), b=gzip.compress(line(2) + b"\n" + bad + line(3)))
    failed = importing.imported(key=(("pk", "S"), ("sk", "N")))
    assert (failed["state"], failed["exit"], failed["error"]["code"]) == ("failed", 4, "BadLine"), failed
    assert "file=b; line=3" in failed["error"]["found"]
    assert why in failed["error"]["found"]
    assert importing.nothing_left()
    assert importing.import_ends == ["failed"]
    assert [key for key in importing.world.notes if key.startswith("abandoned/")], "what it archived is retention's"


@pytest.mark.parametrize("apart", [False, True])
def test_two_lines_of_one_item_are_named(importing: Importing, monkeypatch: pytest.MonkeyPatch, *, apart: bool) -> None:
    monkeypatch.setattr(import_runs, "RUN_BYTES", 1 if apart else 1 << 30)
    importing.put(a=line(1) + line(2), b=line(3) + line(1, v={"S": "other"}))
    failed = importing.imported(key=KEY_ASKED)
    assert (failed["exit"], failed["error"]["code"]) == (4, "DuplicateKey"), failed
    assert failed["error"]["found"] == "one=a line 1; other=b line 2"
    assert importing.nothing_left()


def test_many_runs_are_merged_a_few_at_a_time(importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_runs, "RUN_BYTES", 2_000)
    monkeypatch.setattr(module, "MERGED_MAX", 3)
    monkeypatch.setattr(module, "BATCH_FILES", 2)
    numbers = list(range(100))
    random.Random(5).shuffle(numbers)
    lines = [line(number) for number in numbers]
    importing.put(**{f"f{at:02d}": b"".join(lines[at * 10 : at * 10 + 10]) for at in range(10)})
    report = importing.imported(key=KEY_ASKED)
    assert (report["state"], report["rows"]) == ("completed", 100), report
    assert importing.world.restored(report["table_id"]) == rows_of(*lines)
    assert len([job for job in importing.import_jobs.ran if "merge_job" in job]) > 3 + len(importing.world.source.partitions)
    assert not importing.world.disk.files


def spoil(importing: Importing, report: dict[str, Any], change: Callable[[list[bytes]], list[bytes]], *, summed: bool) -> None:
    """A data file with other lines; summed: with a manifest that says so, as who forges it would write."""
    at = report["manifest"].removesuffix("manifest-summary.json")
    name, data = next(
        (key, data) for key, data in importing.place.objects.items() if key.startswith(at + "data/") and len(gzip.decompress(data)) > 80
    )
    forged = gzip.compress(b"".join(change(gzip.decompress(data).splitlines(keepends=True))))
    importing.place.objects[name] = forged
    if summed:
        sums = [base64.b64encode(hashlib.md5(one, usedforsecurity=False).digest()) for one in (data, forged)]
        importing.place.objects[at + "manifest-files.json"] = importing.place.objects[at + "manifest-files.json"].replace(*sums)
        del importing.place.objects[at + "manifest-files.md5"]


def test_a_file_that_is_not_what_was_exported_is_told(importing: Importing) -> None:
    report = importing.done()
    whole = dict(importing.place.objects)

    def changed(lines: list[bytes]) -> list[bytes]:
        return [lines[0].replace(b'"v":{"N":"', b'"v":{"N":"9'), *lines[1:]]

    spoil(importing, report, changed, summed=False)
    failed = importing.imported()
    assert (failed["exit"], failed["error"]["message"]) == (2, "a file is not what its manifest says"), failed
    importing.place.objects.update(whole)
    spoil(importing, report, changed, summed=True)
    failed = importing.imported()
    assert (failed["exit"], failed["error"]["message"]) == (2, "what was read is not what was exported"), failed
    importing.place.objects.update(whole)
    spoil(importing, report, lambda lines: lines[1:], summed=True)
    failed = importing.imported()
    assert (failed["exit"], failed["error"]["message"]) == (2, "a file holds another number of items than its manifest says"), failed
    importing.place.objects.update(whole)
    name = next(key for key in whole if "/data/" in key)
    del importing.place.objects[name]
    with pytest.raises(Exception, match="data file of the export is gone"):
        importing.begin()
    assert importing.nothing_left()


def test_a_file_that_ends_early_is_told(importing: Importing) -> None:
    importing.put(a=gzip.compress(b"".join(line(number) for number in range(200)))[:-200])
    failed = importing.imported(key=KEY_ASKED)
    assert (failed["exit"], failed["error"]["code"]) == (2, "Corrupt")
    assert "read to its end" in failed["error"]["message"]


def test_a_copy_that_differs_is_never_shown(importing: Importing) -> None:
    importing.put(a=line(1) + line(2))
    load = importing.world.load_base

    async def worse(*args: Any, **named: Any) -> Any:
        loaded = await load(*args, **named)
        return loaded._replace(copies={node: total._replace(sum=total.sum ^ 1) for node, total in loaded.copies.items()})

    importing.world.load_base = worse  # type: ignore[method-assign]
    failed = importing.imported(key=KEY_ASKED)
    assert (failed["exit"], failed["error"]["message"]) == (2, "what was loaded is not what was read"), failed
    assert importing.nothing_left()
    assert not importing.world.published


def test_an_import_makes_one_tree_for_its_copies(importing: Importing) -> None:
    importing.put(a=b"".join(line(number) for number in range(30)))
    importing.world.source_archive._trees = TreesHere(MAKER, "")
    load = importing.world.load_base
    given: dict[str, tuple[Total, TreeFile | None, list[str]]] = {}

    async def watched(partition: Any, **named: Any) -> Any:
        given[partition] = named["total"], named["tree"], importing.world.disk.listdir(folder_of(partition))
        return await load(partition, **named)

    importing.world.load_base = watched  # type: ignore[method-assign]
    assert importing.imported(key=KEY_ASKED)["exit"] == 0
    assert len(given) == 3
    for info in importing.world.tables()[-1].partitions:
        total, tree, lies_there = given[info.partition_id]
        assert tree is not None
        assert lies_there == [FILE]
        digest = RangeDigest(bytes.fromhex(info.lo), bytes.fromhex(info.hi) or None)
        digest.load(tree.digest)
        assert digest.total() == total
    assert not importing.world.disk.files, "nothing of it is left"


def test_rows_that_are_in_no_partition_fail_it(importing: Importing) -> None:
    importing.put(a=b"".join(line(number) for number in range(30)))
    partitions = importing.world.new_partitions
    importing.world.new_partitions = lambda: partitions()[1:]  # type: ignore[method-assign]
    failed = importing.imported(key=KEY_ASKED)
    assert (failed["exit"], failed["error"]["message"]) == (2, "what was read is not what is in the table"), failed
    assert importing.nothing_left()


def test_the_same_words_attach_and_a_token_to_what_has_ended(importing: Importing) -> None:
    importing.put(a=line(1))
    first = importing.begin(key=KEY_ASKED, token="t")
    assert importing.begin(key=KEY_ASKED, token="t").id == first.id
    with pytest.raises(Conflict, match="another import"):
        importing.begin("s3://b/elsewhere", key=KEY_ASKED, token="t")
    with pytest.raises(Conflict, match="exists"):
        importing.begin(key=KEY_ASKED)
    importing.world.finish()
    assert importing.begin(key=KEY_ASKED, token="t").state == "completed"
    second = importing.begin(table="second", key=KEY_ASKED)
    assert importing.begin(table="second", key=KEY_ASKED).id == second.id
    importing.world.finish()
    with pytest.raises(Conflict, match="exists"):
        importing.begin(table="second", key=KEY_ASKED)


def test_too_many_are_refused(importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RUNNING_MAX", 1)
    importing.put(a=line(1))
    importing.begin(key=KEY_ASKED)
    with pytest.raises(Unsafe, match="too many"):
        importing.begin(table="second", key=KEY_ASKED)
    importing.world.finish()
    assert importing.imported(table="second", key=KEY_ASKED)["state"] == "completed"


def test_killed_anywhere_it_is_carried_on() -> None:
    """At each durable change, and before each job."""
    importing = Importing(made(3, partitions=2))
    lines = [line(number) for number in range(30)]
    importing.put(a=b"".join(lines[:20]), b=b"".join(lines[20:]))
    before = importing.world.changes
    assert importing.imported(table="counted", key=KEY_ASKED)["state"] == "completed"
    changes = importing.world.changes - before
    for step in range(1, changes + 1):
        table = f"new{step}"
        importing.world.kill_at = importing.world.changes + step
        with suppress(Killed):  # of a step that is not reached, because fewer changes were left: nothing dies
            importing.begin(table=table, key=KEY_ASKED)
            importing.world.finish()
        importing.world.kill_at = None
        importing.world.restart()
        importing.start_again()
        importing.imports.running.resume_unfinished()
        importing.world.finish()
        jobs = [job for job in importing.imports.running.jobs() if job.asked.table == table]
        if not jobs:
            assert table not in {one.name for one in importing.world.tables()}
            continue
        report = importing.imports.running.report(jobs[-1])
        assert (report["state"], report["rows"]) == ("completed", 30), (step, report)
        assert importing.world.restored(report["table_id"]) == rows_of(*lines)
        assert not importing.world.disk.files


def test_files_that_changed_between_two_lives_fail_it(importing: Importing) -> None:
    importing.put(a=line(1) + line(2))
    job = importing.begin(key=KEY_ASKED)

    def killed(name: str) -> None:
        if "merge_job" in name and any(one.partitions for one in importing.imports.running.jobs()):
            raise KeyboardInterrupt

    importing.import_jobs.cut = killed
    with pytest.raises(KeyboardInterrupt):
        importing.world.finish()
    importing.put(a=line(1, v={"S": "new"}) + line(2, v={"S": "new"}))
    importing.world.restart()
    importing.start_again()
    importing.imports.running.resume_unfinished()
    importing.world.finish()
    found = importing.imports.running.find(job.id)
    assert found is not None
    report = importing.imports.running.report(found)
    assert (report["state"], report["exit"]) == ("failed", 2), report
    assert "something else than when" in report["error"]["message"]
    assert importing.nothing_left()


def test_a_table_that_cannot_be_removed_now_is_removed_by_the_next_life(importing: Importing) -> None:
    importing.put(a=b"bad\n")
    abandon = importing.world.abandon

    async def away(_table: Any) -> None:
        raise Unavailable("no leader")

    importing.world.abandon = away  # type: ignore[method-assign]
    failed = importing.imported(key=(("pk", "S"),))
    assert (failed["state"], failed["exit"], failed["error"]["code"]) == ("failed", 4, "BadLine")
    assert "new" in {table.name for table in importing.world.tables()}
    importing.world.abandon = abandon  # type: ignore[method-assign]
    importing.put(a=line(1))  # it was told as failed, and stays so
    importing.world.restart()
    importing.start_again()
    assert importing.imports.running.resume_unfinished() == 1
    importing.world.finish()
    assert importing.nothing_left()
    (job,) = importing.imports.running.jobs()
    assert (job.state, job.exit) == ("failed", 4)


def test_what_is_away_for_a_moment_is_tried_again_and_for_long_is_told(importing: Importing) -> None:
    importing.put(a=line(1))
    left = [2]

    def away(job: str) -> None:
        if "sort_job" in job and left[0]:
            left[0] -= 1
            raise Unavailable("the worker process died")

    importing.import_jobs.cut = away
    assert importing.imported(key=KEY_ASKED)["state"] == "completed"
    left[0] = 10**6
    failed = importing.imported(table="second", key=KEY_ASKED)
    assert (failed["state"], failed["exit"], failed["error"]["code"]) == ("failed", 1, "Unavailable")


@pytest.mark.parametrize("code", FAILS_LATER)
def test_a_bucket_that_cannot_be_used_fails_an_import_of_the_api_and_keeps_one_by_hand_from_beginning(
    importing: Importing, code: str
) -> None:
    importing.put(a=line(1))
    said = [code]

    def away(job: str) -> None:
        if "source_job" in job:
            raise Unavailable("it cannot be read", error_code=said[0])

    importing.import_jobs.cut = away
    asked: dict[str, Any] = {"key": (("pk", "S"), ("sk", "N")), "format": "dynamodb-json"}
    with pytest.raises(Unavailable):
        importing.begin(**asked)
    failed = importing.imported(token="t", **asked)
    assert (failed["state"], failed["error"]["code"]) == ("failed", code)
    assert importing.nothing_left()
    said[0] = "StoreAway"
    with pytest.raises(Unavailable):
        importing.begin(token="u", **asked)
    assert len(importing.imports.running.jobs()) == 1


def test_ended_ones_are_remembered_for_a_while(importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "KEPT_MAX", 2)
    importing.put(a=line(1))
    ids = [importing.imported(table=f"new{number}", key=KEY_ASKED)["import"] for number in range(4)]
    assert [job.id for job in importing.imports.running.jobs()] == ids[-2:]


@pytest.mark.parametrize("name", ["running", "completed", "failed"])
def test_golden_notes(golden: Golden, importing: Importing, name: str) -> None:
    importing.put(a=line(1) if name != "failed" else b"bad\n")
    job = importing.begin(key=(("pk", "S"), ("sk", "N")))
    if name != "running":
        importing.world.finish()
    job = importing.imports.running.find(job.id) or job
    golden.check_json(f"v3/transfer-jobs/import-{name}.json", job.as_notes())
    read = ImportJob.load(json.loads(golden.read(f"v3/transfer-jobs/import-{name}.json")))
    assert read is not None
    assert msgspec.json.encode(read, order="sorted") == msgspec.json.encode(job, order="sorted")
    assert (read.asked, read.table) == (job.asked, job.table)
    golden.check_json(f"v3/transfer-jobs/import-{name}.report.json", job.report(None))
    assert ImportJob.load({**job.as_notes(), "version": 2}) is None
    assert ImportJob.load({**job.as_notes(), "id": 7}) is None
