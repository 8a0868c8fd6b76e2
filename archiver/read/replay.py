"""The merge behind `archiver.read.rebuild`: last record per key wins, and every seal passed is proven by its digest. No I/O but that of its runs.

How the digest of every seal is checked although the base is only streamed once, at the end: each segment's net change of every key is hashed as it goes
by. A key met for the first time may have a row in the base whose hash is not known yet; when the base streams by, that hash is taken off the seal at
which the key was first met, and off all later ones. So a rebuild is proven complete only after `merge` has run to its end and `finish` has passed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from xxhash import xxh3_128_intdigest

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import PartitionPlace, PartManifest, SegmentManifest, place
from scrubjay.archiver.format.records import PLACE_SIZE, RecordsWalked, check_against, seal_of, walk
from scrubjay.archiver.read.net_changes import ABSENT, BLOCK_ENTRIES, Ahead, NetChange, Runs, Taken
from scrubjay.base.checksum import row_hashes
from scrubjay.base.errors import FORGED, Corrupt, Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.record import EFFECT, HEADER_SIZE, OLD_ITEM, WITH_EFFECTS, Op, RecordKind, behind_old

_WITH_EFFECTS = frozenset(map(int, WITH_EFFECTS))
_COMMIT = int(RecordKind.COMMIT)
_SEAL = int(RecordKind.SEAL)
_PUT = int(Op.PUT)
_DELETES = (int(Op.DELETE), int(Op.EXPIRE))
_unpack_effect = EFFECT.unpack_from
_BOOKKEEPING = 16
"""Kinds below it are content."""
KEY_BYTES = 500
"""What a key costs in memory beside its own bytes and its item's."""
HELD_BYTES_MAX = 256 << 20
"""Of net changes in memory, by `KEY_BYTES` and the lengths of keys and items: what is more goes into a run on the disk. A rebuild takes about twice that at most."""
_ONE = HEADER_SIZE + EFFECT.size
"""Offset of the key of a record's first effect."""

Block = tuple[list[Row], list[int]]
"""Rows in key order, and the hash of each."""
Version = tuple[int, int, bytes | None]
"""(lsn, stamp, canonical item or None if deleted)."""


_row: Any = tuple.__new__
"""Of a named tuple, without a call in Python for each."""
_LENGTH = struct.Struct("<I")
_NONE: Version = (0, 0, None)
"""Of a key of which no record lies within the cut."""


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


def _without(rows: list[Row], hashes: list[int], nets: list[NetChange], taken: Taken) -> Block:
    """Rows of the base, without those that net changes of the same stretch of keys replace or remove."""
    if not nets:
        return rows, hashes
    places = {row.key: at for at, row in enumerate(rows)}
    gone: set[int] = set()
    for net in nets:
        at = places.get(net.key)
        if at is not None:
            taken.row(net.met, hashes[at])
            if net.lsn:
                gone.add(at)
    return [row for at, row in enumerate(rows) if at not in gone], [hash_ for at, hash_ in enumerate(hashes) if at not in gone]


def _together(rows: list[Row], hashes: list[int], more: list[Row], theirs: list[int]) -> Block:
    """Two blocks of one stretch of keys as one."""
    if not more or not rows:
        return rows or more, hashes or theirs
    both = sorted(zip(rows + more, hashes + theirs, strict=True), key=lambda one: one[0].key)
    return [row for row, _ in both], [hash_ for _, hash_ in both]


def _note_deleted(nets: list[NetChange], deleted: list[NetChange] | None) -> None:
    if deleted is not None:
        deleted += [net for net in nets if net.lsn and net.item is None]


