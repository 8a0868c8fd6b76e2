"""Two archives as one, in simulated time: who decides, what the other lacks, what becomes of either when the other goes, rots, or comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import EpochKey, build
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import ListPage, ObjectInfo
from scrubjay.base.errors import Corrupt, Exists, Missing, Unavailable, Unsafe
from scrubjay.base.wrap.paired import FIRST, SECOND, Judging, PairedStore, _union
from scrubjay.server.moving import Moves
from scrubjay.server.pair_begin import begin_pair
from scrubjay.server.pairing import PairDifference, PairKeeper, PairOptions
from scrubjay.sim.lone import LoneHost
from scrubjay.sim.store import SimObject, SimStore
from tests.unit.archiver.sample import OWNER

CLUSTER = "00000000-0000-0000-0000-000000000001"
AFTER_S = 60.0


def epoch(number: int) -> str:
    return build(EpochKey(CLUSTER, number))


def sound(key: str, data: bytes) -> bool | None:
    """What is rotten here begins so."""
    return False if data.startswith(b"rot") else None if data.startswith(b"any") else True


def alike(key: str, one: bytes, two: bytes) -> bool:
    """What begins so says the same."""
    return one == two or (one.startswith(b"same") and two.startswith(b"same"))


JUDGE = Judging(sound, alike)


class Two:
    """Two stores, and a process that keeps them; `life()` is the next process."""

    def __init__(self, *, options: PairOptions | None = None, judge: Judging = JUDGE) -> None:
        self.judge = judge
        self.host = LoneHost()
        self.stores = [SimStore(self.host.world, name) for name in ("one", "two")]
        self.options = options or PairOptions(decides_after_s=AFTER_S)
        self.lines: list[tuple[str, str]] = []
        self.claims: list[int | None] = []
        self.turns: list[int] = []
        self.evidence: list[tuple[PairDifference, bytes]] = []
        self.noted: list[tuple[str, str, str, bool]] = []
        self.keeper: PairKeeper | None = None
        self.life()

    @property
    def one(self) -> SimStore:
        return self.stores[0]

    @property
    def two(self) -> SimStore:
        return self.stores[1]

    @property
    def pair(self) -> PairedStore:
        assert self.keeper is not None
        return self.keeper.pair

    def life(self, *, settle: bool = True) -> PairKeeper:
        if self.keeper is not None:
            self.keeper.stop()
        clients = [store.client(self.host.tasks) for store in self.stores]
        pair = PairedStore(*clients, clock=self.host.clock, judge=self.judge)
        self.keeper = PairKeeper(
            self.host.env(), pair, cluster=CLUSTER, options=self.options, log=lambda level, line: self.lines.append((level, line))
        )
        self.keeper.reclaim = lambda: self.claims.append(pair.turn)
        self.keeper.turned = self.turns.append
        self.keeper.kept_evidence = lambda found, data: self.evidence.append((found, data))
        self.keeper.noted = lambda found, mended: self.noted.append((found.archive, found.key, found.kind, mended))
        if settle:
            assert self.run(self.keeper.settle())
        return self.keeper

    def run(self, work: Any) -> Any:
        return self.host.run(work)

    def put(self, key: str, data: bytes = b"x") -> None:
        self.run(self.pair.put(key, data))

    def get(self, key: str) -> bytes:
        found: bytes = self.run(self.pair.get(key))
        return found

    def names(self, prefix: str = "") -> list[str]:
        return [info.key for info in self.run(self.pair.list(prefix)).objects]

    def held(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        one, two = ({key: found.data for key, found in store.objects.items()} for store in self.stores)
        return one, two

    def same(self) -> bool:
        one, two = self.held()
        return one == two

    def wait(self, true: Callable[[], bool], *, seconds: float = 600.0) -> None:
        """With the keeper's loops running."""
        for _ in range(int(seconds)):
            if true():
                return
            self.host.run_for(1.0)
        raise AssertionError("never")


@pytest.fixture
def two() -> Two:
    return Two()


# --- writing


def test_what_is_put_lies_in_both_and_the_first_one_decides(two: Two) -> None:
    two.put("a/1", b"first")
    assert two.held() == ({"a/1": b"first"}, {"a/1": b"first"})
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.two.objects["a/2"] = SimObject(b"already in the second", 0)
    two.put("a/2", b"the first one's")
    assert two.one.objects["a/2"].data == b"the first one's", "the second one's word is none"
    with pytest.raises(Exists):
        two.put("a/1", b"again")


