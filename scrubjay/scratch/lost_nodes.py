"""The drills `lose-node` and `lose-zone`: the process dies and the folder of one node of three is gone. The others must take writes again, and lose nothing.

`lose-node`: it is gone for good. The cluster must say so, serve and archive without it. `lose-zone`: what was away comes back as it was; it must catch up until a scrub finds
all copies equal. A development cluster has one node in each zone.
"""

from __future__ import annotations

import shutil
from typing import Any

from scrubjay.base.env import JobContext
from scrubjay.machine import monotonic_s
from scrubjay.output import DONE, MISMATCH
from scrubjay.scratch.model_table import TABLE, ModelTable
from scrubjay.scratch.rehearsal import Rehearsal, rehearse

NODE_JOB, ZONE_JOB = "scrubjay.scratch.lost_nodes:node_job", "scrubjay.scratch.lost_nodes:zone_job"
ROWS = 300
NODES = ("n1", "n2", "n3")


async def node_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """See drills.scratch."""
    return rehearse(context, arguments, lambda rehearsal: _lost(rehearsal, back=False))


async def zone_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """See drills.scratch."""
    return rehearse(context, arguments, lambda rehearsal: _lost(rehearsal, back=True))


def _lost(rehearsal: Rehearsal, *, back: bool) -> None:
    server = rehearsal.server(archive=(rehearsal.folder / "archive").as_uri())
    load = ModelTable(rehearsal, server)
    node = NODES[rehearsal.dice.below(len(NODES))]
    rehearsal.outcome.facts["lost"] = node
    home, away = server.data / "nodes" / node, rehearsal.folder / "away"
    with rehearsal.step("load"):
        server.start()
        load.fill(ROWS)
        load.change(30)
    with rehearsal.step(f"lose {node}"):
        began = monotonic_s()
        server.kill()
        home.rename(away)
        if not back:
            shutil.rmtree(away)
        home.mkdir()
        server.start()
        load.first_write()
        rehearsal.outcome.rto_seconds = round(monotonic_s() - began, 3)
        rehearsal.outcome.planted += 1
        said = any(one["kind"] == "node-failed" and node in one["what"] for one in load.problems())
        rehearsal.outcome.detected += said
        rehearsal.expect(said, f"the status does not name {node}, which is gone")
    with rehearsal.step("go on without it"):
        load.change(30)
        load.compare(f"without {node}")
        load.wait_archived()
    if back:
        with rehearsal.step("it comes back"):
            server.kill()
            home.rmdir() if not any(home.iterdir()) else shutil.rmtree(home)
            away.rename(home)
            began = monotonic_s()
            server.start()
            load.change(30)
            rehearsal.until("all copies serve again", lambda: not load.problems())
            rehearsal.outcome.facts["caught_up_seconds"] = round(monotonic_s() - began, 3)
    with rehearsal.step("scrub"):
        code, report = server.verb("scrub", "run", "--table", TABLE)
        rehearsal.expect(code == DONE if back else code != MISMATCH, f"the scrub ended with {code}: {report['verdict']}")
        load.compare("after the scrub")
        code, report = server.verb("verify")
        rehearsal.expect(code == DONE, f"verify of the archive ended with {code}: {report['findings'][:3]}")
        rehearsal.expect(server.stop() == DONE, "the cluster did not stop with everything archived")
