"""ItemCollectionMetrics: how large the item collections are that a request wrote to, as the table's partitions keep count of it (docs/formats/index-row.md).

Asked when the write is done, so it never fails for it: a size that cannot be had now is told as what is surely true, from zero to the size of the whole table.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import ReadAnswer
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.keys import HASH_BYTES
from scrubjay.storage.items.local_index import LocalRows, decode_size
from scrubjay.storage.items.wire import item_to_json

_GB = 1 << 30
Told = Callable[[dict[str, list[Body]]], None]


class CollectionMetrics:
    """Of one call. Collections are told of once each, in the order in which they were added, by table."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._wanted: dict[tuple[str, bytes], tuple[TableMeta, LocalRows, bytes, bytes]] = {}
        self._found: dict[tuple[str, bytes], list[float]] = {}

    def add(self, name: str, meta: TableMeta, key: bytes, key_item: bytes) -> None:
        """A write. name: of the table, as the request has it. key: the item's storage key. Nothing if the request does not ask, or the table has no local index."""
        local = LocalRows.of_table(meta.key, meta.local_indexes)
        if local is not None and self._call.input.get("ReturnItemCollectionMetrics") == "SIZE":
            self._wanted.setdefault((name, key[:HASH_BYTES]), (meta, local, key, key_item))

    def ask(self, told: Told) -> None:
        """`told` is called once, perhaps at once."""
        if not self._wanted:
            told({})
        for place, (meta, local, key, _) in list(self._wanted.items()):
            self._call.api.backend.read(meta, local.size_key(key), consistent=True, done=self._collector(place, meta, told))

    def _collector(self, place: tuple[str, bytes], meta: TableMeta, told: Told) -> Callable[[ReadAnswer | ScrubjayError], None]:
        def collect(answer: ReadAnswer | ScrubjayError) -> None:
            self._found[place] = self._estimate(meta, answer)
            if len(self._found) == len(self._wanted):
                told(self._bodies())

        return collect

    def _estimate(self, meta: TableMeta, answer: ReadAnswer | ScrubjayError) -> list[float]:
        """SizeEstimateRangeGB."""
        if isinstance(answer, ReadAnswer):
            try:
                whole = decode_size(answer.item) // _GB
                return [float(whole), float(whole + 1)]
            except Corrupt:
                pass  # the copy's own check is what tells of it
        stats = self._call.api.backend.stats(meta)
        return [0.0, max(1.0, float(-(-(stats.bytes + sum(size for _, size in stats.indexes)) // _GB)))]

    def _bodies(self) -> dict[str, list[Body]]:
        bodies: dict[str, list[Body]] = {}
        for (name, prefix), (meta, _, _, key_item) in self._wanted.items():
            attribute = meta.key.partition.name
            key = item_to_json({attribute: decode_item(key_item)[attribute]})
            bodies.setdefault(name, []).append({"ItemCollectionKey": key, "SizeEstimateRangeGB": self._found[name, prefix]})
        return bodies
