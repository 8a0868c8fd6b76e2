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

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(900)]

SECONDS = 170.0


def test_what_clients_see_under_faults_has_an_order(tmp_path: Path) -> None:
    """Where there are no namespaces (no root, no iptables) processes alone are hit: what befell the network is in no other test of this kind then."""
    with contextlib.ExitStack() as stack:
        spaces = stack.enter_context(Networks((*NODES, DURABILITY))) if networks.why_not() is None else None
        found = run(tmp_path, seed=20261128, seconds=SECONDS, spaces=spaces, say=print)
    assert found.good, str(found)
    assert found.operations - found.unanswered > 10 * SECONDS, str(found)
    assert found.faults.keys() == {*OF_THE_PROCESS, *(OF_THE_NETWORK if spaces is not None else ())}, str(found)
    assert found.splits, str(found)