class ArchiveReplay:
    """Feed segments in order, then stream `merge`, then call `finish`.

    applied, stamp: of the last record within the cut. schema: as the manifest of the segment with the cut says. sealed, chain: of the last seal within the cut. done: a seal at or after the cut was passed.

    More than 15 fields: the state of one pass over a log, half of them its results.
    """

    def __init__(
        self,
        *,
        partition: str,
        base: BaseManifest | None,
        cut: Cut,
        rebase: bool = False,
        runs: Runs | None = None,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        """base: where the log goes on from; None: the empty state. rebase: rows of the result carry LSN and stamp 0, as rows that a new table starts with. runs: where net
        changes go of which memory holds held_bytes_max already; None: all are held."""
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
        self._place: PartitionPlace | None = None
        self._chain = chain
        self._base = base
        self._total = base.total if base is not None else Total(0, 0)
        self._rebase = rebase
        self._beyond = self.done
        """A record above the cut was met: only digests are kept from here on."""
        self._cut_within = False
        """A segment held records on both sides of the cut: of its keys the hash is not that of the row in the result."""
        self._runs, self._held, self._held_max = runs, 0, held_bytes_max
        self._state: dict[bytes, tuple[int, int, int, int, bytes | None]] = {}
        """Of every key in memory what `NetChange` says of it."""
        self._sum, self._rows = 0, 0
        self._passed: list[_Passed] = []
        self._result: Total | None = None
        self._aside = Total(0, 0)
        """Rows of the base that `merge` was not given."""

    @property
    def keys(self) -> int:
        """Keys held in memory."""
        return len(self._state)

    def takes(self, manifest: SegmentManifest) -> bool:
        """False for parts of a pack that the replay has no use for: it begins behind them, or has ended in front of them."""
        return not self.done and not (isinstance(manifest, PartManifest) and manifest.last < self.next_lsn)

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
            if kind in _WITH_EFFECTS:
                if count == 1 and end - start >= _ONE:
                    # by far the most frequent record, without a call
                    op, key_length, body_length = _unpack_effect(raw, start + HEADER_SIZE)
                    middle = start + _ONE + key_length
                    stop = last = middle + body_length
                    if op & OLD_ITEM:
                        op, last = op & ~OLD_ITEM, behind_old(raw, stop, end)
                    if last != end or (op != _PUT and op not in _DELETES):
                        raise Corrupt("effect out of bounds or unknown", what="segment", where=where, lsn=lsn)
                    touched[raw[start + _ONE : middle]] = (lsn, stamp, raw[middle:stop] if op == _PUT else None)
                else:
                    self._effects(raw, lsn, stamp, count, start, end, touched, where)
                if within is not None and kind == _COMMIT and not self._is_beyond(lsn, effective):
                    self._effects(raw, lsn, stamp, count, start, end, within, where)
            if within is None:
                self.applied, self.stamp = lsn, stamp
        if (lsn, stamp, kind) != (manifest.last, manifest.last_stamp, _SEAL):
            raise Corrupt("segment does not end with the seal that its manifest names", kind=FORGED, what="segment", where=where, lsn=lsn)
        low, high = (min(touched)[:PLACE_SIZE], max(touched)[:PLACE_SIZE]) if touched else (b"", b"")
        seal = seal_of(raw, start, first=manifest.first, where=where)
        check_against(RecordsWalked(manifest.first, lsn, first_stamp, stamp, content, seal, low, high), manifest, where=where)
        if self.applied >= manifest.first:  # it holds records within the cut, not only what is read on to the seal behind it
            self.schema = manifest.schema
        self._pass(manifest, touched, within, where)
        if within is None:
            self.sealed, self.chain = manifest.last, manifest.chain
        self._beyond = within is not None
        self._cut_within = self._cut_within or self._beyond
        if self._runs is not None:
            self._keep(self._runs, len(raw) + KEY_BYTES * manifest.records)
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
            stop = at = middle + body_length
            if op & OLD_ITEM:
                op, at = op & ~OLD_ITEM, behind_old(raw, stop, end)
            if at > end or (op != _PUT and op not in _DELETES):
                raise Corrupt("effect out of bounds or unknown", what="segment", where=where, lsn=lsn)
            into[raw[body:middle]] = (lsn, stamp, raw[middle:stop] if op == _PUT else None)
        if at != end:
            raise Corrupt("bytes behind the last effect", what="segment", where=where, lsn=lsn)

    def _pass(self, manifest: SegmentManifest, touched: dict[bytes, Version], within: dict[bytes, Version] | None, where: str) -> None:
        """Account for a segment's net changes at its seal. within: those within the cut, None: all are."""
        state, pack, digest = self._state, _LENGTH.pack, xxh3_128_intdigest  # as `row_hash`, without a call for each
        index = len(self._passed)
        total, rows = self._sum, self._rows
        for key, (lsn, stamp, item) in touched.items():
            old = state.get(key)
            met = index
            if old is not None:
                met = old[0]
                if old[1] != ABSENT:
                    total -= old[1]
                    rows -= 1
            new = ABSENT
            if item is not None:
                new = digest(pack(len(key)) + key + item)
                total += new
                rows += 1
            if within is not None:
                lsn, stamp, item = within.get(key) or (_NONE if old is None else old[2:])
            state[key] = (met, new, lsn, stamp, item)
        self._sum, self._rows = total & MASK, rows
        self._passed.append(_Passed(manifest.last, where, manifest.before, manifest.total, self._sum, rows))
        self._chain, self.next_lsn = manifest.chain, manifest.last + 1

    def _keep(self, runs: Runs, more_bytes: int) -> None:
        """Put what memory holds into a run, once it is too much."""
        self._held += more_bytes
        if self._held < self._held_max:
            return
        items = sum([len(one[4]) for one in self._state.values() if one[4] is not None])
        self._held = KEY_BYTES * len(self._state) + sum(map(len, self._state)) + items
        if self._held >= self._held_max:
            runs.keep(net for block in self._nets() for net in block)
            self._state, self._held = {}, 0

    def _nets(self) -> Iterator[list[NetChange]]:
        """What memory holds, in key order."""
        state, make = self._state, tuple.__new__
        keys = sorted(state)
        for at in range(0, len(keys), BLOCK_ENTRIES):
            yield [make(NetChange, (key, *state[key])) for key in keys[at : at + BLOCK_ENTRIES]]

    def touched(self) -> Iterator[list[bytes]]:
        """The keys that the segments touch, within the cut or behind it, in order, by the block."""
        for nets in self._merged(Taken(len(self._passed))):
            yield [net.key for net in nets]

    def _merged(self, taken: Taken) -> Iterator[list[NetChange]]:
        return self._runs.merged(self._nets(), taken) if self._runs is not None and len(self._runs) > 0 else self._nets()

    def merge(self, base: Iterator[Block], *, deleted: list[NetChange] | None = None, touched_only: bool = False) -> Iterator[Block]:
        """The result's rows in key order, by the block, with the hash of each. base: rows of the base snapshot in key order, checked; empty without a base. Run it to its end.
        It may be called again, from the beginning.

        deleted: gets what the log deleted within the cut, in key order, each before the block of its stretch of keys is given out. Take it out again.
        touched_only: of the base come only rows whose keys the segments touch, all of those that it has, and maybe others; the result lacks the others too. For what is left out
        the base's own total stands: it is what the first segment goes on from, and a row that is wrong, lacking or too many makes the seals differ.
        """
        taken = Taken(len(self._passed))
        kept = self._runs is not None and len(self._runs) > 0
        changes = Ahead(self._merged(taken))
        known = not kept and not self._cut_within
        """The row that a key's hash is of is the one that the result has, and both are as they were when it was computed."""
        base_sum, base_rows = 0, 0
        last, newest_stamp = (self._base.lsn, self._base.stamp) if self._base is not None else (0, 0)
        for rows, hashes in base:
            if any(row.lsn > last or row.stamp > newest_stamp for row in rows):
                raise self._no_base("the base holds a row of a later record than the one it is the state after", self._base)
            base_sum += sum(hashes)
            base_rows += len(rows)
            if rows:
                nets = changes.upto(rows[-1].key)
                _note_deleted(nets, deleted)
                rows, hashes = _without(rows, hashes, nets, taken)
                if self._rebase:
                    rows = [_row(Row, (row.key, 0, 0, row.item)) for row in rows]
                yield _together(rows, hashes, *self._put(nets, known=known))
        while nets := changes.rest():
            _note_deleted(nets, deleted)
            yield self._put(nets, known=known)
        given = Total(base_sum & MASK, base_rows)
        self._aside = Total((self._total.sum - given.sum) & MASK, self._total.rows - given.rows) if touched_only else Total(0, 0)
        self._check_seals(self._total if touched_only else given, taken)

    def _put(self, nets: list[NetChange], *, known: bool) -> Block:
        """The rows that net changes leave. known: their hashes are those of these rows."""
        if self._rebase:
            rows = [_row(Row, (key, 0, 0, item)) for key, _, _, _, _, item in nets if item is not None]
        else:
            rows = [_row(Row, (key, lsn, stamp, item)) for key, _, _, lsn, stamp, item in nets if item is not None]
        return rows, [net[2] for net in nets if net[5] is not None] if known else row_hashes(rows)

    def _check_seals(self, base: Total, taken: Taken) -> None:
        if base != self._total:
            raise self._no_base("the base snapshot's rows differ from its digest", self._base)
        gone_sum, gone_rows, before = 0, 0, base
        for passed, sum_, rows in zip(self._passed, taken.sums, taken.rows, strict=True):
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

    def finish(self, total: Total) -> None:
        """total: of the rows that `merge` gave out, as the writer counted them. Raises Corrupt unless it is the agreed one where the cut is at a seal."""
        assert self._result is not None, "merge was not run to its end"
        total = Total((total.sum + self._aside.sum) & MASK, total.rows + self._aside.rows)
        if not self._beyond and total != self._result:
            raise Corrupt(
                "the written rows differ from the agreed digest",
                kind=FORGED,
                what="digest",
                lsn=self.sealed,
                expected=self._result.hex,
                found=total.hex,
            )
