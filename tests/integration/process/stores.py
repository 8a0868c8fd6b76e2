"""A real S3 server that a test may kill, freeze and bring back on the same address with the same data."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.fixtures import child
from tests.fixtures.s3 import S3Server, start_minio, start_seaweed
from tests.fixtures.wait import wait_for

STARTERS: dict[str, Callable[[Path], tuple[S3Server, subprocess.Popen[bytes]]]] = {"minio": start_minio, "seaweed": start_seaweed}


class MortalStore:
    """kind: minio or seaweed. Skips the test if its server cannot be had."""

    def __init__(self, kind: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.server, self._process = STARTERS[kind](folder)
        self._command = self._process.args
        self._env = _environment(self._process.pid)
        self.bucket = self.server.make_bucket()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It accepts connections and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def back(self) -> None:
        """Start it again and wait until it answers."""
        assert isinstance(self._command, list)
        self._process = child.start(self._command, log=self._folder / "again.log", env=self._env, cwd=self._folder)
        wait_for(lambda: self.server.client().bucket_exists(self.bucket.name), timeout=60, ignoring=(Exception,))

    def close(self) -> None:
        self.thaw()
        self.kill()


def _environment(pid: int) -> dict[str, str]:
    """What the process was started with."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in raw if "=" in line)
