"""The archive of a data folder, as a process that claims it opens it: probed, its identity compared with the folder's, a pair if there are two."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from scrubjay.archiver.verify.report import is_gone
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.probe import probe
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.stores import beginning_second, open_store, pair_of
from scrubjay.base.together import within
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.paired import SECOND
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.server.archive import wrapped
from scrubjay.server.pair_begin import begin_pair
from scrubjay.server.pairing import PairKeeper, PairOptions
from scrubjay.serving.folder import ClusterFile, new_cluster, read_cluster, write_cluster
from scrubjay.store_settings import store_settings

START_PATIENCE_S = 10.0
"""How long a start waits for the store of a cluster that has its archive, before it comes up without it."""

_log = logger("serve")
_archive_log = logger("archive")


@dataclass(slots=True)
class Archive:
    """The archive as this process uses it. sealed: the same, not retried. answered: the store did at start. pair: whoever keeps two of them, None: there is one."""

    url: str
    sealed: EncryptedStore
    store: RetryingStore
    meter: MeteredStore
    writer: Writer
    answered: bool
    pair: PairKeeper | None


async def open_archive(env: Env, disk: RealDisk, config: Config) -> tuple[Archive, ClusterFile]:
    """Probe the store and claim the prefix. Raises Unsafe (a store without the guarantees, a foreign archive), Unavailable (a new folder's store is down)."""
    answered = True
    known = read_cluster(disk)
    settings = settings_of(config)
    if known is None or _second_is_new(known, config):
        settings = beginning_second(settings)
    bare = open_store(config.archive_url, settings=settings, create=known is None or not known.attached)
    store, meter = wrapped(bare, env)
    file = known or new_cluster(env.rand, now_us=env.clock.wall_us())
    if file.second_decides and config.second.url != file.second and config.archive_url != file.second:
        raise Unsafe(
            "the second archive decides, and holds what the first one lacks: it cannot be left out",
            found=f"second.url {config.second.url or 'is not set'}; it was {file.second}",
            next="give it with second.url until the first one has caught up (scrubjay status), or make it the archive with --archive",
        )
    pair = _pair(env, bare, file, config)
    try:
        if pair is not None:
            await begin_pair(env, pair, attached=file.attached, new=_second_is_new(file, config))
        if file.attached:
            await within(env.tasks, _attach(env, store, file), seconds=START_PATIENCE_S, what="the archive does not answer in time")
        else:
            await probe(store, env)
            if known is None:
                write_cluster(disk, file)
            await attach(store, env, cluster_id=file.cluster_id, folder_is_new=True, parent=file.parent)
    except Unavailable as error:
        if not file.attached or (config.second.url and _second_is_new(file, config)):
            raise
        if is_gone(error) and _remembered(config) != file.archive:
            # Another place than last time, and nothing of ours is there: a slip of the pen, not an outage. Where it was last time, it is an archive that went.
            raise Unsafe(
                "this archive is not the data folder's own: nothing of this cluster is there",
                asked=config.archive_url,
                found=f"{error}; last time the archive was {file.archive or 'in the data folder'}",
                next="give its own archive with --archive; to go on with a copy of it elsewhere, copy it there first",
            ) from error
        answered = False
        # A cluster that has its archive must come up while the store is down: writes go on, the WAL keeps what is not archived.
        _log.error("the archive does not answer; starting without it, it is tried again", archive=config.archive_url)
    except Unsafe:
        if known is None and disk.exists("cluster.json"):
            disk.remove("cluster.json")
        raise
    if answered and not (file.attached and file.archive == _remembered(config) and file.second == config.second.url):
        decides = file.second_decides and file.second == config.second.url
        moving = pair is not None and pair.stays
        file = msgspec.structs.replace(
            file, attached=True, archive=_remembered(config), second=config.second.url, second_decides=decides, moving=moving
        )
        write_cluster(disk, file)
    if pair is not None:

        def turned(turn: int) -> None:
            nonlocal file
            if file.second_decides != (turn == SECOND):
                file = msgspec.structs.replace(file, second_decides=turn == SECOND)
                write_cluster(disk, file)

        def stay(stays: int) -> None:
            nonlocal file
            file = msgspec.structs.replace(file, moving=bool(stays))
            write_cluster(disk, file)

        pair.turned, pair.noted_stay = turned, stay
        if pair.pair.turn is not None:
            turned(pair.pair.turn)
    return Archive(config.archive_url, bare, store, meter, Writer(file.cluster_id), answered, pair), file


def _second_is_new(file: ClusterFile, config: Config) -> bool:
    """It was not one of the pair until now: neither the second one, nor the first one that changes places with it."""
    changed_places = bool(file.archive) and (config.archive.url, config.second.url) == (file.second, file.archive)
    return config.second.url != file.second and not changed_places


def _pair(env: Env, store: ObjectStore, file: ClusterFile, config: Config) -> PairKeeper | None:
    found = pair_of(store)
    if found is None:
        return None
    options = PairOptions(decides_after_s=config.second.decides_after_us / 1e6, rate_bytes=config.second.rate_bytes or None)
    keeper = PairKeeper(env, found, cluster=file.cluster_id, options=options, log=archive_line)
    keeper.stays = file.moving and (file.archive, file.second) == (_remembered(config), config.second.url)
    return keeper


def _remembered(config: Config) -> str:
    """The archive's URL as cluster.json keeps it."""
    return config.archive.url


async def _attach(env: Env, store: ObjectStore, file: ClusterFile) -> None:
    await probe(store, env)
    await attach(store, env, cluster_id=file.cluster_id, folder_is_new=False, parent=file.parent)


def settings_of(config: Config) -> dict[str, str]:
    return store_settings(config, timeout=str(config.archive.timeout_us / 1e6))


def archive_line(level: str, line: str) -> None:
    getattr(_archive_log, level)(line)
