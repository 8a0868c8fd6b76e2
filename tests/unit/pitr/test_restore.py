"""The restore coordinator against a world of lists: the right rows, nothing published early, and a death at any point is survived."""

from __future__ import annotations

import random
from typing import Any, cast

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Corrupt, Missing, Unavailable, Unsafe
from scrubjay.base.ids import NodeName, TableId
from scrubjay.pitr.job import next_step
from scrubjay.pitr.plan import Plan
from scrubjay.pitr.rates import Rates, predict_indexes, rates_of
from scrubjay.pitr.target import RestoreTarget
from scrubjay.storage.catalogue import METADATA_TABLE, GlobalIndex, KeyAttribute
from scrubjay.storage.service_port import LoadedBase
from tests.unit.pitr.restore_world import Killed, RestoreWorld, Rows, total_of
from tests.unit.scrubber.scrub_world import item_of, storage_key


def world_with_history(seed: int = 1, partitions: int = 2, steps: int = 60) -> RestoreWorld:
    world = RestoreWorld(partitions, seed)
    world.write(random.Random(seed), steps)
    world.seal_all()
    return world


def restore(world: RestoreWorld, asked: RestoreTarget, to: str = "new") -> dict[str, Any]:
    world.run(world.service.start(world.source, to, asked))
    world.finish()
    report: dict[str, Any] | None = world.service.status(to)
    assert report is not None
    return report


def moment(world: RestoreWorld, rng: random.Random) -> int:
    seen = world.run(world.look(world.source)).window
    return rng.randint(seen.earliest_us, seen.latest_us)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_restored_is_what_was_there(seed: int) -> None:
    rng = random.Random(seed)
    world = world_with_history(seed, partitions=seed % 4 + 1)
    at = moment(world, rng)
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["verdict"]) == ("published", "match"), report["error"]
    expected = world.model(at)
    restored = world.restored(report["to_id"])
    assert restored.keys() - expected.keys() == set(), "extra keys"
    assert expected.keys() - restored.keys() == set(), "missing keys"
    assert restored == expected
    assert (report["rows"], report["digest"]) == (len(expected), total_of(expected).hex)
    assert not world.files
    assert world.metas[report["to_id"]].name == "new"


def test_the_instant_is_inclusive_and_before_excludes_it() -> None:
    world = world_with_history()
    log = max(world.logs.values(), key=lambda one: len(one.entries))
    entry = [one for one in log.entries if one.item is not None][-1]
    at = entry.stamp >> 12
    world.now_us += 1_000_000
    world.seal_all()
    report = restore(world, RestoreTarget(at_us=at))
    assert world.restored(report["to_id"])[entry.key or b""] == entry.item
    report = restore(world, RestoreTarget(before_us=at), to="other")
    assert world.restored(report["to_id"]) == world.model(at - 1)
    assert world.model(at - 1) != world.model(at)


def test_a_cut_that_is_off_by_one_is_seen() -> None:
    """Negative control of this file: the comparison with the model fails when the rebuild's cut is shifted."""
    world = world_with_history()
    entry = [one for log in world.logs.values() for one in log.entries if one.item is not None][-1]
    world.cut_shift = -1 << 12
    report = restore(world, RestoreTarget(at_us=entry.stamp >> 12))
    assert world.restored(report["to_id"]) != world.model(entry.stamp >> 12)


def test_the_report_has_the_fields_of_the_contract() -> None:
    world = world_with_history()
    plan = world.run(world.service.plan(world.source, "new", RestoreTarget(latest=True)))
    assert world.notes == {}
    report = restore(world, RestoreTarget(latest=True))
    for answer in (plan, report):
        assert {"table", "to", "at", "window", "partitions", "bytes", "requests", "predicted_seconds"} <= answer.keys()
        assert {"earliest", "latest", "holes"} == answer["window"].keys()
        for part in answer["partitions"]:
            assert {"partition", "base_lsn", "segments", "bytes", "from_lsn", "to_lsn"} <= part.keys()
    assert {"state", "rows", "digest", "verdict"} <= report.keys()
    assert {"plan", "read", "load", "confirm", "total"} == report["seconds"].keys()
    assert all(value is not None for value in report["seconds"].values())
    assert report["at"] == plan["window"]["latest"]


