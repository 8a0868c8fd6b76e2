"""Nobody recovers a quorum that is there: who answers is not lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from scrubjay.base.errors import Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.config_cluster import Address
from scrubjay.quorum_recovery import _knock
from scrubjay.serving.plan import ClusterPlan

N2, N3 = NodeName("n2"), NodeName("n3")


@contextlib.contextmanager
def plan() -> Iterator[tuple[ClusterPlan, dict[str, socket.socket]]]:
    """A cluster at addresses where nobody answers until the socket of that name listens."""
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in ("durability", N2, N3)}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        at = {name: Address("127.0.0.1", one.getsockname()[1]) for name, one in sockets.items()}
        peers = {name: at[name] for name in (N2, N3)}
        yield ClusterPlan("c", {}, {}, {}, {}, peers, at["durability"], "", (), {}), sockets


def test_where_nobody_answers_all_are_lost() -> None:
    with plan() as (cluster, _):
        asyncio.run(_knock(cluster, [N2, N3]))


@pytest.mark.parametrize(("who", "why"), [(N3, "it is not lost"), ("durability", "the durability process runs")])
def test_who_answers_is_not_lost(who: str, why: str) -> None:
    with plan() as (cluster, sockets):
        sockets[who].listen()
        with pytest.raises(Unsafe, match=why) as refused:
            asyncio.run(_knock(cluster, [N2, N3]))
    assert who in str(refused.value.fields["found"])
