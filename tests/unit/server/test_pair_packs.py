"""Packs in two archives: whatever is deleted because a pack holds it is in that pack in both, so that at every moment each of the two alone is a whole archive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from scrubjay.archiver.compact.report import PackReport
from scrubjay.archiver.compact.run import Compactor, CompactParts
from scrubjay.archiver.facts import Coverage
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import PackManifest, Sums, decode_manifest, directory_of, encode_manifest
from scrubjay.archiver.format.segment import decode_segment, encode_segment
from scrubjay.archiver.format.sound import PLAIN
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.errors import Unavailable
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.paired import PairedStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.server.pair_begin import in_both
from scrubjay.server.pairing import PairKeeper, PairOptions
from scrubjay.sim.lone import LoneStore
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.test_expire_kill import Killed

Hit = Callable[[int], None]
"""Called with the number of a request, over both archives, as it begins."""


def _nothing(number: int) -> None:
    """All goes well."""


class Archive(LoneStore):
    """One of the two, as a process sees it. counted: requests of both."""

    def __init__(self, lies: LoneStore, counted: list[int], *, begins: Hit) -> None:
        super().__init__()
        self._store = lies._store
        self.url = f"{lies.url}-{id(lies)}"
        self._counted, self._begins = counted, begins

    async def _begin(self) -> None:
        self._counted[0] += 1
        self._begins(self._counted[0])
        await super()._begin()


class PairWorld(CompactWorld):
    """A partition that trickles into two archives."""

    def __init__(self) -> None:
        super().__init__()
        self.trickle(2, per_day=4)
        self.two = LoneStore()
        self.two.objects.update(self.store.objects)
        self.lines: list[str] = []
        self.requests = 0

    def held(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        return dict(self.store.objects), dict(self.two.objects)

    def lie(self, held: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
        for store, objects in zip((self.store, self.two), held, strict=True):
            store.objects.clear()
            store.objects.update(objects)

    def alone(self) -> list[Coverage]:
        """What each of the two proves, without the other."""
        found = []
        for store in (self.store, self.two):
            index = ArchiveIndex(store, CLUSTER, tasks=self.loop.tasks)
            self.loop.run(index.refresh(now_us=self.now_us, archived=self.archived()))
            found.append(index.partitions[self.sample.table, self.sample.partition].coverage())
        return found

    def night(self, *, first: Hit = _nothing, second: Hit = _nothing, kept: bool = False, retry: bool = False) -> PackReport:
        """A process that keeps the two, and compacts. kept: what is lacking is brought meanwhile."""
        counted = [0]
        halves = [Archive(lies, counted, begins=hit) for lies, hit in ((self.store, first), (self.two, second))]
        env = self.loop.env()
        pair = PairedStore(*halves, clock=env.clock, judge=PLAIN)
        keeper = PairKeeper(env, pair, cluster=CLUSTER, options=PairOptions(), log=lambda level, line: self.lines.append(line))
        self.loop.now_us = self.now_us
        try:
            assert self.loop.run(keeper.settle())
            self.loop.run(keeper.catch_up())
            if kept:
                keeper.start()
            store = EncryptedStore(pair, None, random=bytes)
            asked = RetryingStore(store, env) if retry else store
            parts = CompactParts(
                env=env, store=asked, disk=self.disk, jobs=None, index=ArchiveIndex(asked, CLUSTER, tasks=self.loop.tasks), writer=self.writer,
                locks=self.book, archived=self.archived, forget=self._forget, progress=lambda facts: None, assure=in_both(keeper, store),
            )  # fmt: skip
            report: PackReport = self.loop.run(Compactor(parts).run([self.place()]))
            return report
        finally:
            self.requests = counted[0]
            keeper.stop()

    async def _forget(self, keys: object) -> None:
        """Nobody remembers."""


def packs_in(store: LoneStore) -> list[PackManifest]:
    found = [decode_manifest(data, where=name) for name, data in store.objects.items() if "/log/" in name and name.endswith(".json")]
    return [one for one in found if isinstance(one, PackManifest)]


def test_packs_lie_in_both_and_what_they_hold_in_neither() -> None:
    world = PairWorld()
    before = world.alone()
    assert world.night().exit == 0
    one, two = world.held()
    assert one == two
    assert len(packs_in(world.two)) >= 1
    assert world.alone() == before


@pytest.mark.slow
def test_each_alone_is_whole_wherever_it_is_killed() -> None:
    world = PairWorld()
    start, before = world.held(), world.alone()
    assert world.night().exit == 0
    end, requests = world.held(), world.requests
    seen: set[int] = set()

    def dies(at: int) -> Hit:
        def hit(number: int) -> None:
            if number >= at:
                raise Killed

        return hit

    for number in range(1, requests + 1):
        world.lie(start)
        hit = dies(number)
        with pytest.raises(Killed):
            world.night(first=hit, second=hit)
        state = hash((frozenset(world.store.objects), frozenset(world.two.objects)))
        if state in seen:
            continue  # it died over a request that changes nothing
        seen.add(state)
        assert world.alone() == before, f"killed at request {number}"
        assert world.night(kept=True).exit == 0
        assert world.held() == end, f"killed at request {number}: the next run does not end where one would have"
    assert len(seen) > 15


@pytest.mark.parametrize("lasts", [1, 10_000], ids=["once", "on"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_each_alone_is_whole_wherever_one_goes_away(which: str, lasts: int) -> None:
    """Nothing is deleted on the word of a pack that one of them was not given."""
    world = PairWorld()
    start, before = world.held(), world.alone()
    assert world.night(kept=True, retry=True).exit == 0
    end, requests = world.held(), world.requests
    exits = set()

    def away(since: int) -> Hit:
        def hit(number: int) -> None:
            if since <= number < since + lasts:
                raise Unavailable("it is away")

        return hit

    for number in range(4, requests, 7):
        world.lie(start)
        hits = {which: away(number)}
        with suppress(Unavailable):  # as the names were compared
            exits.add(world.night(**hits, kept=True, retry=True).exit)
        assert world.alone() == before, f"away at request {number}"
        assert world.night(kept=True).exit == 0
        assert world.held() == end, f"away at request {number}"
    assert exits == ({0} if lasts == 1 else {1})


def test_a_pack_that_is_not_sound_in_the_second_one_is_put_anew_before_anything_goes() -> None:
    """It was told written, and is not what was put: the first one's is, and that is not enough."""
    world = PairWorld()
    before = world.alone()

    def rots(number: int) -> None:
        for name in list(world.two.objects):
            key = parse(name)
            if isinstance(key, SegmentKey) and key.last - key.first > 3 and not key.manifest and name not in spoilt and key not in plain:
                data = world.two.objects[name]
                world.two.objects[name] = data[:-1] + bytes([data[-1] ^ 1])
                spoilt.append(name)

    spoilt: list[str] = []
    plain = {parse(name) for name in world.two.objects}
    assert world.night(second=rots).exit == 0
    assert spoilt
    assert world.held()[0] == world.held()[1]
    assert world.alone() == before


