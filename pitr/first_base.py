"""The first bases of a recovered cluster: every partition rests on rows that its own archive has to hold before anything else of it.

`recover` only reads, and does not know where the new cluster will archive. So it leaves each row file in the data folder, with a note in the metadata group
before the table is published; the first server on the folder uploads them, and only then begins to archive. Each step may be taken again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.archiver.format.base import BaseOrigin
from scrubjay.archiver.write.bases import upload
from scrubjay.archiver.write.writer import UNKNOWN, Writer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import Conflict, Corrupt, Fenced, Missing, ScrubjayError, Unavailable
from scrubjay.pitr.job import note
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import Total
from scrubjay.storage.service_port import ServicePort

PREFIX = "first-base/"
FOLDER = "first-bases"
VERSION = 1
AGAIN_S = 0.5
AGAIN_CAP_S = 30.0


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
    """disk: rooted at the data folder. url: of the cluster's own archive, as the workers open it. log(level, line)."""

    def __init__(
        self, env: Env, port: ServicePort, jobs: Jobs, disk: Disk, *, url: str, writer: Writer, log: Callable[[str, str], object]
    ) -> None:
        self._env, self._port, self._jobs, self._disk = env, port, jobs, disk
        self._url, self._writer, self._log = url, writer, log

    @property
    def owed(self) -> bool:
        """Something is to be done: a base is owed, or what was kept for one is still there."""
        return bool(self._port.jobs(PREFIX)) or self._disk.exists(FOLDER)

    async def deliver(self) -> None:
        """Every base that is owed, again and again while the archive is not there. Returns when none is left that could be: what is damaged is said, and stays."""
        while self._writer.state == UNKNOWN:  # whoever claims it tells of it
            await self._env.tasks.sleep(AGAIN_S)
        hopeless: dict[str, None] = {}
        wait_s, told = AGAIN_S, ""
        while left := [key for key in self._port.jobs(PREFIX) if key not in hopeless]:
            key = left[0]
            try:
                await self._one(key)
                wait_s = AGAIN_S
            except (Unavailable, Conflict) as error:
                if str(error) != told:
                    told = str(error)
                    self._log("warning", f"the first bases are not in the archive yet, nothing else is archived until they are: {error}")
                await self._env.tasks.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_CAP_S)
            except Fenced as error:
                self._log("error", f"the first bases cannot be archived: {error}")
                return
            except ScrubjayError as error:
                hopeless[key] = None
                self._log("error", f"a recovered table has no first base in the archive and cannot be restored or healed from it: {error}")
        if not hopeless and self._disk.exists(FOLDER):
            try:
                self._disk.remove_tree(FOLDER)
            except ScrubjayError as error:  # no reason to archive nothing: the next start tries again
                self._log("warning", f"the folder of first bases could not be removed: {error}")

    async def _one(self, key: str) -> None:
        """The row file may have lain here for long: it is read whole before it goes. Raises Unavailable, Corrupt or Missing (the row file), Fenced."""
        try:
            base = msgspec.convert(self._port.jobs(PREFIX)[key], FirstBase)
        except msgspec.ValidationError as error:
            raise Corrupt("the note of a first base is not understood", what="note", where=key) from error
        place = next(
            ((table, info) for table in self._port.tables() for info in table.partitions if info.partition_id == base.partition), None
        )
        if place is not None:
            if not self._disk.exists(base.rows):
                raise Missing("the row file of a first base is gone", what="rows", where=base.rows)
            table, info = place
            origin = BaseOrigin(base.cluster, base.of_table, (base.of_partition,), base.at_us)
            await upload(
                self._jobs, self._url, base.rows, writer=self._writer.attached, table=table, info=info, lsn=0, stamp=0, chain=chains.START,
                total=Total(int(base.sum, 16), base.count), origin=origin, prove=True,
            )  # fmt: skip
        await note(self._port, key, None)
        if self._disk.exists(base.rows):
            self._disk.remove(base.rows)
