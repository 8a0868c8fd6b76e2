"""The first bases of a recovered cluster: every partition rests on rows that its own archive has to hold before anything else of it.

`recover` only reads, and does not know where the new cluster will archive. So it leaves each row file in the data folder, with a note in the metadata group
before the table is published; the first server on the folder uploads them, and only then begins to archive. Each step may be taken again.

What keeps a base from the archive is tried again for as long as it is owed, and seen in `status` meanwhile: nobody can restore or heal its table from the archive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from scrubjay.archiver.format.base import BaseOrigin
from scrubjay.archiver.write.bases import upload
from scrubjay.archiver.write.writer import UNKNOWN, Writer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import Conflict, Corrupt, Fenced, Missing, ScrubjayError, Unavailable
from scrubjay.pitr.job import note
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import Total
from scrubjay.storage.service_port import ServicePort

PREFIX = "first-base/"
FOLDER = "first-bases"
VERSION = 1
AGAIN_S = 0.5
AGAIN_CAP_S = 30.0
"""Between two tries while nothing else is archived."""
LATER_S = 30.0
LATER_CAP_S = 600.0
"""Between two tries of what may not keep everything else from being archived."""
ROWS_FAULTS = ("rows", "rowfile")
"""What an error is of (`what`) that speaks of the row file, and not of the archive."""
AGAIN = ".again"
"""Beside a row file that is no good: the one that is made anew to take its place."""

Remake = Callable[["FirstBase", str], Awaitable[None]]
"""Makes the rows of a first base anew, into a row file at that path. Raises whatever keeps it from it."""


class FirstBase(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's. rows: path of the row file. sum, count: of its rows, proven by the rebuild. cluster, of_table, of_partition, at_us: where it came from."""

    version: int = VERSION
    table: str
    partition: str
    rows: str
    sum: str
    count: int
    cluster: str
    of_table: str
    of_partition: str
    at_us: int

    @property
    def key(self) -> str:
        return PREFIX + self.partition


def rows_path(partition: str) -> str:
    return f"{FOLDER}/{partition}.rows"


async def owe(port: ServicePort, base: FirstBase) -> None:
    """Note that this base has to be delivered. Raises Unavailable, Conflict."""
    await note(port, base.key, msgspec.to_builtins(base))


