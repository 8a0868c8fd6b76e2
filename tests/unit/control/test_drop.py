"""DeleteTable ends a log: what was acknowledged before lies in it, what comes after is refused, and the archive gets it to its end. On the real classes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.admin import restore_answer
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import WriteAnswer
from scrubjay.storage.log.record import Seal
from tests.unit.control.house import House


def dropped(house: House, table: TableMeta, *, archived: bool = True) -> TableMeta:
    house.run(house.cluster.store.delete_table(table.name))
    house.until(lambda: house.known(table.table_id).status == "DROPPED")
    if archived:
        house.until(lambda: house.known(table.table_id).archived_at is not None)
    return house.known(table.table_id)


def restore(house: House, source: TableMeta, to: str, asked: RestoreTarget) -> dict[bytes, int | None]:
    house.run(house.restore.start(source, to, asked))
    report = house.restored(to)
    assert (report["state"], report["verdict"], report["error"]) == ("published", "match", None), report
    rows = house.rows(house.table(to))
    assert report["rows"] == len(rows)
    return rows


@pytest.mark.slow
def test_the_last_acknowledged_writes_of_a_dropped_table_are_restored() -> None:
    house = House(partitions=3)
    table = house.create("orders")
    acknowledged = {}
    for key in range(20):
        acknowledged[key] = house.put(table, key, key)
    gone = dropped(house, table)
    want = {key_of(key): key for key in range(20)}
    assert restore(house, gone, "latest", RestoreTarget(latest=True)) == want
    last = max(answer.timestamp_us or 0 for answer in acknowledged.values())
    assert restore(house, gone, "at-last", RestoreTarget(at_us=last)) == want
    early = acknowledged[9].timestamp_us
    assert early is not None
    assert restore(house, gone, "at-ten", RestoreTarget(at_us=early)) == {key_of(key): key for key in range(10)}
    house.restart_control(power=True)
    house.pass_time(30)
    assert restore(house, house.known(table.table_id), "after-restart", RestoreTarget(latest=True)) == want


def test_a_write_that_races_the_drop_is_in_the_sealed_log_or_refused() -> None:
    house = House(seed=3, partitions=2)
    table = house.create("orders")
    answers: dict[int, Any] = {}

    async def writer() -> None:
        for key in range(400):
            answers[key] = house.ask(table, key, key)
            await house.env.tasks.sleep(0.002)

    writing = house.env.tasks.spawn(writer(), name="writer")
    house.pass_time(0.25)
    house.run(house.cluster.store.delete_table("orders"))
    house.until(writing.done)
    house.until(lambda: all(answer.done() for answer in answers.values()))
    house.until(lambda: house.known(table.table_id).archived_at is not None)
    outcome: dict[int, WriteAnswer | ScrubjayError] = {key: answer.result() for key, answer in answers.items()}
    taken = {key for key, one in outcome.items() if isinstance(one, WriteAnswer)}
    refused = {key for key, one in outcome.items() if isinstance(one, Missing | Unavailable)}
    assert taken
    assert refused
    assert taken | refused == set(outcome)
    assert restore(house, house.known(table.table_id), "back", RestoreTarget(latest=True)) == {key_of(key): key for key in taken}


@pytest.mark.slow
def test_the_catalogue_knows_where_each_log_ends_and_the_name_is_free_at_once() -> None:
    house = House(partitions=2)
    table = house.create("orders")
    for key in range(10):
        house.put(table, key, key)
    house.cluster.archive.faults.down = True
    gone = dropped(house, table, archived=False)
    assert [final.partition_id for final in gone.finals] == [info.partition_id for info in table.partitions]
    assert sum(final.rows for final in gone.finals) == 10
    again = house.create("orders")
    assert again.table_id != table.table_id
    house.pass_time(20)
    assert house.known(table.table_id).archived_at is None, "the store is down: logs are kept"
    assert house.cluster.store.unarchived_bytes() > 0
    assert all(node.hosting.known(info.partition_id) for node in house.cluster.nodes() for info in table.partitions)
    house.cluster.archive.faults.down = False
    house.until(lambda: house.known(table.table_id).archived_at is not None)
    assert not any(node.hosting.known(info.partition_id) for node in house.cluster.nodes() for info in table.partitions)
    assert restore(house, house.known(table.table_id), "back", RestoreTarget(latest=True)) == {key_of(key): key for key in range(10)}
    assert house.rows(again) == {}


def test_the_last_seal_is_closed_at_its_own_moment_and_nothing_follows_it() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    (info,) = table.partitions
    house.run(house.cluster.store.seal(info.partition_id, Seal.DROP))
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    facts = leader.segments.facts
    assert facts.ended == facts.last_seal == leader.applied
    own = facts.sealed[-1]
    assert (facts.ended_closed, own.closed) == (last_stamp_at(stamp_micros(own.last_stamp)),) * 2  # type: ignore[arg-type]
    assert leader.closed_point() == (facts.ended_closed, facts.last_content, facts.ended)
    for reason in (Seal.DROP, Seal.SCRUB, Seal.RESTORE):
        with pytest.raises(Missing):
            house.run(house.cluster.store.seal(info.partition_id, reason))
    assert isinstance(house.run(house.ask(table, 1, 2)), Missing)
    house.pass_time(30)
    assert not any(replica.segments.facts.content for node in house.cluster.nodes() for replica in [node.replicas[info.partition_id]])
    old = leader.node.name
    next(host for host in house.cluster.hosts if host.name == old).crash(power=True)
    house.until(lambda: house.cluster.leader(info.partition_id) is not None)
    assert isinstance(house.run(house.ask(table, 1, 2)), Missing), "a later leader took over the last seal"


def test_until_the_archive_has_the_end_a_restore_waits_and_never_gives_less() -> None:
    house = House()
    table = house.create("orders")
    for key in range(5):
        house.put(table, key, key)
    house.pass_time(10)
    for key in range(5, 9):
        house.put(table, key, key)
    house.stop_agents()
    gone = dropped(house, table, archived=False)
    house.run(house.restore.start(gone, "back", RestoreTarget(latest=True)))
    house.pass_time(10)
    report = house.restore.status("back")
    assert report is not None
    assert (report["state"], report["rows"]) == ("running", None)
    house.start_agents()
    assert house.restored("back")["verdict"] == "match"
    assert house.rows(house.table("back")) == {key_of(key): key for key in range(9)}


def test_an_end_that_never_comes_is_unverified() -> None:
    house = House()
    table = house.create("orders")
    for key in range(5):
        house.put(table, key, key)
    house.pass_time(10)
    house.put(table, 5, 5)
    gone = dropped(house, table)
    (final,) = gone.finals
    for key in [key for key in sorted(house.cluster.archive.objects) if f"-{final.lsn:016x}." in key]:
        house.cluster.archive.lose(key)
    house.run(house.restore.start(gone, "short", RestoreTarget(latest=True)))
    report = house.restored("short")
    assert (report["state"], report["verdict"], report["error"]["code"]) == ("failed", "unverified", "ArchiveLags"), report
    assert restore_answer(report)["exit"] == 3
    assert isinstance(house.run(house.ask(house.table("short"), 0, 0)), ScrubjayError)


def test_an_archive_that_ends_otherwise_than_the_table_did_is_no_match() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    gone = dropped(house, table)
    (final,) = gone.finals
    other = msgspec.structs.replace(final, chain="00" * 32)
    house.run(house.cluster.metadata.put_table(msgspec.structs.replace(gone, finals=(other,))))
    with pytest.raises(Corrupt) as caught:
        house.run(house.restore.start(house.known(table.table_id), "other", RestoreTarget(latest=True)))
    assert caught.value.fields["lsn"] == final.lsn
    assert house.cluster.store.table("other") is None


def test_a_restore_that_waits_for_a_table_lives_through_its_deletion() -> None:
    house = House()
    table = house.create("orders")
    for key in range(5):
        house.put(table, key, key)
    house.pass_time(6)
    house.put(table, 4, 40)
    house.stop_agents()
    now = house.env.clock.wall_us()
    house.run(house.restore.start(table, "back", RestoreTarget(at_us=now)))
    house.pass_time(1)
    gone = dropped(house, table, archived=False)
    house.pass_time(2)
    house.start_agents()
    assert house.restored("back")["verdict"] == "match"
    assert house.rows(house.table("back")) == {key_of(key): key if key < 4 else 40 for key in range(5)}
    assert gone.finals


@pytest.mark.parametrize("moment", range(12))
def test_killed_at_any_step_of_a_drop_it_is_carried_on(moment: int) -> None:
    house = House(seed=moment, partitions=2)
    table = house.create("orders")
    for key in range(8):
        house.put(table, key, key)
    house.run(house.cluster.store.delete_table("orders"))
    house.pass_time((0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.08, 0.2, 0.6, 1.2, 2.5)[moment])
    for host in house.cluster.hosts:
        host.crash(power=moment % 2 == 1)
    house.cluster.control.crash(power=moment % 2 == 1)
    for host in house.cluster.hosts:
        host.start()
    house.restart_control(up=True)
    house.until(lambda: house.known(table.table_id).status == "DROPPED")
    house.until(lambda: house.known(table.table_id).archived_at is not None)
    assert not any(node.hosting.known(info.partition_id) for node in house.cluster.nodes() for info in table.partitions)
    assert house.cluster.store.table("orders") is None
    assert restore(house, house.known(table.table_id), "back", RestoreTarget(latest=True)) == {key_of(key): key for key in range(8)}
    house.cluster.check_invariants()


def test_a_node_that_was_down_while_the_others_forgot_forgets_too() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    away = house.cluster.hosts[2]
    away.crash(power=False)
    dropped(house, table)
    away.start()
    house.pass_time(5)
    assert not any(node.hosting.known(info.partition_id) for node in house.cluster.nodes() for info in table.partitions)
    assert house.cluster.store.unarchived_bytes() == 0


def test_a_write_behind_a_proposed_last_seal_is_refused_in_the_same_moment() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    leader = house.cluster.leader(table.partitions[0].partition_id)
    assert leader is not None
    sealed: list[Any] = []
    told: list[Any] = []
    leader.seal(Seal.DROP, bytes(16), sealed.append)
    leader.write(put(1, 2, blind=False), told.append)
    leader.write(put(7, None, blind=False), told.append)
    assert [type(one) for one in told] == [Missing, Missing]
    house.until(lambda: bool(sealed))
    house.pass_time(5)
    assert leader.segments.facts.content == 0


def test_the_end_is_noted_only_once_two_members_state_the_same_of_it() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    (info,) = table.partitions
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    leader.seal(Seal.DROP, bytes(16), lambda _: None)
    assert house.world.run(until_us=house.world.now + 5_000_000, stop=lambda: leader.segments.facts.ended > 0)
    assert house.cluster.store.tables.drops.final(info.partition_id) is None
    house.until(lambda: house.cluster.store.tables.drops.final(info.partition_id) is not None)
    final = house.cluster.store.tables.drops.final(info.partition_id)
    assert final is not None
    assert {
        (replica.segments.facts.ended, replica.segments.facts.chain.hex(), replica.total().hex)
        for node in house.cluster.nodes()
        for replica in [node.replicas[info.partition_id]]
    } == {(final.lsn, final.chain, final.digest)}


def test_a_copy_rebuilt_at_the_last_seal_knows_that_nothing_follows() -> None:
    house = House()
    table = house.create("orders")
    house.put(table, 1, 1)
    (info,) = table.partitions
    sealed = house.run(house.cluster.store.seal(info.partition_id, Seal.DROP))
    house.until(lambda: house.service.archived(info.partition_id) >= sealed.lsn)
    reference = house.run(house.references().rebuild(table, info, until=sealed.lsn, progress=None))
    node = next(one for one in house.cluster.nodes() if one.replicas[info.partition_id].term is None)
    heal = house.service.heal(
        info.partition_id,
        node.name,
        rows=reference.rows,
        lsn=reference.lsn,
        stamp=reference.stamp,
        total=reference.digest.total(),
        chain=reference.chain,
        reason="a test",
    )
    house.run(heal)
    facts = node.replicas[info.partition_id].segments.facts
    assert (facts.ended, facts.ended_closed) == (sealed.lsn, sealed.closed)
