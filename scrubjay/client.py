"""The CLI's HTTP client of `/admin/v1/` (docs/ADMIN.md). One short request at a time; long work runs in the server and is polled.

Every answer is a JSON object with `exit` and `error` beside the verb's fields; it becomes the verb's answer as it is. What never reached a server
is a Failure of code `Unreachable` (1).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from scrubjay.machine import monotonic_s, pause
from scrubjay.output import FAILED, USAGE, VerbFailure
from scrubjay.progress import Progress, told

DEFAULT_ENDPOINT = "http://127.0.0.1:8000"
CLUSTER_HEADER = "x-scrubjay-cluster"
"""Of every answer of the admin API: the id of the cluster that gave it."""
UNREACHABLE = "Unreachable"
"""Code of an error that says that nobody was reached who could answer: a wait goes on."""
REQUEST_TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 256 << 20
POLL_FIRST_S = 0.05
POLL_MAX_S = 1.0
LOST_POLLS_S = 30.0
"""How long a wait goes on while the server does not answer: a restart in between is survived."""


def split_endpoint(endpoint: str) -> SplitResult:
    """The parts of `http://host:port`. Raises Failure (64)."""
    try:
        parts = urlsplit(endpoint)
        _ = parts.port  # raises on one that is no number up to 65535
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        good = good and not parts.query and not parts.fragment and parts.path in ("", "/") and not any(map(str.isspace, endpoint))
    except ValueError:
        good = False
    if not good:
        step = f"write it with its scheme: http://{endpoint}" if "://" not in endpoint else f"write for example {DEFAULT_ENDPOINT}"
        raise VerbFailure("not an endpoint", code="Usage", exit_code=USAGE, asked=endpoint, found="no http://host:port", next_step=step)
    return parts


def typed(text: str) -> str:
    """A word of the command line as its bytes spell it in UTF-8. Under an ASCII locale Python hands on other bytes as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class AdminClient:
    """Calls one cluster. endpoint: `http://host:port`."""

    def __init__(self, endpoint: str, *, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        parts = split_endpoint(endpoint)
        self.endpoint = endpoint.rstrip("/")
        self._secure = parts.scheme == "https"
        self._netloc = parts.netloc
        self._key = environ.get("SCRUBJAY_ACCESS_KEY_ID") or environ.get("AWS_ACCESS_KEY_ID")
        self._secret = environ.get("SCRUBJAY_SECRET_ACCESS_KEY") or environ.get("AWS_SECRET_ACCESS_KEY")
        self.cluster: str | None = None
        """Id of the cluster that answered, once one has."""
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """GET /admin/v1/<path>. Raises Failure."""
        asked = {name: typed(value) for name, value in (query or {}).items() if value is not None}
        return self._call("GET", path + ("?" + urlencode(sorted(asked.items()), quote_via=quote) if asked else ""), b"")

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a JSON object to /admin/v1/<path>. Raises Failure."""
        text = {name: typed(value) if isinstance(value, str) else value for name, value in body.items()}
        return self._call("POST", path, json.dumps(text).encode())

    def run_job(self, path: str, body: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """Start a job of the server and wait for its result. Raises Failure."""
        started = self.post(path, body)
        document = self.wait(f"jobs/{started['id']}", None, progress)
        return {name: value for name, value in document.items() if name != "kind" and (name, value) != ("id", started["id"])}

    def wait(self, path: str, query: Mapping[str, str | None] | None, progress: Progress) -> dict[str, Any]:
        """Poll until `running` is false; returns the last answer. A server that went away is waited for LOST_POLLS_S."""
        delay = POLL_FIRST_S
        heard = monotonic_s()
        while True:
            try:
                state = self.get(path, query)
                heard = monotonic_s()
            except VerbFailure as failure:
                if failure.error["code"] != UNREACHABLE or monotonic_s() - heard > LOST_POLLS_S:
                    raise
                progress.update("waiting for the server")
                pause(POLL_MAX_S)
                continue
            if not state.pop("running", False):
                return state
            progress.update(*told(state.get("progress") or {}))
            pause(delay)
            delay = min(delay * 1.5, POLL_MAX_S)

    def text(self, target: str) -> str:
        """GET of a page that is not the admin API's, for example `/metrics`. Raises Failure."""
        status, raw = self._exchange("GET", target, b"")
        if status != 200:
            raise VerbFailure(
                "no such page", code="NotScrubjay", exit_code=FAILED, asked=f"{self.endpoint}{target}", found=f"HTTP {status}"
            )
        return raw.decode(errors="replace")

    def _call(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        target = f"/admin/v1/{path}"
        status, raw = self._exchange(method, target, body)
        return self._read(f"{method} {self.endpoint}{target}", status, raw)

    def _exchange(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of what came back, whatever it says. Raises Failure (Unreachable)."""
        import http.client

        headers = self._headers(method, target, body)
        connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = connect(self._netloc, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, target, body=body or None, headers=headers)
            response = connection.getresponse()
            raw = response.read(ANSWER_BYTES_MAX)
            self.cluster = response.headers.get(CLUSTER_HEADER) or self.cluster
            return response.status, raw
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host name that cannot be one
            raise VerbFailure(
                "cannot reach the cluster",
                code=UNREACHABLE,
                exit_code=FAILED,
                asked=f"{method} {self.endpoint}{target}",
                found=str(error) or type(error).__name__,
                next_step="is it running? say which cluster with --endpoint or SCRUBJAY_ENDPOINT",
            ) from None
        finally:
            connection.close()

    def _read(self, asked: str, status: int, raw: bytes) -> dict[str, Any]:
        try:
            document = json.loads(raw)
        except ValueError:
            document = None
        if not isinstance(document, dict) or "error" not in document:
            raise VerbFailure(
                "the endpoint does not speak Scrubjay's admin API",
                code="NotScrubjay",
                exit_code=FAILED,
                asked=asked,
                found=f"HTTP {status}: {raw[:200].decode(errors='replace')!r}",
                next_step="check --endpoint and its version",
            )
        error = document["error"]
        if error is not None and status != 200:
            raise VerbFailure(
                str(error.get("message")),
                code=str(error.get("code")),
                exit_code=int(document.get("exit") or FAILED),
                asked=error.get("asked"),
                found=error.get("found"),
                next_step=error.get("next"),
                body=document,
            )
        return document

    def _headers(self, method: str, target: str, body: bytes) -> dict[str, str]:
        headers = {"Host": self._netloc, "Content-Type": "application/json", "Accept": "application/json"}
        if not self._key or not self._secret:
            return headers
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest(method=method, url=self.endpoint + target, data=body, headers=headers)
        SigV4Auth(Credentials(self._key, self._secret), "dynamodb", self._region).add_auth(request)
        return dict(request.headers.items())