def test_what_only_the_other_one_has_exists_while_the_one_that_decides_may_lack_things(two: Two) -> None:
    """It took the turn over, and has not been given everything yet: a name that is taken in the other is taken."""
    two.two.objects["a/1"] = SimObject(b"the winner", 0)
    with pytest.raises(Exists):
        two.put("a/1", b"the loser")
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.held() == ({"a/1": b"the winner"}, {"a/1": b"the winner"})


def test_a_create_that_lost_to_the_first_one_changes_nothing_in_the_second(two: Two) -> None:
    two.one.objects["a/1"] = SimObject(b"the winner", 0)
    with pytest.raises(Exists):
        two.put("a/1", b"the loser")
    assert "a/1" not in two.two.objects
    two.run(two.life().catch_up())
    assert two.two.objects["a/1"].data == b"the winner", "a process was killed between the two: the second one is owed it"


def test_what_two_agents_put_is_lacking_nowhere(two: Two) -> None:
    """They meet at every segment: if each such name counted as lacking until the keeper looks, no delete would ever find both whole."""
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.put("a/1", b"first")
    with pytest.raises(Exists):
        two.put("a/1", b"first")
    assert all(half.whole for half in two.pair.halves)


def test_what_exists_in_the_first_alone_is_owed_at_once_not_only_after_a_comparison(two: Two) -> None:
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.one.objects["a/1"] = SimObject(b"the winner", 0)
    with pytest.raises(Exists):
        two.put("a/1", b"the winner")
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.two.objects["a/1"].data == b"the winner"


def test_a_second_one_that_is_away_keeps_nobody_and_is_owed_what_it_missed(two: Two) -> None:
    two.keeper.start()  # type: ignore[union-attr]
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    two.two.faults.down = True
    for number in range(5):
        two.put(f"a/{number}")
    states = two.keeper.states()  # type: ignore[union-attr]
    assert [state.lacking for state in states] == [0, 5]
    assert states[1].error is not None
    assert states[0].decides
    asked = two.two.requests.failed["down"]
    for number in range(5, 9):
        two.put(f"a/{number}")
    assert two.two.requests.failed["down"] == asked, "nobody waits for one that is known to be away"
    two.host.run_for(30)
    two.two.faults.down = False
    two.wait(two.same)
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    assert [level for level, _ in two.lines] == ["warning", "info"]
    assert two.claims == []


def test_a_cancelled_put_is_owed(two: Two) -> None:
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    task = two.host.spawn(two.pair.put("a/1", b"x"), name="put")
    while "a/1" not in two.one.objects:
        two.host.run_for(0.001)
    task.cancel()
    two.host.run_for(1)
    assert "a/1" not in two.two.objects
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.same()


