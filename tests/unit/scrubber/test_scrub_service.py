"""The scrub service: one run at a time, status while it runs and after a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrubjay.base.gate import Gate
from scrubjay.progress import shown_progress
from scrubjay.scrubber.ledger import SCRUB, RebuiltLedger
from scrubjay.scrubber.options import ScrubOptions, Turns
from scrubjay.scrubber.service import FIXED_S, ScrubService, rest_s
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.sim.lone import LoneHost
from scrubjay.verbs.scrub_history import VERB
from tests.unit.control.house import House
from tests.unit.scrubber.scrub_world import FakeReferences, FakeStore, storage_key, table_of


def test_runs_queue_and_status_tells_of_both() -> None:
    loop = LoneHost()
    env = loop.env()
    store = FakeStore(env, [table_of(1)])
    (model,) = store.models.values()
    model.write(1, 5)
    port: Any = store
    ledger = loop.run(SqliteLedger.open(loop.tasks, MEMORY))
    lines: list[str] = []
    service = ScrubService(env, port, FakeReferences(env, store), ledger, ScrubOptions(), log=lines.append)
    status = loop.run(service.status())
    assert (status["exit"], status["running"], status["last"]) == (3, False, None)
    told: list[dict[str, Any]] = []
    first = loop.spawn(service.run(progress=told.append), name="first")
    second = loop.spawn(service.run(), name="second")
    loop.run_for(0.01)
    status = loop.run(service.status())
    assert (status["exit"], status["running"]) == (3, True)
    assert status["progress"]["unit"] == "partitions"
    loop.drain()
    assert first.result()["verdict"] == second.result()["verdict"] == "match"
    assert told[-1] == {"phase": "partition done", "done": 1, "total": 1, "unit": "partitions", "bytes": first.result()["totals"]["bytes"]}
    seals = [lsn for lsn, *_ in store.seals]
    assert len(seals) == 2
    assert [line for line in lines if line.startswith("scrub planned: 1 partitions")] == [f"scrub planned: {line}" for line in 2 * [PLAN]]
    model.copies[next(iter(model.copies))].bad.add(storage_key(1))
    report = loop.run(service.run())
    json.dumps(report)
    status = loop.run(service.status())
    assert (status["exit"], status["last"]["verdict"], status["running"]) == (2, "mismatch", False)
    again = ScrubService(env, port, FakeReferences(env, store), ledger, ScrubOptions(), log=lines.append)
    assert loop.run(again.status())["last"] == report
    history = loop.run(again.history())
    assert [run["verdict"] for run in history["runs"]] == ["mismatch", "match", "match"]
    assert history["rebuilt"] is None
    loop.run(ledger.rebuilding(RebuiltLedger(1_760_000_000_000_000, 0, 0)))
    told_so = loop.run(again.history())
    assert told_so["rebuilt"] == "2025-10-09T08:53:20.000000Z"
    assert "the ledger was lost and rebuilt at 2025-10-09T08:53:20Z" in VERB.render(told_so)[-2]
    (found,) = history["runs"][0]["findings"]
    assert (found["table"], found["copy"], found["action"]) == ("table1", "n1", "healed")
    assert sum("scrub of table1: unreadable in n1" in line and "healed" in line for line in lines) == 1
    loop.run(again.run())
    later = loop.run(again.history())
    assert [len(run["findings"]) for run in later["runs"]] == [0, 1, 0, 0], "what a scrub found stays readable after the next one"
    assert again_telling(lines) == 1
    number = later["runs"][1]["run"]
    (proof,) = (one for one in loop.run(ledger.partitions()) if one.depth == SCRUB)
    assert proof.run == later["runs"][0]["run"] > number, "by which run a partition was proven"
    (table,) = store.tables()
    covered = loop.run(again.history(table=table.table_id, limit=2))
    assert ([run["verdict"] for run in covered["runs"]], covered["more"]) == (["match", "mismatch"], True)
    assert loop.run(again.history(table="no such id"))["runs"] == []
    assert loop.run(again.history(since_us=env.clock.wall_us() + 1))["runs"] == []


def again_telling(lines: list[str]) -> int:
    return sum("scrub of table1: unreadable in n1" in line for line in lines)


PLAN = "1 partitions, 2 at a time: 1 seals, 3 copies to read, 1 references to rebuild, about 65000 bytes"


def test_a_cancelled_waiter_does_not_hold_up_the_others() -> None:
    loop = LoneHost()
    gate = Gate(loop.tasks)
    order: list[str] = []

    async def work(name: str) -> None:
        async with gate:
            await loop.sleep(1)
            order.append(name)

    running = {name: loop.spawn(work(name), name=name) for name in "abcd"}
    loop.run_for(0.5)
    running["b"].cancel()
    loop.run_for(0.6)
    running["c"].cancel()
    loop.drain()
    assert order == ["a", "d"]
    for name in "bc":
        try:
            running[name].result()
        except loop.Cancelled:
            continue
        raise AssertionError(name)


def test_bytes_move_while_the_only_partition_is_scrubbed() -> None:
    house = House()
    table = house.create("orders")
    for key in range(20):
        house.put(table, key, key)
    house.checkpointed(table, 20)
    told: list[dict[str, Any]] = []
    report = house.scrub(progress=told.append, lanes=1)
    assert report.exit_code == 0
    running = [facts for facts in told if facts["done"] == 0]
    assert [facts["bytes"] for facts in told[:-1]] == sorted(facts["bytes"] for facts in told[:-1])
    assert len({facts["bytes"] for facts in running}) > 4, "each copy, and the log as it is read"
    assert shown_progress({**running[-1], "total": 1}).endswith("B")
    assert told[-1]["bytes"] == report.as_json()["totals"]["bytes"]


def test_what_a_partition_costs_however_small_it_is_counts_against_the_share_of_a_night() -> None:
    """A run of the schedule rests behind each partition while somebody is served; one by hand that names no share of the night does not, nor one on an idle cluster."""
    loop = LoneHost()
    env = loop.env()
    store = FakeStore(env, [table_of(number) for number in range(1, 5)])
    port: Any = store
    service = ScrubService(env, port, FakeReferences(env, store), None, ScrubOptions(lanes=1), log=lambda _line: None)

    def took_s(turns: Turns | None) -> float:
        began_us = env.clock.boot_us()
        assert loop.run(service.run(turns=turns))["verdict"] == "match"
        return (env.clock.boot_us() - began_us) / 1e6

    def night() -> Turns:
        return Turns(env.clock.wall_us(), lambda _bytes: None)

    idle_s = took_s(night())
    service.share(0.25)
    assert took_s(None) <= 1.2 * idle_s
    assert took_s(night()) >= 3.0 * idle_s
    service.share(1.0)
    assert took_s(night()) <= 1.2 * idle_s
    assert (rest_s(0.2, 0.25), rest_s(600.0, 0.25), rest_s(0.2, 1.0)) == (pytest.approx(0.6), pytest.approx(3 * FIXED_S), 0.0)
