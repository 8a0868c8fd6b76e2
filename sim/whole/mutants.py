"""Planted bugs in the storage node, the archive and the restore; the profile "whole" must notice each. See sim.mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import encode_manifest, manifest_of
from scrubjay.archiver.write.placing import Placer
from scrubjay.base.errors import NotLeader, ScrubjayError, Unavailable
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr import restore
from scrubjay.sim.mutants import Mutant, commit_early, replaced
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE, WholeResult, WholeRun
from scrubjay.sim.whole.stories import STORIES
from scrubjay.storage.archive_port import Attestation
from scrubjay.storage.btree import memory_engine
from scrubjay.storage.btree.engine import Change, Row
from scrubjay.storage.btree.row import HEADER_SIZE, lsn_of
from scrubjay.storage.commands.values import FeedCommand
from scrubjay.storage.control import router
from scrubjay.storage.indexes import feed
from scrubjay.storage.indexes.kept_rows import Fed
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.attest import Attest
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.term import Term


def _planted(owner: type | ModuleType, name: str, value: Any) -> Callable[[], Any]:
    return lambda: replaced(owner, **{name: value})  # type: ignore[arg-type]


def _serves_without_lease(self: Replica, *, consistent: bool) -> ScrubjayError | None:
    if not self.status.serves or self.group is None or (consistent and self.term is None):
        return NotLeader("not here")
    return None


def _applied_only(self: Term, key: bytes) -> bytes | None:
    return self._replica.find(key)


def _oldest_first(self: Overlay, key: bytes) -> Change | None:
    for layer in self.frozen:
        change: Change | None = layer.changes.get(key)
        if change is not None:
            return change
    return self.active.get(key)  # type: ignore[no-any-return]


def _unchecked(key: bytes, value: bytes) -> Row:
    return Row(key, lsn_of(value), Stamp(0), bytes(value[HEADER_SIZE:]))


def _announced_early(self: Attest) -> None:
    segments, info = self._replica.segments, self._replica.info
    for own in segments.facts.sealed:
        if len(segments.agreed(own)[0]) >= 2:
            statement = own.statement
            for member in info.members:
                self.attested(member[0], last=statement.last, said=Attestation(statement.raw_sha256, 1, True))


def _closed_over_nothing(self: Replica) -> tuple[Stamp, Lsn, Lsn] | None:
    point = _closed_point(self)
    return None if point is None else (point[0], Lsn(0), point[2])


_closed_point = Replica.closed_point


def _forgets_sealed(self: Replica) -> bytes:
    kept, self.segments.facts.sealed = self.segments.facts.sealed, []
    try:
        return _extra(self)
    finally:
        self.segments.facts.sealed = kept


_extra = Replica.extra


async def _manifest_first(self: Placer, segment: Any, facts: Any, generation: int, spoilt: Any, out: Any) -> Any:
    manifest = manifest_of(
        segment,
        facts,
        writer=self._writer.attached,
        node=self._node,
        raw=out.raw,
        stored=out.stored,
        keys=out.keys,
        generation=generation,
        supersedes=spoilt,
    )
    await self._store.put(build(self.key(segment, generation).twin()), encode_manifest(manifest))
    return await _place(self, segment, facts, generation, spoilt, out)


_place = Placer._place


def _last_change_dropped(command: FeedCommand, fed: Fed) -> Any:
    taken = _changes_taken(command, fed)
    if isinstance(taken, feed.FeedStep) and len(command.rows) > 1:
        last = command.rows[-1]
        return taken._replace(rows={key: value for key, value in taken.rows.items() if key != last[1]})
    return taken


_changes_taken = feed._changes


def _old_rows_stay(self: GlobalRows, key: bytes, old: bytes | None, new: bytes | None) -> Any:
    gone, come = _rows_changed(self, key, old, new)
    return ({}, come) if come else (gone, come)


_rows_changed = GlobalRows.change


WHOLE = tuple(
    Mutant(name, rule, plant, "whole")
    for name, rule, plant in (
        ("read-without-lease", "a leader serves strong reads without its lease", _planted(Replica, "serves", _serves_without_lease)),
        (
            "answer-before-applied",
            "a refused condition is answered before what it rests on is applied",
            _planted(Term, "_may_answer", lambda self, last: True),
        ),
        ("evaluate-on-applied", "conditions ignore what is proposed and not yet applied", _planted(Term, "_present", _applied_only)),
        (
            "digest-keeps-removed",
            "the state digest does not take out what is replaced",
            _planted(RangeDigest, "remove", lambda self, key, hash_: None),
        ),
        ("overlay-oldest-first", "a look-up prefers the older frozen layer", _planted(Overlay, "find", _oldest_first)),
        ("row-hash-unchecked", "rows are given out without their hash being checked", _planted(memory_engine, "decode_value", _unchecked)),
        (
            "wal-trimmed-before-archived",
            "the WAL lets go of what is not archived",
            _planted(Checkpoints, "_needed_from", lambda self: self.committed_before + 1),
        ),
        ("messages-before-sync", "a node answers before its WAL is synced", _planted(Turn, "_commit", commit_early)),
        (
            "retried-unknown",
            "the router sends a write again whose outcome is unknown",
            _planted(router, "may_retry", lambda error: isinstance(error, Unavailable)),
        ),
        (
            "archived-before-manifest",
            "ARCHIVED is logged when members agree, before the manifest exists",
            _planted(Attest, "check", _announced_early),
        ),
        ("manifest-before-segment", "the manifest is written first", _planted(Placer, "_place", _manifest_first)),
        ("closed-over-nothing", "a closed timestamp names no content", _planted(Replica, "closed_point", _closed_over_nothing)),
        (
            "restore-cut-early",
            "the cut lies before the instant asked for",
            _planted(restore, "last_stamp_at", lambda micros: last_stamp_at(micros - 2_500_000)),
        ),
        (
            "restore-cut-late",
            "the cut lies behind the instant asked for",
            _planted(restore, "last_stamp_at", lambda micros: last_stamp_at(micros + 2_500_000)),
        ),
        ("sealed-forgotten", "a restart forgets which segments wait for the archive", _planted(Replica, "extra", _forgets_sealed)),
        ("index-row-dropped", "the last row of what an index is fed is lost", _planted(feed, "_changes", _last_change_dropped)),
        ("index-row-stays", "the row of the item before stays in an index", _planted(GlobalRows, "change", _old_rows_stay)),
    )
)


MUTANT_SECONDS = 15

KILLERS: dict[str, int] = {
    "answer-before-applied": 6,
    "evaluate-on-applied": 1,
    "digest-keeps-removed": 17,
    "overlay-oldest-first": 1,
    "row-hash-unchecked": 17,
    "wal-trimmed-before-archived": 1,
    "retried-unknown": 11,
    "archived-before-manifest": 1,
    "manifest-before-segment": 1,
    "closed-over-nothing": 17,
    "restore-cut-early": 2,
    "restore-cut-late": 4,
    "index-row-dropped": 9001,
    "index-row-stays": 9001,
}
"""A seed that kills each mutant, as found by `python -m scrubjay.sim mutants`; tests try it first. Those that only a story brings to light (sim.whole.stories) have none."""


def tell(name: str) -> str:
    """The story for the planted bug of this name: the promise that was broken, "" if all held."""
    return STORIES[name](1, storage=STORAGE, consensus=CONSENSUS, agent=AGENT)


def hunt_whole(mutant: Mutant, seeds: Iterable[int]) -> tuple[WholeResult | None, int]:
    """(the first run that notices the planted bug, seeds tried). The same seeds hold without it. Where a story is told of it, that is the run."""
    if mutant.name in STORIES:
        with mutant.plant():
            broken = tell(mutant.name)
        return (WholeResult(1, violation=broken) if broken else None), 1
    tried = 0
    for seed in seeds:
        tried += 1
        with mutant.plant():
            result = WholeRun(seed, seconds=MUTANT_SECONDS).run()
        if result.violation:
            return result, tried
    return None, tried
