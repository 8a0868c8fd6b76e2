"""For how long nobody writes or reads strongly when something befalls the leader's node of a real cluster of four processes: p50 and worst of n, per fault.

    python -m bench.bench_failover [--times 5] [--faults kill,stop,mute,deaf,shut,cut,restart] [--lease 1500ms] [--folder DIR]

Every process is in a network namespace of its own (root; else the four faults that need it are named and left out, and the exit code is 3). A fault befalls the node that leads the table: `kill` (SIGKILL, started again
later), `stop` (SIGSTOP, then SIGCONT), `mute` (nothing it says reaches the other processes), `deaf` (nothing the others say reaches it), `shut` (nothing reaches it over connections that the
others made, as behind a firewall: it hears no answer, and what it says arrives and is acknowledged), `cut` (mute and deaf), `restart` (SIGTERM, started again when it is gone). Clients
reach all of them all the while.

What is measured, through each of the other two nodes: every 100 ms a put, a strong get and an eventually consistent one are sent, whether those before were answered or not. *Back* is the time from the fault to the
end of the last gap of more than half a second between two answers; 0: there was none. `first`: as whoever could ask either node sees it; `each`: as whoever asks the worse of the two does. `eventual`: the longest gap between
two eventual reads through one node, the cut off one too. `after`: the longest gap of any kind between the fault's end and the time when every copy is whole again.

Two writers with boto3 clients of default retries go on behind an address in front of all nodes: an error that they do not get over is counted, and what was acknowledged is read back strongly at the end.
Exit code: 2 if some of it is lost, 3 if `first` is beyond the goal (4 s worst, 2.5 s median), for eventual reads half of it, or a client saw an error. `--lease 6s` is the control: it must end with 3.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.bench_requests import request
from scrubjay.base.real.free_ports import free_ports
from scrubjay.output import VerbFailure
from tests.fixtures import networks
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.networks import Networks
from tests.fixtures.wait import wait_for

TABLE = "birds"
WRITERS = 2
FAULTS = ("kill", "stop", "mute", "deaf", "shut", "cut", "restart")
OF_THE_NETWORK = ("mute", "deaf", "shut", "cut")
WORST_S, MEDIAN_S, EVENTUAL_S = 4.0, 2.5, 1.0
HOLD_S, HOLD_MAX_S = 4.0, 40.0
"""A fault lasts at least so long, and until everything is answered again; at most."""
QUIET_S = 1.0
"""Before the next fault, once every copy is whole."""
GAP_S = 0.5
"""Between two answers: what is longer is an interruption."""
TICK_S = 0.1
PATIENCE_S = 15.0
WAITING_MAX = 40
"""Probes of one kind to a node without an answer: no more are sent."""
PIECE = 64 << 10

Address = tuple[str, int]


class Front(threading.Thread):
    """An address in front of all nodes: each connection goes to the next node that takes it."""

    def __init__(self, nodes: list[Address]) -> None:
        super().__init__(daemon=True)
        (self.port,) = free_ports(1)
        self._nodes, self._turn = nodes, 0

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)
        async with server:
            await server.serve_forever()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._nodes:
            self._turn += 1
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection(*self._nodes[self._turn % len(self._nodes)])
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
                return
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()


class Writer(threading.Thread):
    """acked: what was acknowledged last under each key. perhaps: what may have been written since."""

    def __init__(self, number: int, client: Any, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._number, self._ended = number, stop
        self.acked: dict[str, int] = {}
        self.perhaps: dict[str, set[int]] = {}
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        count = 0
        while not self._ended.is_set():
            count += 1
            key = f"{self._number}-{count % 50}"
            try:
                self._client.put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"N": str(count)}})
            except (ClientError, BotoCoreError) as error:
                self.errors.append(str(error))
                self.perhaps.setdefault(key, set()).add(count)
                continue
            self.acked[key], self.perhaps[key] = count, set()
            self.count += 1
            time.sleep(0.01)


def client(port: int, *, patient: bool = True, service: str = "dynamodb") -> boto3.client:  # type: ignore[valid-type,unused-ignore]
    """patient: of default retries; else it never tries again."""
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries=None if patient else {"total_max_attempts": 1}, connect_timeout=2, read_timeout=15),
    )


def lost(cluster: ClusterOfProcesses, writers: list[Writer]) -> int:
    pages = cluster.client(NODES[0]).get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    found = {item["k"]["S"]: int(item["v"]["N"]) for page in pages for item in page["Items"]}
    return sum(
        found.get(key) != count and found.get(key) not in writer.perhaps[key] for writer in writers for key, count in writer.acked.items()
    )


class Probes(threading.Thread):
    """answered: when, by node and kind, a probe was answered with success."""

    KINDS = ("write", "strong", "eventual")

    def __init__(self, nodes: dict[str, Address]) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self.answered: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in nodes for kind in self.KINDS}
        self.refused: dict[str, int] = {}
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {name: [] for name in nodes}
        self._waiting = dict.fromkeys(self.answered, 0)
        self._count = 0

    def run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        kept: set[asyncio.Task[None]] = set()
        while True:
            for name in self._nodes:
                for kind in self.KINDS:
                    if self._waiting[name, kind] < WAITING_MAX:
                        task = asyncio.create_task(self._one(name, kind))
                        kept.add(task)
                        task.add_done_callback(kept.discard)
            await asyncio.sleep(TICK_S)

    async def _one(self, name: str, kind: str) -> None:
        self._waiting[name, kind] += 1
        self._count += 1
        key = {"k": {"S": f"probe-{name}"}}
        body: dict[str, Any] = {"TableName": TABLE}
        body |= {"Item": {**key, "v": {"N": str(self._count)}}} if kind == "write" else {"Key": key, "ConsistentRead": kind == "strong"}
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await self._sent(name, request("PutItem" if kind == "write" else "GetItem", json.dumps(body).encode()))
        except (OSError, TimeoutError, EOFError) as error:
            status = type(error).__name__
        self._waiting[name, kind] -= 1
        if status == "200":
            self.answered[name, kind].append(time.monotonic())
        else:
            self.refused[status] = self.refused.get(status, 0) + 1

    async def _sent(self, name: str, data: bytes) -> str:
        reader, writer = self._idle[name].pop() if self._idle[name] else await asyncio.open_connection(*self._nodes[name])
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._idle[name].append((reader, writer))
        return head.split(b" ", 2)[1].decode()

    def moments(self, names: Iterable[str], kind: str, since: float, until: float) -> list[float]:
        """When something was answered, from a second before `since`; both ends closed."""
        every = sorted(at for name in names for at in self.answered[name, kind][-4000:] if since - 1 <= at < until)
        return [since - 1, *every, until]

    def back(self, names: Iterable[str], kind: str, since: float, until: float) -> float:
        at = self.moments(names, kind, since, until)
        return max((end - since for begin, end in itertools.pairwise(at) if end - begin > GAP_S and end > since), default=0.0)

    def longest(self, names: Iterable[str], kind: str, since: float, until: float) -> float:
        return max(
            end - begin for name in names for at in [self.moments([name], kind, since + 1, until)] for begin, end in itertools.pairwise(at)
        )

    def well(self, names: Iterable[str]) -> bool:
        """Everything was answered a moment ago, through each of them."""
        now = time.monotonic()
        return all(self.answered[name, kind][-1:] > [now - 0.3] for name in names for kind in self.KINDS)


class Trial(NamedTuple):
    """Seconds. See the module's head."""

    write_first: float
    strong_first: float
    write_each: float
    strong_each: float
    eventual: float
    after: float


