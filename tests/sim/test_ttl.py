"""Time to live over the simulated cluster: what is over goes, and nothing else, while leaders die, items are touched and clocks leap."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.server import leaps
from scrubjay.server.leaps import LeapWatch
from scrubjay.server.ttl import walker as walking
from scrubjay.server.ttl.walk_notes import PREFIX
from scrubjay.server.ttl.walker import TtlOptions, TtlWalker, WalkView
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.ttl import YEARS_S
from tests.sim.test_edge import Edge

HOUR_S = 3600
SETTLE_S = 30
FAST = TtlOptions(every_us=1_000_000)


def now_s(edge: Edge) -> int:
    return edge.cluster.control.env.clock.wall_us() // 1_000_000


def walker_of(edge: Edge, options: TtlOptions = FAST) -> TtlWalker:
    walker = edge.cluster.durability.ttl
    walker._options = options
    walker.stop()
    walker.start()  # whoever rests does so by what it was told before
    return walker


def view_of(edge: Edge) -> WalkView:
    (view,) = edge.cluster.durability.ttl.views()
    return view


def table_of(edge: Edge) -> TableMeta:
    table = edge.cluster.store.table("edge")
    assert table is not None
    return table


async def put(edge: Edge, name: str, ends: dict[str, Any] | None) -> None:
    item: dict[str, Any] = {"k": {"S": name}, "v": {"N": "1"}}
    status, answer = await edge.post("PutItem", {"TableName": "edge", "Item": item if ends is None else item | {"ends": ends}})
    assert status == 200, answer


async def turn_on(edge: Edge) -> None:
    asked = {"TableName": "edge", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ends"}}
    assert (await edge.post("UpdateTimeToLive", asked)) == (200, {"TimeToLiveSpecification": asked["TimeToLiveSpecification"]})


async def names(edge: Edge, table: str = "edge") -> set[str]:
    status, found = await edge.post("Scan", {"TableName": table, "ConsistentRead": True})
    assert status == 200, found
    return {item["k"]["S"] for item in found["Items"]}


async def walked(edge: Edge) -> None:
    """A walk that began after now is over."""
    since_us, end = edge.cluster.control.env.clock.wall_us(), edge.world.now + 300_000_000
    while (view := view_of(edge)).clean_us is None or view.clean_us + walking.GRACE_S * 1_000_000 < since_us:
        assert edge.world.now < end, view
        await edge.cluster.env.tasks.sleep(0.5)


def test_what_is_over_goes_and_says_so_and_a_restore_to_before_has_it() -> None:
    edge = Edge(21)

    async def story() -> None:
        await edge.table()
        now = now_s(edge)
        over = {"whole": f"{now - HOUR_S}", "fraction": f"{now - HOUR_S}.5", "days": f"{now - 30 * 86_400}"}
        stays: dict[str, dict[str, Any] | None] = {
            "none": None,
            "text": {"S": f"{now - HOUR_S}"},
            "set": {"NS": [f"{now - HOUR_S}"]},
            "nested": {"M": {"ends": {"N": f"{now - HOUR_S}"}}},
            "to come": {"N": f"{now + HOUR_S}"},
            "a moment ago": {"N": f"{now}"},
            "years": {"N": f"{now - YEARS_S - HOUR_S}"},
            "negative": {"N": "-5"},
            "huge": {"N": "1E+30"},
        }
        for name, at in over.items():
            await put(edge, name, {"N": at})
        for name, ends in stays.items():
            await put(edge, name, ends)
        before = await names(edge)
        assert before == {*over, *stays}
        await edge.exit_is(0)
        then_us = edge.cluster.control.env.clock.wall_us()
        await edge.cluster.env.tasks.sleep(1.0)
        walker_of(edge)
        await turn_on(edge)
        await walked(edge)
        assert await names(edge) == set(stays)
        assert view_of(edge).expired == len(over)
        told = (await edge.post("DescribeTimeToLive", {"TableName": "edge"}))[1]
        assert told == {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"}}

        status, _ = await edge.post("DeleteItem", {"TableName": "edge", "Key": {"k": {"S": "text"}}})
        assert status == 200
        scrub = await edge.work("scrub", {"table": "edge"})
        assert scrub["verdict"] == "match", scrub
        assert (await edge.work("verify", {"level": "replayed"}))["exit"] == 0
        for name, op in (("whole", "ttl"), ("text", "delete")):
            history = await edge.work("history", {"table": "edge", "key": {"k": {"S": name}}, "limit": 5})
            assert [one["op"] for one in history["versions"]] == [op, "put"], history

        started = await edge.ask("POST", "restore/run", {"table": "edge", "to": "edge-then", "at_us": then_us})
        assert started["error"] is None, started
        while (found := await edge.ask("GET", "restore/status?to=edge-then"))["running"]:
            await edge.cluster.env.tasks.sleep(0.1)
        assert found["exit"] == 0, found
        await edge.cluster.env.tasks.sleep(5)
        assert await names(edge, "edge-then") == before, "the time to live of a restored table is off"
        told = (await edge.post("DescribeTimeToLive", {"TableName": "edge-then"}))[1]
        assert told == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}

    edge.run(story(), seconds=900)
    assert edge.bugs == []


def test_an_item_that_is_touched_meanwhile_stays_though_leaders_and_the_walker_die() -> None:
    edge = Edge(22)
    count = 60
    done = Counter[str]()
    touched: dict[str, bool] = {}
    """By name: whether it is known to have been touched in time."""

    async def blows() -> None:
        for _ in range(2):
            await edge.cluster.env.tasks.sleep(1.2)
            leader = edge.cluster.leader(table_of(edge).partitions[0].partition_id)
            if leader is not None:
                host = edge.world.hosts[leader.node.name]
                host.crash(power=True)
                done["leaders"] += 1
                await edge.cluster.env.tasks.sleep(0.3)
                host.start()

    async def touch() -> None:
        draw = edge.world.stream("touch")
        later = {"N": f"{now_s(edge) + HOUR_S}"}
        for number in range(0, count, 3):
            name = f"item-{number:03d}"
            asked = {
                "TableName": "edge",
                "Key": {"k": {"S": name}},
                "UpdateExpression": "SET #ends = :later",
                "ConditionExpression": "attribute_exists(k)",
                "ExpressionAttributeNames": {"#ends": "ends"},
                "ExpressionAttributeValues": {":later": later},
            }
            status, answer = await edge.post("UpdateItem", asked)
            if status == 200:
                touched[name] = True
                done["touched"] += 1
            elif status == 400:
                assert "ConditionalCheckFailed" in answer["__type"], answer
                touched[name] = False
                done["late"] += 1
            await edge.cluster.env.tasks.sleep(draw.between(5, 120) / 1000)

    async def story() -> None:
        await edge.table()
        for number in range(count):
            await put(edge, f"item-{number:03d}", {"N": f"{now_s(edge) - HOUR_S}"})
        await edge.cluster.env.tasks.sleep(3)  # into the trees
        walker_of(edge, TtlOptions(every_us=1_000_000, deletes_per_second=20))
        await turn_on(edge)
        await edge.cluster.env.tasks.sleep(1)
        tasks = [edge.cluster.env.tasks.spawn(one, name="beside") for one in (touch(), blows())]
        for task in tasks:
            await task

    edge.run(story(), seconds=600)
    edge.cluster.control.crash(power=True)
    edge.cluster.control.start()
    edge.run(edge.cluster.up())
    edge.open()

    async def after() -> None:
        walker_of(edge)
        await walked(edge)
        left = await names(edge)
        assert {name for name, stays in touched.items() if stays} <= left, "an item was taken away whose time is to come"
        unknown = {f"item-{number:03d}" for number in range(0, count, 3)} - set(touched)
        assert left <= {name for name, stays in touched.items() if stays} | unknown
        await edge.exit_is(0)
        assert (await edge.work("scrub", {"table": "edge"}))["verdict"] == "match"

    edge.run(after(), seconds=600)
    assert edge.bugs == []
    assert done["leaders"] >= 2, done
    assert done["touched"] >= 5, done


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated day of a whole cluster takes too long: what is doubted is for 30 s, what is late is after 5 s."""
    monkeypatch.setattr(leaps, "SETTLE_US", SETTLE_S * 1_000_000)
    monkeypatch.setattr(walking, "SETTLE_US", SETTLE_S * 1_000_000)
    monkeypatch.setattr(walking, "LATE_US", 5_000_000)


