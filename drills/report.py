"""What a drill says: one document, signed. Numbers are rounded before they are signed, so that the text of a report is the report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from scrubjay.base.errors import Corrupt, ScrubjayError

MATCH, MISMATCH, UNVERIFIED = "match", "mismatch", "unverified"
EXITS = {MATCH: 0, MISMATCH: 2, UNVERIFIED: 3}
FORMAT, VERSION = "scrubjay-drill", 1
FIELDS = (
    "id", "scenario", "seed", "started", "seconds", "verdict", "tables", "rto_seconds", "rpo_seconds", "predicted_seconds", "rows_compared", "planted", "detected",
    "differences", "facts", "steps", "error",
)  # fmt: skip
"""What every report of this version has; more may be there."""


@dataclass(slots=True)
class DrillOutcome:
    """What a scenario found. rto_seconds: until what was lost is there again. rpo_seconds: how much of the newest would be lost. predicted_seconds: what was
    said before for the RTO. rows_compared: items compared one by one. planted, detected: faults. differences: what was not as it must be, in words, bounded."""

    tables: list[str] = field(default_factory=list)
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    predicted_seconds: float | None = None
    rows_compared: int = 0
    planted: int = 0
    detected: int = 0
    differences: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Nothing compared is nothing proven."""
        if self.differences or self.detected < self.planted:
            return MISMATCH
        return MATCH if self.rows_compared or self.planted else UNVERIFIED


def new_secret() -> bytes:
    """The secret half of a new key, from the machine's own source of keys."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret: bytes = Ed25519PrivateKey.generate().private_bytes_raw()
    return secret


class KeptSecret(Protocol):
    """The 32 secret bytes of a cluster's key."""

    def read(self) -> bytes | None:
        """None: there is none yet."""
        ...

    def make(self) -> bytes:
        """A new one, kept from now on. Raises DiskFull, Corrupt."""
        ...


class DrillSigner:
    """The key is made when the first report is signed; a server that never drills has none, and never loads the library."""

    def __init__(self, kept: KeptSecret) -> None:
        self._kept = kept
        self._public: str | None = None

    @property
    def public_key(self) -> str | None:
        """Base64; None: no report was ever signed, or the key cannot be read just now, which the next report that wants it says."""
        if self._public is None:
            try:
                secret = self._kept.read()
            except ScrubjayError:
                return None
            self._public = None if secret is None else _text(_private(secret).public_key().public_bytes_raw())
        return self._public

    def signed(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """The report with `public_key` and `signature`. Raises DiskFull, Corrupt: there is no key, and none can be kept."""
        key = _private(self._kept.read() or self._kept.make())
        self._public = _text(key.public_key().public_bytes_raw())
        whole = {**report, "public_key": self._public}
        return {**whole, "signature": _text(key.sign(canonical(whole)))}


def _private(secret: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(secret)


def canonical(report: Mapping[str, Any]) -> bytes:
    """What is signed: JSON of all fields but the signature, keys sorted, no spaces, UTF-8."""
    return msgspec.json.encode({name: value for name, value in report.items() if name != "signature"}, order="sorted")


def check(report: Mapping[str, Any], *, known: str | None = None) -> None:
    """Raises Corrupt unless the signature is of these very fields, by the key that the report names; known: that must be this one (base64), noted when it was sure whose
    it is. Whose key a cluster has now, `status` says."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if known is not None and report.get("public_key") != known:
        raise Corrupt("the report is signed with another key", what="drill report", expected=known, found=str(report.get("public_key")))
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(report.get("public_key")), validate=True))
        key.verify(base64.b64decode(str(report.get("signature")), validate=True), canonical(report))
    except (ValueError, InvalidSignature) as error:
        raise Corrupt("the signature of a drill's report does not fit", what="drill report", drill=str(report.get("id"))) from error


def decode(data: bytes, *, where: str) -> dict[str, Any]:
    """A kept report, its signature checked. Raises Corrupt."""
    try:
        report = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt("a drill's report is no JSON", what="drill report", where=where) from error
    if not isinstance(report, dict) or (report.get("format"), report.get("version")) != (FORMAT, VERSION):
        raise Corrupt("not a drill's report of this version", what="drill report", where=where)
    lacking = [name for name in FIELDS if name not in report]
    if lacking:
        raise Corrupt("a drill's report lacks fields", what="drill report", where=where, found=", ".join(lacking))
    check(report)
    return report


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
