"""What the ledger says of each partition, kept with the metadata too (docs/formats/ledger.md): a ledger that is lost begins with that, and with the names of what lies in
the archive. What a run found, and to which depth each object was proven, is not kept twice: the next verify reads all of it anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from scrubjay.archiver.format.layout import parse
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.scrubber.ledger import WHOLE, PartitionProof, Proof, RebuiltLedger
from scrubjay.scrubber.schedule.notes import Notes
from scrubjay.storage.catalogue import TableMeta

PREFIX = "ledger/"
AGAIN_S = 60.0
"""Between two tries to read an archive that does not answer."""
TRIES = 30
CHUNK = 1_000

Log = Callable[[str], None]
T = TypeVar("T")


class KeptLedger(Protocol):
    """See scrubber.sqlite_ledger.SqliteLedger. Raises Unavailable."""

    rebuilt: RebuiltLedger | None

    async def empty(self) -> bool: ...

    async def unfinished(self) -> bool: ...

    async def rebuilding(self, told: RebuiltLedger) -> None: ...

    async def partitions(self) -> list[PartitionProof]: ...

    async def verified(self, proofs: Sequence[PartitionProof]) -> None: ...

    async def proved(self, proofs: Sequence[Proof]) -> None: ...


class KeptProof(msgspec.Struct, frozen=True):
    """A PartitionProof without its run: that is a row of the ledger that was lost."""

    partition: str
    depth: str
    at_us: int
    lsn: int | None
    verdict: str
    healed: bool
    rows: int | None
    digest: str | None


class KeptProofs(msgspec.Struct, frozen=True):
    """Of one table, by partition and depth."""

    proofs: tuple[KeptProof, ...]


class LedgerKeeping:
    """tables: those there are. Nothing here raises: a ledger saves work, and nothing waits for it."""

    def __init__(
        self,
        env: Env,
        ledger: KeptLedger,
        notes: Notes,
        store: ObjectStore,
        *,
        cluster: str,
        tables: Callable[[], Sequence[TableMeta]],
        log: Log,
        recall: Callable[[], Awaitable[tuple[int, int]]] | None = None,
    ) -> None:
        """recall: what the archive's daily index knows (DailyIndex.recall); None: nothing."""
        self._recall = recall
        self._env, self._ledger, self._notes, self._store = env, ledger, notes, store
        self._cluster, self._tables, self._log = cluster, tables, log
        self._gate = Gate(env.tasks)
        self._rebuilding = 0

    def unsound(self) -> None:
        """A run did not end with a match, and it may have been one by hand, of which nothing is kept else: what is kept already must not be better than that."""
        if any(key.startswith(PREFIX) for key in self._notes.jobs):
            self._env.tasks.spawn(self.keep(worse=True), name="ledger kept")

    async def keep(self, *, worse: bool = False) -> None:
        """After a run: one item for each table of which the ledger says something new. Of what it does not speak that stays which is kept: it may have been lost
        a moment ago, and is about to be rebuilt from there. worse: only where what is kept says match and the ledger does not any more."""
        try:
            async with self._gate:
                await self._keep(worse=worse)
            if not self._rebuilding and await self._ledger.unfinished():  # given up when the archive did not answer: it may by now
                self._env.tasks.spawn(self.rebuild(), name="ledger")
        except ScrubjayError as error:
            self._log(f"what the ledger says could not be kept with the metadata: {error}")

    async def _keep(self, *, worse: bool) -> None:
        proofs = await self._ledger.partitions()
        there = {(one.partition, one.depth) for one in proofs}
        before = [one for one in self._noted() if (one.partition, one.depth) not in there]
        places: dict[str, Collection[str]] = {WHOLE: {WHOLE}}
        for table in self._tables():
            places[table.table_id] = {info.partition_id for info in table.partitions}
        wanted = kept_notes([*proofs, *before], places)
        if worse:
            wanted = {key: note for key, note in wanted.items() if _worse(note, self._notes.jobs.get(key))}
        else:
            for key in [key for key in self._notes.jobs if key.startswith(PREFIX) and key not in wanted]:
                await self._notes.put_job(key, None)
        for key, note in wanted.items():
            if self._notes.jobs.get(key) != note:
                await self._notes.put_job(key, note)

    async def rebuild(self, *, lost: bool = False) -> None:
        """lost: it was begun anew just now; else only one that holds nothing is, or whose rebuilding a kill has cut off."""
        self._rebuilding += 1
        try:
            if not lost and not await self._ledger.empty() and not await self._ledger.unfinished():
                return
            now_us = self._env.clock.wall_us()
            there = {(one.partition, one.depth) for one in await self._ledger.partitions()}
            proofs = [one for one in self._noted() if (one.partition, one.depth) not in there and one.at_us <= now_us]
            await self._ledger.rebuilding(RebuiltLedger(now_us, len(proofs), None))  # first: whatever is cut off behind it is begun again
            await self._ledger.verified(proofs)
            self._log(f"the ledger begins anew: {len(proofs)} proofs of partitions come from the metadata; what is archived is read again")
            objects = await self._patiently(self._list)
            missed, runs = (0, 0) if self._recall is None else await self._patiently(self._recall)
            await self._ledger.rebuilding(RebuiltLedger(now_us, len(proofs), objects, missed, runs))
            self._log(
                f"the ledger knows the names of {objects} objects from the archive; {missed} more were told of in earlier days: "
                f"the next verify says whether retention took them or they are lost; {runs} runs and their findings come from there too"
            )
        except ScrubjayError as error:
            self._log(
                f"the ledger could not be rebuilt, the next verify does the rest, and after the next job of the schedule it is tried again: {error}"
            )
        finally:
            self._rebuilding -= 1

    def _noted(self) -> list[PartitionProof]:
        found: list[PartitionProof] = []
        for key, note in sorted(self._notes.jobs.items()):
            if not key.startswith(PREFIX):
                continue
            table = key.removeprefix(PREFIX)
            try:
                kept = msgspec.convert(note, KeptProofs).proofs
            except msgspec.ValidationError as error:
                self._log(f"what was kept of the ledger is malformed for {table}, and left out: {error}")
                continue
            found += [PartitionProof(table_id="" if table == WHOLE else table, **msgspec.structs.asdict(one)) for one in kept]
        return found

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Again and again, while the archive does not answer. Raises Unavailable after the last try."""
        for left in reversed(range(TRIES)):
            try:
                return await work()
            except Unavailable:
                if not left:
                    raise
                await self._env.tasks.sleep(AGAIN_S)
        raise AssertionError("the last try returns or raises")

    async def _list(self) -> int:
        """Notes every name that there is; how many. Raises Unavailable."""
        count, after, prefix = 0, "", f"{self._cluster}/"
        while True:
            page = await self._store.list(prefix, after=after, limit=CHUNK)
            now_us = self._env.clock.wall_us()
            if page.objects:
                proofs = [Proof(info.key, "listed", now_us) for info in page.objects if parse(info.key) is not None]
                await self._ledger.proved(proofs)
                count, after = count + len(proofs), page.objects[-1].key
            if not page.more or not page.objects:
                return count


def _worse(note: dict[str, Any], kept: dict[str, Any] | None) -> bool:
    """Something in it is no match, and is not kept yet beside what is. Pure."""
    proofs = None if kept is None else kept.get("proofs")
    return isinstance(proofs, list) and any(one["verdict"] != "match" and one not in proofs for one in note["proofs"])


def kept_notes(proofs: Sequence[PartitionProof], places: Mapping[str, Collection[str]]) -> dict[str, dict[str, Any]]:
    """Items by key. places: tables of which something is kept, each with its partitions: one that was split is no more. Pure."""
    found: dict[str, list[KeptProof]] = {}
    for one in sorted(proofs, key=lambda one: (one.partition, one.depth)):
        table = one.table_id or WHOLE
        if one.partition in places.get(table, ()):
            fields = one._asdict()
            del fields["table_id"], fields["run"]
            found.setdefault(table, []).append(KeptProof(**fields))
    # Lists, as they are read: a tuple would differ from what was kept by an earlier life, and be written again.
    return {PREFIX + table: {"proofs": msgspec.to_builtins(kept)} for table, kept in found.items()}
