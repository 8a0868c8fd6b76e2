"""Where an S3 client finds its credentials, endpoint, region and CA bundle: one answer for every client, in every process.

Order: settings given by name (`[s3]` of the configuration), then what every AWS tool takes, in its order, as botocore resolves it: environment variables,
the profile's files (`services` sections too), web identity, SSO, `credential_process`, container credentials, instance metadata.

Nothing here is decided once: files that changed are read again, credentials that expire are fetched again, and after a server refused some (`refused`)
the whole chain is asked anew, at most every `AGAIN_S`. So renewed credentials are taken without a restart.

Errors are Unavailable with `error_code` CredentialsMissing or CaBundleUnreadable and a `next`: the files may be put right while we run. Settings that can
never work (half a pair of keys, an endpoint that is no URL) are Invalid.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scrubjay.base.errors import Invalid, ScrubjayError, Unavailable

CHECK_S = 1.0
"""How long an answer is used before files and expiry are looked at again."""
AGAIN_S = 2.0
"""Least time between two walks down the whole chain: after a failure, or after a server refused what the last one gave."""
DEFAULT_REGION = "us-east-1"
METADATA_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class Access:
    """All that a client needs. endpoint: "" is AWS itself. token: "" without a session. ca_bundle: PEM, None: the usual roots. source: for error texts."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    token: str
    ca_path: str | None
    ca_bundle: bytes | None
    source: str

    def __repr__(self) -> str:
        return f"Access(endpoint={self.endpoint!r}, region={self.region!r}, access_key={self.access_key!r}, source={self.source!r})"


def settings_from(environment: Mapping[str, str]) -> dict[str, str]:
    """Settings by name from AWS variables that are not this process's own."""
    return {
        "endpoint": environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or "",
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "",
        "access_key": environment.get("AWS_ACCESS_KEY_ID") or "",
        "secret_key": environment.get("AWS_SECRET_ACCESS_KEY") or "",
        "session_token": environment.get("AWS_SESSION_TOKEN") or "",
    }


def check_endpoint(endpoint: str, *, source: str) -> str:
    """`endpoint` without its trailing slash. Raises Invalid if it is no http(s) URL of a host."""
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or any(char.isspace() for char in endpoint):
        raise Invalid(
            "the object store's endpoint is no URL",
            asked=f"{source}={endpoint}",
            found="no http:// or https:// with a host",
            next=f"write it with its scheme, for example http://{endpoint}" if "://" not in endpoint else "write http://HOST:PORT",
        )
    return endpoint.rstrip("/")


