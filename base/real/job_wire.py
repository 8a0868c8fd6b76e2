"""What `base.real.jobs` and its worker processes say to each other: msgpack in frames (`base/frames.py`)."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base import errors
from scrubjay.base.frames import framed

FRAME_BYTES_MAX = 256 << 20


class JobRequest(msgspec.Struct, tag="run"):
    """Parent to worker: run one job. Sent only while the worker is idle. rests: nobody waits for it, so it keeps to the share."""

    job: str
    arguments: dict[str, Any]
    rests: bool = False


class JobPart(msgspec.Struct, tag="part"):
    """Parent to worker, before the request: the next bytes of its argument `name`. So nothing of some MiB is copied at once while others are served."""

    name: str
    data: bytes


class JobShare(msgspec.Struct, tag="share"):
    """Parent to a worker that gives way, at any time: how much of a core it may use from now on for jobs that rest."""

    share: float


class JobProgress(msgspec.Struct, tag="progress"):
    """Worker to parent, any number before the outcome."""

    facts: dict[str, Any]


class JobResult(msgspec.Struct, tag="result"):
    """Worker to parent: the job returned."""

    value: dict[str, Any]


class JobFailure(msgspec.Struct, tag="failure"):
    """Worker to parent: the job raised. code: of `base.errors`; anything else travels as Internal with its traceback in `trace`."""

    code: str
    message: str
    fields: dict[str, Any]
    trace: str | None = None


Answer = JobProgress | JobResult | JobFailure
Request = JobRequest | JobPart | JobShare

_encoder = msgspec.msgpack.Encoder(enc_hook=repr)
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """One frame. Raises Invalid if it exceeds `FRAME_BYTES_MAX`."""
    return framed(_encoder.encode(message), most=FRAME_BYTES_MAX, what="job")


def decode_request(body: bytes) -> Request:
    """The body of a frame to a worker."""
    return _requests.decode(body)


def decode_answer(body: bytes) -> Answer:
    """The body of a frame from a worker."""
    return _answers.decode(body)


def failure_of(error: BaseException, trace: str) -> JobFailure:
    """The error as it travels: code, message and fields of a ScrubjayError; Internal for anything else."""
    if isinstance(error, errors.ScrubjayError):
        return JobFailure(error.code, error.message, error.fields)
    return JobFailure("Internal", f"{type(error).__name__}: {error}", {}, trace)


def error_of(failure: JobFailure) -> errors.ScrubjayError:
    """The same class with the same fields; Internal if `base.errors` has no such code."""
    fields = dict(failure.fields)
    if failure.trace is not None:
        fields["trace"] = failure.trace
    return errors.from_code(failure.code, failure.message, fields)
