"""Heals what cannot wait for a scrub: copies whose tree can follow the log no further, and a partition in which no copy serves any more.

A suspect copy that still applies is left alone: the next scrub compares it row by row and names all that is wrong with it, which a heal would carry off
into quarantine. Where it cannot be scanned, or where nobody would serve until the next scrub, the copy is rebuilt from the archive at the newest
archived seal, exactly as a scrub heals; or, before there is one, from its whole log. The findings stay with the store until a scrub reports them.
No scrub goes over a partition that was split: as long as its log is not archived to its end, two of its copies are kept well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.scrubber.reference import References
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, leaving
from scrubjay.storage.replica.attest import MEMBERS_MIN
from scrubjay.storage.service_port import Copy, ServicePort

PAUSE_MAX_S = 60.0
LIVE = ("CREATING", "ACTIVE", "UPDATING", "DELETING")


def due(copies: Sequence[Copy]) -> list[NodeName]:
    """Nodes whose copy should be healed now, worst need first. Pure.

    Every copy that was left behind by the log, every suspect one that cannot be scanned; and, if no copy is good, the suspect one that applied furthest.
    """
    suspect = [copy for copy in copies if copy.state == "suspect"]
    found = [copy.node for copy in copies if copy.state == "behind" or (copy.state == "suspect" and not copy.scannable)]
    if suspect and not found and not any(copy.state == "ok" for copy in copies):
        found = [max(suspect, key=lambda copy: (copy.applied, -copy.number)).node]
    return found


def due_of_former(copies: Sequence[Copy]) -> list[NodeName]:
    """As `due`, of a partition that was split and whose log is not archived to its end. Pure.

    The end is archived once two trees have stated it alike, and what becomes of its halves rests on that: while fewer than two copies are good, each one that may come back. Else none: the copies go soon.
    """
    good = [copy for copy in copies if copy.kind == "storage" and copy.state == "ok"]
    return [] if len(good) >= MEMBERS_MIN else [copy.node for copy in copies if copy.state in ("behind", "suspect")]


class Healer:
    """`start` once; looks every `interval_s`. log: one line per heal, and fewer the longer one fails."""

    def __init__(self, env: Env, port: ServicePort, references: References, *, interval_s: float = 2.0, log: Callable[[str], None]) -> None:
        self._env, self._port, self._references = env, port, references
        self._interval_s = interval_s
        self._log = log
        self._loop = KeptLoop(self._env.tasks, self._run, name="healer")
        self.healed = 0
        self._cut = False
        """That its rounds are cut short has been said."""
        self._failures: dict[tuple[str, str], int] = {}
        self._not_before_us: dict[tuple[str, str], int] = {}

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        while True:
            await self._env.tasks.sleep(self._interval_s)
            try:
                await self.look()
            except ScrubjayError as error:
                if not self._cut:
                    self._log(f"a round of the healer was cut short, the next ones follow: {error}")
                self._cut = True
            else:
                self._cut = False

    async def look(self) -> None:
        """One round over all partitions."""
        for table in self._port.tables():
            if table.status in LIVE and not (table.restore_of is not None and table.restore_of.in_progress):
                for info in table.partitions:
                    await self._heal_all(table, info, due)
                for info in leaving(table):
                    await self._heal_all(table, info, due_of_former)

    async def _heal_all(self, table: TableMeta, info: PartitionInfo, due_of: Callable[[Sequence[Copy]], list[NodeName]]) -> None:
        for node in due_of(self._port.copies(info.partition_id)):
            if self._env.clock.boot_us() >= self._not_before_us.get((info.partition_id, node), 0):
                await self._heal(table, info, node)

    async def _heal(self, table: TableMeta, info: PartitionInfo, node: NodeName) -> None:
        partition = info.partition_id
        until = self._port.archived(partition)
        try:
            await self._port.survey(partition, node)
        except ScrubjayError as error:
            if (partition, node) not in self._failures:
                self._log(f"{table.name} {partition} on {node} could not be surveyed: {error}")
        let_go = await self._port.keep_log(partition, until)
        try:
            # Before anything is archived the whole log is still there, and what it goes on from is all that is needed: without a leader nothing ever will be archived.
            reference = await (
                self._references.rebuild(table, info, until=until, progress=None) if until else self._references.beginning(table, info)
            )
            try:
                await self._references.at_hand(reference)
                evidence = await self._port.heal(
                    partition,
                    node,
                    rows=reference.rows,
                    lsn=reference.lsn,
                    stamp=reference.stamp,
                    total=reference.digest.total(),
                    chain=reference.chain,
                    reason=f"its tree could follow the log no further; rebuilt at LSN {reference.lsn}",
                )
            finally:
                self._references.discard(reference)
        except ScrubjayError as error:
            failures = self._failures[partition, node] = self._failures.get((partition, node), 0) + 1
            wait_s = min(self._interval_s * 2**failures, PAUSE_MAX_S)
            self._not_before_us[partition, node] = self._env.clock.boot_us() + int(wait_s * 1e6)
            if (
                failures & (failures - 1) == 0
            ):  # the first, second, fourth: what lasts is a problem that `status` shows, and no line every few seconds
                self._log(
                    f"{table.name} {partition} on {node} could not be healed ({failures} times), tried again in {wait_s:.0f} s: {error}"
                )
        else:
            self.healed += 1
            self._failures.pop((partition, node), None)
            self._not_before_us.pop((partition, node), None)
            self._log(
                f"{table.name} {partition} on {node} healed from the archive; evidence in {evidence or 'no place: its tree was gone'}"
            )
        finally:
            let_go()
