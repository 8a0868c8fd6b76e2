"""One run: writers, splits and deaths; what tells of the past is judged; then the end of everything, and the cluster that is made from the archive."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import boto3

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.witness import judge
from tests.witness.notes import Notes
from tests.witness.writers import MANY, ONE, Writer, make_tables

WRITERS = 3
AWAY_S = 3.0
BEFORE_S = 2.0
"""The window of a table begins a moment after the table."""
LAST_S = 6.0
"""Writers go on for so long before everything is killed."""
HISTORIES = 8
SHIFTED_S = 2.0


class Witnessed(NamedTuple):
    """done: answered requests by kind. refused: the others, by the error. restored: moments that both tables were restored to."""

    done: dict[str, int]
    refused: dict[str, int]
    transactions: int
    restored: int
    recovered_as_of: str
    wrong: list[str]


def run(
    root: Path, *, seed: int, seconds: float, moments: int, control: bool = False, say: Callable[[str], None] = lambda what: None
) -> Witnessed:
    """seconds: of writing before anything is judged. control: restores are judged as if they were of a moment SHIFTED_S before; nothing else is."""
    rand, notes = Random(seed), Notes()
    with ClusterOfProcesses(root) as cluster:
        cluster.found()
        client = cluster.client(NODES[0])
        make_tables(client)
        arn = client.describe_table(TableName=MANY)["Table"]["LatestStreamArn"]
        time.sleep(BEFORE_S)
        began = time.time()
        writers, stop = _begin(cluster, notes, seed)
        _befall(cluster, rand, seconds, say)
        _end(writers, stop)
        ended = time.time()
        refused = _sum(writer.refused for writer in writers)
        at = sorted(rand.uniform(began + 1, ended) for _ in range(moments))
        wrong: list[str] = []
        if not control:
            wrong += judge.judge_now(client, notes)
            say("stream")
            wrong += judge.judge_stream(_streams(cluster), arn, notes, exact=not refused)
        for number, moment in enumerate(at):
            say(f"restore to {judge.rfc3339(moment)}")
            wrong += judge.judge_restore(cluster, client, notes, moment, str(number), shifted_s=SHIFTED_S if control else 0.0)
        if control:
            return Witnessed(_sum(writer.done for writer in writers), refused, len(notes.transactions), moments, "", wrong)
        say("diff, history, export, import")
        wrong += judge.judge_diff(cluster, notes, at[0], at[-1], root)
        wrong += judge.judge_histories(cluster, notes, rand, HISTORIES)
        wrong += judge.judge_export(cluster, client, notes, rand.choice(at), root)
        wrong += judge.judge_proofs(cluster, {("scrub", "run"): 20.0, ("verify",): 0.0, ("status",): 30.0})
        say("undo")
        wrong += judge.judge_undo(cluster, client, notes, at[0], ended)
        later, last = _anew(cluster, client, seed + 1)
        say("the end")
        time.sleep(LAST_S)
        for name in (*NODES, DURABILITY):
            cluster.processes[name].kill()
        _end(last, later.stop)
        as_of, found = _recovered(root, later.notes)
        return Witnessed(
            _sum(writer.done for writer in (*writers, *last)),
            _sum(writer.refused for writer in (*writers, *last)),
            len(notes.transactions) + len(later.notes.transactions),
            moments,
            as_of,
            wrong + found,
        )


class _Later(NamedTuple):
    notes: Notes
    stop: threading.Event


def _begin(cluster: ClusterOfProcesses, notes: Notes, seed: int) -> tuple[list[Writer], threading.Event]:
    stop = threading.Event()
    writers = []
    for number in range(WRITERS):
        clients = [cluster.client(node, tries=8, patience_s=10) for node in NODES]
        once = [cluster.client(node, tries=1, patience_s=10) for node in NODES]
        writers.append(Writer(number, clients, once, notes, seed=seed, stop=stop))
    for writer in writers:
        writer.start()
    return writers, stop


def _end(writers: list[Writer], stop: threading.Event) -> None:
    stop.set()
    for writer in writers:
        writer.join(timeout=120)
        assert not writer.is_alive()


def _sum(counts: Any) -> dict[str, int]:
    return dict(sum(counts, Counter[str]()))


def _anew(cluster: ClusterOfProcesses, client: Any, seed: int) -> tuple[_Later, list[Writer]]:
    """Writers that go on from what is there."""
    notes = Notes()
    for table in (MANY, ONE):
        for item in judge.scan(client, table, ConsistentRead=True):
            notes.note(0.0, time.time(), {judge.name_of(table, item): item})
    writers, stop = _begin(cluster, notes, seed)
    return _Later(notes, stop), writers


def _befall(cluster: ClusterOfProcesses, rand: Random, seconds: float, say: Callable[[str], None]) -> None:
    """In this order, evenly: a split, a death, two splits, a death."""
    steps: list[Callable[[], None]] = [
        lambda: _split(cluster, MANY),
        lambda: _kill(cluster, rand.choice(NODES), say),
        lambda: (_split(cluster, ONE), _split(cluster, MANY, "--index", "by-g"), None)[-1],
        lambda: _kill(cluster, rand.choice(NODES), say),
    ]
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        time.sleep(max(0.0, began + seconds * number / (len(steps) + 1) - time.monotonic()))
        step()
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def _split(cluster: ClusterOfProcesses, *what: str) -> None:
    wait_for(lambda: cluster.cli("table", "split", *what)[0] == 0, timeout=60)


def _kill(cluster: ClusterOfProcesses, node: str, say: Callable[[str], None]) -> None:
    say(f"SIGKILL of {node}")
    cluster.kill(node)
    time.sleep(AWAY_S)
    cluster.spawn(node)
    cluster.ready(node)


def _streams(cluster: ClusterOfProcesses) -> Any:
    return boto3.client(
        "dynamodbstreams",
        endpoint_url=cluster.url(NODES[1]),
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def _recovered(root: Path, notes: Notes) -> tuple[str, list[str]]:
    """A new cluster from the archive alone: as of when, and what is wrong with it."""
    archive, data = (root / "archive").as_uri(), root / "recovered"
    done = subprocess.run(
        scrubjay_command("recover", "--archive", archive, "--data", str(data), "--json"), capture_output=True, text=True, check=False
    )
    answer = json.loads(done.stdout)
    if done.returncode:
        return "", [f"recover: {answer}"]
    at = datetime.fromisoformat(answer["at"]).timestamp()
    server = ScrubjayServer(data, archive=(root / "archive-of-the-recovered").as_uri()).start(timeout=120)
    try:
        return answer["at"], judge.judge_recovery(server.client(), notes, at)
    finally:
        server.kill()
