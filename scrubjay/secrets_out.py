"""Secrets taken out of what leaves this machine, in two steps that do not rely on each other: of the configuration only what is known to be none is shown, and in
every text what is known to be one is replaced, in each spelling that it may have there."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from scrubjay.base.sealed import SECRET_BYTES
from scrubjay.config import Config, Field, fields, format_value

REPLACED = "[secret]"
NOT_SHOWN = "(set, not shown)"
LEAST = 8
"""Characters of the shortest secret that texts are searched for: a shorter one is a word that stands there for other reasons."""
TOKEN_LEAST = 16
"""Characters of the shortest part of a URL's path that is taken for a secret by itself."""
KEY_FILE_BYTES_MAX = 4096
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|ACCESS_KEY|_KEY(S|_\d+.*)?$")
"""Of variables, whoever they belong to."""
_ANYBODYS = (
    (re.compile(r"(://)[^/@\s\"']+@"), rf"\1{REPLACED}@"),
    (re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", re.IGNORECASE), rf"\1{REPLACED}"),
    (re.compile(r"(Authorization\W{1,4})(?:AWS4-HMAC-SHA256|Bearer|Basic)[^\"'\n]+", re.IGNORECASE), rf"\1{REPLACED}"),
    (re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b"), REPLACED),
)
"""What is a secret by its form: users and passwords of URLs, signatures, ids of AWS keys."""


def shown(config: Config) -> dict[str, str]:
    """Every key of the configuration with what strangers may read of its value."""
    return {dotted: _shown(entry, getattr(getattr(config, entry.section), entry.attribute)) for dotted, entry in fields().items()}


def _shown(entry: Field, value: Any) -> str:
    kind = entry.key.kind
    if kind == "keys":
        return ", ".join(f"{key.id} ({key.role})" for key in value)
    if kind == "urls":
        return ", ".join(_host_of(url) for url in value)
    if kind == "sources":
        return ", ".join(f"{name}={_source(source)}" for name, source in value)
    if kind == "text" and not entry.key.open:
        return NOT_SHOWN if value else ""
    return _bare_url(value) if kind == "text" else format_value(entry, value)


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def _bare_url(text: str) -> str:
    """Without user, query and fragment; what is no URL as it is."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return NOT_SHOWN
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _source(source: str) -> str:
    kind, _, what = source.partition(":")
    return f"command:{shlex.split(what)[0]} …" if kind == "command" else source


class Cleaner:
    """Takes the secrets of one configuration and one environment out of texts."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        found = {spelt for secret in _secrets(config, environ) if len(secret) >= LEAST for spelt in _spellings(secret)}
        longest_first = sorted(found, key=lambda one: (-len(one), one))
        self._known: Callable[[str], str] = (
            (lambda text: text) if not found else _replacing(re.compile("|".join(re.escape(one) for one in longest_first)))
        )

    def clean(self, text: str) -> str:
        text = self._known(text)
        for pattern, instead in _ANYBODYS:
            text = pattern.sub(instead, text)
        return text


def _replacing(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: pattern.sub(REPLACED, text)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    for ascii_ in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_)[1:-1]  # a report that is a text of another document
    yield repr(secret)[1:-1]
    yield base64.b64encode(secret.encode(errors="surrogateescape")).decode().rstrip("=")


def _secrets(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    for entry in fields().values():
        value = getattr(getattr(config, entry.section), entry.attribute)
        if entry.key.kind == "keys":
            yield from (key.secret for key in value)
        elif entry.key.kind == "urls":
            for url in value:
                yield from _of_url(url)
        elif entry.key.kind == "sources":
            for _, source in value:
                yield from _of_source(source, environ)
        elif entry.key.kind == "text":
            yield from _of_url(value) if entry.key.open else [value]
    for name, value in environ.items():
        if _SECRET_NAME.search(name.upper()):
            yield value
            yield from _of_url(value)


def _of_url(text: str) -> Iterator[str]:
    """Its password and its query; of a webhook its path too, which may be all that guards it."""
    if "://" not in text:
        return
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.password:
            yield parts.netloc.rpartition("@")[0]
            yield parts.password
        if parts.query:
            yield parts.query
            yield from (value for _, value in parse_qsl(parts.query))
        if parts.scheme in ("http", "https"):
            yield from (part for part in parts.path.split("/") if len(part) >= TOKEN_LEAST)
            if len(parts.path) > 1:
                yield f"{parts.netloc}{parts.path}"


def _of_source(source: str, environ: Mapping[str, str]) -> Iterator[str]:
    """What stands where a key comes from, and the key in every form it may have. A command is not run."""
    kind, _, what = source.partition(":")
    found = b""
    if kind == "env":
        found = environ.get(what, "").encode(errors="surrogateescape")
    elif kind == "file":
        with suppress(OSError), open(Path(what), "rb") as file:
            found = file.read(KEY_FILE_BYTES_MAX)
    else:
        yield from (part for word in shlex.split(what)[1:] for part in (word, word.partition("=")[2]) if len(part) >= TOKEN_LEAST)
    yield found.decode(errors="backslashreplace").strip()
    key = found if len(found) == SECRET_BYTES else _decoded(found.strip())
    if key is not None:
        yield from (
            key.hex(),
            key.hex().upper(),
            base64.b64encode(key).decode().rstrip("="),
            base64.urlsafe_b64encode(key).decode().rstrip("="),
        )


def _decoded(text: bytes) -> bytes | None:
    """The key of 32 bytes that a text of hex or base64 stands for."""
    decoders: tuple[Callable[[bytes], bytes], ...] = (binascii.unhexlify, partial(base64.b64decode, validate=True))
    for decode in decoders:
        with suppress(ValueError):
            if len(key := decode(text)) == SECRET_BYTES:
                return key
    return None
