"""How a scrub goes about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """rate_bytes: bytes per second read from one copy, None: no bound. lanes: partitions at once. findings_max: item-level findings per partition whose
    keys are told; what differs beyond is judged key by key all the same. origins_max: findings per partition whose log record is searched for. in_turn: the copies
    of a partition are read one after another, not at once."""

    archive_wait_s: float = 60.0
    pin_wait_s: float = 30.0
    heal_wait_s: float = 60.0
    rate_bytes: int | None = None
    lanes: int = 2
    findings_max: int = 1000
    origins_max: int = 200
    in_turn: bool = False


class Turns(NamedTuple):
    """A run that nobody waits for: it takes the partitions that had no turn since `round_us`, the least recently looked at first, until stop(bytes read) says why it
    must end; asked before each. again: and those that had one and stayed unverified. only: of all these no others; None: all."""

    round_us: int
    stop: Callable[[int], str | None]
    again: bool = False
    only: frozenset[str] | None = None
