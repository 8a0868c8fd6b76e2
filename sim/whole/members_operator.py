"""Whoever runs the cluster in the profile "whole", of the seeds from MEMBERS_FROM to MEMBERS_TO: a spare node joins, nodes are away for longer than anybody waits, are drained, removed, and join again with an empty folder,
while everything else goes wrong too. What is asked for must come to its end once the faults are over.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from scrubjay.base.errors import ScrubjayError
from scrubjay.server.relocating import Relocating
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.cluster import ControlLife, WholeCluster
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.btree.memory_engine import MemoryTrees
from scrubjay.storage.catalogue import DRAINING, MEMBER, REMOVED, PartitionInfo
from scrubjay.storage.control.placement import COPIES
from scrubjay.storage.log.configuration import CopyKind, Vote, decode_configuration

MEMBERS_FROM, MEMBERS_TO = 12_000, 13_000
"""Of the seeds in [MEMBERS_FROM, MEMBERS_TO)."""
STAND_IN_US = 2_500_000
BALANCE_AFTER_US = 1_500_000
VERB_S = 25.0
"""How long the operator waits for a verb before he looks again."""


class MembersOperator:
    """count: told of everything that was done. over: he begins nothing more."""

    def __init__(self, world: World, cluster: WholeCluster, draw: Stream, count: Callable[[str], None]) -> None:
        self._world, self._cluster, self._draw, self._count = world, cluster, draw, count
        self.over = False

    async def run(self) -> None:
        while not self.over:
            await self._cluster.env.tasks.sleep(self._draw.between(300, 2_500) / 1000)
            if self._cluster.ready and not self.over:
                await self._act()

    async def _act(self) -> None:
        standing = {host: self._state(host) for host in self._cluster.hosts}
        absent = [host for host, state in standing.items() if state is None]
        removed = [host for host, state in standing.items() if state == REMOVED]
        leaving = [host for host, state in standing.items() if state == DRAINING]
        if leaving:
            await self._leave(leaving[0])
        elif removed:
            self._emptied(removed[0])
            await self._asked("nodes joined again", lambda verbs: verbs.join(removed[0].name, _silent))
        elif absent:
            await self._asked("nodes joined", lambda verbs: verbs.join(absent[0].name, _silent))
        elif self._draw.chance(0.6):
            self._away(self._draw.choice(self._cluster.hosts))
        else:
            await self._leave(self._draw.choice(self._cluster.hosts))

    def _state(self, host: WorldHost) -> str | None:
        number = self._cluster.hosts.index(host) + 1
        member = self._cluster.metadata.standing(host.name, number)
        return None if member is None else member.state

    def _away(self, host: WorldHost) -> None:
        """It is out for longer than anybody waits for it."""
        if host.up:
            self._count("away")
            host.crash(power=self._draw.chance(0.5))
            self._world.after(STAND_IN_US + self._draw.between(1_000, 8_000) * 1000, lambda: None if host.up else host.start())

    async def _leave(self, host: WorldHost) -> None:
        if await self._asked("nodes drained", lambda verbs: verbs.drain(host.name, _silent)):
            await self._asked("nodes removed", lambda verbs: verbs.remove(host.name, _silent))

    def _emptied(self, host: WorldHost) -> None:
        """A new disk for a node that was removed."""
        if host.up and host.disk.paths() and not self._cluster.folders.fresh(host):
            host.crash(power=True)
            host.disk.wipe()
            self._cluster.trees[host.name] = MemoryTrees()
        if not host.up:
            host.start()

    async def _asked(self, what: str, verb: Callable[[Relocating], Coroutine[Any, Any, Any]]) -> bool:
        life: ControlLife | None = self._cluster.control.process
        if life is None or life.relocating is None:
            return False
        try:
            await self._cluster.ask(verb(life.relocating), seconds=VERB_S)
        except ScrubjayError as error:
            self._world.note(f"{what}: not now: {error}")
            return False
        self._count(what)
        return True

    # ------------------------------------------------------------------ what must be so in the end

    def left(self, infos: list[PartitionInfo]) -> str:
        """Why not every partition is where it belongs, with three storage replicas that vote, "": all are."""
        cluster = self._cluster
        if not cluster.ready:
            return "the control part is not up"
        leaves = {number for number, host in enumerate(cluster.hosts, 1) if self._state(host) != MEMBER}
        for info in infos:
            leader = cluster.parts.fleet.leader(info.partition_id)
            if leader is None:
                return f"{info.partition_id} has no leader"
            lsn, payload = leader.configured
            if info.fresh or info.goes or leaves.intersection(info.nodes):
                return f"{info.partition_id} is on {info.nodes}, {info.fresh} of them fresh, {info.goes} of them to go"
            if lsn:
                voters = [place for place in decode_configuration(payload).places if place.vote is Vote.VOTES]
                if len(voters) != COPIES or any(place.kind is CopyKind.LOG for place in voters):
                    return f"{info.partition_id} has the voters {voters}"
        return ""

    def evened(self) -> dict[str, int]:
        """What was done so that nodes hold and lead alike, over all lives of the control part."""
        lines = self._cluster.lines
        return {
            "copies evened out": sum("MiB less" in line for line in lines),
            "leads evened out": sum(" in the place of " in line for line in lines),
        }


def _silent(_: Any) -> None:
    """Nobody looks at how a verb goes."""


def draw_operator(seed: int, world: World) -> Stream | None:
    """His own draws; None: the cluster is the three that founded it, and nobody changes that."""
    return world.stream("members") if MEMBERS_FROM <= seed < MEMBERS_TO else None
