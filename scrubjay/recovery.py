"""`recover`: the whole cluster from its archive alone, into a new data folder. The archive is only read; the folder is not served until all of it is there.

Order, and what SIGKILL leaves: everything is chosen and planned before the folder is touched. Then `recover.json` (what is being recovered, and the new cluster's
ids), then `cluster.json`, then the new cluster runs and restores each table. Until `recover.json` says that it is done, `serve` refuses the folder by name, and
the same command goes on where it stopped.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from scrubjay.admin import restore_answer
from scrubjay.archives import OpenedArchive, open_archive
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Unsafe
from scrubjay.base.ids import ClusterId
from scrubjay.base.real import log_lines
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.jobs import QUEUE_MAX, WorkerJobs
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import raise_descriptors, share_out
from scrubjay.base.real.platform import check_platform, usable_cores
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import worker_environment
from scrubjay.base.times import utc_text
from scrubjay.config import Config
from scrubjay.offline import AHEAD_US, chosen_cluster
from scrubjay.output import FAILED, MISMATCH, REFUSED, merge_exits
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.plan import forked_error
from scrubjay.pitr.rates import Rates
from scrubjay.pitr.recover.choose import Choice, Chooser
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.recover.parent_source import RecoverySource
from scrubjay.pitr.recover.report import findings_of, plan_report, plans_of
from scrubjay.pitr.recover.run import Brought, Foreseen, Recovery
from scrubjay.progress import Progress, told
from scrubjay.recovery_sample import measured
from scrubjay.server.archive import wrapped
from scrubjay.serving.cluster import open_cluster
from scrubjay.serving.folder import NODES, RECOVER, RecoverFile, new_cluster, read_cluster, read_recover, write_cluster, write_recover
from scrubjay.serving.lock import FolderLock, data_folder
from scrubjay.serving.start import ServerStart
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.btree.treefile import MAKER

OF_NO_ACCOUNT = ("lock", "log", f".{RECOVER}.new", "lost+found")
"""Names in a data folder that hold nothing of ours: the lock, log lines, a first RECOVER that was being written when the process was killed, and what a fresh disk comes with."""
INCOMPLETE_CODE = "Incomplete"

_log = logger("recover")


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """url: of the archive. cluster: whose, None: the only one there. at_us: None: the latest. only: tables by name or id, none: all."""

    url: str
    cluster: str | None
    at_us: int | None
    only: tuple[str, ...]


def recover(config: Config, asked: RecoverRequest, *, data: str, plan_only: bool, progress: Progress) -> dict[str, Any]:
    """The report, with its exit code. Raises VerbFailure (no such cluster, or several), Missing (a hole), Unsafe (the folder is in use; the moment is not proven),
    Conflict (the folder is half of another recovery), Unavailable, Corrupt."""
    check_platform()
    log_lines.setup(os.environ.get("SCRUBJAY_LOG") or "warning")
    folder = data_folder(data)
    workers = max(2, usable_cores())

    async def main(tasks: AsyncTasks) -> dict[str, Any]:
        env = Env(RealClock(), RealRand(), tasks)
        began_us = env.clock.boot_us()
        opened = await open_archive(env, config, asked.url)
        store, _ = wrapped(opened.store, env)
        earlier = earlier_recovery(folder, asked)
        if earlier is not None and earlier.done:
            return earlier.report
        progress.update("reading manifests")
        with tempfile.TemporaryDirectory(prefix="scrubjay-recover-") as scratch:
            cluster = await chosen_cluster(store, earlier.parent if earlier is not None else asked.cluster)
            await store.uncover(f"{cluster}/")  # what was deleted in a bucket with versions is there
            parent = Parent(env, store, RealDisk(Path(scratch)), cluster, ahead_us=AHEAD_US)
            await parent.open()
            chooser = Chooser(parent, only=asked.only, now_us=env.clock.wall_us())
            choice = await chooser.choose(earlier.at_us if earlier is not None else asked.at_us)
            plans = plans_of(parent, choice, rates=Rates(), workers=workers)
            progress.update("measuring this machine")
            jobs = WorkerJobs(Path(scratch), workers=workers, environment=worker_environment(opened.settings))
            try:
                notes = choice.catalogue.jobs
                costs = await measured(tasks, jobs, plans, url=opened.url, root=Path(scratch), workers=workers, notes=notes)
            finally:
                await jobs.close()
            report = plan_report(
                parent,
                choice,
                plans,
                costs=costs,
                workers=workers,
                lanes=lanes_of(workers),
                copies=len(NODES),
                backups=await parent.backups(),
            )
            planned_us = env.clock.boot_us()
            report |= {"url": opened.url, "away": opened.as_json(), "data": str(folder), "cluster": None, "findings": []} | outcome(
                [], report["forks"]
            )
            report["seconds"] = {"plan": _seconds(planned_us - began_us), "recover": None, "total": _seconds(planned_us - began_us)}
            if plan_only:
                return report
            lock = FolderLock(folder)
            try:
                state = _begin(env, folder, asked, cluster, choice)
                if state.done:
                    return state.report

                def told_of(brought: Sequence[Brought]) -> None:
                    """What came of it, into the report; if that is all there was to bring, for good."""
                    ended_us = env.clock.boot_us()
                    report.update(
                        outcome(brought, report["forks"]), tables=[one.as_json() for one in brought], cluster=state.cluster.cluster_id
                    )
                    report["seconds"] |= {"recover": _seconds(ended_us - planned_us), "total": _seconds(ended_us - began_us)}
                    if came_back(brought):
                        write_recover(RealDisk(folder), msgspec.structs.replace(state, done=True, report=report))

                asked_of = {
                    table: {str(part.partition): costs.work(table, log=part.raw_log, base=part.raw_base) for part in plan.partitions}
                    for table, plan in plans.items()
                }
                foreseen = Foreseen(report["predicted_seconds"], asked_of, len(NODES))
                await _bring(tasks, env, config, opened, lock, state, parent, choice, progress, workers, told_of, foreseen)
                if report["error"] is not None and report["error"]["code"] == INCOMPLETE_CODE:
                    works = await chooser.settle(choice.at_us)
                    report["works_at"] = None if works is None or works.at_us == choice.at_us else utc_text(works.at_us)
            finally:
                lock.release()
            return report

    return run(main)


def earlier_recovery(folder: Path, asked: RecoverRequest) -> RecoverFile | None:
    """The recovery that this folder is of, if the same was asked for. None: the folder is new. Raises Unsafe (it holds something else), Conflict (another one)."""
    names = [path.name for path in (folder.iterdir() if folder.is_dir() else ()) if path.name not in OF_NO_ACCOUNT]
    if not names:
        return None
    disk = RealDisk(folder)
    found = read_recover(disk)
    cluster = read_cluster(disk) if found is not None else None
    if found is None or (cluster is not None and cluster.attached):
        raise Unsafe(
            "the data folder is not empty: recover makes a new one, and touches none that is there",
            asked=f"--data {folder}",
            found="a cluster that was recovered and has been served" if found is not None else ", ".join(sorted(names)[:5]),
            next="give a folder that is not there yet with --data",
        )
    same = (asked.cluster in (None, found.parent), asked.at_us == found.asked_us or asked.at_us == found.at_us, asked.only == found.only)
    if not all(same) or asked.url != found.url:
        raise Conflict(
            f"the data folder is of {'a finished' if found.done else 'an unfinished'} recovery that was asked for otherwise",
            asked=f"{asked.url} as of {'latest' if asked.at_us is None else utc_text(asked.at_us)}, tables {', '.join(asked.only) or 'all'}",
            found=f"{found.url}, cluster {found.parent}, as of {utc_text(found.at_us)}, tables {', '.join(found.only) or 'all'}",
            next="ask for the same to go on with it, or give another folder with --data",
        )
    return found


def _begin(env: Env, folder: Path, asked: RecoverRequest, parent: str, choice: Choice) -> RecoverFile:
    """From here on the folder is this recovery's. Under its lock, so looked at again."""
    disk = RealDisk(folder)
    state = earlier_recovery(folder, asked)
    if state is None:
        made = new_cluster(env.rand, now_us=env.clock.wall_us(), parent=ClusterId(parent))
        state = RecoverFile(
            url=asked.url, parent=ClusterId(parent), asked_us=asked.at_us, at_us=choice.at_us, only=asked.only, cluster=made
        )
        write_recover(disk, state)
    if not disk.exists("cluster.json"):
        write_cluster(disk, state.cluster)
    return state


