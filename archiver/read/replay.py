"""The merge behind `archiver.read.rebuild`: last record per key wins, and every seal passed is proven by its digest. Pure, no I/O.

How the digest of every seal is checked although the base is only streamed once, at the end: each segment's net change of every key is hashed as it goes
by. A key met for the first time may have a row in the base whose hash is not known yet; when the base streams by, that hash is taken off the seal at
which the key was first met, and off all later ones. So a rebuild is proven complete only after `merge` has run to its end and `finish` has passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import Place, SegmentManifest, place
from scrubjay.archiver.format.records import PLACE_SIZE, RecordsWalked, check_against, seal_of, walk
from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import FORGED, Corrupt, Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.record import EFFECT, HEADER_SIZE, IMPLEMENTED, Op, RecordKind

_DATA = int(RecordKind.DATA)
_COMMIT = int(RecordKind.COMMIT)
_SEAL = int(RecordKind.SEAL)
_PUT = int(Op.PUT)
_DELETE = int(Op.DELETE)
_UNSUPPORTED = {int(kind) for kind in RecordKind if kind not in IMPLEMENTED}
_unpack_effect = EFFECT.unpack_from
_BOOKKEEPING = 16
"""Kinds below it are content."""
_ABSENT = -1
_ONE = HEADER_SIZE + EFFECT.size
"""Offset of the key of a record's first effect."""

Version = tuple[int, int, bytes | None]
"""(lsn, stamp, canonical item or None if deleted)."""


class Cut(NamedTuple):
    """Where the result ends, inclusive: by effective time (a stamp), or at an LSN; both None is the end of what is given."""

    stamp: Stamp | None = None
    lsn: Lsn | None = None


class _Passed(NamedTuple):
    """A seal: what its manifest says of the state in front of its segment and at it, and what the segments up to it made of the empty state."""

    last: int
    where: str
    before: Total
    total: Total
    sum: int
    rows: int


