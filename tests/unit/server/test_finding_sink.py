"""One sink for what nodes find: nothing is lost while nobody keeps it, and nothing waits once somebody does."""

from __future__ import annotations

from scrubjay.server.finding_sink import FindingSink, Note
from scrubjay.storage.control.findings import KEPT_MAX
from scrubjay.storage.service_port import Finding


def finding(lsn: int) -> Finding:
    return Finding("unreadable", "n1", "p", None, None, None, lsn, None, "read", "none", "", lsn)


def test_what_is_found_before_anybody_keeps_it_is_kept_in_order() -> None:
    heard: list[int | None] = []
    kept: list[int | None] = []
    keeper: list[Note] = []
    sink = FindingSink(keeper=lambda: keeper[0] if keeper else None, heard=lambda one: heard.append(one.lsn))
    sink(finding(1))
    sink(finding(2))
    sink.hand_over()
    assert (heard, kept) == ([1, 2], [])
    keeper.append(lambda one: kept.append(one.lsn))
    sink.hand_over()
    assert kept == [1, 2]
    keeper.clear()  # the control part went down
    sink(finding(3))
    keeper.append(lambda one: kept.append(one.lsn))
    sink(finding(4))
    assert heard == kept == [1, 2, 3, 4], "the ones that waited first, each once"


def test_what_waits_is_bounded_and_the_newest_stays() -> None:
    kept: list[int | None] = []
    keeper: list[Note] = []
    sink = FindingSink(keeper=lambda: keeper[0] if keeper else None, heard=lambda _: None)
    for lsn in range(KEPT_MAX + 5):
        sink(finding(lsn))
    keeper.append(lambda one: kept.append(one.lsn))
    sink.hand_over()
    assert kept == list(range(5, KEPT_MAX + 5))