def test_what_is_owed_is_found_again_by_the_next_process(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.server.pairing.PAGE", 7)
    two.two.faults.down = True
    for number in range(100):
        two.put(f"a/{number:03d}")
    two.two.faults.down = False
    two.run(two.life().catch_up())
    assert two.same()
    assert two.keeper.copied == 100  # type: ignore[union-attr]


def test_more_than_can_be_remembered_is_compared(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.base.wrap.paired.LACKING_MAX", 3)
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.two.faults.down = True
    for number in range(9):
        two.put(f"a/{number}")
    two.two.faults.down = False
    two.pair.halves[1].error = None
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    for _ in range(5):
        two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.same()


# --- deleting


def test_a_deletion_needs_both_and_the_one_that_decides_is_last(two: Two) -> None:
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.put("a/1")
    two.two.faults.down = True
    with pytest.raises(Unavailable):
        two.run(two.pair.delete("a/1"))
    assert "a/1" in two.one.objects
    two.two.faults.down = False
    two.one.lock_us = 1
    two.one.objects["a/1"].locked_until_us = 1 << 60
    with pytest.raises(Unsafe):
        two.run(two.pair.delete("a/1"))
    two.one.objects["a/1"].locked_until_us = 0
    two.run(two.pair.delete("a/1"))
    assert two.held() == ({}, {})


def test_nothing_is_deleted_while_one_lacks_something_else(two: Two) -> None:
    """It may be what holds it in another form: a pack, a base above it."""
    with pytest.raises(Unavailable, match="nothing is deleted"):
        two.run(two.pair.delete("a/1"))  # nobody knows yet what either has
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.put("a/1")
    two.two.faults.timeout_before = 1.0
    two.put("a/pack")
    two.two.faults.timeout_before = 0.0
    assert "a/pack" not in two.two.objects
    two.pair.halves[1].error = None
    with pytest.raises(Unavailable, match="nothing is deleted"):
        two.run(two.pair.delete("a/1"))
    assert all("a/1" in store.objects for store in two.stores)
    two.put("probe/1")
    two.run(two.pair.delete("probe/1"))
    assert not any("probe/1" in store.objects for store in two.stores)
    deleting = two.host.spawn(two.pair.delete("a/1"), name="delete")
    two.host.run_for(1)
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.host.run_for(1)
    assert deleting.done()
    assert two.names() == ["a/pack"]


def test_what_is_deleted_on_the_word_of_an_object_needs_it_in_both(two: Two) -> None:
    keeper = two.keeper
    assert keeper is not None
    two.one.objects["a/1"] = SimObject(b"x", 0)
    two.run(keeper.assure(["a/1"]))
    assert two.held() == ({"a/1": b"x"}, {"a/1": b"x"}), "brought"
    two.two.objects["a/1"].data = b"rot"
    two.run(keeper.assure(["a/1"]))
    assert two.held() == ({"a/1": b"x"}, {"a/1": b"x"}), "put anew"
    two.two.objects["a/1"].data = b"y"
    for key in ("a/1", "a/none"):
        with pytest.raises(Corrupt, match="do not have the same"):
            two.run(keeper.assure([key]))
    two.two.objects["a/1"].data = b"x"
    two.two.faults.down = True
    with pytest.raises(Unavailable):
        two.run(keeper.assure(["a/1"]))


def test_what_is_on_its_way_to_one_does_not_come_back_after_a_deletion(two: Two) -> None:
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.one.objects["a/1"] = SimObject(b"x", 0)
    two.pair.halves[1].lack("a/1")
    copying = two.host.spawn(two.pair.copy("a/1", two.pair.halves[1]), name="copy")
    two.host.run_for(0.001)  # it has been asked for, and is not there yet
    two.run(two.pair.delete("a/1"))
    two.host.run_for(1)
    assert copying.done()
    assert two.held() == ({}, {})


# --- reading


def test_the_second_one_is_read_when_the_first_does_not_answer(two: Two) -> None:
    two.put("a/1", b"here")
    two.one.faults.down = True
    assert two.get("a/1") == b"here"
    assert two.run(two.pair.get_range("a/1", 1, 3)) == b"er"
    assert two.run(two.pair.head("a/1")) == ObjectInfo("a/1", 4)
    for call in (two.pair.get("a/2"), two.pair.get_range("a/2", 0, 1), two.pair.head("a/2"), two.pair.list("a/")):
        with pytest.raises(Unavailable):  # that it is absent would be the word of one that does not decide
            two.run(call)


def test_absence_is_not_the_word_of_the_one_that_does_not_decide(two: Two) -> None:
    two.put("a/1", b"here")
    two.one.faults.down = True
    for _ in range(2):  # asked, and known to be away
        with pytest.raises(Unavailable):
            two.run(two.pair.head("a/2"))
    two.pair.halves[0].error = None
    assert two.run(two.pair.head("a/1")) == ObjectInfo("a/1", 4)


def test_the_word_of_the_one_that_decides_is_enough_for_absence(two: Two) -> None:
    two.two.faults.down = True
    for _ in range(2):  # asked, and known to be away
        with pytest.raises(Missing):
            two.get("a/2")
        assert two.run(two.pair.head("a/2")) is None
        assert two.names() == []


def test_what_the_first_lost_is_read_listed_and_brought_back(two: Two) -> None:
    two.put("a/1", b"here")
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.one.lose("a/1")
    assert two.names() == ["a/1"]
    assert two.run(two.pair.head("a/1")) == ObjectInfo("a/1", 4)
    assert two.get("a/1") == b"here"
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.same()
    assert two.keeper.mended == 1  # type: ignore[union-attr]
    assert "sim://one lacked a/1" in two.lines[-1][1]
    assert two.noted == [("sim://one", "a/1", "hole", True)]


def test_what_rotted_in_one_is_read_from_the_other_and_put_anew(two: Two) -> None:
    for half, store in enumerate(two.stores):
        two.put(f"a/{half}", b"sound")
        store.objects[f"a/{half}"].data = b"rotten"
        assert two.get(f"a/{half}") == b"sound"
    two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert two.same()
    assert two.one.objects["a/0"].data == b"sound"
    assert [(found.archive, found.key, data) for found, data in two.evidence] == [
        ("sim://one", "a/0", b"rotten"),
        ("sim://two", "a/1", b"rotten"),
    ]
    assert two.keeper.outstanding == {}  # type: ignore[union-attr]
    assert two.noted == [("sim://one", "a/0", "unreadable", True), ("sim://two", "a/1", "unreadable", True)]


def test_rot_that_a_reader_met_is_mended_without_waiting_for_a_comparison(two: Two) -> None:
    two.put("a/0", b"sound")
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.one.objects["a/0"].data = b"rotten"
    assert two.get("a/0") == b"sound"
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.one.objects["a/0"].data == b"sound"


def test_rot_in_both_is_told_in_its_own_bytes_and_copied_nowhere(two: Two) -> None:
    two.put("a/0", b"sound")
    for store in two.stores:
        store.objects["a/0"].data = b"rotten"
    two.two.objects["a/0"].data = b"rot too"
    assert two.get("a/0") == b"rotten"
    two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert sorted(archive for archive, _ in two.keeper.outstanding) == ["sim://one", "sim://two"]  # type: ignore[union-attr]
    assert (two.one.objects["a/0"].data, two.two.objects["a/0"].data) == (b"rotten", b"rot too")


def test_rot_is_never_brought_to_the_one_that_lacks_the_object(two: Two) -> None:
    two.one.objects["a/0"] = SimObject(b"rotten", 0)
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert "a/0" not in two.two.objects
    assert ("sim://one", "a/0") in two.keeper.outstanding  # type: ignore[union-attr]


def test_rot_that_is_locked_stays_and_is_told(two: Two) -> None:
    two.put("a/0", b"sound")
    two.one.objects["a/0"].data = b"rotten"
    two.one.objects["a/0"].locked_until_us = 1 << 60
    two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert "locked" in two.keeper.outstanding["sim://one", "a/0"].detail  # type: ignore[union-attr]
    two.one.objects["a/0"].locked_until_us = 0
    two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert two.keeper.outstanding == {}  # type: ignore[union-attr]


def test_two_sound_objects_under_one_name_are_told_and_left(two: Two) -> None:
    two.put("a/0", b"one")
    two.two.objects["a/0"].data = b"two"
    found = two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert [(one.archive, one.kind) for one in found.differences] == [("sim://two", "forged")]
    two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert two.noted == [("sim://two", "a/0", "forged", False)], "once"
    assert two.held() == ({"a/0": b"one"}, {"a/0": b"two"})
    two.two.objects["a/0"].data = b"one"
    assert two.run(two.keeper.compare()).differences == ()  # type: ignore[union-attr]


def test_two_that_say_the_same_are_made_the_same_as_the_one_that_decides_has_it(two: Two) -> None:
    two.put("a/0", b"same, of one term")
    two.two.objects["a/0"].data = b"same, of another"
    assert two.run(two.keeper.compare()).differences == ()  # type: ignore[union-attr]
    assert two.held() == ({"a/0": b"same, of one term"}, {"a/0": b"same, of one term"})


def test_different_sizes_are_seen_by_the_names_alone(two: Two) -> None:
    two.put("a/0", b"sound")
    two.two.objects["a/0"].data = b"rotten"
    two.run(two.life().catch_up())
    assert two.two.objects["a/0"].data == b"sound"


def test_a_comparison_reads_everything_and_can_be_cut(two: Two) -> None:
    for number in range(20):
        two.put(f"a/{number:02d}", b"12345")
    found = two.run(two.keeper.compare())  # type: ignore[union-attr]
    assert (found.checked, found.bytes, found.complete, found.at) == (20, 100, True, "")
    cut = two.run(two.keeper.compare(stop=lambda read: "enough" if read >= 50 else None))  # type: ignore[union-attr]
    assert (cut.checked, cut.complete, cut.at) == (10, False, "a/09")
    rest = two.run(two.keeper.compare(after=cut.at))  # type: ignore[union-attr]
    assert (rest.checked, rest.complete) == (10, True)
    two.two.faults.down = True
    with pytest.raises(Unavailable):
        two.run(two.keeper.compare())  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        two.run(two.keeper.compare())  # type: ignore[union-attr]


def test_the_rate_is_kept() -> None:
    two = Two(options=PairOptions(rate_bytes=1_000))
    for number in range(10):
        two.one.objects[f"a/{number}"] = SimObject(b"y" * 1_000, 0)
    began = two.host.boot_us()
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert (two.host.boot_us() - began) / 1e6 >= 9


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["one", "two", "both"])), max_size=30),
    st.integers(1, 7),
    st.integers(0, 31),
    st.integers(1, 7),
)
def test_pages_of_two_listings_make_the_listing_of_all(objects: list[tuple[int, str]], limit: int, after: int, short: int) -> None:
    """short: what the second one gives at a time, though it has more."""
    where = {f"k{number:02d}": place for number, place in objects}
    expected = [key for key in sorted(where) if key > f"k{after - 1:02d}"]
    at, found = f"k{after - 1:02d}" if after else "", []
    if not after:
        expected = sorted(where)
    while True:
        pages = []
        for name in ("one", "two"):
            keys = [key for key in sorted(where) if where[key] in (name, "both") and key > at]
            size = min(limit, short) if name == "two" else limit
            pages.append(ListPage(tuple(ObjectInfo(key, 1) for key in keys[:size]), len(keys) > size))
        page = _union(pages[0], pages[1], limit)
        assert len(page.objects) <= limit
        found += [info.key for info in page.objects]
        if not page.more:
            break
        assert page.objects
        at = page.objects[-1].key
    assert found == expected


