"""Jobs that read and write a pair of archives: what whoever keeps the pair tells them, and hears of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from scrubjay.base.env import Jobs
from scrubjay.base.wrap.paired import PairedStore

TURN, MET = "pair_turn", "pair_met"
"""Added to a job's arguments, and to its answer, where the archive is a pair; jobs themselves see neither."""


class PairedJobs:
    """`base.env.Jobs` over others that open the same pair: told whose turn it is, and heard of what they met. writes: names of those that put objects: one that failed may
    have put some in one archive alone."""

    def __init__(self, inner: Jobs, pair: PairedStore, *, writes: Collection[str]) -> None:
        self.inner, self._pair, self._writes = inner, pair, frozenset(writes)

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        turn = self._pair.turn
        try:
            answer = await self.inner.run(job, arguments if turn is None else {**arguments, TURN: turn}, progress=progress)
        except BaseException:
            if job in self._writes:
                for half in self._pair.halves:
                    half.doubt()
            raise
        if MET in answer:
            self._pair.hear(answer[MET])
        return {name: value for name, value in answer.items() if name != MET}

    async def bring(self, path: str) -> None:
        await self.inner.bring(path)

    def drop(self, path: str) -> None:
        self.inner.drop(path)
