"""What a coordinator leaves behind, and who sees to it: one that cannot be ended holds no other up, a decision that was not noted as done is noted later, a flood of transactions leaves room for a SEAL."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from scrubjay.base.errors import Conflict, Invalid, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.storage.catalogue import RestoreOrigin, TableMeta
from scrubjay.storage.commands.values import PutCommand, WriteAnswer
from scrubjay.storage.control.transactions import sweeping
from scrubjay.storage.control.transactions.coordinator import STALE_US
from scrubjay.storage.control.transactions.decisions import BEGUN, COMMIT, KEPT_US, Entry, LockedKey
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.node.moved_facts import STALLED_TOLD_MAX
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import transacting
from tests.sim.story import Story, tell
from tests.sim.test_edge import Edge
from tests.sim.test_transactions import ask, begin, part, prepare, write


def some(told: Story, count: int) -> list[int]:
    """Keys of the first partition."""
    first = told.table().partitions[1].lo
    return [key for key in range(10 * count) if key_of(key)[:16].hex() < first][:count]


async def leave(told: Story, key: int, id_: bytes, token: bytes) -> None:
    """A PREPARE whose coordinator is never heard of again."""
    assert (await ask(told, key, prepare(key, 2, id_, token))).stamp


@pytest.mark.parametrize("reached", [True, False], ids=["the ledger does not answer", "the ledger refuses"])
def test_transactions_that_cannot_be_ended_hold_no_other_up(monkeypatch: pytest.MonkeyPatch, *, reached: bool) -> None:
    """More than are told of at once, and each try takes as long as a request may."""

    async def story(told: Story) -> None:
        await begin(told)
        ledger = told.cluster.store.transactions.ledger
        assert (await write(told, *[part(told, key, 1) for key in some(told, 2)], token="makes the ledger")).committed
        real = ledger.read

        async def read(token: str) -> Entry | None:
            if token.startswith("stuck"):
                if reached:
                    await told.sleep(10)
                raise Unavailable("no leader for this partition in time")
            return await real(token)

        monkeypatch.setattr(ledger, "read", read)
        keys = some(told, 4 * STALLED_TOLD_MAX)
        for at, key in enumerate(keys[:-1]):
            await leave(told, key, bytes([at]) * 16, f"stuck{at}".encode())
        await leave(told, keys[-1], b"f" * 16, b"free")
        await told.until(lambda: told.cluster.control.process.parts.resolver.stalled >= STALLED_TOLD_MAX)
        pending = told.cluster.leader(told.cluster.router.partition_of(told.table(), key_of(keys[0])).partition_id).transactions.of
        await told.until(lambda: b"f" * 16 not in pending, seconds=8)
        assert len(pending) == len(keys) - 1
        assert isinstance(await told.put(keys[-1], 3), WriteAnswer)
        assert isinstance(await told.put(keys[0], 3), Conflict)

    tell(story)


def test_the_part_where_it_is_pending_ends_though_another_partition_cannot_be_reached() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        await told.must_put(low, 1)
        coordinator = told.cluster.store.transactions
        held = await ask(told, low, prepare(low, 2, b"a" * 16, b"-a"))
        places = tuple(LockedKey(told.table().table_id, key_of(key)) for key in (low, high))
        entry = Entry("-a", b"a" * 16, b"d", COMMIT, told.env.clock.wall_us(), held.stamp, places)
        real = coordinator.finish

        async def finish(place: LockedKey, entry: Entry) -> Any:
            if place == places[1]:
                raise Unavailable("no leader for this partition in time")
            return await real(place, entry)

        coordinator.finish = finish  # type: ignore[method-assign]
        assert await coordinator.ledger.swap("-a", None, entry) == entry
        await told.sleep(4)
        assert await told.get(low) == 2
        assert isinstance(await told.put(low, 3), WriteAnswer)
        assert await coordinator.ledger.read("-a") == entry, "the other one may have to ask for it"

    tell(story)


def test_a_transaction_that_stays_pending_is_a_problem_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(3)

    async def story() -> None:
        told, low = Story(edge.world, edge.cluster), 1
        await told.create("t")
        assert (await write(told, part(told, low, 1), token="makes the ledger")).committed
        ledger = told.cluster.store.transactions.ledger
        real = ledger.read

        async def read(token: str) -> Entry | None:
            raise Unavailable("the ledger has no leader")

        monkeypatch.setattr(ledger, "read", read)
        await leave(told, low, b"a" * 16, b"stuck")

        async def pending() -> list[dict[str, Any]]:
            return [one for one in (await edge.ask("GET", "status"))["problems"] if one["kind"] == "transaction-pending"]

        await told.sleep(6)
        assert not await pending(), "what is over by itself in some seconds is none"
        await told.sleep(10)
        (problem,) = await pending()
        assert "the ledger has no leader" in problem["what"]
        assert problem["runbook"] == "runbooks/node-out-of-service.md"
        resolver = edge.cluster.control.process.parts.resolver
        assert resolver.stalled == 1
        assert 8_000_000 < resolver.oldest_us < 20_000_000
        monkeypatch.setattr(ledger, "read", real)
        await told.until(lambda: not resolver.stalled, seconds=40)
        await told.sleep(2)
        assert not await pending()
        assert resolver.oldest_us == 0

    edge.run(story(), seconds=200)


def test_a_decision_that_was_not_noted_as_done_is_noted_once_its_token_may_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGKILL between the last COMMIT and the note: nothing is pending, so nobody asks for the row."""
    monkeypatch.setattr(sweeping, "PAGE_ROWS", 2)

    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        ledger, now_us = told.cluster.store.transactions.ledger, told.env.clock.wall_us()
        places = tuple(LockedKey(told.table().table_id, key_of(key)) for key in (low, high))
        old, young = now_us - KEPT_US - 1_000_000, now_us - KEPT_US + 100_000_000
        rows = [
            Entry(f"{name}-{at}", bytes([at]) * 16, b"d", COMMIT, when, 1, places)
            for name, when in (("c", old), ("y", young))
            for at in range(4)
        ]
        rows += [Entry(f"-{at}", bytes([at]) * 16, b"d", COMMIT, old, 1, places) for at in range(4)]
        for row in rows:
            assert await ledger.swap(row.token, None, row) == row
        await told.sleep(sweeping.REST_S + 10)
        found = {row.token: await ledger.read(row.token) for row in rows}
        assert [token for token, row in found.items() if row is None] == [f"-{at}" for at in range(4)]
        assert [token for token, row in found.items() if row is not None and row.done_us] == [f"c-{at}" for at in range(4)]
        assert told.cluster.control.process.parts.sweep.noted == 8
        assert (await told.get(low), await told.get(high)) == (1, 1)

    tell(story, seconds=200)


