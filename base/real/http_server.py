"""HTTP/1.1 on asyncio and httptools: bytes in, `Request` to the application, bytes out in order.

One protocol object per connection, no task or future per request: the application answers through a callback and the answer is written at once. What a
peer may cost is bounded (`HttpLimits`): header and body bytes, requests under way, time for headers, body, idling and
reading answers. One sweep a second looks at all deadlines, so an idle or slow connection costs no timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from scrubjay.base.http_values import Application, Handler, Headers, HttpLimits, Request, Respond
from scrubjay.base.real.addresses import listening

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SWEEP_SECONDS_MAX = 1.0
_LINGER_MS = 2_000


class HttpServer:
    """listen: address. port: 0 for any free one (see `port` after `start`). api: answers everything that is not below a prefix in `routes`.

    routes: path prefix ("/healthz", "/admin/v1/") to a coroutine function from request to response.

    More than 15 fields: what was configured, and the counts that the metrics page shows.
    """

    def __init__(
        self,
        listen: str,
        port: int,
        api: Application,
        routes: Mapping[str, Handler],
        *,
        limits: HttpLimits,
    ) -> None:
        self.listen = listen
        self.port = port
        self.api = api
        self.routes = sorted(routes.items(), key=lambda route: -len(route[0]))
        self.limits = limits
        self.connections: set[_Connection] = set()
        self.buffered_bytes = 0
        self.accepted = 0
        self.refused = 0
        self.timed_out = 0
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.date = ""
        self.now = 0.0
        shortest_ms = min(limits.headers_timeout_ms, limits.body_stall_timeout_ms, limits.idle_timeout_ms, limits.write_stall_timeout_ms)
        self._sweep_seconds = min(_SWEEP_SECONDS_MAX, shortest_ms / 4000)

    async def start(self) -> None:
        """Bind and serve. Raises OSError if the address is taken."""
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(lambda: _Connection(self), sock=listening(self.listen, self.port), backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweep()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Accept nothing more, let requests under way finish for `grace_seconds`, then close everything."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        end = self.loop.time() + grace_seconds
        while self.connections and self.loop.time() < end:  # noqa: ASYNC110 the last connection to go sets no event, and this is shutdown
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._tasks):
            task.cancel()

    def run_route(self, handler: Handler, request: Request, respond: Respond) -> None:
        """Answer `request` from a route's coroutine."""

        async def run() -> None:
            try:
                response = await handler(request)
            except asyncio.CancelledError:
                response = self.api.error(503, "shutting down")
                respond(*response)
                raise
            except Exception:  # noqa: BLE001 the peer must get an answer
                response = self.api.error(500, "the request failed")
            respond(*response)

        task = self.loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        self.now = self.loop.time()
        self.date = formatdate(usegmt=True)
        for connection in list(self.connections):
            if connection.deadline < self.now:
                self.timed_out += 1
                connection.timed_out()
        self._sweeper = self.loop.call_later(self._sweep_seconds, self._sweep)


class _Slot:
    """One request's place in the order of answers. data: the answer's bytes, once there."""

    __slots__ = ("connection", "data", "head", "keep_alive", "version")

    def __init__(self, connection: _Connection, *, head: bool, keep_alive: bool, version: str) -> None:
        self.connection = connection
        self.head = head
        self.keep_alive = keep_alive
        self.version = version
        self.data: bytes | None = None

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        if self.data is None:
            self.data = self.connection.encode(self, status, headers, body)
            self.connection.flush()


_IDLE, _HEADERS, _BODY, _REFUSED = range(4)


