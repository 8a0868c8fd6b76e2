"""Which copies are healed at once, and which wait for a scrub."""

from __future__ import annotations

from scrubjay.base.ids import Lsn, NodeName
from scrubjay.scrubber.healer import due, due_of_former
from scrubjay.storage.service_port import Copy


def copy(number: int, state: str, *, kind: str = "storage", applied: int = 10, scannable: bool = True) -> Copy:
    return Copy(NodeName(f"n{number}"), number, kind, state, Lsn(applied), scannable)


def test_a_suspect_copy_that_can_be_compared_waits_for_the_scrub() -> None:
    assert due([copy(1, "ok"), copy(2, "suspect"), copy(3, "ok")]) == []


def test_a_copy_whose_tree_is_gone_is_healed_at_once() -> None:
    assert due([copy(1, "ok"), copy(2, "suspect", scannable=False), copy(3, "ok")]) == ["n2"]


def test_when_nobody_serves_the_furthest_suspect_is_healed() -> None:
    assert due([copy(1, "suspect", applied=5), copy(2, "suspect", applied=9), copy(3, "down", scannable=False)]) == ["n2"]


def test_amnesia_and_running_heals_are_not_its_business() -> None:
    assert due([copy(1, "amnesiac", scannable=False), copy(2, "healing", scannable=False), copy(3, "ok")]) == []


def test_of_what_was_split_two_copies_with_a_tree_are_kept_well_and_no_more() -> None:
    assert due_of_former([copy(1, "ok"), copy(2, "suspect"), copy(3, "ok")]) == []
    assert due_of_former([copy(1, "ok"), copy(2, "suspect"), copy(3, "ok", kind="log", scannable=False)]) == ["n2"], (
        "a log states no digest"
    )
    assert due_of_former([copy(1, "behind"), copy(2, "suspect"), copy(3, "ok")]) == ["n1", "n2"]
    assert due_of_former([copy(1, "ok"), copy(2, "healing"), copy(3, "amnesiac", scannable=False)]) == []
