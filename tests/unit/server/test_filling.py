"""How long a copy that is to come in the place of another is waited for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from scrubjay.base.ids import Lsn
from scrubjay.server.filling import BYTES_PER_S, DECLINED_US, FULL_US, WAIT_US, Filling
from scrubjay.storage.log.configuration import Configuration, Vote
from tests.unit.server.test_relocating import CopyFacts, group, info

GOES = msgspec.structs.replace(info(1, 2, 3, 4), goes=(1,))
LEARNS = group(n4=Vote.LEARNER)


@dataclass(frozen=True)
class Leader(CopyFacts):
    size: int = 0


@dataclass(frozen=True)
class Taker(CopyFacts):
    vote: str = "learner"
    reason: str = "no room"


def asked(
    filling: Filling,
    now_us: int,
    copy: Taker | None,
    *,
    configuration: Configuration = LEARNS,
    full: tuple[int, ...] = (),
    leader: Any = Leader(applied=Lsn(9000)),
) -> dict[int, str]:
    copies: dict[int, Any] = {1: CopyFacts(), 2: CopyFacts(), 3: CopyFacts()}
    if copy is not None:
        copies[4] = copy
    filling.look({GOES.partition_id}, full, now_us)
    return filling.given_up(GOES, configuration, leader=leader, copies=copies, now_us=now_us, besides=GOES.goes)


def test_who_comes_nearer_is_waited_for_and_who_does_not_is_not() -> None:
    filling = Filling()
    behind = Taker(behind=True, tree="suspect", state="suspect")
    assert asked(filling, 0, None) == {}
    assert asked(filling, WAIT_US - 1, replace(behind, applied=Lsn(0))) == {}, "its log has begun"
    assert asked(filling, 2 * WAIT_US - 2, replace(behind, applied=Lsn(1))) == {}
    late = 3 * WAIT_US - 2
    assert asked(filling, late - 1, replace(behind, applied=Lsn(1))) == {}
    assert asked(filling, late, replace(behind, applied=Lsn(0))) == {4: "its copy is suspect: no room"}
    assert asked(filling, late, None) == {4: "it does not begin it"}
    assert filling.declined[4].until_us == late + DECLINED_US
    assert asked(filling, late, replace(behind, applied=Lsn(1)), configuration=group(n4=Vote.VOTES)) == {}, "once it votes it is waited for"
    assert asked(filling, late + 1, replace(behind, applied=Lsn(1))) == {}
    filling.look((), (), late + DECLINED_US)
    assert filling.declined == {}


def test_what_is_much_takes_longer_and_what_others_keep_is_not_its_fault() -> None:
    filling = Filling()
    large = Leader(applied=Lsn(9000), size=100 * BYTES_PER_S)
    assert asked(filling, 0, None, leader=large) == {}
    assert asked(filling, WAIT_US + 99_999_999, None, leader=large) == {}
    assert asked(filling, WAIT_US + 100_000_000, None, leader=large) == {4: "it does not begin it"}
    whole = Taker(applied=Lsn(8500))
    assert asked(filling, 0, whole) == {}
    assert asked(filling, 2 * WAIT_US, whole) == {}, "nobody lets it vote"
    filling.look((), (), 3 * WAIT_US)
    assert asked(filling, 3 * WAIT_US, None) == {}, "it was not waited for meanwhile"


def test_whose_log_is_full_is_not_waited_for() -> None:
    filling = Filling()
    assert asked(filling, 0, None, full=(2, 4)) == {}
    assert asked(filling, FULL_US - 1, None, full=(2, 4)) == {}
    assert asked(filling, FULL_US, None, full=(2, 4)) == {4: "its log is full"}
    assert asked(filling, FULL_US, None, full=()) == {}
    assert asked(filling, FULL_US, None, full=(4,)) == {}
