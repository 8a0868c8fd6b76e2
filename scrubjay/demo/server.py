"""The demo's cluster: `scrubjay serve --dev` as a child process, and the verbs as a user would type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scrubjay.demo.story import CheckFailed, Step
from scrubjay.machine import monotonic_s, pause
from scrubjay.output import FAILED

READY_S = 60.0
STOP_S = 45.0
VERB_S = 300.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of ours, so that the demo shows the defaults; AWS variables stay (an S3 archive needs them)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCRUBJAY_")}
    return {**kept, **(extra or {})}


class Server:
    """One `serve --dev`. folder: holds `data/` and the server's two output files."""

    def __init__(self, folder: Path, *, archive: str | None, settings: Sequence[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.endpoint = ""
        self.command = ["serve", "--dev", "--data", str(self.data), "--port", "0"]
        self.command += ["--archive", archive] if archive else []
        for setting in settings:
            self.command += ["--set", setting]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait for `ready`. Raises CheckFailed with the end of its log."""
        out, log = self.folder / "server.out", self.folder / "server.log"
        with out.open("wb") as out_file, log.open("ab") as log_file:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [sys.executable, "-m", "scrubjay", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=log_file,
                env=clean_environment(),
                start_new_session=True,
            )
        deadline = monotonic_s() + READY_S
        while monotonic_s() < deadline:
            lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
            ready = next((line for line in lines if line.startswith("ready ") and line.endswith("\n")), None)
            if ready is not None:
                self.endpoint = ready.split()[1]
                return
            if self._process.poll() is not None:
                raise CheckFailed(f"the server left with {self._process.returncode}: {_tail(log)}", exit_code=FAILED)
            pause(0.05)
        raise CheckFailed(f"the server was not ready within {READY_S:.0f} s: {_tail(log)}", exit_code=FAILED)

    def stop(self) -> int | None:
        """SIGTERM and wait; its exit code, None if it never ran. SIGKILL if it does not leave."""
        process = self._process
        if process is None:
            return None
        self._process = None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def verb(self, step: Step, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `scrubjay WORDS --json` against the server; noted in the step."""
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "scrubjay", *words, "--json"],
            env=clean_environment({"SCRUBJAY_ENDPOINT": self.endpoint}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERB_S,
            check=False,
        )
        step.commands.append({"command": "scrubjay " + " ".join(words), "exit": done.returncode})
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise CheckFailed(f"scrubjay {' '.join(words)} printed no JSON: {done.stderr[-500:]}", exit_code=FAILED) from None
        return done.returncode, document


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(lines[-3:]) or "(no log)"
