"""Certificates between processes of one cluster: both sides show one, signed by the configured authority, that names the process or its role."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Invalid, ScrubjayError, Unsafe
from scrubjay.base.peer_wire import Hello


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """ca: certificates of the authority. cert: of this process, with the chain up to the authority. key: its private key, without a passphrase. All PEM."""

    ca: Path
    cert: Path
    key: Path


def tls_files(ca: Path | None, cert: Path | None, key: Path | None) -> TlsFiles | None:
    """All or none. Raises Invalid if only some are given: half of it would be no protection that anybody could name."""
    if ca is not None and cert is not None and key is not None:
        return TlsFiles(ca, cert, key)
    lacking = [name for name, path in (("ca", ca), ("cert", cert), ("key", key)) if path is None]
    if len(lacking) == 3:
        return None
    raise Invalid("TLS is configured by half: ca, cert and key, or none of them", lacking=", ".join(lacking))


class TlsContexts:
    """What both ends of a connection need, read once. Raises Invalid, naming the file, if one cannot be read or they do not fit together."""

    def __init__(self, files: TlsFiles) -> None:
        self.accepting = _context(ssl.PROTOCOL_TLS_SERVER, files)
        self.dialling = _context(ssl.PROTOCOL_TLS_CLIENT, files)


def _context(side: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # names of machines are not what a certificate of a process names: see `check_names`
    context.verify_mode = ssl.CERT_REQUIRED
    for key, path in (("ca", files.ca), ("cert", files.cert), ("key", files.key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise Invalid("a TLS file cannot be read", key=f"tls.{key}", file=str(path), cause=error.strerror) from error
    try:
        context.load_verify_locations(files.ca)
    except ssl.SSLError as error:
        raise Invalid("the TLS authority holds no certificate", key="tls.ca", file=str(files.ca), cause=error.reason) from error
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise Invalid(
            "the TLS certificate and key cannot be used", key="tls.cert, tls.key", file=f"{files.cert}, {files.key}", cause=error.reason
        ) from error
    return context


def _no_passphrase() -> str:
    """Asked for where the key has one: nobody is there to be asked."""
    return ""


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Whom a certificate (as `getpeercert` tells it) names: its alternative names of DNS; if it has none, its common name."""
    alternative = frozenset(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
    if alternative:
        return alternative
    return frozenset(value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName")


def check_names(hello: Hello, certificate: Mapping[str, Any] | None) -> ScrubjayError | None:
    """Whether who shows the certificate may say `hello`."""
    names = names_of(certificate or {})
    if hello.name in names or hello.role in names:
        return None
    return Unsafe("its certificate names neither it nor its role", name=hello.name, role=hello.role, certificate=", ".join(sorted(names)))
