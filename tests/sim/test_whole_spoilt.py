"""Uploads that a store spoils in the moment they are there, in encrypted archives: found, told and written anew, and everything else holds as ever."""

from __future__ import annotations

import pytest

from scrubjay.sim.rand import stream
from scrubjay.sim.whole.run import WholeRun, draw_ring
from scrubjay.sim.whole.splits_operator import SPLITS_FROM
from scrubjay.sim.whole.spoiler import SPOILT_FROM, draw_spoiler

SEALED = (3001, 3008, 3022)
LATER = (3000, 3006, 3018, 3021, 3026, 3027, 3031, 3044)
PLAIN = (3004, 3036)
SPLIT = 18013
"""One of two nodes with a tree; the store spoils uploads of what is split meanwhile."""


@pytest.mark.parametrize("seed", [*SEALED, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (*LATER, *PLAIN))])
def test_spoilt_uploads_are_written_anew(seed: int) -> None:
    """The scrub tells of them and of nothing else that nothing else explains, then matches; verify finds nothing; a restore is what was there."""
    run = WholeRun(seed, seconds=8)
    result = run.run()
    assert not result.violation, f"{result.violation}\n{result.replay}"
    assert result.scrub == "mismatch", "nobody told of them"
    assert result.acknowledged > 0
    assert run.spoiler is not None
    assert result.faults["uploads spoilt"] == len(run.spoiler.struck) >= 2
    names = [(key, run.cluster.seen_as(key)) for key in run.spoiler.struck]
    assert all((kept != seen) == (seed not in PLAIN) for kept, seen in names), "their archive is encrypted, or it is not"


def test_what_was_split_is_written_anew_too() -> None:
    """A partition's copies are kept until the end of its log was read back: what is spoilt of it before that no node could put back later."""
    run = WholeRun(SPLIT, seconds=8)
    result = run.run()
    assert not result.violation, f"{result.violation}\n{result.replay}"
    assert run.spoiler is not None
    table = run.clients.table()
    assert table is not None
    former = [one.info.partition_id for one in table.former or ()]
    assert [key for key in run.spoiler.struck if any(one in key for one in former)], "nothing of what was split was spoilt"


def test_seeds_with_splits_below_are_what_they_were() -> None:
    assert WholeRun(SPLIT).spoiler is not None
    assert not [seed for seed in range(SPLITS_FROM, SPLITS_FROM + 20) if WholeRun(seed).spoiler is not None]


def test_seeds_that_something_was_found_with_stay_what_they_were() -> None:
    assert not [seed for seed in range(SPOILT_FROM) if draw_spoiler(seed, stream(seed, "spoils"))]
    seeds = range(SPOILT_FROM, SPOILT_FROM + 60)
    spoilt = {seed for seed in seeds if draw_spoiler(seed, stream(seed, "spoils"))}
    sealed = {seed for seed in seeds if draw_ring(seed, stream(seed, "keys"))}
    assert {*SEALED, *LATER} <= spoilt & sealed
    assert {*PLAIN} <= spoilt - sealed
