"""A cluster as its file describes it, and one process's place in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.ids import NodeName
from scrubjay.config import Config
from scrubjay.config_cluster import Address, address_of, node_number


class ClusterPlan(NamedTuple):
    """names: the nodes by number: those that found the cluster in the order of their names, the others with numbers of their own (`node_number`). founders: numbers of the founding ones. api, peers: where each answers clients, and the other nodes. durability: where that process answers. routers: folder and API address of each."""

    name: str
    names: Mapping[int, NodeName]
    zones: Mapping[NodeName, str]
    data: Mapping[NodeName, str]
    api: Mapping[NodeName, Address]
    peers: Mapping[NodeName, Address]
    durability: Address
    durability_data: str
    founders: tuple[int, ...]
    routers: Mapping[NodeName, tuple[str, Address]]

    @property
    def founding(self) -> tuple[NodeName, ...]:
        """The nodes that found the cluster, by number."""
        return tuple([self.names[number] for number in self.founders])

    @property
    def note(self) -> bytes:
        """What every process of the cluster must agree on; said when two of them meet. Nodes that join later are not in it: not every process need know of them at once."""
        return msgspec.json.encode({"cluster": self.name, "nodes": list(self.founding)})


def plan_of(config: Config) -> ClusterPlan:
    """Raises Invalid, naming the section that is lacking."""
    if not config.cluster.metadata or not config.nodes.all:
        raise Invalid(
            "the configuration describes no cluster",
            asked="cluster.metadata" if config.nodes.all else "[nodes.NAME]",
            found="nothing",
            next="give [cluster] metadata and a [nodes.NAME] for each node of it: docs/CLUSTER.md has an example",
        )
    durability = address_of(config.durability.listen)
    if durability is None:
        raise Invalid(
            "the configuration describes no durability process",
            asked="durability.listen",
            found="nothing",
            next="give [durability] listen and data: every process must know where it answers",
        )
    if not config.archive.url:
        raise Invalid(
            "a cluster needs an archive that all its processes reach",
            asked="archive.url",
            found="nothing",
            next="give s3://bucket/prefix, or on one machine file:///path",
        )
    if config.second.url:
        raise Invalid(
            "a cluster of several processes keeps one archive",
            asked="second.url",
            found=config.second.url,
            next="leave second.url out: two archives are kept by --dev alone",
        )
    nodes = dict(config.nodes.all)
    names = dict(enumerate(sorted(config.cluster.metadata), 1))
    founders = tuple(names)
    names.update({node_number(name, one): name for name, one in config.nodes.all if name not in config.cluster.metadata})

    def addresses(key: str) -> dict[NodeName, Address]:
        found = {name: address_of(getattr(nodes[name], key)) for name in names.values()}
        return {name: address for name, address in found.items() if address is not None}

    return ClusterPlan(
        config.cluster.name,
        names,
        {name: nodes[name].zone for name in names.values()},
        {name: nodes[name].data for name in names.values()},
        addresses("listen"),
        addresses("peer"),
        durability,
        config.durability.data,
        founders,
        {name: (one.data, address) for name, one in config.routers.all if (address := address_of(one.listen)) is not None},
    )


def node_of(plan: ClusterPlan, name: str | None) -> NodeName:
    """Which node a process is. Raises Invalid."""
    known = ", ".join(plan.names.values())
    if name is None:
        raise Invalid("say which node this is", asked="--role node", found="no --name", next=f"one of {known}")
    if name not in plan.names.values():
        raise Invalid("there is no such node", asked=f"--name {name}", found=f"the nodes of the file are {known}", next="give one of them")
    return NodeName(name)


def router_of(plan: ClusterPlan, name: str | None) -> NodeName:
    """Which router a process is. Raises Invalid."""
    known = ", ".join(plan.routers) or "none"
    if name is None:
        raise Invalid("say which router this is", asked="--role router", found="no --name", next=f"one of [routers] of the file: {known}")
    if name not in plan.routers:
        raise Invalid(
            "there is no such router",
            asked=f"--name {name}",
            found=f"the routers of the file: {known}",
            next=f"give one of them, or write [routers.{name}] with listen and data",
        )
    return NodeName(name)


def placed(config: Config, *, data: str, listen: Address) -> Config:
    """The configuration as one process of the cluster has it: its own folder and address."""
    serve = msgspec.structs.replace(config.serve, data=data, listen=listen.host, port=listen.port)
    return msgspec.structs.replace(config, serve=serve)
