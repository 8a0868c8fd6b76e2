"""The drill `lying-store`: an object store that answers, and lies. Every lie must be seen by verify, and a store that says the truth again must match.

Lies: an object is denied (what answered a put and stored nothing looks the same); a bit of what is read is flipped; another object's bytes are given under its name. The archive is a
scratch cluster's, its cluster stopped. What nothing else refers to is left out, the newest objects of a partition and closed ones: that something followed them can only a cluster know.
"""

from __future__ import annotations

from typing import Any

from scrubjay.archiver.format.layout import BaseKey, SegmentKey, parse
from scrubjay.archiver.read.names import clusters, list_all
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.base.env import Env, JobContext, ObjectStore
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import open_store
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.drills.scenario import Dice
from scrubjay.machine import monotonic_s
from scrubjay.offline import AHEAD_US
from scrubjay.output import DONE
from scrubjay.scratch.model_table import ModelTable
from scrubjay.scratch.rehearsal import Rehearsal, rehearse

JOB = "scrubjay.scratch.lying_store:lie_job"
ROWS = 300
ROUNDS = 3
"""Segments of every partition, at least."""
EACH = 5
"""Lies of each kind, unless it is said how many."""
LIES = ("denied", "flipped", "another's")


async def lie_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """See drills.scratch."""
    rehearsals: list[Rehearsal] = []

    def made(rehearsal: Rehearsal) -> None:
        rehearsals.append(rehearsal)
        _archived(rehearsal)

    answer = rehearse(context, arguments, made)
    if answer["error"] is not None:
        return answer
    (rehearsal,) = rehearsals
    error: str | None = None
    tasks = AsyncTasks()
    try:
        await _lies(rehearsal, Env(RealClock(), RealRand(), tasks))
    except Exception as failed:  # noqa: BLE001  see rehearse
        error = rehearsal.failed(failed)
    finally:
        await tasks.close()
    return rehearsal.answer(error)


def _archived(rehearsal: Rehearsal) -> None:
    server = rehearsal.server(archive=(rehearsal.folder / "archive").as_uri())
    load = ModelTable(rehearsal, server)
    with rehearsal.step("load"):
        server.start()
        load.fill(ROWS)
        for _ in range(ROUNDS):
            load.wait_archived()
            load.change(30)
        rehearsal.expect(server.stop() == DONE, "the cluster did not stop with everything archived")


async def _lies(rehearsal: Rehearsal, env: Env) -> None:
    bare = open_store((rehearsal.folder / "archive").as_uri())
    (cluster,) = await clusters(bare)
    keys = sorted(await list_all(bare, f"{cluster}/"))
    chosen = referred(keys)
    with rehearsal.step("the truth"):
        _truth(rehearsal, await _verified(rehearsal, env, bare, cluster), "before any lie")
    seconds: dict[str, float] = {}
    for lie in LIES:
        with rehearsal.step(f"a store that gives what is {lie}"):
            began = monotonic_s()
            for _ in range(rehearsal.arguments["faults"] or EACH):
                key = chosen[rehearsal.dice.below(len(chosen))]
                store = await liar(bare, env, lie, key, keys, rehearsal.dice)
                report = await _verified(rehearsal, env, store, cluster)
                rehearsal.outcome.planted += 1
                if report.verdict == "mismatch":
                    rehearsal.outcome.detected += 1
                else:
                    rehearsal.differs(f"{key} was {lie}, and verify ended with {report.verdict}")
                rehearsal.context.progress({"phase": lie, "done": rehearsal.outcome.planted})
            seconds[lie] = round((monotonic_s() - began) / (rehearsal.arguments["faults"] or EACH), 3)
    rehearsal.outcome.facts["found_seconds"] = seconds
    with rehearsal.step("the truth again"):
        _truth(rehearsal, await _verified(rehearsal, env, bare, cluster), "after all lies")


def _truth(rehearsal: Rehearsal, report: VerifyReport, when: str) -> None:
    rehearsal.outcome.facts["false_alarms"] = rehearsal.outcome.facts.get("false_alarms", 0) + len(report.findings)
    rehearsal.expect(report.verdict == "match", f"{when} verify ended with {report.verdict}: {[one.object for one in report.findings[:3]]}")


def referred(keys: list[str]) -> list[str]:
    """Segments, their manifests and bases to which something else refers: not the newest two of each partition. Pure."""
    logs: dict[tuple[str, str], list[str]] = {}
    for one in keys:
        key = parse(one)
        if isinstance(key, SegmentKey):
            logs.setdefault((key.table, key.partition), []).append(one)
    older = [one for names in logs.values() for one in sorted(names)[:-4]]
    return older + [one for one in keys if isinstance(key := parse(one), BaseKey) and key.part is not None]


async def liar(store: ObjectStore, env: Env, lie: str, key: str, keys: list[str], dice: Dice) -> FaultyStore:
    """A store that lies about one object."""
    found = FaultyStore(store, env)
    if lie == "denied":
        found.denied.add(key)
        return found
    size = len(await store.get(key))
    others = [one for one in keys if one != key and one.rpartition(".")[2] == key.rpartition(".")[2]]
    other = await store.get(others[dice.below(len(others))])
    at, bit = dice.below(size), 1 << dice.below(8)

    def given(asked: str, data: bytes) -> bytes:
        if asked != key:
            return data
        return other if lie == "another's" else data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]

    found.flip = given
    return found


async def _verified(rehearsal: Rehearsal, env: Env, store: ObjectStore, cluster: str) -> VerifyReport:
    options = VerifyOptions(level="records", cluster=cluster, wall_us=env.clock.wall_us, ahead_us=AHEAD_US)
    disk = RealDisk(rehearsal.folder)
    return await verify(store, disk, options=options, now_us=env.clock.boot_us, work="verify", tasks=env.tasks)
