"""What is found while, before and after a scrub runs: kept until a run that the ledger takes has told of it, over restarts too. On the real classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.scrubber.healer import Healer
from scrubjay.scrubber.report import ScrubReport
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import RangeRead
from scrubjay.storage.control.findings import FILE, KEPT_MAX, WINDOW_US, Findings
from scrubjay.storage.service_port import Finding
from tests.unit.control.house import House


def finding(partition: str, **changes: Any) -> Finding:
    one = Finding("unreadable", "n2", partition, None, b"k" * 20, None, 5, None, "read", "none", "rot met by a read", 1)
    return one._replace(**changes)


def told(report: Any) -> list[Finding]:
    return [found.finding for table in report.tables for part in table.partitions for found in part.findings]


@pytest.fixture(scope="module")
def house() -> House:
    house = House(partitions=3)
    table = house.create("orders")
    for key in range(12):
        house.put(table, key, key)
    assert house.scrub().exit_code == 0
    return house


def test_what_is_found_after_its_partition_was_compared_waits_for_the_next_run(house: House) -> None:
    late: list[str] = []

    def progress(facts: dict[str, Any]) -> None:
        if facts["phase"] == "partition done" and facts["done"] == facts["total"] and not late:
            late.append(house.table("orders").partitions[0].partition_id)
            house.service.note(finding(late[0], at_us=house.env.clock.wall_us()))

    report = house.scrub(progress=progress, lanes=1)
    assert (report.exit_code, told(report)) == (0, [])
    assert len(house.service.findings(PartitionId(late[0]))) == 1
    again = house.scrub()
    assert (again.exit_code, [one.detail for one in told(again)]) == (2, ["rot met by a read"])
    assert house.scrub().exit_code == 0


def test_a_fault_found_again_after_it_was_handed_out_is_kept(house: House) -> None:
    partition = house.table("orders").partitions[0].partition_id
    house.service.note(finding(partition, at_us=1))
    known = house.service.findings(partition)
    house.service.note(finding(partition, at_us=2))
    house.service.reported(partition, known)
    assert [one.at_us for one in house.service.findings(partition)] == [2]
    house.service.reported(partition, house.service.findings(partition))
    assert house.service.findings(partition) == []


class FullLedger(SqliteLedger):
    """A ledger on a disk that is full when a run ends."""

    async def end_run(self, run: int, **_: Any) -> None:
        raise Unavailable("the ledger cannot be used", why="disk full")


def test_an_object_that_a_second_member_finds_bad_while_a_scrub_runs_is_told_once(house: House) -> None:
    partition = house.table("orders").partitions[0].partition_id
    again: list[dict[str, Any]] = []
    bad = finding(partition, copy="archive", storage_key=None, object="a.seg", found_by="agent", at_us=house.env.clock.wall_us())

    def progress(facts: dict[str, Any]) -> None:
        if facts["phase"] == "compare" and not again:
            again.append(facts)
            house.service.note(bad._replace(at_us=house.env.clock.wall_us()))

    house.service.note(bad)
    assert [one.object for one in told(house.scrub(progress=progress))] == ["a.seg"]
    assert again
    assert house.service.findings(partition) == []
    assert told(house.scrub()) == []


def test_a_report_that_no_ledger_took_is_told_again(house: House) -> None:
    table = house.table("orders")
    sound = house.run(SqliteLedger.open(house.env.tasks, MEMORY))
    full = house.run(FullLedger.open(house.env.tasks, MEMORY))
    house.service.note(finding(table.partitions[0].partition_id))
    house.checkpointed(table, 12)
    house.rot("n3", table, 4)
    first = house.scrub(full)
    assert (first.exit_code, first.healed, sorted(one.found_by for one in told(first))) == (2, True, ["read", "scrub"])
    house.restart_control(power=True)
    second = house.scrub(sound)
    assert (second.exit_code, sorted((one.copy, one.found_by) for one in told(second))) == (2, [("n2", "read"), ("n3", "scrub")])
    assert house.scrub(sound).exit_code == 0
    kept = [run.report for run in house.run(sound.runs(9))]
    assert [len(run["tables"]) > 0 for run in kept if run is not None] == [True, True], "what the first run found stays readable"


def test_findings_survive_a_restart_until_a_run_covers_their_partition(house: House) -> None:
    table = house.table("orders")
    first, second = table.partitions[0].partition_id, table.partitions[1].partition_id
    house.service.note(finding(first))
    house.service.note(finding(second, kind="different", storage_key=None, object="a/b.seg", found_by="agent", copy="archive"))
    house.restart_control(power=True)
    report = house.scrub()
    assert (report.exit_code, sorted(one.partition for one in told(report))) == (2, sorted([first, second]))
    house.restart_control(power=True)
    assert house.scrub().exit_code == 0


def test_a_finding_that_no_copy_can_name_yet_is_kept_all_the_same() -> None:
    house = House(start=False)
    house.service.note(finding("00000000-0000-4000-8000-00000000dead"))
    assert [one.storage_key for one in house.service.findings(PartitionId("00000000-0000-4000-8000-00000000dead"))] == [b"k" * 20]


def disk() -> SimDisk:
    return House(start=False).cluster.control.disk


def test_two_objects_of_one_partition_are_two_faults() -> None:
    kept = Findings(disk())
    for name in ("a.seg", "b.seg", "a.seg"):
        kept.add(finding("p", storage_key=None, copy="archive", object=name, found_by="agent"))
    assert sorted(str(one.object) for one in kept.of(PartitionId("p"))) == ["a.seg", "b.seg"]


def test_a_copy_that_rotted_through_pushes_out_no_word_about_another() -> None:
    kept = Findings(disk())
    kept.add(finding("p", copy="n1", at_us=0))
    for number in range(KEPT_MAX + 50):
        kept.add(finding("p", storage_key=number.to_bytes(20, "big"), at_us=number))
    found = kept.of(PartitionId("p"))
    assert (len(found), kept.dropped, found[0].copy) == (KEPT_MAX, 51, "n1")


def test_what_was_found_in_a_dropped_table_goes_with_its_window_and_nothing_else_does() -> None:
    house = House()
    for name in ("gone", "here"):
        house.create(name)
    house_id = house.table("gone").table_id
    dropped, lives = (house.table(name).partitions[0].partition_id for name in ("gone", "here"))
    house.run(house.cluster.store.delete_table("gone"))
    house.until(lambda: house.known(house_id).dropped_at is not None)
    now_us = house.env.clock.wall_us()
    for partition in (dropped, lives):
        house.service.note(finding(partition, storage_key=b"old" * 8, at_us=now_us - WINDOW_US - 1))
        house.service.note(finding(partition, storage_key=b"new" * 8, at_us=now_us))
    house.restart_control()
    house.pass_time(0.1)
    assert [one.storage_key for one in house.service.findings(dropped)] == [b"new" * 8]
    assert len(house.service.findings(lives)) == 2


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"[" * 100_000, b'{"version": 2, "findings": []}', b"{}", b'{"version": 1, "findings": [["\xff"]]}', b"null"]
)
def test_a_file_that_is_not_understood_is_set_aside_and_said(data: bytes) -> None:
    home = disk()
    home.write_file(FILE, data)
    for at in (1, 2):
        kept = Findings(home)
        assert kept.trouble is not None
        assert home.read_file(f"{FILE}.damaged-{at}") == data
        kept.add(finding("p"))
        assert kept.trouble is None
        assert len(Findings(home)) == 1
        home.write_file(FILE, data)


class StubbornDisk:
    """A disk whose file can be read and not written, or not even read."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads

    def read_file(self, path: str) -> bytes | None:
        if not self._reads:
            raise Corrupt("the disk failed: EIO", what=path)
        return None

    def write_file(self, path: str, data: bytes) -> None:
        raise Unavailable("the machine refused: read-only file system", what=path)


