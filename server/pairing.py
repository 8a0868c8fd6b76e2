"""Keeps a pair of archives (`base.wrap.paired`): whose turn it is to decide, what one lacks brought to it, and both compared, name by name and byte by byte.

Whose turn it is lies in the archives themselves: the one with the higher epoch decides, the first one where both have the same. So a turn is taken by claiming
an epoch in one's own name there (`archiver.write.claiming`), create-once as every claim, and noted in the metadata log as every claim is; whoever went on
below an older epoch is fenced by it. It is taken from an archive that has not answered for `decides_after_s`, and given back to the first as soon as that
has been compared and lacks nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from scrubjay.archiver.format.layout import EpochKey, epoch_prefix, parse
from scrubjay.archiver.read.names import epochs_after
from scrubjay.base.env import Env, ObjectInfo, ObjectStore, Task
from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Exists, Missing, ScrubjayError, Unavailable
from scrubjay.base.together import within
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.paired import FIRST, PASSING, SECOND, Half, PairedStore

LOOK_S = 1.0
"""Between two looks at whose turn it is, and at what is lacking."""
PING_S = 5.0
"""An archive that did not answer is asked again so often."""
PATIENCE_S = 10.0
"""For that one answer."""
PAGE = 1_000
FOUND_MAX = 1_000
"""Differences named at a time; more are counted."""
ASSURED_WITHIN = 4
"""Looks at one object that must lie in both."""
COPIED_AT_ONCE = 64
"""Objects brought between two looks whether the run must end."""

Log = Callable[[str, str], object]
"""log(level, line)."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """decides_after_s: see the module. rate_bytes: per second, of what is copied and compared; None: no bound. compare_again_s: between two looks at all names."""

    decides_after_s: float = 60.0
    rate_bytes: int | None = None
    compare_again_s: float = 86_400.0


class PairDifference(NamedTuple):
    """archive: URL of the one that is not as it should be. kind: hole (it lacked the object, and decides) | unreadable (its bytes are not what was put) |
    forged (two sound objects under one name: nobody can say which was put)."""

    archive: str
    key: str
    kind: str
    detail: str


class HalfState(NamedTuple):
    """url: of the archive. decides: creates are its answers. error, since_us (wall clock): why and since when it does not answer, None if it does. lacking: objects
    that it may not have. compared: all names were compared since it was last away. behind_since_us (wall clock): since when it is not known to have everything."""

    url: str
    decides: bool
    error: str | None
    since_us: int | None
    lacking: int
    compared: bool
    behind_since_us: int | None


class PairComparison(NamedTuple):
    """What one comparison of bytes came to. checked: objects in both. bytes: of one of them. mended: brought or put anew. at: the last key looked at."""

    checked: int
    bytes: int
    mended: int
    differences: tuple[PairDifference, ...]
    complete: bool
    at: str


class PairKeeper:
    """`settle()` before the archive is used, `start()` once its claim runs, `stop()`. reclaim: claim the next epoch where the turn is now.

    More than 15 fields, and more than 25 methods: what is known of two archives, whose turn it is, and what is brought from one to the other: each step is one of them."""

    def __init__(self, env: Env, pair: PairedStore, *, cluster: str, options: PairOptions, log: Log) -> None:
        self._env, self.pair, self.cluster, self.options, self._log = env, pair, cluster, options, log
        self.reclaim: Callable[[], object] = _nothing
        self.kept_evidence: Callable[[PairDifference, bytes], None] = _no_evidence
        """Called before bytes that are not what was put are taken away."""
        self.noted: Callable[[PairDifference, bool], object] = _noted_nowhere
        """Told of each difference that is new, and whether it was mended. Never raises."""
        self.outstanding: dict[tuple[str, str], PairDifference] = {}
        """By archive and key: what differs and was not mended."""
        self.copied = self.copied_bytes = self.mended = 0
        """Objects brought to one that lacked them, their bytes, and those of them that are differences."""
        self.turned: Callable[[int], object] = _nobody_told
        """Told of every new turn, before anything is written there."""
        self.stays = False
        """The second one keeps its turn: the archive moves there (`server.moving`)."""
        self.noted_stay: Callable[[bool], object] = _nobody_told
        """Keeps that over restarts."""
        self._behind: dict[int, int] = {}
        self._told: dict[str, bool] = {}
        self._unsettled_us = env.clock.boot_us()
        self._pinged_us = 0
        self._compared_us = 0
        self._paid_us, self._rate = 0, options.rate_bytes
        self._forced = False
        """The turn was taken from an archive that did not answer: what one lacks since says nothing of it."""
        self._tasks: list[Task[None]] = []
        pair.keep(env.tasks, last=says_whose_turn)
        for half in pair.halves:
            half.store = MeteredStore(half.store, env)

    def start(self) -> None:
        keep = self._env.tasks.keep
        self._tasks = [keep(self._watch, name="whose turn it is"), keep(self._bring, name="second archive")]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def note_away(self, half: Half, error: Unavailable) -> None:
        """It did not answer somebody who waited for it."""

        async def fail() -> None:
            raise error

        with suppress(Unavailable):
            await self.pair.ask(half, fail())

    # --- what there is to tell ---

    def states(self) -> list[HalfState]:
        now_us, boot_us = self._env.clock.wall_us(), self._env.clock.boot_us()
        return [
            HalfState(
                half.url,
                self.pair.turn == number,
                None if half.error is None else str(half.error),
                None if half.error is None else now_us - (boot_us - half.since_us),
                len(half.lacking),
                half.compared,
                self._behind.get(number),
            )
            for number, half in enumerate(self.pair.halves)
        ]

    def meter(self, number: int) -> MeteredStore:
        store = self.pair.halves[number].store
        assert isinstance(store, MeteredStore)
        return store

    # --- whose turn it is ---

    async def settle(self) -> bool:
        """Find out which of the two decides. False: one of them does not answer, and it is not yet time to do without it. Raises nothing of theirs."""
        epochs = [await self._epoch(half) for half in self.pair.halves]
        first, second = epochs
        waited_s = (self._env.clock.boot_us() - self._unsettled_us) / 1e6
        if first is not None and second is not None:
            self.pair.turn = SECOND if second > first or (self.stays and second == first) else FIRST
            self.turned(self.pair.turn)
        elif (first is None) != (second is None) and waited_s >= self.options.decides_after_s:
            self.pair.turn = FIRST if second is None else SECOND
            self._forced = True
            self._log("error", f"{self._away_url()} did not answer for {waited_s:.0f} s since the start: {self._url()} decides alone")
            self.turned(self.pair.turn)
        return self.pair.turn is not None

    async def _epoch(self, half: Half) -> int | None:
        """The highest in one archive, 0 without one; None: it does not answer."""
        try:
            names = await self._patiently(half, epochs_after(half.store, self.cluster, 0))
        except ScrubjayError:
            return None
        return max((key.number for key in map(parse, names) if isinstance(key, EpochKey)), default=0)

    async def _patiently(self, half: Half, call: Coroutine[Any, Any, list[str]]) -> list[str]:
        return await self.pair.ask(half, within(self._env.tasks, call, seconds=PATIENCE_S, what="the archive does not answer in time"))

    async def _watch(self) -> None:
        while True:
            await self._ping()
            if self.pair.turn is None:
                await self.settle()
            else:
                await self._take_or_give()
            self._tell()
            await self._env.tasks.sleep(LOOK_S)

    async def _ping(self) -> None:
        """Who does not answer is asked by nobody else."""
        now_us = self._env.clock.boot_us()
        if now_us - self._pinged_us < PING_S * 1e6:
            return
        self._pinged_us = now_us
        for half in self.pair.halves:
            if half.error is not None:
                with suppress(ScrubjayError):
                    await self._patiently(half, _first_names(half.store, epoch_prefix(self.cluster)))

    async def _take_or_give(self) -> None:
        turn = self.pair.turn
        assert turn is not None
        decides, other = self.pair.halves[turn], self.pair.halves[1 - turn]
        away_s = 0.0 if decides.error is None else (self._env.clock.boot_us() - decides.since_us) / 1e6
        if away_s >= self.options.decides_after_s and other.error is None:
            self._forced = True
            if await self.pair.give_turn(1 - turn):
                self._log(
                    "error",
                    f"{decides.url} has not answered for {away_s:.0f} s: {other.url} decides from now on, and what is written goes there",
                )
                self.turned(1 - turn)
                self.reclaim()
            return
        back = (
            turn == SECOND
            and not self.stays
            and not self.outstanding
            and all(half.error is None and half.whole for half in (decides, other))
        )
        if back and await self.give_to(FIRST):
            self._log("info", f"{other.url} lacks nothing any more and decides again")

    async def give_to(self, turn: int) -> bool:
        """False: it lacks something by now. Nothing changes if it decides already."""
        if self.pair.turn == turn:
            return True
        if not await self.pair.give_turn(turn):
            return False
        self.turned(turn)
        self.reclaim()
        return True

    def stay(self, stays: bool) -> None:
        """From now on, over restarts."""
        if self.stays != stays:
            self.noted_stay(stays)
            self.stays = stays
            second = self.pair.halves[SECOND].url
            self._log(
                "warning",
                f"the archive moves to {second}: it decides, and keeps its turn" if stays else f"the archive does not move to {second}",
            )

    def _url(self) -> str:
        return self.pair.halves[self.pair.turn or FIRST].url

    def _away_url(self) -> str:
        return self.pair.halves[1 - (self.pair.turn or FIRST)].url

    def _tell(self) -> None:
        """A line when one goes, and one when it is back."""
        for number, half in enumerate(self.pair.halves):
            if half.whole:
                self._behind.pop(number, None)
            else:
                self._behind.setdefault(number, self._env.clock.wall_us())
            away = half.error is not None
            if self._told.get(half.url, False) != away:
                self._told[half.url] = away
                if away:
                    self._log("warning", f"the archive {half.url} does not answer; the other one is enough to go on: {half.error}")
                else:
                    self._log("info", f"the archive {half.url} answers again and is compared with the other one")

    # --- what one lacks is brought to it ---

    async def _bring(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.catch_up()
            await self._env.tasks.sleep(LOOK_S)

    async def catch_up(self) -> None:
        """Compare the names if that is due, and bring what is lacking as far as is known. Raises Unavailable."""
        halves = self.pair.halves
        if self.pair.turn is None or any(half.error is not None for half in halves):
            return
        due = self._env.clock.boot_us() - self._compared_us >= self.options.compare_again_s * 1e6
        if due or not all(half.compared for half in halves):
            await self._compare_names()
        for half in halves:
            for key in sorted(half.lacking, key=lambda key: (says_whose_turn(key), key)):
                if not says_whose_turn(key) or self.pair.may_have_the_last(half):
                    await self._mend(half, key)
        for half in halves:
            for key in list(half.unsound):
                await self._judge(key, half)

    async def _compare_names(self) -> None:
        """Both listings beside each other: what one has and the other has not is lacking there. What changes meanwhile is looked at again before anything is done."""
        halves = self.pair.halves
        doubts = [half.doubts for half in halves]
        try:
            async for key, sizes in _beside(self.pair, *halves):
                for half, size in zip(halves, sizes, strict=True):
                    if size is None:
                        half.lack(key)
                if None not in sizes and sizes[0] != sizes[1]:
                    await self._judge(key, None)
        except ScrubjayError:
            for half in halves:
                half.doubt()
            raise
        for half, before in zip(halves, doubts, strict=True):
            half.compared = half.doubts == before
        self._compared_us = self._env.clock.boot_us()

    async def _mend(self, half: Half, key: str) -> None:
        """Bring one object. Raises Unavailable."""
        other = self.pair.halves[1] if half is self.pair.halves[0] else self.pair.halves[0]
        decides = self.pair.turn is not None and half is self.pair.halves[self.pair.turn]
        try:
            data = await self.pair.copy(key, half)
        except Exists:
            half.lacking.pop(key, None)
            await self._judge(key, None)
        except Corrupt as error:
            half.lacking.pop(key, None)
            self._found(PairDifference(other.url, key, error.kind, f"{error}, and {half.url} lacks it"))
        else:
            if data is not None:
                self.copied += 1
                self.copied_bytes += len(data)
                if decides and not self._forced:
                    self.mended += 1
                    self._log("error", f"the archive {half.url} lacked {key}, and decides what is there: it was brought from {other.url}")
                    self.noted(PairDifference(half.url, key, HOLE, "it lacked the object"), True)
                self.outstanding.pop((half.url, key), None)
                await self._pay(len(data))
        if not half.lacking and half.compared and all(one.whole for one in self.pair.halves):
            self._forced = False

    async def _judge(self, key: str, suspect: Half | None) -> bool:
        """Read one object in both, and if they differ put the one that is sound in the place of the other. True: they are the same, or are now. Raises Unavailable."""
        halves = self.pair.halves
        read = [await self._read(half, key) for half in halves]
        if any(isinstance(one, Missing) for one in read):
            for half, one in zip(halves, read, strict=True):
                half.unsound.pop(key, None)
                if isinstance(one, Missing):
                    half.lack(key)
            return False
        if not isinstance(read[0], ScrubjayError) and read[0] == read[1]:
            self._same(key)
            return True
        word = [False if isinstance(one, ScrubjayError) else await self._sound(key, one) for one in read]
        for number, half in enumerate(halves):
            good = read[1 - number]
            if word[number] is False and word[1 - number] is not False and isinstance(good, bytes):
                await self._replace(key, half, read[number], good)
                return (half.url, key) not in self.outstanding
        turn = self.pair.turn or FIRST
        one, two = read
        if word[0] is not False and isinstance(one, bytes) and isinstance(two, bytes) and await self.pair.alike(key, one, two):
            await self.pair.replace(key, halves[1 - turn], (one, two)[turn])  # two honest writers, while one archive was out of reach
            self._same(key)
            return True
        if word[0] is False:
            for half, one in zip(halves, read, strict=True):
                self._found(PairDifference(half.url, key, UNREADABLE, f"not what was put, in either archive{_said(one)}"))
        else:
            self._found(
                PairDifference(halves[1 - turn].url, key, FORGED, f"it differs from what {halves[turn].url} has, and both are sound")
            )
        for half in halves:
            half.unsound.pop(key, None)
        return False

    async def _read(self, half: Half, key: str) -> bytes | Missing | Corrupt:
        try:
            data = await self.pair.ask(half, half.store.get(key))
        except (Missing, Corrupt) as error:
            return error
        await self._pay(len(data))
        return data

    async def _sound(self, key: str, data: bytes | Missing | Corrupt) -> bool | None:
        return await self.pair.judged(key, data) if isinstance(data, bytes) else False

    def _same(self, key: str) -> None:
        for half in self.pair.halves:
            half.unsound.pop(key, None)
            self.outstanding.pop((half.url, key), None)

    async def _replace(self, key: str, half: Half, bad: bytes | Missing | Corrupt, good: bytes) -> None:
        found = PairDifference(half.url, key, UNREADABLE, f"not what was put{_said(bad)}")
        if isinstance(bad, bytes):
            self.kept_evidence(found, bad)
        try:
            await self.pair.replace(key, half, good)
        except Unavailable:
            raise
        except ScrubjayError as error:
            half.unsound.pop(key, None)
            self._found(found._replace(detail=f"{found.detail}; it cannot be replaced: {error}"))
            return
        self._same(key)
        self.mended += 1
        self._log("error", f"{key} in the archive {half.url} was {found.detail}: it was put anew from the other one")
        self.noted(found, True)

    def _found(self, one: PairDifference) -> None:
        at = (one.archive, one.key)
        if at not in self.outstanding and len(self.outstanding) < FOUND_MAX:
            self._log("error", f"the archives differ: {one.key} in {one.archive}: {one.detail}")
            self.noted(one, False)
        if at in self.outstanding or len(self.outstanding) < FOUND_MAX:
            self.outstanding[at] = one

    async def _pay(self, size: int) -> None:
        """Keep to the rate."""
        if self._rate is None:
            return
        now_us = self._env.clock.boot_us()
        self._paid_us = max(self._paid_us, now_us) + size * 1_000_000 // self._rate
        if self._paid_us > now_us:
            await self._env.tasks.sleep((self._paid_us - now_us) / 1e6)

    async def assure(self, keys: Sequence[str]) -> None:
        """Each of these lies in both, byte for byte the same, or is brought and put anew now: something is about to be deleted on their word.

        Raises Unavailable; Corrupt (they differ, and nobody can say which was put)."""
        for key in keys:
            for left in reversed(range(ASSURED_WITHIN)):
                try:
                    if await self._alike_by_now(key):
                        break
                except Unavailable:
                    if not left:
                        raise
                    await self._env.tasks.sleep(LOOK_S)
            else:
                raise Corrupt("the two archives do not have the same under this name", what="object", where=key)

    async def _alike_by_now(self, key: str) -> bool:
        """Mended, if that can be."""
        if await self._judge(key, None):
            return True
        for half in self.pair.halves:
            if key in half.lacking:
                await self._mend(half, key)
        return False

    # --- bytes beside bytes ---

    async def compare(
        self, *, after: str = "", stop: Callable[[int], str | None] = lambda _: None, rate_bytes: int | None = None
    ) -> PairComparison:
        """Every object in both, byte by byte, from a key on. stop(bytes read): why it must end here. rate_bytes: of this run, else the options'.

        Raises Unavailable (one of them does not answer)."""
        self._rate = rate_bytes or self.options.rate_bytes
        checked, size, mended, at, complete = 0, 0, self.mended, after, True
        for half in self.pair.halves:
            if half.error is not None:
                raise Unavailable("an archive does not answer: nothing can be compared", archive=half.url, cause=str(half.error))
        async for key, sizes in _beside(self.pair, *self.pair.halves, after=after):
            if stop(size) is not None:
                complete = False
                break
            lacks = [half for half, one in zip(self.pair.halves, sizes, strict=True) if one is None]
            if lacks and says_whose_turn(key):
                lacks[0].lack(key)
            elif lacks:
                await self._mend(lacks[0], key)
            else:
                await self._judge(key, None)
                checked, size = checked + 1, size + (sizes[0] or 0)
            at = key
        return PairComparison(checked, size, self.mended - mended, tuple(self.outstanding.values()), complete, "" if complete else at)


def says_whose_turn(key: str) -> bool:
    """Epochs: the one that has the highest decides, so that one that was behind must have all else before it."""
    return isinstance(parse(key), EpochKey)


def _said(one: bytes | ScrubjayError) -> str:
    return f": {one}" if isinstance(one, ScrubjayError) else ""


async def _first_names(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in (await store.list(prefix, limit=1)).objects]


async def _listed(pair: PairedStore, half: Half, after: str) -> AsyncIterator[ObjectInfo]:
    more = True
    while more:
        page = await pair.ask(half, half.store.list("", after=after, limit=PAGE))
        for info in page.objects:
            yield info
            after = info.key
        more = page.more and bool(page.objects)


async def _beside(pair: PairedStore, one: Half, two: Half, *, after: str = "") -> AsyncIterator[tuple[str, tuple[int | None, int | None]]]:
    """Every key that either has, rising, with its size in each, None where it is not. Probes of a store are left out."""
    left, right = _listed(pair, one, after), _listed(pair, two, after)
    here, there = await anext(left, None), await anext(right, None)
    while here is not None or there is not None:
        key = min(info.key for info in (here, there) if info is not None)
        mine, other = (here if here is not None and here.key == key else None), (there if there is not None and there.key == key else None)
        if not key.startswith(PASSING):
            yield key, (None if mine is None else mine.size, None if other is None else other.size)
        if mine is not None:
            here = await anext(left, None)
        if other is not None:
            there = await anext(right, None)


def _nothing() -> None:
    """Nobody claims here."""


def _nobody_told(told: int) -> None:
    """Nobody keeps it over restarts beside the archives themselves."""


def _noted_nowhere(found: PairDifference, mended: bool) -> None:
    """Nobody keeps findings."""


def _no_evidence(found: PairDifference, data: bytes) -> None:
    """Nowhere to keep it."""