def test_what_is_foreseen_counts_and_else_what_was_learnt() -> None:
    """By the plan before a restore and by the restore itself, of the table that it is of."""
    world = world_with_history()
    learnt = world.run(world.service.plan(world.source, "new", RestoreTarget(latest=True)))["predicted_seconds"]
    answer: float | None = None
    asked: list[tuple[str, int]] = []

    async def foresee(table: str, plan: Plan) -> float | None:
        asked.append((table, len(plan.partitions)))
        return answer

    world.service._foresee = foresee
    assert world.run(world.service.plan(world.source, "new", RestoreTarget(latest=True)))["predicted_seconds"] == learnt
    answer = 123.5
    assert world.run(world.service.plan(world.source, "new", RestoreTarget(latest=True)))["predicted_seconds"] == 123.5
    assert restore(world, RestoreTarget(latest=True))["predicted_seconds"] == 123.5
    assert asked == [(world.source.table_id, len(world.source.partitions))] * 3


def test_the_building_of_indexes_is_predicted_and_learnt_from_tables_that_have_them() -> None:
    """Until the last of them is read; a table that is dropped before teaches nothing, nor do indexes that never come."""
    world = world_with_history()
    indexes = tuple([GlobalIndex(name=name, hash=(KeyAttribute("v", "S"),)) for name in ("one", "two")])
    world.source = msgspec.structs.replace(world.source, global_indexes=indexes)
    world.metas[world.source.table_id] = world.source
    asked = RestoreTarget(latest=True)

    def predicted() -> Any:
        return world.run(world.service.plan(world.source, "new", asked))["predicted_index_seconds"]

    of_bases = predicted()
    world.service._building._items = lambda table: 1_000_000 if table.table_id == world.source.table_id else 0
    assert predicted() == predict_indexes(1_000_000, indexes=2, rates=Rates()) > of_bases >= Rates().indexed_fixed

    async def build(to: str, after_s: float, **changes: Any) -> None:
        while not world.published:
            await world.env.tasks.sleep(0.01)
        await world.env.tasks.sleep(after_s / 2)
        for names, s in (({"one"}, after_s / 2), ({"one", "two"}, 0.0)):
            meta = next(meta for meta in world.metas.values() if meta.name == to)
            built = tuple(
                [msgspec.structs.replace(one, status="ACTIVE") if one.name in names else one for one in meta.global_indexes or ()]
            )
            world.metas[meta.table_id] = msgspec.structs.replace(meta, global_indexes=built, **changes)
            await world.env.tasks.sleep(s)
        world.published.clear()

    for to, after_s, changes in (("new", 4.0, {}), ("other", 8.0, {"status": "DELETING"}), ("third", 4.0, {})):
        world.env.tasks.spawn(build(to, after_s, **changes), name="builds")
        assert restore(world, asked, to)["state"] == "published"
        rates = rates_of(cast("Any", world))
        assert (round(rates.indexed_fixed, 0), rates.indexed_samples) == (4.0, 2 if to == "third" else 1), "few items: what it takes anyway"
        assert rates.indexed == Rates().indexed
    restore(world, asked, "never")
    assert rates_of(cast("Any", world)).indexed_samples == 2
    assert rates_of(cast("Any", world)).samples == 4, "and what restores teach is kept beside"


def test_indexes_that_a_request_names_are_made_anew() -> None:
    """A request finds them in the source, with the tables that hold their rows there."""
    world = world_with_history()
    there = GlobalIndex(
        throughput_changed_at=(1, 2),
        decreases=1,
        name="one",
        hash=(KeyAttribute("v", "S"),),
        table_id=TableId("rows"),
        partitions=world.source.partitions,
        status="ACTIVE",
    )
    world.run(world.service.start(world.source, "new", RestoreTarget(latest=True), overrides={"global_indexes": (there,)}))
    (index,) = next(meta for meta in world.metas.values() if meta.name == "new").global_indexes or ()
    assert (index.name, index.table_id, index.partitions, index.status) == ("one", "", (), "CREATING")
    assert (index.throughput_changed_at, index.decreases) == ((None, None), 0), "it has no past"