# --- whose turn it is


def test_an_outage_shorter_than_the_bound_moves_nothing(two: Two) -> None:
    two.keeper.start()  # type: ignore[union-attr]
    two.host.run_for(5)
    two.one.faults.down = True
    with pytest.raises(Unavailable):
        two.put("a/1")
    two.host.run_for(AFTER_S - 10)
    assert two.pair.turn == FIRST
    with pytest.raises(Unavailable):
        two.put("a/2")
    two.one.faults.down = False
    two.host.run_for(30)
    assert (two.pair.turn, two.claims) == (FIRST, [])


def test_the_second_one_decides_once_the_first_has_been_away_and_gives_the_turn_back(two: Two) -> None:
    two.put(epoch(1), b"epoch 1")
    two.put("a/0")
    two.keeper.start()  # type: ignore[union-attr]
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    two.one.faults.down = True
    with pytest.raises(Unavailable):
        two.put("a/1")
    two.wait(lambda: two.pair.turn == SECOND, seconds=AFTER_S + 30)
    assert two.claims == [SECOND], "a claim follows every turn"
    assert two.turns[-1] == SECOND
    two.put(epoch(2), b"epoch 2")
    two.put("a/1", b"while it was away")
    with pytest.raises(Exists):
        two.put("a/1", b"again")
    assert two.names("a/") == ["a/0", "a/1"]
    assert two.get("a/0") == b"x"
    two.one.faults.down = False
    two.wait(lambda: two.pair.turn == FIRST)
    assert two.claims == [SECOND, FIRST]
    assert two.turns[-1] == FIRST
    assert two.same()
    assert two.keeper.mended == 0, "what it missed it had not lost"  # type: ignore[union-attr]


