"""The scrub service: one run at a time, status while it runs and after a restart."""

from __future__ import annotations

import json
from typing import Any

from base.gate import Gate
from scrubber.ledger import MEMORY, SqliteLedger
from scrubber.partition import ScrubOptions
from scrubber.service import ScrubService
from scrubjay.progress import shown_progress
from tests.unit.control.house import House
from tests.unit.scrubber.fake_tasks import Cancelled, FakeTasks, fake_env
from tests.unit.scrubber.scrub_world import FakeReferences, FakeStore, storage_key, table_of


async def nap(tasks: FakeTasks, seconds: float) -> None:
    await tasks.sleep(seconds)


def test_runs_queue_and_status_tells_of_both() -> None:
    env, tasks = fake_env()
    store = FakeStore(env, [table_of(1)])
    (model,) = store.models.values()
    model.write(1, 5)
    any_tasks: Any = tasks
    port: Any = store
    ledger = tasks.run(SqliteLedger.open(any_tasks, MEMORY))
    lines: list[str] = []
    service = ScrubService(env, port, FakeReferences(env, store), ledger, ScrubOptions(), log=lines.append)
    status = tasks.run(service.status())
    assert (status["exit"], status["running"], status["last"]) == (3, False, None)
    told: list[dict[str, Any]] = []
    first = tasks.spawn(service.run(progress=told.append), name="first")
    second = tasks.spawn(service.run(), name="second")
    tasks.run(nap(tasks, 0.01))
    status = tasks.run(service.status())
    assert (status["exit"], status["running"]) == (3, True)
    assert status["progress"]["unit"] == "partitions"
    tasks.drain()
    assert first.result()["verdict"] == second.result()["verdict"] == "match"
    assert told[-1] == {"phase": "partition done", "done": 1, "total": 1, "unit": "partitions", "bytes": first.result()["totals"]["bytes"]}
    seals = [lsn for lsn, *_ in store.seals]
    assert len(seals) == 2
    model.copies[next(iter(model.copies))].bad.add(storage_key(1))
    report = tasks.run(service.run())
    json.dumps(report)
    status = tasks.run(service.status())
    assert (status["exit"], status["last"]["verdict"], status["running"]) == (2, "mismatch", False)
    again = ScrubService(env, port, FakeReferences(env, store), ledger, ScrubOptions(), log=lines.append)
    assert tasks.run(again.status())["last"] == report
    history = tasks.run(again.history())
    assert [run["verdict"] for run in history["runs"]] == ["mismatch", "match", "match"]
    (found,) = history["runs"][0]["findings"]
    assert (found["table"], found["copy"], found["action"]) == ("table1", "n1", "healed")
    assert sum("scrub of table1: unreadable in n1" in line and "healed" in line for line in lines) == 1
    tasks.run(again.run())
    later = tasks.run(again.history())
    assert [len(run["findings"]) for run in later["runs"]] == [0, 1, 0, 0], "what a scrub found stays readable after the next one"


def test_a_cancelled_waiter_does_not_hold_up_the_others() -> None:
    _, tasks = fake_env()
    any_tasks: Any = tasks
    gate = Gate(any_tasks)
    order: list[str] = []

    async def work(name: str) -> None:
        async with gate:
            await tasks.sleep(1)
            order.append(name)

    running = {name: tasks.spawn(work(name), name=name) for name in "abcd"}
    tasks.run(nap(tasks, 0.5))
    running["b"].cancel()
    tasks.run(nap(tasks, 0.6))
    running["c"].cancel()
    tasks.drain()
    assert order == ["a", "d"]
    for name in "bc":
        try:
            running[name].result()
        except Cancelled:
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