def one(cluster: ClusterOfProcesses, spaces: Networks | None, probes: Probes, fault: str) -> Trial:
    """The fault, its end, and until every copy is whole again."""
    name = leader(cluster)
    live = [other for other in NODES if other != name]
    others = [other for other in (*NODES, DURABILITY) if other != name]
    process = cluster.processes[name]
    began = time.monotonic()
    if fault == "kill":
        cluster.kill(name)
    elif fault == "stop":
        process.send_signal(signal.SIGSTOP)
    elif fault == "restart":
        process.send_signal(signal.SIGTERM)
    else:
        assert spaces is not None
        for other in others:
            if fault in ("mute", "cut"):
                spaces.lose(name, other)
            if fault in ("deaf", "cut"):
                spaces.lose(other, name)
            if fault == "shut":
                spaces.lose(other, name, port=cluster.peer[name])
    begun = time.monotonic()
    while not (time.monotonic() - began > HOLD_S and probes.well(live)) and time.monotonic() - began < HOLD_MAX_S:
        time.sleep(0.1)
    ended = time.monotonic()
    if fault in ("kill", "restart"):
        process.wait()
        cluster.spawn(name)
        cluster.ready(name, timeout=240)
    elif fault == "stop":
        process.send_signal(signal.SIGCONT)
    else:
        assert spaces is not None
        spaces.mend()
    wait_for(lambda: whole(cluster, live[0]), timeout=120, ignoring=(VerbFailure,))
    time.sleep(QUIET_S)
    whole_again = time.monotonic()
    readers = [*live, name] if fault in OF_THE_NETWORK else live
    return Trial(
        *(probes.back(live, kind, begun, ended) for kind in ("write", "strong")),
        *(max(probes.back([other], kind, begun, ended) for other in live) for kind in ("write", "strong")),
        probes.longest(readers, "eventual", began, ended),
        max(probes.longest(live, kind, ended, whole_again) for kind in Probes.KINDS),
    )


