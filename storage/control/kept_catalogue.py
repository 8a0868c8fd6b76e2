"""The catalogue as one copy of the metadata group holds it, for who has that copy's folder and no cluster to ask (ADR 0084); and what is to be written into it there.

Nothing here is newer than that copy: what was decided behind its log is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, NodeName, Stamp, TableId
from scrubjay.storage.catalogue import NodeMember, TableMeta, WriterNotes
from scrubjay.storage.control.metadata import HOSTS, NODE, SCHEMA, WRITER, Hosts, metadata_item, table_from
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Effect, Op, Record, RecordKind

T = TypeVar("T")


class KeptCatalogue:
    """items: canonical bytes by storage key."""

    def __init__(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        self._items = dict(items)

    def apply(self, log: Iterable[Record]) -> None:
        """What its log says behind that. Raises Corrupt."""
        for record in log:
            if records.carries_effects(record.kind):
                for effect in records.effects(record):
                    if effect.op.is_delete:
                        self._items.pop(effect.key, None)
                    else:
                        self._items[effect.key] = effect.body

    def _named(self) -> dict[str, str]:
        return dict(metadata_item(item) for item in self._items.values())

    def tables(self) -> dict[TableId, TableMeta]:
        """Raises Corrupt."""
        found = [table_from(name, text) for name, text in sorted(self._named().items()) if name.startswith("table/")]
        return {table.table_id: table for table in found}

    def nodes(self) -> dict[NodeName, NodeMember]:
        """Raises Corrupt."""
        return {
            NodeName(name.removeprefix(NODE)): _read(name, text, NodeMember)
            for name, text in self._named().items()
            if name.startswith(NODE)
        }

    def writer(self) -> WriterNotes:
        """Raises Corrupt."""
        text = self._named().get(WRITER)
        return WriterNotes() if text is None else _read(WRITER, text, WriterNotes)

    def hosts(self, system: TableMeta) -> TableMeta:
        """The metadata group with its copies where this says that they are. Raises Corrupt."""
        text = self._named().get(HOSTS)
        if text is None:
            return system
        return _read(HOSTS, text, Hosts).of(system)


def _read(name: str, text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt("metadata item malformed", what="metadata", item=name) from error


def catalogue_record(values: Mapping[str, str], *, owner: bytes, lsn: Lsn, stamp: Stamp) -> Record:
    """One record that puts these items, JSON by name. owner: of the metadata group (`log.record.owner_tag`)."""
    effects = []
    for name, value in sorted(values.items()):
        key = {"k": ("S", name)}
        effects.append(Effect(Op.PUT, storage_key(SCHEMA, key), encode_item({**key, "v": ("S", value)})))
    return records.encode(
        owner=owner, lsn=lsn, stamp=stamp, kind=RecordKind.DATA, payload=records.encode_effects(effects), count=len(effects)
    )
