"""The log of a partition, kept by every member for somebody: a lease in each of them, renewed for as long as it is wanted (`storage.node.pins`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.node.errand_messages import RENEW_S, Hold, ReleaseHold
from scrubjay.storage.node.port import Fine

ASK_S = 5.0
"""How long a member may take to say that it holds its log: one that does not is asked again at the next renewal."""


async def hold_log(env: Env, asking: Asking, partition: PartitionId, nodes: Sequence[NodeName], lsn: Lsn) -> Callable[[], None]:
    """Have these members keep their log above `lsn`, as many as can be reached, until the returned function is called. One that comes up meanwhile joins in; if the
    process that asked is gone, it ends by itself."""
    lease = env.rand.uuid()

    async def hold() -> None:
        waiting = [env.tasks.spawn(_hold(asking, node, Hold(partition, lease, lsn)), name=f"hold {partition}") for node in nodes]
        for one in waiting:
            await one

    async def renew() -> None:
        while True:
            await env.tasks.sleep(RENEW_S)
            await hold()

    await hold()
    renewing = env.tasks.spawn(renew(), name=f"holds {partition}")

    def let_go() -> None:
        if not renewing.done():
            renewing.cancel()
        for node in nodes:
            asking.tell(node, ReleaseHold(partition, lease))

    return let_go


async def _hold(asking: Asking, node: NodeName, request: Hold) -> None:
    try:
        await asking.ask(node, request, Fine, timeout_s=ASK_S)
    except ScrubjayError:
        return  # it is down: when it comes again its log is as it was, and the next renewal finds it
