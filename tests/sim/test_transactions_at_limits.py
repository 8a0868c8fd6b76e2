"""Transactions where something is at its limit: a log that is full, a quorum that is slow, deletes all the while, a coordinator that dies before it prepared anything, a name that is the ledger's."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Conflict, DiskFull, Invalid, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.sim.whole.commands import SCHEMA, key_of, put
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import LEDGER_TABLE, SYSTEM_TABLES, TableMeta, Throughput
from scrubjay.storage.commands.values import DeleteCommand, FinishCommand, PrepareCommand, PutCommand, WriteAnswer
from scrubjay.storage.control.transactions.decisions import BEGUN, COMMIT, Entry, LockedKey, decode_entry, encode_entry
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.replica import transacting
from tests.sim.story import Story, tell
from tests.sim.test_transactions import ask, begin, part, prepare, write


def test_what_was_decided_or_given_up_is_noted_in_a_ledger_whose_log_is_full() -> None:
    """Nothing is sealed where a transaction is pending, so nothing is archived there: were its end refused for lack of room, there would never be room again."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        ledger = told.cluster.store.transactions.ledger
        entry = Entry("left", b"a" * 16, b"d", BEGUN, told.env.clock.wall_us())
        assert await ledger.swap("left", None, entry) == entry
        assert (await ask(told, low, prepare(low, 2, b"a" * 16, b"left"))).stamp
        for node in told.cluster.nodes():
            node.turn.full = True
        partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        await told.until(lambda: (leader := told.cluster.leader(partition)) is not None and not leader.transactions, seconds=20)
        assert await ledger.read("left") is None
        await told.cluster.store.seal(partition, 0)

    tell(story)


def test_nothing_begins_out_of_the_reserve_of_a_full_log() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        ledger = told.cluster.store.transactions.ledger
        for node in told.cluster.nodes():
            node.turn.full = True
        with pytest.raises(DiskFull):
            await ledger.swap("new", None, Entry("new", b"a" * 16, b"d", BEGUN, told.env.clock.wall_us()))
        with pytest.raises(DiskFull):
            await write(told, part(told, low, 3), part(told, high, 3))

    tell(story)


def test_an_item_given_up_before_it_was_held_is_another_ones_behind_that() -> None:
    """The PREPARE, its ABORT and another's PREPARE are on their way at once: a quorum was slow, and whoever coordinated the first had waited long enough."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        await told.must_put(low, 1)
        partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        leader = told.cluster.leader(partition)
        assert leader is not None
        said: list[Any] = []
        between: list[Any] = []

        def given_up(answer: Any) -> None:
            """The other's PREPARE is on its way still: it holds the item all the same."""
            said.append(answer)
            leader.write(put(low, 9, blind=True), between.append)

        leader.write(prepare(low, 2, b"a" * 16), said.append)
        leader.write(FinishCommand(key_of(low), b"a" * 16, 0), given_up)
        await told.sleep(0.0002)
        assert not said, "both are on their way"
        leader.write(prepare(low, 3, b"b" * 16), said.append)
        await told.until(lambda: len(said) == 3 and bool(between))
        assert isinstance(between[0], Conflict)
        assert said[2].stamp
        refused = await told.put(low, 4)
        assert isinstance(refused, Conflict)
        assert isinstance(await ask(told, low, FinishCommand(key_of(low), b"b" * 16, 0)), WriteAnswer)
        assert isinstance(await told.put(low, 4), WriteAnswer)

    tell(story)


def test_a_leader_does_no_step_of_a_transaction_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PREPARE that comes twice, an end before it or far ahead, and one too many, by their number and by their size."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        leader = told.cluster.leader(partition)
        assert leader is not None
        other = next(
            key for key in range(low + 1, 100) if told.cluster.router.partition_of(told.table(), key_of(key)).partition_id == partition
        )

        async def say(command: Any) -> Any:
            said: list[Any] = []
            leader.write(command, said.append)
            await told.until(lambda: bool(said))
            return said[0]

        held = await say(prepare(low, 2, b"a" * 16))
        assert held.stamp
        assert isinstance(twice := await say(prepare(other, 2, b"a" * 16)), Invalid)
        assert "already" in twice.message
        assert isinstance(early := await say(FinishCommand(key_of(low), b"a" * 16, held.stamp - 1)), Invalid)
        assert "before it was prepared" in early.message
        hour = stamp_of(told.env.clock.wall_us() + 3_600_000_000)
        assert isinstance(far := await say(FinishCommand(key_of(low), b"a" * 16, hour)), Unavailable)
        assert "too far ahead" in far.message
        for name, bound in (("PENDING_MAX", 1), ("PENDING_BYTES_MAX", 0)):
            with monkeypatch.context() as patch:
                patch.setattr(transacting, name, bound)
                answer = await say(prepare(other, 3, b"b" * 16))
                assert (answer.busy, answer.stamp) == (True, 0), name
        assert isinstance(await say(FinishCommand(key_of(low), b"a" * 16, held.stamp)), WriteAnswer)
        # Its end is known to nobody but its partition: to be told of it once more is no fault.
        assert isinstance(await say(FinishCommand(key_of(low), b"a" * 16, held.stamp)), WriteAnswer)
        assert isinstance(await told.put(low, 4), WriteAnswer)
        assert (await say(prepare(other, 3, b"b" * 16))).stamp

    tell(story)


