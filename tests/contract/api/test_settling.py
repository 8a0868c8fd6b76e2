"""Who asks about a table on its way to another status is answered when it has arrived: SDKs' waiters poll at once, and then only every 20 s."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from scrubjay.storage.api import limits
from tests.api_server import ApiServer

DELAY_US = 150_000
KEYS = {
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def slow() -> Iterator[ApiServer]:
    """Table operations take DELAY_US."""
    with ApiServer(backend_options={"delay_us": DELAY_US}) as server:
        yield server
        assert server.unexpected == []


def status(server: ApiServer, name: str) -> str:
    return server.ok("DescribeTable", {"TableName": name})["Table"]["TableStatus"]


@pytest.mark.slow
def test_default_waiters_need_one_poll(slow: ApiServer) -> None:
    client = slow.client()
    began = time.monotonic()
    assert client.create_table(TableName="waited", **KEYS)["TableDescription"]["TableStatus"] == "CREATING"
    client.get_waiter("table_exists").wait(TableName="waited")
    assert client.update_table(TableName="waited", DeletionProtectionEnabled=False)["TableDescription"]["TableStatus"] in (
        "ACTIVE",
        "UPDATING",
    )
    client.get_waiter("table_exists").wait(TableName="waited")
    assert client.delete_table(TableName="waited")["TableDescription"]["TableStatus"] == "DELETING"
    client.get_waiter("table_not_exists").wait(TableName="waited")
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_the_first_look_sees_the_end(slow: ApiServer) -> None:
    slow.ok("CreateTable", {"TableName": "seen", **KEYS})
    assert status(slow, "seen") == "ACTIVE"
    slow.ok("UpdateTable", {"TableName": "seen", "TableClass": "STANDARD_INFREQUENT_ACCESS"})
    assert status(slow, "seen") == "ACTIVE"
    slow.ok("DeleteTable", {"TableName": "seen"})
    assert slow.refusal("DescribeTable", {"TableName": "seen"}) == (
        "ResourceNotFoundException",
        "Requested resource not found: Table: seen not found",
    )


def test_a_look_that_waited_long_enough_says_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SETTLE_MS_MAX", 50)
    with ApiServer(backend_options={"delay_us": 60_000_000}) as server:
        server.ok("CreateTable", {"TableName": "stuck", **KEYS})
        began = time.monotonic()
        assert status(server, "stuck") == "CREATING"
        assert 0.05 <= time.monotonic() - began < 20


def test_a_restore_is_not_waited_for(slow: ApiServer) -> None:
    slow.ok("CreateTable", {"TableName": "source", **KEYS})
    assert status(slow, "source") == "ACTIVE"
    restore = {"SourceTableName": "source", "TargetTableName": "target", "UseLatestRestorableTime": True}
    assert slow.ok("RestoreTableToPointInTime", restore)["TableDescription"]["RestoreSummary"]["RestoreInProgress"] is True
    seen = slow.ok("DescribeTable", {"TableName": "target"})["Table"]
    assert (seen["TableStatus"], seen["RestoreSummary"]["RestoreInProgress"]) == ("CREATING", True)


def test_continuous_backups_of_a_new_table_show_both_times(slow: ApiServer) -> None:
    slow.ok("CreateTable", {"TableName": "backed", **KEYS})
    assert status(slow, "backed") == "ACTIVE"
    recovery = slow.ok("DescribeContinuousBackups", {"TableName": "backed"})["ContinuousBackupsDescription"][
        "PointInTimeRecoveryDescription"
    ]
    assert recovery["EarliestRestorableDateTime"] <= recovery["LatestRestorableDateTime"]


def test_switched_off_there_is_nothing_to_wait_for(slow: ApiServer) -> None:
    slow.ok("CreateTable", {"TableName": "off", **KEYS})
    assert status(slow, "off") == "ACTIVE"
    off = {"TableName": "off", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False}}
    slow.ok("UpdateContinuousBackups", off)
    began = time.monotonic()
    recovery = slow.ok("DescribeContinuousBackups", {"TableName": "off"})["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery == {"PointInTimeRecoveryStatus": "DISABLED"}
    assert time.monotonic() - began < 5