class ArchiveReplay:
    """Feed segments in order, then stream `merge`, then call `finish`.

    applied, stamp: of the last record within the cut. schema: as the manifest of the segment with the cut says. sealed, chain: of the last seal within the cut. done: a seal at or after the cut was passed.

    More than 15 fields: the state of one pass over a log, half of them its results.
    """

    def __init__(self, *, partition: str, base: BaseManifest | None, cut: Cut, rebase: bool = False) -> None:
        """base: where the log goes on from; None: the empty state. rebase: rows of the result carry LSN and stamp 0, as rows that a new table starts with."""
        base_lsn, base_stamp, chain = (base.lsn, base.stamp, base.chain) if base is not None else (0, 0, chains.START)
        self.partition = partition
        self.cut = cut
        self.applied, self.stamp, self.schema = base_lsn, base_stamp, ""
        self.sealed, self.chain = base_lsn, chain
        self.next_lsn = base_lsn + 1
        self.done = cut.lsn is not None and cut.lsn <= base_lsn
        self.raw_bytes = 0
        self.records = 0
        self._last_stamp = base_stamp
        self._place: Place | None = None
        self._chain = chain
        self._base = base
        self._total = base.total if base is not None else Total(0, 0)
        self._rebase = rebase
        self._beyond = self.done
        """A record above the cut was met: only digests are kept from here on."""
        self._newest: dict[bytes, Version] = {}
        self._hashes: dict[bytes, int] = {}
        """Hash of every touched key's row at the last seal passed, _ABSENT if deleted."""
        self._met: dict[bytes, int] = {}
        """Index in `_passed` of the segment that first touched the key."""
        self._sum, self._rows = 0, 0
        self._passed: list[_Passed] = []
        self._result: Total | None = None

    @property
    def keys(self) -> int:
        """Keys held in memory."""
        return len(self._hashes)

    def feed(self, manifest: SegmentManifest, raw: bytes, *, where: str) -> None:
        """The next segment; `raw` is what its object decoded to. Raises Corrupt, and Missing (lsn) if it does not continue."""
        assert not self.done
        if manifest.first != self.next_lsn:
            raise Missing("hole in the log", what="segment", lsn=self.next_lsn)
        if manifest.chain_before != self._chain:
            raise Corrupt("the chain is broken", kind=FORGED, what="manifest", where=where, lsn=manifest.first)
        if self._place is not None and self._place != place(manifest):
            raise Corrupt(
                "manifest names another table, schema or range than the one before",
                kind=FORGED,
                what="manifest",
                where=where,
                lsn=manifest.first,
            )
        if self._place is None and self._base is not None:
            self._check_base(self._base, manifest)
        self._place = place(manifest)
        touched: dict[bytes, Version] = {}
        within: dict[bytes, Version] | None = None
        lsn, stamp, kind, start, content, first_stamp = self.next_lsn - 1, self._last_stamp, 0, 0, 0, 0
        for lsn, stamp, effective, kind, count, start, end in walk(
            raw, partition=self.partition, first=manifest.first, after_stamp=self._last_stamp, where=where
        ):
            if within is None and self._is_beyond(lsn, effective):
                within = dict(touched)
            self._last_stamp = stamp
            if not first_stamp:
                first_stamp = stamp
            if kind < _BOOKKEEPING:
                content += 1
            if kind == _DATA or kind == _COMMIT:  # noqa: SIM109 - two compares are cheaper than a tuple here
                if count == 1 and end - start >= _ONE:
                    # by far the most frequent record, without a call
                    op, key_length, body_length = _unpack_effect(raw, start + HEADER_SIZE)
                    middle = start + _ONE + key_length
                    if middle + body_length != end or (op != _PUT and op != _DELETE):
                        raise Corrupt("effect out of bounds or unknown", what="segment", where=where, lsn=lsn)
                    touched[raw[start + _ONE : middle]] = (lsn, stamp, raw[middle:end] if op == _PUT else None)
                else:
                    self._effects(raw, lsn, stamp, count, start, end, touched, where)
                if within is not None and kind == _COMMIT and not self._is_beyond(lsn, effective):
                    self._effects(raw, lsn, stamp, count, start, end, within, where)
            elif kind in _UNSUPPORTED:
                raise Corrupt("record kind is not understood by this version", what="segment", where=where, lsn=lsn, record_kind=kind)
            if within is None:
                self.applied, self.stamp = lsn, stamp
        if (lsn, stamp, kind) != (manifest.last, manifest.last_stamp, _SEAL):
            raise Corrupt("segment does not end with the seal that its manifest names", kind=FORGED, what="segment", where=where, lsn=lsn)
        low, high = (min(touched)[:PLACE_SIZE], max(touched)[:PLACE_SIZE]) if touched else (b"", b"")
        seal = seal_of(raw, start, first=manifest.first, where=where)
        check_against(RecordsWalked(manifest.first, lsn, first_stamp, stamp, content, seal, low, high), manifest, where=where)
        if self.applied >= manifest.first:  # it holds records within the cut, not only what is read on to the seal behind it
            self.schema = manifest.schema
        self._pass(manifest, touched, where)
        self._newest.update(touched if within is None else within)
        if within is None:
            self.sealed, self.chain = manifest.last, manifest.chain
        self._beyond = within is not None
        self.done = self._is_end(manifest)
        self.raw_bytes += len(raw)
        self.records += manifest.records

    def _check_base(self, base: BaseManifest, manifest: SegmentManifest) -> None:
        """Raises Corrupt unless the base is what the first segment behind it says that it goes on from. The chain covers the segment's word, and not the base's."""
        if place(base) != place(manifest):
            raise self._no_base("the base names another table, schema or range than the log behind it", base)
        if base.total != manifest.before:
            raise self._no_base("the base's digest is not that of the state that the log behind it goes on from", base)

    @staticmethod
    def _no_base(why: str, base: BaseManifest | None) -> Corrupt:
        where = "" if base is None else build(base.key())
        return Corrupt(why, kind=FORGED, what="base", where=where)

    def wants(self, manifest: SegmentManifest) -> bool:
        """False if the result is complete and proven without this segment: the seal in front of it is at or after the cut's LSN, or closed at or after its
        time."""
        return not self.done

    def _is_beyond(self, lsn: int, effective: int) -> bool:
        if self.cut.lsn is not None:
            return lsn > self.cut.lsn
        return self.cut.stamp is not None and effective > self.cut.stamp

    def _is_end(self, manifest: SegmentManifest) -> bool:
        """No record at or before the cut can follow this seal."""
        if self.cut.lsn is not None:
            return manifest.last >= self.cut.lsn
        return self.cut.stamp is not None and manifest.closed >= self.cut.stamp

    def _effects(self, raw: bytes, lsn: int, stamp: int, count: int, start: int, end: int, into: dict[bytes, Version], where: str) -> None:
        at = start + HEADER_SIZE
        for _ in range(count):
            body = at + 7
            if body > end:
                raise Corrupt("effect cut short", what="segment", where=where, lsn=lsn)
            op, key_length, body_length = _unpack_effect(raw, at)
            middle = body + key_length
            at = middle + body_length
            if at > end or (op != _PUT and op != _DELETE):
                raise Corrupt("effect out of bounds or unknown", what="segment", where=where, lsn=lsn)
            into[raw[body:middle]] = (lsn, stamp, raw[middle:at] if op == _PUT else None)
        if at != end:
            raise Corrupt("bytes behind the last effect", what="segment", where=where, lsn=lsn)

    def _pass(self, manifest: SegmentManifest, touched: dict[bytes, Version], where: str) -> None:
        """Account for a segment's net changes at its seal."""
        hashes, met = self._hashes, self._met
        index = len(self._passed)
        total, rows = self._sum, self._rows
        for key, (_, _, item) in touched.items():
            old = hashes.get(key)
            if old is None:
                met[key] = index
            elif old != _ABSENT:
                total -= old
                rows -= 1
            if item is None:
                hashes[key] = _ABSENT
            else:
                new = row_hash(key, item)
                hashes[key] = new
                total += new
                rows += 1
        self._sum, self._rows = total & MASK, rows
        self._passed.append(_Passed(manifest.last, where, manifest.before, manifest.total, self._sum, rows))
        self._chain, self.next_lsn = manifest.chain, manifest.last + 1

    def merge(self, base: Iterator[Row]) -> Iterator[Row]:
        """The result's rows in key order. base: rows of the base snapshot in key order, checked; empty without a base. Run it to its end."""
        newest, met, rebase = self._newest, self._met, self._rebase
        taken = [[0, 0] for _ in self._passed]
        changed = iter(sorted(newest))
        nothing: bytes | None = None
        key = next(changed, nothing)
        base_sum, base_rows = 0, 0
        last, newest_stamp = (self._base.lsn, self._base.stamp) if self._base is not None else (0, 0)
        for row in base:
            if row.lsn > last or row.stamp > newest_stamp:
                raise self._no_base("the base holds a row of a later record than the one it is the state after", self._base)
            hash_ = row_hash(row.key, row.item)
            base_sum += hash_
            base_rows += 1
            first = met.get(row.key)
            if first is not None:
                taken[first][0] += hash_
                taken[first][1] += 1
            while key is not None and key < row.key:
                lsn, stamp, item = newest[key]
                if item is not None:
                    yield Row(key, Lsn(0 if rebase else lsn), Stamp(0 if rebase else stamp), item)
                key = next(changed, nothing)
            if key == row.key:
                assert key is not None
                lsn, stamp, item = newest[key]
                if item is not None:
                    yield Row(key, Lsn(0 if rebase else lsn), Stamp(0 if rebase else stamp), item)
                key = next(changed, nothing)
            else:
                yield Row(row.key, Lsn(0), Stamp(0), row.item) if rebase else row
        while key is not None:
            lsn, stamp, item = newest[key]
            if item is not None:
                yield Row(key, Lsn(0 if rebase else lsn), Stamp(0 if rebase else stamp), item)
            key = next(changed, nothing)
        self._check_seals(Total(base_sum & MASK, base_rows), taken)

    def _check_seals(self, base: Total, taken: list[list[int]]) -> None:
        if base != self._total:
            raise self._no_base("the base snapshot's rows differ from its digest", self._base)
        gone_sum, gone_rows, before = 0, 0, base
        for passed, (sum_, rows) in zip(self._passed, taken, strict=True):
            gone_sum += sum_
            gone_rows += rows
            found = Total((base.sum + passed.sum - gone_sum) & MASK, base.rows + passed.rows - gone_rows)
            if found != passed.total:
                raise Corrupt(
                    "the rebuilt state differs from the agreed digest",
                    kind=FORGED, what="digest", where=passed.where, lsn=passed.last, expected=passed.total.hex, found=found.hex, rows=found.rows,
                )  # fmt: skip
            if passed.before != before:
                raise Corrupt(
                    "the state in front of a segment differs from what its manifest says",
                    kind=FORGED, what="digest", where=passed.where, lsn=passed.last, expected=passed.before.hex, found=before.hex,
                )  # fmt: skip
            self._result = before = found
        if not self._passed:
            self._result = base

    def removed(self, key: bytes) -> tuple[int, int] | None:
        """(lsn, stamp) of the record within the cut that deleted the key and was the last to touch it; None if no such record was fed."""
        found = self._newest.get(key)
        return None if found is None or found[2] is not None else (found[0], found[1])

    def finish(self, total: Total) -> None:
        """total: of the rows that `merge` gave out, as the writer counted them. Raises Corrupt unless it is the agreed one where the cut is at a seal."""
        assert self._result is not None, "merge was not run to its end"
        if not self._beyond and total != self._result:
            raise Corrupt(
                "the written rows differ from the agreed digest",
                kind=FORGED,
                what="digest",
                lsn=self.sealed,
                expected=self._result.hex,
                found=total.hex,
            )
