"""Signatures: made by botocore (and by hand where botocore cannot), checked by us."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scrubjay.storage.api import sigv4
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.sigv4 import AccessKey, SignatureVerifier

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEYS = {
    "AKID": AccessKey("secret/+=", "data"),
    "ADMIN": AccessKey("other", "admin"),
    "TEMP": AccessKey("temporary", "data", "session-token"),
}


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def wall_us(self) -> int:
        return int(self.now.timestamp()) * 1_000_000

    def boot_us(self) -> int:
        return 0


def signed(
    body: bytes = b"{}",
    *,
    key: str = "AKID",
    secret: str | None = None,
    token: str | None = None,
    at: datetime = NOW,
    service: str = "dynamodb",
    region: str = "eu-north-1",
    headers: dict[str, str] | None = None,
    path: str = "/",
    query: bool = False,
    expires: int = 300,
) -> dict[str, Any]:
    """Arguments of Verifier.verify for a request signed by botocore."""
    request = AWSRequest(
        "POST",
        f"http://localhost:8000{path}",
        data=body,
        headers={"Host": "localhost:8000", "X-Amz-Target": "DynamoDB_20120810.ListTables", **(headers or {})},
    )
    credentials = Credentials(key, KEYS[key].secret if secret is None else secret, token)
    signer: Any = SigV4QueryAuth(credentials, service, region, expires) if query else SigV4Auth(credentials, service, region)
    # botocore asks its own helper for the time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: at.replace(tzinfo=None) if remove_tzinfo else at)
        signer.add_auth(request)
    rest = request.url.partition("localhost:8000")[2]
    real_path, _, query_string = rest.partition("?")
    return {
        "method": "POST",
        "path": real_path or "/",
        "query": query_string,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": body,
    }


def refusal(verifier: SignatureVerifier, request: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ApiError) as caught:
        verifier.verify(**request)
    assert caught.value.status == 400
    return caught.value.name, caught.value.message or ""


@pytest.fixture
def verifier() -> SignatureVerifier:
    return SignatureVerifier(Clock(), KEYS)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"TableName":"\xc3\xa9"}', b"x" * 100_000])
def test_botocore_signatures_are_taken(verifier: SignatureVerifier, body: bytes) -> None:
    assert verifier.verify(**signed(body)) == ("AKID", "data", "eu-north-1")


def test_presigned_by_botocore(verifier: SignatureVerifier) -> None:
    """botocore moves the body of a presigned request elsewhere, so there is none."""
    assert verifier.verify(**signed(b"", query=True)) == ("AKID", "data", "eu-north-1")


def test_headers_with_spaces_and_paths_with_odd_characters(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Meta": "  a   b  "}, path="/some%20path/./~x/../y/")
    assert verifier.verify(**request).key_id == "AKID"


def test_roles_and_tokens(verifier: SignatureVerifier) -> None:
    assert verifier.verify(**signed(key="ADMIN")).role == "admin"
    assert verifier.verify(**signed(key="TEMP", token="session-token")).key_id == "TEMP"
    assert refusal(verifier, signed(key="TEMP", token="another"))[0] == "UnrecognizedClientException"
    assert refusal(verifier, signed(key="TEMP"))[0] == "UnrecognizedClientException"
    assert refusal(verifier, signed(token="surplus"))[0] == "UnrecognizedClientException"


def test_every_signed_part_counts(verifier: SignatureVerifier) -> None:
    for change in (
        {"body": b"{ }"},
        {"path": "/other"},
        {"query": "a=b"},
        {"method": "GET"},
    ):
        name, message = refusal(verifier, signed() | change)
        assert name == "InvalidSignatureException"
        assert message.startswith("The request signature we calculated does not match the signature you provided.")
        assert "The Canonical String for this request should have been" in message
    request = signed()
    request["headers"]["x-amz-target"] = "DynamoDB_20120810.DeleteTable"
    assert refusal(verifier, request)[0] == "InvalidSignatureException"
    request = signed()
    request["headers"]["authorization"] = request["headers"]["authorization"][:-1] + "g"
    assert refusal(verifier, request)[0] == "InvalidSignatureException"


def test_who_is_not_known_is_told_so(verifier: SignatureVerifier) -> None:
    request = signed(key="NOBODY", secret="x")
    assert refusal(verifier, request) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    assert refusal(verifier, signed(secret="wrong"))[0] == "InvalidSignatureException"


def test_clock_skew(verifier: SignatureVerifier) -> None:
    assert verifier.verify(**signed(at=NOW - timedelta(minutes=14))).key_id == "AKID"
    assert verifier.verify(**signed(at=NOW + timedelta(minutes=14))).key_id == "AKID"
    assert refusal(verifier, signed(at=NOW - timedelta(minutes=16))) == (
        "InvalidSignatureException",
        "Signature expired: 20260304T045007Z is now earlier than 20260304T045107Z (20260304T050607Z - 15 min.)",
    )
    assert refusal(verifier, signed(at=NOW + timedelta(minutes=16))) == (
        "InvalidSignatureException",
        "Signature not yet current: 20260304T052207Z is still later than 20260304T052107Z (20260304T050607Z + 15 min.)",
    )


def test_presigned_requests_expire(verifier: SignatureVerifier) -> None:
    assert verifier.verify(**signed(b"", query=True, at=NOW - timedelta(seconds=299))).key_id == "AKID"
    assert "Signature expired" in refusal(verifier, signed(b"", query=True, at=NOW - timedelta(seconds=301)))[1]
    assert verifier.verify(**signed(b"", query=True, expires=7 * 24 * 3600, at=NOW - timedelta(days=6))).key_id == "AKID"
    assert refusal(verifier, signed(b"", query=True, expires=7 * 24 * 3600 + 1))[0] == "IncompleteSignatureException"


def test_scope(verifier: SignatureVerifier) -> None:
    assert refusal(verifier, signed(service="s3")) == (
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'dynamodb'. ",
    )
    request = signed()
    request["headers"]["authorization"] = request["headers"]["authorization"].replace("/20260304/", "/20260101/")
    assert "Date in Credential scope does not match YYYYMMDD" in refusal(verifier, request)[1]
    request["headers"]["authorization"] = request["headers"]["authorization"].replace("aws4_request", "aws5_request")
    assert "valid terminator: 'aws4_request', not 'aws5_request'" in refusal(verifier, request)[1]


def test_form() -> None:
    for verifier in (SignatureVerifier(Clock(), None), SignatureVerifier(Clock(), KEYS)):
        base: dict[str, Any] = {"method": "POST", "path": "/", "query": "", "headers": {}, "body": b""}
        assert refusal(verifier, base)[0] == "MissingAuthenticationTokenException"
        assert refusal(verifier, base | {"headers": {"authorization": "Basic abc"}})[0] == "MissingAuthenticationTokenException"
        assert refusal(verifier, base | {"headers": {"authorization": "AWS4-"}}) == (
            "IncompleteSignatureException",
            (
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
                "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or "
                "a 'Date' header. Authorization=AWS4-"
            ),
        )
        dated = {"x-amz-date": "20260304T050607Z"}
        assert refusal(
            verifier, base | {"headers": {**dated, "authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=x"}}
        ) == (
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d'",
        )
        assert "missing equal-sign" in refusal(verifier, base | {"headers": {**dated, "authorization": "AWS4-HMAC-SHA256 Credential"}})[1]
        assert refusal(verifier, base | {"query": "X-Amz-Algorithm=AWS4-HMAC-SHA256"})[1].startswith(
            "AWS query-string parameters must include 'X-Amz-Credential'. "
        )
        both = signed() | {"query": "X-Amz-Algorithm=AWS4-HMAC-SHA256"}
        assert refusal(verifier, both)[1] == "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."


def test_without_keys_values_are_not_looked_at() -> None:
    verifier = SignatureVerifier(Clock(), None)
    request = signed(at=NOW - timedelta(days=400), secret="wrong", service="anything")
    assert verifier.verify(**request | {"body": b"changed"}) == ("AKID", None, "eu-north-1")
    assert verifier.verify(**signed(b"", query=True, secret="wrong")) == ("AKID", None, "eu-north-1")


def test_other_faults_of_the_date_and_algorithm(verifier: SignatureVerifier) -> None:
    request = signed()
    request["headers"]["x-amz-date"] = "201"
    assert refusal(verifier, request) == (
        "IncompleteSignatureException",
        "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601",
    )
    request = signed()
    request["headers"]["authorization"] = request["headers"]["authorization"].replace("SHA256", "SHA25")
    assert "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25'" in refusal(verifier, request)[1]
    request = signed()
    request["headers"]["authorization"] = request["headers"]["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    assert "must be a 'SignedHeader' in the AWS Authorization." in refusal(verifier, request)[1]


def test_unsigned_payload(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert verifier.verify(**request | {"body": b"anything"}).key_id == "AKID"


def test_a_declared_hash_must_be_the_bodys(verifier: SignatureVerifier) -> None:
    digest = hashlib.sha256(b"{}").hexdigest()
    request = signed(headers={"X-Amz-Content-SHA256": digest})
    assert verifier.verify(**request).key_id == "AKID"
    assert "does not match" in refusal(verifier, request | {"body": b"{ }"})[1]


def chunked(parts: list[bytes], request: dict[str, Any], trailers: dict[str, str] | None = None) -> bytes:
    """`parts` as signed chunks that follow the request's own signature (the published algorithm, by hand)."""
    previous = request["headers"]["authorization"].rpartition("Signature=")[2]
    scope = "20260304/eu-north-1/dynamodb/aws4_request"
    key = b"AWS4" + KEYS["AKID"].secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    body = b""
    for part in [*parts, b""]:
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD",
                "20260304T050607Z",
                scope,
                previous,
                hashlib.sha256(b"").hexdigest(),
                hashlib.sha256(part).hexdigest(),
            )
        )
        previous = hmac.new(key, text.encode(), "sha256").hexdigest()
        body += f"{len(part):x};chunk-signature={previous}\r\n".encode() + part + (b"\r\n" if part else b"")
    if trailers:
        joined = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        text = f"AWS4-HMAC-SHA256-TRAILER\n20260304T050607Z\n{scope}\n{previous}\n{hashlib.sha256(joined.encode()).hexdigest()}"
        body += "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode()
        body += f"x-amz-trailer-signature:{hmac.new(key, text.encode(), 'sha256').hexdigest()}\r\n".encode()
    return body + b"\r\n"


