"""Where a server's jobs run: in a pool of worker processes beside it, or on a fleet too (`[jobs]`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from scrubjay.archiver.verify.jobs import CHECK_JOB
from scrubjay.base.env import Jobs
from scrubjay.base.errors import Unavailable
from scrubjay.base.real.fleet_jobs import FleetJobs
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.stores import worker_environment
from scrubjay.config import Config
from scrubjay.pitr.source import REBUILD, REBUILD_PART
from scrubjay.pitr.timeline.service import DIFF, HISTORY
from scrubjay.scrubber.jobs import REFERENCE, TRACE

TRAVELS = (CHECK_JOB, DIFF, HISTORY, REBUILD, REBUILD_PART, REFERENCE, TRACE)
"""Jobs that a fleet does: they read the archive, however much of it. What leaves this machine (a segment, a base of rows that lie here) is checked here."""


class ServerJobs(Jobs, Protocol):
    """trouble: why the jobs of a fleet cannot be done; None: nothing is known to keep them."""

    @property
    def trouble(self) -> str | None: ...

    async def close(self) -> None: ...


def open_jobs(folder: Path, config: Config, cluster: str, *, workers: int, settings: Mapping[str, str]) -> ServerJobs:
    """Starts nothing yet. folder: the data folder. settings: of the store, for the workers of this machine; a fleet's have their own. Raises Unavailable: Dask is not installed."""
    local = WorkerJobs(folder, workers=workers, environment=worker_environment(settings))
    if config.jobs.backend == "local":
        return local
    if importlib.util.find_spec("distributed") is None:
        raise Unavailable(
            "Dask is not installed",
            asked="jobs.backend = dask",
            found="no package `distributed`",
            next="pip install 'scrubjay[dask]', here and on the workers",
        )
    return FleetJobs(
        local,
        folder,
        address=config.jobs.address,
        travels=TRAVELS,
        url=config.archive_url,
        cluster=cluster,
        wait_s=config.jobs.wait_us / 1e6,
    )