@pytest.mark.parametrize("where", ["before", "beyond"])
def test_outside_the_window_nothing_is_written(where: str) -> None:
    world = world_with_history()
    at = world.created_us - 5 if where == "before" else world.now_us + 1_000_000_000
    with pytest.raises(Unsafe) as caught:
        world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    assert caught.value.fields["body"]["window"]["earliest"] is not None
    with pytest.raises(Unsafe) as caught:
        world.run(world.service.restore_table(world.source, "new", at_us=at, overrides={}))
    assert {"earliest", "latest"} <= caught.value.fields.keys()
    assert (world.notes, len(world.metas), world.files) == ({}, 1, {})


def test_never_into_an_existing_table() -> None:
    world = world_with_history()
    with pytest.raises(Conflict) as caught:
        world.run(world.service.start(world.source, world.source.name, RestoreTarget(latest=True)))
    assert caught.value.fields["body"]["window"]["latest"] is not None
    assert (world.notes, len(world.metas)) == ({}, 1)


def test_the_metadata_table_is_no_source() -> None:
    world = world_with_history()
    system = msgspec.structs.replace(world.source, name=METADATA_TABLE)
    with pytest.raises(Unavailable) as caught:
        world.run(world.service.plan(system, "new", RestoreTarget(latest=True)))
    assert caught.value.fields["error_code"] == "ResourceNotFound"


def test_after_latest_the_leaders_seal_and_the_archive_is_waited_for() -> None:
    world = world_with_history()
    world.write(random.Random(9), 1)
    log = next(iter(world.logs.values()))
    key = next(storage_key(n) for n in range(30) if not log.info.hi or storage_key(n)[:16] < bytes.fromhex(log.info.hi))
    world.now_us += 1000
    log.append(world.now_us << 12, key, item_of(1, 4711))
    at = world.now_us
    world.now_us += 50_000
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["beyond_latest"]) == ("published", True), report["error"]
    assert world.restored(report["to_id"]) == world.model(at)
    assert world.restored(report["to_id"])[key] == item_of(1, 4711)


def test_an_archive_that_does_not_come_fails_the_restore_which_can_be_resumed() -> None:
    world = world_with_history()
    log = next(iter(world.logs.values()))
    world.now_us += 1000
    log.append(world.now_us << 12, storage_key(3), item_of(3, 1))
    at = world.now_us
    world.now_us += 50_000
    world.archive_stuck = True
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["phase"]) == ("failed", "plan")
    assert "archive" in report["error"]["message"]
    assert world.published == []
    world.archive_stuck = False
    world.run(world.service.resume("new"))
    world.finish()
    found = world.service.status("new")
    assert found is not None
    assert found["state"] == "published"
    assert world.restored(report["to_id"]) == world.model(at)


def test_a_dropped_table_can_be_restored_but_not_beyond_its_end() -> None:
    world = world_with_history()
    dropped = msgspec.structs.replace(world.source, status="DROPPED", dropped_at=world.now_us)
    world.metas[dropped.table_id] = world.source = dropped
    world.now_us += 10_000_000
    report = restore(world, RestoreTarget(latest=True), to=dropped.name)
    assert report["state"] == "published"
    with pytest.raises(Unsafe):
        world.run(world.service.start(dropped, "later", RestoreTarget(at_us=world.now_us - 5)))


def lose_a_row(node: NodeName, rows: Rows) -> None:
    if node == "n3" and rows:
        del rows[min(rows)]


def test_a_copy_that_differs_keeps_the_table_unpublished() -> None:
    world = world_with_history()
    world.spoil = lose_a_row
    report = restore(world, RestoreTarget(latest=True))
    assert (report["state"], report["verdict"], world.published) == ("differs", "mismatch", [])
    assert "n3" in report["error"]["found"]
    world.run(world.service.cancel("new"))
    assert list(world.metas) == [world.source.table_id]
    assert (list(world.notes), world.files, world.copies) == ([f"abandoned/{report['to_id']}"], {}, {})


