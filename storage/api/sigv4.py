"""AWS Signature Version 4: is the request signed, and by whom.

Without a key table the signature must be there and well formed, and its values are not looked at (as with DynamoDB's own local version). With one,
everything is checked: date, scope, key, signature over the canonical request, presigned expiry; comparisons take constant time. What AWS checks
first is checked first, because its message is what the client sees.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from scrubjay.base.env import Clock
from scrubjay.storage.api import aws_chunked, errors, limits
from scrubjay.storage.api.errors import ApiError

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
_STREAMING = "STREAMING-"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_STREAMS = (_SIGNED_CHUNKS, _SIGNED_CHUNKS + "-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_SERVICE = "dynamodb"
_TERMINATOR = "aws4_request"
_BASIC_FORMAT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SIGNING_KEYS_MAX = 1024
"""Derived signing keys kept (key id, date, region)."""

ROLE_DATA = "data"
ROLE_ADMIN = "admin"
ROLE_POLICY = "policy"
"""May do what the policies of tables allow, and nothing else."""


class AccessKey(NamedTuple):
    """A key of `[auth.keys]`. token: the session token that must come with it, None for a long-term key."""

    secret: str
    role: str
    token: str | None = None


class Signer(NamedTuple):
    """Who signed. key_id: as the request names it (unproven without a key table). role: None without a key table. region: of the scope."""

    key_id: str
    role: str | None
    region: str


class Claim(NamedTuple):
    """The signature as the request presents it, well formed."""

    algorithm: str
    key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    presigned: bool
    expires: str | None
    token: str | None


class SignatureVerifier:
    """keys: id to (secret, role), or None to check the form alone."""

    def __init__(self, clock: Clock, keys: Mapping[str, AccessKey] | None) -> None:
        self._clock = clock
        self._keys = keys
        self._derived: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def verify(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Signer:
        """The signer. headers: names in lower case. Raises ApiError as AWS words it."""
        authorization = headers.get("authorization")
        if self._keys is None:
            if authorization is not None and not query:
                return _glance(authorization, headers)
            claim = _claim(authorization, query, headers)
            return Signer(claim.key_id, None, claim.region)
        claim = _claim(authorization, query, headers)
        return self._prove(claim, method, path, query, headers, body)

    def _prove(self, claim: Claim, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Signer:
        signed_at = _parse_time(claim.timestamp)
        now_us = self._clock.wall_us()
        _check_time(claim, signed_at, now_us)
        if "host" not in claim.signed_headers:
            raise errors.invalid_signature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
        if claim.algorithm != ALGORITHM:
            raise errors.incomplete_signature(f"Unsupported AWS 'algorithm': '{claim.algorithm}' (only {ALGORITHM} for now).")
        _check_scope(claim, signed_at)
        assert self._keys is not None
        key = self._keys.get(claim.key_id)
        if key is None:
            raise errors.unrecognized_client()
        if (key.token or claim.token) and not hmac.compare_digest((key.token or "").encode(), (claim.token or "").encode()):
            raise errors.unrecognized_client()
        missing = [name for name in claim.signed_headers if name not in headers]
        canonical = _canonical_request(claim, method, path, query, headers, _payload_hash(headers, body))
        timestamp = signed_at.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{claim.date}/{claim.region}/{claim.service}/{claim.terminator}"
        signing_key = self._signing_key(claim, key.secret)
        to_sign = f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        expected = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
        if missing or not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise _mismatch(canonical, to_sign)
        declared = headers.get("x-amz-content-sha256", "")
        if declared.startswith(_SIGNED_CHUNKS):
            _prove_chunks(body, signing_key, f"{timestamp}\n{scope}", claim.signature)
        return Signer(claim.key_id, key.role, claim.region)

    def _signing_key(self, claim: Claim, secret: str) -> bytes:
        name = (claim.key_id, claim.date, claim.region)
        derived = self._derived.get(name)
        if derived is None:
            derived = f"AWS4{secret}".encode()
            for part in (claim.date, claim.region, claim.service, claim.terminator):
                derived = hmac.digest(derived, part.encode(), "sha256")
            self._derived[name] = derived
            if len(self._derived) > _SIGNING_KEYS_MAX:
                self._derived.popitem(last=False)
        return derived


# -- reading the claim -----------------------------------------------------------------------------------------------------------------

_USUAL = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/[^/,\s]+/([^/,\s]+)/[^/,\s]+/[^/,\s]+, *SignedHeaders=[^,\s]+, *Signature=[^,\s]+"
)


def _glance(authorization: str, headers: Mapping[str, str]) -> Signer:
    """The common form, at a glance; everything else takes the long way."""
    match = _USUAL.fullmatch(authorization)
    if match is not None and ("x-amz-date" in headers or "date" in headers):
        return Signer(match[1], None, match[2])
    claim = _claim(authorization, "", headers)
    return Signer(claim.key_id, None, claim.region)


def _claim(authorization: str | None, query: str, headers: Mapping[str, str]) -> Claim:
    parameters = _query_pairs(query)
    presigned = any(name == "X-Amz-Algorithm" for name, _ in parameters)
    if authorization is not None and presigned:
        raise errors.invalid_signature("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
    if presigned:
        return _claim_from_query(dict(parameters))
    if authorization is None or not authorization.strip().startswith("AWS4-"):
        raise errors.missing_authentication_token()
    return _claim_from_header(authorization.strip(), headers)


def _claim_from_header(authorization: str, headers: Mapping[str, str]) -> Claim:
    algorithm, _, rest = authorization.partition(" ")
    members: dict[str, str] = {}
    for piece in re.split(r"[,\s]+", rest):
        if not piece:
            continue
        name, equals, value = piece.partition("=")
        if not equals:
            raise errors.incomplete_signature(
                f"'{name}' not a valid key=value pair (missing equal-sign) in Authorization header: '{authorization}'."
            )
        members[name] = value
    message = "".join(
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not members.get(name)
    )
    timestamp = headers.get("x-amz-date") or headers.get("date")
    if not timestamp:
        message += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    if message:
        raise errors.incomplete_signature(f"{message}Authorization={authorization}")
    assert timestamp is not None
    return _claim_of(
        algorithm,
        members["Credential"],
        members["SignedHeaders"],
        members["Signature"],
        timestamp,
        presigned=False,
        expires=None,
        token=headers.get("x-amz-security-token"),
    )


def _claim_from_query(parameters: Mapping[str, str]) -> Claim:
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    message = "".join(f"AWS query-string parameters must include '{name}'. " for name in needed if not parameters.get(name))
    if message:
        raise errors.incomplete_signature(message + "Re-examine the query-string parameters.")
    return _claim_of(
        parameters["X-Amz-Algorithm"],
        parameters["X-Amz-Credential"],
        parameters["X-Amz-SignedHeaders"],
        parameters["X-Amz-Signature"],
        parameters["X-Amz-Date"],
        presigned=True,
        expires=parameters.get("X-Amz-Expires"),
        token=parameters.get("X-Amz-Security-Token"),
    )


def _claim_of(
    algorithm: str,
    credential: str,
    signed_headers: str,
    signature: str,
    timestamp: str,
    *,
    presigned: bool,
    expires: str | None,
    token: str | None,
) -> Claim:
    pieces = credential.rstrip("/").split("/")
    if len(pieces) != 5:
        raise errors.incomplete_signature(
            f"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
        )
    names = tuple(name.lower() for name in signed_headers.split(";"))
    key_id, date, region, service, terminator = pieces
    return Claim(algorithm, key_id, date, region, service, terminator, names, signature, timestamp, presigned, expires, token)


# -- checks ----------------------------------------------------------------------------------------------------------------------------


def _parse_time(text: str) -> datetime:
    if _BASIC_FORMAT.fullmatch(text):
        try:
            return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
    elif "," in text:
        try:
            parsed = parsedate_to_datetime(text)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except ValueError:
            pass
    raise errors.incomplete_signature(f"Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601")


def _basic(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _check_time(claim: Claim, signed_at: datetime, now_us: int) -> None:
    signed_us = int(signed_at.timestamp()) * 1_000_000
    skew_us = limits.CLOCK_SKEW_MS_MAX * 1000
    shown = signed_at.strftime("%Y%m%dT%H%M%SZ")
    now = _basic(now_us)
    if signed_us > now_us + skew_us:
        raise errors.invalid_signature(
            f"Signature not yet current: {shown} is still later than {_basic(now_us + skew_us)} ({now} + 15 min.)"
        )
    if not claim.presigned:
        if signed_us < now_us - skew_us:
            raise errors.invalid_signature(f"Signature expired: {shown} is now earlier than {_basic(now_us - skew_us)} ({now} - 15 min.)")
        return
    expires = claim.expires or ""
    if not expires.isdecimal() or not 0 < int(expires) <= limits.PRESIGN_SECONDS_MAX:
        raise errors.incomplete_signature(
            f"X-Amz-Expires must be a number of seconds from 1 to {limits.PRESIGN_SECONDS_MAX}. Re-examine the query-string parameters."
        )
    end_us = signed_us + int(expires) * 1_000_000
    if now_us > end_us:
        raise errors.invalid_signature(f"Signature expired: {_basic(end_us)} is now earlier than {now}")


def _check_scope(claim: Claim, signed_at: datetime) -> None:
    message = ""
    if claim.service != _SERVICE:
        message += f"Credential should be scoped to correct service: '{_SERVICE}'. "
    if claim.terminator != _TERMINATOR:
        message += f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', not '{claim.terminator}'. "
    day = signed_at.strftime("%Y%m%d")
    if claim.date != day:
        stamp = signed_at.strftime("%Y%m%dT%H%M%SZ")
        message += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{claim.date}' != '{day}', from '{stamp}'. "
        )
    if message:
        raise errors.invalid_signature(message)


def _mismatch(canonical: str, to_sign: str) -> ApiError:
    return errors.invalid_signature(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n"
        f"'{canonical}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n"
    )


# -- the canonical request -------------------------------------------------------------------------------------------------------------


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether the body is in the `aws-chunked` coding."""
    return headers.get("x-amz-content-sha256", "").startswith(_STREAMING) or "aws-chunked" in headers.get("content-encoding", "")