@pytest.mark.usefixtures("soon")
def test_nothing_goes_by_a_clock_that_leapt_until_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(23)

    async def story() -> None:
        await edge.table()
        await put(edge, "over", {"N": f"{now_s(edge) - HOUR_S}"})
        await put(edge, "to come", {"N": f"{now_s(edge) + 40 * HOUR_S}"})
        await put(edge, "far", {"N": f"{now_s(edge) + 400 * HOUR_S}"})
        await edge.cluster.env.tasks.sleep(3)
        for host in (*edge.cluster.hosts, edge.cluster.control):
            host.clock.jump(2 * DAY_US)
        walker_of(edge)
        await turn_on(edge)
        await edge.cluster.env.tasks.sleep(20)
        assert await names(edge) == {"over", "to come", "far"}, "not by a clock that leapt, not even what was over before"
        problems = (await edge.ask("GET", "status"))["problems"]
        (late,) = [one for one in problems if one["kind"] == "ttl-late"]
        assert "leapt by +172800 s" in late["what"]
        assert late["runbook"] == "runbooks/retention-stopped.md"
        await edge.cluster.env.tasks.sleep(SETTLE_S)
        await walked(edge)
        assert await names(edge) == {"far"}, "it was right, or nobody saw to it for a day"
        monkeypatch.setattr(walking, "LATE_US", 1_800_000_000)
        await edge.cluster.env.tasks.sleep(2)
        assert "ttl-late" not in [one["kind"] for one in (await edge.ask("GET", "status"))["problems"]]
        for host in (*edge.cluster.hosts, edge.cluster.control):
            host.clock.jump(-HOUR_S * 1_000_000)
        walker = edge.cluster.durability.ttl
        assert "leapt by -3600 s" in (walker.doubt() or "")
        walker._leaps = LeapWatch(edge.cluster.control.env.clock)
        assert "s ahead of this machine's clock" in (walker.doubt() or ""), "what stamps say counts too"

    edge.run(story(), seconds=300)
    assert edge.bugs == []