def test_a_replica_that_gave_no_digest_keeps_the_table_unpublished() -> None:
    world = world_with_history()
    load = world.load_base

    async def one_is_silent(*given: Any, **more: Any) -> LoadedBase:
        found = await load(*given, **more)
        del found.copies[NodeName("n3")]
        return found

    world.load_base = one_is_silent  # type: ignore[method-assign]
    report = restore(world, RestoreTarget(latest=True))
    assert (report["state"], report["error"]["code"], world.published) == ("failed", "Unavailable", [])


def test_as_many_copies_as_are_a_quorum_make_the_table_and_fewer_do_not() -> None:
    world = world_with_history()
    world.out = {NodeName("n2"), NodeName("n3")}
    began_us = world.now_us
    report = restore(world, RestoreTarget(latest=True))
    assert (report["state"], report["error"]["code"], world.published) == ("failed", "Unavailable", [])
    assert "a quorum of the copies of new takes part: bring n2 back" in report["error"]["next"]
    assert world.now_us - began_us < 40_000_000
    world.out = {NodeName("n3")}
    world.run(world.service.resume("new"))
    world.finish()
    assert world.published == [report["to_id"]]
    assert rates_of(cast(Any, world)).samples == 0, "nothing is learnt from how long a node was waited for"
    noted = world.notes[f"restore/{report['to_id']}"]["partitions"]
    assert [(sorted(part["copies"]), list(part["lacking"])) for part in noted] == [(["n1", "n2"], ["n3"])] * len(noted)


def test_a_target_id_that_belongs_to_another_table_is_left_alone() -> None:
    world = world_with_history()
    world.kill_at = world.changes + 6
    with pytest.raises(Killed):
        restore(world, RestoreTarget(latest=True))
    world.kill_at = None
    world.restart()
    (target,) = [meta for meta in world.metas.values() if meta.restore_of is not None]
    world.metas[target.table_id] = msgspec.structs.replace(target, name="somebody-elses")
    assert world.service.resume_unfinished() == 1
    world.finish()
    report = world.service.status("new")
    assert report is not None
    assert (report["state"], report["error"]["code"], world.published) == ("failed", "Conflict", [])


def test_trouble_that_passes_is_waited_out() -> None:
    world = world_with_history()
    world.load_errors = [Unavailable("a node restarts") for _ in range(5)]
    assert restore(world, RestoreTarget(latest=True))["state"] == "published"


def test_a_hole_fails_the_restore() -> None:
    world = world_with_history()
    world.rebuild_error = Missing("a segment object is gone", what="t/p/log/5.seg", lsn=5)
    report = restore(world, RestoreTarget(latest=True))
    assert (report["state"], report["error"]["code"], world.published) == ("failed", "Missing", [])
    world.rebuild_error = None
    world.run(world.service.resume("new"))
    world.finish()
    assert len(world.published) == 1


def test_a_rebuild_that_ends_before_the_seal_that_proves_it_is_not_loaded() -> None:
    world = world_with_history()
    world.proven_short = 1
    world.run(world.service.start(world.source, "new", RestoreTarget(at_us=moment(world, random.Random(5)))))
    world.finish()
    report = world.service.status("new")
    assert report is not None
    assert (report["state"], report["error"]["code"], world.published, world.copies) == ("failed", "Corrupt", [], {})


def test_a_row_file_that_rots_is_rebuilt() -> None:
    world = world_with_history()
    world.load_errors = [Corrupt("row file checksum differs", what="rows")]
    report = restore(world, RestoreTarget(latest=True))
    assert (report["state"], report["phase"]) == ("failed", "load")
    world.run(world.service.resume("new"))
    world.finish()
    assert world.published == [report["to_id"]]


