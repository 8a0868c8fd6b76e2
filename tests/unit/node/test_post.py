"""What leaves a node, and what does not: mail for a node that this process knows no name of."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.node import talk
from scrubjay.storage.node.post import Post

CLUSTER = b"8 bytes!"
P = PartitionId("00000000-0000-4000-8000-0000000000aa")


class Sent:
    """A network that remembers what it was given."""

    def __init__(self) -> None:
        self.frames: list[tuple[NodeName, bytes]] = []

    def send(self, to: NodeName, frame: bytes) -> None:
        self.frames.append((to, frame))

    def listen(self, receive: Callable[[NodeName, bytes], None]) -> None:
        """Nothing comes."""


def test_what_is_for_a_node_that_a_config_names_and_nobody_knows_is_not_sent() -> None:
    """And keeps nobody else from what is for them; the next turn begins with an empty box."""
    network = Sent()
    post = Post(network=network, number=1, names={1: NodeName("n1"), 2: NodeName("n2")}, cluster=CLUSTER)
    for to in (9, 2, 7):
        post.group(P, [Envelope(to, consensus.Question(5))])
        post.node([Envelope(to, consensus.Ask(1, 2, 0))])
        post.talk(to, talk.AskRecords(P, 1, 2))
    post.send()
    assert [to for to, _ in network.frames] == ["n2", "n2"]
    content = consensus.decode_frame(network.frames[0][1], cluster=CLUSTER)
    assert [message for _, message in content.groups] == [consensus.Question(5)]
    post.node([Envelope(8, consensus.Ask(1, 2, 0))])
    post.send()
    post.send()
    assert len(network.frames) == 2
