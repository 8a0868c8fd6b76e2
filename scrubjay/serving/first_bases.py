"""The first bases of a recovered cluster as a server delivers them: from its data folder, or, where a row file rotted there, from the archive of its parent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Jobs
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.stores import open_store
from scrubjay.config import Config
from scrubjay.offline import AHEAD_US
from scrubjay.pitr.first_base import FirstBases
from scrubjay.pitr.recover.remake import ParentRows
from scrubjay.server.archive import wrapped
from scrubjay.serving.folder import read_recover
from scrubjay.storage.service_port import ServicePort
from scrubjay.store_settings import store_settings


def first_bases(
    env: Env, port: ServicePort, jobs: Jobs, folder: Path, config: Config, *, writer: Writer, log: Callable[[str, str], object]
) -> FirstBases:
    """Raises Corrupt if `recover.json` cannot be understood."""
    disk = RealDisk(folder)
    recovered = read_recover(disk)
    remake = None
    if recovered is not None:
        url = recovered.url
        parent = ParentRows(
            env, jobs, disk, RealDisk(folder / "tmp"), url=url, ahead_us=AHEAD_US,
            opened=lambda: wrapped(open_store(url, settings=store_settings(config), create=False), env).store,
        )  # fmt: skip
        remake = parent.make
    return FirstBases(env, port, jobs, disk, url=config.archive_url, writer=writer, log=log, remake=remake)
