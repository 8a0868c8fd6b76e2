"""Whether what this process knows of the catalogue is as new as a request that wants to know (ADR 0085): asked for by many, and of the metadata group by one at a time.

Of several processes each serves by the catalogue as it knows it. That a table is not there is a fact only once the metadata group has said so: who would answer that asks here first. One question
answers all who came before it was sent; the next is sent ASK_S after it began at the soonest, and not before BUSY times what it took have gone by. So what a router costs that group does not go by how
many ask for what is not there, nor how often. A question is a read of one item, and one of all only if the group's log has moved since all was read last.

While the group does not answer, nobody is told that something is not there: Unavailable, which every client tries again.
"""

from __future__ import annotations

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.together import settle, within
from scrubjay.storage.control.metadata import Metadata

ASK_S = 0.05
"""Between the beginnings of two questions at least."""
BUSY = 4
"""And at least this many times what the last one took lies between its end and the next."""
ANSWER_S = 2.0
"""A question that has no answer by then has none."""
WAITING_MAX = 10_000
"""Requests that wait for an answer at once; who comes then is told to ask again."""


class Newest:
    """away: the last question had no answer. asked: questions so far."""

    def __init__(self, env: Env, metadata: Metadata) -> None:
        self._env, self._metadata = env, metadata
        self.away = False
        self.asked = 0
        self._waiting: list[Future[None]] = []
        self._asking = False
        self._not_before_us = 0

    async def __call__(self, wait_s: float) -> None:
        """Until what is known is no older than this call. Raises Unavailable: that took longer than `wait_s`, or cannot be known now. wait_s: 0: a question is asked, and not waited for."""
        if self._metadata.alone:
            return
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("too many requests wait for the catalogue")
        future: Future[None] = self._env.tasks.future()
        self._waiting.append(future)
        if not self._asking:
            self._asking = True
            self._env.tasks.spawn(self._ask(), name="newest catalogue")
        timer = self._env.tasks.call_later(wait_s, lambda: settle(future, Unavailable("the catalogue was not told in time")))
        try:
            await future
        finally:
            timer.cancel()

    async def _ask(self) -> None:
        try:
            while self._waiting:
                began_us = self._env.clock.boot_us()
                if began_us < self._not_before_us:
                    await self._env.tasks.sleep((self._not_before_us - began_us) / 1e6)
                    continue
                waiting, self._waiting = self._waiting, []  # who comes from here on may know of what this question does not see
                self.asked += 1
                outcome: ScrubjayError | None = None
                try:
                    await within(self._env.tasks, self._metadata.newest(), seconds=ANSWER_S, what="the metadata group does not answer")
                except ScrubjayError as error:
                    outcome = error if isinstance(error, Unavailable) else Unavailable("the catalogue cannot be read", cause=str(error))
                self.away = outcome is not None
                ended_us = self._env.clock.boot_us()
                self._not_before_us = max(began_us + int(ASK_S * 1e6), ended_us + BUSY * (ended_us - began_us))
                for future in waiting:
                    settle(future, outcome)
        finally:
            self._asking = False
