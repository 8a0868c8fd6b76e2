"""Two archives as one `ObjectStore`: everything lies in both, and either is enough to read from.

One of the two decides (`turn`): a create is its answer, and the other follows with the same bytes. So what was created once is created once, whatever the
other says, and no race between two stores can make two winners. What the other could not be given is *lacking* there: it is kept here until somebody brings
it (`server.pairing`), and found again by comparing the listings, so a restart forgets nothing.

Reads ask the one that decides, then the other: if the first does not answer, lacks the object, or gives bytes that cannot be what was put. That an object is
absent is believed of the one that decides alone. A listing is that one's, and what the other has besides. A deletion needs both: so what only one of them
has was never deleted, and is brought back to the other. It also needs that either has all else: what is deleted is in a pack, or below a base, and the archive that
lacked that would lose it.

Where nobody keeps the pair (`keep` was not called) `turn` is what whoever keeps it said, as workers are told with every job (`base.paired_jobs`), and what was met is said to
that one. Where nobody said (offline verbs), nothing is written, and a listing needs both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from scrubjay.base.env import Clock, Future, ListPage, ObjectInfo, ObjectStore, Recalled, Tasks
from scrubjay.base.errors import Corrupt, Exists, Invalid, Missing, NoKey, ScrubjayError, Unavailable, Unsafe

T = TypeVar("T")
FIRST: Final = 0
SECOND: Final = 1
LACKING_MAX = 100_000
"""Keys known to be lacking in one archive, some 200 bytes each. Beyond that the listings are compared again."""
UNSOUND_MAX = 1_000
"""Objects known to be unsound in one archive."""
AGAIN_US = 5_000_000
"""Where nobody keeps the pair: an archive that did not answer is asked last for so long."""
COMPARE_AFTER_US = 30_000_000
"""One that did not answer for so long is compared again before it is called whole."""
JUDGED_HERE_BYTES = 64 << 10
"""Longer objects are judged off the loop."""
ALL_ELSE_US = 5_000_000
"""How long a deletion waits until either archive has all else: it may hold a request's place meanwhile, and is asked for again."""
PASSING: Final = "probe/"
"""Names of objects that a probe puts and takes away: nobody's, never brought from one to the other."""

Met = dict[str, list[list[str]]]
"""What a process met in each of the two: keys, by `lacking` and `unsound`."""


class Judging(NamedTuple):
    """sound(key, data): whether bytes can be what was put under a key; None: they say nothing of it. alike(key, one, other): two sound ones say the same."""

    sound: Callable[[str, bytes], bool | None]
    alike: Callable[[str, bytes, bytes], bool]


@dataclass(slots=True)
class Half:
    """One of the two. error, since_us (boot clock): of the trouble that lasts, None while it answers. lacking: keys that the other has and it may not have.
    compared: everything that the other had at some moment since was brought here or is among `lacking`. doubts: how often that was taken back. unsound: keys whose bytes here are not what was put.
    sent_before: how many requests had been sent, to either, when the trouble that lasts was last met: only an answer to a later one ends it."""

    store: ObjectStore
    error: Unavailable | None = None
    since_us: int = 0
    latest_us: int = 0
    sent_before: int = 0
    lacking: dict[str, None] = field(default_factory=dict)
    compared: bool = False
    doubts: int = 0
    unsound: dict[str, None] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.store.url

    def lack(self, key: str) -> None:
        if len(self.lacking) >= LACKING_MAX:
            self.doubt()
        else:
            self.lacking[key] = None

    def doubt(self) -> None:
        """It may lack more than is known: the names are to be compared again."""
        self.compared = False
        self.doubts += 1

    @property
    def whole(self) -> bool:
        """Nothing is known or feared to be lacking here."""
        return self.compared and not self.lacking

    def whole_but(self, key: str) -> bool:
        """Nothing else is."""
        return self.compared and len(self.lacking) == (key in self.lacking)


