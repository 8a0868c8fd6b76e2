"""What a verb is. Each file in `scrubjay/verbs/` makes one `Verb` and holds no logic of its own beyond asking and showing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrubjay.progress import Progress, open_progress

if TYPE_CHECKING:
    from scrubjay.client import AdminClient
    from scrubjay.config import Config


@dataclass(frozen=True, slots=True)
class VerbCall:
    """One invocation: the parsed options and what they give access to."""

    options: argparse.Namespace
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    asked: list[AdminClient] = field(default_factory=list)
    """Clients made for this call."""

    def option(self, name: str, default: Any = None) -> Any:
        return getattr(self.options, name, default)

    @property
    def json(self) -> bool:
        return bool(self.option("json", False))

    @property
    def quiet(self) -> bool:
        return bool(self.option("quiet", False))

    @property
    def endpoint(self) -> str:
        """`--endpoint`, else SCRUBJAY_ENDPOINT, else where the configuration (the server's own file will do) says that it listens. Raises Invalid."""
        given = self.option("endpoint") or self.environ.get("SCRUBJAY_ENDPOINT")
        return str(given) if given else self.config().serve.endpoint

    def client(self) -> AdminClient:
        """Of the endpoint. Raises Failure if that is no URL, Invalid for a configuration that is none."""
        from scrubjay.client import AdminClient

        client = AdminClient(self.endpoint, environ=self.environ)
        self.asked.append(client)
        return client

    def cluster_lines(self) -> list[str]:
        """Which cluster answered, for the head of a report that people read."""
        return [f"cluster {client.cluster or '(unknown)'} at {client.endpoint}" for client in self.asked[-1:]]

    def config(self, options: Mapping[str, Any] | None = None) -> Config:
        """From file, environment, --set and `options` (dotted name -> value). Raises Invalid."""
        from scrubjay.config import load

        return load(path=self.option("config"), env=self.environ, sets=self.option("set") or (), options=options)

    def progress(self) -> Progress:
        return open_progress(quiet=self.quiet)

    def log(self, line: str) -> None:
        """A line for the person at the terminal: stderr, unless --quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)


Result = tuple[int, dict[str, Any] | None]
"""Exit code and the JSON fields of the answer; None: the verb has said everything itself."""


@dataclass(frozen=True, slots=True)
class Verb:
    """words: as typed. exits: code -> what it means here, beside the common 64 and 130. template: every field of the JSON answer with its empty value.

    interrupted: what Ctrl-C leaves behind, for the error's `next`.
    """

    words: tuple[str, ...]
    summary: str
    example: Sequence[str]
    exits: Mapping[int, str]
    template: Mapping[str, Any]
    options: Callable[[argparse.ArgumentParser], object]
    run: Callable[[VerbCall], Result]
    render: Callable[[Mapping[str, Any]], Sequence[str]]
    talks_to_cluster: bool = True
    interrupted: str = "run the verb again"

    @property
    def name(self) -> str:
        return " ".join(self.words)


def no_options(parser: argparse.ArgumentParser) -> None:
    """A verb without options of its own."""
