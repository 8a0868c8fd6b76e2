"""The drill `clone`: a data folder was copied, and both are served, on one archive. One of them writes; the other must be refused or fenced, and must say so.

First both are started at once with the same state; then, while one goes on, the other, whose state is older by now. Neither may fork history.
"""

from __future__ import annotations

import shutil
from typing import Any

from scrubjay.base.env import JobContext
from scrubjay.base.errors import Unavailable
from scrubjay.machine import monotonic_s
from scrubjay.output import DONE, REFUSED
from scrubjay.scratch.model_table import ModelTable
from scrubjay.scratch.rehearsal import Rehearsal, rehearse
from scrubjay.scratch.server import Server

JOB = "scrubjay.scratch.clone:clone_job"
ROWS = 300
STOPPED = ("archive-fenced", "archive-diverged")
"""Problems by which a server says that it archives nothing any more, and why."""


async def clone_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """See drills.scratch."""
    return rehearse(context, arguments, _cloned)


def _cloned(rehearsal: Rehearsal) -> None:
    archive = (rehearsal.folder / "archive").as_uri()
    first, second = (rehearsal.server(archive=archive, data=name) for name in ("first", "second"))
    loads = {server.data.name: ModelTable(rehearsal, server) for server in (first, second)}
    with rehearsal.step("load"):
        first.start()
        loads["first"].fill(ROWS)
        loads["first"].wait_archived()
        rehearsal.expect(first.stop() == DONE, "the cluster did not stop with everything archived")
    with rehearsal.step("two with the same state"):
        shutil.copytree(first.data, second.data)
        loads["second"].model = dict(loads["first"].model)
        began = monotonic_s()
        for server in (first, second):
            server.begin()
        serving = [server for server in (first, second) if _came_up(rehearsal, server)]
        rehearsal.outcome.planted += 1
        if not serving:
            rehearsal.differs("neither of two equal folders came up")
            return
        for server in serving:
            loads[server.data.name].change(20)
        writer = _only_writer(rehearsal, [loads[server.data.name] for server in serving])
        if writer is None:
            return
        rehearsal.outcome.detected += 1
        rehearsal.outcome.rto_seconds = round(monotonic_s() - began, 3)
    loser = second if writer.server is first else first
    with rehearsal.step("the other again, older by now"):
        loser.stop()
        writer.change(20)
        writer.wait_archived()
        rehearsal.outcome.planted += 1
        loser.begin()
        refused = not _came_up(rehearsal, loser)
        if not refused:
            loads[loser.data.name].first_write()
            refused = _stopped(loads[loser.data.name], rehearsal)
        rehearsal.outcome.detected += refused
        rehearsal.expect(refused, "a copy of an older state writes to the archive")
        loser.kill()
    with rehearsal.step("compare"):
        writer.change(20)
        writer.wait_archived()
        rehearsal.expect(not _said(writer), "the live cluster was fenced by a copy of an older state")
        writer.compare("the writer")
        code, report = writer.server.verb("verify")
        rehearsal.expect(code == DONE, f"verify of the archive ended with {code}: {report['findings'][:3]}")
        rehearsal.expect(writer.server.stop() == DONE, "the writer did not stop with everything archived")


def _came_up(rehearsal: Rehearsal, server: Server) -> bool:
    """It serves; False: it refused to. Raises Unavailable."""
    try:
        server.ready()
    except Unavailable as error:
        if error.fields.get("exit") != REFUSED:
            raise
        return False
    return True


def _said(load: ModelTable) -> bool:
    return any(one["kind"] in STOPPED for one in load.problems())


def _stopped(load: ModelTable, rehearsal: Rehearsal) -> bool:
    """It says that it archives nothing any more."""
    try:
        return bool(rehearsal.until("the copy says that it is fenced", lambda: _said(load)))
    except Unavailable:
        return False


def _only_writer(rehearsal: Rehearsal, loads: list[ModelTable]) -> ModelTable | None:
    """The one of those that serve that is not fenced, once all others say that they are. None: told as a difference."""

    def settled() -> ModelTable | None:
        left = [load for load in loads if not _said(load)]
        return left[0] if len(left) == 1 and (len(loads) > 1 or left[0].archived()) else None

    try:
        writer: ModelTable = rehearsal.until("one of them says that it is fenced", settled)
    except Unavailable:
        said = {load.server.data.name: [one["kind"] for one in load.problems()] for load in loads}
        rehearsal.differs(f"two servers of one identity, and it is not settled who writes: {said}")
        return None
    return writer