@pytest.mark.parametrize("reads", [True, False])
def test_what_the_disk_does_not_take_is_kept_in_memory_and_said(*, reads: bool) -> None:
    home: Any = StubbornDisk(reads=reads)
    kept = Findings(home)
    assert (kept.trouble is None) == reads
    kept.add(finding("p"))
    assert kept.trouble is not None
    assert len(kept.of(PartitionId("p"))) == 1


def read_all(house: House, partition: str, nodes: Collection[str]) -> None:
    """A range over everything, as each of these copies alone answers it."""
    for node in house.cluster.nodes():
        if node.name in nodes:
            answers: list[object] = []
            whole = RangeRead(b"", None, 99, 1 << 20, reverse=False, consistent=False)
            node.replicas[PartitionId(partition)].read_range(whole, min_lsn=Lsn(0), done=answers.append)
            house.until(lambda answers=answers: bool(answers))  # type: ignore[misc]


def planted(rotted: Mapping[str, Collection[int]]) -> tuple[House, TableMeta]:
    """Twelve rows in one partition, some of them rotted: keys by node. Reads have met the first one of each node."""
    house = House()
    table = house.create("orders")
    for key in range(12):
        house.put(table, key, key)
    house.checkpointed(table, 12)
    for node, keys in rotted.items():
        for key in keys:
            house.rot(node, table, key)
    partition = table.partitions[0].partition_id
    house.until(lambda: house.service.archived(partition) > 0)
    read_all(house, partition, rotted)
    assert {copy.node for copy in house.service.copies(partition) if copy.state == "suspect"} == set(rotted)
    return house, table


