"""The archive as a server uses it: its store behind limits and retries, and an agent beside each node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import without_key
from scrubjay.archiver.write.claiming import ClaimBook, Claiming, Log
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Jobs, ObjectStore
from scrubjay.base.errors import NoKey, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.together import within
from scrubjay.base.wrap.limit import LimitedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.server.duty import WORKS, Duty
from scrubjay.storage.archive_port import LogSource

REQUESTS_IN_FLIGHT = 32
_DUTY_POLL_S = 0.2


class Wrapped(NamedTuple):
    """store: for everything above. meter: sees every request as it leaves."""

    store: RetryingStore
    meter: MeteredStore


def wrapped(client: ObjectStore, env: Env) -> Wrapped:
    """A client of an object store, metered, limited and with retries."""
    meter = MeteredStore(client, env)
    return Wrapped(RetryingStore(LimitedStore(meter, env, in_flight=REQUESTS_IN_FLIGHT), env), meter)


def start_agents(
    env: Env,
    store: ObjectStore,
    sources: Mapping[NodeName, LogSource],
    writer: Writer,
    *,
    options: AgentOptions,
    jobs: Jobs | None,
    log: Log | None = None,
    first: Callable[[], Awaitable[None]] | None = None,
) -> list[ArchiveAgent]:
    """One running agent per node. writer: in whose name they write. log: told once when something cannot be archived, and when it can again.
    first: what has to be in the archive before they begin (`pitr.first_base`)."""
    agents = [ArchiveAgent(env, store, source, writer, options=options, jobs=jobs, log=log) for source in sources.values()]

    def begin() -> None:
        for agent in agents:
            agent.start()

    async def begin_behind(work: Callable[[], Awaitable[None]]) -> None:
        await work()
        begin()

    if first is None:
        begin()
    else:
        env.tasks.spawn(begin_behind(first), name="first bases")
    return agents


async def claim_archive(
    env: Env,
    store: ObjectStore,
    writer: Writer,
    book: ClaimBook,
    sources: Mapping[NodeName, LogSource],
    *,
    patience_s: float,
    log: Log,
    taken_over: int | None = None,
) -> Claiming:
    """See whose archive it is before anything is served, then claim it beside everything else. sources: may change while it runs. patience_s: 0: do not ask.

    Raises Unsafe if a log does not continue the archive, or the keys at hand do not open it. While the store does not answer nothing is known and nothing is archived: tables go on all the same.
    """
    claiming = Claiming(env, store, writer, book, lambda: list(sources.values()), log=log)
    try:
        if patience_s <= 0:
            raise Unavailable("the archive does not answer")
        await within(env.tasks, claiming.begin(taken_over=taken_over), seconds=patience_s, what="the archive does not answer in time")
    except NoKey as error:
        raise without_key(error, store) from error
    except Unavailable as error:
        log("warning", f"whose archive it is cannot be told yet; nothing is archived until it can: {error}")
    claiming.start()
    return claiming


async def claim_at_work(env: Env, duty: Duty, claim: Callable[[], Awaitable[Claiming]], *, log: Log) -> None:
    """Of several processes the one that works claims the archive: anew each time that it begins to, for another may have claimed since. Who rests writes nothing. Never returns.

    claim: `claim_archive`, for the first time."""
    claiming: Claiming | None = None
    while True:
        while duty.state != WORKS:
            await env.tasks.sleep(_DUTY_POLL_S)
        if claiming is not None:
            claiming.start()
        else:
            try:
                claiming = await claim()
            except ScrubjayError as error:
                log("error", f"the archive cannot be claimed, nothing is archived: {error}")
        while duty.state == WORKS:
            await env.tasks.sleep(_DUTY_POLL_S)
        if claiming is not None:
            claiming.rest()