def test_who_is_away_is_not_back_by_an_answer_to_what_was_asked_before_nor_by_one_that_was_not_asked_for(two: Two) -> None:
    two.put("a/1")
    half, asked = two.pair.halves[0], two.host.future()

    async def late() -> None:
        await asked

    reading = two.host.spawn(two.pair.ask(half, late()), name="late")
    two.host.run_for(1.0)
    two.one.faults.down = True
    with pytest.raises(Unavailable):
        two.put("a/2")
    since_us = half.since_us
    two.host.run_for(1.0)
    asked.set_result(None)
    two.host.run_for(1.0)
    assert reading.done()
    two.run(two.pair.ask(half, late(), asks=False))
    assert half.error is not None
    with pytest.raises(Unavailable):
        two.put("a/2")
    assert half.since_us == since_us, "it has been away since then"
    two.one.faults.down = False
    two.put("a/2")
    assert half.error is None


def test_both_away_moves_nothing(two: Two) -> None:
    two.keeper.start()  # type: ignore[union-attr]
    for store in two.stores:
        store.faults.down = True
    with pytest.raises(Unavailable):
        two.put("a/1")
    with pytest.raises(Unavailable):
        two.get("a/1")
    two.host.run_for(10 * AFTER_S)
    assert (two.pair.turn, two.claims) == (FIRST, [])


@pytest.mark.parametrize(("first", "second", "decides"), [(0, 0, FIRST), (3, 3, FIRST), (4, 3, FIRST), (3, 4, SECOND)])
def test_the_higher_epoch_decides_over_restarts(two: Two, first: int, second: int, decides: int) -> None:
    for store, highest in zip(two.stores, (first, second), strict=True):
        for number in range(1, highest + 1):
            store.objects[epoch(number)] = SimObject(b"epoch", 0)
    two.life()
    assert two.pair.turn == decides


