"""The demo's thread: steps with a time and a claim each, told as they happen and put into one table at the end. A claim counts only once it was checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from scrubjay.base.errors import ScrubjayError
from scrubjay.machine import monotonic_s
from scrubjay.output import FAILED, INCOMPLETE, MISMATCH, VerbFailure
from scrubjay.text import WIDTH, wrapped

_UNDER = "     "
"""Before every line below a step's number."""


class CheckFailed(Exception):
    """A claim did not hold. exit_code: 2 something is wrong, 3 could not be told, 1 the step itself failed."""

    def __init__(self, message: str, *, exit_code: int = MISMATCH) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(slots=True)
class Step:
    """One step. checked: what was proven, in words; None until it was. facts: numbers for machines."""

    name: str
    title: str
    seconds: float = 0.0
    ok: bool = False
    checked: str | None = None
    commands: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def expect(self, condition: bool, otherwise: str, *, exit_code: int = MISMATCH) -> None:
        """Raises CheckFailed(otherwise) if the condition does not hold."""
        if not condition:
            raise CheckFailed(otherwise, exit_code=exit_code)

    def proven(self, claim: str, **facts: Any) -> None:
        """The step's claim, after everything it says was checked."""
        self.checked = claim
        self.facts.update(facts)

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.name,
            "title": self.title,
            "ok": self.ok,
            "checked": self.checked,
            "seconds": round(self.seconds, 3),
            "commands": self.commands,
            "facts": self.facts,
            "failure": self.failure,
        }


class Story:
    """The steps so far. tell: prints a line for the person watching."""

    def __init__(self, tell: Callable[[str], None], *, clock: Callable[[], float] = monotonic_s) -> None:
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self.steps: list[Step] = []
        self.exit_code = 0
        self.error: dict[str, str | None] | None = None

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def say(self, line: str) -> None:
        """A line under the present step."""
        self._told(line) if len(line) > WIDTH - len(_UNDER) else self._tell(_UNDER + line)

    def _told(self, text: str, *, first: str = _UNDER) -> None:
        """Text as lines that fit a narrow terminal."""
        for line in wrapped(text, first=first, rest=_UNDER):
            self._tell(line)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Time a step and keep its outcome. What goes wrong ends the story: CheckFailed is raised on."""
        step = Step(name, title)
        self.steps.append(step)
        self._told(title, first=f"{len(self.steps):>3}. ")
        began = self._clock()
        try:
            yield step
            step.expect(step.checked is not None, "nothing was checked", exit_code=INCOMPLETE)
            step.ok = True
        except Exception as error:
            step.failure = _in_words(error)
            self._fail(step, error)
            raise CheckFailed(step.failure, exit_code=self.exit_code) from error
        except KeyboardInterrupt:
            step.failure = "interrupted"
            raise
        finally:
            step.seconds = self._clock() - began
            self._told(f"{'checked' if step.ok else 'FAILED'}: {step.checked if step.ok else step.failure} ({step.seconds:.1f} s)")

    def _fail(self, step: Step, error: Exception) -> None:
        if isinstance(error, CheckFailed | VerbFailure):
            self.exit_code = error.exit_code
        else:
            self.exit_code = error.exit_code if isinstance(error, ScrubjayError) else FAILED
        self.error = {
            "code": "CheckFailed" if isinstance(error, CheckFailed) else type(error).__name__,
            "message": f"{step.title}: {step.failure}",
            "asked": f"scrubjay demo, step {step.name}",
            "found": step.failure,
            "next": "the folder is kept: the log of each process in it says more",
        }


def _in_words(error: Exception) -> str:
    if isinstance(error, VerbFailure):
        return f"{error} ({error.error['found']})" if error.error["found"] else str(error)
    if isinstance(error, CheckFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"
