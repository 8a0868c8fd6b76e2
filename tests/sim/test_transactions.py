"""Transactions on a whole cluster of the real classes, step by step: what holds what, who ends what a dead coordinator left, what a copy knows after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Conflict, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.sim.whole.commands import cas, key_of, put
from scrubjay.storage.backend import Transacted, TransactPart
from scrubjay.storage.commands.values import Decision, FinishCommand, PrepareCommand, PutCommand, TransactAnswer, WriteAnswer
from tests.sim.story import Story, tell


def two(story: Story) -> None:
    """Two partitions for every table made from now on."""
    tables = story.cluster.store.tables
    tables.initial_partitions = lambda: tables.new_partitions(2)  # type: ignore[method-assign]


def keys(story: Story) -> tuple[int, int]:
    """A key in each of the two partitions."""
    first = story.table().partitions[1].lo
    low = next(key for key in range(100) if key_of(key)[:16].hex() < first)
    high = next(key for key in range(100) if key_of(key)[:16].hex() >= first)
    return low, high


async def begin(story: Story) -> tuple[int, int]:
    story.cluster.start()
    await story.cluster.up()
    two(story)
    await story.create("t")
    await story.sleep(0.5)
    return keys(story)


def part(story: Story, key: int, value: int, *, expected: int | str | None = "any") -> TransactPart:
    command = put(key, value, blind=False) if isinstance(expected, str) else cas(key, expected, value)
    assert isinstance(command, PutCommand)
    return TransactPart(story.table(), command)


async def write(story: Story, *parts: TransactPart, token: str | None = None, digest: bytes = b"d") -> Transacted:
    return await story.cluster.store.transact_write(parts, token=token, digest=digest)


async def ask(story: Story, key: int, command: Any) -> Any:
    return await story.ask(lambda done: story.cluster.router.write(story.table(), command, done))


def prepare(key: int, value: int, id_: bytes, token: bytes = b"nobody") -> PrepareCommand:
    return PrepareCommand(key_of(key), id_, token, (put(key, value, blind=False),))  # type: ignore[arg-type]


def test_all_of_a_transaction_is_written_or_nothing() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        done = await write(told, part(told, low, 1), part(told, high, 1))
        assert done.committed
        assert done.stamp
        assert (await told.get(low), await told.get(high)) == (1, 1)
        failed = await write(told, part(told, low, 2), part(told, high, 2, expected=7))
        assert not failed.committed
        assert [one.decision for one in failed.outcomes] == [Decision.PUT, Decision.CONDITION_FAILED]
        assert (await told.get(low), await told.get(high)) == (1, 1)
        again = await write(told, part(told, low, 3, expected=1), part(told, high, 3, expected=1))
        assert again.committed, "what was given up holds nothing"
        assert (await told.get(low), await told.get(high)) == (3, 3)

    tell(story)


def test_a_held_item_is_written_by_nobody_else_and_read_as_it_was() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        await told.must_put(low, 1)
        held = await ask(told, low, prepare(low, 2, bytes(16)))
        assert isinstance(held, TransactAnswer)
        assert held.stamp
        refused = await told.put(low, 3)
        assert isinstance(refused, Conflict)
        assert refused.fields["what"] == "transaction"
        other = await write(told, part(told, low, 4), part(told, high, 4))
        assert [one.decision for one in other.outcomes] == [Decision.LOCKED, Decision.PUT]
        assert await told.get(low) == 1
        read = await told.cluster.store.transact_read([(told.table(), key_of(low)), (told.table(), key_of(high))])
        assert read.held == (0,)

    tell(story)


def test_what_a_dead_coordinator_left_is_ended_by_what_the_ledger_says() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        held = await ask(told, low, prepare(low, 2, b"a" * 16))
        assert held.stamp
        await told.sleep(6)
        assert await told.get(low) == 1
        assert isinstance(await told.put(low, 3), WriteAnswer), "nothing was decided, so it is given up"

    tell(story)


def test_a_commit_that_did_not_reach_a_partition_reaches_it_later() -> None:
    """The coordinator dies between the two: the other half comes all the same, over a restart of every node."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        await write(told, part(told, low, 1), part(told, high, 1))
        coordinator = told.cluster.store.transactions
        real, sent = coordinator.finish, []

        async def once(place: Any, entry: Any) -> Any:
            sent.append(place)
            if len(sent) > 1:
                await told.sleep(1000)
            return await real(place, entry)

        coordinator.finish = once  # type: ignore[method-assign]
        told.env.tasks.spawn(write(told, part(told, low, 2), part(told, high, 2)), name="cut off")
        await told.until(lambda: len(sent) > 1)
        await told.sleep(2.5)  # a checkpoint has it, and the log above holds nothing of it
        told.cluster.control.crash(power=False)
        for host in told.cluster.hosts:
            host.crash(power=True)
        await told.sleep(1)
        for host in told.cluster.hosts:
            host.start()
        told.cluster.control.start()
        await told.cluster.up()
        await told.until(lambda: not told.cluster.store.unhosted())
        await told.sleep(6)
        assert (await told.get(low), await told.get(high)) == (2, 2)

    tell(story)


