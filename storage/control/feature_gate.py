"""Whether something new may be written: by the cluster's version, and where nobody has raised that yet by what nodes tell of themselves.

One rule for all that asks (`storage.cluster_version`). What came before there was a number goes on while processes of the releases around it are exchanged: it is asked of every member that is up, as it always was. What came since
asks for the number, which also speaks for members that are away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.storage.catalogue import REMOVED
from scrubjay.storage.cluster_version import FLAGGED, Feature, said
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.node.port import NodePort

NEXT = "bring every process to this release; scrubjay cluster version says which one is not"


class ClusterVersion:
    """ports: every storage node that the configuration names; those that are members count."""

    def __init__(self, metadata: Metadata, ports: Mapping[NodeName, NodePort]) -> None:
        self._metadata, self._ports = metadata, ports

    @property
    def number(self) -> int:
        """As the catalogue has it."""
        return self._metadata.version.number

    def lacks(self, feature: Feature, *, besides: NodeName | None = None) -> str:
        """Why the cluster must not write that yet, "": it may. besides: a node that is not asked, as it leaves."""
        if self.number >= feature.number:
            return ""
        if feature.number > FLAGGED:
            return f"{feature.name} needs version {feature.number} of the cluster, it has {self.number}"
        for name, node in self._ports.items():
            status = node.status()
            if name == besides or status.failed is not None or said(status) >= feature.number:
                continue
            member = self._metadata.standing(name, node.number)
            if member is not None and member.state != REMOVED:
                return f"{feature.name} needs version {feature.number} of every node, {name} can {said(status)}"
        return ""

    def need(self, feature: Feature) -> None:
        """Of a request that is right, and will be answered once the last process is exchanged. Raises Unavailable."""
        if why := self.lacks(feature):
            raise Unavailable(why, next=NEXT)

    def allow(self, feature: Feature, *, besides: NodeName | None = None, **fields: str) -> None:
        """Of a verb that a person is to ask again later. fields: of what. Raises Unsafe."""
        if why := self.lacks(feature, besides=besides):
            raise Unsafe(why, **fields, next=NEXT)


Lacks = Callable[[Feature], str]
