"""The knobs of a storage node, each with its unit. Defaults are those of `--dev`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """checkpoint_*: when the overlay goes down to the tree. seal_*: when a segment is cut; seal_age_max_us: how far the age backs off for a partition that only trickles, 0: not at all. pin_timeout_us: how long a scrub that is heard of no more may
    hold back checkpoints and WAL.

    read_wait_us: how long a replica may make a read wait until it has applied far enough. statement_retry_us: pause between asking for statements again.
    max_clock_offset_us: a clock further ahead than this is refused.
    clock_ahead_accepted_us: so much further ahead the stamps may be, because somebody said so after a clock that had run ahead was set right.
    write_wait_us: how long an answer may wait for its record to be applied before it says that the outcome is unknown.
    overlay_bytes: what may wait in memory for a tree that takes no checkpoints, per replica: beyond it a leader refuses new writes; beyond twice that, nothing
    more is applied.
    answers_waiting_max: answers that may wait for what is proposed, per partition.
    keep_log_us: for how long what is archived and in the tree is kept in the log all the same, while the log has room: a member that was away for less goes on from it and need not be healed. 0: not at all.
    keep_index_log_us: the same of an index's table, of which there is no archive: a member that lacks more has the index built anew.
    item_collection_bytes_max: how large the items of one partition key and their rows in local indexes may become together, as they are stored; asked of tables with local indexes only.
    attest_wait_us: how long the leader waits for all members' attestations before it logs ARCHIVED with those it has.
    """

    checkpoint_interval_us: int = 1_000_000
    checkpoint_idle_interval_us: int = 30_000_000
    checkpoint_bytes: int = 8 << 20
    frozen_layers_max: int = 4
    overlay_bytes: int = 64 << 20
    seal_bytes: int = 8 << 20
    seal_age_us: int = 10_000_000
    seal_age_max_us: int = 0
    pin_timeout_us: int = 600_000_000
    keep_log_us: int = 30_000_000
    keep_index_log_us: int = 1_800_000_000
    read_wait_us: int = 2_000_000
    write_wait_us: int = 10_000_000
    statement_retry_us: int = 2_000_000
    attest_wait_us: int = 2_000_000
    apply_slice_bytes: int = 4 << 20
    reads_waiting_max: int = 10_000
    answers_waiting_max: int = 100_000
    max_clock_offset_us: int = 500_000
    clock_ahead_accepted_us: int = 0
    item_collection_bytes_max: int = 10 << 30
