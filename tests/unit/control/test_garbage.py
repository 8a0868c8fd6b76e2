"""Writes and reads leave nothing behind that only the collector finds: while it walks, nobody is served by the process."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.node.port_server import NodeServer
from tests.unit.control.house import House

ROOT = Path(__file__).parents[3]
REQUESTS = 100


def ask(house: House, kind: str) -> None:
    """So many requests one after another, all the way through router, log and three replicas."""
    table, store, answers = house.table("t"), house.cluster.store, []
    for number in range(REQUESTS):
        if kind == "write":
            answers.append(house.ask(table, number % 10, number))
        else:
            future: Any = house.env.tasks.future()
            store.read(table, key_of(number % 10), consistent=kind == "strong", done=future.set_result)
            answers.append(future)
        house.pass_time(0.01)
    house.until(lambda: all(answer.done() for answer in answers))


def ours(found: list[Any]) -> list[str]:
    """Functions and objects of ours. Without the node's half of the port, which the simulator's wire makes anew for each message."""
    functions = [f"{one.__module__}.{one.__qualname__}" for one in found if isinstance(one, FunctionType)]
    objects = [f"{type(one).__module__}.{type(one).__qualname__}" for one in found if not isinstance(one, FunctionType | NodeServer)]
    return sorted(name for name in functions + objects if name.startswith("scrubjay.") and ".NodeServer.__init__" not in name)


def report() -> None:
    """By kind of request, what the collector found of ours after so many of them. In a process of its own: what earlier tests left would be found here."""
    house = House()
    house.create("t")
    house.put(house.table("t"), 1, 1)
    house.pass_time(5.0)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    left = {}
    for kind in ("write", "strong", "weak"):
        ask(house, kind)
        gc.collect()
        left[kind], gc.garbage[:] = ours(gc.garbage), []
    sys.stdout.write(json.dumps(left))


@pytest.mark.slow
def test_what_requests_leave_does_not_grow_with_their_number() -> None:
    code = "from tests.unit.control.test_garbage import report; report()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    left = json.loads(done.stdout)
    assert sorted(left) == ["strong", "weak", "write"]
    for kind, found in left.items():
        assert len(found) < REQUESTS / 2, (kind, found[:20])
