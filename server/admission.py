"""Who of the other processes is let in, before a word of it is heard: it must be of this cluster and know the same nodes; who speaks for a member must be the one that joined
(`storage.node.identity`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.ids import ClusterId, NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.storage.catalogue import REMOVED, NodeMember
from scrubjay.storage.cluster_version import FLAGGED, LOWEST
from scrubjay.storage.node.identity import Identity, Members

NODE, ROUTER, DURABILITY = "node", "router", "durability"
ROLES = (NODE, ROUTER, DURABILITY)
STAYS_OUT = "stays_out"
"""Field of a refusal that concerns who a node is: it does not speak for its member any more."""
RAISED = "cluster_version"
"""Field of a refusal that concerns a process's release: the cluster's version."""


class Admission:
    """cluster: of this process, None: it is not founded yet. plan: what every process of the cluster must have in its file. names: every node by its number. version: of the cluster, as far as this process
    knows."""

    def __init__(
        self,
        *,
        cluster: ClusterId | None,
        plan: bytes,
        names: Mapping[int, NodeName],
        members: Members | None,
        version: Callable[[], int] = lambda: LOWEST,
    ) -> None:
        self._version = version
        self._cluster, self.plan, self._names, self._members = cluster, plan, dict(names), members
        self._lives: dict[str, str] = {}
        """In which life of its process each member was last let in."""

    def admit(self, hello: Hello, life: str) -> ScrubjayError | None:
        """None: let in. life: of the process that says it, new in each. One that is not founded yet may ask, and has nothing to say."""
        if hello.role not in ROLES:
            return Unsafe("no such role", role=hello.role, process=hello.name)
        if hello.note != self.plan:
            return Unsafe("its configuration names another cluster, or other nodes, than this process's", process=hello.name)
        if not hello.cluster or self._cluster is None:
            return None
        if hello.cluster != self._cluster:
            return Unsafe("it belongs to another cluster", process=hello.name, cluster=self._cluster, found=hello.cluster)
        if (old := below(hello, self._version())) is not None:
            return old
        if hello.role != NODE:
            return None
        if self._names.get(hello.number) != hello.name:
            return Unsafe("there is no such node", process=hello.name, number=hello.number)
        assert self._members is not None
        try:
            self._members.meet(
                NodeName(hello.name),
                id_=hello.identity,
                incarnation=hello.incarnation,
                boots=hello.boots,
                reserved=hello.reserved,
                same_life=self._lives.get(hello.name) == life,
            )
        except Unsafe as error:
            error.fields[STAYS_OUT] = True
            return error
        except ScrubjayError as error:  # it cannot be noted here: nobody is let in whom this process would not know again
            return error
        self._lives[hello.name] = life
        return None


def below(hello: Hello, number: int) -> Unsafe | None:
    """Why a process must not be let in where the cluster's version is `number`, None: it may. What a release that tells no number can is told by its node's flags, and not at the door."""
    if number <= FLAGGED or hello.can >= number:
        return None
    return Unsafe(
        "its release is older than what this cluster was raised to",
        process=hello.name,
        can=hello.can or LOWEST,
        **{RAISED: number},
        next="start the release that ran there before, or a newer one",
    )


def must_stay_out(error: ScrubjayError) -> bool:
    """Whether this refusal, of a node of this process, says that it is not who it says it is."""
    return isinstance(error, Unsafe) and bool(error.fields.get(STAYS_OUT))


def why_out(member: NodeMember | None, identity: Identity) -> Unsafe | None:
    """Why a node with this identity must not speak, by what the catalogue has in its name; None: it may. member: None: the node has not joined, and hosts nothing."""
    if member is None or member.incarnation < identity.incarnation:
        return None
    if member.state == REMOVED and member.id in ("", identity.id):
        return Unsafe(
            "this node was removed from the cluster: it stays out",
            node=identity.node,
            incarnation=member.incarnation,
            next="to have it back, start it with an empty data folder, and: scrubjay cluster join",
        )
    if member.id not in ("", identity.id) or member.incarnation != identity.incarnation:
        return Unsafe(
            "its folder is not the one that joined as this member: it stays out", node=identity.node, member=member.id, found=identity.id
        )
    return None
