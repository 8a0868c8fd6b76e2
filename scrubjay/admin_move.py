"""The admin API's call of a move of the archive: `archive move`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from scrubjay.admin_asked import body_of
from scrubjay.admin_jobs import JobBoard
from scrubjay.base.http_values import Request
from scrubjay.output import DONE
from scrubjay.server.ports import MovePort, ProgressSink, Report


class MoveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """confirm: do it; else how far it is. back: give it up."""

    confirm: bool = False
    back: bool = False


class MoveCalls:
    """routes: as `AdminApi` has them."""

    def __init__(self, board: JobBoard, move: MovePort) -> None:
        self._board, self._move = board, move
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Report]]] = {("POST", "archive/move"): self._post_move}

    async def _post_move(self, request: Request) -> Report:
        asked = body_of(request, MoveRequest)

        async def work(progress: ProgressSink) -> Report:
            return await self._move.move(confirm=asked.confirm, back=asked.back, progress=progress)

        job = self._board.start("archive/move", work, lane="move")
        return {"exit": DONE, "id": job.id, "kind": job.kind, "running": True}
