"""The HTTP face without the sockets: request ids, compression, media types and CORS, as DynamoDB's front does them.

`base.real.http_server` reads and writes the bytes. Handlers of other routes (health, metrics, the admin API) are coroutines; the API itself answers through
a callback and makes no task.
"""

from __future__ import annotations

import zlib
from base64 import b32hexencode
from collections.abc import Mapping

from scrubjay.base.env import Rand
from scrubjay.base.http_values import Application, Handler, Headers, Request, Respond, Response

__all__ = ["Application", "Handler", "Headers", "Request", "RequestIds", "Respond", "Response"]

JSON_1_0 = "application/x-amz-json-1.0"
JSON_1_1 = "application/x-amz-json-1.1"
PLAIN_JSON = "application/json"
CORS_MAX_AGE_SECONDS = 172_800
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


def wants_gzip(accept_encoding: str | None) -> bool:
    """Whether the client asks for gzip (q=0 says no)."""
    if accept_encoding is None:
        return False
    for piece in accept_encoding.lower().split(","):
        coding, _, parameters = piece.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            weight = parameters.replace(" ", "").removeprefix("q=")
            return not weight or weight.strip("0.") != ""
    return False


def gzip(body: bytes) -> bytes:
    """A gzip member with no name and no time, so that equal bodies have equal bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def content_type_of(headers: Mapping[str, str]) -> str:
    """Media type of the request body without parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def cors_headers(request: Request) -> list[tuple[str, str]]:
    """What a browser must be told; empty without an Origin."""
    if "origin" not in request.headers:
        return []
    headers = [("Access-Control-Allow-Origin", "*")]
    if request.method != "OPTIONS":
        headers.append(("Access-Control-Expose-Headers", "x-amzn-requestid,x-amz-crc32,x-amzn-errortype,x-amz-request-id,x-amz-id-2,date"))
        return headers
    if wanted := request.headers.get("access-control-request-headers"):
        headers.append(("Access-Control-Allow-Headers", wanted))
    if wanted := request.headers.get("access-control-request-method"):
        headers.append(("Access-Control-Allow-Methods", wanted))
    headers.append(("Access-Control-Max-Age", str(CORS_MAX_AGE_SECONDS)))
    return headers
