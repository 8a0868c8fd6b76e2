"""What a Dask worker loads to work for Scrubjay: `dask worker tcp://… --preload scrubjay.dask_worker` (docs/FLEET.md).

It reads the worker's own configuration (`SCRUBJAY_CONFIG`, `SCRUBJAY_S3_*`, or just the usual AWS variables), so that credentials stay where they are kept and no
task carries any.
"""

from __future__ import annotations

import os

from scrubjay.base.real.stores import worker_environment
from scrubjay.config import load
from scrubjay.store_settings import store_settings


def dask_setup(_worker: object) -> None:
    """Called by Dask once, in the worker's process. Raises Invalid for a configuration that is none: the worker does not start."""
    config = load(env=os.environ)
    os.environ.update(worker_environment(store_settings(config, timeout=str(config.archive.timeout_us / 1e6))))
