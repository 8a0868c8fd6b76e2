"""Frames between `base.real.jobs` and its worker processes, over pipes: u32 little-endian length, then msgpack. One machine, one build: no version.

Both ends run the same code (the worker is started from the same interpreter), so the length is the only thing checked.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from scrubjay.base import errors

FRAME_BYTES_MAX = 256 << 20
LENGTH = struct.Struct("<I")


class Request(msgspec.Struct, tag="run"):
    """Parent to worker: run one job. Sent only while the worker is idle."""

    job: str
    arguments: dict[str, Any]


class Progress(msgspec.Struct, tag="progress"):
    """Worker to parent, any number before the outcome."""

    facts: dict[str, Any]


class Result(msgspec.Struct, tag="result"):
    """Worker to parent: the job returned."""

    value: dict[str, Any]


class Failure(msgspec.Struct, tag="failure"):
    """Worker to parent: the job raised. name: class of `base.errors`; anything else travels as Internal with its traceback in `trace`."""

    name: str
    message: str
    fields: dict[str, Any]
    trace: str | None = None


Answer = Progress | Result | Failure

_encoder = msgspec.msgpack.Encoder(enc_hook=repr)
_requests = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """One frame. Raises Invalid if it exceeds `FRAME_BYTES_MAX`."""
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise errors.Invalid("job frame too large", size=len(body), limit=FRAME_BYTES_MAX)
    return LENGTH.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """The body of a frame to a worker."""
    return _requests.decode(body)


def decode_answer(body: bytes) -> Answer:
    """The body of a frame from a worker."""
    return _answers.decode(body)


def failure_of(error: BaseException, trace: str) -> Failure:
    """The error as it travels: class name, message and fields of a ScrubjayError; Internal for anything else."""
    if isinstance(error, errors.ScrubjayError):
        return Failure(type(error).__name__, error.message, error.fields)
    return Failure("Internal", f"{type(error).__name__}: {error}", {}, trace)


def error_of(failure: Failure) -> errors.ScrubjayError:
    """The same class with the same fields; Internal if the class is not one of `base.errors`."""
    kind = getattr(errors, failure.name, errors.Internal)
    if not (isinstance(kind, type) and issubclass(kind, errors.ScrubjayError)):
        kind = errors.Internal
    fields = dict(failure.fields)
    if failure.trace is not None:
        fields["trace"] = failure.trace
    return kind(failure.message, **fields)
