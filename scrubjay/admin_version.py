"""The admin API's calls about the cluster's version: `cluster version`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from scrubjay.admin_asked import body_of
from scrubjay.base.http_values import Request
from scrubjay.output import DONE
from scrubjay.server.control import Control
from scrubjay.server.ports import Report
from scrubjay.server.raising import hold, version_report


class HoldRequest(msgspec.Struct, forbid_unknown_fields=True):
    """held: from now on, or no more."""

    held: bool


class VersionCalls:
    """routes: as `AdminApi` has them. Every process of a cluster answers them by itself: a hold must be possible while the durability process is of an older release."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {
            ("GET", "cluster/version"): self._get,
            ("POST", "cluster/version"): self._post,
        }

    async def _get(self, request: Request) -> Report:
        del request
        return {"exit": DONE, **version_report(self._control)}

    async def _post(self, request: Request) -> Report:
        await hold(self._control, held=body_of(request, HoldRequest).held)
        return {"exit": DONE, **version_report(self._control)}
