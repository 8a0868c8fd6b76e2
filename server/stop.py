"""A planned stop: take no more writes, seal what is open, wait for the archive, say once more up to where the tables are closed, hand leadership over. Bounded
by a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import UNKNOWN
from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.together import within
from scrubjay.storage.control.store import Store
from scrubjay.storage.node.port import HandOver, NodePort

LAST_WORDS_S = 1.0
"""How long a planned stop waits for the closed timestamps to reach the last write: a few support intervals."""
_POLL_S = 0.02


async def planned_stop(
    env: Env,
    store: Store,
    agents: Sequence[ArchiveAgent],
    *,
    quiet: Callable[[], Awaitable[None]],
    deadline_us: int,
    log: Callable[[str], object],
) -> int:
    """Returns the raw bytes left unarchived at boot time `deadline_us`. quiet: ends the coordinators that write by themselves (restores, heals).

    Requests may still arrive: one that wants a change is told to ask again, before anything is sealed.
    """
    store.refuse()
    await quiet()
    await _claimed(env, store, agents, deadline_us=deadline_us)
    left = await store.stop(deadline_us=deadline_us)
    if not left:
        await last_words(env, store, agents, deadline_us=deadline_us, log=log)
    return left


async def _claimed(env: Env, store: Store, agents: Sequence[ArchiveAgent], *, deadline_us: int) -> None:
    """Wait until it is known whose archive this is: the claim is noted in the metadata log, which takes nothing more once the store stops."""
    while any(agent.writer.state == UNKNOWN for agent in agents) and store.unarchived_bytes() and env.clock.boot_us() < deadline_us:
        await env.tasks.sleep(_POLL_S)


async def hand_over(env: Env, nodes: Sequence[NodePort]) -> None:
    """Before these nodes stop: what they lead goes to nodes that go on, or is given up for anybody to take. Bounded (`storage.node.departure.HAND_OVER_S`)."""
    request = HandOver(tuple(sorted(node.number for node in nodes)))
    done = [env.tasks.future() for _ in nodes]
    for node, future in zip(nodes, done, strict=True):
        node.ask(request, future.set_result)
    for future in done:
        await future


async def last_words(env: Env, store: Store, agents: Sequence[ArchiveAgent], *, deadline_us: int, log: Callable[[str], object]) -> None:
    """Publish the closed timestamps once more, when they cover the last write: the archive of a stopped cluster then proves everything it holds."""
    until = min(deadline_us, env.clock.boot_us() + int(LAST_WORDS_S * 1e6))
    while not store.closed_to_the_end() and env.clock.boot_us() < until:
        await env.tasks.sleep(_POLL_S)
    seconds = max(0.1, (deadline_us - env.clock.boot_us()) / 1e6)
    for agent in agents:
        try:
            await within(
                env.tasks, agent.publish_closed(), seconds=seconds, what="the store did not take the last closed timestamps in time"
            )
        except ScrubjayError as error:
            log(f"closed timestamps were not published at the stop; the next start does: {error}")
            return
