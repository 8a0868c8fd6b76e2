"""The archive as a server uses it: its store behind limits and retries, and an agent beside each node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from archiver.agent import AgentOptions, ArchiveAgent
from archiver.identity import Writer
from base.env import Env, Jobs, ObjectStore
from base.ids import NodeName
from base.wrap.limit import LimitedStore
from base.wrap.metered import MeteredStore
from base.wrap.retry import RetryingStore
from storage.archive_port import LogSource

REQUESTS_IN_FLIGHT = 32


class Wrapped(NamedTuple):
    """store: for everything above. meter: sees every request as it leaves."""

    store: RetryingStore
    meter: MeteredStore


def wrapped(client: ObjectStore, env: Env) -> Wrapped:
    """A client of an object store, metered, limited and with retries."""
    meter = MeteredStore(client, env)
    return Wrapped(RetryingStore(LimitedStore(meter, env, in_flight=REQUESTS_IN_FLIGHT), env), meter)


def start_agents(
    env: Env, store: ObjectStore, sources: Mapping[NodeName, LogSource], writer: Writer, *, options: AgentOptions, jobs: Jobs | None
) -> list[ArchiveAgent]:
    """One running agent per node. writer: in whose name they write."""
    agents = [ArchiveAgent(env, store, source, writer, options=options, jobs=jobs) for source in sources.values()]
    for agent in agents:
        agent.start()
    return agents
