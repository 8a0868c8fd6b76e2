"""What `base.real.fleet_jobs` and the workers of a fleet say to each other: msgpack, carried by Dask as bytes."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import msgspec

from scrubjay.base.real import job_wire


class FleetTask(msgspec.Struct, kw_only=True):
    """One job on its way. id: of this run, for progress and for stopping it. session: of the process that asks. archive: its URL, at which this `cluster` must be found, and
    `seen`: an object that lay there a moment ago, "": none is known."""

    id: str
    session: str
    version: str
    archive: str
    cluster: str
    seen: str = ""
    job: str
    arguments: dict[str, Any]


class FleetAnswer(msgspec.Struct, kw_only=True):
    """worker: address of the one that ran it; files it made are there. gone: a file that the job reads is not there any more, so it was not run."""

    worker: str
    gone: bool
    answer: job_wire.Answer | None


class FilePart(msgspec.Struct):
    """Part of a file. size: of the whole file, in bytes. crc: CRC-32C of data."""

    size: int
    data: bytes
    crc: int


_encoder = msgspec.msgpack.Encoder(enc_hook=repr)


def encode(message: FleetTask | FleetAnswer | FilePart) -> bytes:
    return _encoder.encode(message)


def version() -> str:
    """Of Scrubjay as it is installed here."""
    return metadata.version("scrubjay")


def topic_of(session: str) -> str:
    """Dask's topic for the progress of a session's jobs."""
    return f"scrubjay-{session}"
