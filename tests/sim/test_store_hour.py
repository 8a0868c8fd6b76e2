"""The store answers 503 for long (20 minutes in the suite, an hour with SCRUBJAY_SIM_OUTAGE_S=3600) to all that a whole cluster asks of it, while clients write and read, and while
nights come round.

The log's room suffices for some of it: until then every write is acknowledged; from then on writes are refused by name and at once, and reads go on. What waits is bounded and told
once. Afterwards all is archived, nothing that was acknowledged is lost, and all of it is proven.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.base.errors import Unavailable
from scrubjay.scrubber.schedule.settings import DAY_US, JobSettings
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import PutCommand, ReadAnswer, WriteAnswer
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.replica.segments import SegmentTracker

SECOND = 1_000_000
TABLE = "busy"
OUTAGE_S = float(os.environ.get("SCRUBJAY_SIM_OUTAGE_S", "1200"))
"""Of simulated time; 3600 makes it an hour, which takes half a minute."""
BETWEEN_S = 15.0
KEYS = 40
FILE = 1 << 15
LIMIT = 16 * FILE
BEYOND = 4 * FILE
"""For what a node notes of itself while its log is full."""
FIRES = JobSettings("*/25 * * * *", DAY_US)
SLOW = ConsensusOptions(grant_us=30_000_000, interval_us=10_000_000, drift_us=20_000, resign_after_us=60_000_000)
"""Leases that are asked for so rarely: an hour of them is most of what this costs."""


def item_of(key: int, value: int) -> bytes:
    return encode_item({"k": ("S", f"key-{key}"), "v": ("S", f"{value:06d}" + "x" * 3_600)})


class Hour:
    """acknowledged: by key, the newest value of which a client was told. refused: how writes were, by what was said. late: seconds to each answer."""

    def __init__(self) -> None:
        self.world = World(1)
        self.cluster = WholeCluster(self.world, consensus=SLOW, agent=AgentOptions(), wal_file_bytes=FILE, wal_limit_bytes=LIMIT)
        self.acknowledged: dict[int, int] = {}
        self.refused: Counter[str] = Counter()
        self.late: list[float] = []
        self.written = 0
        cluster = self.cluster
        self.run(attach(cluster.look, cluster.env, cluster_id=CLUSTER, folder_is_new=True))
        cluster.start()
        self.run(cluster.up())
        self.run(cluster.ask(cluster.store.create_table(spec_of(TABLE)), seconds=60.0))
        self.until(lambda: not cluster.store.unhosted(), seconds=60.0)
        self.load(120.0)
        self.until(lambda: not cluster.store.unarchived_bytes(), seconds=300.0)
        self.run(cluster.durability.schedule.set("scrub", FIRES))

    def table(self) -> TableMeta:
        table = self.cluster.store.table(TABLE)
        assert table is not None
        return table

    def run(self, work: Any) -> Any:
        task = self.cluster.env.tasks.spawn(work, name="test")
        assert self.world.run(until_us=self.world.now + 900 * SECOND, stop=task.done), "it did not end in time"
        return task.result()

    def until(self, holds: Any, *, seconds: float) -> None:
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            assert self.world.now < end, "it did not come about in time: " + "; ".join(self.cluster.lines[-5:])
            self.world.run(until_us=self.world.now + SECOND)

    def put(self) -> bool:
        """One write to its answer: whether it was acknowledged."""
        self.written += 1
        key, value, answers = self.written % KEYS, self.written, []  # type: ignore[var-annotated]
        began = self.world.now
        command = PutCommand(key_of(key), encode_item({"k": ("S", f"key-{key}")}), item_of(key, value), blind=True)
        self.cluster.store.write(self.table(), command, answers.append)
        self.world.run(until_us=self.world.now + 30 * SECOND, stop=lambda: bool(answers))
        assert answers, "a write was not answered"
        self.late.append((self.world.now - began) / SECOND)
        if isinstance(answers[0], WriteAnswer):
            self.acknowledged[key] = value
            return True
        assert isinstance(answers[0], Unavailable), answers[0]
        assert not answers[0].fields.get("unknown"), "refused, and nobody knows whether it was written"
        self.refused[answers[0].message] += 1
        return False

    def load(self, seconds: float) -> int:
        """A write every BETWEEN_S; how many were acknowledged."""
        end, taken = self.world.now + int(seconds * SECOND), 0
        while self.world.now < end:
            due = self.world.now + int(BETWEEN_S * SECOND)
            taken += self.put()
            self.world.run(until_us=due)
        return taken

    def read(self, key: int) -> bytes | None:
        answers: list[Any] = []
        self.cluster.store.read(self.table(), key_of(key), consistent=True, done=answers.append)
        self.world.run(until_us=self.world.now + 30 * SECOND, stop=lambda: bool(answers))
        assert isinstance(answers[0], ReadAnswer), answers[0]
        found: bytes | None = answers[0].item
        return found

    def all_is_there(self) -> None:
        for key, value in self.acknowledged.items():
            assert self.read(key) == item_of(key, value), f"key {key}: what was acknowledged is not there"

    def said(self, words: str) -> list[str]:
        return [line for line in self.cluster.lines if words in line]

    def failed(self) -> int:
        """Requests that the store refused."""
        return sum(self.cluster.archive.requests.failed.values())

    def status(self) -> Any:
        """What `scrubjay status` says."""
        return self.run(self.cluster.health.status())

    def full(self) -> int:
        """How many nodes are at their limit."""
        return sum(port.status().full for port in self.cluster.parts.ports.values())

    def used(self) -> int:
        """Of the fullest log."""
        return max(port.status().wal_used for port in self.cluster.parts.ports.values())

    def problems(self) -> Counter[str]:
        return Counter(problem.found.kind for problem in self.cluster.health.view().problems)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_outage_of_the_store_over_a_whole_cluster_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = Hour()
    cluster = hour.cluster
    compared, agreed = [0], SegmentTracker.agreed

    def counted(tracker: SegmentTracker, own: Any) -> Any:
        compared[0] += 1
        return agreed(tracker, own)

    monkeypatch.setattr(SegmentTracker, "agreed", counted)
    before, failed, began = len(cluster.lines), hour.failed(), hour.world.now
    cluster.archive.faults.throttled = 1.0

    # As long as the log has room every write is taken, and what waits is told of.
    while not hour.full():
        assert hour.load(BETWEEN_S) == 1, "a write was refused while the log has room"
        assert hour.world.now - began < OUTAGE_S * SECOND, "the log never came to its limit"
    assert {"archive-unreachable", "archive-lags"} <= set(hour.problems())
    assert hour.status()["archive"]["last_error"]

    # At the limit writes are refused by name, soon, and for certain; reads go on; nothing grows.
    room_s = (hour.world.now - began) / SECOND
    hour.load(OUTAGE_S - room_s)
    assert hour.refused
    assert all("the log has reached its limit" in said for said in hour.refused), hour.refused
    assert max(hour.late) < 5.0
    assert hour.used() <= LIMIT + BEYOND
    assert hour.problems()["node-full"] >= 1
    full = [row for row in hour.status()["nodes"] if row["state"] == "full"]
    assert full
    assert all(row["full"] and row["wal_limit_bytes"] == LIMIT for row in full)
    hour.all_is_there()
    assert hour.failed() - failed < 4 * OUTAGE_S, "tries grow rarer and are bounded"
    report = hour.run(cluster.durability.scrub.run())
    reasons = {part["reason"] for table in report["tables"] for part in table["partitions"]}
    assert (report["verdict"], reasons <= {"archive_unreachable", "archive_lags"}) == ("unverified", True), reasons
    during = cluster.lines[before:]
    assert len([line for line in during if "problem archive-unreachable" in line]) == 1
    assert len([line for line in during if "cannot archive" in line]) == 3, "one for each node"
    assert len([line for line in during if "problem node-full" in line]) <= 24, "what comes and goes is told ever more rarely"
    segments = sum(replica.segments.waiting.segments for node in cluster.nodes() for replica in node.members.values())
    assert segments > 100
    assert compared[0] < 40 * segments + 30 * OUTAGE_S, "each segment is compared a few times, not at each look"

    # It comes back: all is archived, writes are taken, every alarm ends, and everything that was acknowledged is there and proven.
    cluster.archive.faults.throttled = 0.0
    hour.until(lambda: not cluster.store.unarchived_bytes(), seconds=300.0)
    hour.until(lambda: not hour.full(), seconds=120.0)
    assert hour.load(BETWEEN_S) == 1
    hour.until(lambda: not hour.problems(), seconds=600.0)
    assert not [line for line in cluster.lines if "not in the WAL" in line]
    assert hour.used() < LIMIT // 2, "the log lets go of what is archived"
    hour.all_is_there()
    report = hour.run(cluster.durability.scrub.run())
    assert report["verdict"] == "match"
    verified = hour.run(
        cluster.durability.verify.verify(tables=None, level="records", budget_us=None, max_age_us=0, progress=lambda _facts: None)
    )
    assert verified["verdict"] == "match"
    assert len([line for line in cluster.lines if "problem archive-unreachable" in line]) == 2
