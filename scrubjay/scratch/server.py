"""One `scrubjay serve --dev` as a child process, and the verbs as a user would type them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Unavailable
from scrubjay.machine import monotonic_s, pause
from scrubjay.scratch.mortal import start

READY_S = 60.0
STOP_S = 45.0
VERB_S = 300.0
POLL_S = 0.25


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of ours, so that the defaults hold; AWS variables stay (an S3 archive needs them)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCRUBJAY_")}
    return {**kept, **(extra or {})}


def verb(
    folder: Path,
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout_s: float = VERB_S,
    waits: Callable[[], None] = lambda: None,
) -> tuple[int, dict[str, Any]]:
    """`scrubjay WORDS --json` in a process that dies with this one: its exit code and what it printed. waits: called now and then meanwhile. Raises Unavailable."""
    with tempfile.TemporaryFile(dir=folder) as out, tempfile.TemporaryFile(dir=folder) as log:
        process = start([*words, "--json"], environment=environment, out=out, log=log, folder=folder)
        deadline = monotonic_s() + timeout_s
        try:
            while (code := _left_with(process)) is None:
                if monotonic_s() > deadline:
                    raise Unavailable(f"scrubjay {words[0]} had not ended after {timeout_s:.0f} s")
                waits()
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        log.seek(0)
        try:
            document: dict[str, Any] = json.loads(out.read())
        except ValueError:
            said = log.read().decode(errors="replace")[-500:]
            raise Unavailable(f"scrubjay {' '.join(words)} printed no JSON: {said}", exit=code) from None
    return code, document


def _left_with(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return None


class Served:
    """One process of `scrubjay serve`. folder: where its output files lie, `NAME.out` and `NAME.log`. command: what stands behind `scrubjay`. environment: variables of
    its own. endpoint: where it answers, once it is ready."""

    def __init__(self, folder: Path, command: Sequence[str], *, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.command = list(command)
        self._environment = environment
        self.endpoint = ""
        self._out, self.log = folder / f"{name}.out", folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._asked = False

    def start(self) -> None:
        """Start and wait for `ready`. Raises Unavailable with the end of its log; its field `exit`: how it left."""
        self.begin()
        self.ready()

    def begin(self) -> None:
        self._asked = False
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self.process = start(self.command, environment=clean_environment(self._environment), out=out, log=log, folder=self.folder)

    def ready(self) -> None:
        """See `start`."""
        assert self.process is not None
        deadline = monotonic_s() + READY_S
        while monotonic_s() < deadline:
            lines = self._out.read_text(encoding="utf-8").splitlines(keepends=True)
            ready = next((line for line in lines if line.startswith("ready ") and line.endswith("\n")), None)
            if ready is not None:
                self.endpoint = ready.split()[1]
                return
            left = self.process.poll()
            if left is not None:
                self.process = None
                raise Unavailable(f"the server left with {left}: {self.tail()}", exit=left)
            pause(0.05)
        raise Unavailable(f"the server was not ready within {READY_S:.0f} s: {self.tail()}", exit=None)

    def ask_to_stop(self) -> None:
        """SIGTERM, once in its life: a second one is the order to leave without archiving."""
        if self.process is not None and not self._asked:
            self._asked = True
            self.process.terminate()

    def stop(self) -> int | None:
        """SIGTERM and wait; its exit code, None if it never ran. SIGKILL if it does not leave."""
        self.ask_to_stop()
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def kill(self) -> None:
        """SIGKILL, and wait until it has gone."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-3:]) or "(no log)"


class Server(Served):
    """One `serve --dev`: a whole cluster. folder: holds `data/` and the server's two output files. data: elsewhere, or under another name."""

    def __init__(
        self,
        folder: Path,
        *,
        archive: str | None,
        settings: Sequence[str],
        data: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data or folder / "data"
        self.archive_url = archive or (self.data / "archive").as_uri()
        command = ["serve", "--dev", "--data", str(self.data), "--port", "0"]
        command += ["--archive", archive] if archive else []
        for setting in settings:
            command += ["--set", setting]
        super().__init__(folder, command, name="server" if data is None else f"{data.name}-server", environment=environment)

    def close(self) -> None:
        """`stop`, however it leaves."""
        self.stop()

    @property
    def node_folders(self) -> Sequence[Path]:
        """Data folders of nodes."""
        return (self.data,)

    def verb(self, *words: str, within_s: float = VERB_S) -> tuple[int, dict[str, Any]]:
        """Run `scrubjay WORDS --json` against the server. Raises Unavailable."""
        return verb(self.folder, words, environment=clean_environment({"SCRUBJAY_ENDPOINT": self.endpoint}), timeout_s=within_s)
