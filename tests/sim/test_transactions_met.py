"""Who meets a transaction that is under way, whatever he does to its items; and who comes again with its token: at once, with something else, when its time is over, after a fail-over, after a restart of
everything."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scrubjay.base.errors import Conflict
from scrubjay.base.together import gather
from scrubjay.sim.whole.commands import cas, key_of, put, value_of
from scrubjay.storage.backend import Transacted, TransactPart
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    DeleteCommand,
    ExpireCommand,
    PrepareCommand,
    RangeAnswer,
    RangeRead,
    ReadAnswer,
    UpdateCommand,
    WriteAnswer,
)
from scrubjay.storage.control.transactions.decisions import BEGUN, COMMIT, KEPT_US, Entry
from scrubjay.storage.items.encoding import encode_item, encode_value
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.tree import FunctionNode, PathNode
from tests.sim.story import Story, tell
from tests.sim.test_transacting_leader import leader_of
from tests.sim.test_transactions import ask, begin, part, write


def key_item(key: int) -> bytes:
    return encode_item({"k": ("S", f"key-{key}")})


async def seen(told: Story, key: int) -> list[int | None]:
    """Its value by a strong read, by one that may be late, and by a walk over its partition."""
    table, info = told.table(), told.cluster.router.partition_of(told.table(), key_of(key))
    found: list[int | None] = []
    for consistent in (True, False):
        answer = await told.ask(lambda done, way=consistent: told.cluster.store.read(table, key_of(key), consistent=way, done=done))
        assert isinstance(answer, ReadAnswer), answer
        found.append(value_of(answer.item))
    walk = RangeRead(b"", None, 100, 1 << 20, reverse=False, consistent=True)
    answer = await told.ask(lambda done: told.cluster.store.read_range(table, info, walk, done))
    assert isinstance(answer, RangeAnswer), answer
    return [*found, next((value_of(item) for place, item in answer.rows if place == key_of(key)), None)]


async def ready_again(told: Story) -> None:
    await told.cluster.up()
    await told.until(lambda: told.cluster.ready and not told.cluster.store.unhosted())


async def restart(told: Story) -> None:
    """Of every node, without power."""
    told.cluster.control.crash(power=True)
    for host in told.cluster.hosts:
        host.crash(power=True)
    await told.sleep(1)
    for host in told.cluster.hosts:
        host.start()
    told.cluster.control.start()
    await ready_again(told)


def test_an_item_that_a_transaction_holds_is_written_by_nobody_and_read_by_everybody() -> None:
    """By no kind of single write, whether its condition would hold or not; nor is one that is only checked. The next leader holds it too."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        other = next(key for key in range(low + 1, 200) if key_of(key)[:16].hex() < told.table().partitions[1].lo)
        for key in (low, other):
            await told.must_put(key, 1)
        told.cluster.control.process.parts.resolver.stop()  # its coordinator is lost, and nobody looks for it
        there = Condition(FunctionNode("attribute_exists", (PathNode(("k",)),)))
        parts = (put(low, 2, blind=False), CheckCommand(key_of(other), key_item(other), there))
        held = await ask(told, low, PrepareCommand(key_of(low), b"a" * 16, b"nobody", parts))  # type: ignore[arg-type]
        assert held.stamp

        async def met() -> None:
            for key in (low, other):
                singles = [
                    put(key, 3, blind=True),
                    put(key, 3, blind=False),
                    cas(key, 1, 3),
                    cas(key, 7, 3),
                    DeleteCommand(key_of(key), key_item(key)),
                    UpdateCommand(key_of(key), key_item(key), None),
                    ExpireCommand(key_of(key), key_item(key), "v", encode_value(("N", "1"))),
                ]
                for single in singles:
                    refused = await ask(told, key, single)
                    assert isinstance(refused, Conflict), (single, refused)
                    assert refused.fields["what"] == "transaction"
                assert await seen(told, key) == [1, 1, 1]
                assert [one.decision for one in (await write(told, part(told, key, 3), part(told, high, 3))).outcomes] == [
                    Decision.LOCKED,
                    Decision.PUT,
                ]
            read = await told.cluster.store.transact_read([(told.table(), key_of(key)) for key in (low, high, other)])
            assert read.held == (0, 2)

        await met()
        leader = leader_of(told, low)
        told.host(leader.node.name).crash(power=True)
        await told.until(lambda: (new := told.cluster.leader(leader.partition)) is not None and new.node.name != leader.node.name)
        await met()
        told.cluster.control.process.parts.resolver.start()
        await told.until(lambda: told.cluster.control.process.parts.resolver.stalled)
        await told.until(lambda: not told.cluster.control.process.parts.resolver.stalled)
        assert isinstance(await ask(told, low, cas(low, 1, 3)), WriteAnswer)

    tell(story)


