"""Where a partition would be cut in two: one walk over a copy's tree as of its last checkpoint, pinned for as long as it takes (ADR 0078)."""

from __future__ import annotations

from functools import partial

from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.together import settle
from scrubjay.storage.btree.split_point import CutPoint
from scrubjay.storage.node.errand_messages import CutFound, FindCut
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.pins import copy_on
from scrubjay.storage.node.ttl_pages import pinned_now


class CutFinder:
    """Of one node."""

    def __init__(self, node: Home) -> None:
        self._node = node

    async def find(self, request: FindCut, note: Note) -> CutFound:
        """See `errand_messages.FindCut`."""
        del note
        replica = copy_on(self._node, request.partition)
        if not replica.status.serves:
            raise Unavailable("this copy does not serve", partition=request.partition, node=self._node.name, state=replica.state)
        pin, _ = await pinned_now(self._node, replica)
        try:
            found = self._node.env.tasks.future()
            pin.cut(partial(settle, found))
            point: CutPoint | None = await found
        except Corrupt as rot:
            replica.found_rot(rot, found_by="read")
            raise
        finally:
            pin.release()
        return CutFound(b"") if point is None else CutFound(*point)
