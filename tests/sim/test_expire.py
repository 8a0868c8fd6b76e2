"""`expire` through the admin edge of the simulated cluster: what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.base.errors import Invalid
from scrubjay.scrubber.schedule.settings import JobSettings
from scrubjay.scrubber.schedule.views import Shift
from scrubjay.server.leaps import LOOK_S, NOTE, LeapWatch
from scrubjay.sim.store import SimStoreClient
from scrubjay.storage.catalogue import METADATA_TABLE
from scrubjay.storage.service_port import Finding
from tests.sim.test_edge import Edge


async def _old_history(edge: Edge, *, weeks: int) -> None:
    """Writes, a base, then every clock leaps by weeks."""
    await edge.table()
    for value in range(3):
        status, _ = await edge.post("PutItem", {"TableName": "edge", "Item": {"k": {"S": "1"}, "v": {"N": str(value)}}})
        assert status == 200
    while (await edge.ask("GET", "archive/status"))["exit"] != 0:
        await edge.cluster.env.tasks.sleep(1)
    assert (await edge.work("scrub", {}))["exit"] == 0
    assert (await edge.work("expire", {}))["totals"]["objects"] == 0, "nothing is old enough"
    for host in (*edge.cluster.hosts, edge.cluster.control):
        host.clock.jump(weeks * 7 * DAY_US)


def test_a_clock_that_leapt_and_a_retention_below_the_tables_own_take_nothing_away() -> None:
    edge = Edge(5)

    async def story() -> None:
        await _old_history(edge, weeks=6)
        plan = await edge.work("expire", {"confirm": False})
        assert plan["ran"] is False
        before = set(edge.cluster.archive.keys())
        refused = await edge.work("expire", {"confirm": True})
        assert refused["exit"] == 4, refused
        assert "leapt" in refused["error"]["message"]
        assert {key for key in before if "/closed/" not in key} <= set(edge.cluster.archive.keys())
        night = await edge.work("schedule/run", {"job": "expire"})
        assert (night["exit"], night["last"]["verdict"]) == (4, "refused"), "nor does the schedule"
        assert "leapt" in night["last"]["why"]
        assert "retention-stopped" in [problem["kind"] for problem in (await edge.ask("GET", "status"))["problems"]]
        less: dict[str, Any] = await edge.work("expire", {"keep_us": 3 * DAY_US, "confirm": True})
        assert less["exit"] == 4
        assert "own retention" in less["error"]["message"]
        wrong = await edge.ask("POST", "expire", {"keep_us": 36 * DAY_US})
        assert wrong["exit"] == 64

    edge.run(story(), seconds=600)
    assert edge.bugs == []


def test_a_run_goes_by_the_retention_that_a_table_has_by_then() -> None:
    edge = Edge(6)

    async def days(count: int) -> None:
        asked = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": count}
        status, _ = await edge.post("UpdateContinuousBackups", {"TableName": "edge", "PointInTimeRecoverySpecification": asked})
        assert status == 200

    async def story() -> None:
        await edge.table()
        runs = edge.cluster.durability.expire
        await days(1)
        wanted = next(one for one in runs._wanted(None, None) if one.table_name == "edge")
        assert wanted.keep_us == DAY_US
        asked = {one.table_name: one.keep_us for one in runs._wanted(None, 3 * DAY_US)}
        assert asked == {"edge": 3 * DAY_US, METADATA_TABLE: 35 * DAY_US}, "the metadata group keeps its own"
        await days(35)
        fresh = runs._afresh(wanted)
        assert fresh is not None
        assert fresh.keep_us == 35 * DAY_US
        await days(1)
        less = runs._afresh(wanted._replace(keep_us=35 * DAY_US))
        assert less is not None
        assert less.keep_us == 35 * DAY_US, "what was asked for stays"
        assert runs._afresh(wanted._replace(table="gone")) is None

    edge.run(story())
    assert edge.bugs == []


def test_a_retention_that_was_shortened_is_told_before_the_schedule_goes_by_it() -> None:
    edge = Edge(7)

    async def days(count: int) -> None:
        asked = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": count}
        status, _ = await edge.post("UpdateContinuousBackups", {"TableName": "edge", "PointInTimeRecoverySpecification": asked})
        assert status == 200

    def kept(report: dict[str, Any]) -> int:
        return next(one["keep_seconds"] for one in report["tables"] if one["table"] == "edge") // 86_400

    async def story() -> None:
        await edge.table()
        while (await edge.ask("GET", "archive/status"))["exit"] != 0:
            await edge.cluster.env.tasks.sleep(1)
        await days(1)
        shift = Shift(JobSettings("0 7 * * *", DAY_US), 0, lambda read: None)
        runs = edge.cluster.durability.expire
        night = await runs.nightly(shift)
        assert (night["exit"], kept(night)) == (0, 35), night
        plan = await edge.work("expire", {"confirm": False})
        shortened = next(one["shortened"] for one in plan["tables"] if one["table"] == "edge")
        assert (shortened["keeps_seconds"], shortened["told_seconds"]) == (35 * 86_400, 86_400)
        assert shortened["until"] is not None
        assert kept(await runs.nightly(shift)) == 35, "the night after"
        assert kept(await edge.work("expire", {"keep_us": 20 * DAY_US, "confirm": True})) == 20
        assert kept(await runs.nightly(shift)) == 35, "that confirmed 20 days, and not what the table is told"
        assert kept(await edge.work("expire", {"confirm": True})) == 1, "somebody has seen the plan"
        night = await runs.nightly(shift)
        assert kept(night) == 1
        assert [one["shortened"] for one in night["tables"]] == [None, None]
        assert next(one["keep_seconds"] for one in night["tables"] if one["table"] == METADATA_TABLE) == 35 * 86_400

    edge.run(story())
    assert edge.bugs == []


@pytest.mark.parametrize("ahead_days", [4, 80])
def test_a_clock_that_leapt_while_the_server_was_down_ends_no_grace(ahead_days: int) -> None:
    """By four days the archive witnesses a gap; by eighty nothing can be told any more."""
    edge = Edge(11)

    async def story() -> None:
        cluster = edge.cluster
        await edge.table()
        while (await edge.ask("GET", "archive/status"))["exit"] != 0:
            await cluster.env.tasks.sleep(1)
        asked = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 1}
        assert (await edge.post("UpdateContinuousBackups", {"TableName": "edge", "PointInTimeRecoverySpecification": asked}))[0] == 200
        shift = Shift(JobSettings("0 7 * * *", DAY_US), 0, lambda read: None)
        runs = cluster.durability.expire
        assert (await runs.nightly(shift))["exit"] == 0
        for host in (*cluster.hosts, cluster.control):
            host.clock.jump(ahead_days * DAY_US)
        runs._leaps = LeapWatch(cluster.control.env.clock)  # as a process that starts by that clock
        for _ in range(2):
            await runs.nightly(shift)
            table = next(one for one in cluster.service.tables() if one.name == "edge")
            assert table.pitr_days == 1
            assert runs._retentions.keep_us(table) == 35 * DAY_US

    edge.run(story(), seconds=900)
    assert edge.bugs == []


def test_evidence_that_an_open_finding_names_is_not_old(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(12)

    async def story() -> None:
        await edge.table()
        while (await edge.ask("GET", "archive/status"))["exit"] != 0:
            await edge.cluster.env.tasks.sleep(1)
        disk = edge.cluster.durability.expire._disk
        for name in ("p-1", "p-2"):
            disk.mkdir(f"nodes/n1/quarantine/{name}")
        disk.write_file("nodes/n1/quarantine.json", b'{"p-1":1,"p-2":1}')
        named = Finding("unreadable", "n1", "p", None, None, None, None, None, "read", "quarantined", "", 1, "nodes/n1/quarantine/p-2")
        monkeypatch.setattr(edge.cluster.service, "findings", lambda _partition: [named])
        plan = await edge.work("expire", {"confirm": False})
        assert plan["evidence"] == {"trees": 2, "old": ["nodes/n1/quarantine/p-1"]}
        handed_off: list[bool] = []
        blocking, remove_tree = edge.cluster.control.env.tasks.blocking, disk.remove_tree

        def off_loop(work: Callable[[], Any]) -> Any:
            handed_off.append(True)
            try:
                return blocking(work)
            finally:
                handed_off.pop()

        def removed(path: str) -> None:
            assert handed_off, "a tree is removed on the loop"
            remove_tree(path)

        monkeypatch.setattr(edge.cluster.control.env.tasks, "blocking", off_loop)
        monkeypatch.setattr(disk, "remove_tree", removed)
        assert (await edge.work("expire", {"confirm": True}))["evidence"] == plan["evidence"]
        assert disk.listdir("nodes/n1/quarantine") == ["p-2"]

    edge.run(story())
    assert edge.bugs == []


@pytest.mark.slow
def test_a_leap_between_two_runs_is_noted_for_whoever_comes_after_a_restart() -> None:
    edge = Edge(13)

    async def story() -> None:
        cluster = edge.cluster
        disk = cluster.durability.expire._disk
        await cluster.env.tasks.sleep(1)
        cluster.control.clock.jump(120_000_000)
        assert not disk.exists(NOTE)
        await cluster.env.tasks.sleep(LOOK_S)
        assert disk.exists(NOTE)
        assert LeapWatch(cluster.control.clock, disk).doubt is not None

    edge.run(story(), seconds=900)
    assert edge.bugs == []


def test_a_plan_by_a_clock_that_leapt_is_refused_as_its_run_is() -> None:
    edge = Edge(13)

    async def story() -> None:
        assert (await edge.work("expire", {"confirm": False}))["exit"] == 0
        edge.cluster.control.clock.jump(120_000_000)
        plan = await edge.work("expire", {"confirm": False})
        assert (plan["exit"], plan["error"]["code"], plan["ran"]) == (4, "Unsafe", False)
        assert "+120 s" in plan["clock"]
        assert plan["tables"], "it says what would go by this clock"

    edge.run(story())
    assert edge.bugs == []


def test_a_run_that_is_cut_goes_on_where_it_stopped() -> None:
    edge = Edge(8)

    async def story() -> None:
        await edge.table()
        while (await edge.ask("GET", "archive/status"))["exit"] != 0:
            await edge.cluster.env.tasks.sleep(1)
        asked = iter([None, "window_over"])
        settings = JobSettings("0 7 * * *", DAY_US)
        runs = edge.cluster.durability.expire
        first = await runs.nightly(Shift(settings, 0, lambda read: next(asked)))
        assert (first["cut"], first["left"], len(first["tables"])) == ("window_over", 1, 1)
        asked = iter([None, "window_over"])
        second = await runs.nightly(Shift(settings, 0, lambda read: next(asked)))
        assert second["left"] == 1
        assert {one["table"] for one in (*first["tables"], *second["tables"])} == {"edge", METADATA_TABLE}

    edge.run(story())
    assert edge.bugs == []


def test_a_dropped_table_leaves_the_catalogue_once_nothing_of_it_is_left_and_so_do_the_notes_of_cancelled_restores() -> None:
    edge = Edge(9)
    given_up = "abandoned/0e4e0000-0000-4000-8000-00000000000b"

    async def story() -> None:
        cluster, metadata = edge.cluster, edge.cluster.metadata
        await edge.table()
        table = next(one for one in cluster.service.tables() if one.name == "edge")
        assert (await edge.post("DeleteTable", {"TableName": "edge"}))[0] == 200
        while next(one for one in cluster.service.tables() if one.table_id == table.table_id).archived_at is None:
            await cluster.env.tasks.sleep(1)
        now_us = cluster.control.env.clock.wall_us()
        await metadata.put_job(given_up, {"name": "copy", "at_us": now_us, "partitions": ["0e4e0000-0000-4000-8000-00000000000c"]})
        assert (await edge.work("expire", {"confirm": True}))["exit"] == 0
        assert given_up in metadata.jobs
        for host in (*cluster.hosts, cluster.control):
            host.clock.jump(6 * 7 * DAY_US)
        runs = cluster.durability.expire
        runs._leaps = LeapWatch(cluster.control.env.clock)  # as a process that starts by that clock
        went = await edge.work("expire", {"confirm": True})
        assert [one["partitions"][0]["whole"] for one in went["tables"] if one["table_id"] == table.table_id] == [True]
        assert given_up not in metadata.jobs
        assert table.table_id in [one.table_id for one in cluster.service.tables()], (
            "what went a moment ago may be put back by whoever was late"
        )
        await edge.work("expire", {"confirm": True})
        assert table.table_id not in [one.table_id for one in cluster.service.tables()]
        last = await edge.work("expire", {"confirm": True})
        assert last["foreign"] == [], "only the word about it is left"
        assert (await edge.work("verify", {}))["exit"] == 0

    edge.run(story(), seconds=900)
    assert edge.bugs == []


def test_what_must_stay_is_locked_by_the_nights_and_what_cannot_be_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(12)
    bucket = edge.cluster.archive
    shift = Shift(JobSettings("0 7 * * *", DAY_US), 0, lambda read: None)

    def ends(key: str) -> int:
        return bucket.objects[key].locked_until_us

    async def story() -> None:
        await edge.table()
        while (await edge.ask("GET", "archive/status"))["exit"] != 0:
            await edge.cluster.env.tasks.sleep(1)
        before = [key for key in bucket.keys("") if "/log/" in key]
        bucket.lock_us = 38 * DAY_US  # object lock was configured, and the server started again
        runs = edge.cluster.durability.expire
        watch = runs.locks
        watch._book = None
        assert before
        assert not any(map(ends, before))
        night = await runs.nightly(shift)
        assert night["locks"]["error"] is None
        assert all(ends(key) > bucket.wall_us() + 30 * DAY_US for key in bucket.keys("") if "/log/" in key or key.endswith("/identity"))
        asked = night["locks"]["asked"]
        assert asked >= len(before)
        assert (await runs.nightly(shift))["locks"]["asked"] < asked / 2
        watch._book = None  # the next life knows since when everything is locked
        assert watch.book().since_us is not None
        for key in bucket.keys(""):
            bucket.objects[key].locked_until_us = 0

        async def refuse(self: object, key: str, until_us: int) -> int:
            raise Invalid("no", key=key)

        with monkeypatch.context() as patch:
            patch.setattr(SimStoreClient, "retain", refuse)
            ran = await edge.work("schedule/run", {"job": "expire"})
        assert (ran["exit"], ran["last"]["verdict"]) == (3, "unlocked")
        assert "could not be locked for longer" in ran["last"]["why"]
        assert watch.problem(None) is not None
        watch._looked = False
        assert watch.problem(edge.cluster.durability.schedule.views.ended("expire")) is not None, "over a restart too"
        assert (await edge.work("schedule/run", {"job": "expire"}))["exit"] == 0
        assert watch.problem(None) is None
        bucket.lock_us = 0
        watch._book = None
        assert (await runs.nightly(shift))["locks"] is None
        bucket.lock_us = 38 * DAY_US
        watch._book = None
        assert watch.book().since_us is None, "nothing is known of what was put meanwhile"

    edge.run(story(), seconds=600)
    assert edge.bugs == []
