"""What a leader does for transactions, guard by guard: no room, rot, what is only prepared, what a SEAL ends, who is asked after."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import DiskFull, NotLeader
from scrubjay.sim.whole.commands import cas, key_of, put
from scrubjay.storage.commands.values import Decision, FinishCommand, LookCommand, PrepareCommand, TransactAnswer, WriteAnswer
from scrubjay.storage.control.transactions.decisions import COMMIT, Entry
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.transacting import STALLED_US
from tests.sim.story import Story, tell
from tests.sim.test_transactions import begin, part, prepare, write


def leader_of(told: Story, key: int) -> Replica:
    found = told.cluster.leader(told.cluster.router.partition_of(told.table(), key_of(key)).partition_id)
    assert found is not None
    return found


async def say(told: Story, leader: Replica, *commands: Any) -> list[Any]:
    """What the leader answers to commands that are given to it in one moment."""
    said: list[Any] = [None] * len(commands)

    def into(at: int) -> Any:
        def done(answer: Any) -> None:
            said[at] = answer

        return done

    for at, command in enumerate(commands):
        leader.write(command, into(at))
    await told.until(lambda: None not in said)
    return said


def whole(key: int, value: int) -> PrepareCommand:
    return PrepareCommand(key_of(key), b"w" * 16, b"whole", (put(key, value, blind=False),), whole=True)  # type: ignore[arg-type]


def test_a_full_log_takes_no_transaction_and_ends_the_one_that_is_pending() -> None:
    """Also one whose row of the ledger was written while there was room."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        await told.must_put(low, 1)
        leader = leader_of(told, low)
        leader.node.turn.full = True
        for command in (prepare(low, 2, b"a" * 16), whole(low, 2)):
            (refused,) = await say(told, leader, command)
            assert isinstance(refused, DiskFull)
        leader.node.turn.full = False
        (held,) = await say(told, leader, prepare(low, 2, b"b" * 16))
        assert held.stamp, "what was refused holds nothing"
        leader.node.turn.full = True
        (ended,) = await say(told, leader, FinishCommand(key_of(low), b"b" * 16, held.stamp))
        assert isinstance(ended, TransactAnswer)
        leader.node.turn.full = False
        assert await told.get(low) == 2

    tell(story)


def test_whoever_is_evaluated_next_sees_what_is_committed_and_nothing_that_is_only_prepared() -> None:
    """All on their way at once, under one term."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        await told.must_put(low, 1)
        leader = leader_of(told, low)
        given_up = [prepare(low, 2, b"a" * 16), put(low, 7, blind=True), FinishCommand(key_of(low), b"a" * 16, 0), cas(low, 1, 3)]
        held, refused, _, written = await say(told, leader, *given_up)
        assert held.stamp
        assert type(refused).__name__ == "Conflict", "held from the moment that its PREPARE is proposed"
        assert written.outcome.decision is Decision.PUT, "what was prepared and given up was never there"
        (held,) = await say(told, leader, prepare(low, 4, b"b" * 16))
        _, written = await say(told, leader, FinishCommand(key_of(low), b"b" * 16, held.stamp), cas(low, 4, 5))
        assert written.outcome.decision is Decision.PUT, "what is committed is there for who comes next, applied or not"
        assert await told.get(low) == 5

    tell(story)


@pytest.mark.parametrize("reads", [False, True], ids=["prepared", "read"])
def test_a_leader_that_finds_rot_under_a_transaction_leads_no_more(*, reads: bool) -> None:
    """The transaction is not refused for it: whoever leads next has the item."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        leader = leader_of(told, low)
        name, partition = leader.node.name, leader.partition
        await told.until(lambda: key_of(low) in told.cluster.trees[name].trees[partition].rows)
        assert told.cluster.trees[name].flip_row(partition, key_of(low), 77)
        command = LookCommand(key_of(low), (key_of(low),)) if reads else prepare(low, 2, b"a" * 16)
        (said,) = await say(told, leader, command)
        assert isinstance(said, NotLeader), said
        assert [(one.kind, one.copy) for one in told.cluster.findings] == [("unreadable", name)]
        assert leader.state == "suspect"
        if reads:
            found = await told.cluster.store.transact_read([(told.table(), key_of(low)), (told.table(), key_of(high))])
            assert None not in found.items
        else:
            assert (await write(told, part(told, low, 3, expected=1), part(told, high, 3))).committed

    tell(story)


def test_what_a_seal_calls_closed_is_not_open_again_behind_it() -> None:
    """A transaction that has ended is below the SEAL; whoever reads up to a closed time reads up to that."""

    async def story(told: Story) -> None:
        low, _ = await begin(told)
        await told.must_put(low, 1)
        leader = leader_of(told, low)
        (held,) = await say(told, leader, prepare(low, 2, b"a" * 16))
        await told.sleep(1.0)
        (ended,) = await say(told, leader, FinishCommand(key_of(low), b"a" * 16, held.stamp))
        assert isinstance(ended, TransactAnswer)
        sealed = await told.cluster.store.seal(leader.partition, 0)
        assert held.stamp < sealed.closed, "what was pending holds no SEAL's time back"
        point = leader.closed_point()
        assert point is not None
        assert point[2] == sealed.lsn
        assert point[0] >= sealed.closed

    tell(story)


def test_nobody_is_asked_after_while_its_coordinator_may_only_be_slow() -> None:
    """Whoever is looked up is given up unless it is decided: a coordinator that takes its time would have to begin again."""

    async def story(told: Story) -> None:
        low, high = await begin(told)
        assert (await write(told, part(told, low, 1), part(told, high, 1))).committed
        coordinator = told.cluster.store.transactions
        ledger = coordinator.ledger
        swap, begun = ledger.swap, []

        async def slowly(token: str, expect: Entry | None, new: Entry | None) -> Entry | None:
            if new is not None and new.state == COMMIT:
                begun.append(new.attempt)
                await told.sleep(STALLED_US / 1e6 - 0.4)
            return await swap(token, expect, new)

        ledger.swap = slowly  # type: ignore[method-assign]
        assert (await write(told, part(told, low, 2), part(told, high, 2), token="slow")).committed
        assert len(begun) == 1, "the first attempt went through"
        assert coordinator.counts["resolved"] == 0
        (held,) = await say(told, leader_of(told, low), prepare(low, 3, b"a" * 16))
        assert held.stamp
        await told.sleep(STALLED_US / 1e6 + 1)
        assert coordinator.counts["resolved"] == 1, "and one whose coordinator is lost is looked up"
        assert isinstance(await told.put(low, 4), WriteAnswer)

    tell(story)
