"""A real cluster of four processes with many tables: how long it takes to start, and what it costs while nobody asks anything.

    python -m bench.bench_many_tables [--tables 1000] [--seconds 20] [--folder DIR]

The archive's settings are the defaults. Makes the tables through all nodes at once, puts an item into each, waits until nothing moves, and stops all processes; then starts them together: the time until each is ready. Then, for `seconds` without a client: CPU of each
process as a share of one core; memory (resident) and descriptors of the three nodes above those of a cluster with one table, by copy of a partition. Exit code 3 if a goal is not met: a start of 15 s, 10 % of a core over all nodes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.bench_failover import wait_for_all
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.wait import wait_for

EVERY = (*NODES, DURABILITY)
MAKERS_PER_NODE = 4
START_S, IDLE_CORES = 15.0, 0.10
SETTLE_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Of one process and its children: CPU seconds, resident bytes, open descriptors."""

    cpu_s: float
    rss: int
    descriptors: int


def cost(pid: int) -> Cost:
    found = Cost(0.0, 0, 0)
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        rss = int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        found = Cost(found.cpu_s + cpu_s, found.rss + rss, found.descriptors + len(os.listdir(f"/proc/{one}/fd")))  # noqa: PTH208
    return found


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def make(cluster: ClusterOfProcesses, node: str, names: list[str], failed: list[str]) -> None:
    client = cluster.client(node)
    for name in names:
        try:
            client.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            wait_for(lambda name=name: client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE", timeout=120)  # type: ignore[misc]
            client.put_item(TableName=name, Item={"k": {"S": "one"}})
        except Exception as error:
            failed.append(f"{name}: {error}")


def started(cluster: ClusterOfProcesses) -> dict[str, float]:
    """Seconds from the first spawn until each process was ready."""
    began = time.monotonic()
    for name in EVERY:
        cluster.spawn(name)
    took: dict[str, float] = {}
    for name in EVERY:
        cluster.ready(name, timeout=300)
        took[name] = time.monotonic() - began
    return took


def idle(cluster: ClusterOfProcesses, seconds: float) -> tuple[dict[str, float], dict[str, Cost]]:
    """CPU of each process while nobody asks anything, in cores, and what it holds then."""
    time.sleep(SETTLE_S)
    pids = {name: cluster.processes[name].pid for name in EVERY}
    before, began = {name: cost(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    after, took = {name: cost(pid) for name, pid in pids.items()}, time.monotonic() - began
    return {name: (after[name].cpu_s - before[name].cpu_s) / took for name in EVERY}, after


def told(cores: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in cores.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(ClusterOfProcesses(folder, archive=""))
        for name in EVERY:
            cluster.spawn(name)
        wait_for_all(cluster)
        cores, few = idle(cluster, asked.seconds)
        print(f"1 table, idle: {told(cores)}", flush=True)
        names, failed = [f"t{number:05}" for number in range(asked.tables - 1)], list[str]()
        began = time.monotonic()
        makers = [
            threading.Thread(target=make, args=(cluster, NODES[place % 3], names[place :: 3 * MAKERS_PER_NODE], failed), daemon=True)
            for place in range(3 * MAKERS_PER_NODE)
        ]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        print(f"{len(names)} tables made and written to in {time.monotonic() - began:.0f} s, {len(failed)} failed {failed[:2]}", flush=True)
        codes: dict[str, Any] = {name: cluster.stop(name, patience=90) for name in EVERY}
        print(f"stopped: {codes}", flush=True)
        took = started(cluster)
        print(
            f"started together with {asked.tables} tables: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in took.items())}",
            flush=True,
        )
        cores, many = idle(cluster, asked.seconds)
        copies = 3 * len(names)
        nodes = sum(cores[name] for name in NODES)
        rss = sum(many[name].rss - few[name].rss for name in NODES) / copies
        descriptors = sum(many[name].descriptors - few[name].descriptors for name in NODES) / copies
        print(f"{asked.tables} tables, idle: {told(cores)}; nodes together {100 * nodes:.1f} % of a core")
        print(
            f"a copy of a partition on a node: {rss / 1024:.0f} KiB resident, {descriptors:.2f} descriptors ({ {name: many[name].descriptors for name in NODES} })"
        )
        return 3 if failed or max(took.values()) > START_S or nodes > IDLE_CORES else 0


if __name__ == "__main__":
    sys.exit(main())
