"""Rows that a global index is to have for the items of a copy, page by page: each of the copy's tree as of its last checkpoint, pinned for as long as the page takes."""

from __future__ import annotations

from functools import partial

from scrubjay.base.errors import Unavailable
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import IndexPage, IndexWanted
from scrubjay.storage.node.errand_messages import FindIndexRows, IndexRowsFound
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.pins import copy_on
from scrubjay.storage.node.ttl_pages import pinned_now


class IndexRowFinder:
    """Of one node."""

    def __init__(self, node: Home) -> None:
        self._node = node

    async def find(self, request: FindIndexRows) -> IndexRowsFound:
        """See `errand_messages.FindIndexRows`."""
        replica = copy_on(self._node, request.partition)
        if not replica.status.serves:
            raise Unavailable("this copy does not serve", partition=request.partition, node=self._node.name, state=replica.state)
        pin, lsn = await pinned_now(self._node, replica)
        try:
            found = self._node.env.tasks.future()
            wanted = IndexWanted(request.definition, replica.owner, request.rows, request.size)
            pin.index_rows(request.start, wanted, partial(settle, found))
            page: IndexPage = await found
        finally:
            pin.release()
        return IndexRowsFound(page.found, page.next, page.rows, lsn)