async def again(told: Story, *parts: TransactPart) -> None:
    """The token is of these, and they are done already; of anything else it is not."""
    done = await write(told, *parts, token="one")
    assert (done.committed, done.repeated) == (True, True)
    with pytest.raises(Conflict) as other:
        await write(told, *parts, token="one", digest=b"other")
    assert other.value.fields["transaction"] == "mismatch"


def test_a_token_is_remembered_over_a_fail_over_and_a_restart_of_everything() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        parts = part(told, low, 1, expected=None), part(told, high, 1, expected=None)
        assert (await write(told, *parts, token="one")).committed
        ledger = told.cluster.store.transactions.ledger.known()
        assert ledger is not None
        for partition in (leader_of(told, low).partition, leader_of(told, high).partition, ledger.partitions[0].partition_id):
            leader = told.cluster.leader(partition)
            assert leader is not None
            told.host(leader.node.name).crash(power=True)
            await told.until(lambda at=partition, gone=leader: told.cluster.leader(at) not in (None, gone))
            await again(told, *parts)
            told.host(leader.node.name).start()
            await told.sleep(2)
        await restart(told)
        await again(told, *parts)
        assert (await told.get(low), await told.get(high)) == (1, 1)
        await told.must_put(low, 5)
        await again(told, *parts)
        assert await told.get(low) == 5, "done once"

    tell(story)


def test_once_its_ten_minutes_are_over_a_token_is_anybodys() -> None:
    """From when the transaction was done everywhere, not from when it began."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        first = part(told, low, 1), part(told, high, 1)
        assert (await write(told, *first, token="one")).committed
        await told.sleep(1)
        ledger = told.cluster.store.transactions.ledger

        async def aged(since_us: int) -> None:
            """It was done so long ago, and began a minute before."""
            row = await ledger.read("one")
            assert row is not None
            assert (row.state, bool(row.done_us)) == (COMMIT, True)
            now_us = told.env.clock.wall_us()
            old: Entry = replace(row, at_us=now_us - since_us - 60_000_000, done_us=now_us - since_us)
            assert await ledger.swap("one", row, old) == old

        await aged(KEPT_US - 1_000_000)
        await again(told, *first)
        await aged(KEPT_US + 1_000_000)
        second = part(told, low, 2), part(told, high, 2)
        done = await write(told, *second, token="one", digest=b"other")
        assert (done.committed, done.repeated) == (True, False), "something else"
        await told.sleep(1)
        with pytest.raises(Conflict):
            await write(told, *first, token="one")
        await aged(KEPT_US + 1_000_000)
        done = await write(told, *second, token="one", digest=b"other")
        assert (done.committed, done.repeated) == (True, False), "or the same, which is done once more"
        for age_us, taken in ((KEPT_US - 1_000_000, False), (KEPT_US + 1_000_000, True)):
            begun = Entry("begun", bytes(16), b"d", BEGUN, told.env.clock.wall_us() - age_us)
            assert await ledger.swap("begun", await ledger.read("begun"), begun) == begun
            if taken:
                assert (await write(told, *first, token="begun", digest=b"other")).committed, "nobody carried it to its end"
                continue
            with pytest.raises(Conflict) as other:
                await write(told, *first, token="begun", digest=b"other")
            assert other.value.fields["transaction"] == "mismatch"

    tell(story)


def test_two_calls_with_one_token_at_once_are_one_transaction() -> None:
    async def story(told: Story) -> None:
        low, high = await begin(told)
        for key in (low, high):
            await told.must_put(key, 1)
        parts = part(told, low, 2, expected=1), part(told, high, 2, expected=1)
        calls = [write(told, *parts, token="one") for _ in range(3)] + [write(told, *parts, token="one", digest=b"other")]
        *same, other = await gather(told.env.tasks, calls, name="at once")
        done = [one for one in same if isinstance(one, Transacted) and not one.repeated]
        assert [one.committed for one in done] == [True]
        told_of = {str(one.fields.get("transaction")) for one in same if isinstance(one, Conflict)}
        assert told_of == {"in_progress"}
        assert isinstance(other, Conflict)
        assert other.fields["transaction"] == "mismatch"
        await again(told, *parts)

    tell(story)
