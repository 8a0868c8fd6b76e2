"""The WAL on the simulated disk: killed, cut from power, recycled, over and over. What was acknowledged is found, and nothing is called damaged that did not rot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Ballot, Lsn, Member, NodeName, PartitionId
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.log.record import Record, RecordKind, encode
from scrubjay.storage.wal import recover, scan
from scrubjay.storage.wal.port import Append, Boot, Create, Recovered
from scrubjay.storage.wal.wal import Wal

P = PartitionId("00000000-0000-4000-8000-00000000000a")
OWNER = bytes.fromhex(P.replace("-", ""))[:8]
FILE = 1 << 14
SEEDS = 8


def record(lsn: int) -> Record:
    return encode(owner=OWNER, lsn=lsn, stamp=1000 + lsn, kind=RecordKind.DATA, payload=lsn.to_bytes(4, "little") * (lsn % 90))


class Writer:
    """One life: writes records as fast as the disk takes them, and trims so that a few files are in use."""

    def __init__(self, run: Run, host: WorldHost) -> None:
        self.run = run
        self.wal, recovered = Wal.open(
            host.disk, "wal", file_size=FILE, limit_bytes=128 * FILE, reserve_bytes=FILE // 2, call_later=host.env.tasks.call_later
        )
        self.check(recovered)
        self.wal.queue(Boot(recovered.boot_count + 1))
        if P not in recovered.replicas:
            self.wal.queue(Create(P, Member(1, 1), Lsn(1)))
        else:
            self.run.first, self.run.last = recovered.replicas[P].first, recovered.replicas[P].last
        self.step()

    def check(self, recovered: Recovered) -> None:
        self.run.findings += self.wal.findings
        log = recovered.replicas.get(P)
        if log is None:
            assert self.run.acknowledged == 0
            return
        assert log.last >= self.run.acknowledged
        assert log.first <= self.run.trimmed
        if not self.wal.findings:
            assert (log.amnesia, log.damaged) == ("", ())
            for lsn, got in enumerate(self.wal.read(P, log.first, Lsn(log.last + 1)), log.first):
                assert got == record(lsn)

    def step(self) -> None:
        run, wal = self.run, self.wal
        count = run.draw.between(1, 40)
        wal.queue(Append(P, Ballot(1), tuple(record(lsn) for lsn in range(run.last + 1, run.last + 1 + count)), staged=False))
        run.last += count
        wanted = run.last

        def done(error: ScrubjayError | None) -> None:
            if error is not None or run.host.disk.faults.sync_error:
                assert run.host.disk.faults.sync_error, error
                return  # a node whose disk fails a sync stops
            wal.check_invariants()
            run.acknowledged = wanted
            run.files = (wal.usage().used + wal.usage().recycled) // FILE
            run.most_files = max(run.most_files, run.files)
            run.trimmed = max(run.trimmed, wanted - run.kept)
            wal.trim(P, Lsn(run.trimmed))
            self.step()

        assert wal.commit(done)


class Run:
    """acknowledged: highest LSN reported durable. trimmed: lowest LSN still wanted. kept: records not trimmed."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.draw = self.world.stream("writer")
        self.acknowledged = self.last = self.kept = self.files = self.most_files = 0
        self.first = self.trimmed = 1
        self.findings: tuple[str, ...] = ()
        build: Callable[[WorldHost], Writer] = lambda host: Writer(self, host)  # noqa: E731
        self.host = self.world.add_host(NodeName("n1"), build=build)

    def go(self, lives: int, *, syncs_fail: bool = False) -> None:
        """syncs_fail: each life ends with that, and the next begins on the same machine or after a power loss."""
        for _ in range(lives):
            self.kept = self.draw.choice([200, 200, 2000])
            self.host.start()
            self.world.run(until_us=self.world.now + self.draw.between(100, 120_000))
            if syncs_fail:
                self.host.disk.faults.sync_error = 1.0
                self.world.run(until_us=self.world.now + 10_000)
            self.host.crash(power=self.draw.chance(0.5))
            self.host.disk.faults.sync_error = 0.0
        self.kept = 50
        self.host.start()
        self.world.run(until_us=self.world.now + 150_000)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_kills_and_power_losses_between_any_two_steps_lose_nothing_and_look_like_no_damage(seed: int) -> None:
    run = Run(seed)
    run.go(20)
    assert run.findings == ()
    assert run.acknowledged > 2000
    assert run.most_files > 10
    assert run.files <= 8, "files that hold nothing are removed but for a few"


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_after_a_failed_sync_and_built_on_survives_the_next_power_loss(seed: int) -> None:
    run = Run(seed)
    run.go(20, syncs_fail=True)
    assert run.findings == ()
    assert run.host.disk.sync_errors > 10
    assert run.acknowledged > 2000


@pytest.mark.slow
def test_negative_control_a_recovery_that_only_syncs_what_it_reads_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "_write_again", lambda result, files, newest: None)
    found = 0
    for seed in range(3):
        run = Run(seed)
        try:
            run.go(20, syncs_fail=True)
        except AssertionError:
            found += 1
        else:
            found += bool(run.findings)
    assert found


@pytest.mark.slow
def test_negative_control_a_recovery_that_takes_a_torn_tail_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan.Files, "synced", 1 << 60)
    found = torn = 0
    for seed in range(SEEDS):
        run = Run(seed)
        try:
            run.go(20)
        except AssertionError:
            found += 1
        else:
            found += bool(run.findings)
        torn += run.host.disk.torn
    assert found
    assert torn, "such runs do tear writes"
