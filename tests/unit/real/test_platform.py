"""What this process may use of the machine."""

from __future__ import annotations

import os

import pytest

from scrubjay.base.real.platform import usable_cores


def test_cores_that_this_process_may_not_run_on_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine with many, a container or `taskset` leaves a few: as many workers are begun, and predictions go by them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 7})
    assert usable_cores() == 2
