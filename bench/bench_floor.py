"""Durable puts and strong gets of a cluster of three node processes beside etcd's, under the same load on the same machine, in turns.

    python -m bench.bench_floor [--in-flight 1,64,256] [--seconds 6] [--rounds 3] [--value-bytes 1000] [--keys 20000] [--folder DIR] [--tools DIR]

Three processes each: ours with a durability process that archives to a folder, and one table of three partitions whose leaders lie on three nodes; etcd's with its
own defaults. Both wait for a sync on a majority before they acknowledge a put. The load (`bench/floor`, in Go, as lean for one as for the other) shares the
machine with them and spreads over all three nodes. Both are up all the time, the one that is not asked is idle. Go builds etcd from its module, and the load, into
--tools (by default in the temporary folder, anew each time).

Prints per round and one JSON object: by operation and in flight, the medians of the rounds: operations a second, p50 and p99, microseconds of processor of all
server processes for one operation, and ours against etcd's (`times`, of medians). Exit code 3 where ours does less, or its p99 is longer: the floor. 1: an
operation failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.bench_balance import rests
from bench.bench_many_tables import cost
from scrubjay.base.real.free_ports import free_ports
from tests.fixtures import child
from tests.fixtures.cluster import NODES, ClusterOfProcesses
from tests.fixtures.wait import wait_for

SOURCES = Path(__file__).parent / "floor"
TABLE = "floor"
PARTITIONS = 3
BUILD_S = 600.0
FILLERS = 64
LEAST_S = 2
"""Of a load: its first second is not counted."""


class Served(NamedTuple):
    """Who is asked. kind: as `floor` names it. endpoints: host:port of each node. pids: all processes that serve."""

    kind: str
    endpoints: list[str]
    pids: list[int]

    def processor_s(self) -> float:
        return sum(cost(pid).cpu_s for pid in self.pids)


class Figures(NamedTuple):
    """Of one load. cpu_us: of all processes that serve, for one operation."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def build(tools: Path) -> tuple[Path, Path]:
    """(etcd, the load): made unless they lie in `tools`. Raises CalledProcessError, TimeoutExpired."""
    made = {name: tools / name for name in ("etcd", "load")}
    for name, package in (("etcd", "./etcd"), ("load", ".")):
        if not made[name].exists():
            subprocess.run(
                ["go", "build", "-trimpath", "-o", str(made[name]), package], cwd=SOURCES, check=True, timeout=BUILD_S, stdout=sys.stderr
            )
    return made["etcd"], made["load"]


@contextlib.contextmanager
def etcd_of_three(program: Path, folder: Path) -> Iterator[Served]:
    ports = free_ports(6)
    clients = [f"127.0.0.1:{port}" for port in ports[:3]]
    peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
    members = ",".join(f"e{number}={peer}" for number, peer in enumerate(peers))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            with (folder / f"e{number}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [
                            str(program),
                            *("--name", f"e{number}", "--data-dir", str(folder / f"e{number}")),
                            *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
                            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                            *("--initial-cluster", members, "--initial-cluster-state", "new"),
                        ],
                        stdout=log,
                        stderr=log,
                        preexec_fn=child.die_with_parent,
                    )
                )
        yield Served("etcd", clients, [process.pid for process in processes])
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def cluster_of_three(folder: Path, load: Path, asked: argparse.Namespace) -> Iterator[Served]:
    """Filled, its table split into three, and at rest."""
    with ClusterOfProcesses(folder, settings="[tables]\ninitial_partitions = 1\n", balance_after="5s", archive="") as cluster:
        cluster.found()
        cluster.make_table(TABLE)
        served = Served(
            "dynamo", [cluster.url(name).removeprefix("http://") for name in NODES], [process.pid for process in cluster.processes.values()]
        )
        run(load, served, "fill", FILLERS, asked)
        for count in range(2, PARTITIONS + 1):
            wait_for(lambda: cluster.cli("table", "split", TABLE)[0] == 0, timeout=120)
            wait_for(lambda count=count: partitions(cluster) == count, timeout=120)  # type: ignore[misc]
        with contextlib.redirect_stdout(sys.stderr):
            at_rest, _ = rests(cluster, 120)
        print(f"copies and leads: {at_rest}", file=sys.stderr, flush=True)
        yield served


def partitions(cluster: ClusterOfProcesses) -> int:
    code, told = cluster.cli("table", "partitions", TABLE)
    return len(told["partitions"]) if code == 0 else 0


def run(load: Path, served: Served, verb: str, in_flight: int, asked: argparse.Namespace) -> Figures:
    """Raises RuntimeError if anything asked was not answered as it should."""
    before = served.processor_s()
    told = subprocess.run(
        [str(load), served.kind, verb, *map(str, (in_flight, asked.seconds, asked.value_bytes, asked.keys)), *served.endpoints],
        check=True,
        capture_output=True,
        text=True,
        timeout=asked.seconds + 300,
    )
    used_s = served.processor_s() - before
    report: dict[str, Any] = json.loads(told.stdout)
    if report["errors"] or (verb != "fill" and not report["operations"]):
        raise RuntimeError(f"{served.kind} {verb}: {report}")
    # what the first second cost is in `used_s` and its operations are not counted: both are taken to be even over the whole
    answered = max(1.0, report["per_s"] * (asked.seconds + 1))
    return Figures(report["per_s"], report["p50_ms"], report["p99_ms"], 1e6 * used_s / answered)


def medians(found: list[Figures]) -> dict[str, float]:
    return {name: round(statistics.median(getattr(one, name) for one in found), 3) for name in Figures._fields}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", default="1,64,256")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--value-bytes", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--tools", type=Path)
    asked = parser.parse_args(arguments)
    asked.seconds = max(LEAST_S, asked.seconds)
    counts = [int(one) for one in asked.in_flight.split(",")]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.folder)))
        tools = asked.tools or folder / "tools"
        for each in (tools, folder / "etcd", folder / "scrubjay"):
            each.mkdir(parents=True, exist_ok=True)
        etcd, load = build(tools)
        ours = stack.enter_context(cluster_of_three(folder / "scrubjay", load, asked))
        theirs = stack.enter_context(etcd_of_three(etcd, folder / "etcd"))
        run(load, theirs, "fill", FILLERS, asked)
        try:
            found = rounds(load, ours, theirs, counts, asked)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    report = {
        f"{verb} {count}": {
            "scrubjay": medians(found["dynamo", verb, count]),
            "etcd": medians(found["etcd", verb, count]),
        }
        for verb in ("put", "get")
        for count in counts
    }
    below = False
    for row in report.values():
        row["times"] = {name: round(row["scrubjay"][name] / max(row["etcd"][name], 1e-9), 2) for name in Figures._fields}
        below = below or row["times"]["per_s"] < 1.0 or row["times"]["p99_ms"] > 1.0
    print(json.dumps({"load_average": os.getloadavg(), "cores": os.cpu_count(), "figures": report}, indent=2))
    return 3 if below else 0


def rounds(
    load: Path, ours: Served, theirs: Served, counts: list[int], asked: argparse.Namespace
) -> dict[tuple[str, str, int], list[Figures]]:
    """In turns: who is first changes with the round. By (kind, verb, in flight)."""
    found: dict[tuple[str, str, int], list[Figures]] = {}
    for number in range(asked.rounds):
        for verb in ("put", "get"):
            for count in counts:
                for served in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    figures = run(load, served, verb, count, asked)
                    found.setdefault((served.kind, verb, count), []).append(figures)
                    print(f"{number} {verb} {count:>4} {served.kind:>7} {figures}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
