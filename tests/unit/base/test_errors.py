"""What an error says of a fault survives its way between processes."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Missing, ScrubjayError, from_code
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
