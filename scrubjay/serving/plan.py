"""A cluster as its file describes it, and one process's place in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.ids import NodeName
from scrubjay.config import Config
from scrubjay.config_cluster import Address, address_of


class ClusterPlan(NamedTuple):
    """names: the nodes by number, in the order of their names. api, peers: where each answers clients, and the other nodes. durability: where that process answers."""

    name: str
    names: Mapping[int, NodeName]
    zones: Mapping[NodeName, str]
    data: Mapping[NodeName, str]
    api: Mapping[NodeName, Address]
    peers: Mapping[NodeName, Address]
    durability: Address
    durability_data: str

    @property
    def note(self) -> bytes:
        """What every process of the cluster must agree on; said when two of them meet."""
        return msgspec.json.encode({"cluster": self.name, "nodes": list(self.names.values())})


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
    names = dict(enumerate(sorted(config.cluster.metadata), 1))
    nodes = dict(config.nodes.all)

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
    )


def node_of(plan: ClusterPlan, name: str | None) -> NodeName:
    """Which node a process is. Raises Invalid."""
    known = ", ".join(plan.names.values())
    if name is None:
        raise Invalid("say which node this is", asked="--role node", found="no --name", next=f"one of {known}")
    if name not in plan.names.values():
        raise Invalid("there is no such node", asked=f"--name {name}", found=f"the nodes of the file are {known}", next="give one of them")
    return NodeName(name)


def placed(config: Config, *, data: str, listen: Address) -> Config:
    """The configuration as one process of the cluster has it: its own folder and address."""
    serve = msgspec.structs.replace(config.serve, data=data, listen=listen.host, port=listen.port)
    return msgspec.structs.replace(config, serve=serve)
