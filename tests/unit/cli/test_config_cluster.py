"""The configuration of a cluster of several processes: what is read, and that everything wrong names its file, key and reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scrubjay.base.errors import Invalid
from scrubjay.config import load
from scrubjay.config_cluster import Address, address_of

GOOD = """
[cluster]
name = "east"
metadata = ["n1", "n2", "n3"]
[nodes.n1]
zone = "a"
data = "c/n1"
listen = "127.0.0.1:8001"
peer = "127.0.0.1:7001"
[nodes.n2]
zone = "b"
data = "c/n2"
listen = "127.0.0.1:8002"
peer = "127.0.0.1:7002"
[nodes.n3]
zone = "c"
data = "c/n3"
listen = "127.0.0.1:8003"
peer = "127.0.0.1:7003"
[durability]
listen = "127.0.0.1:8000"
data = "c/durability"
"""


def read(tmp_path: Path, text: str) -> str:
    """The refusal of a file with this text; "" if it is taken."""
    file = tmp_path / "cluster.toml"
    file.write_text(text)
    try:
        load(path=str(file))
    except Invalid as error:
        return f"{error.exit_code} {error.message} | {error.fields['asked']} | {error.fields['found']} | {error.fields['next']}"
    return ""


def test_a_cluster_is_read(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text(GOOD)
    config = load(path=str(file))
    assert config.cluster.name == "east"
    assert config.cluster.metadata == ("n1", "n2", "n3")
    one = config.nodes.of("n2")
    assert one is not None
    assert (one.zone, one.data, one.listen, one.peer) == ("b", "c/n2", "127.0.0.1:8002", "127.0.0.1:7002")
    assert config.nodes.of("n4") is None
    assert config.durability.listen == "127.0.0.1:8000"


def test_the_nodes_may_come_from_the_environment() -> None:
    text = '{n1 = {zone = "a", data = "d1", listen = "h:1", peer = "h:2"}}'
    assert load(env={"SCRUBJAY_NODES_ALL": text}) == load(sets=[f"nodes.all={text}"])
    assert tomllib.loads(f"all = {text}")["all"].keys() == {name for name, _ in load(sets=[f"nodes.all={text}"]).nodes.all}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('zone = "a"\n', "", ("nodes.n1.zone in", "nothing")),
        ('zone = "a"', "zone = 1", ("nodes.n1.zone in", "1")),
        ('zone = "a"', 'zoen = "a"', ("nodes.n1.zoen in", "did you mean nodes.n1.zone?")),
        ("127.0.0.1:7001", "127.0.0.1", ("nodes.n1.peer in", "host:port")),
        ("127.0.0.1:7001", "127.0.0.1:0", ("nodes.n1.peer in", "from 1 to 65535")),
        ("127.0.0.1:7001", "127.0.0.1:70000", ("nodes.n1.peer in", "from 1 to 65535")),
        ("127.0.0.1:7001", "127.0.0.1:8001", ("nodes.n1.peer", "which is nodes.n1.listen too")),
        ("127.0.0.1:8000", "127.0.0.1:7003", ("durability.listen", "which is nodes.n3.peer too")),
        ("127.0.0.1:8000", "somewhere", ("durability.listen", "host:port")),
        ('data = "c/durability"\n', "", ("durability.data", "takes both")),
        ('"c/n2"', '"c/../c/n1"', ("nodes.n2.data", "which is nodes.n1.data too")),
        ("[nodes.n3]", "[nodes.N3]", ("nodes.N3", "small letters")),
        ('metadata = ["n1", "n2", "n3"]', 'metadata = ["n1", "n2"]', ("cluster.metadata", "name 3 nodes")),
        ('metadata = ["n1", "n2", "n3"]', 'metadata = ["n1", "n2", "n2"]', ("cluster.metadata", "each once")),
        ('metadata = ["n1", "n2", "n3"]', 'metadata = ["n1", "n2", "n4"]', ("cluster.metadata", "there is no [nodes.n4]")),
        ('metadata = ["n1", "n2", "n3"]', "metadata = 3", ("cluster.metadata in", "a list of node names")),
        ('name = "east"', 'name = "East 1"', ("cluster.name", "small letters")),
        (
            "[durability]",
            '[nodes.n4]\nzone = "d"\ndata = "x"\nlisten = "h:1"\npeer = "h:2"\n[durability]',
            ("nodes.n4", "cannot be had yet"),
        ),
        ("[durability]", '[tls]\nca = "ca.pem"\nkey = "key.pem"\n[durability]', ("tls.cert", "half of it would protect nothing")),
        ("[durability]", '[nodes]\nn5 = "x"\n[durability]', ("nodes.n5 in", "a table")),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, says: tuple[str, ...]) -> None:
    assert read(tmp_path, GOOD) == ""
    assert old in GOOD
    said = read(tmp_path, GOOD.replace(old, new, 1))
    assert said.startswith("64 ")
    for word in says:
        assert word in said, said


def test_machines_of_their_own_may_name_their_folders_alike(tmp_path: Path) -> None:
    alike = GOOD.replace("c/n1", "c").replace("c/n2", "c").replace("c/n3", "c").replace("c/durability", "c")
    assert "too" in read(tmp_path, alike)
    for number in (1, 2, 3):
        alike = alike.replace(f"127.0.0.1:800{number}", f"10.0.{number}.1:8000").replace(f"127.0.0.1:700{number}", f"10.0.{number}.1:7000")
    assert read(tmp_path, alike) == ""


def test_addresses() -> None:
    assert address_of("n1.example:7001") == Address("n1.example", 7001)
    assert address_of("[::1]:7001") == Address("::1", 7001)
    assert str(address_of("[::1]:7001")) == "[::1]:7001"
    for text in ("", ":1", "host", "host:", "host:x", "::1:7001", "a b:1", "host:-1"):
        assert address_of(text) is None, text
