"""`debug bundle`: what a maintainer needs to understand a server, in one file: what it answers now, and what lies in its data folder. With the server down the
folder alone; what could not be had is listed with the reason. Every text passes one `Cleaner` on its way in, and every part has a bound.

Nothing is changed, and no item is read: but names of tables and objects, and what findings tell of keys, are in it.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from scrubjay import __version__
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.kept_lines import FILE_BYTES_MAX, KeptLines
from scrubjay.base.times import utc_text
from scrubjay.client import AdminClient
from scrubjay.config import Config
from scrubjay.output import VerbFailure
from scrubjay.secrets_out import Cleaner, shown
from scrubjay.serving.folder import FILE, LOG, RECOVER

PART_BYTES_MAX = 4 << 20
"""Of each part, as text; logs have their own bound. So a bundle has at most some 90 MB before it is packed, a few in the ordinary."""
LEDGER_ROWS = 5_000
"""The newest of each table of the ledger."""
FILES_MAX = 20_000
"""Names of the data folder."""
ASKED = ("status", "cluster", "archive/status", "schedule", "scrub/status", "scrub/history", "restore/status", "backup/list", "drill")
"""Calls of the admin API, each a part."""
UNREACHABLE = "Unreachable"
_MANIFEST = "bundle.json"


class Lacking(NamedTuple):
    """A part that could not be had, or not whole."""

    part: str
    why: str


class Bundle:
    """Parts by name, and what is missing of them."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean
        self.parts: dict[str, bytes] = {}
        self.missing: list[Lacking] = []

    def add(self, part: str, text: str, *, limit: int = PART_BYTES_MAX, newest_last: bool = False) -> None:
        """Of a text beyond the limit its beginning is kept, of lines with the newest last their end; the rest is missing."""
        data = self._clean(text).encode(errors="backslashreplace")
        if len(data) > limit:
            self.missing.append(Lacking(part, f"{len(data) - limit} of its {len(data)} bytes are left out"))
            data = data[-limit:].partition(b"\n")[2] if newest_last else data[:limit]
        self.parts[part] = data

    def gather(self, part: str, read: Callable[[], str], *, newest_last: bool = False, limit: int = PART_BYTES_MAX) -> None:
        try:
            self.add(part, read(), newest_last=newest_last, limit=limit)
        except VerbFailure as failure:
            self.lack(part, ": ".join(str(failure.error[field]) for field in ("message", "found") if failure.error[field]))
        except ScrubjayError as error:
            self.lack(part, str(error))
        except OSError as error:
            self.lack(part, error.strerror or str(error))
        except (sqlite3.Error, ValueError) as error:
            self.lack(part, str(error) or type(error).__name__)

    def lack(self, part: str, why: str) -> None:
        self.missing.append(Lacking(part, self._clean(why)))

    def packed(self, name: str, *, at_s: int) -> bytes:
        """As a gzipped tar, everything below the folder `name`."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for part, data in self.parts.items():
                entry = tarfile.TarInfo(f"{name}/{part}")
                entry.size, entry.mtime, entry.mode = len(data), at_s, 0o600
                tar.addfile(entry, io.BytesIO(data))
        return out.getvalue()


def write_bundle(path: Path, config: Config, client: AdminClient, *, environ: Mapping[str, str], data: str | None) -> dict[str, Any]:
    """Gather and write. data: the folder that was asked for, None: the server's, if it lies on this machine, else the configuration's. Returns the fields of the
    verb's answer. Raises Unsafe if there is something at `path`, OSError if it cannot be written."""
    _refuse(path)
    now_us = RealClock().wall_us()
    bundle = Bundle(Cleaner(config, environ).clean)
    cluster = _of_server(bundle, client)
    folder = Path(data) if data is not None else _folder(config, cluster)
    _of_machine(bundle, config, environ, folder)
    _of_folder(bundle, folder)
    missing = [one._asdict() for one in bundle.missing]
    facts = {"version": __version__, "at": utc_text(now_us), "endpoint": client.endpoint, "folder": str(folder), "missing": missing}
    bundle.add(_MANIFEST, _json({**facts, "cluster": client.cluster, "parts": {part: len(text) for part, text in bundle.parts.items()}}))
    packed = bundle.packed(path.name.removesuffix(".tar.gz"), at_s=now_us // 1_000_000)
    _write(path, packed)
    return {
        "file": str(path),
        "bytes": len(packed),
        "server": cluster is not None,
        "folder": str(folder),
        "parts": sorted(bundle.parts),
        "missing": missing,
    }


def _refuse(path: Path) -> None:
    if os.path.lexists(path):
        raise Unsafe(
            "there is something of that name already", asked=str(path), found="a file", next="give another name, or remove it first"
        )


def _write(path: Path, data: bytes) -> None:
    """Whole, or not at all; never over another file, and for its owner alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        _refuse(path)
        raise
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


# ------------------------------------------------------------------ the server


def _of_server(bundle: Bundle, client: AdminClient) -> dict[str, Any] | None:
    """What it answers; the facts of `GET cluster`, None if nobody answers."""
    cluster: dict[str, Any] | None = None
    for call in ASKED:
        part = f"server/{call.replace('/', '-')}.json"
        try:
            found = client.get(call)
        except VerbFailure as failure:
            if failure.error["code"] == UNREACHABLE:
                bundle.lack("server", f"{failure.error['message']}: {failure.error['asked']}: {failure.error['found']}")
                return cluster
            bundle.lack(part, ": ".join(str(failure.error[field]) for field in ("message", "found") if failure.error[field]))
            continue
        if call == "cluster":
            cluster = found
        bundle.add(part, _json(found))
    bundle.gather("server/metrics.txt", lambda: client.text("/metrics"))
    return cluster


def _folder(config: Config, cluster: Mapping[str, Any] | None) -> Path:
    """The data folder of the server that answered, if it lies here; a folder of the same name may be another cluster's."""
    told = Path(str(cluster["data"])) if cluster is not None and cluster.get("data") else None
    if told is not None and cluster is not None:
        try:
            if json.loads((told / FILE).read_bytes())["cluster_id"] == cluster["cluster_id"]:
                return told
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return Path(os.path.realpath(config.serve.data))


# ------------------------------------------------------------------ this machine


def _of_machine(bundle: Bundle, config: Config, environ: Mapping[str, str], folder: Path) -> None:
    bundle.add("config.json", _json(shown(config)))
    ours = sorted(name for name in environ if name.startswith(("SCRUBJAY_", "AWS_")))
    bundle.add("environment.txt", "".join(f"{name}\n" for name in ours))
    bundle.gather("machine.json", lambda: _json(_machine(folder)))
    installed = sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()}, key=str.lower)
    bundle.add("packages.txt", "".join(f"{line}\n" for line in installed))