def test_one_that_was_behind_gets_the_epochs_last(two: Two) -> None:
    """Else a restart would take it for the one that decides, and what it lacks for what is not there."""
    two.two.objects[epoch(2)] = SimObject(b"epoch 2", 0)
    for number in range(3):
        two.two.objects[f"a/{number}"] = SimObject(b"x", 0)
    two.life()
    assert two.pair.turn == SECOND
    seen: list[str] = []
    two.one.on_put = seen.append
    two.put(epoch(3), b"epoch 3")
    assert epoch(3) not in two.one.objects, "not even in passing"
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert seen == ["a/0", "a/1", "a/2", epoch(2), epoch(3)]
    assert two.same()


def test_an_epoch_waits_until_nothing_else_is_lacking(two: Two) -> None:
    two.two.objects[epoch(2)] = SimObject(b"epoch 2", 0)
    two.two.objects["a/1"] = SimObject(b"x", 0)
    two.life()

    def meanwhile(key: str) -> None:
        """Another create of which the first one has not heard."""
        if key == "a/1":
            two.two.objects["a/2"] = SimObject(b"x", 0)
            two.pair.halves[0].lack("a/2")

    two.one.on_put = meanwhile
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert sorted(two.one.objects) == ["a/1"]
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    assert two.same()


def test_one_that_was_away_for_long_is_compared_again(two: Two) -> None:
    two.keeper.start()  # type: ignore[union-attr]
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    two.two.faults.down = True
    two.put("a/1")
    two.host.run_for(40)
    two.two.faults.down = False
    two.one.objects["a/2"] = SimObject(b"nobody was told of this one", 0)
    two.wait(two.same)


def test_what_was_deleted_meanwhile_is_not_put_anew(two: Two) -> None:
    two.one.objects["a/1"] = SimObject(b"rotten", 0)
    two.run(two.pair.replace("a/1", two.pair.halves[0], b"sound"))
    assert two.one.objects["a/1"].data == b"rotten", "the other one has it no more"


def test_nothing_is_called_whole_while_the_names_are_being_compared(two: Two) -> None:
    two.two.objects["z/1"] = SimObject(b"x", 0)
    comparing = two.host.spawn(two.keeper.catch_up(), name="compare")  # type: ignore[union-attr]
    while not two.same():
        assert not two.pair.halves[0].whole
        two.host.run_for(0.001)
    two.host.run_for(1)
    assert comparing.done()
    assert all(half.whole for half in two.pair.halves)


def test_the_turn_is_not_given_back_before_everything_is_compared(two: Two) -> None:
    two.two.objects[epoch(2)] = SimObject(b"epoch 2", 0)
    two.two.objects["a/1"] = SimObject(b"two", 0)
    two.one.objects["a/1"] = SimObject(b"one", 0)
    two.life().start()
    two.host.run_for(20)
    assert two.pair.turn == FIRST, "same size, not looked at by its bytes"
    two.one.objects["a/1"] = SimObject(b"longer", 0)
    two.two.objects[epoch(4)] = SimObject(b"epoch 4", 0)
    two.life().start()
    two.host.run_for(60)
    assert two.pair.turn == SECOND
    assert ("sim://one", "a/1") in two.keeper.outstanding  # type: ignore[union-attr]


def test_a_start_with_one_of_them_waits_before_it_does_without_the_other(two: Two) -> None:
    two.put("a/1", b"here")
    two.one.faults.down = True
    keeper = two.life(settle=False)
    assert not two.run(keeper.settle())
    keeper.start()
    assert two.get("a/1") == b"here"
    for call in (two.pair.put("a/2", b"x"), two.pair.list(""), two.pair.head("a/2"), two.pair.get("a/2"), two.pair.delete("a/1")):
        with pytest.raises(Unavailable):
            two.run(call)
    two.wait(lambda: two.pair.turn == SECOND, seconds=AFTER_S + 30)
    two.put("a/2")
    assert two.names() == ["a/1", "a/2"]


def test_a_start_with_one_of_them_is_settled_when_the_other_answers(two: Two) -> None:
    two.one.faults.down = True
    keeper = two.life(settle=False)
    two.run(keeper.settle())
    keeper.start()
    two.host.run_for(10)
    assert two.pair.turn is None
    two.one.faults.down = False
    two.wait(lambda: two.pair.turn == FIRST)


