"""Which copies are healed at once, and which wait for a scrub."""

from __future__ import annotations

from scrubjay.base.ids import Lsn, NodeName
from scrubjay.scrubber.healer import due
from scrubjay.storage.service_port import Copy


def copy(number: int, state: str, *, applied: int = 10, scannable: bool = True) -> Copy:
    return Copy(NodeName(f"n{number}"), number, "storage", state, Lsn(applied), scannable)


def test_a_suspect_copy_that_can_be_compared_waits_for_the_scrub() -> None:
    assert due([copy(1, "ok"), copy(2, "suspect"), copy(3, "ok")]) == []


def test_a_copy_whose_tree_is_gone_is_healed_at_once() -> None:
    assert due([copy(1, "ok"), copy(2, "suspect", scannable=False), copy(3, "ok")]) == ["n2"]


def test_when_nobody_serves_the_furthest_suspect_is_healed() -> None:
    assert due([copy(1, "suspect", applied=5), copy(2, "suspect", applied=9), copy(3, "down", scannable=False)]) == ["n2"]


def test_amnesia_and_running_heals_are_not_its_business() -> None:
    assert due([copy(1, "amnesiac", scannable=False), copy(2, "healing", scannable=False), copy(3, "ok")]) == []
