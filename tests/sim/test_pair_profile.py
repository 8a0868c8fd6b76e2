"""Two archives under a process that keeps them: each store goes, throttles, forgets and rots by itself, and the process is killed at any moment. What was acknowledged is
never lost, no name has two winners in one archive, what is read is what was put, and in quiet both come to hold the same."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Exists, Missing, ScrubjayError, Unavailable
from scrubjay.base.wrap.paired import Judging
from scrubjay.server.pairing import PairOptions
from scrubjay.sim.store import StoreFaults
from tests.unit.server.test_pairing import Two, epoch, sound

AFTER_S = 20.0


def alike(key: str, one: bytes, two: bytes) -> bool:
    """Names say what is in the object, as the archive's do: of who won while the other archive was out of reach, both say the same."""
    return key.startswith("a/")


class Life:
    """acknowledged: what a create was answered to have put. gone: keys whose deletion was asked for. unknown: keys of creates without an answer, with what they would put."""

    def __init__(self, seed: int) -> None:
        self.two = Two(options=PairOptions(decides_after_s=AFTER_S, compare_again_s=300.0), judge=Judging(sound, alike))
        self.draw = self.two.host.world.stream(f"pair/{seed}")
        self.acknowledged: dict[str, bytes] = {}
        self.maybe: dict[str, set[bytes]] = {}
        self.winners: dict[str, set[bytes]] = {}
        self.gone: set[str] = set()
        self.lost: set[str] = set()
        """Keys that one store forgot: it may create them again before anybody has noticed."""
        self.noted = 0
        """The highest epoch, as the metadata log has it."""
        self.claimed = True
        self.number = 0
        self.claims = 0
        self.tasks: list = []  # type: ignore[type-arg]
        self.begin()

    def begin(self) -> None:
        for task in self.tasks:
            task.cancel()
        keeper = self.two.life(settle=False)
        keeper.reclaim = self.reclaim
        self.claimed = False
        tasks = self.two.host.env().tasks
        keeper.start()
        self.tasks = [tasks.spawn(self.claim(), name="claim"), *(tasks.spawn(self.write(), name=f"writer {number}") for number in range(3))]
        self.tasks += [tasks.spawn(self.read(), name="reader")]

    def reclaim(self) -> None:
        self.claimed = False
        self.tasks.append(self.two.host.spawn(self.claim(), name="claim"))

    async def claim(self) -> None:
        """As `archiver.write.claiming`: the next epoch, create-once, before anything is written."""
        while not self.claimed:
            try:
                listed = await self.two.pair.list(epoch(0).rpartition("/")[0])
                number = max([self.noted, *(int(info.key.rpartition("/")[2], 16) for info in listed.objects)]) + 1
                await self.two.pair.put(epoch(number), b"mine")
                self.noted = number
                self.claims += 1
                self.claimed = True
            except ScrubjayError:
                await self.two.host.sleep(0.5)

    async def write(self) -> None:
        while True:
            await self.two.host.sleep(self.draw.between(10, 400) / 1e3)
            if not self.claimed:
                continue
            key = f"a/{self.draw.between(0, 120):03d}"
            if self.draw.chance(0.1):
                await self.delete(key)
                continue
            if key in self.gone:
                continue
            self.number += 1
            data = b"%d" % self.number + b"." * self.draw.between(0, 20)
            self.maybe.setdefault(key, set()).add(data)
            away = self.away()
            try:
                await self.two.pair.put(key, data)
            except Exists:
                self.maybe[key].discard(data)
            except Unavailable:
                pass
            else:
                assert key not in self.acknowledged or key in self.gone | self.lost or away or self.away(), f"{key} was won twice"
                self.acknowledged[key] = data
                self.winners.setdefault(key, set()).add(data)

    async def delete(self, key: str) -> None:
        """Names are used once, as the archive's are."""
        if key in self.acknowledged:
            self.gone.add(key)
            try:
                await self.two.pair.delete(key)
            except ScrubjayError:
                return

    async def read(self) -> None:
        while True:
            await self.two.host.sleep(self.draw.between(50, 500) / 1e3)
            key = f"a/{self.draw.between(0, 120):03d}"
            known = self.acknowledged.get(key)
            quiet = all(not store.faults.down for store in self.two.stores)
            try:
                found = await self.two.pair.get(key)
            except Missing:
                assert known is None or key in self.gone or self.away() or not quiet, f"{key} is called missing"
            except Unavailable:
                continue
            else:
                assert key in self.gone or found in self.maybe.get(key, set()), f"{key} is read as what nobody put"

    def away(self) -> bool:
        """One of the two is out of reach: what it alone has is."""
        return any(half.error is not None for half in self.two.pair.halves) or any(
            store.faults.down or store.faults.throttled or store.faults.timeout_before or store.faults.timeout_after
            for store in self.two.stores
        )

    def spoil(self) -> None:
        """One store loses or spoils an object that the other has as it should be."""
        one, two = self.two.held()
        same = sorted(key for key in one if key.startswith("a/") and one[key] == two.get(key) and not one[key].startswith(b"rot"))
        if same:
            key, store = same[self.draw.between(0, len(same) - 1)], self.two.stores[self.draw.between(0, 1)]
            if self.draw.chance(0.5):
                store.lose(key)
                self.lost.add(key)
            else:
                store.objects[key].data = b"rot" + store.objects[key].data

    def mended(self, *, but: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
        one, two = ({key: data for key, data in held.items() if key not in but} for held in self.two.held())
        return one == two and not any(data.startswith(b"rot") for data in one.values())

    def trouble(self) -> None:
        for store in self.two.stores:
            kind = self.draw.between(0, 9)
            share = self.draw.between(0, 30) / 100
            store.faults = StoreFaults(
                down=kind < 3,
                throttled=share if kind == 4 else 0.0,
                timeout_before=share if kind == 5 else 0.0,
                timeout_after=share if kind in (5, 6) else 0.0,
                delay_us=(2_000, 900_000) if kind == 7 else (2_000, 30_000),
            )

    def run(self, rounds: int) -> None:
        host = self.two.host
        for _ in range(rounds):
            self.trouble()
            for _ in range(self.draw.between(1, 4)):
                host.run_for(self.draw.between(1, 25))
                if self.draw.chance(0.2):
                    self.begin()
            if self.draw.chance(0.5) and self.mended() and not any(half.error for half in self.two.pair.halves):
                self.spoil()
        for store in self.two.stores:
            store.faults = StoreFaults()
        host.run_for(120)
        for task in self.tasks:
            task.cancel()
        keeper = self.two.keeper
        assert keeper is not None
        self.two.wait(lambda: all(half.whole for half in self.two.pair.halves), seconds=900)
        host.run(keeper.compare())
        self.two.wait(lambda: self.mended(but=self.gone), seconds=300)
        one, _ = self.two.held()
        for key in self.acknowledged:
            if key not in self.gone:
                assert one.get(key) in self.winners[key] | self.maybe[key], f"{key} was acknowledged and is lost"
        assert {data for key, data in one.items() if key not in self.gone} <= {b"mine"} | {
            data for some in self.maybe.values() for data in some
        }
        assert self.two.pair.turn == 0, "the first one has its turn again"
        assert {key for _, key in keeper.outstanding} <= self.gone, "rot in what one of them has, half deleted"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_is_won_twice(seed: int) -> None:
    life = Life(seed)
    life.run(rounds=12)
    assert len(life.acknowledged) > 40, "it got somewhere"
    assert life.claims >= 2
