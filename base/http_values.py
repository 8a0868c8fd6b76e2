"""HTTP requests and responses as values, shared by the server in `base.real.http_server` and what it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, str]]
Respond = Callable[[int, Headers, bytes], None]
"""respond(status, headers, body): exactly once. Length, date and connection headers are the server's."""


@dataclass(slots=True)
class Request:
    """method: upper case. path, query: as sent, without '?'. headers: names in lower case, repeated ones joined by ','. body: transfer coding undone."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str = ""


class Response(NamedTuple):
    status: int
    headers: Headers
    body: bytes


Handler = Callable[[Request], Awaitable[Response]]
"""Answers the requests of one route (a path prefix)."""


class Application(Protocol):
    """What a server serves."""

    def handle(self, request: Request, respond: Respond) -> None: ...

    def error(self, status: int, message: str) -> Response:
        """The answer to something that never became a request (malformed, too large, too slow, too many)."""
        ...


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bytes, counts and milliseconds; the server refuses what goes beyond. The values are in `storage.api.limits`."""

    url_bytes: int
    header_bytes: int
    header_count: int
    body_bytes: int
    buffered_bytes: int
    connections: int
    pipeline: int
    write_buffer_bytes: int
    headers_timeout_ms: int
    body_timeout_ms: int
    body_stall_timeout_ms: int
    idle_timeout_ms: int
    write_stall_timeout_ms: int
