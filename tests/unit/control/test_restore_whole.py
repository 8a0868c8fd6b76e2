"""Restores on the real classes: what a later life believes, what is confirmed, and what the same words asked again mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Invalid, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.pitr.confirm import faults_of
from scrubjay.pitr.job import CONFIRM, PREFIX
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.commands import item_of, key_of
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Seal
from tests.unit.control.house import House

ROWS = 12
WANT = {key_of(key): key for key in range(ROWS)}


@pytest.fixture
def house() -> House:
    house = House(partitions=2)
    table = house.create("orders")
    for key in range(ROWS):
        house.put(table, key, key)
    house.pass_time(6)
    return house


def moment(house: House) -> RestoreTarget:
    """A moment inside the proven window, behind every write."""
    report = house.run(house.restore.plan(house.table("orders"), "probe", RestoreTarget(latest=True)))
    assert report["beyond_latest"] is False
    at = house.run(house.restore.preparing.look(house.table("orders")))[1].latest_us
    assert at is not None
    return RestoreTarget(at_us=at)


def notes(house: House) -> dict[str, Any]:
    (found,) = house.service.jobs(PREFIX).values()
    return found


def until_noted(house: House, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Run until the restore's notes say so, and not one event further."""
    assert house.world.run(until_us=house.world.now + 60_000_000, stop=lambda: bool(house.service.jobs(PREFIX)) and holds(notes(house)))


def carried_on(house: House) -> dict[str, Any]:
    house.restart_control()
    assert house.restore.resume_unfinished() == 1
    return house.restored("back")


def test_killed_with_everything_noted_it_is_all_done_again(house: House) -> None:
    asked = moment(house)
    house.run(house.restore.start(house.table("orders"), "back", asked))
    until_noted(house, lambda said: said["phase"] == CONFIRM)
    assert all(part["copies"] for part in notes(house)["partitions"])
    assert carried_on(house)["verdict"] == "match"
    assert house.rows(house.table("back")) == WANT


def test_a_copy_that_changed_after_it_was_noted_is_not_published(house: House) -> None:
    """Its notes say that it matched. The row that is wrong checks, the row count is the same: only its digest, recomputed from the bytes, tells."""
    house.run(house.restore.start(house.table("orders"), "back", moment(house)))
    until_noted(house, lambda said: said["phase"] == CONFIRM)
    target = house.table("back")
    info = house.cluster.router.partition_of(target, key_of(3))
    assert house.cluster.trees[NodeName("n2")].plant_row(info.partition_id, key_of(3), 0, 0, item_of(3, 999))
    report = carried_on(house)
    assert (report["state"], report["verdict"], report["error"]["code"]) == ("differs", "mismatch", "DigestsDiffer"), report
    assert "n2" in report["error"]["found"]
    restoring = house.table("back").restore_of
    assert restoring is not None
    assert restoring.in_progress


@pytest.mark.parametrize("field", ["sum", "rows"])
def test_a_remembered_total_never_stands_in_for_the_rebuilt_one(house: House, field: str) -> None:
    """What was noted is compared with what is rebuilt. If they differ, one of them is wrong, and nothing is published on either."""
    house.run(house.restore.start(house.table("orders"), "back", moment(house)))
    until_noted(house, lambda said: said["phase"] == CONFIRM)
    said = msgspec.json.decode(msgspec.json.encode(notes(house)))
    part = said["partitions"][0]
    changed = "0" * 32 if field == "sum" else part["rows"] + 1
    part[field] = changed
    part["copies"] = {node: [part["sum"], part["rows"]] for node in part["copies"]}
    (key,) = house.service.jobs(PREFIX)
    for task in list(house.restore._running):
        house.run(house.restore._end(task))
    house.run(house.service.save_job(key, said))
    report = carried_on(house)
    assert (report["state"], report["verdict"], report["error"]["code"]) == ("failed", "unverified", "Corrupt"), report


def test_published_before_the_note_it_is_only_noted_though_it_was_written_to_since(house: House) -> None:
    house.run(house.restore.start(house.table("orders"), "back", moment(house)))

    def published() -> bool:
        table = house.cluster.store.table("back")
        return table is not None and table.status == "ACTIVE"

    assert house.world.run(until_us=house.world.now + 60_000_000, stop=published)
    house.restart_control()
    assert notes(house)["state"] == "running"
    house.put(house.table("back"), 77, 1)
    house.pass_time(8)  # a checkpoint later the row is in every tree
    assert house.restore.resume_unfinished() == 1
    assert house.restored("back")["state"] == "published"
    assert house.rows(house.table("back")) == {**WANT, key_of(77): 1}


