"""UpdateTimeToLive and DescribeTimeToLive: texts and their order, as recorded answers of October 2026 have them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.storage.api.operations.time_to_live import CHANGE_AFTER_US
from scrubjay.storage.catalogue import TimeToLive
from tests.api_server import ApiServer

V = "ValidationException"
OFF = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
OFTEN = (V, "Time to live has been modified multiple times within a fixed interval")
OTHER = (V, "TimeToLive is active on a different AttributeName: current AttributeName is ends")


def asked(name: str, enabled: bool, attribute: str = "ends") -> dict[str, Any]:
    return {"TableName": name, "TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}}


def later(server: ApiServer, name: str) -> None:
    """As if the last change were so long ago that another may follow, and no longer."""

    def work() -> None:
        table = server.backend._tables[name]
        assert isinstance(table.ttl, TimeToLive)
        ttl = msgspec.structs.replace(table.ttl, changed_at=table.ttl.changed_at - CHANGE_AFTER_US)
        server.backend._tables[name] = msgspec.structs.replace(table, ttl=ttl)

    server.call(work)


def test_the_life_of_a_setting(server: ApiServer) -> None:
    server.make_table("timed")
    before = server.ok("DescribeTable", {"TableName": "timed"})
    assert server.ok("DescribeTimeToLive", {"TableName": "timed"}) == OFF
    assert server.refusal("UpdateTimeToLive", asked("timed", False)) == (V, "TimeToLive is already disabled")
    on = asked("timed", True)
    assert server.ok("UpdateTimeToLive", on) == {"TimeToLiveSpecification": on["TimeToLiveSpecification"]}
    told = {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"}}
    assert server.ok("DescribeTimeToLive", {"TableName": "timed"}) == told
    assert server.ok("DescribeTable", {"TableName": "timed"}) == before
    assert server.refusal("UpdateTimeToLive", on) == (V, "TimeToLive is already enabled")
    assert server.refusal("UpdateTimeToLive", asked("timed", True, "other")) == OTHER
    assert server.refusal("UpdateTimeToLive", asked("timed", False, "other")) == OTHER
    assert server.refusal("UpdateTimeToLive", asked("timed", False)) == OFTEN
    later(server, "timed")
    off = asked("timed", False)
    assert server.ok("UpdateTimeToLive", off) == {"TimeToLiveSpecification": off["TimeToLiveSpecification"]}
    assert server.ok("DescribeTimeToLive", {"TableName": "timed"}) == OFF
    assert server.refusal("UpdateTimeToLive", asked("timed", True, "other")) == OFTEN, "and that counts anew"
    later(server, "timed")
    server.ok("UpdateTimeToLive", asked("timed", True, "other"))


@pytest.mark.parametrize("status", ["CREATING", "DELETING"])
def test_a_table_that_is_made_or_dropped_takes_none(server: ApiServer, status: str) -> None:
    name = f"timed-{status}"
    server.make_table(name)

    def work() -> None:
        server.backend._tables[name] = msgspec.structs.replace(server.backend._tables[name], status=status)
        server.backend._until[name] = 1 << 62

    server.call(work)
    text = f"Cannot describe time to live while table is in {status} state: Current table state is {status}"
    assert server.refusal("DescribeTimeToLive", {"TableName": name}) == (V, text)
    doing = {"CREATING": "created", "DELETING": "deleted"}[status]
    text = f"Attempt to change a resource which is still in use: Table {name} is being {doing}"
    assert server.refusal("UpdateTimeToLive", asked(name, True)) == ("ResourceInUseException", text)
