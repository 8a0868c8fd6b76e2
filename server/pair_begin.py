"""A pair of archives in a server: how it begins, where evidence is kept, and the job of the schedule that compares the two."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from scrubjay.archiver.format.layout import parse, segment_of
from scrubjay.archiver.write.probe import probe
from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import PartitionId
from scrubjay.base.together import within
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.paired import FIRST, Half
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.scrubber.evidence import ARCHIVE
from scrubjay.scrubber.schedule.settings import DAY_US, HOUR_US, JobSettings
from scrubjay.scrubber.schedule.views import NightJob, Shift, ShiftOutcome
from scrubjay.server.pairing import PairDifference, PairKeeper
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.service_port import Finding

COMPARE = "compare"
SETTINGS = JobSettings(cron="30 4 * * *", within_us=7 * DAY_US, budget_us=2 * HOUR_US)
PATIENCE_S = 10.0
EVIDENCE = "quarantine/archives"
EVIDENCE_MAX = 64
"""Objects kept; those beyond are named in the log alone."""


class PartitionPlaces(Protocol):
    """Of the catalogue (storage.control.metadata.Metadata). system: the metadata group's table."""

    system: TableMeta

    def place(self, partition: PartitionId) -> tuple[TableMeta, PartitionInfo]:
        """Whose partition it is. Raises Unavailable if the catalogue does not know it."""
        ...


async def begin_pair(env: Env, keeper: PairKeeper, *, attached: bool, new: bool) -> None:
    """Probe each of the two, and find out whose turn it is. attached: the cluster has its archive already: then one of the two may be away. new: the second one was
    not its second before. Raises Unsafe (a store without the guarantees; a second one in which this cluster wrote before), Unavailable (not `attached`)."""
    for half in keeper.pair.halves:
        try:
            await within(env.tasks, _try(keeper, half, env), seconds=PATIENCE_S, what="the archive does not answer in time")
        except Unavailable as error:
            if not attached:
                raise
            await keeper.note_away(half, error)
    second = keeper.pair.halves[1]
    if new and second.error is None:
        await _must_be_empty(keeper, second)
    if attached:
        await keeper.settle()
    else:
        keeper.pair.turn = FIRST
    if new and second.error is not None:
        raise Unavailable("the second archive does not answer: it must, when it is begun", archive=second.url, cause=str(second.error))


async def _try(keeper: PairKeeper, half: Half, env: Env) -> None:
    await keeper.pair.ask(half, probe(RetryingStore(half.store, env), env))


async def _must_be_empty(keeper: PairKeeper, second: Half) -> None:
    """What an older copy holds and the archive has given up since would come back."""
    if (await keeper.pair.ask(second, second.store.list(f"{keeper.cluster}/", limit=1))).objects:
        raise Unsafe(
            "the second archive is not new, and was not this data folder's second one",
            archive=second.url,
            found=f"objects of cluster {keeper.cluster}",
            next="give an empty place with second.url, or empty this one: everything is copied there",
        )


def evidence_in(disk: Disk) -> Callable[[PairDifference, bytes], None]:
    """Keeps what is taken away below EVIDENCE of the data folder."""

    def keep(found: PairDifference, data: bytes) -> None:
        try:
            disk.mkdir(EVIDENCE)
            if len(disk.listdir(EVIDENCE)) < EVIDENCE_MAX:
                name = f"{hashlib.sha256(data).hexdigest()[:16]}-{found.key.rpartition('/')[2]}"
                disk.write_file(f"{EVIDENCE}/{name}", data)
        except ScrubjayError:
            return  # a full disk keeps no archive from being mended; that it was is a line of the log

    return keep


def findings_in(env: Env, places: PartitionPlaces, note: Callable[[Finding], None]) -> Callable[[PairDifference, bool], None]:
    """Keeps what differs with all that is found outside a scrub (INTERFACE section 3): `status` names it, and the next scrub of the object's partition tells of it, in the ledger
    too. What is of no partition that is scrubbed is told with the metadata group's."""

    def noted(found: PairDifference, mended: bool) -> None:
        detail = f"the archive {found.archive}: {found.detail}{'; put anew from the other one' if mended else ''}"
        note(
            Finding(
                found.kind, ARCHIVE, scrubbed_with(places, found.key), None, None, found.key, None, segment_of(found.key), "agent",
                "healed" if mended else "none", detail, env.clock.wall_us(),
            )
        )  # fmt: skip

    return noted


def scrubbed_with(places: PartitionPlaces, key: str) -> PartitionId:
    """The partition whose scrub tells of an object."""
    named = getattr(parse(key), "partition", None)
    if named is not None:
        with suppress(Unavailable):
            table, info = places.place(PartitionId(named))
            if table.status != "DROPPED":
                return info.partition_id
    return places.system.partitions[0].partition_id


def in_both(keeper: PairKeeper, store: EncryptedStore) -> Callable[[Sequence[str]], Awaitable[None]]:
    """`PairKeeper.assure`, of objects by the names that readers have. store: over the pair."""

    async def assure(keys: Sequence[str]) -> None:
        await keeper.assure([store.kept(key) for key in keys])

    return assure


def compare_job(keeper: PairKeeper) -> NightJob:
    """Every object in both, byte by byte. A night that is too short for all of it goes on where the last one of this process stopped."""
    at = ""

    async def work(shift: Shift) -> ShiftOutcome:
        nonlocal at
        why: str | None = None

        def stop(read: int) -> str | None:
            nonlocal why
            why = shift.stop(read)
            return why

        rate = shift.settings.rate_bytes
        try:
            found = await keeper.compare(after=at, stop=stop, rate_bytes=rate)
        except Unavailable as error:
            return ShiftOutcome("unverified", 0, 1, str(error), again=True)
        at = found.at
        bad = bool(found.differences or found.mended)
        verdict = "mismatch" if bad else "match" if found.complete else "unverified"
        return ShiftOutcome(verdict, found.checked, 0 if found.complete else 1, why)

    return NightJob(COMPARE, SETTINGS, work)
