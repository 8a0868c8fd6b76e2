"""Errands: what a node does on request and what takes long. Each has an id that its asker chose, goes on without the asker, and ends by itself.

Asking about one again gives the same answer again, for a while: an answer that is lost loses nothing. Bounded in number.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from scrubjay.base.env import Env, Future, Task
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.storage.commands.values import Failure
from scrubjay.storage.node.errand_messages import LOOK_S, Ended, Outcome, Running

ERRANDS_MAX = 64
"""Running or remembered; whoever wants another asks again."""
KEPT_S = 60.0
"""How long the outcome is told after the end."""

Note = Callable[[str], None]


class _Errand:
    """waiting: who wants to know what is new."""

    def __init__(self) -> None:
        self.note = ""
        self.ended: Ended | None = None
        self.waiting: list[Future[None]] = []
        self.task: Task[None] | None = None

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Errands:
    """broken: told of an exception that is no ScrubjayError: it must not be lost."""

    def __init__(self, env: Env, *, broken: Callable[[Exception], None]) -> None:
        self._env, self._broken = env, broken
        self._known: dict[str, _Errand] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, id_: str, work: Callable[[Note], Coroutine[Any, Any, Outcome]]) -> None:
        """Begin `work`, unless an errand of this id was begun: whoever asks twice wants it once. work: told where to put its note. Raises Unavailable."""
        if id_ in self._known:
            return
        self._forget_ended()
        if len(self._known) >= ERRANDS_MAX:
            raise Unavailable("this node has too many errands", errands=len(self._known))
        errand = self._known[id_] = _Errand()
        errand.task = self._env.tasks.spawn(self._run(id_, errand, work), name=f"errand {id_}")

    async def _run(self, id_: str, errand: _Errand, work: Callable[[Note], Coroutine[Any, Any, Outcome]]) -> None:
        def note(text: str) -> None:
            errand.note = text
            errand.wake()

        try:
            errand.ended = Ended(await work(note), None)
        except ScrubjayError as error:
            errand.ended = Ended(None, Failure(error.code, error.message, error.fields))
        except Exception as error:  # noqa: BLE001  a bug of ours: the node stops, as for one anywhere else
            self._broken(error)
            errand.ended = Ended(None, Failure("Internal", "the node broke a rule of its own", {"cause": repr(error)}))
        self._env.tasks.call_later(KEPT_S, lambda: self._forget(id_, errand))
        errand.wake()

    def _forget(self, id_: str, errand: _Errand) -> None:
        """Unless another was begun under its id, once this one had made room."""
        if self._known.get(id_) is errand:
            del self._known[id_]

    def _forget_ended(self) -> None:
        """Make room: the outcome that was known first goes."""
        if len(self._known) >= ERRANDS_MAX:
            ended = next((id_ for id_, errand in self._known.items() if errand.ended is not None), None)
            if ended is not None:
                del self._known[ended]

    async def look(self, id_: str, noted: str) -> Running | Ended:
        """See `errand_messages.Look`. Raises Unavailable: nothing is known of it."""
        errand = self._known.get(id_)
        if errand is None:
            raise Unavailable("this node knows nothing of the errand (any more)", errand=id_)
        if errand.ended is None and errand.note == noted:
            news: Future[None] = self._env.tasks.future()
            errand.waiting.append(news)
            timer = self._env.tasks.call_later(LOOK_S, lambda: None if news.done() else news.set_result(None))
            try:
                await news
            finally:
                timer.cancel()
                if news in errand.waiting:
                    errand.waiting.remove(news)
        if errand.ended is not None and errand.note == noted:
            return errand.ended
        return Running(errand.note)

    def stop(self) -> None:
        """The node stops: what runs is let go of."""
        for errand in self._known.values():
            if errand.ended is None and errand.task is not None:
                errand.task.cancel()
