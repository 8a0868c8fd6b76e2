"""What leaves a node: one box per peer, and one frame per peer for everything of a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from scrubjay.base.env import Network
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.node import talk as talk


class Post:
    """number: of this node. names: number -> name of every node. cluster: 8 bytes that every frame names."""

    def __init__(self, *, network: Network, number: int, names: Mapping[int, NodeName], cluster: bytes) -> None:
        self._network, self._number, self._names, self._cluster = network, number, names, cluster
        self._groups: dict[int, list[tuple[PartitionId, consensus.PartitionMessage]]] = {}
        self._nodes: dict[int, list[consensus.NodeMessage]] = {}
        self._talk: dict[int, list[talk.StorageMessage]] = {}

    def group(self, partition: PartitionId, envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            self._groups.setdefault(envelope.to, []).append((partition, cast(consensus.PartitionMessage, envelope.message)))

    def node(self, envelopes: Sequence[Envelope]) -> None:
        """Messages of the pair of nodes (liveness)."""
        for envelope in envelopes:
            self._nodes.setdefault(envelope.to, []).append(cast(consensus.NodeMessage, envelope.message))

    def talk(self, to: int, message: talk.StorageMessage) -> None:
        self._talk.setdefault(to, []).append(message)

    def drop(self) -> None:
        """Nothing boxed so far leaves."""
        self._groups.clear()
        self._nodes.clear()
        self._talk.clear()

    def send(self) -> None:
        """Everything boxed leaves."""
        if self._groups or self._nodes:
            groups, self._groups = self._groups, {}
            nodes, self._nodes = self._nodes, {}
            for to in sorted(self._names.keys() & {*groups, *nodes}):  # a CONFIG may name a node that this one does not know
                frame = consensus.encode_frame(
                    cluster=self._cluster, sender=self._number, node=nodes.get(to, ()), groups=groups.get(to, ())
                )
                self._network.send(self._names[to], frame)
        if self._talk:
            said, self._talk = self._talk, {}
            for to in sorted(self._names.keys() & said.keys()):
                self._network.send(self._names[to], talk.encode_frame(said[to]))
