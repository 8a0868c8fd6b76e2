"""What a node does for a coordinator ends by itself when that one is gone, and loses nothing when a message is lost: heals, holds, pins, row files."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, DiskFull, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.control.pinned import KEEP_S
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node import pins as pins_module
from scrubjay.storage.node.node import Node
from scrubjay.storage.node.port import Fine
from scrubjay.storage.node.spool import FOLDER, IDLE_S
from scrubjay.storage.replica import Replica, checkpoints
from tests.unit.control.house import House
from tests.unit.control.test_heal_races import MOMENTS_MS, VICTIM, begin, heal, outcome


def node_of(house: House, name: str = VICTIM) -> Node:
    (node,) = [one for one in house.cluster.nodes() if one.name == name]
    return node


def copy(house: House, partition: str, name: str = VICTIM) -> Replica:
    return node_of(house, name).replicas[PartitionId(partition)]


def spooled(house: House) -> list[str]:
    (host,) = [one for one in house.cluster.hosts if one.name == VICTIM]
    return host.disk.listdir(FOLDER)


def intercept(house: House, kind: type[Any], how: Any) -> None:
    """Every request of this kind to the victim goes through `how(request, done, go on)`."""
    door: Any = house.service._fleet.ports[NodeName(VICTIM)]
    ask = door.ask

    def asked(request: Any, done: Any, **options: Any) -> None:
        if isinstance(request, kind):
            how(request, done, lambda one, heard: ask(one, heard, **options))
        else:
            ask(request, done, **options)

    door.ask = asked


@pytest.mark.parametrize("ms", MOMENTS_MS)
def test_a_heal_goes_on_without_its_control_part_and_ends(ms: int) -> None:
    """Nobody asks about it any more: the copy serves all the same, or was never touched."""
    house = House()
    _, partition, reference = begin(house)
    house.cluster.control.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    house.pass_time(ms / 1000)
    house.cluster.control.crash(power=False)
    house.pass_time(IDLE_S + 5)
    assert (copy(house, partition).status.tree, spooled(house)) == ("ok", [])
    assert not node_of(house).services.healing.busy(PartitionId(partition))
    assert not house.cluster.broken


def test_a_second_heal_beside_the_first_is_refused_and_sends_nothing() -> None:
    house = House()
    _, partition, reference = begin(house)
    first = house.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    while not node_of(house).services.healing.busy(PartitionId(partition)):
        assert house.world.step()
    refused = house.run(outcome(heal(house, partition, reference)))
    assert isinstance(refused, Unavailable)
    assert refused.fields["refused"] is True
    house.until(first.done)
    assert not isinstance(first.result(), ScrubjayError), first.result()
    assert house.service.heals == {(VICTIM, "done"): 1}


def test_a_copy_removed_while_its_tree_is_made_leaves_no_tree() -> None:
    house = House()
    _, partition, reference = begin(house)
    work = house.env.tasks.spawn(outcome(heal(house, partition, reference)), name="heal")
    trees = house.cluster.trees[NodeName(VICTIM)]
    while copy(house, partition).state != "healing" or PartitionId(partition) in trees.trees:
        assert house.world.step()
    node_of(house).hosting.forget(PartitionId(partition))
    healing = node_of(house).services.healing
    house.until(lambda: work.done() and not healing.busy(PartitionId(partition)))
    assert isinstance(work.result(), ScrubjayError)
    assert PartitionId(partition) not in trees.trees
    assert not house.cluster.broken


@pytest.mark.slow
def test_a_hold_of_the_log_ends_with_its_owner_and_not_before() -> None:
    house = House()
    _, partition, _ = begin(house)
    replicas = [node.replicas[PartitionId(partition)] for node in house.cluster.nodes()]
    let_go = house.run(house.service.keep_log(PartitionId(partition), Lsn(3)))
    house.run(house.service.keep_log(PartitionId(partition), Lsn(2)))
    house.pass_time(2 * messages.LEASE_S)
    assert [sorted(one.checkpoints._holds) for one in replicas] == [[2, 3]] * 3, "it is renewed for as long as it is wanted"
    let_go()
    house.pass_time(1)
    assert [sorted(one.checkpoints._holds) for one in replicas] == [[2]] * 3
    house.cluster.control.crash(power=False)
    house.pass_time(messages.LEASE_S / 2)
    assert [sorted(one.checkpoints._holds) for one in replicas] == [[2]] * 3
    house.pass_time(messages.LEASE_S)
    assert [sorted(one.checkpoints._holds) for one in replicas] == [[]] * 3


@pytest.mark.slow
def test_a_hold_lives_from_its_last_renewal() -> None:
    house = House()
    _, partition, _ = begin(house)
    hold = messages.Hold(PartitionId(partition), "lease", Lsn(3))
    for _ in range(2):
        house.run(house.service._asking.ask(NodeName(VICTIM), hold, Fine))
        house.pass_time(messages.LEASE_S - 5)
    assert sorted(copy(house, partition).checkpoints._holds) == [3]
    house.pass_time(10)
    assert sorted(copy(house, partition).checkpoints._holds) == []


def test_a_copy_that_comes_up_while_its_log_is_kept_keeps_it_too() -> None:
    house = House()
    _, partition, _ = begin(house)
    (host,) = [one for one in house.cluster.hosts if one.name == VICTIM]
    host.crash(power=False)
    house.run(house.service.keep_log(PartitionId(partition), Lsn(3)))
    host.start()
    house.pass_time(messages.RENEW_S + 5)
    assert sorted(copy(house, partition).checkpoints._holds) == [3]


def test_a_chunk_that_came_damaged_or_was_not_answered_is_sent_again() -> None:
    house = House()
    _, partition, reference = begin(house)
    seen: list[str] = []

    def spoil(chunk: messages.RowFileChunk, done: Any, go_on: Any) -> None:
        seen.append("chunk")
        if len(seen) == 1:
            go_on(messages.RowFileChunk(chunk.spooled, chunk.offset, chunk.data[:-1] + bytes([chunk.data[-1] ^ 1]), chunk.crc), done)
        elif len(seen) == 2:
            go_on(chunk, lambda _: done(Unavailable("no answer in time", unknown=True)))
        else:
            go_on(chunk, done)

    intercept(house, messages.RowFileChunk, spoil)
    found = house.run(outcome(heal(house, partition, reference)))
    assert isinstance(found, str), found
    assert (len(seen), copy(house, partition).state, spooled(house)) == (3, "ok", [])


def test_answers_about_an_errand_may_be_lost() -> None:
    house = House()
    _, partition, reference = begin(house)
    lost: list[messages.Look] = []

    def lose(look: messages.Look, done: Any, go_on: Any) -> None:
        lost.append(look)
        go_on(look, done if len(lost) % 2 == 0 else lambda _: done(Unavailable("no answer in time", unknown=True)))

    intercept(house, messages.Look, lose)
    found = house.run(outcome(heal(house, partition, reference)))
    assert (found, len(lost) >= 4) == (f"nodes/{VICTIM}/quarantine/{partition}-1", True)
    assert copy(house, partition).state == "ok"


def test_that_an_errand_was_begun_may_be_lost_and_it_is_begun_once() -> None:
    house = House()
    _, partition, reference = begin(house)
    begun: list[messages.Begin] = []

    def lose(request: messages.Begin, done: Any, go_on: Any) -> None:
        begun.append(request)
        go_on(request, done if len(begun) > 1 else lambda _: done(Unavailable("no answer in time", unknown=True)))

    intercept(house, messages.Begin, lose)
    assert house.run(outcome(heal(house, partition, reference))) == f"nodes/{VICTIM}/quarantine/{partition}-1"
    assert [one.id for one in begun] == [begun[0].id] * 2
    assert copy(house, partition).state == "ok"


def test_where_the_old_tree_lies_is_noted_though_the_heal_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    table, partition, reference = begin(house)
    house.checkpointed(table, 12)
    house.rot(VICTIM, table, 5)
    engine: Any = node_of(house).engine
    monkeypatch.setattr(
        engine, "load", lambda partition, path, state, done, **_: engine.later(1, lambda: done(Corrupt("not a row file", what="rowfile")))
    )
    assert house.run(house.service.survey(PartitionId(partition), NodeName(VICTIM))) == 0, "it serves"
    node_of(house).finding(copy(house, partition), kind="unreadable", found_by="read", storage_key=b"k" * 16, detail="a test")
    house.until(lambda: bool(house.service.findings(PartitionId(partition))))
    assert isinstance(house.run(outcome(heal(house, partition, reference))), Corrupt)
    (found,) = house.service.findings(PartitionId(partition))
    assert found.evidence == f"nodes/{VICTIM}/quarantine/{partition}-1"
    assert (copy(house, partition).state, spooled(house)) == ("suspect", [])


def test_rows_of_a_pinned_copy_come_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    _, partition, _ = begin(house)
    seal = house.run(house.service.seal(PartitionId(partition), reason=Seal.SCRUB))
    pin = house.run(house.service.pin(PartitionId(partition), NodeName(VICTIM), seal.lsn, timeout_s=20.0))
    whole = house.run(pin.rows(b"", None))
    monkeypatch.setattr(pins_module, "PAGE_ROWS", 5)
    paged = house.run(pin.rows(b"", None))
    monkeypatch.setattr(pins_module, "KEYS_BYTES_MAX", 60)
    assert (len(whole), paged, house.run(pin.rows(b"", None))) == (12, whole, whole)
    pin.release()
    house.pass_time(1)
    with pytest.raises(Unavailable):
        house.run(pin.digest(bytes_per_second=None))


def test_what_was_read_of_a_pin_that_ended_meanwhile_is_not_told() -> None:
    house = House()
    _, partition, _ = begin(house)
    seal = house.run(house.service.seal(PartitionId(partition), reason=Seal.SCRUB))
    pin = house.run(house.service.pin(PartitionId(partition), NodeName(VICTIM), seal.lsn, timeout_s=20.0))
    scan = house.env.tasks.spawn(outcome(pin.digest(bytes_per_second=None)), name="scan")
    house.world.run(until_us=house.world.now + 100)
    copy(house, partition).checkpoints.unpin(seal.lsn)
    house.until(scan.done)
    assert isinstance(scan.result(), Unavailable)


def test_an_abandoned_table_waits_for_loads_that_nobody_asks_about_any_more() -> None:
    """A worker writes into the folder that is about to be removed."""
    house = House()
    table, _, _ = begin(house)
    house.pass_time(6)
    at = house.run(house.restore.preparing.look(table))[1].latest_us
    intercept(house, messages.Receive, lambda _, done, go_on: done(Unavailable("too many row files", files=16)))
    house.run(house.restore.start(table, "back", RestoreTarget(at_us=at)))
    house.until(lambda: house.cluster.store.table("back") is not None and bool(house.table("back").partitions))
    target = house.table("back")
    partition = target.partitions[0].partition_id
    house.until(lambda: partition in node_of(house).replicas)
    healing = node_of(house).services.healing
    healing._work(partition, 1)
    abandoning = house.env.tasks.spawn(outcome(house.service.abandon(target.table_id)), name="abandon")
    house.pass_time(5)
    assert (abandoning.done(), partition in node_of(house).replicas) == (False, True)
    healing._work(partition, -1)
    house.until(abandoning.done)
    house.until(lambda: partition not in node_of(house).replicas)


def test_a_copy_that_waits_for_no_base_takes_none() -> None:
    house = House()
    partition = house.create("orders").partitions[0].partition_id
    load = messages.Load(partition, 1, messages.Sum.of(Total(0, 0)))
    refused = house.run(outcome(house.service._asking.errand(NodeName(VICTIM), load, messages.Loaded)))
    assert isinstance(refused, Unavailable)
    assert refused.fields["state"] == copy(house, partition).state == "ok"


def pins_of(house: House, partition: str) -> list[int]:
    return sorted(copy(house, partition).checkpoints._pins)


def pinned(house: House, partition: str) -> tuple[Lsn, Any]:
    seal = house.run(house.service.seal(PartitionId(partition), reason=Seal.SCRUB))
    return seal.lsn, house.run(house.service.pin(PartitionId(partition), NodeName(VICTIM), seal.lsn, timeout_s=20.0))


@pytest.mark.slow
def test_a_pin_lives_as_long_as_it_is_read_and_ends_with_its_reader() -> None:
    house = House()
    _, partition, _ = begin(house)
    lsn, pin = pinned(house, partition)
    house.pass_time(3 * STORAGE.pin_timeout_us / 1e6)
    assert house.run(pin.digest(bytes_per_second=None)).bytes_read > 0
    pin.release()
    house.pass_time(1)
    assert pins_of(house, partition) == []
    lsn, pin = pinned(house, partition)
    house.cluster.control.crash(power=False)
    house.pass_time(STORAGE.pin_timeout_us / 1e6 - 20)
    assert pins_of(house, partition) == [lsn]
    house.pass_time(40)
    assert pins_of(house, partition) == []


@pytest.mark.slow
def test_a_pin_has_a_longest_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PIN_LIFE_US", 2 * STORAGE.pin_timeout_us)
    house = House()
    _, partition, _ = begin(house)
    _, pin = pinned(house, partition)
    house.pass_time(2 * STORAGE.pin_timeout_us / 1e6 + 1)
    ended = house.run(outcome(pin.digest(bytes_per_second=None)))
    assert isinstance(ended, Unavailable)
    assert ended.fields["pin"] == "lost"


def test_a_node_whose_log_is_full_gives_its_pins_up_before_their_time() -> None:
    house = House()
    _, partition, _ = begin(house)
    _, pin = pinned(house, partition)
    node_of(house).turn.full = True
    house.pass_time(KEEP_S + 5)
    assert pins_of(house, partition) == []
    assert isinstance(house.run(outcome(pin.rows(b"", None))), Unavailable)


def test_a_copy_whose_tree_takes_no_checkpoints_gives_its_pin_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pin keeps every page that was replaced since, and writes are refused in the end while there is room in the log."""
    house = House()
    table, partition, _ = begin(house)
    _, pin = pinned(house, partition)
    monkeypatch.setattr(type(copy(house, partition).tree), "checkpoint", lambda tree, changes, state, done: done(DiskFull("no room")))
    house.put(table, 5, 6)
    house.until(lambda: copy(house, partition).checkpoints.failure is not None)
    assert not node_of(house).full
    house.pass_time(KEEP_S + 5)
    assert pins_of(house, partition) == []
    assert isinstance(house.run(outcome(pin.rows(b"", None))), Unavailable)


