"""Chaos around a table's stream and those who read it: nothing lost, doubled or out of order, and what the readers have made of it is the table.

    python -m bench.bench_stream_reader [--minutes 10] [--seed 1] [--cluster] [--readers own|bloop] [--workers 3] [--writers 4] [--folder DIR]

A real server, or a cluster of four processes (`--cluster`). Writers of boto3's default retries put, update, delete, write in batches and in transactions, and put items whose time to live is over.
Readers (`bench/stream_worker.py`: leases, checkpoints, as the Kinesis client library) are processes of their own; or one of the package bloop's, where it can be had. Faults, by the seed: a
process of the server is killed, stopped for some seconds, or all are restarted one after another; a reader is killed, or stopped for longer than its leases.

What is judged, at the end: of each item the records are a chain, each with the item as the one before left it, every one with the event that it is; what was read twice is the same both times; no
reader went back but at a checkpoint; every acknowledged write is there; only what was over was taken by the service; and the last state is the table's. Prints a line of JSON; exit code 2 if
it is not so. Lag is from the beginning of a write to when a reader had it, faults included.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from bench.bench_failover import Front
from bench.stream_worker import connect
from tests.fixtures import child
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for

TABLE, LEASES = "birds", "leases"
KEYS = 120
LEASE_S = 4.0
STOPPED_S = 3.0
CALM_S = (3.0, 9.0)
"""Between two faults, from when the last is over."""
PACE_S = 0.02
PATIENCE_S = 240.0
"""With a process that starts on a loaded machine."""
SETTLE_S = 240.0
"""So long the readers have to catch up, and the service to take what is over, once nobody writes."""
_OVER = {"N": str(int(time.time()) - 3600)}
Image = dict[str, Any] | None


class Place(Protocol):
    """What is served, and how faults befall it."""

    url: str
    faults: tuple[str, ...]

    def befall(self, fault: str, draw: random.Random) -> None: ...


class Dev:
    """One process."""

    faults = ("kill", "restart", "stop")

    def __init__(self, folder: Path) -> None:
        settings = {"ttl.every": "1s", "archive.seal_age": "1s", "archive.closed_interval": "1s", "tables.initial_partitions": "4"}
        self.server = ScrubjayServer(folder / "data", settings=settings)
        self.url = self.server.url

    @contextlib.contextmanager
    def running(self) -> Iterator[Dev]:
        try:
            self.server.start(timeout=PATIENCE_S)
            yield self
        finally:
            self.server.__exit__()

    def befall(self, fault: str, draw: random.Random) -> None:
        if fault == "stop":
            assert self.server.process is not None
            self.server.process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            self.server.process.send_signal(signal.SIGCONT)
            return
        if fault == "kill":
            self.server.kill()
        else:
            self.server.stop()
        self.server.start(timeout=PATIENCE_S)


class Cluster:
    """Four processes, and one address in front of the nodes."""

    faults = ("kill", "kill", "stop", "rolling")

    def __init__(self, folder: Path) -> None:
        self.cluster = ClusterOfProcesses(folder, settings='[ttl]\nevery = "1s"\n[tables]\ninitial_partitions = 4\n')

    @contextlib.contextmanager
    def running(self) -> Iterator[Cluster]:
        with self.cluster as cluster:
            for name in (*NODES, DURABILITY):
                cluster.spawn(name)
            wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=PATIENCE_S)
            for name in (*NODES, DURABILITY):
                cluster.ready(name, timeout=PATIENCE_S)
            front = Front([(cluster.host(name), cluster.api[name]) for name in NODES])
            front.start()
            self.url = f"http://127.0.0.1:{front.port}"
            time.sleep(0.3)
            yield self

    def befall(self, fault: str, draw: random.Random) -> None:
        cluster, name = self.cluster, draw.choice(NODES)
        if fault == "stop":
            cluster.processes[name].send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            cluster.processes[name].send_signal(signal.SIGCONT)
            return
        for one in (*NODES, DURABILITY) if fault == "rolling" else (name,):
            if fault == "kill":
                cluster.kill(one)
            else:
                cluster.stop(one)
            cluster.spawn(one)
            cluster.ready(one, timeout=PATIENCE_S)


class Writer(threading.Thread):
    """acked: values of which somebody was told that they are written."""

    def __init__(self, number: int, url: str, seed: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._client, self._ended = number, connect(url, "dynamodb"), ended
        self._draw, self._count = random.Random(f"{seed}/{number}"), 0
        self.acked: list[str] = []
        self.errors: Counter[str] = Counter()

    def run(self) -> None:
        kinds: list[tuple[int, Callable[[], list[str]]]] = [
            (6, self._put),
            (4, self._update),
            (3, self._delete),
            (1, self._batch),
            (1, self._transact),
            (1, self._over),
        ]
        weights, calls = [weight for weight, _ in kinds], [call for _, call in kinds]
        while not self._ended.is_set():
            try:
                self.acked += self._draw.choices(calls, weights)[0]()
            except (ClientError, BotoCoreError) as error:
                self.errors[error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__] += 1
            time.sleep(PACE_S)

    def _value(self) -> str:
        self._count += 1
        return f"{self._number}-{self._count}"

    def _key(self) -> dict[str, Any]:
        return {"k": {"S": f"k{self._draw.randrange(KEYS)}"}}

    def _item(self, value: str, key: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**(key or self._key()), "v": {"S": value}, "t": {"N": f"{time.time():.3f}"}}

    def _put(self) -> list[str]:
        value = self._value()
        self._client.put_item(TableName=TABLE, Item=self._item(value))
        return [value]

    def _over(self) -> list[str]:
        value = self._value()
        self._client.put_item(TableName=TABLE, Item={**self._item(value), "ends": _OVER})
        return [value]

    def _update(self) -> list[str]:
        value = self._value()
        self._client.update_item(
            TableName=TABLE,
            Key=self._key(),
            UpdateExpression="SET v = :v, t = :t ADD n :one",
            ExpressionAttributeValues={":v": {"S": value}, ":t": {"N": f"{time.time():.3f}"}, ":one": {"N": "1"}},
        )
        return [value]

    def _delete(self) -> list[str]:
        self._client.delete_item(TableName=TABLE, Key=self._key())
        return []

    def _batch(self) -> list[str]:
        keys = self._draw.sample(range(KEYS), 5)
        values = [self._value() for _ in keys]
        left: Any = [{"PutRequest": {"Item": self._item(value, {"k": {"S": f"k{key}"}})}} for key, value in zip(keys, values, strict=True)]
        while left:
            left = self._client.batch_write_item(RequestItems={TABLE: left})["UnprocessedItems"].get(TABLE, [])
        return values

    def _transact(self) -> list[str]:
        one, other = self._draw.sample(range(KEYS), 2)
        values = [self._value(), self._value()]
        items = [self._item(value, {"k": {"S": f"k{key}"}}) for value, key in zip(values, (one, other), strict=True)]
        self._client.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": item}} for item in items])
        return values


class Readers:
    """Processes that read, each life under a name of its own."""

    def __init__(self, folder: Path, count: int, program: list[str], arguments: list[str]) -> None:
        self._folder, self._program, self._arguments = folder, program, arguments
        self._lives = 0
        self.processes = [self._spawn() for _ in range(count)]

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._lives += 1
        name = f"r{self._lives}"
        with (self._folder / f"{name}.err").open("wb") as err:
            return subprocess.Popen(
                [*self._program, "--name", name, "--log", str(self._folder / f"{name}.lines"), *self._arguments],
                stderr=err,
                preexec_fn=child.die_with_parent,
            )

    def befall(self, fault: str, draw: random.Random) -> None:
        at = draw.randrange(len(self.processes))
        if fault == "reader-stop":
            self.processes[at].send_signal(signal.SIGSTOP)
            time.sleep(LEASE_S + 2)
            self.processes[at].send_signal(signal.SIGCONT)
            return
        self.processes[at].kill()
        self.processes[at].wait()
        self.processes[at] = self._spawn()

    def fallen(self) -> list[int]:
        """Exit codes of those that ended by themselves."""
        return [one.returncode for one in self.processes if one.poll() is not None]

    def end(self) -> None:
        for one in self.processes:
            one.kill()
            one.wait()


@dataclass(slots=True)
class Judge:
    """folder: where the readers leave their lines."""

    folder: Path
    records: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By item's key and sequence number."""
    again: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lags: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _at: dict[Path, int] = field(default_factory=dict)
    _last: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of each session and shard the sequence number read last."""

    def look(self) -> None:
        """Take what is new."""
        for path in sorted(self.folder.glob("*.lines")):
            with path.open("rb") as file:
                file.seek(self._at.get(path, 0))
                for data in file:
                    if not data.endswith(b"\n"):
                        break
                    self._at[path] = self._at.get(path, 0) + len(data)
                    self._take(json.loads(data))

    def _take(self, line: dict[str, Any]) -> None:
        if "fault" in line:
            self.faults.append(f"{line}")
        elif "error" in line:
            self.errors[line["error"]] += 1
        elif "seq" in line:
            self._record(line)
        elif line["from"] != "token":
            self._last[line["session"], line.get("shard", "")] = "" if line["from"] == "TRIM_HORIZON" else line["from"]

    def _record(self, line: dict[str, Any]) -> None:
        key, session = line["key"]["k"]["S"], (line["session"], line["shard"])
        if line["shard"]:
            if line["seq"] <= self._last[session]:
                self.faults.append(f"went back within a session: {line}, last {self._last[session]}")
            self._last[session] = line["seq"]
        said = {name: line[name] for name in ("event", "old", "new", "service")}
        known = self.records.setdefault((key, line["seq"]), said)
        if known is said:
            if line["new"] is not None:
                self.lags.append(line["at"] - float(line["new"]["t"]["N"]))
        else:
            self.again += 1
            if known != said:
                self.faults.append(f"read twice, and not the same: {key} {line['seq']}: {known}, {said}")

    def state(self, acked: list[str], *, identities: bool) -> tuple[dict[str, Image], list[str]]:
        """What the records make, and what is wrong with them. identities: they say whose doing it was."""
        items: dict[str, Image] = {}
        wrong, values = list(self.faults), set()
        for (key, seq), one in sorted(self.records.items()):
            old, new = one["old"], one["new"]
            event = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
            if old != items.get(key) or old == new or event != one["event"]:
                wrong.append(f"{key} {seq}: {one} after {items.get(key)}")
            over = new is None and old is not None and "ends" in old
            if identities and one["service"] is not None and not over:
                wrong.append(f"{key} {seq}: the service took what was not over: {one}")
            items[key] = new
            if new is not None:
                values.add(new["v"]["S"])
        wrong += [f"acknowledged and in no record: {value}" for value in acked if value not in values]
        return {key: item for key, item in items.items() if item is not None}, wrong


def table(url: str) -> dict[str, Image]:
    pages = connect(url, "dynamodb").get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    return {item["k"]["S"]: item for page in pages for item in page["Items"]}


def prepare(url: str) -> str:
    """Make the tables; the stream's ARN."""
    client = connect(url, "dynamodb")

    def create(name: str, key: str, **more: Any) -> None:
        schema = [{"AttributeName": key, "KeyType": "HASH"}]
        client.create_table(
            TableName=name,
            KeySchema=schema,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            **more,
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})

    create(LEASES, "leaseKey")
    create(TABLE, "k", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"})
    found: str = client.describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]
    return found


