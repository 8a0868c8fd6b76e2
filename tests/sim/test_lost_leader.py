"""A leader that is lost while others go on: for how long nobody leads, when it is cut off one way or both, and where syncs are slow."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import ballot_round
from scrubjay.storage.replica import Replica
from tests.sim.story import SECOND, Story, tell

GRANT_S, ELECTION_S = 2.0, 0.6
"""A lease as shipped; the longest wait before a campaign, and the campaign, where messages and syncs take a millisecond."""
SLOW_SYNC_US = (800_000, 1_200_000)


async def until_another_leads(story: Story, *, deaf: bool, mute: bool) -> tuple[float, Replica]:
    """Cut the leader off, and wait until another serves. Returns for how long nobody did, in seconds, and who does."""
    lost = story.leader().node.name
    others = [story.replica(name) for name in story.followers()]
    for other in story.followers():
        if deaf:
            story.world.net.cut_link(other, lost)
        if mute:
            story.world.net.cut_link(lost, other)
    began = story.world.now
    found: list[Replica] = []

    def led() -> bool:
        found[:] = [replica for replica in others if replica.serves(consistent=True) is None]
        return bool(found)

    await story.until(led, seconds=60)
    return (story.world.now - began) / SECOND, found[0]


def round_of(replica: Replica) -> int:
    assert replica.group is not None
    return ballot_round(replica.group.ballot)


@pytest.mark.parametrize(("deaf", "mute"), [(True, False), (False, True), (True, True)], ids=["deaf", "mute", "cut"])
def test_another_leads_after_a_lease_and_an_election_whichever_way_the_leader_is_cut_off(deaf: bool, mute: bool) -> None:
    async def story(told: Story) -> None:
        await told.begin()
        await told.must_put(1, 1)
        await told.sleep(5)
        seconds, _ = await until_another_leads(told, deaf=deaf, mute=mute)
        assert seconds <= GRANT_S + ELECTION_S
        await told.must_put(1, 2)
        assert await told.get(1) == 2

    for seed in range(2):
        tell(story, seed=seed)


@pytest.mark.slow
def test_no_campaign_overtakes_another_where_a_sync_takes_a_second() -> None:
    async def story(told: Story) -> None:
        await told.begin()
        await told.must_put(1, 1)
        for host in told.cluster.hosts:
            host.disk.faults.sync_us = SLOW_SYNC_US
        await told.sleep(15)
        before = round_of(told.leader())
        seconds, leader = await until_another_leads(told, deaf=True, mute=True)
        assert round_of(leader) == before + 1, "the first campaign is won"
        assert seconds <= 11

    for seed in range(4):
        tell(story, seed=seed)