def test_the_same_target_again_attaches_and_another_moment_is_refused() -> None:
    world = world_with_history()
    at = moment(world, random.Random(5))
    first = world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    again = world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    assert (first["to_id"], first["state"]) == (again["to_id"], "running")
    with pytest.raises(Conflict):
        world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at - 1)))
    with pytest.raises(Conflict):
        world.run(world.service.restore_table(world.source, "new", at_us=at, overrides={}))
    world.finish()
    assert world.published == [first["to_id"]]
    done = world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    assert (done["to_id"], done["state"], done["verdict"]) == (first["to_id"], "published", "match")
    assert world.run(world.service.start(world.source, "new", RestoreTarget(before_us=at + 1)))["state"] == "published"
    for other in (RestoreTarget(at_us=at - 1), RestoreTarget(latest=True), RestoreTarget(minus_us=7)):
        with pytest.raises(Conflict) as refused:
            world.run(world.service.start(world.source, "new", other))
        assert "proven window" in refused.value.fields["found"]
    with pytest.raises(Conflict):
        world.run(world.service.restore_table(world.source, "new", at_us=at, overrides={}))
    world.finish()
    assert world.published == [first["to_id"]], "what is done is not done again"


def test_cancel_while_it_runs_and_never_after_publication() -> None:
    world = world_with_history()
    world.run(world.service.start(world.source, "new", RestoreTarget(latest=True)))
    world.run(world.env.tasks.sleep(0.25))
    report = world.run(world.service.cancel("new"))
    assert report["state"] == "cancelled"
    world.finish()
    assert (world.published, list(world.metas)) == ([], [world.source.table_id])
    assert list(world.notes) == [f"abandoned/{report['to_id']}"], "what it put into the archive by then is ours to take away"
    restore(world, RestoreTarget(latest=True))
    with pytest.raises(Unsafe):
        world.run(world.service.cancel("new"))
    with pytest.raises(Unavailable):
        world.run(world.service.cancel("nothing"))


@pytest.mark.parametrize("moment", range(0, 700, 9))
def test_cancel_at_any_moment_leaves_nothing(moment: int) -> None:
    world = world_with_history()
    world.run(world.service.start(world.source, "new", RestoreTarget(latest=True)))
    world.run(world.env.tasks.sleep(moment / 1000))
    if world.published:
        return
    try:
        report = world.run(world.service.cancel("new"))
    except Unsafe:
        assert world.published
        return
    assert report["state"] == "cancelled"
    world.finish()
    assert ([key for key in world.notes if key.startswith("restore/")], list(world.metas)) == ([], [world.source.table_id])
    assert restore(world, RestoreTarget(latest=True))["state"] == "published"


def test_the_api_restores_with_overrides_and_without_tags() -> None:
    world = world_with_history()
    world.source = msgspec.structs.replace(world.source, tags=(("a", "b"),), deletion_protection=True, pitr_days=7)
    world.metas[world.source.table_id] = world.source
    meta = world.run(world.service.restore_table(world.source, "new", at_us=None, overrides={"billing": "PAY_PER_REQUEST"}))
    assert (meta.status, meta.billing, meta.tags, meta.deletion_protection) == ("CREATING", "PAY_PER_REQUEST", (), False)
    assert meta.pitr_days == 35, "retention would take history away that nobody gave up"
    assert meta.restore_of is not None
    assert meta.restore_of.in_progress
    assert [(info.lo, info.hi) for info in meta.partitions] == [(info.lo, info.hi) for info in world.source.partitions]
    assert not {info.partition_id for info in meta.partitions} & {info.partition_id for info in world.source.partitions}
    world.finish()
    assert world.published == [meta.table_id]


def test_rates_are_learnt_and_kept() -> None:
    world = world_with_history()
    restore(world, RestoreTarget(latest=True))
    world.restart()
    plan = world.run(world.service.plan(world.source, "other", RestoreTarget(latest=True)))
    assert plan["rates"]["samples"] == 1


def test_a_restart_shows_what_was_restored_before() -> None:
    world = world_with_history()
    report = restore(world, RestoreTarget(latest=True))
    world.restart()
    assert world.service.resume_unfinished() == 0
    found = world.service.status("new")
    assert found == {**report, "progress": None}
    assert [one["to"] for one in world.service.all()] == ["new"]


