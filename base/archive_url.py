"""What a URL of an archive looks like: one rule for the configuration, which refuses another before anything starts, and for whoever opens the store."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PREFIX = re.compile(r"[A-Za-z0-9._=/-]*")


def url_fault(url: str) -> str | None:
    """What keeps `url` from being `file:///path` or `s3://bucket/prefix`, in a sentence; None: nothing. Looks at nothing but the text."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"an archive URL that cannot be read: {error}"
    if parts.query or parts.fragment:
        return "an archive URL has no query and no fragment"
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            return "a file archive needs an absolute path: file:///path"
        return None
    if parts.scheme == "s3":
        prefix = parts.path.strip("/")
        if not parts.netloc or not _PREFIX.fullmatch(prefix) or "//" in prefix or any(name.startswith(".") for name in prefix.split("/")):
            return "an S3 archive is s3://bucket/prefix with letters, digits and ._=- in the prefix"
        return None
    return "an archive URL begins with file:// or s3://"