@pytest.mark.slow
def test_a_flood_of_transactions_leaves_room_for_a_seal_by_size() -> None:
    """None is left pending for long, and there is none at hardly any moment."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        leader = told.cluster.leader(partition)
        assert leader is not None
        keys = some(told, 8)
        end, committed = told.world.now + 2_500_000, 0

        async def client(mine: list[int]) -> None:
            nonlocal committed
            while told.world.now < end:
                done = await write(told, *[part(told, key, told.world.now) for key in mine], token=f"{mine[0]}-{told.world.now}")
                committed += done.committed

        clients = [told.env.tasks.spawn(client(keys[at : at + 2]), name="client") for at in range(0, 8, 2)]
        seals, waits, drained, longest = set(), 0, 0, 0
        while told.world.now < end:
            await told.sleep(0.005)
            seals.add(leader.segments.facts.last_seal)
            transacting = None if leader.term is None else leader.term.transacting
            draining = transacting is not None and transacting.draining
            waits += draining
            drained = drained + 5 if transacting is not None and draining and not transacting.any else 0
            longest = max(longest, drained)
        for one in clients:
            await one
        assert committed > 30
        assert len(seals) >= 3
        assert waits
        assert longest < 40, "milliseconds: once what was pending has ended, nobody is kept away any longer"

    tell(story, storage=StorageOptions(seal_bytes=5_000, seal_age_us=60_000_000))


def test_what_a_recovered_ledger_cannot_know_is_not_done_again_while_its_token_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a moment between the time that a COMMIT goes by and the writing of that decision, the items are written and the row says `begun`."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        ledger, now_us = told.cluster.store.transactions.ledger, told.env.clock.wall_us()
        table = ledger.known()
        assert table is not None
        cut_us = now_us - STALE_US - 5_000_000
        recovered: TableMeta = replace(table, restore_of=RestoreOrigin(table.table_id, table.name, cut_us, False))
        monkeypatch.setattr(ledger, "known", lambda: recovered)
        before = Entry("before", b"a" * 16, b"d", BEGUN, cut_us - 100_000)
        assert await ledger.swap("before", None, before) == before
        for _ in range(2):
            with pytest.raises(Conflict) as refused:
                await write(told, part(told, low, 2), part(told, high, 2), token="before")
            assert refused.value.fields["transaction"] == "in_progress"
        forgotten = replace(before, token="forgotten", at_us=cut_us - KEPT_US)
        assert await ledger.swap("forgotten", None, forgotten) == forgotten
        assert (await write(told, part(told, low, 2), part(told, high, 2), token="forgotten")).committed
        behind = replace(before, token="behind", at_us=cut_us + 2_000_000)
        assert await ledger.swap("behind", None, behind) == behind
        assert (await write(told, part(told, low, 3), part(told, high, 3), token="behind")).committed, "its coordinator was lost here"
        decided = Entry("decided", b"b" * 16, b"d", COMMIT, cut_us - 100_000, stamp_of(cut_us + 3), (), cut_us)
        for token, effective, repeated in (("decided", stamp_of(cut_us + 3), False), ("done", stamp_of(cut_us), True)):
            row = replace(decided, token=token, effective=effective)
            assert await ledger.swap(token, None, row) == row
            done = await write(told, part(told, low, 4), part(told, high, 4), token=token)
            assert (done.committed, done.repeated) == (True, repeated), "what is effective behind the moment is nowhere"

    tell(story)


def test_no_more_is_read_together_than_a_transaction_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transacting, "TRANSACTION_SIZE_MAX", 100)
    monkeypatch.setattr(transacting, "READ_BYTES_MAX", 3_000)

    async def story(told: Story) -> None:
        low, high = await begin(told)
        one, other, last = some(told, 3)

        async def fill(key: int, attribute: Any) -> None:
            command = put(key, 1, blind=True)
            assert isinstance(command, PutCommand)
            assert isinstance(
                await ask(told, key, replace(command, item=encode_item({"k": ("S", f"key-{key}"), "v": attribute}))), WriteAnswer
            )

        async def read(*keys: int) -> list[bytes | None]:
            found = await told.cluster.store.transact_read([(told.table(), key_of(key)) for key in keys])
            return list(found.items)

        for key in (one, other, high):
            await fill(key, ("S", "x" * 60))
        await fill(last, ("NS", tuple([f"1{'0' * (120 + at)}" for at in range(4)])))  # few bytes by DynamoDB's count
        assert None not in await read(one, high), "what all partitions hold is counted by who asks"
        assert None not in await read(last)
        for keys in ((one, other), (one, other, high)):
            with pytest.raises(Invalid) as refused:
                await read(*keys)
            assert refused.value.fields["transaction"] == "too_large"
        await fill(last, ("NS", tuple([f"1{'0' * at}" for at in range(90, 125)])))
        with pytest.raises(Invalid) as refused:
            await read(last)
        assert refused.value.fields["transaction"] == "too_large", "more than an answer may hold"
        assert None not in await read(one)
        assert low == one

    tell(story)
