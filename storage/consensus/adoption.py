"""How a log changes hands, on a follower and on a candidate alike: records are staged, and one ADOPT frame makes them log. Here a group's log is cut.

A log is adopted whole: everything above `cut_at` gives way to what is staged, under the new ballot, in one step. Frame order in the WAL puts every staged record
before its ADOPT, so a crash in between leaves the old log.

What the own log holds in the same bytes is not staged: it stays, and the cut comes behind it. Else a log at its limit, which has no room for its end twice, could
never change hands after a crash that left members with different accepted ballots, and nobody could lead who might make room.
"""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.ids import Lsn
from scrubjay.storage.consensus.group_log import GroupLog
from scrubjay.storage.consensus.group_state import GroupState, Staging
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal


def stage(state: GroupState, staging: Staging, records: Sequence[Record]) -> None:
    """Queue records of an adoption; those staged already are skipped, and those that the own log holds are kept."""
    fresh = [record for record in records if record.lsn > staging.last]
    if fresh and staging.kept == staging.last:
        same = _held(state.log, fresh, max_bytes=state.options.batch_bytes)
        staging.kept = staging.last = Lsn(staging.last + same)
        del fresh[:same]
    if not fresh:
        return
    staging.memberships += state.memberships.read(fresh)
    state.out.save(wal.Append(state.partition, staging.ballot, tuple(fresh), True))
    staging.last = fresh[-1].lsn
    staging.size += sum([len(record.data) for record in fresh])
    if staging.size <= state.options.tail_bytes:
        staging.records += fresh
    else:
        staging.records = []


def adopt(state: GroupState, staging: Staging) -> None:
    """The log changes hands: one frame, and the same step in memory."""
    assert staging.ballot == state.promised
    assert staging.ballot > state.accepted
    assert staging.kept >= staging.cut_at >= state.log.chosen
    state.out.save(wal.Adopt(state.partition, staging.ballot, staging.kept, staging.last))
    state.accepted = staging.ballot
    state.log.cut(staging.kept)
    state.memberships.cut(staging.kept)
    state.memberships.extend(staging.memberships)
    state.members_moved()
    if staging.size <= state.options.tail_bytes:
        if staging.records:
            state.log.append(staging.records, staging.size)
    else:
        state.log.skip_to(staging.last)
    assert state.log.last == staging.last
    state.staging = None


def _held(log: GroupLog, records: Sequence[Record], *, max_bytes: int) -> int:
    """How many of `records`, from the first on, the log holds as they are. What cannot be read of it is not held."""
    count, end = 0, min(records[-1].lsn, log.last) + 1
    try:
        while (first := records[0].lsn + count) < end:
            for own in log.read(first, end, max_bytes=max_bytes):
                if own.data != records[count].data:
                    return count
                count += 1
    except (Corrupt, Missing):
        pass
    return count
