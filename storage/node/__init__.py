"""A storage node, by role: `node` hosts replicas and gives them what they share; `turn` drives consensus through WAL and network; `post` boxes what leaves;
`deadlines` wakes what is due; `hosting` makes, opens and forgets replicas."""

from scrubjay.storage.node.node import Node, NodeEvents

__all__ = ["Node", "NodeEvents"]
