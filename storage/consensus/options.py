"""Tunables of the consensus core. Microseconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsensusOptions:
    """grant_us: D, how long a grant supports a node, counted from receipt.

    interval_us: time between two asks of one node. drift_us: by how much two boot clocks, or the boot and the wall clock of one node, may move apart within D.
    election_us: base of the random wait before a campaign. campaign_us: how long a first campaign may gather promises where syncs are quick, each that follows in vain twice as long (`Election.patience_us`).
    retry_us: an unanswered message is sent again after this. resign_after_us: a leader without the lease for this long resigns; one that hears nobody at once.
    chosen_delay_us: how long a moved chosen index may wait for company before it is told to followers.
    batch_bytes: records in one message. inflight_bytes: unanswered bytes per follower. window_bytes: proposed and not yet chosen, per partition.
    tail_bytes: applied records kept in memory for followers that lag; beyond it they are read from the WAL.
    chosen_bytes: records given as chosen in one Ready. learner_lag: so many records a learner may lack of what is chosen when it is let vote.
    """

    grant_us: int = 2_000_000
    interval_us: int = 400_000
    drift_us: int = 20_000
    election_us: int = 400_000
    campaign_us: int = 1_500_000
    retry_us: int = 500_000
    resign_after_us: int = 4_000_000
    chosen_delay_us: int = 25_000
    batch_bytes: int = 1 << 20
    inflight_bytes: int = 4 << 20
    window_bytes: int = 8 << 20
    tail_bytes: int = 4 << 20
    chosen_bytes: int = 8 << 20
    learner_lag: int = 1_000

    def __post_init__(self) -> None:
        assert self.interval_us * 2 < self.grant_us
        assert self.drift_us * 10 <= self.grant_us
