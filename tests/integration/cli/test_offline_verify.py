"""`verify --archive` on a real archive and on damaged copies of it, with no server running."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.demo.copying import copy_archive
from scrubjay.drills.damage import damage_archive
from tests.fixtures.process import ScrubjayServer, scrubjay_command


def verify(url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        scrubjay_command("verify", "--archive", url, "--json", *arguments), capture_output=True, text=True, timeout=120, check=False
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit"] == done.returncode
    return done.returncode, document


@pytest.fixture
def archive(scrubjay_server: Callable[..., ScrubjayServer], tmp_path: Path) -> tuple[Path, str]:
    """An archive with a few segments, and the id of its table. The server is gone."""
    server = scrubjay_server(settings={"archive.segment_bytes": "8KiB"})
    client = server.client()
    client.create_table(
        TableName="birds",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName="birds", WaiterConfig={"Delay": 1})
    for number in range(150):
        client.put_item(TableName="birds", Item={"k": {"S": f"bird-{number}"}, "v": {"S": "x" * 300}})
    table = client.describe_table(TableName="birds")["Table"]["TableId"]
    assert server.stop() == 0
    return server.data / "archive", table


def test_a_whole_archive_and_what_one_can_ask_of_it(archive: tuple[Path, str], tmp_path: Path) -> None:
    folder, table = archive
    url = folder.as_uri()
    for level in ("listed", "objects", "records", "replayed"):
        code, document = verify(url, "--level", level)
        assert (code, document["verdict"], document["end_checked"], document["level"]) == (0, "match", False, level), document
        assert document["objects"]["checked"] > 0
        assert document["findings"] == []
    cluster = document["cluster"]
    for arguments in (["--table", "birds"], ["--table", table], ["--cluster", cluster]):
        assert verify(url, *arguments)[0] == 0
    for arguments in (["--table", "none"], ["--cluster", "00000000-0000-4000-8000-000000000000"]):
        code, document = verify(url, *arguments)
        assert (code, document["error"]["code"]) == (1, "ResourceNotFound")
    code, document = verify(url, "--budget", "0s")
    assert (code, document["verdict"]) == (3, "unverified")
    code, document = verify((tmp_path / "nowhere").as_uri())
    assert (code, document["error"]["code"]) == (1, "ResourceNotFound")
    assert not (tmp_path / "nowhere").exists(), "verify writes nothing"
    other = tmp_path / "two-clusters"
    copy_archive(url, other)
    shutil.copytree(other / cluster, other / "11111111-1111-4111-8111-111111111111")
    code, document = verify(other.as_uri())
    assert (code, document["error"]["code"]) == (64, "Ambiguous")


def test_damage_is_found_and_named(archive: tuple[Path, str], tmp_path: Path) -> None:
    folder, table = archive
    copy = tmp_path / "copy"
    copy_archive(folder.as_uri(), copy)
    assert verify(copy.as_uri())[0] == 0, "a copy is as good as the original"
    damage = damage_archive(copy, table)
    code, document = verify(copy.as_uri())
    assert (code, document["verdict"]) == (2, "mismatch")
    assert {finding["object"]: finding["kind"] for finding in document["findings"]} == {
        damage.flipped: "unreadable",
        damage.removed: "hole",
    }
    assert all(finding["copy"] == "archive" and finding["found_by"] == "verify" for finding in document["findings"])
    assert verify(folder.as_uri())[0] == 0
