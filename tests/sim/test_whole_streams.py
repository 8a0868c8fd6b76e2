"""A stream that is followed through the faults of the profile "whole": it says all that was acknowledged, each once, and what breaks one is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.sim.rand import stream
from scrubjay.sim.whole.run import WholeRun
from scrubjay.sim.whole.stream_turns import TURNED_FROM, draw_turns
from scrubjay.sim.whole.streaming import STREAMED_FROM, draw_streamed
from scrubjay.storage.control.change_reader import ChangeReader
from scrubjay.storage.log.item_changes import ChangesPage
from scrubjay.storage.replica.term import Term

SEED = 8000


@pytest.mark.slow
def test_a_share_of_the_seeds_has_a_follower_and_what_it_heard_is_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of it out of the archive. Seeds that something was found with stay what they were."""
    assert not any(draw_streamed(seed, stream(seed, "streamed")) for seed in range(STREAMED_FROM))
    archived = 0
    read = ListedLog.read

    async def counted(self: ListedLog, *place: Any, **bounds: Any) -> Any:
        nonlocal archived
        found = await read(self, *place, **bounds)
        archived += 1
        return found

    monkeypatch.setattr(ListedLog, "read", counted)
    result = WholeRun(SEED, seconds=5).run()
    assert not result.violation, f"{result.violation}\n{result.replay}"
    assert result.faults["stream: changes"] > 50
    assert archived > 5


async def _read_as_planted(self: ChangeReader, *place: Any, position: int = 0, plant: str, **more: Any) -> ChangesPage:
    page = await _READ(self, *place, position=position, **more)
    if plant == "lost" and len(page.changes) > 3:
        return page._replace(changes=page.changes[:-1])
    if plant == "doubled" and len(page.changes) > 3:
        return page._replace(next=(page.changes[-1].lsn, page.changes[-1].position))
    return page


_READ = ChangeReader.read


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "noticed"),
    [
        ("lost", "was there, and it was"),
        ("doubled", "comes behind"),
        ("without old items", "does not say what was there before"),
    ],
)
def test_a_stream_that_is_broken_is_noticed(monkeypatch: pytest.MonkeyPatch, plant: str, noticed: str) -> None:
    """A change that a page leaves out; one that is shown twice; a leader that does not say what was there before."""
    if plant == "without old items":
        monkeypatch.setattr(Term, "keeps_old", False)
    else:

        async def planted(self: ChangeReader, *place: Any, **more: Any) -> ChangesPage:
            return await _read_as_planted(self, *place, plant=plant, **more)

        monkeypatch.setattr(ChangeReader, "read", planted)
    result = WholeRun(SEED, seconds=5).run()
    assert noticed in result.violation, result.violation


TURNED, TALKATIVE = 14_007, 14_012
"""Seeds whose streams are turned off and on, with splits in between: one in which machines die, one with long pages."""


@pytest.mark.slow
def test_streams_that_are_turned_off_and_on_are_followed_by_lineage_over_splits_and_fail_overs() -> None:
    assert draw_turns(TURNED_FROM - 1, stream(1, "turns")) is None, "seeds that something was found with stay what they were"
    result = WholeRun(TURNED, seconds=6).run()
    assert not result.violation, f"{result.violation}\n{result.replay}"
    assert result.faults["streams turned"] >= 2
    assert result.faults["partitions split"] >= 1
    assert result.faults["crash"] >= 2
    assert result.faults["stream: changes"] > 10


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "noticed"), [("lost", "is not in the stream"), ("doubled", "comes behind")])
def test_a_reader_by_lineage_notices_what_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch, plant: str, noticed: str) -> None:
    async def planted(self: ChangeReader, *place: Any, **more: Any) -> ChangesPage:
        return await _read_as_planted(self, *place, plant=plant, **more)

    monkeypatch.setattr(ChangeReader, "read", planted)
    result = WholeRun(TALKATIVE, seconds=6).run()
    assert noticed in result.violation or "was there, and it was" in result.violation, result.violation
