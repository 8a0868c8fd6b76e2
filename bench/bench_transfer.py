"""How fast a table goes out and comes in, and in how much memory: `export`, then `import` of that export, of a table of random items.

    .venv/bin/python -m bench.bench_transfer [--mib 64] [--item-bytes 1000] [--partitions 2] [--format dynamodb-json]

A server of its own below a temporary folder. Prints one JSON object; sizes are of keys and items, once. `anon_mib`: the most that one of the server's workers of each kind held
of its own meanwhile, looked at every 50 ms; `mapped_mib`: and of files, which the kernel takes back (a storage worker maps its trees, so that grows with them).
`server_rss_mib`: by how much the server's own process grew. `cpu_s`: user and system time of all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.bench_recover import fill, scrubjay

LOOK_S = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid: int) -> float:
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def kind_of(pid: int) -> str:
    """Of a worker: the module that it runs."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return next((word.decode().removeprefix("scrubjay.") for word in words if word.startswith(b"scrubjay.")), "other")


def held_mib(pid: int) -> dict[str, int]:
    """Of its own, and of files."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines[field].split()[0]) >> 10 for name, field in (("anon_mib", "RssAnon"), ("mapped_mib", "RssFile"))}


@contextmanager
def watched(pid: int) -> Iterator[dict[str, Any]]:
    """seconds, cpu_s, anon_mib, mapped_mib, server_rss_mib of what happens meanwhile."""
    found: dict[str, Any] = {"server_rss_mib": 0.0, "anon_mib": {}, "mapped_mib": {}}
    before = rss_mib(pid)
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            try:
                found["server_rss_mib"] = max(found["server_rss_mib"], round(rss_mib(pid) - before))
                for one in family(pid)[1:]:
                    kind = kind_of(one)
                    for name, size in held_mib(one).items():
                        found[name][kind] = max(found[name].get(kind, 0), size)
            except (OSError, ValueError, KeyError):  # a worker that just ended
                continue

    thread = threading.Thread(target=look)
    thread.start()
    began, cpu = time.perf_counter(), cpu_s(pid)
    try:
        yield found
    finally:
        found["seconds"], found["cpu_s"] = round(time.perf_counter() - began, 2), round(cpu_s(pid) - cpu, 2)
        over.set()
        thread.join()


def verb(port: int, *words: str) -> dict[str, Any]:
    done = subprocess.run(scrubjay(*words, "--json", "--endpoint", f"http://127.0.0.1:{port}"), stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def measured(port: int, pid: int, *words: str) -> dict[str, Any]:
    with watched(pid) as found:
        report = verb(port, *words)
    return {**found, "rows": report["rows"], "files_mb": round(report["bytes"] / 1e6, 1), "verdict": report["verdict"]}


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = scrubjay("serve", "--dev", "--data", str(folder / "data"), "--archive", f"file://{folder}/archive", "--port", "0")
    settings = {"SCRUBJAY_LOG": "error", "SCRUBJAY_TABLES_INITIAL_PARTITIONS": str(options.partitions)}
    (folder / "out").mkdir()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            uvloop.run(fill(port, options))
            exported = measured(port, server.pid, "export", "bench-0", "--to", f"file://{folder}/out", "--format", options.format)
            imported = measured(port, server.pid, "import", f"file://{folder}/out", "--table", "back")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(400)
    size_mb = exported["rows"] * (options.item_bytes + 30) / 1e6
    for one in (exported, imported):
        one["rows_mb_per_s"] = round(size_mb / one["seconds"], 2)
        one["rows_mb_per_cpu_s"] = round(size_mb / one["cpu_s"], 2)
        one["rows_per_s"] = round(one["rows"] / one["seconds"])
    return {"rows_mb": round(size_mb), "export": exported, "import": imported, "load_average": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--item-bytes", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--format", default="dynamodb-json")
    options = parser.parse_args()
    options.tables = 1
    with tempfile.TemporaryDirectory() as scratch:
        print(
            json.dumps({"asked": {name: str(value) for name, value in vars(options).items()}, **measure(Path(scratch), options)}, indent=2)
        )


if __name__ == "__main__":
    main()