def test_the_leader_goes_by_its_own_clock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of whoever walks leapt, unseen: the leaders' did not."""
    edge = Edge(24)
    monkeypatch.setattr(TtlWalker, "doubt", lambda self: None)

    async def story() -> None:
        await edge.table()
        await put(edge, "over", {"N": f"{now_s(edge) - HOUR_S}"})
        await put(edge, "to come", {"N": f"{now_s(edge) + HOUR_S}"})
        await edge.cluster.env.tasks.sleep(3)
        edge.cluster.control.clock.jump(2 * HOUR_S * 1_000_000)
        walker_of(edge)
        await turn_on(edge)
        await walked(edge)
        assert await names(edge) == {"to come"}

    edge.run(story(), seconds=600)
    assert edge.bugs == []


@pytest.mark.slow
@pytest.mark.usefixtures("soon")
def test_who_finds_the_last_walk_noted_long_ago_waits() -> None:
    """The machine was off, or came up with another clock: nobody can tell."""
    edge = Edge(25)

    async def story() -> None:
        await edge.table()
        await put(edge, "to come", {"N": f"{now_s(edge) + HOUR_S}"})
        walker = walker_of(edge)
        await turn_on(edge)
        await walked(edge)
        await walked(edge)  # what the one before had to note is noted by then
        key = PREFIX + table_of(edge).table_id
        noted = edge.cluster.metadata.jobs[key]
        await walked(edge)
        await walked(edge)
        assert edge.cluster.metadata.jobs[key] == noted, "short walks are noted now and then"
        walker.stop()
        assert walker.views() == []
        for host in (*edge.cluster.hosts, edge.cluster.control):
            host.clock.jump(3 * DAY_US)
        walker._leaps = LeapWatch(edge.cluster.control.env.clock)  # as a process that starts by that clock
        walker.start()
        await edge.cluster.env.tasks.sleep(10)
        assert await names(edge) == {"to come"}
        assert "nobody saw the time pass" in view_of(edge).why
        await edge.cluster.env.tasks.sleep(SETTLE_S)
        await walked(edge)
        assert await names(edge) == set(), "it was right, or nobody saw to it for a day"

    edge.run(story(), seconds=300)
    assert edge.bugs == []


