"""What a replica does where its own facts, the log and its peers do not fit together, on the real classes in the simulated world."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.log.record import Seal
from tests.sim.story import Story, tell


@pytest.mark.parametrize("later", [False, True])
def test_a_copy_whose_segments_a_seal_does_not_continue_is_suspect_and_applies_no_further(later: bool) -> None:
    """Nothing is wrong with the log then: it is not called damaged, and the seal is not passed over as if it had been stated. later: met when applying goes on by itself."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        replica = story.replica(story.followers()[0])
        await story.until(lambda: replica.applied >= story.leader().applied)
        replica.segments.facts.first += 1
        if later:
            replica.stuck = True
        sealed: list[Any] = []
        story.leader().seal(Seal.STOP, bytes(16), sealed.append)
        await story.until(lambda: sealed)
        await story.sleep(1.0)
        if later:
            replica.stuck = False
            replica.apply_ready()
        assert (replica.state, replica.status.vote, replica.damaged) == ("suspect", "votes", False)
        assert "does not continue" in replica.reason
        assert replica.applied < sealed[0].lsn
        assert replica.node.failed is None

    tell(scene)