class PairedStore:
    """More than 25 methods: the port's ten, and what whoever keeps the pair needs of it."""

    def __init__(self, first: ObjectStore, second: ObjectStore, *, clock: Clock, judge: Judging | None = None) -> None:
        self.halves = (Half(first), Half(second))
        self.url = first.url
        self.turn: int | None = None
        """Which of the two decides; None: not settled, nothing is written or listed."""
        self.kept = False
        self._clock, self._judge = clock, judge
        self._tasks: Tasks | None = None
        self._last: Callable[[str], bool] = lambda _: False
        self._hold: Future[None] | None = None
        self._puts = self._sent = 0
        self._busy: dict[str, Future[None]] = {}

    def keep(self, tasks: Tasks, *, last: Callable[[str], bool] = lambda _: False) -> None:
        """From now on somebody settles whose turn it is, and brings what is lacking. last: keys by which that is told; one that was behind gets them after all else."""
        self.kept, self._tasks, self._last = True, tasks, last

    def may_have_the_last(self, half: Half) -> bool:
        """It lacks nothing but those."""
        return half.compared and all(self._last(key) for key in half.lacking)

    def close(self) -> None:
        for half in self.halves:
            close = getattr(half.store, "close", None)
            if close is not None:
                close()

    @property
    def settled(self) -> bool:
        """It is known which of the two decides: what that one lacks is not there, as far as can be known."""
        return self.turn is not None

    # --- who is asked ---

    def _order(self) -> tuple[Half, Half]:
        """(the one that decides, the other)."""
        at = self.turn or FIRST
        return self.halves[at], self.halves[1 - at]

    def _settled(self) -> tuple[Half, Half]:
        """Raises Unavailable while nobody can say which of the two decides."""
        if self.turn is None:
            away = next((half for half in self.halves if half.error is not None), None)
            fields = {} if away is None else {"archive": away.url, "cause": str(away.error)}
            raise Unavailable("which of the two archives decides is not settled yet", **fields)
        return self._order()

    def _away(self, half: Half) -> bool:
        """It is not asked if the other will do. Where the pair is kept its keeper says when it answers again."""
        return half.error is not None and (self.kept or self._clock.boot_us() - half.latest_us < AGAIN_US)

    async def ask(self, half: Half, call: Awaitable[T], *, asks: bool = True) -> T:
        """Await a request to one of the two, and remember whether it answered. asks: the store cannot answer without being asked."""
        self._sent += 1
        number = self._sent
        try:
            answer = await call
        except Unavailable as error:
            if not isinstance(error, NoKey):
                half.latest_us = self._clock.boot_us()
                if half.error is None:
                    half.since_us = half.latest_us
                half.error, half.sent_before = error, self._sent
            raise
        except ScrubjayError:
            self._answered(half, number)  # a refusal is an answer
            raise
        if asks:
            self._answered(half, number)
        return answer

    def _answered(self, half: Half, number: int) -> None:
        """number: of the request. One that was sent before the trouble was met may have been answered before, and ends nothing: the other one would never have been away for long enough."""
        if number <= half.sent_before:
            return
        if half.error is not None and self._clock.boot_us() - half.since_us >= COMPARE_AFTER_US:
            half.doubt()  # whatever became of it meanwhile
        half.error = None

    # --- writing ---

    async def put(self, key: str, data: bytes) -> None:
        while self._hold is not None:
            await self._hold
        decides, other = self._settled()
        self._puts += 1
        followed = False
        try:
            await self._must_be_new(key, decides, other)
            await self.ask(decides, decides.store.put(key, data))
            if not self._away(other) and (not self._last(key) or self.may_have_the_last(other)):
                with suppress(ScrubjayError):
                    await self.ask(other, other.store.put(key, data))
                    followed = True
        except (Invalid, Unsafe):
            followed = True  # it is nowhere
            raise
        except Exists:
            # Whoever put it gives it to the other too, unless it was killed in between. Agents of one partition meet here all day: what was always lacking somewhere for a
            # moment would let no delete come to pass.
            if not self._away(other):
                with suppress(ScrubjayError):
                    followed = await self.ask(other, other.store.head(key)) is not None
            raise
        finally:
            self._puts -= 1
            if not followed:
                other.lack(key)  # also after no answer, or none that was waited for: it may be there by now

    async def _must_be_new(self, key: str, decides: Half, other: Half) -> None:
        """Raises Exists if the other one has it, while the one that decides may lack things: it took the turn over, and has not been given all yet."""
        if decides.whole or self._away(other):
            return
        with suppress(Missing, Corrupt, Unavailable):
            if await self.ask(other, other.store.head(key)) is not None:
                decides.lack(key)
                raise Exists("the object is already there", key=key)

    async def delete(self, key: str) -> None:
        """As the port; it needs both, the one that decides last: what was cut off in the middle is still there, and is asked for again. Raises Unavailable also while
        one of them lacks something else, that may hold what is deleted."""
        decides, other = self._settled()
        await self._all_else(key)
        await self._alone(key)
        done = self._begin(key)
        try:
            await self.ask(other, other.store.delete(key))
            await self.ask(decides, decides.store.delete(key))
            for half in self.halves:
                half.lacking.pop(key, None)
                half.unsound.pop(key, None)
        finally:
            self._end(key, done)

    async def _all_else(self, key: str) -> None:
        """Wait until either has all but this. Not alone with the key: whoever brings what is lacking may wait for that."""
        began_us = self._clock.boot_us()
        while not key.startswith(PASSING) and self._tasks is not None:
            lacks = next((half for half in self.halves if not half.whole_but(key)), None)
            if lacks is None:
                return
            away = any(half.error is not None for half in self.halves)
            if away or self._clock.boot_us() - began_us >= ALL_ELSE_US:
                why = "has not been compared" if not lacks.compared else f"lacks {len(lacks.lacking)} objects"
                raise Unavailable(
                    "one of two archives may lack what is deleted in another form: nothing is deleted", archive=lacks.url, cause=why
                )
            await self._tasks.sleep(0.25)

    async def copy(self, key: str, to: Half) -> bytes | None:
        """Bring one object from the other half. None: it is nowhere, or there already. The bytes that were put are returned. Raises Exists (other bytes lie
        there), Corrupt (what would be brought is not what was put), Unavailable."""
        source = self.halves[1] if to is self.halves[0] else self.halves[0]
        await self._alone(key)
        done = self._begin(key)
        try:
            try:
                data = await self.ask(source, source.store.get(key))
            except Missing:
                to.lacking.pop(key, None)
                return None
            if await self.judged(key, data) is False:
                source.unsound[key] = None
                raise Corrupt("what one archive lacks is not sound in the other", what="object", where=key, archive=source.url)
            try:
                await self.ask(to, to.store.put(key, data))
            except Exists:
                if await self.ask(to, to.store.get(key)) != data:
                    raise
                to.lacking.pop(key, None)
                return None
            to.lacking.pop(key, None)
            return data
        finally:
            self._end(key, done)

    async def replace(self, key: str, at: Half, data: bytes) -> None:
        """Take away what lies under a key in one archive, and put `data`, which the other has, in its place; nothing if the other has it no more. Cut off between the
        two it is lacking. Raises Unsafe (the store keeps it locked), Unavailable."""
        other = self.halves[1] if at is self.halves[0] else self.halves[0]
        await self._alone(key)
        done = self._begin(key)
        try:
            if await self.ask(other, other.store.head(key)) is None:
                return
            await self.ask(at, at.store.delete(key))
            at.lack(key)
            await self.ask(at, at.store.put(key, data))
            at.lacking.pop(key, None)
            at.unsound.pop(key, None)
        finally:
            self._end(key, done)

    async def _alone(self, key: str) -> None:
        """One change of a key at a time: an object that is on its way to one half is not deleted from the other meanwhile, or it would come back."""
        while key in self._busy:
            await self._busy[key]

    def _begin(self, key: str) -> Future[None]:
        if self._tasks is None:
            raise Unavailable("nobody keeps the two archives here: nothing is written")
        done: Future[None] = self._tasks.future()
        self._busy[key] = done
        return done

    def _end(self, key: str, done: Future[None]) -> None:
        del self._busy[key]
        done.set_result(None)

    async def give_turn(self, to: int) -> bool:
        """Let the other one decide from now on, between two creates. False: it lacks something by now, and the one that decides answers."""
        assert self._tasks is not None
        while self._hold is not None:
            await self._hold
        hold: Future[None] = self._tasks.future()
        self._hold = hold
        try:
            while self._puts:
                await self._tasks.sleep(0.01)
            decides = None if self.turn is None else self.halves[self.turn]
            if decides is not None and decides.error is None and not self.halves[to].whole:
                return False
            self.turn = to
            return True
        finally:
            self._hold = None
            hold.set_result(None)

    # --- reading ---

    async def judged(self, key: str, data: bytes) -> bool | None:
        """See `Judging.sound`."""
        judge = self._judge
        if judge is None:
            return None
        if self._tasks is None or len(data) < JUDGED_HERE_BYTES:
            return judge.sound(key, data)
        return await self._tasks.blocking(lambda: judge.sound(key, data))

    async def alike(self, key: str, one: bytes, two: bytes) -> bool:
        """See `Judging.alike`."""
        judge = self._judge
        if judge is None or self._tasks is None:
            return one == two
        return await self._tasks.blocking(lambda: judge.alike(key, one, two))

    async def get(self, key: str) -> bytes:
        return await self._either(key, lambda store: store.get(key), judge=True)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return await self._either(key, lambda store: store.get_range(key, start, end), judge=False)

    async def _either(self, key: str, call: Callable[[ObjectStore], Awaitable[bytes]], *, judge: bool) -> bytes:
        decides, other = self._order()
        turns = (decides, other)
        if (self._away(decides) and not self._away(other)) or (key in decides.unsound and key not in other.unsound):
            turns = (other, decides)
        met: dict[str, ScrubjayError] = {}
        unsound: bytes | None = None
        for half in turns:
            try:
                data = await self.ask(half, call(half.store))
            except (Missing, Corrupt, Unavailable) as error:
                met[half.url] = error
                if isinstance(error, Corrupt):
                    self._note_unsound(half, key)
                if isinstance(error, Missing) and half is decides and self.settled and self._away(other):
                    break  # the word of the one that decides
                continue
            if judge and await self.judged(key, data) is False:
                self._note_unsound(half, key)
                unsound = data if half is decides or unsound is None else unsound
                continue
            self._note_lost(key, met)
            return data
        if unsound is not None and not any(isinstance(error, Unavailable) for error in met.values()):
            return unsound  # in its own words, whoever reads it says what is wrong with it
        first, second = met.get(decides.url), met.get(other.url)
        if isinstance(first, Missing) and isinstance(second, Unavailable | Corrupt) and not self.settled:
            raise second  # it may be there
        raise first or second or Corrupt("the object is sound in neither archive", what="object", where=key)

    def _note_unsound(self, half: Half, key: str) -> None:
        if len(half.unsound) < UNSOUND_MAX:
            half.unsound[key] = None

    def _note_lost(self, key: str, met: dict[str, ScrubjayError]) -> None:
        """One of them has it."""
        for half in self.halves:
            if isinstance(met.get(half.url), Missing):
                half.lack(key)

    async def head(self, key: str) -> ObjectInfo | None:
        decides, other = self._order()
        try:
            found = None if self._away(decides) and not self._away(other) else await self.ask(decides, decides.store.head(key))
        except Unavailable:
            found = await self.ask(other, other.store.head(key))
            if found is None:
                raise  # what the one that decides has, nobody knows
            return found
        if found is not None:
            return found
        if decides.error is not None:
            found = await self.ask(other, other.store.head(key))
            return found if found is not None else await self.ask(decides, decides.store.head(key))
        if self.settled and self._away(other):
            return None
        try:
            found = await self.ask(other, other.store.head(key))
        except Unavailable:
            if not self.settled:
                raise
            return None
        if found is not None:
            decides.lack(key)
        return found

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        if not self.kept and not self.settled:
            pages = [await self.ask(half, half.store.list(prefix, after=after, limit=limit)) for half in self.halves]
            return _union(pages[0], pages[1], limit)
        decides, other = self._settled()
        page = await self.ask(decides, decides.store.list(prefix, after=after, limit=limit))
        if self._away(other):
            return page
        try:
            also = await self.ask(other, other.store.list(prefix, after=after, limit=limit))
        except Unavailable:
            return page
        return _union(page, also, limit)

    # --- versions and locks ---

    async def uncover(self, prefix: str) -> None:
        for half in self._order():
            try:
                await self.ask(half, half.store.uncover(prefix), asks=False)
            except Unavailable:
                if half is self._order()[0] or not self.settled:
                    raise

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        """What stands over objects in either; of which archive is said. It is read all the same."""
        found: dict[str, Recalled] = {}
        for half in reversed(self._order()):
            found |= {key: one._replace(detail=f"{one.detail} (in {half.url})") for key, one in half.store.recalled(prefix).items()}
        return {key: found[key] for key in sorted(found)}

    def locks_us(self) -> int:
        return max(half.store.locks_us() for half in self.halves)

    async def retain(self, key: str, until_us: int) -> int:
        """In both; the lock that ends first counts. One that lacks the object is given it with a lock of its own when it is brought."""
        missing: list[Missing] = []
        found: list[int] = []
        for half in self._order():
            try:
                found.append(await self.ask(half, half.store.retain(key, until_us), asks=False))
            except Missing as error:
                missing.append(error)
        if not found:
            raise missing[0]
        return min(found)

    # --- between processes ---

    def met(self) -> Met:
        """What was seen to be lacking or unsound in each half, for whoever keeps the pair."""
        return {"lacking": [list(half.lacking) for half in self.halves], "unsound": [list(half.unsound) for half in self.halves]}

    def hear(self, met: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """What another process met."""
        for half, lacking, unsound in zip(self.halves, met["lacking"], met["unsound"], strict=True):
            for key in lacking:
                half.lack(key)
            for key in unsound:
                self._note_unsound(half, key)


def _union(one: ListPage, two: ListPage, limit: int) -> ListPage:
    """Of two pages of one listing what both can speak for: up to the last key of the one that goes on and ends first. The first one's size counts."""
    ends = [page.objects[-1].key for page in (one, two) if page.more and page.objects]
    found = {info.key: info for page in (two, one) for info in page.objects}
    rising = [found[key] for key in sorted(found, key=str.encode) if not ends or key <= min(ends)]
    return ListPage(tuple(rising[:limit]), bool(ends) or len(rising) > limit)