def named(report: ScrubReport) -> dict[tuple[str, bytes | None], str | None]:
    """Where the evidence lies, by copy and row."""
    found = [found for table in report.tables for part in table.partitions for found in part.findings]
    assert all(one.finding.key is not None and one.finding.action == "healed" for one in found), found
    return {(one.finding.copy, one.finding.storage_key): one.evidence for one in found}


def test_a_copy_healed_because_none_served_has_every_rotted_row_named_and_its_evidence_told() -> None:
    """The healer cannot wait for a scrub: what no read had met is not carried off into quarantine unnamed, and the scrub says where it lies."""
    rotted = {"n1": (1, 2), "n2": (5,), "n3": (7,)}
    house, table = planted(rotted)
    partition = table.partitions[0].partition_id
    healer = Healer(house.env, house.service, house.references(), log=house.lines.append)
    house.run(healer.look())
    assert (healer.healed, [copy.state for copy in house.service.copies(partition)]) == (1, ["ok", "suspect", "suspect"]), house.lines
    house.restart_control(power=True)
    report = house.scrub()
    assert (report.exit_code, report.healed) == (2, True)
    assert named(report) == {(node, key_of(key)): f"nodes/{node}/quarantine/{partition}-1" for node, keys in rotted.items() for key in keys}
    assert house.scrub().exit_code == 0


def test_a_copy_that_a_scrub_heals_without_comparing_it_has_every_rotted_row_named() -> None:
    """Its tree takes nothing more, so it cannot be pinned at the seal; the scrub comes before the healer."""
    house, table = planted({"n2": (3, 8)})
    partition = table.partitions[0].partition_id
    (node,) = [one for one in house.cluster.nodes() if one.name == "n2"]
    node.replicas[partition].give_up_tree()
    report = house.scrub()
    assert (report.exit_code, report.healed) == (2, True)
    found = [found for one in report.tables for part in one.partitions for found in part.findings]
    rows = {(one.finding.copy, one.finding.storage_key) for one in found if one.finding.storage_key is not None}
    assert rows == {("n2", key_of(3)), ("n2", key_of(8))}
    assert {one.evidence for one in found} == {f"nodes/n2/quarantine/{partition}-1"}
    assert house.scrub().exit_code == 0


def test_a_suspect_that_goes_on_applying_is_surveyed_whatever_checkpoint_comes_in_between() -> None:
    house, table = planted({"n2": (3, 8)})
    (info,) = table.partitions
    (node,) = [one for one in house.cluster.nodes() if one.name == "n2"]
    replica = node.replicas[info.partition_id]
    before = house.tree("n2", info).state.applied
    house.put(table, 100, 100)
    house.until(lambda: replica.applied > before)
    replica.checkpoints.freeze(pin=False)
    assert house.tree("n2", info).state.applied == before, "it has only begun"
    assert house.run(house.service.survey(info.partition_id, NodeName("n2"))) == 2
    assert house.tree("n2", info).state.applied > before


def test_what_was_found_in_an_earlier_tree_keeps_its_own_evidence() -> None:
    kept = Findings(disk())
    first, other, second = finding("p"), finding("p", copy="n3"), finding("p", storage_key=b"m" * 20)
    kept.add(first)
    kept.add(other)
    kept.set_aside(PartitionId("p"), "n2", "nodes/n2/quarantine/p-1")
    kept.add(second)
    kept.set_aside(PartitionId("p"), "n2", "nodes/n2/quarantine/p-2")
    assert [one.evidence for one in kept.of(PartitionId("p"))] == ["nodes/n2/quarantine/p-1", None, "nodes/n2/quarantine/p-2"]
