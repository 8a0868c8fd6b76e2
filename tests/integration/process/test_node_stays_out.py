"""One node's folder is bad, full, emptied, replaced or swapped: the other two come up and serve, and the third says why it stays out."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.small_disk import small_disk
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, make_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[..., ScrubjayServer]


def put(connection: Connection, key: str) -> int:
    return connection.steadily("PutItem", {"TableName": "birds", "Item": {"k": {"S": key}, "v": {"S": key}}}).status


def has(connection: Connection, key: str) -> bool:
    reply = connection.steadily("GetItem", {"TableName": "birds", "Key": {"k": {"S": key}}, "ConsistentRead": True})
    assert reply.status == 200, reply
    return "Item" in reply.body


def failed(connection: Connection) -> dict[str, bool]:
    text = connection.get("/metrics")[1]
    return {name: value == "1.0" for name, value in re.findall(r'scrubjay_node_failed\{node="(\w+)"\} (\S+)', text)}


def empty(node: Path) -> None:
    shutil.rmtree(node)
    node.mkdir()


def a_file(node: Path) -> None:
    shutil.rmtree(node)
    node.write_bytes(b"no folder")


def log_gone(node: Path) -> None:
    shutil.rmtree(node / "wal")


def other_nodes(node: Path) -> None:
    shutil.rmtree(node)
    shutil.copytree(node.with_name("n3"), node)


def other_log(node: Path) -> None:
    """The identity is right; the log in the folder is n3's, with n3's promises."""
    shutil.rmtree(node / "wal")
    shutil.copytree(node.with_name("n3") / "wal", node / "wal")


def no_identity(node: Path) -> None:
    (node / "identity.json").write_bytes(b"\x00" * 100)


def test_a_node_whose_folder_is_not_what_it_was_stays_out_and_the_others_serve(scrubjay_server: Make, tmp_path: Path) -> None:
    server = scrubjay_server()
    make_table(server.port, "birds")
    with contextlib.closing(Connection(server.port)) as connection:
        assert put(connection, "first") == 200
    server.kill()
    node = server.data / "nodes" / "n2"
    kept = tmp_path / "kept"
    shutil.copytree(node, kept)
    cases = (
        (empty, "emptied or replaced"),
        (a_file, "n2"),
        (log_gone, "its log is gone"),
        (other_nodes, "belongs to another node"),
        (other_log, "is another node's"),
        (no_identity, "identity cannot be read"),
    )
    acknowledged = ["first"]
    for harm, why in cases:
        harm(node)
        before = len(server.log.read_bytes())
        server.start()
        with contextlib.closing(Connection(server.port)) as connection:
            assert all(has(connection, key) for key in acknowledged)
            assert put(connection, harm.__name__) == 200
            acknowledged.append(harm.__name__)
            assert failed(connection) == {"n1": False, "n2": True, "n3": False}
            assert connection.get("/healthz")[0] == 200
        said = server.log.read_bytes()[before:].decode()
        assert "stays out" in said, harm
        assert why in said, harm
        server.kill()
        node.unlink() if node.is_file() else shutil.rmtree(node)
        shutil.copytree(kept, node)
    # what was there before is welcome again, and catches up
    server.start()
    with contextlib.closing(Connection(server.port)) as connection:
        assert failed(connection) == {"n1": False, "n2": False, "n3": False}
        assert all(has(connection, key) for key in acknowledged)
    assert server.stop() == 0
    # the copy is older now than what n2 has promised since
    shutil.rmtree(node)
    shutil.copytree(kept, node)
    server.start()
    with contextlib.closing(Connection(server.port)) as connection:
        assert failed(connection) == {"n1": False, "n2": True, "n3": False}
        assert all(has(connection, key) for key in acknowledged)
    assert "older than what this member has promised" in server.log_tail()
    assert server.stop() == 0
    # and that is not forgotten with the list of members: the others' folders know
    (server.data / "members.json").unlink()
    before = len(server.log.read_bytes())
    server.start()
    with contextlib.closing(Connection(server.port)) as connection:
        assert failed(connection) == {"n1": False, "n2": True, "n3": False}
        assert all(has(connection, key) for key in acknowledged)
    assert b"older than what this member has promised" in server.log.read_bytes()[before:]


@pytest.fixture
def full_node(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose node n2 lies on a file system that is full before it begins."""
    data = tmp_path / "data"
    node = data / "nodes" / "n2"
    node.mkdir(parents=True)
    with small_disk(node, "256k"):
        yield data


def test_a_full_disk_at_the_first_start_keeps_nobody_else_down_and_may_join_later(full_node: Path) -> None:
    server = ScrubjayServer(full_node)
    with server:
        make_table(server.port, "birds")
        with contextlib.closing(Connection(server.port)) as connection:
            assert put(connection, "a") == 200
            assert failed(connection) == {"n1": False, "n2": True, "n3": False}
        assert "the disk is full" in server.log.read_text()
    subprocess.run(["mount", "-o", "remount,size=512m", str(full_node / "nodes" / "n2")], check=True)
    with server, contextlib.closing(Connection(server.port)) as connection:
        assert failed(connection) == {"n1": False, "n2": False, "n3": False}
        assert has(connection, "a")
        assert put(connection, "b") == 200
        wait_for(lambda: 'scrubjay_replicas{node="n2",state="ok"} 2.0' in connection.get("/metrics")[1], timeout=30)