def test_creates_under_way_end_where_they_began(two: Two) -> None:
    two.keeper.start()  # type: ignore[union-attr]
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    task = two.host.spawn(two.pair.put("a/1", b"x"), name="put")
    two.host.run_for(0.001)
    assert two.run(two.pair.give_turn(SECOND))
    assert task.done()
    assert two.same()
    assert two.pair.turn == SECOND


def test_the_turn_does_not_go_to_one_that_lacks_something_by_now(two: Two) -> None:
    two.run(two.keeper.catch_up())  # type: ignore[union-attr]
    two.pair.halves[1].lack("a/1")
    assert not two.run(two.pair.give_turn(SECOND))
    assert two.pair.turn == FIRST


# --- without a keeper


def test_where_nobody_keeps_them_both_are_read_and_neither_is_written(two: Two) -> None:
    two.put("a/1", b"here")
    two.one.lose("a/1")
    two.one.objects["a/0"] = SimObject(b"x", 0)
    pair = PairedStore(*(store.client(two.host.tasks) for store in two.stores), clock=two.host.clock, judge=JUDGE)
    assert [info.key for info in two.run(pair.list("a/")).objects] == ["a/0", "a/1"]
    assert two.run(pair.get("a/1")) == b"here"
    with pytest.raises(Missing):
        two.run(pair.get("a/2"))
    for call in (pair.put("a/2", b"x"), pair.delete("a/1")):
        with pytest.raises(Unavailable):
            two.run(call)
    two.two.faults.down = True
    for call in (pair.list("a/"), pair.get("a/1"), pair.head("a/1")):
        with pytest.raises(Unavailable):
            two.run(call)


def test_an_error_of_the_first_is_its_own_when_the_second_has_nothing_better(two: Two) -> None:
    async def broken(key: str) -> bytes:
        raise Corrupt("not what was put", what="object", where=key)

    two.put("a/1", b"here")
    two.pair.halves[0].store.get = broken  # type: ignore[method-assign]
    assert two.get("a/1") == b"here"
    two.two.faults.down = True
    with pytest.raises(Corrupt):
        two.get("a/1")


# --- versions and locks


def test_what_stands_over_an_object_is_told_of_the_archive_it_stands_in(two: Two) -> None:
    for store in two.stores:
        store.versioned = True
    two.put("a/1")
    two.put("a/2")
    two.one.lose("a/1")
    two.two.lose("a/2")
    two.run(two.pair.uncover("a/"))
    told = two.run(_now(lambda: two.pair.recalled("a/")))
    assert {key: one.detail.rpartition("(in ")[2] for key, one in told.items()} == {"a/1": "sim://one)", "a/2": "sim://two)"}
    two.two.faults.down = True
    two.run(two.pair.uncover("a/"))
    two.one.faults.down = True
    with pytest.raises(Unavailable):
        two.run(two.pair.uncover("a/"))


def test_a_lock_is_made_longer_in_both(two: Two) -> None:
    for store in two.stores:
        store.lock_us = 1
    two.put("a/1")
    assert two.pair.locks_us() == 1
    two.one.objects["a/1"].locked_until_us = 1 << 62
    assert two.run(two.pair.retain("a/1", 1 << 60)) == 1 << 60, "the lock that ends first"
    two.one.objects["a/1"].locked_until_us = 1 << 60
    assert all(store.objects["a/1"].locked_until_us == 1 << 60 for store in two.stores)
    two.one.objects.pop("a/1")
    two.run(two.pair.retain("a/1", 1 << 61))
    assert two.two.objects["a/1"].locked_until_us == 1 << 61
    with pytest.raises(Missing):
        two.run(two.pair.retain("a/2", 1))
    two.two.faults.down = True
    with pytest.raises(Unavailable):
        two.run(two.pair.retain("a/1", 1))


async def _now(call: Callable[[], Any]) -> Any:
    return call()


def test_a_second_archive_is_begun_empty(two: Two) -> None:
    """What an older copy holds and the archive has given up since would come back."""
    keeper = two.life(settle=False)
    two.two.objects[epoch(1)] = SimObject(b"an older copy", 0)
    with pytest.raises(Unsafe, match="the second archive is not new"):
        two.run(begin_pair(two.host.env(), keeper, attached=True, new=True))
    two.run(begin_pair(two.host.env(), two.life(settle=False), attached=True, new=False))  # it was its second one already
    assert two.pair.turn == SECOND
    del two.two.objects[epoch(1)]
    two.run(begin_pair(two.host.env(), two.life(settle=False), attached=True, new=True))
    assert two.pair.turn == FIRST
    two.two.faults.down = True
    with pytest.raises(Unavailable, match="it must, when it is begun"):
        two.run(begin_pair(two.host.env(), two.life(settle=False), attached=True, new=True))


