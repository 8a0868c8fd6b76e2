"""The HTTP face without the sockets: request ids, compression, media types and CORS, as DynamoDB's front does them.

`base.real.http_server` reads and writes the bytes. Handlers of other routes (health, metrics, the admin API) are coroutines; the API itself answers through
a callback and makes no task.
"""

from __future__ import annotations

import re
import zlib
from base64 import b32hexencode
from collections.abc import Mapping, Sequence

from scrubjay.base.env import Rand
from scrubjay.base.http_values import Application, Handler, Headers, Request, Respond, Response

__all__ = ["Application", "Handler", "Headers", "Request", "RequestIds", "Respond", "Response"]

JSON_1_0 = "application/x-amz-json-1.0"
JSON_1_1 = "application/x-amz-json-1.1"
PLAIN_JSON = "application/json"
CORS_MAX_AGE_SECONDS = 172_800
MEMBERS_MAX = 16
"""Of one gzip'ed body: what is behind a member is copied for the next, so their number is work that costs its sender nothing."""
UNKNOWN_PAGE = b"<UnknownOperationException/>\n"


class RequestIds:
    """Ids of the form of `x-amzn-RequestId`: 52 upper-case letters and digits, never one twice."""

    def __init__(self, rand: Rand) -> None:
        raw = b"".join([rand.u64().to_bytes(8, "big") for _ in range(3)])
        self._prefix = b32hexencode(raw)[:36].decode()
        self._next = rand.u64()

    def next(self) -> str:
        # an odd step walks through all 64-bit numbers before it comes back
        self._next = (self._next + _STEP) & _MASK
        return f"{self._prefix}{self._next:016X}"


_STEP = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def coding_of(accept_encoding: str) -> str:
    """How an answer is to be coded: "gzip", "deflate" or "" (as it is). As the service reads the header, wrong ones too: the coding with the highest weight, of equal ones the first, and
    a named one before `*`; a weight that is no number is 1, and `identity` says nothing."""
    named: dict[str, tuple[float, int, int]] = {}
    rest = 0.0
    for at, piece in enumerate(accept_encoding.lower().split(",")):
        coding, *parameters = [part.strip() for part in piece.split(";")]
        weight = _weight(parameters)
        if coding == "*":
            rest = max(rest, weight)
        elif coding in _CODINGS:
            named[coding] = max(named.get(coding, (0.0, 1, 0)), (weight, 1, -at))
    found = {coding: named.get(coding, (rest, 0, -at)) for at, coding in enumerate(_CODINGS)}
    best = max(found, key=found.__getitem__)
    return best if found[best][0] > 0 else ""


def _weight(parameters: Sequence[str]) -> float:
    """The first q of them, 0 to 1."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return min(max(float(value), 0.0), 1.0) if _NUMBER.fullmatch(value.strip()) else 1.0
    return 1.0


_CODINGS = ("gzip", "deflate")
_NUMBER = re.compile(r"-?(?:[0-9]{1,9}\.?[0-9]{0,9}|\.[0-9]{1,9})")


def coded(body: bytes, coding: str) -> bytes:
    """A body as `coding_of` says. A gzip member has no name and no time, so that equal bodies have equal bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    return packer.compress(body) + packer.flush()


class Undecodable(Exception):
    """A body that is not in the coding its header names."""


class TooLong(Exception):
    """A body that is longer, once it is decoded, than a request may be."""


def request_coding(headers: Mapping[str, str]) -> str:
    """What a request's body is packed with, in lower case, "" for nothing. `aws-chunked` belongs to its signature (`sigv4.is_chunked`)."""
    said = headers.get("content-encoding")
    if said is None:
        return ""
    return ",".join(one for part in said.lower().split(",") if (one := part.strip()) not in ("", "aws-chunked", "identity"))


def unpacked(body: bytes, coding: str, *, bytes_max: int) -> bytes:
    """A request's body as it was before it was packed: gzip members, one behind the other. Raises Undecodable (another coding; cut off; something else behind), TooLong (before it is all in memory)."""
    if coding != "gzip" or not body:
        raise Undecodable
    found: list[bytes] = []
    room = bytes_max + 1
    while body:
        member = zlib.decompressobj(31)
        try:
            piece = member.decompress(body, room)
        except zlib.error:
            raise Undecodable from None
        room -= len(piece)
        if room <= 0:
            raise TooLong
        found.append(piece)
        if not member.eof or len(found) > MEMBERS_MAX:
            raise Undecodable
        body = member.unused_data
    return b"".join(found)


def content_type_of(headers: Mapping[str, str]) -> str:
    """Media type of the request body without parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def cors_headers(request: Request) -> list[tuple[str, str]]:
    """What a browser must be told; empty without an Origin."""
    if "origin" not in request.headers:
        return []
    headers = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED)]
    if request.method != "OPTIONS":
        return headers
    if wanted := request.headers.get("access-control-request-headers"):
        headers.append(("Access-Control-Allow-Headers", wanted))
    if wanted := request.headers.get("access-control-request-method"):
        headers.append(("Access-Control-Allow-Methods", wanted))
    headers.append(("Access-Control-Max-Age", str(CORS_MAX_AGE_SECONDS)))
    return headers


_EXPOSED = "x-amzn-requestid,x-amz-crc32,x-amzn-errortype,x-amz-request-id,x-amz-id-2,date"
