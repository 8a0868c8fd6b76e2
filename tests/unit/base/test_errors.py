"""What an error says of a fault survives its way between processes."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Missing, ScrubjayError, Unavailable, from_code
from scrubjay.base.real.job_wire import error_of, failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Missing("it is gone", what="segment"), HOLE),
        (Corrupt("its checksum differs", what="segment"), UNREADABLE),
        (Corrupt("the chain is broken", kind=FORGED, what="manifest"), FORGED),
        (Corrupt("a record kind of a later version", kind=9), UNREADABLE),
        (Corrupt("a word nobody knows", kind="green"), UNREADABLE),
    ],
)
def test_a_fault_keeps_its_kind(error: Missing | Corrupt, kind: str) -> None:
    def told(one: ScrubjayError) -> str:
        assert isinstance(one, Missing | Corrupt)
        return one.kind

    assert told(error) == kind
    assert told(from_code(error.code, error.message, error.fields)) == kind, "by a frame"
    assert told(error_of(failure_of(error, ""))) == kind, "from a worker"


def test_what_to_do_next_is_said_as_a_sentence_and_not_as_a_fact() -> None:
    assert str(Unavailable("this copy is down", node="n1", next="bring n1 back")) == "this copy is down (node=n1); bring n1 back"
    assert str(Unavailable("no leader", next="try again")) == "no leader; try again"
    assert str(Unavailable("no leader", node="n1")) == "no leader (node=n1)"
    assert str(Unavailable("no leader")) == "no leader"
