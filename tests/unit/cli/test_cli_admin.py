"""The admin API: naming tables, checking questions, jobs, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scrubjay.admin import AdminApi, restore_answer
from scrubjay.admin_asked import resolve_table
from scrubjay.admin_jobs import RUNNING_MAX
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, DiskFull, Exhausted, Fenced, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.http_values import Request
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.output import VerbFailure
from scrubjay.pitr.job import error_json
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.settings import JobSettings
from scrubjay.server.nightly import DEFAULTS
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.storage.api.sigv4 import ROLE_ADMIN, ROLE_DATA, AccessKey, SignatureVerifier
from scrubjay.storage.catalogue import METADATA_TABLE
from scrubjay.units import NUMBER_MAX
from tests.unit.cli.fakes import (
    FakeArchive,
    FakeBackups,
    FakeDrills,
    FakeRestore,
    FakeSchedule,
    FakeScrub,
    FakeServices,
    FakeTransfers,
    table,
)

TABLES = [
    table("cities", 1),
    table("old", 2, dropped_at=5),
    table("twice", 3, dropped_at=5),
    table("twice", 4, dropped_at=9),
    table("again", 5, dropped_at=5),
    table("again", 6),
]


class World:
    def __init__(self, tasks: AsyncTasks, keys: dict[str, AccessKey] | None = None) -> None:
        self.services = FakeServices()
        self.logged: list[tuple[str, BaseException]] = []
        clock = RealClock()
        self.tasks = tasks
        self.api = AdminApi(
            Env(clock, RealRand(), tasks),
            tables=lambda: TABLES,
            archive=FakeArchive(self.services),
            verify=self.services,
            scrub=FakeScrub(self.services),
            expire=self.services,
            compact=self.services,
            move=self.services,
            restore=FakeRestore(self.services),
            timeline=self.services,
            backups=FakeBackups(self.services),
            transfers=FakeTransfers(self.services),
            schedule=FakeSchedule(self.services),
            drills=FakeDrills(self.services),
            status=self.services.status,
            cluster=lambda: {"cluster": "c", "archive": "file:///x"},
            verifier=SignatureVerifier(clock, keys) if keys is not None else None,
            log=lambda what, error: self.logged.append((what, error)),
        )

    async def ask(
        self, method: str, path: str, body: Any = None, query: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.api.handle(Request(method, f"/admin/v1/{path}", query, headers or {"content-type": "application/json"}, raw))
        document = json.loads(response.body)
        assert document["schema"] == 1
        assert set(document) >= {"exit", "error"}
        return response.status, document

    async def finished(self, job: str) -> tuple[int, dict[str, Any]]:
        while True:
            status, document = await self.ask("GET", f"jobs/{job}")
            if not document.get("running"):
                return status, document
            await self.tasks.sleep(0.001)


def in_world(scenario: Callable[[World], Coroutine[Any, Any, None]], keys: dict[str, AccessKey] | None = None) -> None:
    async def main(tasks: AsyncTasks) -> None:
        await scenario(World(tasks, keys))

    run(main)


def test_a_name_means_the_live_table_else_the_one_dropped() -> None:
    assert resolve_table(TABLES, "cities") is TABLES[0]
    assert resolve_table(TABLES, "old") is TABLES[1]
    assert resolve_table(TABLES, TABLES[3].table_id) is TABLES[3]
    assert resolve_table(TABLES, "again") is TABLES[5]


def test_unknown_and_ambiguous_names() -> None:
    with pytest.raises(VerbFailure) as unknown:
        resolve_table(TABLES, "none")
    assert (unknown.value.exit_code, unknown.value.error["code"]) == (1, "ResourceNotFound")
    with pytest.raises(VerbFailure) as several:
        resolve_table(TABLES, "twice")
    assert several.value.exit_code == 64
    assert all(TABLES[at].table_id in str(several.value.error["found"]) for at in (2, 3))


def test_archive_status_asks_for_all_or_one() -> None:
    async def scenario(world: World) -> None:
        status, document = await world.ask("GET", "archive/status")
        assert (status, document["exit"]) == (200, 0)
        await world.ask("GET", "archive/status", query="table=cities")
        assert world.services.calls == [("status", [one.table_id for one in TABLES]), ("status", [TABLES[0].table_id])]
        status, document = await world.ask("GET", "archive/status", query="table=none")
        assert (status, document["exit"], document["error"]["code"]) == (404, 1, "ResourceNotFound")
        rows = [{"table": name, "table_id": name, "dropped_at": None} for name in ("zebra", METADATA_TABLE, "ant")]
        world.services.archive_report = {"exit": 1, "error": {"code": "Unavailable", "message": "m"}, "tables": rows, "store": {}}
        status, document = await world.ask("GET", "archive/status")
        assert (status, document["exit"]) == (200, 1), "the report is still there"
        assert [row["table"] for row in document["tables"]] == ["ant", "zebra"]
        assert document["metadata"]["table"] == METADATA_TABLE

    in_world(scenario)


def test_verify_runs_as_a_job_and_keeps_its_exit_code() -> None:
    async def scenario(world: World) -> None:
        status, started = await world.ask("POST", "verify", {"table": "cities", "level": "objects", "budget_us": 5, "max_age_us": 7})
        assert (status, started["running"]) == (200, True)
        status, document = await world.finished(started["id"])
        assert (status, document["exit"], document["verdict"]) == (200, 2, "mismatch")
        assert (document["url"], document["seconds"] >= 0) == ("file:///x", True)
        assert world.services.calls == [("verify", [TABLES[0].table_id], "objects", 5, 7)]
        assert (await world.ask("GET", "jobs/none"))[0] == 404

    in_world(scenario)


def test_time_travel_runs_as_jobs_and_is_fetched_by_pages() -> None:
    async def scenario(world: World) -> None:
        key = {"pk": {"S": "a"}}
        _, started = await world.ask("POST", "history", {"table": "cities", "key": key, "to_us": 9})
        status, document = await world.finished(started["id"])
        assert (status, document["exit"], document["unproven"]) == (200, 3, [{"reason": "hole"}])
        _, started = await world.ask("POST", "diff", {"table": "cities", "from_us": 1, "prefix": key})
        _, document = await world.finished(started["id"])
        _, page = await world.ask("GET", "diff/changes", query=f"result={document['result']}")
        assert (page["changes"], page["next"]) == ([{"key": {"pk": {"S": "a"}}}], "0:5")
        _, page = await world.ask("GET", "diff/changes", query="result=r&at=0:5")
        assert (page["changes"], page["next"]) == ([{"key": {"pk": {"S": "b"}}}], None)
        _, started = await world.ask("POST", "undo", {"table": "cities", "from_us": 1, "to_us": 2, "confirm": True})
        status, document = await world.finished(started["id"])
        assert (status, document["exit"], document["table"]) == (409, 4, "cities")
        assert "earliest" in document["window"]
        cities = TABLES[0].table_id
        assert world.services.calls == [
            ("history of", cities, key, None, 9, 1000),
            ("diff", cities, 1, None, None, key),
            ("changes", "r", ""),
            ("changes", "r", "0:5"),
            ("undo", cities, 1, 2, None, None, True),
        ]
        assert (await world.ask("POST", "diff", {"table": "cities", "from_us": 1, "key": "a"}))[0] == 400
        assert (await world.ask("POST", "history", {"table": "none", "key": key}))[0] == 404

    in_world(scenario)


def test_history_is_asked_by_table_and_moment() -> None:
    async def scenario(world: World) -> None:
        assert (await world.ask("GET", "scrub/history"))[0] == 200
        assert (await world.ask("GET", "scrub/history", query="table=cities&since_us=7&limit=3"))[0] == 200
        assert world.services.calls == [("history", None, None, 50), ("history", TABLES[0].table_id, 7, 3)]
        assert (await world.ask("GET", "scrub/history", query="since_us=yesterday"))[0] == 400
        assert (await world.ask("GET", "scrub/history", query="table=none"))[0] == 404

    in_world(scenario)


def test_the_schedule_is_told_set_and_paused_and_runs_as_a_job() -> None:
    async def scenario(world: World) -> None:
        assert (await world.ask("GET", "schedule"))[1]["exit"] == 3
        asked = {"job": "scrub", "cron": "0 2 * * *", "window": "01:00-05:00", "budget_bytes": 7}
        assert (await world.ask("POST", "schedule/set", asked))[0] == 200
        assert (await world.ask("POST", "schedule/pause", {}))[0] == 200
        assert (await world.ask("POST", "schedule/pause", {"job": "scrub", "paused": False}))[0] == 200
        _, started = await world.ask("POST", "schedule/run", {"job": "verify"})
        _, document = await world.finished(started["id"])
        assert document["job"] == "verify"
        settings = JobSettings("0 2 * * *", DEFAULTS["scrub"].within_us, window="01:00-05:00", budget_bytes=7)
        assert world.services.calls == [("set", "scrub", settings), ("pause", None, True), ("pause", "scrub", False), ("run", "verify")]
        for name in ("rate_bytes", "budget_us", "budget_bytes", "within_us"):
            for number in (0, NUMBER_MAX + 1):
                assert (await world.ask("POST", "schedule/set", {**asked, name: number}))[0] == 400
        for name in ("budget_us", "max_age_us"):
            assert (await world.ask("POST", "verify", {name: NUMBER_MAX + 1}))[0] == 400

    in_world(scenario)


def test_a_drill_runs_as_a_job_and_its_report_is_kept() -> None:
    async def scenario(world: World) -> None:
        assert (await world.ask("GET", "drill"))[1]["scenarios"][0]["scenario"] == "restore-random"
        _, started = await world.ask("POST", "drill/run", {"scenario": "restore-random", "tables": ["cities"], "seed": 7, "faults": 3})
        _, document = await world.finished(started["id"])
        assert (document["exit"], document["verdict"]) == (2, "mismatch")
        assert world.services.calls == [("drill", "restore-random", [TABLES[0].table_id], 7, 3)]
        assert (await world.ask("POST", "drill/run", {"scenario": "none"}))[0] == 400
        assert (await world.ask("POST", "drill/run", {"scenario": "restore-random", "tables": ["none"]}))[0] == 404
        assert (await world.ask("GET", "drill/report", query="id=d1"))[1]["report"] == {"id": "d1"}
        assert (await world.ask("GET", "drill/report", query="id=none"))[1]["exit"] == 1

    in_world(scenario)


def test_backups_are_made_listed_shown_restored_and_deleted() -> None:
    async def scenario(world: World) -> None:
        _, started = await world.ask("POST", "backup/create", {"table": "cities", "name": "kept"})
        _, document = await world.finished(started["id"])
        assert (document["exit"], document["state"]) == (3, "creating")
        await world.finished((await world.ask("POST", "backup/create", {"table": "old", "name": "kept", "at_us": 7}))[1]["id"])
        assert (await world.ask("GET", "backup/list"))[1]["backups"] == []
        assert (await world.ask("GET", "backup/list", query="table=old"))[0] == 200
        assert (await world.ask("GET", "backup/show", query="name=kept"))[1]["state"] == "available"
        _, document = await world.ask("POST", "backup/restore", {"name": "kept", "to": "back"})
        assert (document["running"], document["exit"], document["backup"]) == (True, 3, "kept")
        assert (await world.ask("POST", "backup/delete", {"name": "kept"}))[1]["deleted"] is False
        assert (await world.ask("POST", "backup/delete", {"name": "kept", "confirm": True}))[1]["deleted"] is True
        cities, old = TABLES[0].table_id, TABLES[1].table_id
        assert world.services.calls == [
            ("make", cities, "kept", None), ("make", old, "kept", RestoreTarget(at_us=7)), ("listed", None), ("listed", old), ("bring_back", "kept", "back"),
            ("remove", "kept", False), ("remove", "kept", True),
        ]  # fmt: skip
        for path, body, status in (
            ("backup/create", {"table": "cities", "name": "a b"}, 400), ("backup/create", {"table": "none", "name": "kept"}, 404),
            ("backup/restore", {"name": "kept"}, 400), ("backup/restore", {"name": "other", "to": "back"}, 404), ("backup/delete", {"name": "other"}, 404),
        ):  # fmt: skip
            assert (await world.ask("POST", path, body))[0] == status, path

    in_world(scenario)


def test_imports_are_started_and_told_of() -> None:
    async def scenario(world: World) -> None:
        _, document = await world.ask(
            "POST", "import", {"url": "s3://b", "table": "new", "key": [["id", "S"], ["at", None]], "format": "csv"}
        )
        assert (document["exit"], document["running"], document["import"]) == (3, True, "1-b")
        assert (await world.ask("POST", "import", {"url": "s3://b", "table": "new"}))[0] == 200
        assert (await world.ask("GET", "import/status", query="id=1-b"))[1]["state"] == "completed"
        assert (await world.ask("GET", "import/status", query="id=none"))[0] == 404
        assert (await world.ask("POST", "import", {"url": "s3://b", "table": "a b"}))[0] == 400
        assert (await world.ask("POST", "import", {"table": "new"}))[0] == 400
        assert world.services.calls == [
            ("import", "s3://b", "new", [("id", "S"), ("at", None)], "csv"),
            ("import", "s3://b", "new", [], None),
        ]

    in_world(scenario)


def test_exports_are_started_and_told_of() -> None:
    async def scenario(world: World) -> None:
        _, document = await world.ask("POST", "export", {"table": "cities", "url": "s3://b", "format": "csv", "at_us": 7})
        assert (document["exit"], document["running"], document["export"]) == (3, True, "1-a")
        _, document = await world.ask("POST", "export", {"table": "old", "url": "s3://b", "format": "dynamodb-json", "from_us": 5})
        assert (await world.ask("GET", "export/status", query="id=1-a"))[1]["state"] == "completed"
        assert (await world.ask("GET", "export/status", query="id=none"))[0] == 404
        assert (await world.ask("POST", "export", {"table": "none", "url": "s3://b", "format": "csv"}))[0] == 404
        assert (await world.ask("POST", "export", {"table": "cities", "format": "csv"}))[0] == 400
        cities, old = TABLES[0].table_id, TABLES[1].table_id
        assert world.services.calls == [("export", cities, "s3://b", "csv", 7, None), ("export", old, "s3://b", "dynamodb-json", None, 5)]

    in_world(scenario)


def test_scrubs_run_one_after_another() -> None:
    async def scenario(world: World) -> None:
        _, document = await world.ask("GET", "scrub/status")
        assert (document["exit"], document["running"], document["last"]) == (3, False, None)
        gate = world.tasks.future()

        async def slow(progress: ProgressSink) -> Report:
            progress({"phase": "compare", "done": 1, "total": 2})
            await gate
            return {**world.services.scrub_report, "exit": 2, "verdict": "mismatch"}

        world.services.scrub_work = slow
        _, first = await world.ask("POST", "scrub", {})
        _, second = await world.ask("POST", "scrub", {"table": "cities"})
        await world.tasks.sleep(0)
        _, document = await world.ask("GET", f"jobs/{first['id']}")
        assert document["progress"] == {"phase": "compare", "done": 1, "total": 2}
        _, document = await world.ask("GET", f"jobs/{second['id']}")
        assert "waiting" in document["progress"]["phase"]
        assert len(world.services.calls) == 1
        gate.set_result(None)
        _, document = await world.finished(second["id"])
        assert (document["exit"], document["verdict"]) == (2, "mismatch")
        assert len(world.services.calls) == 2

    in_world(scenario)


def test_a_partition_must_be_the_tables_own() -> None:
    async def scenario(world: World) -> None:
        mine = TABLES[0].partitions[0].partition_id
        _, started = await world.ask("POST", "scrub", {"partition": mine})
        await world.finished(started["id"])
        assert world.services.calls == [("scrub", [TABLES[0].table_id], mine)]
        for body in ({"partition": "none"}, {"table": "old", "partition": mine}):
            status, document = await world.ask("POST", "scrub", body)
            assert (status, document["exit"]) == (404, 1)

    in_world(scenario)


def test_a_job_that_fails_or_breaks_is_its_result_alone() -> None:
    async def scenario(world: World) -> None:
        async def corrupt(progress: ProgressSink) -> Report:
            raise Corrupt("bytes failed their check", where="x")

        async def bug(progress: ProgressSink) -> Report:
            raise KeyError("oops")

        for work, exit_code, code in ((corrupt, 2, "Corrupt"), (bug, 1, "Internal")):
            world.services.scrub_work = work
            _, started = await world.ask("POST", "scrub", {})
            status, document = await world.finished(started["id"])
            assert status >= 500
            assert (document["exit"], document["error"]["code"]) == (exit_code, code)
        assert [what for what, _ in world.logged] == ["scrub"]

    in_world(scenario)


def test_running_jobs_are_bounded() -> None:
    async def scenario(world: World) -> None:
        gate = world.tasks.future()

        async def wait(progress: ProgressSink) -> Report:
            await gate
            return world.services.scrub_report

        world.services.scrub_work = wait
        jobs = [(await world.ask("POST", "scrub", {}))[1]["id"] for _ in range(RUNNING_MAX)]
        status, document = await world.ask("POST", "scrub", {})
        assert (status, document["exit"], document["error"]["code"]) == (503, 1, "Unavailable")
        gate.set_result(None)
        await world.finished(jobs[-1])

    in_world(scenario)


def test_restore_plan_carries_the_window_into_a_refusal() -> None:
    async def scenario(world: World) -> None:
        status, document = await world.ask("POST", "restore/plan", {"table": "cities", "to": "new", "minus_us": 300})
        assert (status, document["exit"]) == (200, 0)
        assert world.services.calls[-1] == ("plan", TABLES[0].table_id, "new", RestoreTarget(minus_us=300))
        status, document = await world.ask("POST", "restore/plan", {"table": "cities", "to": "new", "at_us": 1})
        assert (status, document["exit"], document["window"]["earliest"]) == (409, 4, "2026-01-01T00:00:00.000000Z")
        assert (document["table"], document["to"]) == ("cities", "new")

    in_world(scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"table": "cities", "to": "new"},
        {"table": "cities", "to": "new", "latest": True, "at_us": 5},
        {"table": "cities", "to": "new", "at_us": "yesterday"},
        {"table": "cities", "latest": True},
        {"table": "cities", "to": "x", "latest": True},
        {"table": "cities", "to": "a b c", "latest": True},
        {"table": "cities", "to": "new", "latest": True, "force": True},
        [],
        b"{",
        b"\xff",
    ],
)
def test_wrong_questions_are_64(body: Any) -> None:
    async def scenario(world: World) -> None:
        status, document = await world.ask("POST", "restore/run", body)
        assert (status, document["exit"]) == (400, 64)
        assert world.services.calls == []

    in_world(scenario)


def test_a_restore_from_start_to_cancel() -> None:
    async def scenario(world: World) -> None:
        _, document = await world.ask("POST", "restore/run", {"table": "old", "to": "new", "latest": True})
        assert (document["exit"], document["state"]) == (3, "running")
        _, document = await world.ask("GET", "restore/status", query="to=new")
        assert document["exit"] == 3
        _, document = await world.ask("GET", "restore/status")
        assert (document["exit"], [one["to"] for one in document["restores"]]) == (3, ["new"])
        _, document = await world.ask("POST", "restore/resume", {"to": "new"})
        assert document["exit"] == 3
        _, document = await world.ask("POST", "restore/cancel", {"to": "new"})
        assert (document["exit"], document["state"]) == (0, "cancelled")
        for method, path, body, query in (
            ("GET", "restore/status", None, "to=new"),
            ("POST", "restore/cancel", {"to": "new"}, ""),
            ("POST", "restore/resume", {"to": "new"}, ""),
        ):
            status, document = await world.ask(method, path, body, query)
            assert (status, document["exit"]) == (404, 1)

    in_world(scenario)


@pytest.mark.parametrize(
    ("state", "verdict", "code"),
    [("published", "match", 0), ("running", None, 3), ("failed", None, 1), ("failed", "mismatch", 2), ("cancelled", None, 1)],
)
def test_exit_codes_of_a_restore(state: str, verdict: str | None, code: int) -> None:
    assert restore_answer({"state": state, "verdict": verdict})["exit"] == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Corrupt("x"), 2),
        (Missing("x"), 2),
        (Conflict("x"), 4),
        (Fenced("x"), 4),
        (Unavailable("x"), 1),
        (DiskFull("x"), 1),
        (Exhausted("x"), 1),
        (Unavailable("x", error_code="ArchiveLags"), 3),
        (Unavailable("x", error_code="ArchiveGone"), 1),
        (Invalid("x"), 1),
    ],
)
def test_exit_codes_of_a_failed_restore_by_what_ended_it(error: ScrubjayError, code: int) -> None:
    told = error_json(error, asked="a", next_step="n")
    assert restore_answer({"state": "failed", "verdict": "unverified", "error": told})["exit"] == code
    assert restore_answer({"state": "running", "verdict": None, "error": told})["exit"] == 3


def test_unknown_calls_and_web_pages_are_turned_away() -> None:
    async def scenario(world: World) -> None:
        assert (await world.ask("GET", "nothing"))[0] == 404
        assert (await world.ask("DELETE", "scrub"))[0] == 404
        status, document = await world.ask("GET", "cluster", headers={"origin": "http://evil"})
        assert (status, document["error"]["code"]) == (403, "AccessDenied")
        status, _ = await world.ask("POST", "scrub", {}, headers={"content-type": "text/plain"})
        assert status == 400
        assert world.services.calls == []

    in_world(scenario)


def test_with_keys_only_an_admin_may_ask() -> None:
    keys = {"boss": AccessKey("s1", ROLE_ADMIN), "clerk": AccessKey("s2", ROLE_DATA)}

    def signed(key: str, secret: str) -> dict[str, str]:
        request = AWSRequest(method="GET", url="http://127.0.0.1:8000/admin/v1/cluster", headers={"Host": "127.0.0.1:8000"})
        SigV4Auth(Credentials(key, secret), "dynamodb", "us-east-1").add_auth(request)
        return {name.lower(): value for name, value in request.headers.items()}

    async def scenario(world: World) -> None:
        status, document = await world.ask("GET", "cluster", headers=signed("boss", "s1"))
        assert (status, document["cluster"]) == (200, "c")
        for headers in (signed("clerk", "s2"), signed("boss", "wrong"), signed("nobody", "s1"), {}):
            status, document = await world.ask("GET", "cluster", headers=headers)
            assert (status, document["exit"], document["error"]["code"]) == (403, 1, "AccessDenied")

    in_world(scenario, keys)
