"""Moving the archive to another place, while the cluster goes on: the new place is the second archive, is given everything, proven to hold the same byte for byte, and then decides.

Nothing is taken away from the old place, and at no moment is there less than one whole archive. Where the new one decides it keeps its turn (`PairKeeper.stays`), over restarts;
the old one follows until the server is started with the new one as its archive. Cut off anywhere, a move is asked for again.
"""

from __future__ import annotations

from typing import Any

from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.times import utc_text
from scrubjay.base.wrap.paired import SECOND
from scrubjay.server.pairing import LOOK_S, PairComparison, PairKeeper
from scrubjay.server.ports import ProgressSink, Report

DONE, FOUND, INCOMPLETE = 0, 2, 3
CLAIM_S = 60.0
"""How long the claim where the turn is now is waited for."""


class Moves:
    """keeper None: there is one archive."""

    def __init__(self, env: Env, keeper: PairKeeper | None, writer: Writer) -> None:
        self._env, self._keeper, self._writer = env, keeper, writer

    async def move(self, *, confirm: bool, back: bool, progress: ProgressSink) -> Report:
        """See server.ports.MovePort."""
        keeper = self._keeper
        if keeper is None:
            raise Unsafe(
                "there is no second archive that this one could move to",
                next="set second.url to the new place, which is empty, and start again: everything is copied there while the cluster serves",
            )
        if back and confirm:
            keeper.stay(False)  # it is given its turn back as soon as it lacks nothing
            return self._report(keeper, None, ran=True)
        if back or not confirm:
            return self._report(keeper, None, ran=False)
        await self._whole(keeper, progress)
        found = await self._compare(keeper, progress)
        if found.differences:
            return self._report(keeper, found, ran=True)
        keeper.stay(True)
        while not await keeper.give_to(SECOND):
            await self._whole(keeper, progress)
        await self._claimed(progress)
        return self._report(keeper, found, ran=True)

    async def _whole(self, keeper: PairKeeper, progress: ProgressSink) -> None:
        """Wait until neither lacks anything. Raises Unavailable: one of them does not answer."""
        while True:
            away = next((half for half in keeper.pair.halves if half.error is not None), None)
            if away is not None:
                raise Unavailable("an archive does not answer: nothing is moved while one is away", archive=away.url, cause=str(away.error))
            if all(half.whole for half in keeper.pair.halves):
                return
            lacking = sum(len(half.lacking) for half in keeper.pair.halves)
            progress({"phase": "copy", "done": keeper.copied, "total": keeper.copied + lacking, "unit": "objects"})
            await self._env.tasks.sleep(LOOK_S)

    async def _compare(self, keeper: PairKeeper, progress: ProgressSink) -> PairComparison:
        """All of it, byte for byte. Raises Unavailable."""

        def told(read: int) -> str | None:
            progress({"phase": "compare", "done": read, "total": None, "unit": "bytes"})
            return None

        return await keeper.compare(stop=told)

    async def _claimed(self, progress: ProgressSink) -> None:
        """Until something may be written where the turn is now. Raises Unavailable."""
        began_us = self._env.clock.boot_us()
        while self._writer.state:
            if self._env.clock.boot_us() - began_us >= CLAIM_S * 1e6:
                raise Unavailable("the new archive decides, and is not claimed yet: nothing is written", state=self._writer.state)
            progress({"phase": "claim"})
            await self._env.tasks.sleep(0.1)

    def _report(self, keeper: PairKeeper, found: PairComparison | None, *, ran: bool) -> Report:
        first, second = keeper.states()
        lacks: Any = sum(one.lacking for one in (first, second)) if first.compared and second.compared else None
        differ = () if found is None else found.differences
        behind = lacks != 0
        return {
            "exit": FOUND if differ else INCOMPLETE if behind and not ran else DONE,
            "error": None,
            "ran": ran,
            "at": utc_text(self._env.clock.wall_us()),
            "from": first.url,
            "to": second.url,
            "decides": None if keeper.pair.turn is None else (first, second)[keeper.pair.turn].url,
            "stays": keeper.stays,
            "lacking": lacks,
            "checked": None if found is None else found.checked,
            "bytes": None if found is None else found.bytes,
            "mended": None if found is None else found.mended,
            "differences": [{"archive": one.archive, "object": one.key, "kind": one.kind, "detail": one.detail} for one in differ],
        }
