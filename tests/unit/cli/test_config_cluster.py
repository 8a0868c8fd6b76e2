"""The configuration of a cluster of several processes: what is read, and that everything wrong names its file, key and reason."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from scrubjay.base.errors import Invalid
from scrubjay.cli import main
from scrubjay.config import load
from scrubjay.config_cluster import Address, address_of
from scrubjay.serving.plan import plan_of, router_of
from scrubjay.verbs import serve as verb

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
            "".join(f'[nodes.{name}]\nzone = "d"\ndata = "{name}"\nlisten = "{name}:1"\npeer = "{name}:2"\n' for name in ("n8", "node12"))
            + "[durability]",
            ("nodes.node12.number", "number 380, which is nodes.n8.number too"),
        ),
        (
            "[durability]",
            '[nodes.n4]\nzone = "d"\ndata = "x"\nlisten = "h:1"\npeer = "h:2"\nnumber = 3\n[durability]',
            ("nodes.n4.number", "from 4 to 999"),
        ),
        (
            "[durability]",
            '[nodes.n4]\nzone = "d"\ndata = "x"\nlisten = "h:1"\npeer = "h:2"\nnumber = true\n[durability]',
            ("nodes.n4.number", "from 4 to 999"),
        ),
        (
            "[durability]",
            "".join(f'[nodes.n{at}]\nzone = "d"\ndata = "x{at}"\nlisten = "h:{at}"\npeer = "g:{at}"\nnumber = 7\n' for at in (4, 5))
            + "[durability]",
            ("nodes.n5.number", "number 7, which is nodes.n4.number too"),
        ),
        ('zone = "a"', 'zone = "a"\nnumber = 4', ("nodes.n1.number", "numbered in the order of their names")),
        ("[durability]", '[tls]\nca = "ca.pem"\nkey = "key.pem"\n[durability]', ("tls.cert", "half of it would protect nothing")),
        ("[durability]", '[nodes]\nn5 = "x"\n[durability]', ("nodes.n5 in", "a table")),
        ("[durability]", '[routers.r1]\nlisten = "h:1"\n[durability]', ("routers.r1.data in", "nothing")),
        ("[durability]", '[routers.r1]\nlisten = "h"\ndata = "x"\n[durability]', ("routers.r1.listen in", "host:port")),
        (
            "[durability]",
            '[routers.r1]\nlisten = "h:1"\ndata = "x"\npeer = "h:2"\n[durability]',
            ("routers.r1.peer in", "did you mean routers.r1."),
        ),
        ("[durability]", '[routers.n1]\nlisten = "h:1"\ndata = "x"\n[durability]', ("routers.n1", "the name of a node too")),
        (
            "[durability]",
            '[routers.durability]\nlisten = "h:1"\ndata = "x"\n[durability]',
            ("routers.durability", "the name of the durability process"),
        ),
        (
            "[durability]",
            '[routers.r1]\nlisten = "127.0.0.1:8001"\ndata = "x"\n[durability]',
            ("routers.r1.listen", "which is nodes.n1.listen too"),
        ),
        (
            "[durability]",
            '[routers.r1]\nlisten = "127.0.0.1:1"\ndata = "c/n1"\n[durability]',
            ("routers.r1.data", "which is nodes.n1.data too"),
        ),
        ("[durability]", '[routers]\nr1 = "x"\n[durability]', ("routers.r1 in", "a table")),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, says: tuple[str, ...]) -> None:
    assert read(tmp_path, GOOD) == ""
    assert old in GOOD
    said = read(tmp_path, GOOD.replace(old, new, 1))
    assert said.startswith("64 ")
    for word in says:
        assert word in said, said


def test_a_node_that_joins_later_has_its_number_or_that_of_its_name_and_is_none_of_the_founders(tmp_path: Path) -> None:
    more = '[nodes.a0]\nzone = "a"\ndata = "x"\nlisten = "h:1"\npeer = "h:2"\nnumber = 40\n[nodes.n4]\nzone = "b"\ndata = "y"\nlisten = "h:3"\npeer = "h:4"\n[durability]'
    assert read(tmp_path, GOOD.replace("[durability]", more, 1)) == ""
    plan = plan_of(load(path=str(tmp_path / "cluster.toml"), sets=["archive.url=file:///a"]))
    assert (plan.names, plan.founders, plan.founding) == (
        {1: "n1", 2: "n2", 3: "n3", 40: "a0", 539: "n4"},
        (1, 2, 3),
        ("n1", "n2", "n3"),
    )
    assert b"a0" not in plan.note, "a process that does not know of it yet is let in"


ROUTER = '[routers.r1]\nlisten = "127.0.0.1:8009"\ndata = "c/r1"\n[durability]'


def test_routers_are_read_and_each_process_knows_which_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace("[durability]", ROUTER, 1)) == ""
    plan = plan_of(load(path=str(tmp_path / "cluster.toml"), sets=["archive.url=file:///a"]))
    assert plan.routers == {"r1": ("c/r1", Address("127.0.0.1", 8009))}
    assert b"r1" not in plan.note, "a node that does not know of a router lets it in"
    assert router_of(plan, "r1") == "r1"
    for name, found in ((None, "no --name"), ("r2", "the routers of the file: r1"), ("n1", "the routers of the file: r1")):
        with pytest.raises(Invalid) as refused:
            router_of(plan, name)
        assert refused.value.fields["found"] == found


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--dev", "--no-router"), ("--no-router with --dev", 64)),
        (("--role", "durability", "--no-router"), ("--no-router with --role durability", 64)),
        (("--role", "router", "--no-router", "--name", "r1"), ("--no-router with --role router", 64)),
        (("--role", "router"), ("--role router", 64)),
        (("--role", "router", "--name", "n1"), ("--name n1", 64)),
        (("--role", "king"), ("--role king", 64)),
    ],
)
def test_what_a_process_cannot_be_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    says: tuple[str, int],
) -> None:
    monkeypatch.setattr(verb, "_serve", lambda *_: pytest.fail("it serves"))  # and would until somebody stops it
    file = tmp_path / "cluster.toml"
    file.write_text(GOOD.replace("[durability]", ROUTER, 1) + '[archive]\nurl = "file:///a"\n')
    code = main(["serve", "--json", *([] if options[0] == "--dev" else ["--config", str(file)]), *options])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["asked"], code) == says


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
