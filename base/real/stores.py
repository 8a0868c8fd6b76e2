"""Object stores by URL: `file:///path` and `s3://bucket/prefix`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from base.errors import Invalid
from base.real.localfs import LocalStore
from base.real.s3 import S3Store, settings_from

_PREFIX = re.compile(r"[A-Za-z0-9._=/-]*")


def open_store(
    url: str, *, environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
) -> LocalStore | S3Store:
    """The store behind `url`, bare (no retry, not probed). Opens nothing yet.

    environment: where the AWS variables are looked up (os.environ if None). settings: override single ones: endpoint, region, access_key, secret_key,
    session_token, timeout (seconds, of one request). Raises Invalid for a URL that is none of ours.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise Invalid("an archive URL has no query and no fragment", url=url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise Invalid("a file archive needs an absolute path: file:///path", url=url)
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        prefix = parts.path.strip("/")
        if not parts.netloc or not _PREFIX.fullmatch(prefix) or "//" in prefix or any(name.startswith(".") for name in prefix.split("/")):
            raise Invalid("an S3 archive is s3://bucket/prefix with letters, digits and ._=- in the prefix", url=url)
        merged = settings_from(environment)
        merged.update({name: value for name, value in (settings or {}).items() if value})
        return S3Store(parts.netloc, prefix, merged)
    raise Invalid("an archive URL begins with file:// or s3://", url=url)