def test_items_that_are_not_there_are_read_while_others_are_deleted() -> None:
    """Between any two readings something else of the partition goes."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        other = next(key for key in range(low + 1, 200) if key_of(key)[:16].hex() < told.table().partitions[1].lo)
        coordinator = told.cluster.store.transactions
        real = coordinator._ask

        async def looked(table: TableMeta, command: Any) -> Any:
            answer = await real(table, command)
            await told.must_put(other, 1)
            await ask(told, other, DeleteCommand(key_of(other), encode_item({"k": ("S", f"key-{other}")}), None))
            return answer

        coordinator._ask = looked  # type: ignore[method-assign]
        read = await told.cluster.store.transact_read([(told.table(), key_of(low)), (told.table(), key_of(high))])
        assert not read.held
        assert read.items == (None, None)

    tell(story)


def test_what_only_began_goes_by_its_time_to_live() -> None:
    """Nothing is pending anywhere, so nobody looks for it."""
    entry = Entry("-x", b"a" * 16, b"d", BEGUN, 1_700_000_000_000_000)
    item = decode_item(encode_entry(entry))
    assert item["expires"] == ("N", "1700000601")
    assert decode_entry(encode_entry(entry)) == entry


def test_nobodys_table_has_the_name_of_the_ledger() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        for name in SYSTEM_TABLES:
            spec = TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
            with pytest.raises(Conflict):
                await told.cluster.store.create_table(spec)
        assert told.cluster.store.metadata.by_name(LEDGER_TABLE) is None
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed

    tell(story)


def test_the_end_of_a_transaction_does_not_wait_for_an_empty_window() -> None:
    """A large record fits an empty window alone, and under writes that go on it is never empty."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        leader = told.cluster.leader(partition)
        assert leader is not None
        assert leader.group is not None
        item = encode_item({"k": ("S", f"key-{low}"), "v": ("S", "x" * 4096)})
        command = PrepareCommand(
            key_of(low), b"a" * 16, b"nobody", (PutCommand(key_of(low), encode_item({"k": ("S", f"key-{low}")}), item, None),)
        )
        assert (await ask(told, low, command)).stamp
        real = leader.group.can_propose
        leader.group.can_propose = lambda size, now: size < 1024 and real(size, now)  # type: ignore[method-assign]
        now_us = stamp_of(told.env.clock.wall_us())
        assert isinstance(await ask(told, low, FinishCommand(key_of(low), b"a" * 16, now_us)), WriteAnswer)
        found = await told.ask(lambda done: told.cluster.store.read(told.table(), key_of(low), consistent=True, done=done))
        assert found.item == item

    tell(story)


def test_a_transaction_whose_last_answer_was_lost_leaves_no_row() -> None:
    """Its COMMIT is everywhere, so nothing is pending and nobody finds it; whoever coordinated it knows of it still."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        coordinator = told.cluster.store.transactions
        real, names = coordinator.finish, []

        async def lost(place: LockedKey, entry: Entry) -> Any:
            answer = await real(place, entry)
            names.append(entry.token)
            if len(names) == 2:
                raise Unavailable("the connection ended", unknown=True)
            return answer

        coordinator.finish = lost  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="decided"):
            await write(told, part(told, low, 1), part(told, high, 1))
        await told.sleep(1)
        assert await coordinator.ledger.read(names[0]) is None
        assert (await told.get(low), await told.get(high)) == (1, 1)

    tell(story)


def test_a_planned_stop_waits_until_a_transaction_is_noted_as_done() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        coordinator = told.cluster.store.transactions
        swaps = coordinator.ledger.swap
        noted = []

        async def slowly(token: str, expect: Entry | None, new: Entry | None) -> Entry | None:
            if expect is not None and expect.state == COMMIT:
                await told.sleep(0.3)
                noted.append(token)
            return await swaps(token, expect, new)

        coordinator.ledger.swap = slowly  # type: ignore[method-assign]
        assert (await write(told, part(told, low, 2), part(told, high, 2), token="one")).committed
        await told.cluster.store.stop(deadline_us=told.env.clock.boot_us() + 10_000_000)
        assert "one" in noted
        entry = await coordinator.ledger.read("one")
        assert entry is not None
        assert entry.done_us

    tell(story)
