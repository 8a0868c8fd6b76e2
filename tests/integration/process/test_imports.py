"""Imports on a real server: an export comes back as another table, over a kill in the middle; plain files; and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scrubjay.client import AdminClient
from scrubjay.progress import open_progress
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table, proven

Make = Callable[..., ScrubjayServer]


@pytest.mark.timeout(300)
def test_imports_over_a_kill(scrubjay_server: Make, tmp_path: Path) -> None:
    server = scrubjay_server(settings={"archive.closed_interval": "1s", "tables.initial_partitions": "2"})
    make_table(server.port, "birds")
    client = server.client()
    for number in range(20):
        client.put_item(TableName="birds", Item={"k": {"S": f"bird-{number}"}, "n": {"NS": ["1", "2.50"]}})
    place = tmp_path / "out"
    place.mkdir()
    wait_for(lambda: proven(server, "birds", 1), timeout=60)
    code, exported = server.cli_json("export", "birds", "--to", place.as_uri())
    assert code == 0, exported

    admin = AdminClient(f"http://127.0.0.1:{server.port}")
    started = admin.post("import", {"url": place.as_uri(), "table": "back"})
    server.kill()
    server.start()
    with open_progress(quiet=True) as progress:
        ended = admin.wait("import/status", {"id": started["import"]}, progress)
    assert (ended["state"], ended["verdict"], ended["digest"], ended["rows"]) == ("completed", "match", exported["digest"], 20), ended
    client = server.client()
    table = client.describe_table(TableName="back")["Table"]
    assert (table["TableStatus"], "RestoreSummary" in table) == ("ACTIVE", False)
    there, back = (sorted(map(str, client.scan(TableName=name)["Items"])) for name in ("birds", "back"))
    assert len(back) == 20
    assert back == there
    client.put_item(TableName="back", Item={"k": {"S": "later"}})
    wait_for(lambda: proven(server, "back", 1), timeout=60)
    code, restored = server.cli_json("restore", "run", "--table", "back", "--to", "again", "--latest")
    assert (code, restored["verdict"]) == (0, "match"), restored

    (tmp_path / "parquet").mkdir()
    columns = (tmp_path / "parquet").as_uri()
    code, answer = server.cli_json("export", "birds", "--to", columns, "--format", "parquet")
    assert (code, answer["verdict"], answer["digest"]) == (0, "match", exported["digest"]), answer
    code, answer = server.cli_json("import", columns, "--table", "columns")
    assert (code, answer["verdict"], answer["digest"]) == (0, "match", exported["digest"]), answer
    shown = client.describe_export(ExportArn=client.list_exports()["ExportSummaries"][0]["ExportArn"])["ExportDescription"]
    assert shown["ExportFormat"] == "PARQUET"

    plain = tmp_path / "plain.json.gz"
    lines = [json.dumps({"Item": {"id": {"N": str(number)}, "v": {"S": "x"}}}) for number in range(5)]
    plain.write_bytes(gzip.compress("\n".join(lines).encode()))
    code, answer = server.cli_json("import", plain.as_uri(), "--table", "plain", "--key", "id")
    assert (code, answer["rows"], answer["verdict"]) == (0, 5, None), answer
    assert client.get_item(TableName="plain", Key={"id": {"N": "3"}})["Item"]["v"] == {"S": "x"}

    assert server.cli_json("import", plain.as_uri(), "--table", "plain", "--key", "id")[0] == 4
    plain.write_bytes(b'{"Item": {"id": {"N": "1"}}}\nno item\n')
    code, refused = server.cli_json("import", plain.as_uri(), "--table", "other", "--key", "id")
    assert (code, refused["error"]["code"]) == (4, "BadLine")
    assert "file=plain.json.gz; line=2" in refused["error"]["found"]
    assert "other" not in client.list_tables()["TableNames"]
    assert server.cli_json("import", (tmp_path / "none").as_uri(), "--table", "other", "--key", "id")[0] == 4
    assert server.cli_json("import", "/no/url", "--table", "other", "--key", "id")[0] == 64
