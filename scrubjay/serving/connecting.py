"""One process's end of its cluster: connected to the others, who are let in or not, and founded with them if it is new."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.real.peer_tls import tls_files
from scrubjay.config import Config
from scrubjay.server.admission import DURABILITY, Admission
from scrubjay.server.founding import Founder
from scrubjay.server.news import NodeNews
from scrubjay.server.process_talk import (
    AskFounded,
    AskIdentity,
    AskNews,
    AskNode,
    Found,
    Founded,
    IdentityTold,
    NodeTold,
    Renew,
    decode_question,
    encode,
)
from scrubjay.serving.folder import ClusterFile, write_cluster
from scrubjay.serving.plan import ClusterPlan
from scrubjay.serving.start import unless_stopped
from scrubjay.storage.cluster_version import NEWEST

_log = logger("peers")


async def connect(
    env: Env,
    config: Config,
    plan: ClusterPlan,
    name: NodeName,
    *,
    hello: Callable[[], Hello],
    admission: Admission,
    refused: Callable[[NodeName, ScrubjayError], None],
    listens: bool,
) -> PeerNet:
    """Listen for the others, if anybody reaches this process at all, and reach for every node. Raises Unavailable: the address is not to be had; Invalid: TLS files."""
    net = PeerNet(
        env,
        name=name,
        hello=hello,
        admit=admission.admit,
        refused=refused,
        tls=tls_files(*(Path(file) if file else None for file in (config.tls.ca, config.tls.cert, config.tls.key))),
        log=_log.info,
    )
    if listens:
        here = plan.peers[name]
        try:
            await net.listen(here.host, here.port)
        except OSError as error:
            await net.close()
            taken = error.errno == errno.EADDRINUSE
            raise Unavailable(
                "the address between nodes is taken" if taken else "cannot listen for the other nodes",
                asked=f"nodes.{name}.peer = {here}",
                found=error.strerror or str(error),
                next="stop what listens there, or give another address in every process's file",
            ) from error
    for other, address in plan.peers.items():
        if other != name:
            net.dial(other, address.host, address.port, **({} if listens else {"channels": ("port", "bulk")}))
    return net


def refused_by(peer: NodeName, error: ScrubjayError) -> None:
    """Says which node does not let this process in, and why."""
    _log.error("a node does not let this process in", node=peer, why=str(error))


def replies(
    founder: Founder,
    news: Callable[[], NodeNews | None],
    node: Callable[[], NodeTold | None] = lambda: None,
    identity: Callable[[Renew | None], IdentityTold] | None = None,
) -> Callable[[Hello, bytes, Callable[[bytes | ScrubjayError], None]], None]:
    """What this process answers when others ask it."""

    def reply(asker: Hello, body: bytes, back: Callable[[bytes | ScrubjayError], None]) -> None:
        try:
            question = decode_question(body)
            if isinstance(question, AskNews):
                told = news()
                if told is None:
                    raise Unavailable("no node runs in this process yet")
                back(encode(told.answer(question)))
            elif isinstance(question, AskNode):
                state = node()
                if state is None:
                    raise Unavailable("no node runs in this process yet")
                back(encode(state))
            elif isinstance(question, Found) and asker.role != "node":
                raise Unavailable("only a founding node founds", process=asker.name)
            elif isinstance(question, AskIdentity | Renew):
                if identity is None:
                    raise Unavailable("no node runs in this process")
                if isinstance(question, Renew) and asker.role != DURABILITY:
                    raise Unavailable("only the durability process makes a node another member", process=asker.name)
                back(encode(identity(question if isinstance(question, Renew) else None)))
            else:
                assert isinstance(question, AskFounded | Found)
                back(encode(founder.answer(question)))
        except Corrupt as error:
            back(Unavailable("a question that this release does not know", cause=str(error)))
        except ScrubjayError as error:
            back(error)

    return reply


async def learnt(
    env: Env,
    stop: Future[Any],
    disk: RealDisk,
    config: Config,
    plan: ClusterPlan,
    name: NodeName,
    role: str,
    refused: Callable[[NodeName, ScrubjayError], None],
) -> ClusterFile | None:
    """The cluster that a process without nodes belongs to, from those that found it, however long that takes; its folder has it then. None: stopped first."""
    admission = Admission(cluster=None, plan=plan.note, names=plan.names, members=None)
    net = await connect(
        env, config, plan, name, hello=lambda: stranger(role, name, plan), admission=admission, refused=refused, listens=False
    )
    founder = founder_in(env, net, disk, plan, name, None)
    _log.info("it waits for the cluster to be founded: scrubjay cluster init")
    try:
        founded = await unless_stopped(env.tasks, stop, founder.follow())
    finally:
        await net.close()
    return None if founded is None else file_of(founded)


def founded_of(file: ClusterFile | None, plan: ClusterPlan) -> Founded | None:
    if file is None:
        return None
    return Founded(file.cluster_id, file.metadata_table_id, file.metadata_partition_id, file.created_at, plan.founding)


def file_of(founded: Founded) -> ClusterFile:
    return ClusterFile(1, founded.cluster_id, founded.metadata_table_id, founded.metadata_partition_id, founded.created_at, attached=False)


def founder_in(env: Env, net: PeerNet, disk: RealDisk, plan: ClusterPlan, name: NodeName, known: ClusterFile | None) -> Founder:
    """disk: of the data folder."""

    def keep(founded: Founded) -> None:
        write_cluster(disk, file_of(founded))

    def empty() -> bool:
        return not disk.listdir("nodes") and not disk.exists("members.json")

    return Founder(
        env,
        net,
        me=name,
        nodes=plan.founding,
        known=founded_of(known, plan),
        keep=keep,
        empty=empty,
    )


def stranger(role: str, name: NodeName, plan: ClusterPlan) -> Hello:
    """What a process that is not founded says of itself."""
    return Hello("", role, name, note=plan.note, can=NEWEST)
