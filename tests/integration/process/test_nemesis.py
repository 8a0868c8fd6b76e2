"""Three minutes of faults on a real cluster of four processes, and per key an order for all that its clients saw."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.fixtures import networks
from tests.fixtures.cluster import DURABILITY, NODES
from tests.fixtures.networks import Networks
from tests.nemesis.faults import OF_THE_NETWORK, OF_THE_PROCESS
from tests.nemesis.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 170.0
KINDS_LEAST = 3
"""Of faults, of the process and of the network each: so many draws miss no more of them."""


def test_what_clients_see_under_faults_has_an_order(tmp_path: Path) -> None:
    """Where there are no namespaces (no root, no iptables) processes alone are hit: what befell the network is in no other test of this kind then."""
    with contextlib.ExitStack() as stack:
        spaces = stack.enter_context(Networks((*NODES, DURABILITY))) if networks.why_not() is None else None
        found = run(tmp_path, seed=20261128, seconds=SECONDS, spaces=spaces, say=print)
    assert found.good, found
    assert found.operations - found.unanswered > 10 * SECONDS, found
    assert len(found.faults.keys() & set(OF_THE_PROCESS)) == KINDS_LEAST, found
    assert spaces is None or len(found.faults.keys() & set(OF_THE_NETWORK)) >= KINDS_LEAST, found
    assert found.splits, found