@pytest.mark.parametrize("trailers", [None, {"x-amz-checksum-crc32": "AAAAAA=="}])
def test_signed_chunks(verifier: SignatureVerifier, trailers: dict[str, str] | None) -> None:
    form = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailers else "")
    request = signed(headers={"X-Amz-Content-SHA256": form})
    body = chunked([b'{"Limit"', b":1}"], request, trailers)
    assert sigv4.is_chunked(request["headers"])
    assert verifier.verify(**request | {"body": body}).key_id == "AKID"
    for broken in (body.replace(b":1}", b":2}"), body.replace(b"3;chunk", b"3;chunx"), body[:40], body.replace(b"AAAAAA==", b"BBBBBB==")):
        if broken != body:
            assert refusal(verifier, request | {"body": broken})[0] == "InvalidSignatureException"


def test_trailers_without_a_signature_are_refused(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"})
    body = chunked([b"{}"], request, {"x-amz-checksum-crc32": "AAAAAA=="})
    bare = b"\r\n".join(line for line in body.split(b"\r\n") if not line.startswith(b"x-amz-trailer-signature:"))
    assert bare != body
    assert refusal(verifier, request | {"body": bare})[0] == "InvalidSignatureException"


def test_a_header_that_was_signed_and_is_not_there_is_no_empty_one(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Meta": ""})
    assert verifier.verify(**request).key_id == "AKID"
    del request["headers"]["x-amz-meta"]
    assert refusal(verifier, request)[0] == "InvalidSignatureException"


def test_a_declared_hash_that_is_not_the_bodys_is_named(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Content-SHA256": hashlib.sha256(b"another").hexdigest()})
    assert "x-amz-content-sha256 header does not match" in refusal(verifier, request)[1]


def test_a_derived_key_is_of_one_region(verifier: SignatureVerifier) -> None:
    assert verifier.verify(**signed()).region == "eu-north-1"
    request = signed()
    request["headers"]["authorization"] = request["headers"]["authorization"].replace("eu-north-1", "eu-south-1")
    assert refusal(verifier, request)[0] == "InvalidSignatureException"
    assert verifier.verify(**signed(region="us-east-1")).region == "us-east-1"


def test_the_query_is_signed_in_its_sorted_form(verifier: SignatureVerifier) -> None:
    request = signed(path="/?b=2&a=1&A=3&b=1")
    assert verifier.verify(**request).key_id == "AKID"


def test_other_streams_are_refused(verifier: SignatureVerifier) -> None:
    request = signed(headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"})
    assert "not supported" in refusal(verifier, request)[1]
