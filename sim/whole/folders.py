"""What the processes of simulated nodes answer when `cluster replace` asks them which folder they have, and make of it when it was made another member (`serving.node_role`, in real processes)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import ClusterId, NodeName
from scrubjay.server.process_talk import AskIdentity, AskNode, IdentityTold, NodeTold, Renew, decode_question, encode
from scrubjay.sim.world import WorldHost
from scrubjay.storage.node.identity import identify, renew
from scrubjay.storage.node.port_local import AbsentNode

_START_US = 1_000


class Folders:
    """hosts: of the nodes, in the order of their numbers. absent: nodes that stay out."""

    def __init__(self, cluster: ClusterId, hosts: list[WorldHost], absent: Mapping[NodeName, AbsentNode]) -> None:
        self._cluster, self._hosts, self._absent = cluster, hosts, absent
        self.renewed = 0
        """Folders that were made another member."""

    def fresh(self, host: WorldHost) -> bool:
        """Its node stays out, and no member ever spoke from its folder."""
        return host.up and host.name in self._absent and not host.disk.listdir("wal")

    def ask(self, name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None:
        question = decode_question(body)
        number, host = next((number, host) for number, host in enumerate(self._hosts, 1) if host.name == name)
        if not host.up:
            done(Unavailable("the process cannot be reached", process=name))
            return
        if isinstance(question, AskNode):
            done(encode(NodeTold(None, "", ())))
            return
        assert isinstance(question, AskIdentity | Renew)
        absent, fresh = self._absent.get(name), self.fresh(host)
        identity = identify(
            host.disk, cluster_id=self._cluster, node=name, number=number, mint=host.env.rand.uuid(), now_us=host.clock.wall_us()
        )
        if identity is None:
            done(encode(IdentityTold("", 0, False, "" if absent is None else str(absent.failed))))
            return
        if isinstance(question, Renew) and fresh and question.id == identity.id and question.incarnation > identity.incarnation:
            renew(host.disk, identity, question.incarnation)
            self.renewed += 1
            host.world.after(_START_US, lambda: self._start(host))
        done(encode(IdentityTold(identity.id, identity.incarnation, fresh, "" if absent is None else str(absent.failed))))

    def _start(self, host: WorldHost) -> None:
        if host.up and host.process is None:
            host.crash(power=False)
            host.start()
