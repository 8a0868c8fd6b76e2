"""What a storage node in a process of its own tells whoever works for the cluster: what its agent published and archived, and what the node found wrong.

In one process the windows hear an agent directly, and findings are kept at once; here they are asked for. Findings lie durably with the node until whoever asked has them durably. What was
published and never asked for is no loss: the archive's index finds it, later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from scrubjay.archiver.format.closed import ClosedObject, decode_closed, encode_closed
from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.server.process_talk import Asker, AskNews, AskNode, FindingTold, News, NodeTold, ask
from scrubjay.storage.service_port import Finding

KEPT_MAX = 1024
"""Pieces of news that wait to be asked for."""
FINDINGS_MAX = 500
"""Findings told at once."""
ASK_EVERY_S = 0.5
NODE_EVERY_US = 2_000_000
"""Between two questions how a node's machine is."""
NODE_STALE_US = 15_000_000
"""What it told so long ago counts no more."""


class NodeNews:
    """findings: that nobody has taken over; forget: those are. life: of this process."""

    def __init__(self, life: str, *, findings: Callable[[], Sequence[Finding]], forget: Callable[[Sequence[Finding]], None]) -> None:
        self._life, self._findings, self._forget = life, findings, forget
        self._count = 0
        self._news: deque[tuple[int, ClosedObject | PartitionId]] = deque(maxlen=KEPT_MAX)

    def published(self, made: ClosedObject) -> None:
        self._add(made)

    def moved(self, partition: PartitionId) -> None:
        self._add(partition)

    def _add(self, what: ClosedObject | PartitionId) -> None:
        self._count += 1
        self._news.append((self._count, what))

    def answer(self, question: AskNews) -> News:
        if question.kept:
            self._forget([_finding(one) for one in question.kept])
        after = question.after if question.life == self._life else 0
        new = [what for count, what in self._news if count > after]
        return News(
            self._life,
            self._count,
            tuple((one.key(), encode_closed(one)) for one in new if isinstance(one, ClosedObject)),
            tuple(dict.fromkeys(one for one in new if not isinstance(one, ClosedObject))),
            tuple(FindingTold(*one) for one in list(self._findings())[:FINDINGS_MAX]),
        )


class NewsReader:
    """Asks every node in turn. published, moved: as the windows take them. note: keeps a finding durably before it returns."""

    def __init__(
        self,
        env: Env,
        net: Asker,
        nodes: Sequence[NodeName],
        *,
        published: Callable[[ClosedObject], None],
        moved: Callable[[PartitionId], None],
        note: Callable[[Finding], None],
    ) -> None:
        self._env, self._net, self._published, self._moved, self._note = env, net, published, moved, note
        self._asked: dict[NodeName, AskNews] = {name: AskNews("", 0) for name in nodes}
        self._told: dict[NodeName, tuple[int, NodeTold]] = {}
        """By node, when on our boot clock it was asked, and what it told."""
        self._tasks: list[Task[None]] = []

    def told(self, name: NodeName) -> NodeTold | None:
        """How a node's machine is, by its own word; None: nobody knows just now, or its release does not say."""
        at_us, told = self._told.get(name, (0, None))
        return None if self._env.clock.boot_us() - at_us > NODE_STALE_US else told

    @property
    def asked(self) -> Mapping[NodeName, AskNews]:
        """What each node will be asked next."""
        return self._asked

    def start(self) -> None:
        self._tasks = [self._env.tasks.keep(partial(self._follow, name), name=f"news of {name}") for name in self._asked]

    async def _follow(self, name: NodeName) -> None:
        while True:
            await self.look(name)
            if self._env.clock.boot_us() - self._told.get(name, (-NODE_EVERY_US, None))[0] >= NODE_EVERY_US:
                await self.look_at(name)
            await self._env.tasks.sleep(ASK_EVERY_S)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def look(self, name: NodeName) -> None:
        """Ask one node. One that cannot be asked is asked again; what cannot be kept stays with it."""
        try:
            news = await ask(self._env.tasks, self._net, name, self._asked[name], News, timeout_s=5.0)
            for key, data in news.closed:
                with suppress(Corrupt):  # of a newer release, perhaps: the index reads the object itself
                    self._published(decode_closed(data, where=key))
            for partition in news.moved:
                self._moved(partition)
            for one in news.findings:
                self._note(_finding(one))
            self._asked[name] = AskNews(news.life, news.after, news.findings)
        except ScrubjayError:
            return

    async def look_at(self, name: NodeName) -> None:
        """Ask one node how its machine is. What it told before counts for a while if it does not answer."""
        asked_us = self._env.clock.boot_us()
        try:
            self._told[name] = asked_us, await ask(self._env.tasks, self._net, name, AskNode(), NodeTold, timeout_s=5.0)
        except ScrubjayError:
            return


def _finding(one: FindingTold) -> Finding:
    fields: list[Any] = [getattr(one, field) for field in FindingTold.__struct_fields__]
    return Finding(*fields)
