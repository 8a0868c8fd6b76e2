"""`verify --archive URL`: an archive proven without any server, by this process alone. Nothing is written there and nothing is remembered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scrubjay.archiver.read.manifests import ManifestReader
from scrubjay.archiver.read.names import clusters_for, sweep
from scrubjay.archiver.verify.report import VerifyOptions, is_gone
from scrubjay.archiver.verify.run import verify
from scrubjay.archives import open_archive
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Unavailable
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.output import FAILED, USAGE, VerbFailure
from scrubjay.progress import Progress, told

WORK = "verify"
AHEAD_US = 60_000_000
"""This machine's clock need not be one of the cluster's: timestamps further ahead of it than a minute are not believed."""


def verify_archive(config: Config, url: str, *, cluster: str | None, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The report of `verify`. request: table (name or id), level, budget_us. Raises Failure, Invalid (not an archive URL), Unavailable (the store)."""

    async def main(tasks: AsyncTasks) -> dict[str, Any]:
        env = Env(RealClock(), RealRand(), tasks)

        def post(work: Callable[[], None]) -> None:
            tasks.loop.call_soon_threadsafe(work)

        opened = await open_archive(env, config, url)
        store = RetryingStore(opened.store, env)
        began = env.clock.boot_us()
        chosen = await chosen_cluster(store, cluster)
        table = await _table(store, chosen, request["table"]) if request["table"] is not None else None
        with tempfile.TemporaryDirectory(prefix="scrubjay-verify-") as folder:
            report = await verify(
                store,
                RealDisk(Path(folder), post=post),
                options=VerifyOptions(
                    level=request["level"],
                    cluster=chosen,
                    table=table,
                    budget_us=request["budget_us"],
                    wall_us=env.clock.wall_us,
                    ahead_us=AHEAD_US,
                ),
                now_us=env.clock.boot_us,
                work=WORK,
                tasks=tasks,
                progress=lambda facts: progress.update(*told(facts)),
            )
        seconds = (env.clock.boot_us() - began) / 1e6
        return {**report.as_json(), "url": opened.url, "away": opened.as_json(), "seconds": round(seconds, 3), "error": None}

    return run(main)


async def chosen_cluster(store: ObjectStore, asked: str | None) -> str:
    """The cluster that is meant: the one that was asked for, or the only one that wrote there. Raises Failure."""
    try:
        present = await clusters_for(store, asked)
    except Unavailable as error:
        if not is_gone(error):
            raise
        present = []
    if asked in present:
        return str(asked)
    if not present or asked is not None:
        raise VerbFailure(
            "no such archive",
            code="ResourceNotFound",
            exit_code=FAILED,
            asked=store.url + (f", cluster {asked}" if asked else ""),
            found=", ".join(present) if present else "no cluster's objects below the URL",
            next_step="check the URL, the bucket's name and the credentials",
        )
    if len(present) > 1:
        raise VerbFailure(
            "several clusters wrote there",
            code="Ambiguous",
            exit_code=USAGE,
            asked=store.url,
            found=", ".join(present),
            next_step="say which with --cluster",
        )
    return present[0]


async def _table(store: ObjectStore, cluster: str, asked: str) -> str:
    """Id of the table with that id or name, by the names in the manifests. A name that several tables had is ambiguous: nobody here knows which one lives."""
    reader = ManifestReader(store, cluster, None)
    named: dict[str, None] = {}
    async for names in sweep(store, cluster):
        if names.table == asked:
            return asked
        if names.table not in named and await reader.table_name(names) == asked:
            named[names.table] = None
    if len(named) == 1:
        return next(iter(named))
    if not named:
        raise VerbFailure(
            "no such table",
            code="ResourceNotFound",
            exit_code=FAILED,
            asked=f"table {asked}",
            found="no such name or id in the archive",
            next_step="leave --table out",
        )
    raise VerbFailure(
        "several tables had that name",
        code="Ambiguous",
        exit_code=USAGE,
        asked=f"table {asked}",
        found=", ".join(named),
        next_step="say which by its id",
    )
