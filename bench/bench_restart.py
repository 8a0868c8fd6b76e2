"""SIGKILL under load, and how long each start takes until `ready`: median, worst, and where the time goes. And what processes cost that are started and do next to nothing.

    python -m bench.bench_restart [--lives 30] [--seconds 1.5] [--writers 8] [--folder DIR]
    python -m bench.bench_restart --processor 9

A life: `serve --dev` with the default configuration is started, `--writers` boto3 clients put small items (one request after another) for `--seconds`, SIGKILL.
Every acknowledged item is read back at the end. The parts of a start are what the server itself says in its log line `started`.

With `--processor` each of a server on a new folder (until it is ready, then SIGTERM, its workers included) and of some verbs runs so many times, after once for the compiled files;
told is the time of a processor, user and system.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READY_PATIENCE_S = 60.0
TABLE = "lives"


class Start(NamedTuple):
    """seconds: from exec to `ready`. parts: name -> milliseconds, as the server logged them. wal_files: of all nodes, when it was ready. wal_bytes: their size."""

    seconds: float
    parts: dict[str, float]
    wal_files: int
    wal_bytes: int


class Lives:
    """A server that is killed again and again, and those who write to it. acknowledged: key -> value of every put that was answered."""

    def __init__(self, folder: Path, *, writers: int, settings: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.acknowledged: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._settings = settings
        self._clients = [self._client() for _ in range(writers)]
        self._counts = [0] * writers
        self._answered = [0] * writers
        self._stop = threading.Event()

    def _client(self) -> Any:
        return boto3.client(
            "dynamodb",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10),
        )

    def start(self) -> Start:
        """Raises RuntimeError if the server ends, or is not ready in READY_PATIENCE_S."""
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", str(self.folder / "data"), "--port", str(self._port)]
        for setting in self._settings:
            command += ["--set", setting]
        log = self.folder / "log"
        out = self.folder / "out"
        began = time.perf_counter()
        with log.open("wb") as errors, out.open("wb") as answers:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=answers, stderr=errors, env={**os.environ, "SCRUBJAY_LOG": "info"}
            )
        while not out.read_bytes().startswith(b"ready"):
            if self.process.poll() is not None or time.perf_counter() - began > READY_PATIENCE_S:
                self.kill()
                raise RuntimeError(f"not ready after {time.perf_counter() - began:.1f} s: {log.read_text()[-2000:]}")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        parts: dict[str, float] = {}
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if said.get("event") == "started":
                    parts = {name: value for name, value in said.items() if name.endswith("_ms")}
        files = [path.stat().st_size for path in (self.folder / "data" / "nodes").glob("*/wal/*.wal")]
        return Start(seconds, parts, len(files), sum(files))

    def create_table(self) -> None:
        self._clients[0].create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        while self._clients[0].describe_table(TableName=TABLE)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.02)

    def write(self, seconds: float) -> None:
        """Put items from every writer until the time is over, then SIGKILL while they go on."""
        self._stop.clear()
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(len(self._clients))]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.kill()
        self._stop.set()
        for thread in threads:
            thread.join()

    def _write(self, number: int) -> None:
        client = self._clients[number]
        while not self._stop.is_set():
            self._counts[number] += 1
            key, value = f"{number}-{self._counts[number] % 500}", self._counts[number]
            try:
                client.put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"N": str(value)}, "pad": {"S": "x" * 200}})
            except (BotoCoreError, ClientError):
                continue
            self.acknowledged[key] = value
            self._answered[number] += 1

    @property
    def answered(self) -> int:
        """Puts that were acknowledged, in all lives."""
        return sum(self._answered)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def lost(self) -> list[str]:
        """Keys whose acknowledged value is not there (an unacknowledged later one may be)."""
        client = self._clients[0]
        found = {
            key: client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=True).get("Item", {}).get("v", {"N": "0"})["N"]
            for key in self.acknowledged
        }
        return [key for key, value in found.items() if int(value) < self.acknowledged[key]]


VERBS = (("--version",), ("status",), ("schedule", "list"), ("config", "check"))


def processor_ms(command: Sequence[str], *, once_ready: Callable[[str], None] | None = None, env: Mapping[str, str] | None = None) -> float:
    """Milliseconds of a processor that a process and its children took. once_ready: called with the URL when it says so, and then it is ended."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode().split()
        if once_ready is not None:
            once_ready(said[1])
            process.terminate()
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return (used.ru_utime + used.ru_stime) * 1e3


def processor(folder: Path, rounds: int) -> None:
    """Print what starts cost."""
    ours = [sys.executable, "-m", "scrubjay"]
    told: dict[str, list[float]] = {}

    def asked(url: str) -> None:
        for verb in VERBS:
            took = processor_ms([*ours, *verb], env={**os.environ, "SCRUBJAY_ENDPOINT": url})
            told.setdefault(f"scrubjay {' '.join(verb)}", []).append(took)

    def nothing(url: str) -> None:
        del url

    for nth in range(rounds + 1):
        whole = [*ours, "serve", "--dev", "--port", "0", "--data"]
        told.setdefault("serve --dev", []).append(processor_ms([*whole, f"{folder}/{nth}"], once_ready=nothing))
        processor_ms([*whole, f"{folder}/{nth}-asked"], once_ready=asked)
    for name, values in told.items():
        print(
            f"{name:24s} median {statistics.median(values[1:]):6.0f} ms, least {min(values[1:]):6.0f}, most {max(values[1:]):6.0f} of {rounds}"
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lives", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--processor", type=int, metavar="ROUNDS")
    options = parser.parse_args()
    if options.processor:
        with tempfile.TemporaryDirectory(prefix="restart-", dir=options.folder) as name:
            processor(Path(name), options.processor)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="restart-", dir=options.folder))
    lives = Lives(folder, writers=options.writers)
    starts: list[Start] = []
    try:
        lives.start()
        lives.create_table()
        for life in range(options.lives):
            lives.write(options.seconds)
            start = lives.start()
            starts.append(start)
            parts = "  ".join(f"{name.removesuffix('_ms')} {value:.0f}" for name, value in start.parts.items())
            print(
                f"start {life + 1:2d}: {start.seconds:5.2f} s  load {os.getloadavg()[0]:4.1f}  {start.wal_files:3d} WAL files, "
                f"{start.wal_bytes / 1e6:.0f} MB  acknowledged {lives.answered}  ms: {parts}",
                flush=True,
            )
        lost = lives.lost()
    finally:
        lives.kill()
        shutil.rmtree(folder, ignore_errors=True)
    seconds = [start.seconds for start in starts]
    print(
        f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)} starts; at most {max(start.wal_files for start in starts)} WAL files, "
        f"{max(start.wal_bytes for start in starts) / 1e6:.0f} MB; {lives.answered} puts acknowledged, lost {len(lost)} of the {len(lives.acknowledged)} items' last"
    )
    for name in dict.fromkeys(name for start in starts for name in start.parts):
        values = [start.parts[name] for start in starts if name in start.parts]
        print(f"  {name.removesuffix('_ms'):20s} median {statistics.median(values):6.0f} ms, worst {max(values):6.0f} ms")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