def test_no_seal_is_written_while_a_transaction_is_pending() -> None:
    async def story(told: Story) -> None:
        low, _ = await begin(told)
        told.partition = told.cluster.router.partition_of(told.table(), key_of(low)).partition_id
        await told.must_put(low, 1)
        assert (await ask(told, low, prepare(low, 2, b"a" * 16))).stamp
        with pytest.raises(Unavailable, match="pending"):
            await told.cluster.store.seal(told.partition, 0)
        busy = (
            await ask(told, low + 1, prepare(low + 1, 2, b"b" * 16)) if key_of(low + 1)[:16].hex() < told.table().partitions[1].lo else None
        )
        assert busy is None or busy.busy
        assert isinstance(await ask(told, low, FinishCommand(key_of(low), b"a" * 16, 0)), TransactAnswer)
        await told.cluster.store.seal(told.partition, 0)

    tell(story)


def test_no_moment_between_a_prepare_and_its_end_is_called_closed() -> None:
    """A COMMIT is effective long before its own stamp: whoever read up to a moment in between would see it at one partition and not at another."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        await told.must_put(low, 1)
        leader = told.cluster.leader(told.cluster.router.partition_of(told.table(), key_of(low)).partition_id)
        assert leader is not None
        moments: list[int] = []

        async def watch(seconds: float) -> None:
            for _ in range(round(seconds / 0.02)):
                await told.sleep(0.02)
                point = leader.closed_point()
                if point is not None:
                    moments.append(point[0])

        held = await ask(told, low, prepare(low, 2, b"a" * 16))
        await watch(1.5)
        assert moments[-1] == held.stamp - 1, "and so far it comes"
        assert isinstance(await ask(told, low, FinishCommand(key_of(low), b"a" * 16, held.stamp)), TransactAnswer)
        ended = stamp_of(told.env.clock.wall_us())
        await watch(8)
        assert moments[-1] > ended
        assert not [moment for moment in moments if held.stamp <= moment < ended - (100_000 << 12)]

    tell(story)


def test_a_token_is_remembered() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        parts = part(told, low, 1, expected=None), part(told, high, 1, expected=None)
        assert (await write(told, *parts, token="one")).committed
        again = await write(told, *parts, token="one")
        assert again.committed
        assert again.repeated, "the same call: done already"
        with pytest.raises(Conflict) as other:
            await write(told, *parts, token="one", digest=b"other")
        assert other.value.fields["transaction"] == "mismatch"
        assert not (await write(told, *parts, token="two")).committed
        assert not (await write(told, *parts, token="two")).committed, "one that was cancelled is tried again"

    tell(story)
