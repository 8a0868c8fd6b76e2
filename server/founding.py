"""The founding of a cluster (`scrubjay cluster init`): its ids are minted once, by the first of the founding nodes, and handed to the others, each of which keeps them before it answers.

All of them must be up, and their folders empty. A founding that was cut off is gone on with by asking again, and by itself: who is not founded asks the others all the while. A folder that
was emptied since learns the cluster's ids in the same way; that it may not speak for its member is another matter (`server.admission`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.ids import ClusterId, NodeName, PartitionId, TableId
from scrubjay.server.process_talk import Asker, AskFounded, Found, Founded, FoundedHere, ask

LOOK_S = 0.5
"""Between two looks whether the others are founded."""
ASK_S = 3.0


class Founder:
    """known: the cluster that this process belongs to, None: none yet. me: its name; nodes: the founding ones by number; the first mints. keep: writes it durably.
    empty: whether nothing of a node lies in the folder. founded: called once."""

    def __init__(
        self,
        env: Env,
        net: Asker,
        *,
        me: str,
        nodes: Sequence[NodeName],
        known: Founded | None,
        keep: Callable[[Founded], None],
        empty: Callable[[], bool],
    ) -> None:
        self._env, self._net, self._me, self._nodes = env, net, me, tuple(nodes)
        self.known, self._keep, self._empty = known, keep, empty
        self._others = [name for name in self._nodes if name != me]
        self._minting = Gate(env.tasks)

    def answer(self, question: AskFounded | Found) -> FoundedHere:
        """Raises Unsafe, DiskFull."""
        if isinstance(question, Found):
            self.take(question.cluster)
        return FoundedHere(self.known, self._empty())

    def take(self, cluster: Founded) -> None:
        """Belong to it, durably. Again: nothing. Raises Unsafe: this process belongs to another cluster, or its folder holds a node of nobody knows which."""
        if self.known is not None:
            if self.known.cluster_id != cluster.cluster_id:
                raise Unsafe(
                    "this process belongs to another cluster",
                    process=self._me,
                    cluster=self.known.cluster_id,
                    found=cluster.cluster_id,
                    next="give it an empty folder, or the nodes that belong to its cluster",
                )
            return
        if cluster.nodes != self._nodes:
            raise Unsafe(
                "the cluster was founded with other nodes than the configuration names",
                process=self._me,
                asked=", ".join(self._nodes),
                found=", ".join(cluster.nodes),
            )
        if not self._empty():
            raise Unsafe(
                "the folder holds a node, and no word of which cluster it is of: it is not given to another",
                process=self._me,
                next="put back its cluster.json, or give an empty folder",
            )
        self._keep(cluster)
        self.known = cluster

    async def follow(self) -> Founded:
        """Wait until this process is founded, by whomever: asks the others all the while."""
        while self.known is None:
            for name in self._others:
                try:
                    found = await ask(self._env.tasks, self._net, name, AskFounded(), FoundedHere, timeout_s=ASK_S)
                    if found.cluster is not None and self.known is None:
                        self.take(found.cluster)
                except ScrubjayError:
                    continue
            if self.known is None:
                await self._env.tasks.sleep(LOOK_S)
        return self.known

    async def init(self) -> dict[str, Any]:
        """`cluster init`. Raises Unsafe, Unavailable (some founding node is not up)."""
        async with self._minting:
            if self._me != self._nodes[0]:
                raise Unsafe(
                    "another node founds the cluster", process=self._me, next=f"ask {self._nodes[0]}, the first in cluster.metadata by name"
                )
            before = self.known
            there = {name: await self._of(name) for name in self._others}
            ids = {one.cluster.cluster_id for one in there.values() if one.cluster is not None}
            if self.known is not None:
                ids.add(self.known.cluster_id)
            if len(ids) > 1:
                found = ", ".join(f"{name}: {one.cluster.cluster_id if one.cluster is not None else 'none'}" for name, one in there.items())
                raise Unsafe("the nodes belong to several clusters", found=f"{self._me}: {self.known and self.known.cluster_id}, {found}")
            if not ids:
                for name, one in there.items():
                    if not one.empty:
                        raise Unsafe("the folder of a node is not empty", process=name, next="give it an empty folder")
                rand = self._env.rand
                cluster = Founded(
                    ClusterId(rand.uuid()), TableId(rand.uuid()), PartitionId(rand.uuid()), self._env.clock.wall_us(), self._nodes
                )
                self.take(cluster)  # before anybody else has it: who asks again goes on with this one
            elif self.known is None:
                self.take(next(one.cluster for one in there.values() if one.cluster is not None))
            assert self.known is not None
            for name in self._others:
                if there[name].cluster is None:
                    await ask(self._env.tasks, self._net, name, Found(self.known), FoundedHere, timeout_s=ASK_S)
            return {
                "cluster_id": self.known.cluster_id,
                "nodes": list(self._nodes),
                "founded": before is None or any(one.cluster is None for one in there.values()),
            }

    async def _of(self, name: NodeName) -> FoundedHere:
        try:
            return await ask(self._env.tasks, self._net, name, AskFounded(), FoundedHere, timeout_s=ASK_S)
        except Unavailable as error:
            raise Unavailable(
                "a founding node cannot be reached",
                process=name,
                cause=str(error),
                next=f"start it: scrubjay serve --role node --name {name}",
            ) from error