def whole(cluster: ClusterOfProcesses, at: str) -> bool:
    return bool(cluster.asked("cluster/status", at=at)["exit"] == 0)


def leader(cluster: ClusterOfProcesses) -> str:
    found: list[str] = []

    def led() -> bool:
        found[:] = [
            one["leader"] for one in cluster.asked("cluster/status", at="n1")["partitions"] if one["table"] == TABLE and one["leader"]
        ]
        return bool(found)

    wait_for(led, timeout=60, ignoring=(VerbFailure,))
    return found[0]


def told(fault: str, trials: list[Trial]) -> str:
    parts = [f"{fault}, n {len(trials)}:"]
    for place, field in enumerate(Trial._fields):
        seconds = [trial[place] for trial in trials]
        parts.append(f"{field.replace('_', ' ')} p50 {statistics.median(seconds):.2f} worst {max(seconds):.2f} s;")
    return " ".join(parts)


def beyond(trials: list[Trial]) -> list[str]:
    """Which of the goals are not met."""
    found = []
    for field in ("write_first", "strong_first"):
        seconds = [getattr(trial, field) for trial in trials]
        if max(seconds) > WORST_S or statistics.median(seconds) > MEDIAN_S:
            found.append(field)
    return found + ["eventual"] * (max(trial.eventual for trial in trials) > EVENTUAL_S)


def wait_for_all(cluster: ClusterOfProcesses) -> None:
    """Processes that were spawned are founded and ready, and the table is there, for every router."""
    wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=240)
    for name in (*NODES, DURABILITY):
        cluster.ready(name, timeout=240)
    cluster.client("n1").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for name in NODES:  # each router learns of it by itself
        cluster.client(name).get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--lease", default="", help="consensus.lease of the nodes, for example 6s; default: as shipped")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    faults = asked.faults.split(",")
    if unknown := [fault for fault in faults if fault not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    why, bad = networks.why_not(), False
    if why is not None:
        left_out, bad = [fault for fault in faults if fault in OF_THE_NETWORK], True
        print(f"not measured: {', '.join(left_out)}: {why}", flush=True)
        faults = [fault for fault in faults if fault not in left_out]
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        spaces = None if why is not None else stack.enter_context(Networks((*NODES, DURABILITY)))
        settings = f'[consensus]\nlease = "{asked.lease}"\n' if asked.lease else ""
        cluster = stack.enter_context(ClusterOfProcesses(folder, networks=spaces, settings=settings))
        for name in (*NODES, DURABILITY):
            cluster.spawn(name)
        wait_for_all(cluster)
        addresses = {name: (cluster.host(name), cluster.api[name]) for name in NODES}
        front, stop, probes = Front(list(addresses.values())), threading.Event(), Probes(addresses)
        front.start()
        time.sleep(0.3)
        writers = [Writer(number, client(front.port), stop) for number in range(WRITERS)]
        for thread in (*writers, probes):
            thread.start()
        wait_for(lambda: probes.well(NODES), timeout=60)
        time.sleep(QUIET_S)
        for fault in faults:
            trials = [one(cluster, spaces, probes, fault) for _ in range(asked.times)]
            print(told(fault, trials), flush=True)
            print(
                json.dumps(
                    {"fault": fault} | {field: [round(trial[place], 2) for trial in trials] for place, field in enumerate(Trial._fields)}
                )
            )
            if goals := beyond(trials):
                bad = True
                print(f"  beyond the goal: {', '.join(goals)}", flush=True)
        stop.set()
        for writer in writers:
            writer.join(60)
        missing, errors = lost(cluster, writers), [error for writer in writers for error in writer.errors]
        print(
            f"writers: {sum(writer.count for writer in writers)} acknowledged, {missing} lost or wrong, {len(errors)} errors {errors[:3]}; probes refused: {probes.refused}"
        )
        return 2 if missing else 3 if bad or errors else 0


if __name__ == "__main__":
    sys.exit(main())
