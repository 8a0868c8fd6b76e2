"""Three nodes and a durability process, one node killed: restores and imports make their tables of the two that are left, and the third copies are healed (ADR 0091)."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scrubjay.base.real.clock import RealClock
from scrubjay.base.times import utc_text
from tests.fixtures.cluster import ClusterOfProcesses
from tests.fixtures.wait import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(200)]

SOURCE, LOST, OTHER = "birds", "n3", "n2"
BY_CLI, BY_BACKUP, BY_IMPORT = "by-cli", "by-backup", "by-import"
MADE = (BY_CLI, BY_BACKUP, BY_IMPORT)
ROWS = 20


def test_with_one_node_of_three_dead_restores_and_imports_end_well_and_the_third_copies_are_healed(tmp_path: Path) -> None:
    there = tmp_path / "exported"
    there.mkdir()
    with ClusterOfProcesses(tmp_path) as cluster:
        cluster.found()
        cluster.make_table(SOURCE)
        client = cluster.client("n1")
        for number in range(ROWS):
            client.put_item(TableName=SOURCE, Item={"k": {"S": f"jay-{number}"}})
        backup = client.create_backup(TableName=SOURCE, BackupName="before")["BackupDetails"]["BackupArn"]
        now = utc_text(RealClock().wall_us())
        assert cluster.cli("export", SOURCE, "--at", now, "--to", there.as_uri())[0] == 0
        cluster.kill(LOST)

        ended: dict[str, tuple[int, dict[str, Any]]] = {}

        def imported() -> None:
            ended[BY_IMPORT] = cluster.cli("import", there.as_uri(), "--table", BY_IMPORT)

        thread = threading.Thread(target=imported)
        thread.start()
        client.restore_table_from_backup(TargetTableName=BY_BACKUP, BackupArn=backup)
        code, restored = cluster.cli("restore", "run", "--table", SOURCE, "--to", BY_CLI, "--at", now)
        thread.join()
        assert (code, restored["state"], restored["verdict"]) == (0, "published", "match"), restored
        assert restored["seconds"]["total"] < 30
        assert [one["node"] for one in restored["degraded"]] == [LOST]
        assert (ended[BY_IMPORT][0], ended[BY_IMPORT][1]["verdict"]) == (0, "match"), ended
        wait_for(lambda: client.describe_table(TableName=BY_BACKUP)["Table"]["TableStatus"] == "ACTIVE", timeout=30)
        assert cluster.cli("status")[0] == 3
        for name in MADE:
            client.put_item(TableName=name, Item={"k": {"S": "later"}})
            assert client.scan(TableName=name, Select="COUNT", ConsistentRead=True)["Count"] == ROWS + 1

        cluster.spawn(LOST)
        cluster.ready(LOST)

        def whole() -> bool:
            copies = [copy for one in cluster.asked("cluster/status")["partitions"] if one["table"] in MADE for copy in one["members"]]
            return len(copies) == 9 and all((copy["tree"], copy["vote"]) == ("ok", "votes") for copy in copies)

        wait_for(whole, timeout=30)
        assert cluster.cli("restore", "status", BY_CLI)[1]["degraded"] == []
        code, scrubbed = cluster.cli("scrub", "run")
        assert (code, scrubbed["verdict"]) == (0, "match"), scrubbed

        cluster.kill(OTHER)  # what was acknowledged while one was dead is there with another one dead
        wait_for(lambda: all(_has(client, name) for name in MADE), timeout=20)


def _has(client: Any, name: str) -> bool:
    with contextlib.suppress(ClientError):
        return "Item" in client.get_item(TableName=name, Key={"k": {"S": "later"}}, ConsistentRead=True)
    return False
