"""Exports on a real server: a folder of DynamoDB's layout, over a kill in the middle; what changed since; and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.client import AdminClient
from scrubjay.progress import open_progress
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, proven

Make = Callable[..., ScrubjayServer]


def lines_of(place: Path, answer: dict[str, Any]) -> list[dict[str, Any]]:
    summary = json.loads((place / answer["manifest"]).read_bytes())
    listed = (place / summary["manifestFilesS3Key"]).read_bytes().splitlines()
    found = []
    for one in map(json.loads, listed):
        found += [json.loads(line) for line in gzip.decompress((place / one["dataFileS3Key"]).read_bytes()).splitlines()]
    assert len(found) == summary["itemCount"] == answer["rows"]
    return found


@pytest.mark.timeout(300)
def test_exports_over_a_kill(scrubjay_server: Make, tmp_path: Path) -> None:
    server = scrubjay_server(settings={"archive.closed_interval": "1s", "tables.initial_partitions": "2"})
    make_table(server.port, "birds")
    client = server.client()
    for number in range(20):
        client.put_item(TableName="birds", Item={"k": {"S": f"bird-{number}"}, "v": {"S": "first"}, "n": {"NS": ["1", "2.50"]}})
    place = tmp_path / "out"
    place.mkdir()
    url = place.as_uri()
    # A table has a first proven window a moment after it is made, on a slow machine seconds after; from then on nothing is waited for: whatever was acknowledged is in.
    wait_for(lambda: proven(server, "birds", 1), timeout=60)
    code, first = server.cli_json("export", "birds", "--to", url)
    assert (code, first["state"], first["verdict"], first["rows"]) == (0, "completed", "match", 20), first
    items = {line["Item"]["k"]["S"]: line["Item"] for line in lines_of(place, first)}
    assert items == {f"bird-{n}": {"k": {"S": f"bird-{n}"}, "v": {"S": "first"}, "n": {"NS": ["1", "2.5"]}} for n in range(20)}

    client.delete_item(TableName="birds", Key={"k": {"S": "bird-3"}})
    client.put_item(TableName="birds", Item={"k": {"S": "bird-4"}, "v": {"S": "second"}})
    admin = AdminClient(f"http://127.0.0.1:{server.port}")
    started = admin.post("export", {"table": "birds", "url": url, "format": "dynamodb-json"})
    server.kill()
    server.start()
    with open_progress(quiet=True) as progress:
        ended = admin.wait("export/status", {"id": started["export"]}, progress)
    assert (ended["state"], ended["verdict"]) == ("completed", "match"), ended
    assert {line["Item"]["k"]["S"] for line in lines_of(place, ended)} == set(items) - {"bird-3"}
    code, again = server.cli_json("export", "birds", "--to", url, "--from", first["at"])
    assert (code, again["rows"]) == (0, 2), again
    changes = {line["Keys"]["k"]["S"]: line for line in lines_of(place, again)}
    assert changes["bird-3"]["OldImage"] == items["bird-3"]
    assert "NewImage" not in changes["bird-3"]
    assert changes["bird-4"]["NewImage"]["v"] == {"S": "second"}

    code, refused = server.cli_json("export", "birds", "--to", url, "--format", "csv")
    assert (code, refused["error"]["code"]) == (4, "NotInCsv")
    code, refused = server.cli_json("export", "birds", "--to", (tmp_path / "none").as_uri())
    assert (code, refused["state"], refused["manifest"]) == (1, "failed", None)
    assert server.cli_json("export", "birds", "--to", "/no/url")[0] == 64
