"""The DynamoDB API: from one HTTP request to one operation, and from its outcome to one HTTP response.

Order, as AWS: method and content type, JSON, operation name, signature, then the operation's own checks (types, constraints, parameters, table).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.latency import Latency
from scrubjay.storage.api import aws_chunked, errors, guard, limits
from scrubjay.storage.api.call import Call, Unsure, encode_json
from scrubjay.storage.api.describe import ACCOUNT, REGION, table_arn
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.http import (
    JSON_1_0,
    JSON_1_1,
    PLAIN_JSON,
    UNKNOWN_PAGE,
    Headers,
    Request,
    RequestIds,
    Respond,
    Response,
    TooLong,
    Undecodable,
    coded,
    coding_of,
    content_type_of,
    cors_headers,
    request_coding,
    unpacked,
)
from scrubjay.storage.api.operations import (
    OPERATIONS,
    STREAM_OPERATIONS,
    Operation,
    batch,
    items,
    query,
    scan,
    statement_transactions,
    statements,
    transactions,
)
from scrubjay.storage.api.sigv4 import AccessKey, SignatureVerifier, is_chunked
from scrubjay.storage.backend import Backend
from scrubjay.storage.items.partiql.parse import prepare

_decode_json = msgspec.json.Decoder().decode
_APIS = ("DynamoDB_20120810", "DynamoDB_20111205")
_STREAMS_API = "DynamoDBStreams_20120810"
BY_WHAT_IS_KNOWN = frozenset(
    (
        *items.OPERATIONS,
        *batch.OPERATIONS,
        *query.OPERATIONS,
        *scan.OPERATIONS,
        *statements.OPERATIONS,
        *statement_transactions.OPERATIONS,
        *transactions.OPERATIONS,
        *STREAM_OPERATIONS,
        "DescribeLimits",
        "DescribeEndpoints",
    )
)
"""Operations on what tables hold: answered by what is known of those, and by what is so before it is said that something is not there. All others ask what is so first."""
OF_ONE_TABLE = frozenset((*items.OPERATIONS, *query.OPERATIONS, *scan.OPERATIONS, "ExecuteStatement"))
"""Those that have done nothing when they meet a dropped table, and are run again."""
DEEP_BRACES = 62
"""What ARNs say by default, as those of DynamoDB's own local version do."""
_CONTENT_TYPES = (JSON_1_0, PLAIN_JSON, JSON_1_1)


def _ignore(operation: str, error: BaseException) -> None:
    """Default of `log`: nobody listens."""


