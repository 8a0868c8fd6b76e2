"""The configuration of a cluster of several processes: `[cluster]`, `[nodes.NAME]`, `[routers.NAME]`, `[durability]`, `[tls]`. One file is given to every process of it.

What is wrong with one of these names its key and the reason; `--dev` reads none of them.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import zlib
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.ids import NodeName
from scrubjay.config_key import ConfigKey

FOUNDERS = 3
"""Nodes that found a cluster."""
NUMBER_MAX = 999
"""Of a node: what the archive's manifests can name."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
Wrong = tuple[bool, str, str, str]
"""Whether it is, the key, what was found, what to do."""


class Address(NamedTuple):
    """Where a process listens, and others find it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"


def address_of(text: str) -> Address | None:
    """`host:port`, `[v6]:port`; None if it is neither. Port 0 is none: the others could not know it."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not colon or not _HOST.fullmatch(host) or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        return None
    return Address(host, int(port))


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A storage node. zone: what fails together with it. data: its folder. listen: of its API; peer: of what nodes say to each other, both `host:port`. number: of one that does not
    found the cluster, for good; 0: it founds it, or has the one that follows from its name (`node_number`)."""

    zone: str
    data: str
    listen: str
    peer: str
    number: int = 0


class RouterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process that routes and stores nothing. data: its folder. listen: of its API, `host:port`."""

    data: str
    listen: str


def node_number(name: NodeName, node: NodeConfig) -> int:
    """Of a node that does not found the cluster: what its section says, else one that follows from its name, so that every process has the same whatever else is in its file."""
    return node.number or FOUNDERS + 1 + zlib.crc32(name.encode()) % (NUMBER_MAX - FOUNDERS)


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster of several processes, each of which reads this file (`serve --config FILE --role …`)."""

    name: Annotated[str, ConfigKey("name", "text", "what people call it; part of what its processes say when they meet", open=True)] = (
        "scrubjay"
    )
    metadata: Annotated[
        tuple[NodeName, ...],
        ConfigKey(
            "metadata",
            "names",
            f"the {FOUNDERS} nodes that found the cluster and keep its catalogue; further ones of `[nodes]` may join it",
        ),
    ] = ()
    stand_in_after_us: Annotated[
        int,
        ConfigKey(
            "stand_in_after",
            "duration",
            "a node that has not answered for so long is lost: a log replica on another node stands in for each of its copies until it is back; 0s: none ever does",
        ),
    ] = 10_000_000
    balance_copies: Annotated[
        bool,
        ConfigKey("balance_copies", "switch", "copies of partitions go from nodes that hold more to nodes that hold less, two at a time"),
    ] = True
    balance_leaders: Annotated[
        bool, ConfigKey("balance_leaders", "switch", "leads are handed over from nodes that lead more to nodes that lead less")
    ] = True
    balance_after_us: Annotated[
        int, ConfigKey("balance_after", "duration", "for so long a node has to be there before copies or leads go to it by themselves")
    ] = 60_000_000


class NodesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The storage nodes, a table each: `[nodes.n1]` with `zone`, `data` (its folder), `listen` (`host:port` of the API) and `peer` (`host:port` between nodes). One that is not in
    `cluster.metadata` has a number of its own, from 4 to 999, which follows from its name, or is `number`: it is a member once `scrubjay cluster join` was asked for."""

    all: Annotated[
        tuple[tuple[NodeName, NodeConfig], ...],
        ConfigKey("all", "nodes", "all of them in one text: a TOML table of such tables; in the file they are written as `[nodes.NAME]`"),
    ] = ()

    def of(self, name: str) -> NodeConfig | None:
        return dict(self.all).get(NodeName(name))


class RoutersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that answer the DynamoDB API and store nothing, a table each: `[routers.r1]` with `listen` (`host:port` of the API) and `data` (a folder for its log). Nodes route, too."""

    all: Annotated[
        tuple[tuple[NodeName, RouterConfig], ...],
        ConfigKey(
            "all", "routers", "all of them in one text: a TOML table of such tables; in the file they are written as `[routers.NAME]`"
        ),
    ] = ()


class DurabilityConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The durability process: scrub, verify, restore, retention, the schedule; it answers the admin API."""

    listen: Annotated[str, ConfigKey("listen", "text", "`host:port` of its API and of the admin API", open=True)] = ""
    data: Annotated[str, ConfigKey("data", "text", "its folder: the ledger, findings, work files", open=True)] = ""


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """TLS between nodes, with certificates on both sides: all three, or none (then what nodes say to each other is not encrypted)."""

    ca: Annotated[str, ConfigKey("ca", "text", "PEM file of the authority that signs the certificates of all processes", open=True)] = ""
    cert: Annotated[
        str, ConfigKey("cert", "text", "PEM file of this process's certificate: it names the node, or `durability`", open=True)
    ] = ""
    key: Annotated[str, ConfigKey("key", "text", "PEM file of its private key", open=True)] = ""


def node_names(dotted: str, value: Any, source: str) -> tuple[NodeName, ...]:
    """A list of node names. value: as TOML has it, None: it could not be read as a list. Raises Invalid."""
    names = value if isinstance(value, list) else [None]
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong(dotted, source, f"{name!r}", 'a list of node names: ["n1", "n2", "n3"]')
    return tuple(NodeName(str(name)) for name in names)


def nodes_of(dotted: str, value: Any, source: str) -> tuple[tuple[NodeName, NodeConfig], ...]:
    """Tables by node name, or a text that is such a TOML table. Raises Invalid, naming `nodes.NAME.KEY`."""
    known = NodeConfig.__struct_fields__
    found = []
    for name, inner in _tables("nodes", known, dotted, value, source):
        number = inner.get("number", 0)
        if isinstance(number, bool) or not isinstance(number, int) or ("number" in inner and not FOUNDERS < number <= NUMBER_MAX):
            raise _wrong(f"nodes.{name}.number", source, repr(number), f"a number from {FOUNDERS + 1} to {NUMBER_MAX}")
        _check_texts(f"nodes.{name}", known[:-1], inner, source)
        found.append((name, NodeConfig(**inner)))
    return tuple(sorted(found))


def routers_of(dotted: str, value: Any, source: str) -> tuple[tuple[NodeName, RouterConfig], ...]:
    """As `nodes_of`, of routers."""
    known = RouterConfig.__struct_fields__
    found = []
    for name, inner in _tables("routers", known, dotted, value, source):
        _check_texts(f"routers.{name}", known, inner, source)
        found.append((name, RouterConfig(**inner)))
    return tuple(sorted(found))


def _tables(section: str, known: tuple[str, ...], dotted: str, value: Any, source: str) -> Iterator[tuple[NodeName, dict[str, Any]]]:
    """Raises Invalid."""
    one = section.removesuffix("s")
    if isinstance(value, str):
        try:
            value = tomllib.loads(f"all = {value}")["all"]
        except tomllib.TOMLDecodeError as error:
            raise _wrong(dotted, source, str(error), f"a TOML table of {section}") from None
    if not isinstance(value, dict):
        raise _wrong(dotted, source, type(value).__name__, f"a table for each {one}: [{section}.{one[0]}1]")
    for name, inner in value.items():
        if not _NAME.fullmatch(name):
            raise _wrong(f"{section}.{name}", source, name, "names of small letters, digits and `-`, a letter first, at most 31")
        if not isinstance(inner, dict):
            raise _wrong(f"{section}.{name}", source, type(inner).__name__, f"a table: [{section}.{name}] with {', '.join(known)}")
        for key in inner:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
                raise Invalid(
                    "unknown configuration key",
                    asked=f"{section}.{name}.{key} in {source}",
                    found="no such key",
                    next=f"did you mean {section}.{name}.{near}? docs/CONFIG.md lists all keys",
                )
        yield NodeName(name), inner


def _check_texts(place: str, keys: tuple[str, ...], inner: dict[str, Any], source: str) -> None:
    for key in keys:
        text = inner.get(key)
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise _wrong(f"{place}.{key}", source, "nothing" if text in (None, "") else repr(text), "a text")
        if key in ("listen", "peer") and address_of(text) is None:
            raise _wrong(f"{place}.{key}", source, text, "host:port, with a port from 1 to 65535")


