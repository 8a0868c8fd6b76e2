"""`scrubjay config check`: would `serve` with this configuration work here? Looks and tries; nothing of the data folder or the archive is changed."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from scrubjay.archiver.format.layout import IdentityKey, build
from scrubjay.archiver.read.names import clusters
from scrubjay.archiver.write.probe import probe
from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, Invalid, Missing, ScrubjayError, Unsafe
from scrubjay.base.real.addresses import try_listening
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import raise_descriptors, share_out
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import SECOND, bare_store, bucket_of, open_store
from scrubjay.base.together import within
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.config import Config
from scrubjay.serving.folder import NODES, read_cluster
from scrubjay.store_settings import keyring_of, settings_for

PATIENCE_S = 20.0
"""How long the store may take for all that is asked of it."""
CLOCK_OFF_S = 60.0
"""S3 servers refuse requests that are some minutes off; a clock this far off is wrong already."""
MEMORY_LEAST = 512 << 20
ADDRESS_SPACE_LEAST = 4 << 30
"""Trees are mapped, a worker process maps one at a time."""

GOOD, WARNING, BAD = "ok", "warning", "failed"


class Check(NamedTuple):
    """check: its name. found: what is so. next: what to do, None if nothing."""

    check: str
    verdict: str
    found: str
    next: str | None = None


def check_config(config: Config) -> list[Check]:
    """Every check, in the order in which a start would meet them. Never raises for what it finds."""
    found: list[Check] = []
    for name, look in _LOOKS:
        try:
            found += look(config)
        except Invalid:
            raise
        except ScrubjayError as error:
            found.append(_failed(name, error))
        except OSError as error:
            found.append(Check(name, BAD, error.strerror or str(error), "put that right first"))
    return found


def _failed(name: str, error: ScrubjayError) -> Check:
    facts = [str(error.fields[field]) for field in ("error_code", "found", "cause") if error.fields.get(field)]
    step = error.fields.get("next")
    return Check(name, BAD, ": ".join([error.message, *facts[:2]]), str(step) if step else "see docs/CONFIG.md")


def _descriptors(config: Config) -> Iterator[Check]:
    shared = share_out(raise_descriptors(), nodes=len(NODES))
    room = shared.wal_files_per_node * config.storage.wal_file_bytes
    if shared.connections < config.limits.connections:
        yield Check("files", WARNING, f"{shared.limit} descriptors: at most {shared.connections} connections", "raise ulimit -n")
    elif room < config.storage.wal_limit_bytes:
        yield Check(
            "files", WARNING, f"{shared.limit} descriptors: a log grows to {room >> 20} MiB only", "raise ulimit -n or storage.wal_file"
        )
    else:
        yield Check("files", GOOD, f"{shared.limit} descriptors")


def _memory(config: Config) -> Iterator[Check]:
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines() if ":" in line)
    free = int(facts["MemAvailable"].split()[0]) << 10
    if space != resource.RLIM_INFINITY and space < ADDRESS_SPACE_LEAST:
        yield Check(
            "memory",
            BAD,
            f"the address space is limited to {space >> 20} MiB",
            f"raise ulimit -v to {ADDRESS_SPACE_LEAST >> 20} MiB, or lift it",
        )
    elif free < MEMORY_LEAST:
        yield Check("memory", WARNING, f"{free >> 20} MiB are free", f"leave at least {MEMORY_LEAST >> 20} MiB")
    else:
        yield Check("memory", GOOD, f"{free >> 20} MiB are free")


def _folder(config: Config) -> Iterator[Check]:
    folder = Path(config.serve.data).resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Check("data", BAD, f"{there} is no folder that can be written", "give another place with --data")
        return
    free = shutil.disk_usage(there).free
    if free < 8 * len(NODES) * config.storage.wal_file_bytes:
        yield Check("data", BAD, f"{free >> 20} MiB are free on the disk of {there}", "make room")
    elif free < len(NODES) * config.storage.wal_limit_bytes:
        found = (
            f"{free >> 20} MiB are free; logs may grow to {len(NODES) * config.storage.wal_limit_bytes >> 20} MiB while the store is down"
        )
        yield Check("data", WARNING, found, "make room, or lower storage.wal_limit")
    else:
        yield Check("data", GOOD, f"{there}, {free >> 30} GiB free")


def _port(config: Config) -> Iterator[Check]:
    place = f"{config.serve.listen}:{config.serve.port}"
    try:
        try_listening(config.serve.listen, config.serve.port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        step = "stop what listens there, or give another --port" if taken else "give another --listen or --port"
        yield Check("port", BAD, f"{place}: {error.strerror or error}", step)
    else:
        yield Check("port", GOOD, f"{place} is free")


def _clock(config: Config) -> Iterator[Check]:
    folder = Path(config.serve.data).resolve()
    made = read_cluster(RealDisk(folder)) if (folder / "cluster.json").is_file() else None
    behind_s = 0.0 if made is None else (made.created_at - RealClock().wall_us()) / 1e6
    if behind_s > config.consensus.max_clock_offset_us / 1e6:
        yield Check(
            "clock", BAD, f"this clock is {behind_s:.0f} s before the data folder was made", "set it right (runbooks/clock-ahead.md)"
        )
    else:
        yield Check("clock", GOOD, "not before the data folder was made")


def _keys(config: Config) -> Iterator[Check]:
    ring = keyring_of(config)
    if ring is None:
        yield Check("keys", GOOD, "none: the archive is not encrypted")
    else:
        yield Check("keys", GOOD, f"the archive is encrypted: written under {ring.writing.id}, names made with {ring.naming.id}")


def _store(config: Config) -> list[Check]:
    parts = urlsplit(config.archive_url)
    if parts.scheme == "file" and not Path(unquote(parts.path)).is_dir():
        return _new_folder(config, Path(unquote(parts.path)))

    return _asked(config, config.archive_url, _ask)


def _second(config: Config) -> list[Check]:
    """The second archive by itself: what it holds is for the server to compare."""
    url = config.second.url
    if not url:
        return []
    parts = urlsplit(url)
    folder = Path(config.serve.data).resolve()
    own = read_cluster(RealDisk(folder)) if (folder / "cluster.json").is_file() else None
    known = own is not None and own.second == url
    if parts.scheme == "file" and not Path(unquote(parts.path)).is_dir():
        if known:
            return [Check("second", BAD, f"{url} is not there", "put it back (runbooks/two-archives.md)")]
        return [check._replace(check="second") for check in _beside(Path(unquote(parts.path)))]

    async def ask(store: EncryptedStore, env: Env, config: Config) -> list[Check]:
        present = await clusters(store)
        if own is not None and own.attached and own.cluster_id in present and not known:
            raise Unsafe(
                "the second archive is not new", found=f"objects of cluster {own.cluster_id}", next="give an empty place with second.url"
            )
        await probe(store.inner, env)
        return [Check("second", GOOD, f"{store.url} keeps what an archive rests on")]

    return _asked(config, url, ask)


def _asked(config: Config, url: str, ask: Callable[[EncryptedStore, Env, Config], Coroutine[Any, Any, list[Check]]]) -> list[Check]:
    """One archive alone."""

    async def main(tasks: AsyncTasks) -> list[Check]:
        env = Env(RealClock(), RealRand(), tasks)
        settings = settings_for(config, url, timeout=str(min(PATIENCE_S, config.archive.timeout_us / 1e6)))
        store = open_store(url, settings={**settings, SECOND: ""}, create=False)
        try:
            return await within(tasks, ask(store, env, config), seconds=PATIENCE_S, what="the archive does not answer in time")
        finally:
            store.close()

    return run(main)


async def _ask(store: EncryptedStore, env: Env, config: Config) -> list[Check]:
    present = await clusters(store)
    found = [_whose(present, config)]
    for cluster in present:
        with suppress(Corrupt, Missing):  # what is wrong with an identity is for verify to say
            await store.get(build(IdentityKey(cluster)))
    if (bucket := bucket_of(store.inner)) is not None:
        off_s = await bucket.clock_ahead_s(env.clock.wall_us)
        bad = abs(off_s) > CLOCK_OFF_S
        found.append(
            Check("store clock", BAD if bad else GOOD, f"{abs(off_s):.0f} s from this clock", "set the one that is wrong" if bad else None)
        )
    await probe(store.inner, env)  # a few small objects, made and removed again
    return [*found, Check("store", GOOD, f"{store.url} keeps what the archive rests on")]


def _whose(present: list[str], config: Config) -> Check:
    folder = Path(config.serve.data).resolve()
    own = read_cluster(RealDisk(folder)) if (folder / "cluster.json").is_file() else None
    if own is None and present:
        raise Unsafe(
            "the data folder is new and the archive is not",
            found=f"it is of cluster {', '.join(present)}",
            next="give another --archive, or the right --data",
        )
    if own is not None and own.attached and own.cluster_id not in present:
        raise Unsafe(
            "the archive is not this data folder's own",
            found=f"cluster {own.cluster_id} is not there",
            next="give the right one with --archive",
        )
    return Check("archive", GOOD, "new" if own is None or not present else "the data folder's own")


def _new_folder(config: Config, root: Path) -> list[Check]:
    """An archive folder that is not there yet is not made here; whether the disk it will lie on keeps the guarantees is tried beside it."""
    folder = Path(config.serve.data).resolve()
    own = read_cluster(RealDisk(folder)) if (folder / "cluster.json").is_file() else None
    if own is not None and own.attached:
        return [Check("archive", BAD, f"{root} is not there", "put it back (runbooks/archive-gone.md)")]
    return _beside(root)


def _beside(root: Path) -> list[Check]:
    there = next(path for path in (root, *root.parents) if path.is_dir())

    async def main(tasks: AsyncTasks) -> None:
        with tempfile.TemporaryDirectory(prefix=".scrubjay-check-", dir=there) as beside:
            store = bare_store(Path(beside).as_uri())
            try:
                await probe(store, Env(RealClock(), RealRand(), tasks))
            finally:
                store.close()

    run(main)
    return [Check("archive", GOOD, f"new: {root}"), Check("store", GOOD, "its disk keeps what the archive rests on")]


_LOOKS: tuple[tuple[str, Callable[[Config], Any]], ...] = (
    ("files", _descriptors),
    ("memory", _memory),
    ("data", _folder),
    ("port", _port),
    ("clock", _clock),
    ("keys", _keys),
    ("store", _store),
    ("second", _second),
)
