"""The access keys of the server that rehearses, handed on to the worker of its drills in the worker's environment.

What is recovered from the archive of a server that asks for keys must ask for the same: else whoever has an account on the machine could read every table of it while a drill
compares them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from scrubjay.config import Config

HANDED_ON = "SCRUBJAY_DRILL_KEYS"
"""Variable (JSON). Not for users: the worker is started with it. Children of the worker do not see it (`scratch.server.clean_environment`)."""


class ClientKey(NamedTuple):
    """What a request is signed with."""

    id: str
    secret: str


ANYBODY = ClientKey("demo", "demo")
"""As good as any where no keys are configured: only the form of a signature is looked at then."""


def for_the_worker(config: Config) -> dict[str, str]:
    """Variables for the worker of drills; they hold secrets. Empty where the server asks for no key."""
    if not config.serve.auth:
        return {}
    return {HANDED_ON: json.dumps([{"id": key.id, "secret": key.secret, "role": key.role} for key in config.auth.keys])}


def for_the_server(handed_on: Mapping[str, str] | None = None) -> dict[str, str]:
    """In the worker: variables with which a server of its own asks for the same keys. handed_on: this process's environment by default."""
    keys = _handed_on(handed_on)
    if not keys:
        return {}
    # A JSON text is a TOML text, with the same escapes.
    listed = ", ".join("{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in key.items()) + "}" for key in keys)
    return {"SCRUBJAY_SERVE_AUTH": "true", "SCRUBJAY_AUTH_KEYS": f"[{listed}]"}


def for_the_client(handed_on: Mapping[str, str] | None = None) -> ClientKey | None:
    """In the worker: what its own client signs with. None: no keys are configured."""
    keys = _handed_on(handed_on)
    return ClientKey(keys[0]["id"], keys[0]["secret"]) if keys else None


def _handed_on(environment: Mapping[str, str] | None) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((os.environ if environment is None else environment).get(HANDED_ON, "[]"))
    return found
