"""Requests that another server answers: passed on as they came, each over a connection of its own, and the answer brought back as it is.

Whoever asked stays whoever asked: its signature and the name it asked for go along. Not covered: answers in pieces; they are held in memory, and bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httptools

from scrubjay.base.errors import Unavailable
from scrubjay.base.http_values import Request, Response

CONNECT_S = 3.0
ANSWER_S = 60.0
"""For the answer to one request; what takes longer is a job, and is asked for again and again (docs/ADMIN.md)."""
ANSWER_BYTES_MAX = 64 << 20
UNDER_WAY_MAX = 64
"""Requests that wait for the other server; the next is refused."""
PIECE_BYTES = 256 << 10
PASSED_ON = "x-scrubjay-passed-on"
"""Header of a request that comes from another process of the cluster: it is not passed on again."""
OF_A_CONNECTION = frozenset(
    ("connection", "content-length", "transfer-encoding", "keep-alive", "expect", "upgrade", "te", "trailer", "date", "server", PASSED_ON)
)
"""Headers of one connection, or written anew by whoever sends."""


class _Answer:
    """What the parser tells of."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True


class HttpForward:
    """To one server. me: of this process. addresses: of a host name; raises OSError, Exhausted."""

    def __init__(self, me: str, host: str, port: int, *, addresses: Callable[[str], Awaitable[Sequence[str]]]) -> None:
        self._me, self._host, self._port, self._addresses = me, host, port, addresses
        self._under_way = 0

    async def send(self, request: Request) -> Response:
        """Raises Unavailable: it cannot be reached, or what it answered is not known (field `unknown`: it may have done what was asked)."""
        if PASSED_ON in request.headers:
            raise Unavailable(
                "it was passed on here by another process, which takes this one for another", process=request.headers[PASSED_ON]
            )
        if self._under_way >= UNDER_WAY_MAX:
            raise Unavailable("too many requests wait for it already", waiting=self._under_way)
        self._under_way += 1
        try:
            return await self._sent(request)
        finally:
            self._under_way -= 1

    async def _sent(self, request: Request) -> Response:
        try:
            reader, writer = await self._connected()
        except (OSError, TimeoutError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise Unavailable("it cannot be reached", asked=f"{self._host}:{self._port}", found=why) from error
        try:
            writer.write(_head(request, self._me) + request.body)
            async with asyncio.timeout(ANSWER_S):
                return await _answer(reader)
        except httptools.HttpParserError as error:
            raise Unavailable("what answers there does not speak HTTP", found=str(error), unknown=True) from error
        except (OSError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise Unavailable("the connection to it ended before its answer", found=why, unknown=True) from error
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError, TimeoutError, Exhausted."""
        failed = OSError("its name has no address")
        async with asyncio.timeout(CONNECT_S):
            for address in await self._addresses(self._host):
                try:
                    return await asyncio.open_connection(address, self._port)
                except OSError as error:
                    failed = error
        raise failed


def _head(request: Request, me: str) -> bytes:
    target = request.path + (f"?{request.query}" if request.query else "")
    kept = [f"{name}: {value}" for name, value in request.headers.items() if name not in OF_A_CONNECTION]
    own = [f"{PASSED_ON}: {me}", f"Content-Length: {len(request.body)}", "Connection: close"]
    return "\r\n".join([f"{request.method} {target} HTTP/1.1", *kept, *own, "", ""]).encode("latin-1")


async def _answer(reader: asyncio.StreamReader) -> Response:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.whole:
        data = await reader.read(PIECE_BYTES)
        if not data:
            raise Unavailable("the connection to it ended before its answer", unknown=True)
        if len(answer.body) + len(data) > ANSWER_BYTES_MAX:
            raise Unavailable("its answer is too large to be passed on", bytes_max=ANSWER_BYTES_MAX, unknown=True)
        parser.feed_data(data)
    headers = tuple((name, value) for name, value in answer.headers if name.lower() not in OF_A_CONNECTION)
    return Response(int(parser.get_status_code()), headers, bytes(answer.body))
