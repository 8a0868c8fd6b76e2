"""One API call under way: its input, who asked, and the one answer it will get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Internal, ScrubjayError, Unavailable
from scrubjay.base.times import utc_text
from scrubjay.storage.api import errors, guard
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.shapes import Struct
from scrubjay.storage.api.sigv4 import Signer
from scrubjay.storage.backend import Backend
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.dropped import is_dropped
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

    region, account: what ARNs say. users: ids of the access keys, None: signatures are not checked. endpoint: how clients name this server, "" for as they call it. log_unexpected(operation, error): of what became a 500.
    """

    backend: Backend
    env: Env
    region: str
    account: str
    endpoint: str
    users: frozenset[str] | None
    log_unexpected: Callable[[str, BaseException], None]

    def table_arn(self, name: str) -> str: ...

    def table_name(self, name_or_arn: str, operation: str) -> str:
        """The name in a TableName parameter. Raises ApiError if that is an ARN of another account."""
        ...

    def look_again(self, call: Call, error: BaseException) -> None:
        """Answer a call by the catalogue as it is now. error: what came of it by the catalogue as it was known."""
        ...


class Unsure(Exception):
    """By what this process knows of the catalogue the answer would be that something is not there, and the catalogue may have changed since."""


Send = Callable[[int, bytes, Sequence[tuple[str, str]]], None]
"""send(status, JSON body, our own headers): called once."""


class Call:
    """input: the request's members, read by the operation's shape. raw: as they came. role: of the key that signed, None: it is not known. send: gives the answer. host: as the client names this server.

    sure: what is known of the catalogue is no older than this call. size: bytes of the request's text. deep: the text has so many braces that values may be nested beyond reason.
    """

    __slots__ = (
        "answered",
        "api",
        "deep",
        "host",
        "input",
        "key_id",
        "operation",
        "raw",
        "region",
        "role",
        "send",
        "shape",
        "size",
        "sure",
    )

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
        self.role = identity.role
        self.region = identity.region
        self.host = host
        self.deep = deep
        self.size = size
        self.send = send
        self.answered = False
        self.sure = api.backend.alone

    def reply(self, body: Body, traces: Sequence[Trace] = ()) -> None:
        """The successful answer. body may hold bytes (as base64), nested JSON-able objects and msgspec.Raw."""
        self._send(200, encode_json(body), trace_headers(traces) if traces else ())

    def fail(self, error: BaseException, traces: Sequence[Trace] = ()) -> None:
        """The answer to whatever went wrong; an error nobody foresaw is logged and becomes a 500. What may only be so by an old catalogue is looked at again."""
        if not self.sure and (isinstance(error, Unsure) or is_dropped(error)):
            self.api.look_again(self, error)
            return
        answer = self.answer_to(error)
        self._send(answer.status, encode_json(answer.body()), trace_headers(traces) if traces else ())

    def _send(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        if not self.answered:
            self.answered = True
            self.send(status, body, headers)

    def answer_to(self, error: BaseException) -> ApiError:
        """`error` as the API says it; one that nobody foresaw is logged and becomes a 500."""
        if isinstance(error, ItemError):
            error = errors.serialization(error.message) if isinstance(error, SerializationError) else errors.validation(error.message)
        if not self.sure and is_dropped(error):
            # one of several parts: whoever asks for it again is told of the table that has the name now
            error = Unavailable("a table was dropped meanwhile: ask again")
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

    def check_sure(self) -> None:
        """Before it is said that something is not there, or not to be had now. Raises Unsure: the call is run again, by the catalogue as it is."""
        if not self.sure:
            raise Unsure

    def guard(self, step: Callable[..., None]) -> Callable[..., None]:
        """`step` as a callback whose exceptions become this call's answer."""

        def guarded(*arguments: Any) -> None:
            try:
                step(*arguments)
            except Exception as error:  # noqa: BLE001 the answer carries it
                self.fail(error)

        return guarded

    @property
    def account(self) -> str:
        return self.api.account

    def data_table(self, name: str, action: str, touched: NamedItems) -> TableMeta:
        """The table for an item operation. action: what of it a policy would have to allow. Raises ApiError: it does not exist, or cannot be read or written now, or not by this caller."""
        table = self.api.backend.table(self.api.table_name(name, self.operation))
        if table is None or table.status not in ("ACTIVE", "UPDATING") or (table.restore_of is not None and table.restore_of.in_progress):
            self.check_sure()
            if self.role is not None:
                guard.check_absent(self, action, name if name.startswith("arn:") else self.api.table_arn(name))
            raise errors.resource_not_found()
        if touched.index_name is not None and not _reads(table, touched.index_name):
            self.check_sure()
        if self.role is not None:
            guard.check_items(self, table, action, self.api.table_arn(table.name), touched)
        return table

    def check_policy(self, table: TableMeta) -> TableMeta:
        """The table, for an operation on it as a whole. Raises AccessDeniedException."""
        if self.role is not None:
            guard.check(self, table, self.operation, self.api.table_arn(table.name))
        return table

    def check_absent(self, name: str) -> None:
        """Of a table that is not there. Raises AccessDeniedException for who may not know."""
        if self.role is not None:
            guard.check_absent(self, self.operation, name if name.startswith("arn:") else self.api.table_arn(name))


def _reads(table: TableMeta, index: str) -> bool:
    """Whether there is such an index, and it is read."""
    if any(one.name == index for one in table.local_indexes or ()):
        return True
    return any(one.name == index and one.status in ("ACTIVE", "UPDATING") for one in table.global_indexes or ())


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
