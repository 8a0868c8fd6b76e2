"""Findings with names: what a comparison found, told by the item's key, the log record behind it and the archived object that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import segment_of
from scrubjay.base.env import Clock
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.scrubber.conclude import Comparison
from scrubjay.scrubber.evidence import ARCHIVE, Difference, Ruling
from scrubjay.scrubber.reference import Reference, References, RowOrigin
from scrubjay.scrubber.report import ScrubFound
from scrubjay.storage.catalogue import KeySchema, PartitionInfo, TableMeta
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.local_index import MARK, NUMBER_AT, SIZE_NUMBER, as_item
from scrubjay.storage.items.wire import value_to_json
from scrubjay.storage.service_port import Finding, Pinned


class FindingNaming:
    """Of one partition. origins_max: findings whose log record is searched for. note: hears of what could not be named; the finding is told all the same."""

    def __init__(
        self, clock: Clock, references: References, table: TableMeta, info: PartitionInfo, *, origins_max: int, note: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._references = references
        self._table = table
        self._info = info
        self._origins_max = origins_max
        self._note = note

    async def findings(self, outcome: Comparison, pins: Mapping[str, Pinned], reference: Reference | None) -> list[ScrubFound]:
        """One per difference that is told, in their order. pins: of the copies that are compared, to read keys from."""
        told = outcome.differences
        origins = await self._origins(told[: self._origins_max], reference)
        keys = await self._keys([one.key for one in told if one.key is not None], pins, reference)
        found: list[ScrubFound] = []
        for at, one in enumerate(told):
            origin = origins[at] if at < len(origins) else RowOrigin(one.lsn or None, None)
            key = None if one.key is None else keys[one.key]
            found.append(
                ScrubFound(
                    self._finding(
                        one.kind.value,
                        one.copy,
                        key=key,
                        storage_key=one.key,
                        object_=origin.object if one.copy == ARCHIVE else None,
                        lsn=origin.lsn,
                        segment=origin.object,
                        detail=one.detail or (self._index_row(one.key) if one.ruling is Ruling.COPY else one.ruling.value),
                    )
                )
            )
        return found

    def _index_row(self, key: bytes | None) -> str:
        """What to say of a row that is no item: a row of which local index it is, or that it says how large an item collection is."""
        indexes = self._table.local_indexes or ()
        if (
            not indexes
            or key is None
            or key[NUMBER_AT - 1 : NUMBER_AT] != bytes([MARK])
            or len(key) <= NUMBER_AT
            or key[NUMBER_AT] > len(indexes)
        ):
            return ""
        number = key[NUMBER_AT]
        return "the size of an item collection" if number == SIZE_NUMBER else f"a row of local index {indexes[number - 1].name}"

    async def _origins(self, told: Sequence[Difference], reference: Reference | None) -> list[RowOrigin]:
        wanted = [one for one in told if one.key is not None]
        if reference is None or not wanted:
            return [RowOrigin(one.lsn or None, None) for one in told]
        try:
            keys = [(one.key or b"", one.lsn) for one in wanted]
            found = iter(await self._references.origins(self._table, self._info, reference, keys))
        except ScrubjayError as error:
            self._note(f"the log records behind the findings were not found: {error}")
            return [RowOrigin(one.lsn or None, None) for one in told]
        return [next(found) if one.key is not None else RowOrigin(None, None) for one in told]

    async def _keys(
        self, keys: Sequence[bytes], pins: Mapping[str, Pinned], reference: Reference | None
    ) -> dict[bytes, dict[str, Any] | None]:
        """The key attributes as DynamoDB JSON, from the reference or any copy that holds a good row there."""
        wanted = sorted(set(keys))
        items: dict[bytes, bytes | None] = dict.fromkeys(wanted)
        if reference is not None and wanted:
            try:
                items = dict(zip(wanted, await self._references.items(reference, wanted), strict=True))
            except ScrubjayError as error:
                self._note(f"the keys of the findings could not be read from the reference: {error}")
        for key in wanted:
            for node in sorted(pins):
                if items[key] is None:
                    items[key] = await _or_none(pins[node].item(key))
        return {key: None if item is None else key_json(item, self._table.key) for key, item in items.items()}

    def of_archive(self, damage: Fault) -> ScrubFound:
        """Something in the archive that is not as it must be."""
        object_ = damage.object or None
        segment = segment_of(damage.object)
        return ScrubFound(self._finding(damage.kind, ARCHIVE, object_=object_, lsn=damage.lsn, segment=segment, detail=damage.detail))

    async def named(self, outside: Sequence[ScrubFound], reference: Reference | None) -> list[ScrubFound]:
        """Findings that know only a raw tree key get the key's attributes from the reference."""
        raw = [one.finding.storage_key for one in outside if one.finding.key is None and one.finding.storage_key is not None]
        keys = await self._keys(raw, {}, reference)
        return [
            ScrubFound(one.finding._replace(key=keys[one.finding.storage_key]), one.evidence)
            if one.finding.key is None and one.finding.storage_key is not None
            else one
            for one in outside
        ]

    def _finding(
        self,
        kind: str,
        copy: str,
        *,
        key: dict[str, Any] | None = None,
        storage_key: bytes | None = None,
        object_: str | None = None,
        lsn: int | None = None,
        segment: str | None = None,
        detail: str = "",
    ) -> Finding:
        at = self._clock.wall_us()
        return Finding(kind, copy, self._info.partition_id, key, storage_key, object_, lsn, segment, "scrub", "none", detail, at)


async def _or_none(item: Any) -> bytes | None:
    """The item, or None where it cannot be had from there."""
    try:
        found: bytes | None = await item
    except (Corrupt, Missing, Unavailable):
        return None
    return found


def key_json(item: bytes, key: KeySchema) -> dict[str, Any] | None:
    """The key attributes of a canonical item as DynamoDB JSON. None if the bytes are no item."""
    try:
        whole = decode_item(as_item(item))
    except Corrupt:
        return None
    names = [key.partition.name] + ([key.sort.name] if key.sort is not None else [])
    return {name: value_to_json(whole[name]) for name in names if name in whole}
