"""What a node and its storage workers say to each other: msgpack arrays in frames (`base/frames.py`).

`write` worker: Build, Open, Checkpoint, Close, answered in order. `scan` and `check` worker: Pin, Digest, Rows, Dump, TreeCut, ExpiredRows, IndexRows, Release, answered when done; `scan` gives way, and hears Share.
"""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base import errors
from scrubjay.base.frames import framed
from scrubjay.storage.btree.engine import ExpiredWanted, IndexWanted

FRAME_BYTES_MAX = 1 << 30


class Build(msgspec.Struct, tag="build", array_like=True):
    """A new tree, empty (path None) or from the row file at `path` below the node's folder. replace: take the place of a present tree; else it must not exist.
    indexing: as of `TreeEngine.load`."""

    id: int
    partition: str
    path: str | None
    applied: int
    stamp: int
    extra: bytes
    replace: bool
    indexing: bytes = b""


class CopyTree(msgspec.Struct, tag="copy", array_like=True):
    """Make a new tree of the tree file at `path`, as `storage.btree.treefile` says. size, hash: what was read back. move: no other copy wants the file."""

    id: int
    partition: str
    path: str
    size: int
    hash: bytes
    move: bool


class Open(msgspec.Struct, tag="open", array_like=True):
    """Verify a tree and open it for writing."""

    id: int
    partition: str


class Checkpoint(msgspec.Struct, tag="checkpoint", array_like=True):
    """changes: (key, lsn, stamp, item or None), keys ascending. expected: the applied LSN the tree must be at."""

    id: int
    partition: str
    expected: int
    applied: int
    stamp: int
    extra: bytes
    changes: list[tuple[bytes, int, int, bytes | None]]


class Close(msgspec.Struct, tag="close", array_like=True):
    """No answer."""

    id: int
    partition: str


class Pin(msgspec.Struct, tag="pin", array_like=True):
    """Open a read transaction and keep it under this message's id."""

    id: int
    partition: str
    applied: int


class Digest(msgspec.Struct, tag="digest", array_like=True):
    id: int
    pin: int
    lo: bytes
    hi: bytes | None
    bytes_per_second: int | None
    indexed: bool = False


class Rows(msgspec.Struct, tag="rows", array_like=True):
    id: int
    pin: int
    start: bytes
    end: bytes | None
    limit: int


class Dump(msgspec.Struct, tag="dump", array_like=True):
    """Items with start <= key < end as a row file."""

    id: int
    pin: int
    path: str
    start: bytes = b""
    end: bytes | None = None


class TreeCut(msgspec.Struct, tag="cut", array_like=True):
    """Answer: cut, left, total of `storage.btree.split_point.CutPoint`, or None."""

    id: int
    pin: int


class ExpiredRows(msgspec.Struct, tag="expired", array_like=True):
    """One page of the items whose time to live is over, from `start` on. Answer: found, next, rows of `storage.btree.engine.ExpiredPage`."""

    id: int
    pin: int
    start: bytes
    wanted: ExpiredWanted
    rows_per_second: int | None


class IndexRows(msgspec.Struct, tag="index", array_like=True):
    """One page of the rows that a global index has for the items from `start` on. Answer: found, next, rows of `storage.btree.engine.IndexPage`."""

    id: int
    pin: int
    start: bytes
    wanted: IndexWanted


class Release(msgspec.Struct, tag="release", array_like=True):
    """No answer."""

    id: int
    pin: int


class Share(msgspec.Struct, tag="share", array_like=True):
    """How much of a core a worker that gives way may use from now on. No answer."""

    id: int
    share: float


Request = Build | CopyTree | Open | Checkpoint | Close | Pin | Digest | Rows | Dump | TreeCut | ExpiredRows | IndexRows | Release | Share


class Answer(msgspec.Struct, tag="answer", array_like=True):
    """id 0: the worker is ready. error: code of `base.errors`, or "" if it went well; then `value` is by request."""

    id: int
    error: str
    message: str
    fields: dict[str, Any]
    value: Any


_encoder = msgspec.msgpack.Encoder(enc_hook=repr)
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers = msgspec.msgpack.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """One frame."""
    return framed(_encoder.encode(message), most=FRAME_BYTES_MAX, what="storage worker")


def decode_request(body: bytes) -> Request:
    return _requests.decode(body)


def decode_answer(body: bytes) -> Answer:
    return _answers.decode(body)


def failure(id_: int, error: errors.ScrubjayError) -> Answer:
    return Answer(id_, error.code, error.message, error.fields, None)


def error_of(answer: Answer) -> errors.ScrubjayError | None:
    """The error an answer carries, as the class of `base.errors` it was."""
    if not answer.error:
        return None
    return errors.from_code(answer.error, answer.message, answer.fields)
