"""A copy's items whose time to live is over, page by page: each page of the tree as of its last checkpoint, pinned for as long as the page takes. What is not in the
tree yet is in the next walk's."""

from __future__ import annotations

from functools import partial
from typing import Any

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.base.together import settle, within
from scrubjay.storage.btree.engine import ExpiredPage, ExpiredWanted, PinnedTree, Tree
from scrubjay.storage.node.errand_messages import EXPIRED_WAIT_S, ExpiredFound, FindExpired
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.pins import copy_on
from scrubjay.storage.replica import Replica

_POLL_S = 0.05
_TRIES = 20


class ExpiredFinder:
    """Of one node."""

    def __init__(self, node: Home) -> None:
        self._node = node

    async def find(self, request: FindExpired, note: Note) -> ExpiredFound:
        """See `errand_messages.FindExpired`."""
        replica = copy_on(self._node, request.partition)
        if not replica.status.serves:
            raise Unavailable("this copy does not serve", partition=request.partition, node=self._node.name, state=replica.state)
        wanted = ExpiredWanted(replica.table.key, request.attribute, request.now_s, request.rows, request.found)
        tasks = self._node.env.tasks
        page = await within(
            tasks, self._page(replica, request, wanted), seconds=EXPIRED_WAIT_S, what="the copy's tree was not looked through in time"
        )
        return ExpiredFound(page.found, page.next, page.rows)

    async def _page(self, replica: Replica, request: FindExpired, wanted: ExpiredWanted) -> ExpiredPage:
        pin, _ = await pinned_now(self._node, replica)
        try:
            found = self._node.env.tasks.future()
            pin.expired(request.start, wanted, partial(settle, found), rows_per_second=request.rows_per_second)
            page: ExpiredPage = await found
            return page
        finally:
            pin.release()


async def pinned_now(node: Home, replica: Replica) -> tuple[PinnedTree, Lsn]:
    """A copy's tree as of its last checkpoint, and the LSN of that; one that came in between is a reason to ask again. Raises Unavailable."""
    for left in reversed(range(_TRIES)):
        tree: Tree | None = replica.tree
        if tree is None:
            break
        pinned: Any = node.env.tasks.future()
        lsn = tree.state.applied
        tree.pin(lsn, partial(settle, pinned))
        try:
            pin: PinnedTree = await pinned
            return pin, lsn
        except Unavailable as error:
            if not left or "found" not in error.fields:
                raise
        await node.env.tasks.sleep(_POLL_S)
    raise Unavailable("this copy's tree cannot be pinned now", partition=replica.partition, node=node.name)