def test_two_packs_of_honest_writers_say_the_same_and_a_forged_directory_is_none() -> None:
    """Compressed otherwise, by another writer in another term: alike. Another chain: not sound."""
    world = PairWorld()
    assert world.night().exit == 0
    pack = packs_in(world.store)[0]
    name, told = pack_names(world, pack)
    data = world.store.objects[name]
    segment = decode_segment(data, where=name)
    other = replace(pack, node="n9", epoch=pack.epoch + 1)
    again = encode_segment(segment.head, segment.raw, directory=directory_of(other), level=9)
    assert again != data
    assert PLAIN.sound(name, again)
    assert PLAIN.alike(name, data, again)
    assert PLAIN.alike(told, world.store.objects[told], encode_manifest(stored_as(other, again)))
    bare = encode_segment(segment.head, segment.raw)
    assert not PLAIN.alike(name, data, bare), "a pack and none"
    forged = encode_segment(segment.head, segment.raw, directory=directory_of(pack)[:-9] + b"\0" * 9)
    assert PLAIN.sound(name, forged) is False


def test_packs_whose_parts_say_other_things_are_not_alike() -> None:
    world = PairWorld()
    assert world.night().exit == 0
    pack = packs_in(world.store)[0]
    _, told = pack_names(world, pack)
    parts = (replace(pack.parts[0], content=pack.parts[0].content + 1), *pack.parts[1:])
    assert not PLAIN.alike(told, world.store.objects[told], encode_manifest(replace(pack, parts=parts)))


def pack_names(world: PairWorld, pack: PackManifest) -> tuple[str, str]:
    """Of its object and its manifest."""
    key = pack.own_key()
    return build(key), build(key.twin())


def stored_as(pack: PackManifest, data: bytes) -> PackManifest:
    sums = Sums.of(data)
    return replace(pack, stored=sums, parts=tuple(replace(part, stored=sums) for part in pack.parts))