class DynamoApi:
    """backend: the store. keys: id to Key, or None for "signed by anybody". region, account: what ARNs say. body_bytes_max: of a request, once it is unpacked.

    log(operation, error): told of every error that became a 500 without being foreseen.
    """

    def __init__(
        self,
        backend: Backend,
        env: Env,
        *,
        keys: Mapping[str, AccessKey] | None = None,
        region: str = REGION,
        account: str = ACCOUNT,
        endpoint: str = "",
        body_bytes_max: int = limits.BODY_BYTES_MAX,
        log: Callable[[str, BaseException], None] = _ignore,
    ) -> None:
        self.backend = backend
        self.env = env
        self.region = region
        self.account = account
        self.endpoint = endpoint
        self.log_unexpected = log
        self._body_bytes_max = body_bytes_max
        self.in_flight = 0
        self.counts: dict[tuple[str, int], int] = {}
        """Answers by (operation, status), for /metrics."""
        self.latency: dict[str, Latency] = {}
        """Of each operation, from the request's body being there to its answer."""
        self.users = None if keys is None else frozenset(keys)
        """Ids of the access keys; None: signatures are not checked."""
        self._verifier = SignatureVerifier(env.clock, keys)
        self._ids = RequestIds(env.rand)
        prepare()

    def answered(self) -> int:
        """Requests so far that got an answer."""
        return sum(self.counts.values())

    # -- names ------------------------------------------------------------------------------------------------------------------------

    def table_arn(self, name: str) -> str:
        return table_arn(name, region=self.region, account=self.account)

    def table_name(self, name_or_arn: str, operation: str) -> str:
        """The name in a TableName parameter, which may be an ARN. Raises ApiError if that is of another account (no policy of its tables is known here)."""
        if not name_or_arn.startswith("arn:"):
            return name_or_arn
        scope, _, name = name_or_arn.rpartition(":table/")
        pieces = scope.split(":")
        if len(pieces) == 5 and pieces[4] != self.account:
            raise errors.access_denied(
                f"User: arn:aws:iam::{self.account}:root is not authorized to perform: dynamodb:{operation} on resource: {name_or_arn} "
                f"because no resource-based policy allows the dynamodb:{operation} action"
            )
        return name

    # -- HTTP -------------------------------------------------------------------------------------------------------------------------

    def error(self, status: int, message: str) -> Response:
        """The answer to a request that could not be read."""
        if status == 413:
            fault = errors.request_entity_too_large()
        elif status == 503:
            fault = errors.service_unavailable(message)
        else:
            fault = errors.serialization(message)
            fault.status = status
        return self._response(Request("POST", "/", "", {}, b""), self._ids.next(), fault.status, encode_json(fault.body()), ())

    def handle(self, request: Request, respond: Respond) -> None:
        """Answer `request` through `respond`, now or later."""
        request_id = self._ids.next()
        if request.method != "POST":
            respond(*self._other_method(request, request_id))
            return
        counted = False
        operation = ""
        began_us = self.env.clock.boot_us()

        def send(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
            # The call holds this function, so this function must not hold the call: the two would be garbage that only the collector finds, once a request.
            if counted:
                self.in_flight -= 1
            key = (operation, status)
            self.counts[key] = self.counts.get(key, 0) + 1
            latency = self.latency.get(operation)
            if latency is None:
                latency = self.latency[operation] = Latency()
            latency.took(self.env.clock.boot_us() - began_us)
            respond(*self._response(request, request_id, status, body, headers))

        try:
            body = request.body
            if body and request.headers.get("content-type") != JSON_1_0 and content_type_of(request.headers) not in _CONTENT_TYPES:
                respond(*self._not_found(request, request_id))
                return
            packed = request_coding(request.headers) if "content-encoding" in request.headers else ""
            raw = self._parse(_plain(request) if is_chunked(request.headers) else body) if body and not packed else None
            operation, handler = self._operation_of(request)
            identity = self._verifier.verify("POST", request.path, request.query, request.headers, body)
            if packed:  # only now: nobody else's body is unpacked
                body = self._unpacked(request, packed)
                raw = self._parse(body)
            if type(raw) is not dict:
                raise errors.serialization(_why_not_an_object(raw, operation) if body else None)
            if self.in_flight >= limits.REQUESTS_IN_FLIGHT_MAX:
                raise errors.throttling()
            deep = body.count(b"{") > DEEP_BRACES or body.count(b"[") > DEEP_BRACES
            call = Call(
                self, operation, handler.shape, raw, identity, send, host=request.headers.get("host", ""), deep=deep, size=len(body)
            )
            if identity.role is not None:
                guard.check_unnamed(call, operation)
            self.in_flight += 1
            counted = True
        except ApiError as error:
            send(error.status, encode_json(error.body()), ())
            return
        if call.sure or operation in BY_WHAT_IS_KNOWN:
            self._run(call)
        else:
            self.env.tasks.spawn(_finish(call, self._newest_first(call)), name=f"api {operation}")

    def _run(self, call: Call) -> None:
        try:
            operation = OPERATIONS.get(call.operation) or STREAM_OPERATIONS[call.operation]
            outcome = operation.run(call)
            if outcome is not None:
                self.env.tasks.spawn(_finish(call, outcome), name=f"api {call.operation}")
        except Exception as error:  # noqa: BLE001 the answer carries it
            call.fail(error)

    # -- the catalogue, where others change it too (ADR 0085) -----------------------------------------------------------------------

    async def _newest_first(self, call: Call) -> None:
        """What one process was told to do with a table, another knows before it answers for it. While that cannot be known, what is known is shown."""
        with contextlib.suppress(Unavailable):
            await self.backend.newest(limits.CATALOGUE_FIRST_MS / 1000)
            call.sure = True
        self._run(call)

    def look_again(self, call: Call, error: BaseException) -> None:
        self.env.tasks.spawn(_finish(call, self._again(call, error)), name=f"api {call.operation}")

    async def _again(self, call: Call, error: BaseException) -> None:
        await self.backend.newest(limits.CATALOGUE_MS / 1000)
        call.sure = True
        if isinstance(error, Unsure) or call.operation in OF_ONE_TABLE:
            self._run(call)
        else:  # one of several parts met a table that is dropped; others may be done, and are not done twice
            raise Unavailable("a table was dropped meanwhile: ask again", cause=str(error), unknown=True)

    def _parse(self, body: bytes) -> Any:
        try:
            return _decode_json(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise errors.serialization() from None

    def _unpacked(self, request: Request, coding: str) -> bytes:
        """The body with its `Content-Encoding` undone. Raises ApiError: InternalServerError for a coding that is wrong, as AWS."""
        try:
            return unpacked(_plain(request) if is_chunked(request.headers) else request.body, coding, bytes_max=self._body_bytes_max)
        except Undecodable:
            raise errors.internal("The request body is not what its Content-Encoding says.") from None
        except TooLong:
            raise errors.request_entity_too_large() from None

    def _operation_of(self, request: Request) -> tuple[str, Operation]:
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        known = OPERATIONS if service in _APIS else STREAM_OPERATIONS if service == _STREAMS_API else {}
        handler = known.get(operation)
        if handler is None:
            raise errors.unknown_operation()
        return operation, handler

    def _other_method(self, request: Request, request_id: str) -> Response:
        if request.method == "OPTIONS" and "origin" in request.headers:
            return Response(200, [("x-amzn-RequestId", request_id), *cors_headers(request)], b"")
        if request.method in ("GET", "HEAD") and request.path == "/":
            page = f"healthy: {request.headers.get('host') or f'dynamodb.{self.region}.amazonaws.com'} ".encode()
            return Response(200, [("x-amzn-RequestId", request_id), ("x-amz-crc32", str(zlib.crc32(page))), *cors_headers(request)], page)
        return self._not_found(request, request_id)

    def _not_found(self, request: Request, request_id: str) -> Response:
        headers = [("x-amzn-RequestId", request_id), ("x-amz-crc32", str(zlib.crc32(UNKNOWN_PAGE))), *cors_headers(request)]
        return Response(404, headers, UNKNOWN_PAGE)

    def _response(self, request: Request, request_id: str, status: int, body: bytes, extra: Headers) -> Response:
        request_headers = request.headers
        content_type = request_headers.get("content-type", "")
        if content_type != JSON_1_0:
            media = content_type_of(request_headers)
            content_type = media if media in _CONTENT_TYPES else PLAIN_JSON if not media and request_headers else JSON_1_0
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type), *extra]
        if len(body) >= limits.CODED_BYTES_MIN and "accept-encoding" in request_headers:
            coding = coding_of(request_headers["accept-encoding"])
            if coding:
                body = coded(body, coding)
                headers.append(("Content-Encoding", coding))
        headers.append(("x-amz-crc32", str(zlib.crc32(body))))
        if "origin" in request_headers:
            headers += cors_headers(request)
        return Response(status, headers, body)


def _plain(request: Request) -> bytes:
    """The body with its `aws-chunked` coding undone."""
    try:
        return aws_chunked.decode(request.body).payload
    except ValueError:
        raise errors.serialization() from None


def _why_not_an_object(raw: object, operation: str) -> str:
    if isinstance(raw, list):
        return f"Unrecognized collection type class com.amazonaws.dynamodb.v20120810.{operation}Input"
    return "Unexpected value type in payload"


async def _finish(call: Call, coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except Exception as error:  # noqa: BLE001 the answer carries it
        call.fail(error)