def test_damage_that_was_met_in_a_pin_that_had_ended_is_none() -> None:
    house = House()
    _, partition, _ = begin(house)
    lsn, pin = pinned(house, partition)
    (tree,) = [one.tree for one in copy(house, partition).checkpoints._pins.values()]
    asked: list[Any] = []
    tree.digest = lambda lo, hi, *, bytes_per_second, done, **_: asked.append(done)  # type: ignore[union-attr, method-assign, misc]
    scan = house.env.tasks.spawn(outcome(pin.digest(bytes_per_second=None)), name="scan")
    house.until(lambda: bool(asked))
    copy(house, partition).checkpoints.unpin(lsn)
    asked.pop()(Corrupt("a page of it was used again", what="tree"))
    house.until(scan.done)
    assert isinstance(scan.result(), Unavailable), scan.result()


def test_a_released_pin_is_asked_about_no_more() -> None:
    house = House()
    _, partition, _ = begin(house)
    asked: list[Any] = []
    _, pin = pinned(house, partition)
    intercept(house, messages.KeepPin, lambda request, done, go_on: (asked.append(request), go_on(request, done)))
    house.pass_time(KEEP_S + 1)
    assert len(asked) == 1
    pin.release()
    house.pass_time(3 * KEEP_S)
    assert len(asked) == 1
