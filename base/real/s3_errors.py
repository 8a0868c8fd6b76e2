"""What an S3 server's refusal means for the caller, whichever client met it.

Only what the server *says* counts: an object is missing if the answer names NoSuchKey, taken if it names PreconditionFailed. A status alone may come from
anything on the way (a proxy, a login page, a gateway in front of a dead server), and what such a thing says about objects is not believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from scrubjay.base.errors import Corrupt, DiskFull, Exists, Missing, ScrubjayError, Unavailable, Unsafe

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_NOISE = re.compile(r"Generic S3 error: |Error performing [A-Z]+ \S+ in \S+ - | \(reached max retries: 0\)")
_REGION = re.compile(r"<Region>\s*([a-z0-9-]+)\s*</Region>")

_FULL = ("XMinioStorageFull", "QuotaExceeded", "QuotaExceededException", "InsufficientStorage", "XMinioAdminBucketQuotaExceeded")
_FULL_WORDS = ("XMinioStorageFull", "no space left", "No writable volumes", "no free volumes")
_DIGEST = ("BadDigest", "XAmzContentChecksumMismatch", "ChecksumMismatch", "InvalidDigest", "XAmzContentSHA256Mismatch")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
_REFUSED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidTokenId",
    "InvalidSecurity",
    "NotSignedUp",
    "AccountProblem",
    "AllAccessDisabled",
    "UnauthorizedAccess",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
)
_REGIONS = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
)
CREDENTIALS = ("CredentialsExpired", "CredentialsRefused")
"""Error codes after which other credentials are asked for."""


@dataclass(frozen=True, slots=True)
class S3Told:
    """status: 0 if there was no answer. code: S3's word, "" if none. region: where the bucket is, if said. text: all of it. brief: for people."""

    status: int
    code: str
    region: str
    text: str
    brief: str


def told(error: BaseException) -> S3Told:
    """What obstore or botocore know of an answer."""
    text = f"{error} {error.__cause__ or ''}"
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        facts = response.get("ResponseMetadata", {})
        said = response.get("Error", {})
        code = str(said.get("Code", ""))
        status = int(facts.get("HTTPStatusCode", 0))
        region = str(said.get("Region") or facts.get("HTTPHeaders", {}).get("x-amz-bucket-region") or "")
        code = "" if code.isdigit() else code
    else:
        found = _STATUS.search(text)
        status = int(found[1]) if found else 0
        found = _CODE.search(text)
        code = found[1] if found else ""
        found = _REGION.search(text)
        region = found[1] if found else ""
        if "redirect without LOCATION" in text or "error following redirect" in text:
            status = status or 301
    return S3Told(status, code, region, text, " ".join(_NOISE.sub("", str(error).partition("Debug source:")[0]).split())[:300])


def translate(error: BaseException, key: str) -> ScrubjayError:
    """The error of our tree for what a client library raised. Fields: key, cause, and for what a person can put right `error_code` and `next`."""
    if isinstance(error, ScrubjayError):
        return error
    answer = told(error)
    code, brief = answer.code, answer.brief
    if code in ("NoSuchKey", "NoSuchVersion"):
        return Missing("no such object", what=key)
    if code == "PreconditionFailed":
        return Exists("the object is already there", key=key)
    if code == "NoSuchBucket":
        return _named("the bucket does not exist", "BucketMissing", "make the bucket, or correct --archive", key, brief)
    if code in _FULL or answer.status == 507 or any(word in answer.text for word in _FULL_WORDS):
        return DiskFull("the object store is full", key=key, cause=brief)
    if code in _DIGEST:
        return Corrupt("the store refused the content: its checksum differs", what="object", where=key, cause=brief)
    if code == "NotImplemented" or answer.status == 501:
        return Unsafe("the object store lacks a feature", key=key, cause=brief)
    return _by_word(answer, key) or _by_status(answer, key)


def _by_word(answer: S3Told, key: str) -> ScrubjayError | None:
    code, brief = answer.code, answer.brief
    if code in ("RequestTimeTooSkewed", "RequestInTheFuture"):
        return _named(
            "the object store's clock and this machine's are too far apart",
            "ClockSkewed",
            "set this machine's clock right (or the store's)",
            key,
            brief,
        )
    if code in _EXPIRED:
        return _named(
            "the credentials for the object store have expired",
            "CredentialsExpired",
            "renew them where they come from; no restart is needed",
            key,
            brief,
        )
    if code in _REFUSED or (not code and answer.status in (401, 403)):
        return _named(
            "the object store refuses the credentials",
            "CredentialsRefused",
            "check the keys, their permissions on this bucket, and AWS_PROFILE; no restart is needed once the files are right",
            key,
            brief,
        )
    if code in _REGIONS or (not code and answer.status in (301, 302, 303, 307, 308)):
        where = f" to {answer.region}" if answer.region else ""
        return _named(
            "the object store points elsewhere: the bucket is in another region, or the endpoint is not its",
            "WrongRegion",
            f"set AWS_REGION (or s3.region){where}, or correct the endpoint",
            key,
            brief,
        )
    if answer.status == 409 or code in ("ConditionalRequestConflict", "OperationAborted"):
        return Unavailable("another request for the same object was under way", key=key, error_code="StoreConflict", cause=brief)
    return None


def _by_status(answer: S3Told, key: str) -> ScrubjayError:
    if answer.status and not answer.code and answer.status < 500:
        return not_a_store(key, f"status {answer.status} without an S3 error in it: {answer.brief}")
    return Unavailable("the object store did not answer as it should", key=key, cause=answer.brief)


def not_a_store(key: str, found: str) -> Unavailable:
    """Something answered, but not as an S3 server does: nothing it said is believed."""
    return Unavailable(
        "what answered is no object store",
        key=key,
        error_code="NotAStore",
        cause=found[:300],
        next="check the endpoint and what lies on the way to it (proxy, login page, load balancer)",
    )


def _named(message: str, code: str, step: str, key: str, brief: str) -> Unavailable:
    return Unavailable(message, key=key, error_code=code, cause=brief, next=step)