def settle(judge: Judge, url: str, acked: list[str], *, identities: bool) -> tuple[dict[str, Image], list[str]]:
    """What is in the table in the end, and what is wrong with what was read."""
    until, found, wrong = time.monotonic() + SETTLE_S, {}, ["never looked"]
    while wrong and time.monotonic() < until:
        time.sleep(1)
        with contextlib.suppress(ClientError, BotoCoreError):
            found = table(url)
            judge.look()
            made, wrong = judge.state(acked, identities=identities)
            wrong += [
                f"{key}: read {made.get(key)}, in the table {found.get(key)}" for key in made | found if made.get(key) != found.get(key)
            ]
            wrong += [f"over, and still there: {key}" for key, item in found.items() if item is not None and "ends" in item]
    return found, wrong


def run(
    folder: Path, *, minutes: float, seed: int, cluster: bool, readers: list[str], workers: int, writers: int, own: bool
) -> dict[str, Any]:
    """One run; `wrong` of what it returns is empty if all is well. readers: the program that reads. own: it is ours, so it says whose doing a change was."""
    draw, ended = random.Random(seed), threading.Event()
    place: Any = Cluster(folder) if cluster else Dev(folder)
    faults: Counter[str] = Counter()
    with place.running():
        arn = prepare(place.url)
        leases = ["--endpoint", place.url, "--arn", arn, "--leases", LEASES]
        reading = Readers(folder, workers, readers, [*leases, *(["--lease-s", str(LEASE_S)] if own else [])])
        writing = [Writer(number, place.url, seed, ended) for number in range(writers)]
        for writer in writing:
            writer.start()
        began = time.monotonic()
        try:
            while (left := began + minutes * 60 - time.monotonic()) > 0:
                time.sleep(min(draw.uniform(*CALM_S), left))
                fault = draw.choice((*place.faults, "reader-kill", "reader-kill", "reader-stop"))
                faults[fault] += 1
                (reading if fault.startswith("reader") else place).befall(fault, draw)
            ended.set()
            for writer in writing:
                writer.join(120)
            judge = Judge(folder)
            acked = [value for writer in writing for value in writer.acked]
            found, wrong = settle(judge, place.url, acked, identities=own)
            if codes := reading.fallen():
                wrong.append(f"readers ended by themselves: {codes}")
        finally:
            ended.set()
            reading.end()
    lags = sorted(judge.lags) or [0.0]
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": seed,
        "faults": dict(sorted(faults.items())),
        "acknowledged": len(acked),
        "errors_of_writers": dict(sum((writer.errors for writer in writing), Counter())),
        "records": len(judge.records),
        "by_the_service": sum(one["service"] is not None for one in judge.records.values()),
        "read_again": judge.again,
        "errors_of_readers": dict(judge.errors),
        "lag_s": {"p50": round(statistics.median(lags), 3), "p99": round(lags[int(0.99 * (len(lags) - 1))], 3), "max": round(lags[-1], 3)},
        "items": len(found),
        "wrong": wrong[:20],
    }


def bloop_python() -> Path:
    """The interpreter of an environment of bloop's own, made on first use: it asks for another boto3 than ours."""
    lock = Path(__file__).parent / "bloop.lock"
    cache = Path(os.environ.get("SCRUBJAY_CACHE", "~/.cache/scrubjay")).expanduser()
    folder = cache / "clients" / f"bloop-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)], check=True)
        (folder / "whole").touch()
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--readers", choices=("own", "bloop"), default="own")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    own, here = asked.readers == "own", Path(__file__).parent
    program = [sys.executable, str(here / "stream_worker.py")] if own else [str(bloop_python()), str(here / "stream_bloop.py")]
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        said = run(
            folder,
            minutes=asked.minutes,
            seed=asked.seed,
            cluster=asked.cluster,
            readers=program,
            workers=asked.workers if own else 1,
            writers=asked.writers,
            own=own,
        )
    print(json.dumps({"readers": asked.readers, "cluster": asked.cluster, **said}))
    return 2 if said["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
