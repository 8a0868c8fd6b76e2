"""What keeps an item collection of a table with local indexes from growing beyond its limit: asked by a leader of whatever it is about to put.

The size is that of the applied state, as the row beside the index rows says it (`LocalRows.size_key`): what is proposed and not applied yet is not in it, so writes at once may bring a
collection over the limit by as much as is in flight. What makes a collection no larger is never refused. A table without local indexes is asked nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.storage.commands.values import Decision, Failure, Outcome
from scrubjay.storage.items.local_index import COLLECTION_FULL, COLLECTION_FULL_MESSAGE, LocalRows, decode_size, grown_by
from scrubjay.storage.items.size import ITEM_ENCODED_BYTES_MAX


class CollectionLimit:
    """size: of a key's collection as of its making, less than this many bytes of room are `near` the limit. Made for one command, or for all of a transaction in one collection."""

    def __init__(self, local: LocalRows, key: bytes, *, limit: int, find: Callable[[bytes], bytes | None]) -> None:
        """find: the applied version of a key. Raises Corrupt, Unavailable."""
        self._local, self._limit = local, limit
        self._size = decode_size(find(local.size_key(key)))

    @property
    def near(self) -> bool:
        """One more item may be too much: what was there before is to be known."""
        return self._size + (1 + len(self._local.indexes)) * ITEM_ENCODED_BYTES_MAX > self._limit

    def passed(self, key: bytes, old: bytes | None, outcome: Outcome) -> Outcome:
        """`outcome`, or a refusal in its place. old: the item as it is; only asked for if `near`."""
        if outcome.decision not in (Decision.PUT, Decision.DELETE) or not self.near:
            return outcome
        grown = grown_by(old, outcome.new, *self._local.change(key, old, outcome.new))
        if grown > 0 and self._size + grown > self._limit:
            return Outcome(Decision.REFUSED, old, old, Failure(COLLECTION_FULL, COLLECTION_FULL_MESSAGE))
        self._size += grown
        return outcome