class _Connection(asyncio.Protocol):
    """State of the message being read: idle, in its headers, in its body, or refused (the rest of the input is dropped).

    More than 25 methods, more than 15 fields: asyncio's and the parser's callbacks, ten of them, and the state of one message between them.
    """

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.limits = server.limits
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.peer = ""
        self.slots: deque[_Slot] = deque()
        self.state = _IDLE
        self.deadline = 0.0
        self._parser: Any = None
        self._closing = False
        self._eof = False
        self._lingering = False
        self._reading_paused = False
        self._writing_paused = False
        self._state_end = 0.0
        self._message = 0
        self._body_bytes = 0
        self._declined = b""
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._fed_bytes = 0
        self._header_bytes = 0
        self._header_count = 0
        self._chunks: list[bytes] = []
        self._body_bytes = 0

    # -- transport --------------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        server = self.server
        server.accepted += 1
        if len(server.connections) >= self.limits.connections or server.closing:
            server.refused += 1
            self._write_error(503, "too many connections")
            self.transport.close()
            return
        server.connections.add(self)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.transport.set_write_buffer_limits(high=self.limits.write_buffer_bytes)
        self._parser = httptools.HttpRequestParser(self)
        self._enter(_IDLE, self.limits.headers_timeout_ms)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._drop_body()
        self._closing = True
        self._parser = None
        self.slots.clear()

    def eof_received(self) -> bool:
        # A half-closed peer may still read the answers it is owed.
        self._closing = True
        self._eof = True
        if self.slots and not self._lingering:
            return True
        self.transport.close()
        return False

    def pause_writing(self) -> None:
        self._writing_paused = True
        self.deadline = self.server.loop.time() + self.limits.write_stall_timeout_ms / 1000
        self._pace()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.deadline = self._state_end
        self._pace()

    def _pace(self) -> None:
        """Read on only while answers drain and not too many requests wait."""
        pause = self._writing_paused or len(self.slots) >= self.limits.pipeline
        if pause != self._reading_paused and not self.transport.is_closing():
            self._reading_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _enter(self, state: int, timeout_ms: int) -> None:
        self.state = state
        self._state_end = self.server.loop.time() + timeout_ms / 1000
        if not self._writing_paused:
            self.deadline = self._state_end

    def timed_out(self) -> None:
        """The deadline passed: say so if a request was half sent, then close."""
        if self._writing_paused:
            self.abort()
            return
        if self.slots:
            # the peer waits for us, not we for it
            self._enter(self.state, self.limits.idle_timeout_ms)
            return
        if self._lingering:
            self.transport.close()
        elif self.state in (_HEADERS, _BODY):
            self._refuse(408, "the request was not complete in time")
        else:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def close_when_idle(self) -> None:
        self._closing = True
        if not self.slots and self.state in (_IDLE, _REFUSED):
            self.transport.close()

    # -- reading ----------------------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.state == _REFUSED or self._parser is None:
            return
        message = self._message if self.state == _HEADERS else -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We speak HTTP/1.1 only. The parser has given up at the end of the headers, so the request is read again without the offer.
            self._parser = httptools.HttpRequestParser(self)
            again = self._declined + data[upgrade.args[0] :]
            self._declined = b""
            if again and self.state != _REFUSED:
                self.data_received(again)
            return
        except httptools.HttpParserCallbackError as error:
            if self.state != _REFUSED:
                self._refuse(400, _cause(error))
            return
        except httptools.HttpParserError:
            if self.state != _REFUSED:
                self._refuse(400, "the request is not well-formed HTTP")
            return
        if self.state == _HEADERS and message == self._message:
            # the parser keeps an unfinished header line to itself: what was fed for it counts
            self._fed_bytes += len(data)
            if self._fed_bytes > self.limits.header_bytes + self.limits.url_bytes:
                self._refuse(431, "the request headers are too large")
        elif self.state == _BODY:
            stall_end = self.server.loop.time() + self.limits.body_stall_timeout_ms / 1000
            if not self._writing_paused:
                self.deadline = min(self._state_end, stall_end)

    def on_message_begin(self) -> None:
        if self.state == _REFUSED:
            return
        self._message += 1
        self._reset()
        self._enter(_HEADERS, self.limits.headers_timeout_ms)

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self.limits.url_bytes:
            self._refuse(414, "the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state == _REFUSED:
            return
        self._header_count += 1
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.header_bytes or self._header_count > self.limits.header_count:
            self._refuse(431, "the request headers are too large")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before},{text}"

    def on_headers_complete(self) -> None:
        if self.state == _REFUSED:
            return
        headers = self._headers
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limits.body_bytes:
            self._refuse(413, "the request body is too large")
            return
        expect = headers.get("expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                self._refuse(417, "only 100-continue can be expected")
                return
            if not self.slots and self._parser.get_http_version() == "1.1":
                self.transport.write(_CONTINUE)
        self._enter(_BODY, self.limits.body_timeout_ms)

    def on_body(self, body: bytes) -> None:
        if self.state == _REFUSED:
            return
        self._body_bytes += len(body)
        self.server.buffered_bytes += len(body)
        self._chunks.append(body)
        if self._body_bytes > self.limits.body_bytes:
            self._refuse(413, "the request body is too large")
        elif self.server.buffered_bytes > self.limits.buffered_bytes:
            self._refuse(503, "too many request bodies under way")

    def on_message_complete(self) -> None:
        if self.state == _REFUSED:
            return
        parser = self._parser
        method = parser.get_method().decode("latin-1")
        if parser.should_upgrade() and method != "CONNECT":
            kept = [f"{name}: {value}\r\n" for name, value in self._headers.items() if name not in ("upgrade", "connection", "expect")]
            head = f" HTTP/{parser.get_http_version()}\r\n{''.join(kept)}\r\n"
            self._declined = method.encode() + b" " + self._url + head.encode("latin-1")
            return
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._drop_body()
        keep_alive = parser.should_keep_alive() and not self._closing and not self.server.closing
        slot = _Slot(self, head=method == "HEAD", keep_alive=keep_alive, version=parser.get_http_version())
        self.slots.append(slot)
        if not keep_alive:
            self._closing = True
            self._enter(_REFUSED, self.limits.idle_timeout_ms)
        else:
            self._enter(_IDLE, self.limits.idle_timeout_ms)
        path, query = _target(self._url)
        if path is None:
            slot.respond(*self.server.api.error(400, "the request target is not well-formed"))
            return
        self._dispatch(Request(method, path, query, self._headers, body, self.peer), path, slot)
        if len(self.slots) >= self.limits.pipeline:
            self._pace()

    def _dispatch(self, request: Request, path: str, slot: _Slot) -> None:
        if path != "/":
            for prefix, handler in self.server.routes:
                if path == prefix or (path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix) : len(prefix) + 1] == "/")):
                    self.server.run_route(handler, request, slot.respond)
                    return
        self.server.api.handle(request, slot.respond)

    def _drop_body(self) -> None:
        self.server.buffered_bytes -= self._body_bytes
        self._chunks = []
        self._body_bytes = 0

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error, after the answers already owed, and read no more."""
        self._drop_body()
        self._closing = True
        self._enter(_REFUSED, self.limits.idle_timeout_ms)
        slot = _Slot(self, head=False, keep_alive=False, version="1.1")
        self.slots.append(slot)
        slot.respond(*self.server.api.error(status, message))

    # -- writing ----------------------------------------------------------------------------------------------------------------------

    def encode(self, slot: _Slot, status: int, headers: Headers, body: bytes) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nServer: Server\r\nDate: {self.server.date}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        if not slot.keep_alive:
            lines.append("Connection: close\r\n")
        elif slot.version == "1.0":
            lines.append("Connection: keep-alive\r\n")
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        head = "".join(lines).encode("latin-1", "replace")
        return head if slot.head else head + body

    def flush(self) -> None:
        """Write every answer that is next in order."""
        slots = self.slots
        transport = self.transport
        if transport.is_closing():
            slots.clear()
            return
        keep_alive = True
        while slots and slots[0].data is not None:
            slot = slots.popleft()
            assert slot.data is not None
            transport.write(slot.data)
            keep_alive = slot.keep_alive
        if not slots:
            if not keep_alive or (self._closing and self.state in (_IDLE, _REFUSED)):
                self._linger()
                return
            if self.state == _IDLE:
                self._enter(_IDLE, self.limits.idle_timeout_ms)
        if self._reading_paused:
            self._pace()

    def _linger(self) -> None:
        """End the answers, then read and drop what the peer still sends for a while: closing over unread input would reset what it has not read yet."""
        if self._lingering:
            return
        self._lingering = True
        self._enter(_REFUSED, _LINGER_MS)
        if self.transport.can_write_eof() and not self._eof:
            self.transport.write_eof()
        else:
            self.transport.close()

    def _write_error(self, status: int, message: str) -> None:
        response = self.server.api.error(status, message)
        slot = _Slot(self, head=False, keep_alive=False, version="1.1")
        self.transport.write(self.encode(slot, response.status, response.headers, response.body))


def _cause(error: Exception) -> str:
    return "the request is not well-formed HTTP" if error.__context__ is None else "the request could not be read"


def _target(url: bytes) -> tuple[str | None, str]:
    """(path, query) of a request target in origin or absolute form; (None, "") if it is neither."""
    text = url.decode("latin-1")
    if text.startswith("/"):
        path, _, query = text.partition("?")
        return path, query.partition("#")[0]
    if text == "*":
        return "*", ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None, ""
    if parts.scheme not in ("http", "https"):
        return None, ""
    return parts.path or "/", parts.query
