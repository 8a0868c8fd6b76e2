"""How a log changes hands, on a follower and on a candidate alike: records are staged, and one ADOPT frame makes them log. Here a group's log is cut.

A log is adopted whole: everything above `cut_at` gives way to what is staged, under the new ballot, in one step. Frame order in the WAL puts every staged record
before its ADOPT, so a crash in between leaves the old log.
"""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.storage.consensus.group_state import GroupState, Staging
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal


def stage(state: GroupState, staging: Staging, records: Sequence[Record]) -> None:
    """Queue records of an adoption; those staged already are skipped."""
    fresh = [record for record in records if record.lsn > staging.last]
    if not fresh:
        return
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
    assert staging.cut_at >= state.log.chosen
    state.out.save(wal.Adopt(state.partition, staging.ballot, staging.cut_at, staging.last))
    state.accepted = staging.ballot
    state.log.cut(staging.cut_at)
    if staging.size <= state.options.tail_bytes:
        if staging.records:
            state.log.append(staging.records, staging.size)
    else:
        state.log.skip_to(staging.last)
    assert state.log.last == staging.last
    state.staging = None