# --- the archive moves


class Moving:
    """A process that keeps the two, with a writer, and what it noted of a move."""

    def __init__(self, two: Two) -> None:
        self.two, self.stays = two, False
        self.begin()

    def begin(self) -> None:
        self.keeper = self.two.life(settle=False)
        self.keeper.stays = self.stays
        assert self.two.run(self.keeper.settle())
        self.keeper.noted_stay = self._note
        self.writer = Writer(CLUSTER, Attached(CLUSTER, 1, OWNER))
        self.keeper.reclaim = self._reclaim
        self.keeper.start()
        self.told: list[dict[str, Any]] = []

    def _note(self, stays: int) -> None:
        self.stays = bool(stays)

    def _reclaim(self) -> None:
        self.writer.unclaim()
        self.two.claims.append(self.keeper.pair.turn)

        async def claim() -> None:
            await self.two.host.sleep(1.0)
            number = len(self.two.claims) + 1
            await self.keeper.pair.put(epoch(number), b"mine")
            self.writer.claimed(Attached(CLUSTER, number, OWNER))

        self.two.host.spawn(claim(), name="claim")

    def move(self, *, confirm: bool = True, back: bool = False) -> dict[str, Any]:
        moves = Moves(self.two.host.env(), self.keeper, self.writer)
        report: dict[str, Any] = self.two.run(moves.move(confirm=confirm, back=back, progress=self.told.append))
        return report


def test_the_archive_moves_once_it_is_proven_the_same_and_stays_where_it_is(two: Two) -> None:
    for number in range(20):
        two.one.objects[f"a/{number}"] = SimObject(b"x", 0)
    moving = Moving(two)
    plan = moving.move(confirm=False)
    assert (plan["exit"], plan["lacking"], plan["decides"]) == (3, None, two.one.client(two.host.tasks).url)
    report = moving.move()
    assert (report["exit"], report["checked"], report["stays"], report["differences"]) == (0, 20, True, [])
    assert report["decides"] == report["to"] == two.two.client(two.host.tasks).url
    assert {one["phase"] for one in moving.told} >= {"copy", "compare", "claim"}
    assert moving.writer.state == "", "what is written goes there by now"
    assert two.same()
    two.host.run_for(120)
    moving.begin()
    two.host.run_for(120)
    assert two.pair.turn == SECOND, "over a restart too"
    assert moving.move()["exit"] == 0, "asked for again"
    assert two.claims == [SECOND]
    assert moving.move(confirm=False)["exit"] == 0
    two.put("a/after")
    assert two.same(), "the old place follows"
    assert moving.move(back=True)["stays"] is False
    two.wait(lambda: two.pair.turn == FIRST)
    assert two.claims == [SECOND, FIRST]
    moving.begin()
    two.host.run_for(5)
    assert two.pair.turn == FIRST


def test_an_archive_does_not_move_to_one_that_differs(two: Two) -> None:
    for store, data in zip(two.stores, (b"one", b"two"), strict=True):
        store.objects["a/1"] = SimObject(data, 0)
    moving = Moving(two)
    report = moving.move()
    assert (report["exit"], [one["kind"] for one in report["differences"]]) == (2, ["forged"])
    two.host.run_for(30)
    assert (two.pair.turn, moving.stays) == (FIRST, False)


def test_an_archive_does_not_move_while_one_is_away_or_without_a_second(two: Two) -> None:
    moving = Moving(two)
    two.host.run_for(5)
    two.two.faults.down = True
    two.put("a/1")
    with pytest.raises(Unavailable, match="nothing is moved"):
        moving.move()
    assert (two.pair.turn, moving.stays) == (FIRST, False)
    with pytest.raises(Unsafe, match="no second archive"):
        two.run(Moves(two.host.env(), None, moving.writer).move(confirm=True, back=False, progress=moving.told.append))
    two.two.faults.down = False
    two.wait(lambda: all(half.whole for half in two.pair.halves))
    assert moving.move()["exit"] == 0
    two.two.faults.down = True  # and the new place goes away: the old one is enough
    with pytest.raises(Unavailable):
        two.put("a/2")
    two.wait(lambda: two.pair.turn == FIRST)
    two.host.run_for(5)
    two.put("a/3")
    two.two.faults.down = False
    two.wait(two.same)
    assert moving.move()["exit"] == 0
    assert two.pair.turn == SECOND
