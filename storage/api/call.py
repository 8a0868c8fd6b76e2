"""One API call under way: its input, who asked, and the one answer it will get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Internal, ScrubjayError
from scrubjay.base.times import utc_text
from scrubjay.storage.api import errors
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.shapes import Struct
from scrubjay.storage.api.sigv4 import Signer
from scrubjay.storage.backend import Backend
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.errors import ItemError, SerializationError

encode_json = msgspec.json.Encoder().encode
Body = dict[str, Any]


class Trace(NamedTuple):
    """Where and when one part of an answer was served; becomes our three headers."""

    partition: str
    lsn: int
    timestamp_us: int | None = None


class Api(Protocol):
    """What an operation is given of the API that it came through (`storage/api/api.py`).

    region, account: what ARNs say. endpoint: how clients name this server, "" for as they call it. log_unexpected(operation, error): of what became a 500.
    """

    backend: Backend
    env: Env
    region: str
    account: str
    endpoint: str
    log_unexpected: Callable[[str, BaseException], None]

    def table_arn(self, name: str) -> str: ...

    def table_name(self, name_or_arn: str, operation: str) -> str:
        """The name in a TableName parameter. Raises ApiError if that is an ARN of another account."""
        ...


Send = Callable[[int, bytes, Sequence[tuple[str, str]]], None]
"""send(status, JSON body, our own headers): called once."""


class Call:
    """input: the request's members, read by the operation's shape. raw: as they came. send: gives the answer. host: as the client names this server.

    size: bytes of the request's text. deep: the text has so many braces that values may be nested beyond reason.
    """

    __slots__ = ("answered", "api", "deep", "host", "input", "key_id", "operation", "raw", "region", "send", "shape", "size")

    def __init__(
        self,
        api: Api,
        operation: str,
        shape: Struct,
        raw: Body,
        identity: Signer,
        send: Send,
        *,
        host: str = "",
        deep: bool = False,
        size: int = 0,
    ) -> None:
        self.api = api
        self.operation = operation
        self.shape = shape
        self.raw = raw
        self.input: Body = {}
        self.key_id = identity.key_id
        self.region = identity.region
        self.host = host
        self.deep = deep
        self.size = size
        self.send = send
        self.answered = False

    def reply(self, body: Body, traces: Sequence[Trace] = ()) -> None:
        """The successful answer. body may hold bytes (as base64), nested JSON-able objects and msgspec.Raw."""
        self._send(200, encode_json(body), trace_headers(traces) if traces else ())

    def fail(self, error: BaseException, traces: Sequence[Trace] = ()) -> None:
        """The answer to whatever went wrong; an error nobody foresaw is logged and becomes a 500."""
        answer = self._answer_to(error)
        self._send(answer.status, encode_json(answer.body()), trace_headers(traces) if traces else ())

    def _send(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        if not self.answered:
            self.answered = True
            self.send(status, body, headers)

    def _answer_to(self, error: BaseException) -> ApiError:
        if isinstance(error, ItemError):
            error = errors.serialization(error.message) if isinstance(error, SerializationError) else errors.validation(error.message)
        if isinstance(error, ApiError):
            return self._serialization_first(error) if error.name == "ValidationException" else error
        if isinstance(error, RecursionError):
            # the request nests deeper than it can be looked at
            return errors.serialization()
        if isinstance(error, Internal) or not isinstance(error, ScrubjayError):
            self.api.log_unexpected(self.operation, error)
            return errors.internal()
        return errors.from_store(error)

    def _serialization_first(self, error: ApiError) -> ApiError:
        """A wrong JSON type beats every refused value, wherever it stands in the request."""
        try:
            self.shape.recheck(self.raw)
        except SerializationError as shape_error:
            return errors.serialization(shape_error.message)
        except RecursionError:
            return errors.serialization()
        return error

    def guard(self, step: Callable[..., None]) -> Callable[..., None]:
        """`step` as a callback whose exceptions become this call's answer."""

        def guarded(*arguments: Any) -> None:
            try:
                step(*arguments)
            except Exception as error:  # noqa: BLE001 the answer carries it
                self.fail(error)

        return guarded

    def data_table(self, name: str) -> TableMeta:
        """The table for an item operation. Raises ApiError: it does not exist, or cannot be read or written now."""
        table = self.api.backend.table(self.api.table_name(name, self.operation))
        if table is None or table.status not in ("ACTIVE", "UPDATING") or (table.restore_of is not None and table.restore_of.in_progress):
            raise errors.resource_not_found()
        return table


def trace_headers(traces: Sequence[Trace]) -> list[tuple[str, str]]:
    """Our headers, as comma-separated lists of equal order. The timestamp is there when every part has one."""
    if len(traces) == 1:
        ((partition, lsn, stamp),) = traces
        headers = [("x-scrubjay-partition", partition), ("x-scrubjay-lsn", str(lsn))]
        if stamp is not None:
            headers.append(("x-scrubjay-timestamp", utc_text(stamp)))
        return headers
    headers = [
        ("x-scrubjay-partition", ",".join([trace.partition for trace in traces])),
        ("x-scrubjay-lsn", ",".join([str(trace.lsn) for trace in traces])),
    ]
    stamps = [utc_text(trace.timestamp_us) for trace in traces if trace.timestamp_us is not None]
    if stamps and len(stamps) == len(traces):
        headers.append(("x-scrubjay-timestamp", ",".join(stamps)))
    return headers
