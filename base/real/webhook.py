"""One POST to somebody's URL: what came back, and nothing of it read beyond its head. No proxies, no redirects: a webhook is given as it is reached."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools

from scrubjay.base.errors import Unavailable

ANSWER_BYTES_MAX = 64 << 10
"""An answer whose head has not come within so much is none."""


class _Answer:
    """What the parser tells of: whether the head is whole."""

    def __init__(self) -> None:
        self.whole = False

    def on_headers_complete(self) -> None:
        self.whole = True


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer. url: http or https, with a host. Takes as long as the other end does: the caller gives up. Raises Unavailable."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}", "Connection: close"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    try:
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port or (443 if secure else 80), ssl=ssl.create_default_context() if secure else None
        )
        try:
            writer.write(head.encode() + body)
            await writer.drain()
            left = ANSWER_BYTES_MAX
            while not answer.whole:
                data = await reader.read(left)
                left -= len(data)
                if not data:
                    raise Unavailable("the webhook closed without an answer" if left else "the webhook's answer has no end")
                parser.feed_data(data)
            return int(parser.get_status_code())
        finally:
            writer.close()
    except httptools.HttpParserError as error:
        raise Unavailable("the webhook does not speak HTTP", found=str(error)) from error
    except OSError as error:
        raise Unavailable("the webhook cannot be reached", found=error.strerror or str(error)) from error
