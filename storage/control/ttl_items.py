"""Items whose time to live is over, as whoever takes them away sees them: found on a copy, page by page, and taken away by the partition's leader, which looks again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable, from_code
from scrubjay.base.ids import NodeName
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import ExpiredItem
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import Decision, ExpireCommand, WriteAnswer, WriteCommand
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.node.errand_messages import EXPIRED_WAIT_S, ExpiredFound, FindExpired

Write = Callable[[TableMeta, WriteCommand, Callable[[WriteAnswer | ScrubjayError], None]], None]
_GRACE_S = 30.0
"""A node says itself that a page did not come in time; so much later nothing comes any more."""


class PageAsked(NamedTuple):
    """As `storage.node.errand_messages.FindExpired` has them."""

    attribute: str
    now_s: int
    rows: int
    found: int
    rows_per_second: int | None


class ExpiredItems:
    """write: to the leader of a key (`storage.control.store`)."""

    def __init__(self, env: Env, fleet: Fleet, write: Write) -> None:
        self._env, self._fleet, self._write = env, fleet, write
        self._asking = Asking(env, fleet.ports, limit_s=EXPIRED_WAIT_S + _GRACE_S)

    async def find(self, info: PartitionInfo, start: bytes, asked: PageAsked) -> ExpiredFound:
        """From a good copy, rather one that does not lead. Raises Unavailable: none answers."""
        errand = FindExpired(info.partition_id, start, *asked)
        last: ScrubjayError | None = None
        for node in self._copies(info):
            try:
                return await self._asking.errand(node, errand, ExpiredFound)
            except ScrubjayError as error:  # another copy may have it
                last = error
        raise Unavailable("no copy can be looked through now", partition=info.partition_id, last=str(last))

    def _copies(self, info: PartitionInfo) -> list[NodeName]:
        leader = self._fleet.leader(info.partition_id)
        leads = None if leader is None else leader.node
        good = [copy.node for copy in self._fleet.copies(info) if copy.kind == "storage" and copy.state == "ok"]
        return sorted(good, key=lambda name: name == leads)

    async def take(self, table: TableMeta, attribute: str, one: ExpiredItem) -> bool:
        """Have it taken away. False: it stays, it is not as it was found, or is gone already. Raises Unavailable (`unknown`: it may be gone), DiskFull."""
        future = self._env.tasks.future()
        self._write(table, ExpireCommand(one.key, one.key_item, attribute, one.value), partial(settle, future))
        try:
            answer: WriteAnswer = await future
        except Conflict:  # a transaction holds it: in the next walk
            return False
        failure = answer.outcome.error
        if failure is not None:
            raise from_code(failure.code, failure.message, failure.fields)
        return answer.outcome.decision is Decision.DELETE
