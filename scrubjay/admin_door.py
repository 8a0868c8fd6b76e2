"""The door of the admin API: who is let in, and how answers and errors leave. What is behind it: `scrubjay.admin` of a process that works for a cluster, less of a storage node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.http_values import Request, Response
from scrubjay.client import CLUSTER_HEADER
from scrubjay.output import DONE, FAILED, INCOMPLETE, MISMATCH, REFUSED, USAGE, VerbFailure, answer, failure_of
from scrubjay.server.ports import Report
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.sigv4 import ROLE_ADMIN, SignatureVerifier

PREFIX = "/admin/v1/"
_STATUS = {USAGE: 400, REFUSED: 409, MISMATCH: 500, INCOMPLETE: 503, FAILED: 503, DONE: 200}


class AdminDoor:
    """routes: by method and path below the prefix. cluster_id: of the cluster that answers. verifier None: anyone may ask."""

    def __init__(
        self, *, cluster_id: Callable[[], str], verifier: SignatureVerifier | None, log: Callable[[str, BaseException], None]
    ) -> None:
        self._cluster_id, self._verifier, self._log = cluster_id, verifier, log
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {}

    async def handle(self, request: Request) -> Response:
        """Answer one request; never raises. Every answer names the cluster it is of, in a header."""
        found = await self._answered(request)
        return Response(found.status, (*found.headers, (CLUSTER_HEADER, self._cluster_id())), found.body)

    async def _answered(self, request: Request) -> Response:
        try:
            refused = self._refusal(request)
            if refused is not None:
                return refused
            return await self.answer(request)
        except VerbFailure as failure:
            return _failed(failure)
        except ScrubjayError as error:
            return _failed(failure_of(error, asked=f"{request.method} {request.path}"))
        except Exception as error:  # noqa: BLE001 - the last line of defence: one bad answer, not a dead connection
            self._log(f"admin {request.path}", error)
            return _failed(
                VerbFailure("a bug in the server", code="Internal", exit_code=FAILED, asked=request.path, found=type(error).__name__)
            )

    async def answer(self, request: Request) -> Response:
        """To somebody who was let in. Raises VerbFailure, ScrubjayError."""
        report = await self.route(request)
        return _response(200, answer(int(report.get("exit", DONE)), report, template={}, error=report.get("error")))

    def _refusal(self, request: Request) -> Response | None:
        if "origin" in request.headers:
            return _failed(VerbFailure("not for web pages", code="AccessDenied", exit_code=FAILED, found="an Origin header"), status=403)
        if self._verifier is None:
            return None
        try:
            identity = self._verifier.verify(request.method, request.path, request.query, request.headers, request.body)
        except ApiError as error:
            denied = VerbFailure(
                "the admin API needs the signature of an admin key",
                code="AccessDenied",
                exit_code=FAILED,
                asked=f"{request.method} {request.path}",
                found=str(error),
                next_step="set SCRUBJAY_ACCESS_KEY_ID and SCRUBJAY_SECRET_ACCESS_KEY",
            )
            return _failed(denied, status=403)
        if identity.role == ROLE_ADMIN:
            return None
        low = VerbFailure(
            "this key is no admin key",
            code="AccessDenied",
            exit_code=FAILED,
            found=f"role {identity.role}",
            next_step="sign with an admin key",
        )
        return _failed(low, status=403)

    async def route(self, request: Request) -> Report:
        """Raises VerbFailure, ScrubjayError."""
        handler = self.routes.get((request.method, request.path.removeprefix(PREFIX)))
        if handler is None:
            raise VerbFailure(
                "no such admin call",
                code="UnknownOperation",
                exit_code=USAGE,
                asked=f"{request.method} {request.path}",
                next_step="docs/ADMIN.md",
            )
        return await handler(request)


def _failed(failure: VerbFailure, *, status: int | None = None) -> Response:
    if status is None:
        status = 404 if failure.error["code"] in ("ResourceNotFound", "UnknownOperation") else _STATUS.get(failure.exit_code, 500)
    return _response(status, answer(failure.exit_code, failure.body, template={}, error=failure.error))


def _response(status: int, document: Mapping[str, Any]) -> Response:
    return Response(status, (("Content-Type", "application/json"), ("Cache-Control", "no-store")), msgspec.json.encode(document))