def test_two_that_ask_at_once_are_one_restore(house: House) -> None:
    asked = moment(house)
    source = house.table("orders")
    tasks = [house.env.tasks.spawn(house.restore.start(source, "back", asked), name="ask") for _ in range(3)]
    other = house.env.tasks.spawn(house.restore.start(source, "back", RestoreTarget(at_us=(asked.at_us or 0) - 1)), name="ask")
    house.until(lambda: all(task.done() for task in (*tasks, other)))
    assert len({task.result()["to_id"] for task in tasks}) == 1
    with pytest.raises(Conflict):
        other.result()
    assert house.restored("back")["verdict"] == "match"
    assert len(house.service.jobs(PREFIX)) == 1
    assert not house.restore._starting


def test_the_same_words_again_mean_the_same_restore(house: House) -> None:
    source = house.table("orders")
    first = house.run(house.restore.start(source, "back", RestoreTarget(minus_us=3_000_000)))
    house.pass_time(0.05)
    assert house.run(house.restore.start(source, "back", RestoreTarget(minus_us=3_000_000)))["to_id"] == first["to_id"]
    assert house.restored("back")["state"] == "published"
    house.pass_time(1)  # its end is noted behind what status shows: cut off before that, it is taken up once more
    house.restart_control()
    house.pass_time(3)
    again = house.run(house.restore.start(source, "back", RestoreTarget(minus_us=3_000_000)))
    assert (again["to_id"], again["state"], again["at"]) == (first["to_id"], "published", first["at"])
    for other in (RestoreTarget(minus_us=2_000_000), RestoreTarget(latest=True)):
        with pytest.raises(Conflict) as refused:
            house.run(house.restore.start(source, "back", other))
        assert "proven window" in refused.value.fields["found"]
    house.run(house.cluster.store.delete_table("back"))
    house.until(lambda: house.known(first["to_id"]).status == "DROPPED")
    anew = house.run(house.restore.start(source, "back", RestoreTarget(minus_us=3_000_000)))
    assert anew["to_id"] != first["to_id"], "its table is gone: the name is free and it is restored anew"
    assert house.restored("back")["verdict"] == "match"


def test_latest_attaches_while_it_runs(house: House) -> None:
    source = house.table("orders")
    first = house.run(house.restore.start(source, "back", RestoreTarget(latest=True)))
    assert house.run(house.restore.start(source, "back", RestoreTarget(latest=True)))["to_id"] == first["to_id"]
    assert house.restored("back")["verdict"] == "match"


def test_the_latest_moment_is_restorable_on_a_slow_store(house: House) -> None:
    """Between the question and the answer the window moves on: what is closed is judged by the clock after the look."""
    house.cluster.archive.faults.delay_us = (100_000, 300_000)
    source = house.table("orders")
    for turn in range(8):
        house.put(source, 0, turn)
        house.pass_time(0.7)
        report = house.run(house.restore.plan(source, f"probe{turn}", RestoreTarget(latest=True)))
        assert report["error"] is None


@pytest.mark.parametrize("days", [99_999, 30_000])
def test_further_back_than_there_is_anything_is_refused_with_the_window_and_the_moment_as_it_is(house: House, days: int) -> None:
    source = house.table("orders")
    with pytest.raises(Unsafe) as refused:
        house.run(house.restore.plan(source, "back", RestoreTarget(minus_us=days * 86_400_000_000)))
    assert refused.value.exit_code == 4
    assert refused.value.fields["body"]["window"]["earliest"] is not None
    assert refused.value.fields["asked"].startswith({99_999: "1753-", 30_000: "1944-"}[days])


def test_further_back_than_any_calendar_is_wrong_usage(house: House) -> None:
    with pytest.raises(Invalid):
        house.run(house.restore.plan(house.table("orders"), "back", RestoreTarget(minus_us=10_000_000 * 86_400_000_000)))


def test_copies_are_confirmed_by_digest_and_by_row_count() -> None:
    proven = Total(7, 3)
    same = {NodeName("n1"): proven, NodeName("n2"): Total(7, 3)}
    assert faults_of("p", proven, same) == []
    assert len(faults_of("p", proven, {**same, NodeName("n3"): Total(8, 3)})) == 1
    assert len(faults_of("p", proven, {**same, NodeName("n3"): Total(7, 4)})) == 1


def test_the_seal_behind_the_cut_is_read_and_checked(house: House) -> None:
    """Its digest is what proves the rows as of the cut: an archive in which it does not follow gives nothing."""
    source = house.table("orders")
    at = house.put(source, 1, 100).timestamp_us
    assert at is not None
    house.pass_time(0.4)
    for info in source.partitions:
        house.run(house.cluster.store.seal(info.partition_id, Seal.RESTORE))
    house.pass_time(6)
    report = house.run(house.restore.plan(source, "back", RestoreTarget(at_us=at)))
    ends = {part["partition"]: part["to_lsn"] for part in report["partitions"]}
    seen = house.run(house.restore.preparing.look(source))[0]
    for history in seen.histories:
        last = next(one for one in history.segments if one.last == ends[history.partition])
        assert last.closed >> 12 >= at
        assert all(one.closed >> 12 < at for one in history.segments if one.last < last.last)
