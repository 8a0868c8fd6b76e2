"""How long a server stops for its collector (ADR 0057 point 10). In a process of its own: what is frozen here would stay so for the tests behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OBJECT_S = 2e-6
"""What the collector takes for one that lives, at most."""
SAYS = """
import gc, json, time
from scrubjay.serving.listening import settle_memory
gc.disable()
there = gc.get_count()[0] + len(gc.get_objects())
settle_memory()
walked = len(gc.get_objects())
print(json.dumps([gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() / there, walked]))
"""


@pytest.mark.slow
def test_what_a_server_waits_for_its_collector_is_bounded_and_what_was_there_is_never_walked() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, timeout=60, check=True)
    enabled, (young, middle, full), frozen, walked = json.loads(done.stdout)
    assert enabled
    assert young * OBJECT_S <= 0.005, "a young collection, every few requests, is a pause of some milliseconds at most"
    assert young >= 1_000, "and not one at each request"
    assert young * middle >= 1_000_000, "those that walk more than the youngest are rare"
    assert full >= 20
    assert frozen > 0.5
    assert walked < 1_000
