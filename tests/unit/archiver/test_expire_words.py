"""Whose word about what was taken away is believed: after a takeover that of a history which was given up counts no more than its log does."""

from __future__ import annotations

import pytest

from scrubjay.archiver.branches import disowned
from scrubjay.archiver.facts import Closed, CoverageFacts, Mark
from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.rows import Beginning
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.lines import PARTITION, Line
from tests.unit.archiver.test_expire import check

LSN = 9


def told(line: Line, *lines: Line, closed: tuple[Closed, ...] = (), mark: Mark | None = None, whole: bool = False, epoch: int = 1) -> bool:
    """Whether what `line` says went up to LSN is believed no more, where these lie behind it."""
    spans = tuple({span for one in lines for span in one.spans})
    facts = CoverageFacts(PARTITION, spans, (), closed, (mark,) if mark is not None else (), expired=LSN, gone=whole)
    return disowned(facts, chain=None if whole else line.span(LSN).chain, epoch=epoch)


def test_a_word_stands_while_its_own_log_goes_on_in_whatever_epoch() -> None:
    line = Line().grow(4, 9, 12, 20)
    assert not told(line)
    assert not told(line, line)
    later = line.fork(9, 15, 20, epoch=3, seed="")
    assert not told(line, later, closed=(later.closed(30),))
    resting = Line().grow(4, 9)
    resting.epoch = 3
    assert not told(line, closed=(resting.closed(30),))
    assert not told(line, mark=Mark(LSN, line.span(LSN).chain))
    assert not told(line, mark=Mark(LSN - 1, bytes(32))), "of another place"


@pytest.mark.parametrize("lasts", [(7, 14), (9, 14), (9,)], ids=["across", "behind", "up to there"])
def test_a_log_of_a_later_epoch_that_it_does_not_fit_refutes_it(lasts: tuple[int, ...]) -> None:
    line = Line().grow(4, 9, 12)
    assert told(line, line, line.fork(4, *lasts, epoch=2))
    assert told(line, line.fork(4, *lasts, epoch=2))
    assert not told(line, line, line.fork(4, *lasts, epoch=1)), "nobody gave ours up"


def test_whoever_came_last_is_right() -> None:
    line = Line().grow(4, 9, 12)
    copy = line.fork(4, 7, 14, epoch=2)
    back = line.fork(9, 12, 16, epoch=3, seed="")
    assert not told(line, copy, back)
    assert not told(line, line.fork(4, 9, epoch=2), back), "the copy's log, that ended there, was given up in turn"
    assert not told(line, copy, closed=(copy.closed(20), Line(epoch=3, spans=line.spans[:2]).closed(30)))


def test_a_closed_point_of_a_later_epoch_refutes_it() -> None:
    line = Line().grow(4, 9, 12)
    behind = line.fork(4, 7, epoch=2)
    assert told(line, line, closed=(behind.closed(20),)), "its log ended in front of what is said to be gone"
    assert told(line, line, closed=(line.fork(4, 9, epoch=2).closed(20),))
    assert not told(line, line, closed=(line.fork(4, 7, epoch=1).closed(20),))
    facts = CoverageFacts(PARTITION, (), (), (behind.closed(20),), expired=LSN, credible=1)
    assert not disowned(facts, chain=line.span(LSN).chain, epoch=1), "a point that is ahead of the clock proves nothing"


def test_the_clusters_own_chain_value_refutes_it() -> None:
    line = Line().grow(4, 9, 12)
    assert told(line, line, mark=Mark(LSN, bytes(32)))


def test_that_all_of_it_went_is_refuted_by_whoever_goes_on_in_a_later_epoch() -> None:
    line = Line().grow(4, 9)
    assert not told(line, line, whole=True)
    assert not told(line, closed=(Line(epoch=2, spans=line.spans).closed(30),), whole=True)
    for lasts in ((7, 14), (7, 8, 10, 20)):
        assert told(line, line.fork(4, *lasts, epoch=2), whole=True)
    assert told(line, closed=(line.fork(4, 7, epoch=2).closed(30),), whole=True)
    assert told(line, closed=(line.fork(4, 14, epoch=2).closed(30),), whole=True)


def taken_over(*, days: int) -> tuple[ExpireWorld, Beginning]:
    """A copy of a cluster, put back from its eighth day, that took over after the other had taken its old history away, and wrote on for so many days."""
    old, new = ExpireWorld(), ExpireWorld()
    new.days(8, base_every=4)
    old.days(24, base_every=4)
    old.expire()
    word = old.index.partitions[old.sample.table, old.sample.partition].beginning
    assert word is not None
    assert word.lsn > new.sample.lsn, "it took more than the copy has"
    new.take_over(old, days=days, base_every=2)
    return new, word


@pytest.mark.parametrize("days", [1, 2, 12])
def test_a_copy_that_took_over_does_not_believe_what_was_said_of_the_other_log(days: int) -> None:
    """However far its own log has come: in front of what the other took away, or behind it."""
    new, word = taken_over(days=days)
    assert (new.sample.lsn > word.lsn) == (days == 12)
    for index in (new.index, new.new_index()):
        new.index = index
        new.refresh()
        found = index.partitions[new.sample.table, new.sample.partition]
        assert found.beginning is None
        assert found.window().holes[0].first_lsn == 1, "what the other took of what was common is absent, and nobody of ours said so"
    at_us = new.now_us - 2000
    if days > 1:
        assert new.restored(at_us) == new.state_at(at_us)
    assert "hole" in {finding.kind for finding in new.verify().findings}
    mine = set(own(new))
    new.expire()
    assert mine <= set(new.store.objects), "retention takes nothing of the log that counts away"


def own(world: ExpireWorld) -> list[str]:
    """Manifests and segments that the copy wrote."""
    made = world.sample.manifests()[9:]
    return [build(key) for one in made for key in (one.key(), one.key().twin())]


def test_the_word_of_the_log_that_counts_stands_beside_a_given_up_one() -> None:
    """Once nothing of the other log is left but its word."""
    new, word = taken_over(days=20)
    others = set(new.keys("log")) - set(own(new))
    bases = [key for key in new.keys("base") if key.endswith(".json") and decode_base(new.store.objects[key], where=key).epoch == 1]
    others |= {key for key in new.keys("base") for base in bases if key.startswith(base.removesuffix("manifest.json"))}
    for key in others:
        del new.store.objects[key]
    assert new.expire().exit == 0
    said = new.index.partitions[new.sample.table, new.sample.partition].beginning
    assert said is not None
    assert said.epoch == 2
    check(new)
    assert len(new.keys("expired")) == (1 if said.lsn > word.lsn else 2)
