"""Compaction in the simulated cluster: by hand and by the schedule, with scrubs, verifies, restores and a restart behind it."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.base.times import utc_text
from scrubjay.sim.whole.packing import unproven_since
from tests.sim.test_edge import Edge
from tests.unit.archiver.lines import Line

VALUES = 12


async def _trickle(edge: Edge) -> list[int]:
    """Writes of one day, each in a segment of its own; then the day is over. When each value was written, by the cluster's clock."""
    await edge.table()
    wrote: list[int] = []
    for value in range(VALUES):
        status, _ = await edge.post("PutItem", {"TableName": "edge", "Item": {"k": {"S": "1"}, "v": {"N": str(value)}}})
        assert status == 200
        wrote.append(edge.cluster.control.env.clock.wall_us())
        await edge.cluster.env.tasks.sleep(12)
    while (await edge.ask("GET", "archive/status"))["exit"] != 0:
        await edge.cluster.env.tasks.sleep(1)
    for host in (*edge.cluster.hosts, edge.cluster.control):
        host.clock.jump(2 * DAY_US)
    return wrote


async def _made(edge: Edge, table: str) -> None:
    """The table is there, and can be read."""
    while (found := await edge.post("DescribeTable", {"TableName": table}))[0] != 200 or found[1]["Table"]["TableStatus"] != "ACTIVE":
        await edge.cluster.env.tasks.sleep(0.2)


def _segments(edge: Edge, table_id: str) -> list[SegmentKey]:
    keys = [key for key in map(parse, edge.cluster.archive.keys()) if isinstance(key, SegmentKey)]
    return [key for key in keys if key.table == table_id and not key.manifest]


@pytest.mark.slow
def test_what_was_packed_is_scrubbed_verified_and_restored() -> None:
    edge = Edge(31)

    async def story() -> None:
        cluster = edge.cluster
        wrote = await _trickle(edge)
        table_id = next(one.table_id for one in cluster.service.tables() if one.name == "edge")
        before = _segments(edge, table_id)
        assert len(before) > VALUES // 2
        plan: dict[str, Any] = await edge.work("archive/compact", {"table": "edge", "confirm": False})
        assert (plan["exit"], plan["ran"]) == (0, False)
        assert plan["totals"]["segments"] > VALUES // 2
        assert _segments(edge, table_id) == before, "a plan changes nothing"
        window = (await edge.ask("GET", "archive/status?table=edge"))["tables"][0]["window"]["earliest"]
        done = await edge.work("archive/compact", {"table": "edge", "confirm": True})
        assert done["exit"] == 0, done
        assert done["totals"]["packed"] == plan["totals"]["segments"]
        assert len(_segments(edge, table_id)) == len(before) - done["totals"]["packed"] + done["totals"]["made"]
        assert (await edge.ask("GET", "archive/status?table=edge"))["tables"][0]["window"]["earliest"] == window
        night = await edge.work("schedule/run", {"job": "compact"})
        assert night["exit"] == 0, night
        assert night["last"]["verdict"] in ("done", "nothing_due"), night
        assert cluster.durability.telling.ended["compact", "done"] >= 2
        assert (await edge.work("verify", {"level": "replayed"}))["verdict"] == "match"
        assert (await edge.work("scrub", {}))["verdict"] == "match"
        history = await edge.work("history", {"table": "edge", "key": {"k": {"S": "1"}}, "limit": 100})
        assert [int(one["item"]["v"]["N"]) for one in history["versions"]] == [*range(VALUES)][::-1], history
        status = await edge.ask("POST", "restore/run", {"table": "edge", "to": "again", "at_us": wrote[5]})
        while status.get("running") or status.get("state") == "running":
            await cluster.env.tasks.sleep(0.5)
            status = await edge.ask("GET", "restore/status?to=again")
        await _made(edge, "again")
        assert await edge.rows("again") == {1: 5}, utc_text(wrote[5])
        assert (await edge.work("verify", {"level": "listed"}))["verdict"] == "match"

    edge.run(story(), seconds=1200)
    assert edge.bugs == []


@pytest.mark.slow
def test_readers_go_on_while_segments_are_packed_under_them() -> None:
    """A verify, a scrub, a history and a restore, each begun before, while and after the segments that they read become packs."""
    edge = Edge(32)

    async def story() -> None:
        cluster = edge.cluster
        wrote = await _trickle(edge)
        tasks = cluster.env.tasks
        key = {"table": "edge", "key": {"k": {"S": "1"}}, "limit": 100}
        ended: list[str] = []

        async def reads(number: int) -> None:
            await tasks.sleep(0.05 * number)
            history = await edge.work("history", key)
            assert [int(one["item"]["v"]["N"]) for one in history["versions"]] == [*range(VALUES)][::-1], history
            assert (await edge.work("verify", {"level": "replayed"}))["verdict"] == "match"
            ended.append("read")

        async def restores() -> None:
            status = await edge.ask("POST", "restore/run", {"table": "edge", "to": "again", "at_us": wrote[7]})
            assert status["exit"] in (0, 3), status
            await _made(edge, "again")
            assert await edge.rows("again") == {1: 7}
            ended.append("restored")

        async def packs() -> None:
            for _ in range(3):  # not in the lane of the scrubs, so that it runs beside them
                report = await cluster.durability.compact.compact(tables=None, confirm=True, progress=lambda facts: None)
                assert report["exit"] == 0, report
            ended.append("packed")

        running = [tasks.spawn(one, name="beside") for one in (packs(), reads(0), reads(1), reads(3), restores())]
        for one in running:
            await one
        assert sorted(ended) == ["packed", "read", "read", "read", "restored"]
        assert cluster.durability.compact.done.saved > VALUES
        assert (await edge.work("scrub", {}))["verdict"] == "match"
        assert (await edge.ask("GET", "archive/status"))["findings"] == []

    edge.run(story(), seconds=1200)
    assert edge.bugs == []


def test_what_packing_may_not_take_is_a_segment_that_was_proven_and_what_may_come_is_one_in_front() -> None:
    spans, key = tuple(Line().grow(3, 6, 9).spans), ("t", "p")
    assert unproven_since({key: spans[1:]}, {key: spans}) == ""
    assert "changed what is proven" in unproven_since({key: spans}, {key: spans[1:]})
    assert "changed what is proven" in unproven_since({key: spans}, {key: (spans[0]._replace(chain=b"x"), *spans[1:])})
    assert "changed what is proven" in unproven_since({key: spans}, {})
