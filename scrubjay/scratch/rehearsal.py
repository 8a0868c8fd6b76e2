"""What a job of a drill has found so far, on its way to the answer (`scrubjay.drills.scratch.answer_of`)."""

from __future__ import annotations

import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scrubjay.base.env import JobContext
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.real.clock import RealClock
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import DIFFERENCES_MAX, Dice, Steps
from scrubjay.drills.scratch import answer_of
from scrubjay.machine import monotonic_s, pause
from scrubjay.output import VerbFailure
from scrubjay.scratch.server import Server

QUICK = (
    "tables.initial_partitions=2",
    "storage.checkpoint_age=1s",
    "storage.wal_file=4MiB",
    "storage.wal_reserve=16MiB",
    "archive.seal_age=1s",
    "archive.seal_age_max=1s",
)
"""Settings of a scratch cluster: what is waited for comes soon, and its disk is somebody else's too, on which 240 MiB of zeros for three logs would be written at each start."""
POLL_S = 0.1
WAIT_S = 60.0


class Rehearsal:
    """folder: the drill's own, absolute. outcome: what is found. Everything that was started ends with `close`."""

    def __init__(self, context: JobContext, arguments: Mapping[str, Any]) -> None:
        self.context, self.arguments = context, arguments
        self.folder = Path(arguments["folder"])
        self.dice = Dice(arguments["seed"])
        self.outcome = DrillOutcome()
        self._steps = Steps(RealClock(), context.progress)
        self._servers: list[Server] = []

    def step(self, name: str) -> Any:
        """A context manager: a step of the report."""
        return self._steps.step(name)

    def server(
        self, *, archive: str, data: str = "data", settings: Sequence[str] = QUICK, environment: Mapping[str, str] | None = None
    ) -> Server:
        """A server that is not started yet. archive: its URL, always given: a default could be anybody's. environment: variables of its own."""
        server = Server(self.folder, archive=archive, settings=settings, data=self.folder / data, environment=environment)
        self._servers.append(server)
        return server

    def differs(self, what: str) -> None:
        if len(self.outcome.differences) < DIFFERENCES_MAX:
            self.outcome.differences.append(what)

    def expect(self, holds: object, otherwise: str) -> None:
        """Something the store of every user rests on: that it does not hold is a mismatch."""
        if not holds:
            self.differs(otherwise)

    def until(self, what: str, question: Callable[[], Any], *, within_s: float = WAIT_S) -> Any:
        """Ask until the answer is something. Raises Unavailable."""
        deadline = monotonic_s() + within_s
        while not (answer := question()):
            if monotonic_s() > deadline:
                raise Unavailable(f"still not after {within_s:.0f} s: {what}")
            self.context.progress({"phase": what})
            pause(POLL_S)
        return answer

    def failed(self, error: Exception) -> str:
        """What ended it, in words. Content that is damaged or lost is a mismatch, as in every drill, and no mere hindrance. What was found before counts, whatever it is."""
        if isinstance(error, (Corrupt, Missing)):
            self.differs(str(error))
        if isinstance(error, ScrubjayError):
            return str(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"

    def close(self) -> None:
        for server in self._servers:
            server.kill()

    def answer(self, error: str | None) -> dict[str, Any]:
        return answer_of(self.outcome, self._steps.done, error)


@contextmanager
def _failures() -> Iterator[None]:
    """What a machine or a child may do to a client of it, typed. Raises Unavailable."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (VerbFailure, BotoCoreError, ClientError, OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def rehearse(context: JobContext, arguments: Mapping[str, Any], work: Callable[[Rehearsal], None]) -> dict[str, Any]:
    """Run a drill's work to its answer; what was started has ended then, whatever came of it."""
    rehearsal = Rehearsal(context, arguments)
    error: str | None = None
    try:
        with _failures():
            work(rehearsal)
    except Exception as failed:  # noqa: BLE001  a fault of the drill's own must not hush up what it had found
        error = rehearsal.failed(failed)
    finally:
        rehearsal.close()
    return rehearsal.answer(error)
