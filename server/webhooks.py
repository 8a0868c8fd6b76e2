"""Webhooks: a problem that begins or is over is posted, as JSON, to every URL that was configured. Each has a queue and a pace of its own, so that one that hangs keeps
nobody from being told by another; nothing waits for them.

At least once: a notice is tried again until it is taken with a 2xx, and an answer that was lost makes two of one (`id` tells). A queue is bounded, and what does not
fit, or was not taken for a day, is given up, which is counted, and told by kind in one more notice (`untold`) once the others were taken. After a restart the
problems that there are begin anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scrubjay.base import steady
from scrubjay.base.env import Env, Future, Task, Timer
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel, within
from scrubjay.server.health import Problem
from scrubjay.server.ports import Report

QUEUE_MAX = 256
AGAIN_S, AGAIN_MAX_S = 1.0, 300.0
GIVE_UP_US = 86_400_000_000
SIGNATURE = "X-Scrubjay-Signature"
"""`sha256=` and the HMAC of the body, in hexadecimal, if there is a secret."""

Post = Callable[[str, bytes, Mapping[str, str]], Coroutine[Any, Any, int]]
"""post(url, body, headers): the status. Raises Unavailable."""


class Notice(NamedTuple):
    """at_us: when it was queued, on the boot clock. kind: of its problem. untold: of which problems it says that nobody was told, if it is that notice."""

    at_us: int
    body: bytes
    kind: str = ""
    untold: Mapping[str, int] = {}


@dataclass(slots=True)
class Hook:
    """name: host and number, without path: the rest of a URL may be a secret. error: why it takes nothing now, None: it does, as far as is known.
    bell: rung when there is a notice. pause: ended when the first that waits is to be tried again. untold: notices given up that nobody was told of yet, by kind."""

    name: str
    url: str
    queue: deque[Notice] = field(default_factory=deque)
    bell: Future[None] | None = None
    pause: Future[None] | None = None
    taken: int = 0
    failed: int = 0
    dropped: int = 0
    error: str | None = None
    untold: dict[str, int] = field(default_factory=dict)

    def give_up_first(self) -> None:
        """The oldest notice, for want of room or after a day."""
        notice = self.queue.popleft()
        if notice.kind:
            self.dropped += 1
        for kind, number in ({notice.kind: 1} if notice.kind else notice.untold).items():
            self.untold[kind] = self.untold.get(kind, 0) + number


class Webhooks:
    """facts: of the cluster, in every notice. secret: to sign with, "": unsigned. log(level, line): once when a hook fails, once when it has taken notices for a while
    again: one that takes every other notice is one trouble that lasts."""

    def __init__(
        self,
        env: Env,
        urls: Sequence[str],
        post: Post,
        *,
        secret: str,
        timeout_s: float,
        facts: Mapping[str, Any],
        log: Callable[[str, str], object],
    ) -> None:
        self._env, self._post, self._secret, self._timeout_s = env, post, secret.encode(), timeout_s
        self._facts, self._log = facts, log
        self.hooks = [Hook(f"{urlsplit(url).hostname}#{number}", url) for number, url in enumerate(urls, 1)]
        self._tasks: list[Task[None]] = []
        self._changes: steady.Changes[str, str] = steady.Changes(env.clock, self._say)
        self._looks: Timer | None = None

    def start(self) -> None:
        for hook in self.hooks:
            self._tasks.append(self._env.tasks.keep(partial(self._deliver, hook), name=f"webhook {hook.name}"))

    def stop(self) -> None:
        """What was not taken yet is told anew by the next start, if it still is a problem."""
        for task in self._tasks:
            task.cancel()
        if self._looks is not None:
            self._looks.cancel()

    def tell(self, problem: Problem, over: bool) -> None:
        """Queue it for everybody. Never blocks, never raises."""
        body = self._body("over" if over else "problem", problem.as_json())
        for hook in self.hooks:
            if len(hook.queue) >= QUEUE_MAX:
                hook.give_up_first()
            hook.queue.append(Notice(self._env.clock.boot_us(), body, problem.found.kind))
            if hook.bell is not None and not hook.bell.done():
                hook.bell.set_result(None)

    async def test(self) -> Report:
        """`alerts test`: one notice to each at once, outside of the queues. exit 3: one did not take it. Raises Unavailable if there is none."""
        if not self.hooks:
            raise Unavailable(
                "no webhook is configured", next='set alerts.webhooks, for example ["https://host/path"], and start the server again'
            )
        body = self._body("test", {"what": "a test notice: somebody asked whether you hear us"})

        async def one(hook: Hook) -> dict[str, Any]:
            began_us = self._env.clock.boot_us()
            status, error = await self._send(hook, body)
            if error is None:
                _end_pause(hook)  # somebody has mended it: what waits is not to wait for the end of a pause of minutes
            seconds = round((self._env.clock.boot_us() - began_us) / 1e6, 3)
            return {"webhook": hook.name, "status": status, "seconds": seconds, "error": error, "waiting": len(hook.queue)}

        rows = await in_parallel(self._env.tasks, one, self.hooks, lanes=len(self.hooks), name="test of webhooks")
        return {"exit": 3 if any(row["error"] for row in rows) else 0, "error": None, "webhooks": rows}

    def _body(self, event: str, facts: Mapping[str, Any]) -> bytes:
        at = utc_text(self._env.clock.wall_us())
        return json.dumps({"schema": 1, "id": self._env.rand.uuid(), "event": event, "at": at, **self._facts, **facts}).encode()

    async def _send(self, hook: Hook, body: bytes) -> tuple[int | None, str | None]:
        """(status, why it was not taken)."""
        headers = {"Content-Type": "application/json", "User-Agent": "scrubjay"}
        if self._secret:
            headers[SIGNATURE] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        try:
            posting = self._post(hook.url, body, headers)
            status = await within(self._env.tasks, posting, seconds=self._timeout_s, what="the webhook did not answer in time")
        except ScrubjayError as error:
            found = error.fields.get("found")
            return None, f"{error.message}: {found}" if found else error.message
        return status, None if 200 <= status < 300 else f"it answered {status}"

    async def _deliver(self, hook: Hook) -> None:
        pause_s = AGAIN_S
        while True:
            while not hook.queue:
                if hook.untold:
                    hook.queue.append(Notice(self._env.clock.boot_us(), self._body("untold", _untold(hook.untold)), untold=hook.untold))
                    hook.untold = {}
                    break
                hook.bell = self._env.tasks.future()
                await hook.bell
            notice = hook.queue[0]
            _, error = await self._send(hook, notice.body)
            self._heard(hook, error)
            first = bool(hook.queue) and hook.queue[0] is notice  # else it was pushed out meanwhile
            if error is None:
                hook.taken += 1
                pause_s = AGAIN_S
                if first:
                    hook.queue.popleft()
                continue
            hook.failed += 1
            if first and self._env.clock.boot_us() - notice.at_us > GIVE_UP_US:
                hook.give_up_first()
            hook.pause = self._env.tasks.future()
            timer = self._env.tasks.call_later(self._env.rand.uniform(pause_s / 2, pause_s), partial(_end_pause, hook))
            await hook.pause
            timer.cancel()
            pause_s = min(pause_s * 2, AGAIN_MAX_S)

    def _heard(self, hook: Hook, error: str | None) -> None:
        hook.error = error
        self._look()

    def _look(self) -> None:
        """And again later, while one that takes notices again is not called so yet: the next notice may be a long time coming."""
        self._changes.look({hook.name: f"{hook.name} {hook.error}" for hook in self.hooks if hook.error is not None})
        if self._looks is not None:
            self._looks.cancel()
        waits = any(hook.error is None and hook.name in self._changes for hook in self.hooks)
        self._looks = self._env.tasks.call_later(steady.AWAY_S, self._look) if waits else None

    def _say(self, what: str, over: bool) -> None:
        name, _, error = what.partition(" ")
        if over:
            self._log("info", f"webhook {name} takes notices again")
        else:
            self._log("error", f"webhook {name} takes no notices, they wait: {error}")


def _end_pause(hook: Hook) -> None:
    if hook.pause is not None and not hook.pause.done():
        hook.pause.set_result(None)


def _untold(kinds: Mapping[str, int]) -> dict[str, Any]:
    """What the notices that were given up were of. Pure."""
    total = sum(kinds.values())
    return {
        "what": f"{total} notices were given up, too many waited or for too long: scrubjay status shows what is wrong now",
        "kinds": dict(sorted(kinds.items())),
    }