class FirstBases:
    """disk: rooted at the data folder. url: of the cluster's own archive, as the workers open it. log(level, line). remake: where a row file that rotted, or is
    gone, comes from again; None: from nowhere."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        jobs: Jobs,
        disk: Disk,
        *,
        url: str,
        writer: Writer,
        log: Callable[[str, str], object],
        remake: Remake | None = None,
    ) -> None:
        self._env, self._port, self._jobs, self._disk = env, port, jobs, disk
        self._url, self._writer, self._log, self._remake = url, writer, log, remake
        self._why: dict[str, str] = {}

    @property
    def owed(self) -> bool:
        """Something is to be done: a base is owed, or what was kept for one is still there."""
        return bool(self._port.jobs(PREFIX)) or self._disk.exists(FOLDER)

    def left(self) -> dict[str, str]:
        """Of each partition whose base is owed, why it is not there yet; "" where nothing stands against it. Never waits."""
        return {key.removeprefix(PREFIX): self._why.get(key, "") for key in self._port.jobs(PREFIX)}

    async def deliver(self) -> None:
        """Every base that is owed, again and again while the archive is not there, or the machine has no room. Returns when none is left that only waits for
        such: what is damaged, and anything else that would keep all tables from being archived for the sake of one, is tried on beside everything else."""
        while self._writer.state == UNKNOWN:  # whoever claims it tells of it
            await self._env.tasks.sleep(AGAIN_S)
        aside: dict[str, None] = {}
        wait_s, turn = AGAIN_S, 0
        while left := [key for key in self._port.jobs(PREFIX) if key not in aside]:
            key = left[turn % len(left)]
            try:
                await self._one(key)
                wait_s = AGAIN_S
            except (Unavailable, Conflict) as error:
                self._said(key, "warning", "the first bases are not in the archive yet, nothing else is archived until they are", error)
                turn += 1
                await self._env.tasks.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_CAP_S)
            except Fenced as error:
                self._said(key, "error", "the first bases cannot be archived", error)
                return
            except ScrubjayError as error:
                aside[key] = None
                self._said(
                    key, "error", "a recovered table has no first base in the archive and cannot be restored or healed from it", error
                )
        if aside:
            self._env.tasks.spawn(self._later(), name="first bases, later")
        else:
            self._clear()

    async def _later(self) -> None:
        """What was put aside, until it is there; slower and slower, but never not at all."""
        wait_s = LATER_S
        while left := list(self._port.jobs(PREFIX)):
            await self._env.tasks.sleep(wait_s)
            wait_s = min(2 * wait_s, LATER_CAP_S)
            for key in left:
                try:
                    await self._one(key)
                    self._log("info", f"the first base of partition {key.removeprefix(PREFIX)} is in the archive now")
                except Fenced as error:
                    self._said(key, "error", "the first bases cannot be archived", error)
                    return
                except ScrubjayError as error:
                    self._said(key, "warning", f"the first base of partition {key.removeprefix(PREFIX)} is still not in the archive", error)
        self._clear()

    def _said(self, key: str, level: str, what: str, error: ScrubjayError) -> None:
        """A line for every change, and not one for every try."""
        if str(error) not in self._why.values():
            self._log(level, f"{what}: {error}")
        self._why[key] = str(error)

    def _clear(self) -> None:
        if self._disk.exists(FOLDER):
            try:
                self._disk.remove_tree(FOLDER)
            except ScrubjayError as error:  # no reason to archive nothing: the next start tries again
                self._log("warning", f"the folder of first bases could not be removed: {error}")

    async def _one(self, key: str) -> None:
        """The row file may have lain here for long: it is read whole before it goes. Raises Unavailable, Corrupt or Missing (the row file, and it cannot be made
        anew), Fenced."""
        try:
            base = msgspec.convert(self._port.jobs(PREFIX)[key], FirstBase)
        except msgspec.ValidationError as error:
            raise Corrupt("the note of a first base is not understood", what="note", where=key) from error
        place = next(
            ((table, info) for table in self._port.tables() for info in table.partitions if info.partition_id == base.partition), None
        )
        if place is not None:
            try:
                await self._upload(base, *place)
            except (Corrupt, Missing) as error:
                if self._remake is None or error.fields.get("what") not in ROWS_FAULTS:
                    raise
                await self._anew(base, error)
                await self._upload(base, *place)
        await note(self._port, key, None)
        self._why.pop(key, None)
        if self._disk.exists(base.rows):
            self._disk.remove(base.rows)

    async def _upload(self, base: FirstBase, table: TableMeta, info: PartitionInfo) -> None:
        if not self._disk.exists(base.rows):
            raise Missing("the row file of a first base is gone", what="rows", where=base.rows)
        origin = BaseOrigin(base.cluster, base.of_table, (base.of_partition,), base.at_us)
        await upload(
            self._jobs, self._url, base.rows, writer=self._writer.attached, table=table, info=info, lsn=0, stamp=0, chain=chains.START,
            total=Total(int(base.sum, 16), base.count), origin=origin, prove=True,
        )  # fmt: skip

    async def _anew(self, base: FirstBase, bad: ScrubjayError) -> None:
        """The bad file stays, as evidence, until another is there to take its place. Raises what keeps it from being made, naming both."""
        assert self._remake is not None
        path = base.rows + AGAIN
        try:
            await self._remake(base, path)
        except ScrubjayError as error:
            raise type(bad)(bad.message, **bad.fields, not_made_anew=str(error)) from error
        self._disk.rename(path, base.rows)
        self._disk.sync_dir(FOLDER)
        self._log("warning", f"a row file was no good ({bad}) and was made anew from the archive of cluster {base.cluster}: {base.rows}")