def check_cluster(
    cluster: ClusterConfig, nodes: NodesConfig, routers: RoutersConfig, durability: DurabilityConfig, tls: TlsConfig
) -> Iterator[Wrong]:
    """What cannot work together, each alone being good. Pure."""
    named = dict(nodes.all)
    for name in cluster.metadata:
        yield name not in named, "cluster.metadata", f"{name}, and there is no [nodes.{name}]", "name nodes that are in the file"
    many = len(set(cluster.metadata))
    yield (
        bool(cluster.metadata) and (many != FOUNDERS or len(cluster.metadata) != FOUNDERS),
        "cluster.metadata",
        ", ".join(cluster.metadata),
        f"name {FOUNDERS} nodes, each once: they found the cluster",
    )
    for name, one in nodes.all:
        yield (
            name in cluster.metadata and bool(one.number),
            f"nodes.{name}.number",
            str(one.number),
            "leave it out: the nodes in cluster.metadata are numbered in the order of their names",
        )
    yield from _twice(
        [(f"nodes.{name}.number", f"number {node_number(name, one)}") for name, one in nodes.all if name not in cluster.metadata],
        "give one of them another `number` before it joins: without one it follows from the name",
    )
    yield (not _NAME.fullmatch(cluster.name), "cluster.name", cluster.name, "small letters, digits and `-`, a letter first, at most 31")
    yield (
        bool(durability.listen) and address_of(durability.listen) is None,
        "durability.listen",
        durability.listen,
        "write host:port, with a port from 1 to 65535",
    )
    yield (
        bool(durability.listen) != bool(durability.data),
        "durability.listen" if durability.data else "durability.data",
        "nothing",
        "[durability] takes both listen and data",
    )
    for name, _ in routers.all:
        yield name in named, f"routers.{name}", f"{name}, which is the name of a node too", "give each process a name of its own"
        yield name == "durability", f"routers.{name}", "the name of the durability process", "give each process a name of its own"
    places = [(f"nodes.{name}.{key}", str(address_of(getattr(one, key)))) for name, one in nodes.all for key in ("listen", "peer")]
    places += [(f"routers.{name}.listen", str(address_of(router.listen))) for name, router in routers.all]
    if durability.listen:
        places.append(("durability.listen", str(address_of(durability.listen))))
    yield from _twice(places, "two processes, or two listeners of one, cannot have one address")
    folders = [(f"nodes.{name}.data", _folder_at(one.data, one.peer)) for name, one in nodes.all]
    folders += [(f"routers.{name}.data", _folder_at(router.data, router.listen)) for name, router in routers.all]
    if durability.data:
        folders.append(("durability.data", _folder_at(durability.data, durability.listen)))
    yield from _twice(folders, "give each process a folder of its own")
    files = {"tls.ca": tls.ca, "tls.cert": tls.cert, "tls.key": tls.key}
    lacking = [key for key, value in files.items() if not value]
    yield (
        0 < len(lacking) < len(files),
        lacking[0] if lacking else "tls.ca",
        "nothing, and others of [tls] are given",
        "give ca, cert and key, or none of them: half of it would protect nothing",
    )


def _folder_at(data: str, address: str) -> str:
    """A folder as one machine has it. Two names of one machine are seen through by the folder's lock, when the second process starts."""
    found = address_of(address)
    return f"{os.path.realpath(data)} at {'nobody' if found is None else found.host}"


def _twice(places: list[tuple[str, str]], step: str) -> Iterator[Wrong]:
    seen: dict[str, str] = {}
    for key, place in places:
        yield place in seen, key, f"{place}, which is {seen.get(place)} too", step
        seen.setdefault(place, key)


def _wrong(key: str, source: str, found: str, wanted: str) -> Invalid:
    return Invalid(f"{key} takes {wanted}", asked=f"{key} in {source}", found=found, next="docs/CONFIG.md shows an example")
