"""Retention over a split: a parent goes when its moments have outlived the window and both children stand on proven bases of their own, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pytest

from scrubjay.archiver.expire.plan import DAY_US, HEIR, PIN, Need, Wanted, _resting
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import encode_manifest
from scrubjay.archiver.read.index import KnownArchived
from scrubjay.archiver.read.inherited import start_of
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.read.rows import Beginning
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.pitr.plan import plan_partition
from scrubjay.pitr.source import history_of
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import PartitionInfo
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import ATTACHED, Sample


class SplitExpireWorld(ExpireWorld):
    """parent, children: `sample` is the one that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.children: tuple[Sample, ...] = ()
        self.parent = self.sample
        self.days(6, base_every=3)
        self.children = self.parent.split()
        for sample in (self.parent, *self.children):
            made, data = sample.manifest(sample.segments[-1])
            self.store.objects[build(made.key())], self.store.objects[build(made.key().twin())] = data, encode_manifest(made)
        self.split_us = stamp_micros(self.parent.stamp)
        self.now_us = max(self.now_us, self.split_us)

    def live(self, count: int, *, base_every: Sequence[int] = (0, 0)) -> None:
        """Both children live so many days."""
        began_us = self.now_us
        for child, every in zip(self.children, base_every, strict=True):
            self.sample, self.now_us = child, began_us
            self.days(count, base_every=every)

    def archived(self) -> list[KnownArchived]:
        return [
            KnownArchived(one.table, one.partition, one.segments[-1].last, one.segments[-1].chain) for one in (self.parent, *self.children)
        ]

    def all_wanted(self) -> list[Wanted]:
        heirs = tuple(one.partition for one in self.children)
        end = self.parent.segments[-1]
        former = Wanted(
            self.parent.table, "orders", self.parent.partition, end.last, self.keep_us, self.split_us, end.last, end.last_stamp, heirs=heirs
        )
        return [former, *(Wanted(one.table, "orders", one.partition, one.segments[-1].last, self.keep_us) for one in self.children)]

    def base(self, at: int | None = None) -> BaseManifest:
        sample, lsn = self.sample, at or self.sample.segments[-1].last
        if sample.born is None:
            return super().base(at)
        self.refresh()
        self.built(sample, Cut(lsn=Lsn(lsn)))
        done, facts = self.done, sample.facts
        return self.loop.run(
            upload_base(
                self.store, self.disk, "rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
                schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total, born=sample.born,
            )
        )  # fmt: skip

    def built(self, sample: Sample, cut: Cut) -> dict[bytes, bytes]:
        """A child's rows at a cut, as a restore makes them of what is there now."""
        info = PartitionInfo(PartitionId(sample.partition), sample.lo, sample.hi, ())
        history = history_of(info, self.index.partitions[sample.table, sample.partition])
        stamp = cut.stamp if cut.stamp is not None else sample.records[(cut.lsn or 0) - sample.offset - 1].stamp
        plan = plan_partition(history, Stamp(stamp), preview=True)
        base = self.loop.run(start_of(self.store, None if plan.base is None else plan.base.asked))
        keys = segment_keys(plan.objects())
        self.done = self.loop.run(rebuild(self.store, self.disk, base=base, segments=keys, cut=cut, output="rows", work="w"))
        file = self.disk.open("rows")
        try:
            return {row.key: row.item for row in read_rowfile(file.pread, file.size())}
        finally:
            file.close()

    def check(self) -> None:
        """Every day of the window that lies behind the split is restored as it was."""
        self.index = self.new_index()
        self.refresh()
        for child in self.children:
            at_us = max(self.split_us + 1, self.now_us - self.keep_us)
            while at_us < stamp_micros(child.segments[-1].seal.closed):
                cut = last_stamp_at(at_us)
                lsn = max((one.lsn for one in child.records if one.stamp <= cut), default=child.offset)
                assert self.built(child, Cut(stamp=Stamp(cut))) == child.state_at(lsn)
                at_us += DAY_US

    def left(self, sample: Sample) -> list[str]:
        return [name for name in self.store.objects if f"p={sample.partition}/" in name and "/expired/" not in name]