async def _bring(
    tasks: AsyncTasks,
    env: Env,
    config: Config,
    opened: OpenedArchive,
    lock: FolderLock,
    state: RecoverFile,
    parent: Parent,
    choice: Choice,
    progress: Progress,
    workers: int,
    tell: Callable[[Sequence[Brought]], None],
    foreseen: Foreseen,
) -> None:
    """Run the new cluster, without archive and front door, for as long as it takes to restore every table into it. tell: what came of it, before notes go."""
    folder = lock.folder
    start = ServerStart(env.clock, _log.info, alone_since_us=lock.alone_since_us)
    cluster = await open_cluster(tasks, env, folder, config, state.cluster, share_out(raise_descriptors(), nodes=len(NODES)), start=start)
    jobs = WorkerJobs(folder, workers=workers, environment=worker_environment(opened.settings))
    try:
        source = RecoverySource(
            env, cluster.service, jobs, RealDisk(folder, post=tasks.post), parent, url=opened.url, trees=TreesHere(MAKER, f"{folder}/")
        )
        recovery = Recovery(
            env,
            cluster.service,
            source,
            RestoreOptions(lanes=lanes_of(workers)),
            choice,
            max_offset_us=config.consensus.max_clock_offset_us,
            tell=lambda facts: progress.update(*told(facts)),
            log=_log.warning,
            foreseen=foreseen,
        )
        brought = await recovery.run()
        if came_back(brought):
            await recovery.settled(brought, lambda: tell(brought))
        else:
            tell(brought)
    finally:
        await jobs.close()
        cluster.close()