def _payload_hash(headers: Mapping[str, str], body: bytes) -> str:
    """What stands for the body in the canonical request. A declared hash is used only if it is the body's."""
    declared = headers.get("x-amz-content-sha256")
    if declared is not None and (declared == UNSIGNED or declared in _STREAMS):
        return declared
    if declared is not None and declared.startswith(_STREAMING):
        raise errors.invalid_signature(f"The value '{declared}' of x-amz-content-sha256 is not supported by this service.")
    actual = hashlib.sha256(body).hexdigest()
    if declared is not None and not hmac.compare_digest(declared.lower().encode(), actual.encode()):
        raise errors.invalid_signature("The value of the x-amz-content-sha256 header does not match the calculated value.")
    return actual


def _prove_chunks(body: bytes, signing_key: bytes, stamp_and_scope: str, seed: str) -> None:
    """Each chunk's signature covers the one before it, so none can be left out, added or moved. Raises ApiError."""
    try:
        decoded = aws_chunked.decode(body)
    except ValueError as error:
        raise errors.invalid_signature(f"The chunked body is malformed: {error}.") from None
    previous = seed
    for chunk in decoded.chunks:
        to_sign = f"{ALGORITHM}-PAYLOAD\n{stamp_and_scope}\n{previous}\n{_EMPTY_HASH}\n{hashlib.sha256(chunk.data).hexdigest()}"
        expected = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), chunk.signature.encode()):
            raise errors.invalid_signature("The signature of a chunk does not match the signature calculated.")
        previous = expected
    signed = dict(decoded.trailers)
    given = signed.pop("x-amz-trailer-signature", None)
    if signed:
        text = "".join(f"{name}:{value}\n" for name, value in sorted(signed.items()))
        to_sign = f"{ALGORITHM}-TRAILER\n{stamp_and_scope}\n{previous}\n{hashlib.sha256(text.encode('latin-1')).hexdigest()}"
        expected = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
        if given is None or not hmac.compare_digest(expected.encode(), given.encode()):
            raise errors.invalid_signature("The signature of the trailers does not match the signature calculated.")


def _query_pairs(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    pairs = []
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _normal_path(path: str) -> str:
    """The path as sent, without "." and ".." steps and doubled slashes (it is then quoted once more, as for every service but S3)."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if steps:
                steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    return "/" + "/".join(steps) + ("/" if steps and path.endswith("/") else "")


def _canonical_request(claim: Claim, method: str, path: str, query: str, headers: Mapping[str, str], payload: str) -> str:
    pairs = sorted(
        (_quote(name), _quote(value)) for name, value in _query_pairs(query) if not (claim.presigned and name == "X-Amz-Signature")
    )
    lines = [method, quote(_normal_path(path), safe="/-_.~"), "&".join(f"{name}={value}" for name, value in pairs)]
    names = sorted(claim.signed_headers)
    lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in names]
    lines += ["", ";".join(names), payload]
    return "\n".join(lines)
