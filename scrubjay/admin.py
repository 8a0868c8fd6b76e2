"""The admin API below /admin/v1/ (docs/ADMIN.md): what the CLI's verbs ask of a server. Thin: checks the question, names the table, asks a service.

Every answer is a JSON object with `exit` and `error`; a report comes with HTTP 200 whatever its exit code, an error without a report does not.
With keys configured each request needs the SigV4 signature of an `admin` key. Requests from web pages (an Origin header, another content type) are
refused: a page a person happens to open must not reach the admin API of their machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from scrubjay.admin_asked import body_of, check_name, resolve_table, usage
from scrubjay.admin_backups import BackupCalls
from scrubjay.admin_compact import CompactCalls
from scrubjay.admin_door import PREFIX, AdminDoor
from scrubjay.admin_jobs import Job, JobBoard
from scrubjay.admin_move import MoveCalls
from scrubjay.admin_splits import SplitCalls
from scrubjay.admin_timeline import TimelineCalls
from scrubjay.admin_transfers import TransferCalls
from scrubjay.admin_version import VersionCalls
from scrubjay.archiver.expire.plan import KEEP_MAX_US, KEEP_MIN_US
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, Exists, Fenced, Missing, ScrubjayError, Unsafe
from scrubjay.base.http_values import Request
from scrubjay.base.ids import PartitionId
from scrubjay.output import DONE, FAILED, INCOMPLETE, MISMATCH, REFUSED, VerbFailure, failure_of, merge_exits
from scrubjay.pitr.options import ARCHIVE_LAGS
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.settings import JobSettings
from scrubjay.scrubber.service import HISTORY_SHOWN
from scrubjay.server.ports import (
    ArchiverPort,
    BackupPort,
    CompactPort,
    DrillPort,
    ExpirePort,
    MovePort,
    ProgressSink,
    Report,
    RestorePort,
    SchedulePort,
    ScrubPort,
    SplitPort,
    TimelinePort,
    TransferPort,
    VerifyPort,
)
from scrubjay.storage.api.sigv4 import SignatureVerifier
from scrubjay.storage.catalogue import METADATA_TABLE, TableMeta
from scrubjay.units import NUMBER_MAX, format_duration

NodeVerb = Callable[[str, ProgressSink], Awaitable[Report]]
NODE_VERBS = ("join", "drain", "remove", "replace")
"""`cluster VERB NODE`: jobs about one node."""
"""A node by its name."""
LEVELS = ("listed", "objects", "records", "replayed")
_EXIT_OF_CODE: Mapping[str | None, int] = {kind.code: kind.exit_code for kind in (Corrupt, Missing, Conflict, Exists, Unsafe, Fenced)}
"""Exit codes of failed restores, by what ended them, where it is not 1."""


class VerifyRequest(msgspec.Struct, forbid_unknown_fields=True):
    table: str | None = None
    level: str = "records"
    budget_us: Annotated[int, msgspec.Meta(le=NUMBER_MAX)] | None = None
    max_age_us: Annotated[int, msgspec.Meta(le=NUMBER_MAX)] = 0


class ScrubRequest(msgspec.Struct, forbid_unknown_fields=True):
    table: str | None = None
    partition: str | None = None


class NodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    node: str


class ScheduleRequest(msgspec.Struct, forbid_unknown_fields=True):
    job: str
    cron: str
    timezone: str = "UTC"
    window: str | None = None
    rate_bytes: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)] | None = None
    budget_us: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)] | None = None
    budget_bytes: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)] | None = None
    within_us: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)] | None = None


class ScheduleJobRequest(msgspec.Struct, forbid_unknown_fields=True):
    job: str


class PauseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """job None: every job."""

    job: str | None = None
    paused: bool = True


class DrillRequest(msgspec.Struct, forbid_unknown_fields=True):
    """tables: names or ids to choose from, none: any. seed None: a new one. faults: to plant of each kind, None: as many as the drill plants by itself."""

    scenario: str
    tables: tuple[str, ...] = ()
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] | None = None
    faults: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None


class ExpireRequest(msgspec.Struct, forbid_unknown_fields=True):
    table: str | None = None
    keep_us: int | None = None
    confirm: bool = False


class RestoreRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A target is one of at_us, minus_us, before_us, latest (`pitr.target.RestoreTarget`). part: without, the whole table."""

    table: str
    to: str
    at_us: int | None = None
    minus_us: int | None = None
    before_us: int | None = None
    latest: bool = False
    part: PartAsked | None = None

    def asked(self) -> RestoreTarget:
        """Raises Invalid unless exactly one is given."""
        return RestoreTarget(self.at_us, self.minus_us, self.before_us, self.latest, self.part)