def count_changes() -> int:
    world = world_with_history()
    before = world.changes
    restore(world, RestoreTarget(latest=True))
    return world.changes - before


@pytest.mark.parametrize("point", range(1, count_changes() + 1))
def test_killed_at_any_point_it_is_carried_on(point: int) -> None:
    world = world_with_history()
    at = world.run(world.look(world.source)).window.latest_us
    world.kill_at = world.changes + point
    with pytest.raises(Killed):
        restore(world, RestoreTarget(at_us=at))
    world.kill_at = None
    world.restart()
    unpublished = [meta for meta in world.metas.values() if meta.restore_of is not None and meta.restore_of.in_progress]
    assert len(unpublished) + len(world.published) <= 1
    started = world.service.resume_unfinished()
    world.finish()
    if not started and not world.published:
        assert list(world.metas) == [world.source.table_id], "what has no notes has no table"
        restore(world, RestoreTarget(at_us=at))
    report = world.service.status("new")
    assert report is not None
    assert (report["state"], report["verdict"]) == ("published", "match")
    assert world.published == [report["to_id"]], "published once"
    assert world.restored(report["to_id"]) == world.model(at)
    assert not world.files


def test_two_deaths_in_one_restore() -> None:
    for first, second in ((5, 3), (9, 9), (12, 2), (15, 6)):
        world = world_with_history()
        at = world.run(world.look(world.source)).window.latest_us
        world.kill_at = world.changes + first
        with pytest.raises(Killed):
            restore(world, RestoreTarget(at_us=at))
        world.restart()
        world.kill_at = world.changes + second
        world.service.resume_unfinished()
        with pytest.raises(Killed):
            world.finish()
        world.kill_at = None
        world.restart()
        assert world.service.resume_unfinished() == 1
        world.finish()
        (table_id,) = world.published
        assert world.restored(table_id) == world.model(at)


def test_publishing_before_the_digests_agree_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the comparison switched off, the spoilt copy is published, so the test above does guard it."""
    monkeypatch.setattr("scrubjay.pitr.restore.Restore._faults", lambda self, part: [])
    world = world_with_history()
    world.spoil = lose_a_row
    assert restore(world, RestoreTarget(latest=True))["state"] == "published"
    with pytest.raises(AssertionError):
        world.restored(world.published[0])


def test_what_a_restore_reads_is_needed_from_before_it_looks_until_it_is_published() -> None:
    """Retention asks this before it takes anything away (archiver.expire)."""
    world = world_with_history()
    at = moment(world, random.Random(3))
    seen: list[list[tuple[str | None, int, str]]] = []
    look = world.look

    async def looking(table: Any) -> Any:
        seen.append([(one.table, one.at_us, one.name) for one in world.service.needs()])
        return await look(table)

    world.look = looking  # type: ignore[method-assign]
    assert world.service.needs() == []
    world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    assert seen[0] == [(world.source.table_id, 0, "new")], "planned: any moment may be asked for"
    assert [(one.table, one.at_us, one.name) for one in world.service.needs()] == [(world.source.table_id, at, "new")]
    world.finish()
    assert world.service.status("new")["state"] == "published"  # type: ignore[index]
    assert world.service.needs() == []


def test_notes_of_another_version_need_everything() -> None:
    world = world_with_history()
    world.run(world.save_job("restore/of-a-later-version", {"version": 99}))
    assert [(one.table, one.at_us) for one in world.service.needs()] == [(None, 0)]


def test_a_node_that_is_down_is_named_in_what_to_do_next() -> None:
    """Each copy proves the digest, so a restore waits for the node, and not for somebody to try again."""
    down = Unavailable("this copy is down", partition="p", node="n2")
    told = next_step(down, source="birds", target="new", named=False)
    assert "bring n2 back" in told
    assert told.endswith("scrubjay restore resume new")
    assert "n2" not in next_step(Unavailable("the store is away"), source="birds", target="new", named=False)
