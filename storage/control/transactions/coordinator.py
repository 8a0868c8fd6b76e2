"""Runs transactions: begins them in the ledger, prepares each partition's part, decides in the ledger, ends them everywhere (ADR 0072).

Any number of coordinators, in any process; each may die at any point. What one leaves pending is ended by whoever finds it (`resolver`), by what the ledger says. A client is told of success when the COMMIT is
applied in every partition, so whoever reads after that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Internal, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import PartitionId, uuid_bytes
from scrubjay.base.together import gather, settle
from scrubjay.storage.backend import Transacted, TransactPart, TransactRead
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import (
    Decision,
    FinishCommand,
    LookCommand,
    Outcome,
    PrepareCommand,
    TransactAnswer,
    TransactCommand,
)
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import REFUSE_US, Router, stopping
from scrubjay.storage.control.transactions.decisions import (
    BEGUN,
    COMMIT,
    KEPT_US,
    UNNAMED,
    Entry,
    Left,
    LockedKey,
    TransactionLedger,
)
from scrubjay.storage.log.split import was_split

ATTEMPTS = 6
"""How often a transaction is begun again that met a partition which could not prepare just then, or lost its row of the ledger."""
PAUSE_S = 0.02
"""Before the second attempt; twice as long before each further one."""
STALE_US = 5_000_000
"""An attempt that began so long ago and is not decided has lost its coordinator: another one with the same token takes its place."""
ACTIVE_MAX = 2_000
"""Transactions that one process coordinates at once."""
READ_TRIES = 6


class _Group(NamedTuple):
    """The parts of one partition. at: their places among all."""

    table: TableMeta
    partition: PartitionId
    at: tuple[int, ...]
    parts: tuple[TransactPart, ...]

    @property
    def place(self) -> LockedKey:
        return LockedKey(self.table.table_id, self.parts[0].command.key)


class Coordinator:
    """active: transactions under way, and those that are answered and not noted as done yet. closed: takes no new ones."""

    def __init__(self, env: Env, router: Router, metadata: Metadata, ledger: TransactionLedger) -> None:
        self._env, self._router, self._metadata, self.ledger = env, router, metadata, ledger
        self.active = 0
        self.closed = False
        self.counts = {"committed": 0, "cancelled": 0, "repeated": 0, "unknown": 0, "resolved": 0}
        """Since the start, by outcome."""

    # ------------------------------------------------------------------ writing

    async def write(self, parts: Sequence[TransactPart], *, token: str | None, digest: bytes) -> Transacted:
        """All of the parts, or none. parts: of different items, at least one. token: by which a second call is known to be the same one; None: it is not. digest: of all that is asked for.

        Raises Conflict (field `transaction`: `mismatch`, the token was used for something else; `in_progress`, it is used for this just now), Unavailable (`unknown`: it may have
        happened, or happen yet: ask again with the same token), Invalid (more than a record can hold), Missing (a table went away).
        """
        if self.closed:
            raise stopping()
        if self.active >= ACTIVE_MAX:
            raise Unavailable("too many transactions are under way in this process", active=self.active)
        self.active += 1
        try:
            return await self._write(parts, token, digest)
        except ScrubjayError as error:
            self.counts["unknown"] += bool(error.fields.get("unknown"))
            raise
        finally:
            self.active -= 1

    async def _write(self, parts: Sequence[TransactPart], token: str | None, digest: bytes) -> Transacted:
        pause_s = PAUSE_S
        for left in reversed(range(ATTEMPTS)):
            groups = self._groups(parts)  # a partition may have been split meanwhile
            if token is None and len(groups) == 1:
                done = await self._at_once(groups[0], len(parts))
            else:
                done = await self._attempt(groups, token, digest, len(parts))
            if done is not None:
                self.counts["repeated" if done.repeated else "committed" if done.committed else "cancelled"] += 1
                return done
            if left:
                await self._env.tasks.sleep(pause_s)
                pause_s *= 2
        # Every attempt met a partition that was being sealed, or lost its row: as with an item that is held, the caller may ask again.
        self.counts["cancelled"] += 1
        return Transacted(committed=False, outcomes=tuple([Outcome(Decision.LOCKED, None, None)] * len(parts)))

    def _groups(self, parts: Sequence[TransactPart]) -> list[_Group]:
        found: dict[PartitionId, tuple[TableMeta, list[int]]] = {}
        for at, part in enumerate(parts):
            info = self._router.partition_of(self._metadata.known(part.table), part.command.key)
            found.setdefault(info.partition_id, (part.table, []))[1].append(at)
        return [_Group(table, partition, tuple(at), tuple([parts[one] for one in at])) for partition, (table, at) in found.items()]

    async def _at_once(self, group: _Group, count: int) -> Transacted | None:
        """All in one partition, and nobody asks again: one record."""
        command = PrepareCommand(
            group.parts[0].command.key, self._fresh(), b"whole", tuple([part.command for part in group.parts]), whole=True
        )
        try:
            answer = await self._ask(group.table, command)
        except Unavailable as error:
            if not was_split(error):
                raise
            return None  # its parts are in two partitions now
        if answer.busy:
            return None
        return Transacted(
            committed=not any(map(_stops, answer.outcomes)),
            outcomes=answer.outcomes,
            written=((group.partition, answer.lsn),),
            stamp=answer.stamp,
        )

    async def _attempt(self, groups: Sequence[_Group], token: str | None, digest: bytes, count: int) -> Transacted | None:
        """None: not now, and nothing is left of it."""
        attempt = self._fresh()
        name = UNNAMED + attempt.hex() if token is None else token
        entry = Entry(name, attempt, digest, BEGUN, self._env.clock.wall_us())
        repeated = await self._begin(entry)
        if repeated is not None:
            return repeated
        prepared = await gather(self._env.tasks, [self._prepare(group, entry) for group in groups], name="prepare")
        answers = [one for one in prepared if not isinstance(one, ScrubjayError)]
        if len(answers) < len(prepared) or any(not answer.stamp for answer in answers):
            await self._give_up(groups, entry)
            return self._refused(groups, prepared, count)
        effective = max(answer.stamp for answer in answers)
        decided = replace(entry, state=COMMIT, effective=effective, places=tuple([group.place for group in groups]))
        if await self.ledger.swap(name, entry, decided) != decided:
            await self._give_up(groups, entry)  # whoever found it pending took it for lost
            return None
        ended = await gather(self._env.tasks, [self.finish(place, decided) for place in decided.places], name="commit")
        lost = next((one for one in ended if isinstance(one, ScrubjayError)), None)
        if lost is not None:
            # Where only the answer was lost nothing is pending, and nobody else would look for it any more.
            self._afterwards(partial(self._again, decided), "transaction commits")
            raise Unavailable("a transaction is decided and not everywhere yet", unknown=True, cause=str(lost))
        self._afterwards(partial(self.remember, decided), "transaction done")
        written = tuple([(group.partition, one.lsn) for group, one in zip(groups, ended, strict=True) if isinstance(one, TransactAnswer)])
        return Transacted(committed=True, outcomes=_in_order(groups, answers, count), written=written, stamp=effective)

    async def _begin(self, entry: Entry) -> Transacted | None:
        """Write the row. Transacted: the same was done before. Raises Conflict, Unavailable."""
        expect: Entry | None = None
        for _ in range(ATTEMPTS):
            stands = await self.ledger.swap(entry.token, expect, entry)
            if stands is None or stands == entry:
                if stands == entry:
                    return None
                expect = None
                continue
            now_us = self._env.clock.wall_us()
            left = self.ledger.left_by_recovery(stands)
            if left is Left.NEVER:
                expect = stands
                continue
            since_us = stands.at_us if stands.state == BEGUN else stands.done_us
            over = since_us > 0 and now_us > since_us + KEPT_US
            if not over and stands.digest != entry.digest:
                raise Conflict("the token was used for another transaction", transaction="mismatch")
            if stands.state == COMMIT and not over:
                await self.complete(stands)
                return Transacted(committed=True, outcomes=(), stamp=stands.effective, repeated=True)
            if stands.state == BEGUN and now_us - stands.at_us < (KEPT_US if left is Left.UNKNOWN else STALE_US):
                raise Conflict("the transaction is in progress", transaction="in_progress")
            expect = stands
        raise Unavailable("a transaction cannot begin: others with its token do all the while")

    async def _prepare(self, group: _Group, entry: Entry) -> TransactAnswer:
        parts = tuple([part.command for part in group.parts])
        return await self._ask(group.table, PrepareCommand(parts[0].key, entry.attempt, entry.token.encode(), parts))

    async def _give_up(self, groups: Sequence[_Group], entry: Entry) -> None:
        """This attempt never commits: its row goes, then what it holds. What cannot be told now is found pending, and ended by what the ledger says."""
        try:
            await self.ledger.swap(entry.token, entry, None)
        except ScrubjayError:
            return  # nobody may be told ABORT while the row says otherwise: it is stale soon
        await gather(self._env.tasks, [self.finish(group.place, entry) for group in groups], name="abort")

    def _refused(self, groups: Sequence[_Group], prepared: Sequence[TransactAnswer | ScrubjayError], count: int) -> Transacted | None:
        """What is said of an attempt that was given up: why, or None: again. Raises what kept a partition from answering."""
        answers = [one for one in prepared if not isinstance(one, ScrubjayError)]
        if any(_stops(outcome) for answer in answers for outcome in answer.outcomes):
            nothing = TransactAnswer(Outcome(Decision.UNCHANGED, None, None), "", 0, None)
            said = [one if isinstance(one, TransactAnswer) else nothing for one in prepared]
            return Transacted(committed=False, outcomes=_in_order(groups, said, count))
        errors = [one for one in prepared if isinstance(one, ScrubjayError)]
        for error in errors:
            error.fields.pop("unknown", None)  # it is known now: it does not happen
            if not isinstance(error, Unavailable):
                raise error
        if errors and not any(map(was_split, errors)):
            raise errors[0]
        return None

    # ------------------------------------------------------------------ ending

    async def finish(self, place: LockedKey, entry: Entry) -> TransactAnswer | None:
        """Have a partition end its part by what the ledger says. None: its table is gone. Raises Unavailable."""
        table = self._metadata.tables.get(place.table)
        if table is None:
            await self._metadata.newest()
            table = self._metadata.tables.get(place.table)
        if table is None or table.status == "DROPPED":
            return None
        try:
            return await self._ask(table, FinishCommand(place.key, entry.attempt, entry.effective if entry.state == COMMIT else 0))
        except Missing:
            return None

    async def complete(self, entry: Entry) -> None:
        """Have a transaction that is decided everywhere, and remember that. Raises Unavailable."""
        if entry.done_us:
            return
        for one in await gather(self._env.tasks, [self.finish(place, entry) for place in entry.places], name="commit"):
            if isinstance(one, ScrubjayError):
                raise one
        await self.remember(entry)

    async def _again(self, entry: Entry) -> None:
        """Once more: it takes as long as a request may. What is pending then is ended by whoever finds it."""
        try:
            await self.complete(entry)
        except ScrubjayError:
            return

    async def remember(self, entry: Entry) -> None:
        """Its COMMIT is everywhere: its row may go once its token is forgotten. One that is not noted so stays."""
        done = None if entry.token.startswith(UNNAMED) else replace(entry, done_us=self._env.clock.wall_us())
        try:
            await self.ledger.swap(entry.token, entry, done)
        except ScrubjayError:
            return

    def _afterwards(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """What goes on behind the answer. A planned stop waits for it too."""
        self.active += 1

        async def counted() -> None:
            try:
                await work()
            finally:
                self.active -= 1

        self._env.tasks.spawn(counted(), name=name)

    def _fresh(self) -> bytes:
        return uuid_bytes(self._env.rand.uuid())

    async def _ask(self, table: TableMeta, command: TransactCommand) -> TransactAnswer:
        future = self._env.tasks.future()
        self._router.write(table, command, partial(settle, future), patience_us=REFUSE_US)
        answer = await future
        if not isinstance(answer, TransactAnswer):
            raise Internal("a leader answered something else", answer=type(answer).__name__)
        return answer

    # ------------------------------------------------------------------ reading

    async def read(self, keys: Sequence[tuple[TableMeta, bytes]]) -> TransactRead:
        """All of the items as they were at one moment: read twice, with nothing changed and nothing pending in between. Raises Unavailable, Missing."""
        if not keys:
            raise Invalid("a transaction reads at least one item")
        looks = self._looks(keys)
        pause_s, outcomes = PAUSE_S / 4, [Outcome(Decision.LOCKED, None, None)] * len(keys)
        traces: tuple[tuple[str, int], ...] = ()
        before: list[int] = []
        changed: list[int] = []
        for _ in range(READ_TRIES):
            answers = await gather(self._env.tasks, [self._ask(table, look) for table, _, look in looks], name="transactional read")
            versions = [0] * len(keys)
            if any(map(was_split, answers)):
                looks = self._looks(keys)
                continue
            for (_, places, _look), answer in zip(looks, answers, strict=True):
                if isinstance(answer, ScrubjayError):
                    raise answer
                for item, outcome, version in zip(places, answer.outcomes, answer.versions, strict=True):
                    outcomes[item], versions[item] = outcome, version
            traces = tuple([(answer.partition, answer.lsn) for answer in answers if isinstance(answer, TransactAnswer)])
            free = not any(outcome.decision is Decision.LOCKED for outcome in outcomes)
            if free and (versions == before or len(looks) == 1):
                return TransactRead(tuple([outcome.old for outcome in outcomes]), (), traces)
            if not free:
                await self._env.tasks.sleep(pause_s)
                pause_s *= 2
            changed = [item for item, version in enumerate(versions) if not before or before[item] != version]
            before = versions
        held = [item for item, outcome in enumerate(outcomes) if outcome.decision is Decision.LOCKED]
        return TransactRead((), tuple(held or changed), traces)

    def _looks(self, keys: Sequence[tuple[TableMeta, bytes]]) -> list[tuple[TableMeta, list[int], LookCommand]]:
        """What is asked of each partition, and which of the keys that are."""
        found: dict[PartitionId, tuple[TableMeta, list[int]]] = {}
        for at, (table, key) in enumerate(keys):
            info = self._router.partition_of(self._metadata.known(table), key)
            found.setdefault(info.partition_id, (table, []))[1].append(at)
        return [(table, at, LookCommand(keys[at[0]][1], tuple([keys[one][1] for one in at]))) for table, at in found.values()]


def _stops(outcome: Outcome) -> bool:
    """It keeps the transaction from being done."""
    return outcome.decision in (Decision.CONDITION_FAILED, Decision.REFUSED, Decision.LOCKED)


def _in_order(groups: Sequence[_Group], answers: Sequence[TransactAnswer], count: int) -> tuple[Outcome, ...]:
    """The outcome of each part, as they were given. Of a partition that did not answer: UNCHANGED."""
    found = [Outcome(Decision.UNCHANGED, None, None)] * count
    for group, answer in zip(groups, answers, strict=True):
        for at, outcome in zip(group.at, answer.outcomes, strict=False):
            found[at] = outcome
    return tuple(found)