def lanes_of(workers: int) -> int:
    """Tables at once, and partitions of each: no more than that everything they ask of the workers at one time finds room in their queue."""
    return min(workers, math.isqrt(QUEUE_MAX))


def came_back(brought: Sequence[Brought]) -> bool:
    """All of it: the folder may be served."""
    return all(one.published for one in brought)


def outcome(brought: Sequence[Brought], forks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """findings[], exit and error of what came of it so far. forks: places where the archive holds two histories; one was taken, and a person should look at the other."""
    bad = [one for one in brought if not one.published]
    exits = [restore_answer(one.report)["exit"] for one in brought]
    error: dict[str, Any] | None = None
    if bad:
        error = {
            "code": INCOMPLETE_CODE,
            "message": f"{len(bad)} of {len(brought)} tables did not come back; the folder is not served until all have",
            "asked": ", ".join(one.source.name for one in bad[:5]),
            "found": "; ".join(f"{one.source.name}: {(one.report['error'] or {}).get('message')}" for one in bad[:3]),
            "next": f"put right what is said and run the same command again; {RECOVER} remembers how far it came",
        }
    elif forks:
        error = forked_error(forks)
        exits.append(MISMATCH)
    return {
        "findings": findings_of([one.report for one in brought]),
        "exit": merge_exits(FAILED if code == REFUSED else code for code in exits),
        "error": error,
    }


def _seconds(us: int) -> float:
    return round(us / 1e6, 3)