class TargetRequest(msgspec.Struct, forbid_unknown_fields=True):
    to: str


class AdminApi(AdminDoor):
    """Routes /admin/v1/ to the services. `handle` is the HTTP server's handler of that prefix.

    More than 25 methods: one for each call of the page docs/ADMIN.md.
    """

    def __init__(
        self,
        env: Env,
        *,
        tables: Callable[[], Sequence[TableMeta]],
        archive: ArchiverPort,
        verify: VerifyPort,
        scrub: ScrubPort,
        expire: ExpirePort,
        compact: CompactPort,
        move: MovePort,
        restore: RestorePort,
        timeline: TimelinePort,
        backups: BackupPort,
        transfers: TransferPort,
        schedule: SchedulePort,
        drills: DrillPort,
        cluster: Callable[[], Mapping[str, Any]],
        status: Callable[[], Awaitable[Report]],
        members: Callable[[], Report] | None = None,
        nodes: Mapping[str, NodeVerb] | None = None,
        splits: SplitPort | None = None,
        version: VersionCalls | None = None,
        alerts: Callable[[], Awaitable[Report]] | None = None,
        verifier: SignatureVerifier | None,
        log: Callable[[str, BaseException], None],
    ) -> None:
        """tables: every table, dropped ones included. cluster: facts for `GET cluster` (id, archive, version …). status: `scrubjay status`. members: `cluster status`; None: there is no such call. nodes: NODE_VERBS; None: the nodes are of this process. splits, version: None: there are no such calls. alerts: `alerts test`; None: there is no such call. verifier None: anyone may ask."""
        self._tables = tables
        self._archive = archive
        self._verify = verify
        self._scrub = scrub
        self._expire = expire
        self._restore = restore
        self._schedule = schedule
        self._drills = drills
        self._cluster = cluster
        self._status = status
        super().__init__(cluster_id=lambda: str(cluster().get("cluster_id", "")), verifier=verifier, log=log)
        self._env = env
        self._board = JobBoard(env, log=log)
        self.routes |= {
            ("GET", "cluster"): self._get_cluster,
            ("GET", "status"): self._get_status,
            ("GET", "archive/status"): self._get_archive_status,
            ("POST", "verify"): self._post_verify,
            ("POST", "expire"): self._post_expire,
            ("POST", "scrub"): self._post_scrub,
            ("GET", "scrub/status"): self._get_scrub_status,
            ("GET", "scrub/history"): self._get_scrub_history,
            ("GET", "schedule"): self._get_schedule,
            ("POST", "schedule/set"): self._post_schedule_set,
            ("POST", "schedule/run"): self._post_schedule_run,
            ("POST", "schedule/pause"): self._post_schedule_pause,
            ("GET", "drill"): self._get_drill,
            ("POST", "drill/run"): self._post_drill_run,
            ("GET", "drill/report"): self._get_drill_report,
            ("POST", "restore/plan"): self._post_restore_plan,
            ("POST", "restore/run"): self._post_restore_run,
            ("GET", "restore/status"): self._get_restore_status,
            ("POST", "restore/resume"): self._post_restore_resume,
            ("POST", "restore/cancel"): self._post_restore_cancel,
            **TimelineCalls(self._board, tables, timeline).routes,
            **CompactCalls(self._board, tables, compact).routes,
            **MoveCalls(self._board, move).routes,
            **BackupCalls(self._board, tables, backups, restore_answer).routes,
            **TransferCalls(tables, transfers).routes,
        }

        if members is not None:
            self.routes["GET", "cluster/status"] = lambda _request: _at_once(members())
        for verb in NODE_VERBS:
            self.routes["POST", f"cluster/{verb}"] = partial(self._post_cluster_node, verb, (nodes or {}).get(verb))
        if splits is not None:
            self.routes |= SplitCalls(self._board, tables, splits).routes
        if version is not None:
            self.routes |= version.routes
        if alerts is not None:
            self.routes["POST", "alerts/test"] = lambda _request: alerts()

    async def route(self, request: Request) -> Report:
        path = request.path.removeprefix(PREFIX)
        if request.method == "GET" and path.startswith("jobs/"):
            return self._get_job(path.removeprefix("jobs/"))
        return await super().route(request)

    # -- tables ----------------------------------------------------------------------------------------------------------------------

    def _named(self, text: str | None) -> TableMeta | None:
        return None if text is None else resolve_table(self._tables(), text)

    # -- archive and verify ----------------------------------------------------------------------------------------------------------

    async def _post_cluster_node(self, verb: str, do: NodeVerb | None, request: Request) -> Report:
        asked = body_of(request, NodeRequest)
        if do is None:
            raise VerbFailure(
                "the nodes of this server are this one process: none can join, leave or be replaced",
                code=Unsafe.code,
                exit_code=REFUSED,
                asked=f"cluster {verb} {asked.node}",
                next_step="put back a node's folder that is lost; nodes that are processes of their own can do all of it (docs/CLUSTER.md)",
            )

        async def work(progress: ProgressSink) -> Report:
            return await do(asked.node, progress)

        return _started(self._board.start(f"cluster/{verb}", work))

    async def _get_cluster(self, request: Request) -> Report:
        return dict(self._cluster())

    async def _get_status(self, request: Request) -> Report:
        return await self._status()

    async def _get_archive_status(self, request: Request) -> Report:
        one = self._named(_query(request).get("table"))
        report = await self._archive.status(self._tables() if one is None else [one])
        entries = sorted(report["tables"], key=lambda entry: (entry["table"], entry["dropped_at"] or "~", entry["table_id"]))
        # The metadata group is archived like any table, and its window counts; but `tables` lists what users made.
        system = None if one is not None else next((entry for entry in entries if entry["table"] == METADATA_TABLE), None)
        return {**report, "tables": [entry for entry in entries if entry is not system], "metadata": system}

    async def _post_verify(self, request: Request) -> Report:
        asked = body_of(request, VerifyRequest)
        if asked.level not in LEVELS:
            raise usage("no such level", asked=asked.level, found="none of " + ", ".join(LEVELS), next_step="give one of these")
        if asked.max_age_us < 0 or (asked.budget_us is not None and asked.budget_us < 0):
            raise usage("a duration cannot be negative", next_step="give 0s or more")
        one = self._named(asked.table)

        async def work(progress: ProgressSink) -> Report:
            began = self._env.clock.boot_us()
            report = await self._verify.verify(
                tables=None if one is None else [one.table_id],
                level=asked.level,
                budget_us=asked.budget_us,
                max_age_us=asked.max_age_us,
                progress=progress,
            )
            seconds = round((self._env.clock.boot_us() - began) / 1e6, 3)
            return {**report, "url": self._cluster().get("archive"), "seconds": seconds}

        return _started(self._board.start("verify", work))

    # -- expire ----------------------------------------------------------------------------------------------------------------------

    async def _post_expire(self, request: Request) -> Report:
        asked = body_of(request, ExpireRequest)
        if asked.keep_us is not None and not KEEP_MIN_US <= asked.keep_us <= KEEP_MAX_US:
            raise usage("a retention is 1 to 35 days", asked=format_duration(asked.keep_us), next_step="give 1d to 35d")
        one = self._named(asked.table)

        async def work(progress: ProgressSink) -> Report:
            return await self._expire.expire(
                tables=None if one is None else [one.table_id], keep_us=asked.keep_us, confirm=asked.confirm, progress=progress
            )

        # In the lane of scrubs: what one of them reads is not taken away meanwhile.
        return _started(self._board.start("expire", work, lane="scrub"))

    # -- scrub -----------------------------------------------------------------------------------------------------------------------

    async def _post_scrub(self, request: Request) -> Report:
        asked = body_of(request, ScrubRequest)
        one = self._named(asked.table)
        if asked.partition is not None:
            owner = next(
                (table for table in self._tables() if any(part.partition_id == asked.partition for part in table.partitions)), None
            )
            if owner is None or (one is not None and one.table_id != owner.table_id):
                raise VerbFailure(
                    "no such partition",
                    code="ResourceNotFound",
                    exit_code=FAILED,
                    asked=f"--partition {asked.partition}",
                    found="no table has it" if owner is None else f"it belongs to {owner.name}",
                    next_step="scrubjay scrub run --table T --json lists a table's partitions",
                )
            one = owner

        async def work(progress: ProgressSink) -> Report:
            return await self._scrub.run(
                tables=None if one is None else [one.table_id],
                partition=None if asked.partition is None else PartitionId(asked.partition),
                progress=progress,
            )

        return _started(self._board.start("scrub", work, lane="scrub"))

    async def _get_scrub_status(self, request: Request) -> Report:
        return await self._scrub.status()

    async def _get_scrub_history(self, request: Request) -> Report:
        asked = _query(request)
        one = self._named(asked.get("table"))
        return await self._scrub.history(
            table=None if one is None else one.table_id,
            since_us=None if "since_us" not in asked else _number(asked["since_us"], "since_us"),
            limit=max(1, _number(asked.get("limit", str(HISTORY_SHOWN)), "limit")),
        )

    # -- schedule --------------------------------------------------------------------------------------------------------------------

    async def _get_schedule(self, request: Request) -> Report:
        return self._schedule.views.listed()

    async def _post_schedule_set(self, request: Request) -> Report:
        asked = body_of(request, ScheduleRequest)
        fields = {name: getattr(asked, name) for name in ("window", "rate_bytes", "budget_us", "budget_bytes")}
        within_us = asked.within_us or self._schedule.views.default(asked.job).within_us
        return await self._schedule.set(asked.job, JobSettings(cron=asked.cron, within_us=within_us, timezone=asked.timezone, **fields))

    async def _post_schedule_run(self, request: Request) -> Report:
        job = body_of(request, ScheduleJobRequest).job

        async def work(progress: ProgressSink) -> Report:
            progress({"phase": f"{job} runs"})
            return await self._schedule.run_now(job)

        return _started(self._board.start(f"schedule {job}", work))

    async def _post_schedule_pause(self, request: Request) -> Report:
        asked = body_of(request, PauseRequest)
        return await self._schedule.pause(asked.job, paused=asked.paused)

    # -- drills ----------------------------------------------------------------------------------------------------------------------

    async def _get_drill(self, request: Request) -> Report:
        return self._drills.listed()

    async def _post_drill_run(self, request: Request) -> Report:
        asked = body_of(request, DrillRequest)
        if asked.scenario not in [one["scenario"] for one in self._drills.listed()["scenarios"]]:
            raise usage("no such drill", asked=asked.scenario, next_step="scrubjay drill list names those that are there")
        tables = [resolve_table(self._tables(), text) for text in asked.tables]

        async def work(progress: ProgressSink) -> Report:
            return await self._drills.run(asked.scenario, tables=tables, seed=asked.seed, faults=asked.faults, progress=progress)

        return _started(self._board.start(f"drill {asked.scenario}", work))

    async def _get_drill_report(self, request: Request) -> Report:
        report, runs = self._drills.report(_query(request).get("id"))
        return {"report": report, "runs": runs}

    # -- restore ---------------------------------------------------------------------------------------------------------------------

    async def _post_restore_plan(self, request: Request) -> Report:
        return await self._targeted(request, self._restore.plan)

    async def _post_restore_run(self, request: Request) -> Report:
        return restore_answer(await self._targeted(request, self._restore.start))

    async def _targeted(self, request: Request, ask: Callable[[TableMeta, str, RestoreTarget], Awaitable[Report]]) -> Report:
        """Ask about a restore. A refusal names source and target too."""
        asked = body_of(request, RestoreRequest)
        target = asked.asked()
        check_name(asked.to, "a table", f"--to {asked.to}")
        source = resolve_table(self._tables(), asked.table)
        try:
            return await ask(source, asked.to, target)
        except ScrubjayError as error:
            failure = failure_of(error, asked=f"restore {asked.table} to {asked.to}")
            failure.body = {"table": source.name, "table_id": source.table_id, "to": asked.to, **failure.body}
            raise failure from None

    async def _get_restore_status(self, request: Request) -> Report:
        to = _query(request).get("to")
        if to is None:
            restores = [restore_answer(report) for report in self._restore.all()]
            codes = (FAILED if report["exit"] == REFUSED else report["exit"] for report in restores)
            return {"exit": merge_exits(codes), "restores": restores}
        return restore_answer(self._known(to))

    async def _post_restore_resume(self, request: Request) -> Report:
        to = body_of(request, TargetRequest).to
        self._known(to)
        return restore_answer(await self._restore.resume(to))

    async def _post_restore_cancel(self, request: Request) -> Report:
        to = body_of(request, TargetRequest).to
        self._known(to)
        report = await self._restore.cancel(to)
        return {**report, "exit": DONE, "error": None, "running": False}

    def _known(self, to: str) -> Report:
        report = self._restore.status(to)
        if report is None:
            raise VerbFailure(
                "no such restore",
                code="ResourceNotFound",
                exit_code=FAILED,
                asked=f"restore to {to}",
                next_step="scrubjay restore status lists all restores",
            )
        return report

    # -- jobs ------------------------------------------------------------------------------------------------------------------------

    def _get_job(self, job_id: str) -> Report:
        job = self._board.get(job_id)
        if job is None:
            raise VerbFailure(
                "no such job",
                code="ResourceNotFound",
                exit_code=FAILED,
                asked=f"job {job_id}",
                found="the server was restarted, or many jobs came after it",
                next_step="run the verb again",
            )
        if job.finished_us is None:
            return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True, "progress": dict(job.progress)}
        if job.failure is not None:
            raise job.failure
        return {"id": job.id, **(job.result or {}), "kind": job.kind, "running": False}  # a drill's report has an id of its own


def restore_answer(report: Report) -> Report:
    """A restore's report with its exit code: 0 published, 2 digests differ, damage in the archive stopped it or it is published of one of two histories, 3 running or not proven for want of the archive's
    arrival, 4 refused (its name was taken, its writer fenced), 1 failed otherwise."""
    state = report.get("state")
    if state == "published":
        code = MISMATCH if report.get("forks") else DONE
    elif report.get("verdict") == "mismatch":
        code = MISMATCH
    else:
        word = (report.get("error") or {}).get("code")
        code = INCOMPLETE if state == "running" or word == ARCHIVE_LAGS else _EXIT_OF_CODE.get(word, FAILED)
    return {**report, "exit": code, "running": state == "running"}


def _started(job: Job) -> Report:
    return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.query))


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise usage("not a whole number", asked=f"{name}={text}") from None


async def _at_once(report: Report) -> Report:
    return report
