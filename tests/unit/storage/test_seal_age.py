"""How long the open segment of a partition waits for its seal: a trickle seldom, a stream soon."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica.segments import SegmentFacts, seal_age_us
from tests.unit.control.house import House

SECOND = 1_000_000
SIZE = 1 << 20


def options(age_max_us: int) -> StorageOptions:
    named = {name: getattr(STORAGE, name) for name in STORAGE.__slots__}
    return StorageOptions(**named | {"seal_bytes": SIZE, "seal_age_us": SECOND, "seal_age_max_us": age_max_us})


class Stream:
    """One table in a simulated cluster, written to at a pace; the seals that come by age."""

    def __init__(self, age_max_us: int) -> None:
        self.house = House(storage=options(age_max_us))
        self.table = self.house.create("t")
        self.partition = self.table.partitions[0].partition_id
        self.sealed: list[tuple[int, int]] = []
        """(virtual time, LSN) of each."""

    def last_seal(self) -> int:
        leader = self.house.cluster.leader(self.partition)
        assert leader is not None
        return int(leader.segments.facts.last_seal)

    def write(self, seconds: float, *, every_s: float) -> None:
        begun, written = self.house.world.now, 0
        while self.house.world.now < begun + seconds * SECOND:
            self.house.put(self.table, written % 50, written)
            written += 1
            self.house.pass_time(every_s)
            at = self.last_seal()
            if not self.sealed or at > self.sealed[-1][1]:
                self.sealed.append((self.house.world.now, at))

    def gaps(self) -> list[float]:
        times = [time for time, _ in self.sealed]
        return [round((later - earlier) / SECOND, 1) for earlier, later in pairwise(times)]


def test_the_age_of_a_trickle_doubles_up_to_its_bound() -> None:
    stream = Stream(6 * SECOND)
    stream.write(30, every_s=0.5)
    gaps = stream.gaps()
    assert gaps == sorted(gaps)
    assert gaps[0] <= 3
    assert [gap for gap in gaps if gap > 5], "it never backed off"
    assert max(gaps) <= 7, "a segment waited longer than seal_age_max"


def test_nothing_backs_off_without_a_bound_above_the_age() -> None:
    stream = Stream(SECOND)
    stream.write(12, every_s=0.5)
    assert max(stream.gaps()) <= 2


@pytest.mark.slow
def test_a_trickle_that_becomes_a_stream_is_sealed_at_its_age_again() -> None:
    stream = Stream(60 * SECOND)
    stream.write(20, every_s=0.5)
    assert max(stream.gaps()) > 3
    stream.sealed = stream.sealed[-1:]
    stream.write(6, every_s=0.02)
    assert max(stream.gaps()[-2:]) <= 2, "a segment that is no longer tiny waited as if it were"


@pytest.mark.slow
def test_the_window_goes_on_while_the_age_is_backed_off() -> None:
    """Closed timestamps move the window of a partition that rests: what was archived last reaches up to them, whatever age the next segment will have."""
    stream = Stream(60 * SECOND)
    house = stream.house
    stream.write(20, every_s=0.5)
    house.until(lambda: not house.cluster.leader(stream.partition).segments.facts.content, seconds=120)  # type: ignore[union-attr]
    house.pass_time(60)
    index = ArchiveIndex(house.client(), CLUSTER, tasks=house.env.tasks)
    house.run(index.refresh(now_us=house.env.clock.wall_us()))
    latest = index.partitions[stream.table.table_id, stream.partition].window().latest_us
    assert latest is not None
    assert house.env.clock.wall_us() - latest < 30 * SECOND


@pytest.mark.parametrize(
    ("trickle", "size", "age_max_us", "age_us"),
    [
        (0, 10, 8 * SECOND, SECOND),
        (1, 10, 8 * SECOND, 2 * SECOND),
        (3, 10, 8 * SECOND, 8 * SECOND),
        (9, 10, 8 * SECOND, 8 * SECOND),
        (10**6, 10, 8 * SECOND, 8 * SECOND),
        (9, SIZE // 128, 8 * SECOND, SECOND),
        (9, 10, 0, SECOND),
        (9, 10, SECOND // 2, SECOND),
    ],
)
def test_the_age_of_a_seal(trickle: int, size: int, age_max_us: int, age_us: int) -> None:
    facts = SegmentFacts()
    facts.size = size
    assert seal_age_us(facts, trickle=trickle, size_bytes=SIZE, age_us=SECOND, age_max_us=age_max_us) == age_us
