"""What exports and imports share at the API: their ARNs, pages of their lists, and the words for how one failed. Pure."""

from __future__ import annotations

import re

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body

FAILURES = {
    "BadLine": "ItemValidationError",
    "BucketMissing": "S3NoSuchBucket",
    "CredentialsRefused": "S3AccessDenied",
}
"""FailureCode, by the code of our error; of any other it is our own."""
_ID = re.compile(r"[0-9]{14}-[0-9a-f]{8}")
_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")


def named_by(arn: str, kind: str, account: str) -> tuple[str, str]:
    """Table name and id in the ARN of an export or an import. kind: "export" or "import". Raises ValidationException, AccessDeniedException (of another account)."""
    pieces = arn.split(":", 5)
    bad = errors.validation(f"Invalid {kind.capitalize()} ARN")
    if len(pieces) < 6 or pieces[0] != "arn":
        raise bad
    if pieces[4] != account:
        raise errors.access_denied()
    words = pieces[5].split("/")
    if pieces[1:3] != ["aws", "dynamodb"] or len(words) != 4 or words[0] != "table" or words[2] != kind or not _NAME.fullmatch(words[1]):
        raise bad
    return words[1], words[3]


def page_token(kind: str, id_: str) -> str:
    """The NextToken of a page that ended with `id_`."""
    return f"{kind}/{id_}".encode().ljust(limits.TRANSFER_TOKEN_CHARS_MIN // 2, b"\0").hex()


def place_of_token(kind: str, token: str) -> str:
    """The id that a page ended with. Raises ValidationException: a NextToken of another list, or none."""
    try:
        _, _, id_ = bytes.fromhex(token).rstrip(b"\0").decode("ascii").partition("/")
    except ValueError:
        id_ = ""
    if not _ID.fullmatch(id_) or page_token(kind, id_) != token:
        raise errors.validation(f"Invalid Request: Provided nextToken is invalid: {token}")
    return id_


def failure_members(failure: tuple[str, str] | None) -> Body:
    """FailureCode and FailureMessage of one that failed."""
    return {} if failure is None else {"FailureCode": FAILURES.get(failure[0], failure[0]), "FailureMessage": failure[1]}