@pytest.mark.slow
def test_a_parent_goes_when_both_children_stand_alone_and_not_before() -> None:
    world = SplitExpireWorld()
    world.live(14, base_every=(2, 0))
    world.index = world.new_index()
    report = world.expire(wanted=world.all_wanted(), attended=True)
    of = {one.plan.wanted.partition: one for one in report.outcomes}
    waiting = of[world.parent.partition]
    assert {one.name for one in waiting.plan.held if one.by == HEIR} == {one.partition for one in world.children}, "none had told by then"
    assert waiting.plan.lsn > 0, "what lies below the base on which its way to its end stands has gone as ever"
    assert waiting.plan.base is not None
    world.check()
    report = world.expire(wanted=world.all_wanted(), attended=True)
    (held,) = [one for one in report.outcomes[0].plan.held if one.by == HEIR]
    assert held.name == world.children[1].partition, "the left one stands alone, the right one does not"
    assert world.left(world.parent)
    world.check()
    world.live(3)
    world.sample = world.children[1]
    world.base()
    world.live(12)
    for _ in range(2):
        world.expire(wanted=world.all_wanted(), attended=True)
    assert not world.left(world.parent), "all of it"
    world.check()
    report = world.expire(wanted=world.all_wanted(), attended=True)
    assert report.outcomes[0].nothing_left
    assert [one for one in world.verify("replayed", offline=True).findings if one.partition is not None] == []


@pytest.mark.slow
def test_a_parent_of_which_moments_are_needed_stays() -> None:
    """By age, or by a pin; a pin of a moment behind its end holds the children alone, and through them what they rest on."""
    world = SplitExpireWorld()
    world.live(14, base_every=(2, 2))
    world.holds = [Need(world.parent.table, world.split_us + 1, PIN, "of the children's first moment")]
    for _ in range(2):
        world.expire(wanted=world.all_wanted(), attended=True)
    assert world.left(world.parent)
    world.check()
    world.holds = []
    for _ in range(2):
        world.expire(wanted=world.all_wanted(), attended=True)
    assert not world.left(world.parent), "the control: without the pin it goes"
    other = SplitExpireWorld()
    other.live(14, base_every=(2, 2))
    other.holds = [Need(other.parent.table, other.split_us, PIN, "of its last moment")]
    for _ in range(3):
        other.expire(wanted=other.all_wanted(), attended=True)
    assert other.left(other.parent)


def test_nothing_of_a_child_goes_that_is_not_its_own() -> None:
    """The start that it inherits is no base on which it could stand."""
    world = SplitExpireWorld()
    world.live(14)
    world.index = world.new_index()
    report = world.expire(wanted=world.all_wanted(), attended=True)
    assert [(one.plan.lsn, one.plan.refused) for one in report.outcomes[1:]] == [(0, None), (0, None)]
    assert [[held.by for held in one.plan.held] for one in report.outcomes[1:]] == [["proof"], ["proof"]], "and that is said"
    world.check()


def test_a_parent_goes_behind_a_pin_of_its_children_that_stand_alone() -> None:
    """A moment behind its end is none of its own: the children keep that by themselves."""
    world = SplitExpireWorld()
    world.live(14, base_every=(2, 2))
    world.holds = [Need(world.parent.table, world.now_us - 2 * DAY_US, PIN, "of late")]
    for _ in range(2):
        world.expire(wanted=world.all_wanted(), attended=True)
    assert not world.left(world.parent)


class Heir(NamedTuple):
    """What is known of it, as far as its parent asks."""

    beginning: Beginning


class Parent(NamedTuple):
    kin: dict[tuple[str, str], Heir]


@pytest.mark.parametrize(("lsn", "whole", "rests"), [(10, False, True), (11, False, False), (10, True, False), (9, True, True)])
def test_a_parent_rests_until_its_heir_begins_behind_it(lsn: int, whole: bool, rests: bool) -> None:
    """A heir that stands on what it inherited, at its parent's own end, has no base of its own yet; one that is gone whole needs none."""
    wanted = Wanted("t", "orders", "p", 10, DAY_US, 1, 10, 1, heirs=("left",))
    heir = Heir(Beginning(lsn, 1, whole, None, 0, None, 1))
    held = _resting(wanted, cast("Any", Parent({("t", "left"): heir})))
    assert [one.name for one in held] == (["left"] if rests else [])
    assert _resting(wanted, cast("Any", Parent({}))), "nor may it go while nothing is known of a heir"
