"""One POST to somebody's URL: what came back, and nothing of it read beyond its head. No proxies, no redirects: a webhook is given as it is reached."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httptools

from scrubjay.base.errors import Unavailable
from scrubjay.base.real.daemon_pool import DaemonPool

T = TypeVar("T")

ANSWER_BYTES_MAX = 64 << 10
"""An answer whose head has not come within so much is none."""
THREADS = 8
"""Names that are looked up at once."""


class _Answer:
    """What the parser tells of: whether the head is whole."""

    def __init__(self) -> None:
        self.whole = False

    def on_headers_complete(self) -> None:
        self.whole = True


class WebhookPosts:
    """Posts for one process. What would hold up the loop is done on threads of its own, that no stop waits for: looking up a name, which takes a minute where the
    name server does not answer, and reading the authorities to trust, which takes a tenth of a second (once; others are read at the next start). Not left to the
    loop: uvloop looks names up on threads of libuv, and where libuv gets none it aborts the process, without a word."""

    def __init__(self) -> None:
        self._pool = DaemonPool(THREADS, name="webhook")
        self._under_way: dict[object, Future[Any]] = {}
        """By what it is for, the latest: whoever gave up waiting and comes again waits for the same. Bounded by the URLs that there are."""
        self._trusted: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. url: http or https, with a host. Takes as long as the other end does: the caller gives up. Raises Unavailable."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}", "Connection: close"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        try:
            reader, writer = await self._connect(parts.hostname or "", parts.port, secure=parts.scheme == "https")
            try:
                writer.write(head.encode() + body)
                await writer.drain()
                return await _status(reader)
            finally:
                writer.close()
        except httptools.HttpParserError as error:
            raise Unavailable("the webhook does not speak HTTP", found=str(error)) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name with an empty part, or one that is too long
            raise Unavailable("the webhook cannot be reached", found=getattr(error, "strerror", None) or str(error)) from error

    async def _connect(self, host: str, port: int | None, *, secure: bool) -> tuple[StreamReader, StreamWriter]:
        """To the first of the host's addresses that takes it. Raises OSError, UnicodeError, Unavailable."""
        port = port or (443 if secure else 80)
        if secure and self._trusted is None:
            self._trusted = await self._off_loop("trusted", ssl.create_default_context)
        context = self._trusted if secure else None
        refused = OSError("its name has no address")
        for address in await self._off_loop((host, port), partial(_addresses, host, port)):
            try:
                return await asyncio.open_connection(address, port, ssl=context, server_hostname=host if secure else None)
            except OSError as error:
                refused = error
        raise refused

    async def _off_loop(self, what: object, work: Callable[[], T]) -> T:
        """Raises what `work` does, and Exhausted."""
        running: Future[T] | None = self._under_way.get(what)
        if running is None or running.done():
            running = self._under_way[what] = self._pool.submit(work)
        return await asyncio.wrap_future(running)


async def _status(reader: StreamReader) -> int:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    left = ANSWER_BYTES_MAX
    while not answer.whole:
        data = await reader.read(left)
        left -= len(data)
        if not data:
            raise Unavailable("the webhook closed without an answer" if left else "the webhook's answer has no end")
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            if not answer.whole:
                raise  # what is wrong behind the head changes nothing of the answer
    return int(parser.get_status_code())


def _addresses(host: str, port: int) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