class Resolver:
    """Finds `Access` and keeps it current. Thread-safe; `resolve` may block (files, metadata services): call it on a thread unless `fresh`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """settings: endpoint, region, access_key, secret_key, session_token, ca_bundle; each "" or absent if not given by name. Raises Invalid."""
        self._given = {name: value for name, value in settings.items() if value}
        if ("access_key" in self._given) != ("secret_key" in self._given):
            has, lacks = ("access key id", "secret access key") if "access_key" in self._given else ("secret access key", "access key id")
            raise Invalid(
                "half a pair of S3 keys",
                asked=f"an {has} in [s3]" if has[0] == "a" else f"a {has} in [s3]",
                found=f"no {lacks} beside it",
                next="give s3.access_key_id and s3.secret_access_key together, or neither",
            )
        if "endpoint" in self._given:
            check_endpoint(self._given["endpoint"], source="endpoint_url")
        self._lock = threading.Lock()
        self._session: Any = None
        self._credentials: Any = None
        self._files: tuple[object, ...] = ()
        self._loaded_at = -1e9
        self._checked_at = -1e9
        self._refused = False
        self._access: Access | None = None
        self._failure: ScrubjayError | None = None

    def fresh(self) -> Access | None:
        """The answer if it need not be looked at again yet; never blocks."""
        return self._access if not self._refused and time.monotonic() - self._checked_at < CHECK_S else None

    def refused(self, access: Access) -> None:
        """A server refused these credentials: ask for others. Says so of the latest only; older ones have been replaced already."""
        if access == self._access:
            self._refused = True

    def resolve(self) -> Access:
        """The present answer. Raises Unavailable (CredentialsMissing, CaBundleUnreadable), Invalid (an endpoint that is no URL)."""
        with self._lock:
            now = time.monotonic()
            rested = now - self._loaded_at >= AGAIN_S
            if self._failure is not None and not rested:
                raise type(self._failure)(self._failure.message, **self._failure.fields)
            try:
                if self._session is None or self._files != self._signature() or ((self._refused or self._failure is not None) and rested):
                    self._load(now)
                self._access = self._read()
            except ScrubjayError as error:
                self._failure, self._access, self._session = error, None, None
                raise
            self._failure, self._checked_at = None, now
            return self._access

    # --- behind the lock ---

    def _load(self, now: float) -> None:
        """Begin again at the head of the chain."""
        import botocore.session

        self._loaded_at, self._refused = now, False
        session = botocore.session.Session(
            session_vars={"metadata_service_timeout": ("metadata_service_timeout", None, METADATA_TIMEOUT_S, int)}
        )
        self._session, self._credentials = session, None
        self._files = self._signature()
        if "access_key" in self._given:
            return
        self._credentials = _botocore(session.get_credentials)
        if self._credentials is None:
            raise Unavailable(
                "no credentials for the object store were found",
                error_code="CredentialsMissing",
                found=f"none in the environment, the AWS files ({', '.join(_paths(session))}), container or instance metadata",
                next="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or [s3] of the configuration",
            )

    def _signature(self) -> tuple[object, ...]:
        """Changes when a file of AWS configuration does."""
        found: list[object] = []
        for path in _paths(self._session) if self._session is not None else ():
            try:
                facts = Path(path).stat()
            except OSError:
                found.append(None)
            else:
                found.append((facts.st_mtime_ns, facts.st_size, facts.st_ino))
        return tuple(found)

    def _read(self) -> Access:
        given = self._given
        endpoint = given.get("endpoint") or _botocore(self._endpoint)
        region = given.get("region") or os.environ.get("AWS_REGION") or _botocore(lambda: self._session.get_config_variable("region"))
        ca_path, ca_bundle = self._ca(str(endpoint or ""))
        if "access_key" in given:
            keys = (given["access_key"], given["secret_key"], given.get("session_token", ""))
            source = "[s3]"
        else:
            frozen = _botocore(self._credentials.get_frozen_credentials)
            if not frozen.access_key or not frozen.secret_key:
                raise Unavailable(
                    "the credentials for the object store are incomplete",
                    error_code="CredentialsMissing",
                    found=f"half a pair, from {self._credentials.method}",
                    next="give an access key id and a secret access key",
                )
            keys = (frozen.access_key, frozen.secret_key, frozen.token or "")
            source = str(self._credentials.method)
        return Access(
            check_endpoint(str(endpoint), source="endpoint_url") if endpoint else "",
            str(region or DEFAULT_REGION),
            *keys,
            ca_path,
            ca_bundle,
            source,
        )

    def _endpoint(self) -> str | None:
        from botocore.configprovider import ConfiguredEndpointProvider

        session = self._session
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        # The class is private to botocore, whose version is pinned; tests go through every place an endpoint may stand in.
        provider = ConfiguredEndpointProvider(
            full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="s3", environ=os.environ
        )
        found: str | None = provider.provide()
        return found

    def _ca(self, endpoint: str) -> tuple[str | None, bytes | None]:
        """Path and content of the bundle; none where nothing is encrypted, so that a stray variable cannot stop a client that needs no certificates."""
        if endpoint.startswith("http://"):
            return None, None
        path = (
            self._given.get("ca_bundle")
            or _botocore(lambda: self._session.get_config_variable("ca_bundle"))
            or os.environ.get("REQUESTS_CA_BUNDLE")
        )
        if not path:
            return None, None
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            if b"-----BEGIN CERTIFICATE-----" in data:
                return str(path), data
            reason = "no PEM certificate in it"
        raise Unavailable(
            "the CA bundle for the object store cannot be used",
            error_code="CaBundleUnreadable",
            found=f"{path}: {reason}",
            next="correct AWS_CA_BUNDLE or ca_bundle of the AWS configuration, or take it away",
        )


def _paths(session: Any) -> list[str]:
    """The shared files as botocore finds them."""
    names = (session.get_config_variable("credentials_file"), session.get_config_variable("config_file"))
    return [os.path.expanduser(name) for name in names if name]  # noqa: PTH111 - as botocore: without a home it stays as it is, and is not there


def _botocore(work: Any) -> Any:
    """Run a step of botocore's chain; whatever it stumbles over in files or metadata services is CredentialsMissing."""
    from botocore.exceptions import BotoCoreError

    try:
        return work()
    except (BotoCoreError, OSError, RuntimeError, ValueError, KeyError) as error:
        brief = " ".join(str(error).split())[:300]
        raise Unavailable(
            "the credentials for the object store cannot be had",
            error_code="CredentialsExpired" if "expired" in brief.lower() else "CredentialsMissing",
            found=brief,
            next="correct the AWS files and variables (AWS_PROFILE, credentials, config), or whatever gives out the credentials",
        ) from error