def _machine(folder: Path) -> dict[str, Any]:
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines() if ":" in line)
    limits = Path("/proc/self/limits").read_text(encoding="ascii").splitlines()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": {name: memory[name].strip() for name in ("MemTotal", "MemAvailable") if name in memory},
        "limits": [" ".join(line.split()) for line in limits],
    }
    if folder.is_dir():
        room = os.statvfs(folder)
        found["disk"] = {"bytes": room.f_blocks * room.f_frsize, "free": room.f_bavail * room.f_frsize, "inodes_free": room.f_favail}
    return found


# ------------------------------------------------------------------ the data folder


def _of_folder(bundle: Bundle, folder: Path) -> None:
    if not folder.is_dir():
        bundle.lack("folder", f"{folder} is no folder of this machine: say where it is with --data")
        return
    log = folder / LOG
    for path in (KeptLines(log).before, log):
        if path.exists() or path == log:  # there is no other log until one is full
            bundle.gather(f"log/{path.name}", partial(_text, path), newest_last=True, limit=FILE_BYTES_MAX)
    for name in (FILE, RECOVER, "findings.json"):
        if (folder / name).exists():
            bundle.gather(f"folder/{name}", partial(_text, folder / name))
    bundle.gather("folder/files.txt", lambda: "".join(_listed(folder)))
    bundle.gather("folder/ledger.jsonl", lambda: "".join(_ledger(folder / "ledger.db")))


def _text(path: Path) -> str:
    """Raises OSError, also for what is no ordinary file."""
    if not path.is_file():
        raise OSError(f"{path} is no file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 4 * PART_BYTES_MAX))
        return file.read(4 * PART_BYTES_MAX).decode(errors="backslashreplace")


def _listed(folder: Path) -> Iterator[str]:
    """Size and name of each file, FILES_MAX of them. What an archive below the folder holds is not listed: the server tells of that."""
    for path in islice(_files(folder), FILES_MAX):
        try:
            yield f"{path.lstat().st_size:>14} {path.relative_to(folder)}\n"
        except OSError as error:  # gone meanwhile
            yield f"{error.strerror or error!s:>14} {path.relative_to(folder)}\n"


def _files(folder: Path) -> Iterator[Path]:
    for at, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if (at, name) != (str(folder), "archive"))
        yield from (Path(at) / name for name in sorted(names))


def _ledger(path: Path) -> Iterator[str]:
    """The newest rows of each table, a JSON object a line; the schema's versions among them. Read only: where nobody has it open, SQLite is told so, or it would
    leave files of ours beside it, which the server's user may not be able to write."""
    if not path.is_file():
        raise OSError("there is none")
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=5.0)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table' order by name")]
        for table in tables:
            quoted = '"' + table.replace('"', '""') + '"'
            cursor = database.execute(f"select * from {quoted} order by rowid desc limit {LEDGER_ROWS}")  # noqa: S608  a name of the schema
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield json.dumps({"table": table, **dict(zip(names, row, strict=True))}, default=repr) + "\n"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