def test_a_walk_goes_on_where_it_was_cut_off_and_ends_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(26)
    monkeypatch.setattr(walking, "PAGE_FOUND", 5)
    monkeypatch.setattr(walking, "NOTE_US", 0)

    async def story() -> None:
        await edge.table()
        for number in range(40):
            await put(edge, f"item-{number}", {"N": f"{now_s(edge) - HOUR_S}"})
        await edge.cluster.env.tasks.sleep(3)
        walker, metadata = walker_of(edge, TtlOptions(every_us=1_000_000, deletes_per_second=5)), edge.cluster.metadata
        await turn_on(edge)
        while not (metadata.jobs.get(PREFIX + table_of(edge).table_id) or {}).get("next"):
            await edge.cluster.env.tasks.sleep(0.2)
        walker.stop()
        note = metadata.jobs[PREFIX + table_of(edge).table_id]
        asked: list[bytes] = []
        find = walker._items.find

        async def found(info: Any, start: bytes, what: Any) -> Any:
            asked.append(start)
            return await find(info, start, what)

        walker._items.find = found  # type: ignore[method-assign]
        walker.start()
        await edge.cluster.env.tasks.sleep(1.5)
        assert asked[0] == bytes.fromhex(note["next"])
        assert asked[0] > b""

        before = await names(edge)
        assert before, "there was something left"
        setting = {"Enabled": False, "AttributeName": "ends"}
        monkeypatch.setattr("scrubjay.storage.api.operations.time_to_live.CHANGE_AFTER_US", 0)
        status, _ = await edge.post("UpdateTimeToLive", {"TableName": "edge", "TimeToLiveSpecification": setting})
        assert status == 200
        left = await names(edge)
        await edge.cluster.env.tasks.sleep(6)
        assert await names(edge) == left
        assert not [key for key in metadata.jobs if key.startswith(PREFIX)], "and its note goes"

    edge.run(story(), seconds=600)
    assert edge.bugs == []


def test_index_rows_go_with_their_items_and_are_no_items_themselves() -> None:
    """An index by the very attribute that tells when: its rows hold it too, and are not what a walk looks at."""
    edge = Edge(27)

    async def story() -> None:
        keys = ("k", "HASH"), ("s", "RANGE")
        by_ends = ("k", "HASH"), ("ends", "RANGE")
        schemas = [[{"AttributeName": name, "KeyType": kind} for name, kind in some] for some in (keys, by_ends)]
        asked = {
            "TableName": "edge",
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in (("k", "S"), ("s", "S"), ("ends", "N"))
            ],
            "KeySchema": schemas[0],
            "LocalSecondaryIndexes": [{"IndexName": "by-ends", "KeySchema": schemas[1], "Projection": {"ProjectionType": "ALL"}}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        assert (await edge.post("CreateTable", asked))[0] == 200
        while (await edge.post("DescribeTable", {"TableName": "edge"}))[1]["Table"]["TableStatus"] != "ACTIVE":
            await edge.cluster.env.tasks.sleep(0.1)
        now = now_s(edge)
        for number in range(12):
            ends = now - HOUR_S - number if number % 3 else now + HOUR_S
            item = {"k": {"S": f"k{number % 2}"}, "s": {"S": f"{number}"}, "ends": {"N": f"{ends}"}}
            assert (await edge.post("PutItem", {"TableName": "edge", "Item": item}))[0] == 200
        walker_of(edge)
        await turn_on(edge)
        await walked(edge)
        for index in ({}, {"IndexName": "by-ends"}):
            status, found = await edge.post("Scan", {"TableName": "edge", "ConsistentRead": True, **index})
            assert (status, sorted(item["s"]["S"] for item in found["Items"])) == (200, ["0", "3", "6", "9"])
        assert view_of(edge).expired == 8
        report = await edge.work("scrub", {"table": "edge"})
        assert report["verdict"] == "match", report

    edge.run(story())
