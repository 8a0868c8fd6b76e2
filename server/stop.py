"""A planned stop: take no more writes, seal what is open, wait for the archive, say once more up to where the tables are closed, hand leadership over. Bounded
by a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import UNKNOWN
from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId, TableId
from scrubjay.base.together import within
from scrubjay.storage.control.fleet import leaders
from scrubjay.storage.control.store import Store
from scrubjay.storage.node.port import HandOver, NodePort, ReplicaFacts

LAST_WORDS_S = 10.0
"""How long a planned stop waits for the closed timestamps to reach the last write: a few support intervals, or, on a machine that was held up for longer than a
lease, an election."""
_POLL_S = 0.02
_LOOK_S = 0.1
"""Between two looks at nodes of other processes."""
QUORUM = 2
"""Of the three nodes of a cluster."""
_AGAIN_S = 0.2
"""Between two publications at the stop."""


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


async def others_go_on(env: Env, store: Store, here: NodePort, *, system: TableId, deadline_us: int) -> int:
    """A node of several processes stops, and the others may go on: wait, until boot time `deadline_us`, for the archive to have what the log of this node holds now. Returns the raw bytes of
    tables left; `system`, the cluster's own, is waited for and not counted: it never stands still.

    Whoever leads seals what is open, this node too. Without a quorum nothing will be archived, and nothing is waited for.
    """
    wanted = {one.partition: one.last_content for one in here.all_facts() if one.state != "base" and not one.ended}
    while True:
        facts = await store.look()
        archived: dict[PartitionId, Lsn] = {}
        for one in facts:
            archived[one.partition] = max(archived.get(one.partition, Lsn(0)), one.archived)
        wanted = {partition: lsn for partition, lsn in wanted.items() if archived.get(partition, Lsn(0)) < lsn}
        members = {one.node for one in facts if one.up}
        if not wanted or len(members) < QUORUM or env.clock.boot_us() >= deadline_us:
            return sum(one.unarchived for one in here.all_facts() if one.partition in wanted and one.table != system)
        store.seal_open([one for one in facts if one.partition in wanted and one.last_seal < wanted[one.partition]])
        await env.tasks.sleep(_LOOK_S)


async def hand_over(env: Env, nodes: Sequence[NodePort]) -> None:
    """Before these nodes stop: what they lead goes to nodes that go on, or is given up for anybody to take. Bounded (`storage.node.departure.HAND_OVER_S`)."""
    request = HandOver(tuple(sorted(node.number for node in nodes)))
    done = [env.tasks.future() for _ in nodes]
    for node, future in zip(nodes, done, strict=True):
        node.ask(request, future.set_result)
    for future in done:
        await future


async def last_words(env: Env, store: Store, agents: Sequence[ArchiveAgent], *, deadline_us: int, log: Callable[[str], object]) -> None:
    """Publish the closed timestamps until they cover the last write of every partition: the archive of a stopped cluster then proves everything it holds.

    Leaders may move meanwhile, and one that could say it when it was looked at may not when it is asked: what counts is what was published. What it does not
    cover when the time is up is told.
    """
    until = min(deadline_us, env.clock.boot_us() + int(LAST_WORDS_S * 1e6))
    while True:
        derived = store.derived()  # nothing is ever published of what is not archived
        facts = [one for one in await store.look() if one.partition not in derived]
        mute = not any(agent.writer.state == "" for agent in agents)
        late = mute or env.clock.boot_us() >= until
        if not late and unclosable(facts, said(agents)):
            await env.tasks.sleep(_POLL_S)
            continue
        seconds = max(0.1, (deadline_us - env.clock.boot_us()) / 1e6)
        for agent in agents:
            try:
                await within(
                    env.tasks, agent.publish_closed(), seconds=seconds, what="the store did not take the last closed timestamps in time"
                )
            except ScrubjayError as error:
                log(f"closed timestamps were not published at the stop; the next start does: {error}")
                return
        left = unclosed(facts, said(agents))
        if not left:
            return
        if late:
            log(
                f"the last writes of {len(left)} partitions are archived and not closed ({left[0]} among them): until the next start has closed them, "
                "the restorable window ends before them"
            )
            return
        await env.tasks.sleep(_AGAIN_S)


def said(agents: Sequence[ArchiveAgent]) -> dict[PartitionId, Lsn]:
    """By partition, the newest content record that a closed object of this life covers."""
    found: dict[PartitionId, Lsn] = {}
    for agent in agents:
        for partition, lsn in agent.publisher.said.items():
            found[partition] = max(found.get(partition, Lsn(0)), lsn)
    return found


def unclosed(facts: Iterable[ReplicaFacts], published: Mapping[PartitionId, Lsn]) -> list[PartitionId]:
    """Partitions with a write that nothing published covers, whoever leads them. The last SEAL of a dropped table closes it by itself. Pure."""
    some = list(facts)
    reached: dict[PartitionId, Lsn] = {}
    for one in some:
        if one.last_content != one.last_seal:
            reached[one.partition] = max(reached.get(one.partition, Lsn(0)), one.last_seal)
    ends: dict[PartitionId, Lsn] = {}
    ended: dict[PartitionId, None] = {}
    for one in some:
        # A copy that was rebuilt at a SEAL takes that for its last write until another comes. Who applied that SEAL as a record knows better.
        if one.last_content != one.last_seal or one.last_seal > reached.get(one.partition, Lsn(0)):
            ends[one.partition] = max(ends.get(one.partition, Lsn(0)), one.last_content)
        if one.ended:
            ended[one.partition] = None
    return [partition for partition, end in sorted(ends.items()) if partition not in ended and end > published.get(partition, Lsn(0))]


def unclosable(facts: Sequence[ReplicaFacts], published: Mapping[PartitionId, Lsn]) -> list[PartitionId]:
    """Of these, those whose leader cannot close the last write yet, or that nobody leads just now. Pure."""
    could = dict(published)
    for one in leaders(facts):
        if one.closed is not None:
            could[one.partition] = max(could.get(one.partition, Lsn(0)), one.closed[1])
    return unclosed(facts, could)
