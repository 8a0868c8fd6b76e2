"""A start that was refused, or a server that ended over an error, leaves a line among the kept ones of its data folder: who asks in the morning why nothing serves
has no terminal of the night.

Only where the folder is ours alone: never beside a process that holds it, never in a folder that no cluster has been in. Never fails its caller.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.kept_lines import KeptLines
from scrubjay.base.times import utc_text
from scrubjay.output import VerbFailure, failure_of, failure_of_machine
from scrubjay.serving.folder import FILE, LOG
from scrubjay.serving.lock import FolderLock, data_folder

if TYPE_CHECKING:
    from scrubjay.config import Config

EVENT = "serve ended with an error"


@contextlib.contextmanager
def told_in(folder: Path, config: Config | None) -> Iterator[None]:
    """Around a start that holds the folder. config None: it is not known what of the answer is secret, so what was asked and found is left out."""
    try:
        yield
    except Exception as error:
        _keep(folder, _failure(error), config)
        raise


@contextlib.contextmanager
def told_in_a_folder_at_rest(data: str | None, config: Config | None) -> Iterator[None]:
    """Around what comes before the folder is taken. data: as it was given, None: it was not."""
    try:
        yield
    except (ScrubjayError, VerbFailure) as error:
        with contextlib.suppress(ScrubjayError, OSError):
            if data is not None and ((folder := data_folder(data)) / FILE).exists():
                lock = FolderLock(folder)  # Unsafe: it is served, and that one's log is not ours
                try:
                    _keep(folder, _failure(error), config)
                finally:
                    lock.release()
        raise


def _failure(error: Exception) -> VerbFailure:
    if isinstance(error, VerbFailure):
        return error
    if isinstance(error, ScrubjayError):
        return failure_of(error, asked="scrubjay serve", local=True)
    if isinstance(error, OSError):
        return failure_of_machine(error, asked="scrubjay serve")
    return VerbFailure(repr(error), code="Internal", exit_code=1)


def _keep(folder: Path, failure: VerbFailure, config: Config | None) -> None:
    """One line. A folder that had no cluster gets none: who gave it by mistake finds nothing of ours in it."""
    from scrubjay.secrets_out import Cleaner

    if not (folder / FILE).exists():
        return
    told = {
        name: value for name, value in failure.error.items() if value is not None and (config is not None or name not in ("asked", "found"))
    }
    line = {"at": utc_text(RealClock().wall_us()), "level": "error", "event": EVENT, "part": "serve", "exit": failure.exit_code, **told}
    text = msgspec.json.encode(line, enc_hook=repr).decode()
    KeptLines(folder / LOG).write(text if config is None else Cleaner(config, os.environ).clean(text))
