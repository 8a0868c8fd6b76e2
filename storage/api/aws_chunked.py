"""The `aws-chunked` body coding of Signature Version 4: chunks with a signature each, and signed trailers.

    hex size [;chunk-signature=hex] CRLF data CRLF … 0 [;chunk-signature=hex] CRLF [trailer CRLF …] CRLF

Decoding is apart from proving, because a request's JSON is looked at before its signature.
"""

from __future__ import annotations

from typing import NamedTuple

_LINE_BYTES_MAX = 1024
_TRAILERS_MAX = 16


class Chunk(NamedTuple):
    """data: empty in the last one. signature: "" if the chunk has none."""

    data: bytes
    signature: str


class ChunkedBody(NamedTuple):
    chunks: tuple[Chunk, ...]
    trailers: tuple[tuple[str, str], ...]

    @property
    def payload(self) -> bytes:
        return b"".join([chunk.data for chunk in self.chunks])


def decode(body: bytes) -> ChunkedBody:
    """Raises ValueError if the body is not in this coding."""
    chunks: list[Chunk] = []
    at = 0
    while True:
        line, at = _line(body, at)
        size_text, _, extension = line.partition(b";")
        try:
            size = int(size_text, 16)
        except ValueError:
            raise ValueError("a chunk has no size") from None
        if size < 0:
            raise ValueError("a chunk has a negative size")
        signature = extension.removeprefix(b"chunk-signature=").decode("latin-1") if extension else ""
        data = body[at : at + size]
        if len(data) != size:
            raise ValueError("a chunk is cut off")
        at += size
        chunks.append(Chunk(data, signature))
        if size == 0:
            return ChunkedBody(tuple(chunks), _trailers(body, at))
        if body[at : at + 2] != b"\r\n":
            raise ValueError("a chunk is longer than it says")
        at += 2


def _line(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\r\n", at, at + _LINE_BYTES_MAX)
    if end < 0:
        raise ValueError("a line does not end")
    return body[at:end], end + 2


def _trailers(body: bytes, at: int) -> tuple[tuple[str, str], ...]:
    trailers: list[tuple[str, str]] = []
    while at < len(body):
        line, at = _line(body, at)
        if not line:
            break
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(trailers) >= _TRAILERS_MAX:
            raise ValueError("a trailer is malformed")
        trailers.append((name.strip().lower(), value.strip()))
    return tuple(trailers)
