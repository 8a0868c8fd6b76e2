"""Webhooks against a real HTTP server that refuses, hangs, answers 500 and comes back: everybody is told, in order, and nobody waits."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.webhook import post
from scrubjay.server import webhooks as module
from scrubjay.server.health import Problem
from scrubjay.server.problems import FoundProblem
from scrubjay.server.webhooks import QUEUE_MAX, SIGNATURE, Webhooks
from scrubjay.sim.lone import LoneHost
from tests.fixtures.ports import free_ports
from tests.fixtures.receiver import Receiver


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    monkeypatch.setattr(module, "AGAIN_MAX_S", 0.05)


def problem(number: int) -> Problem:
    return Problem(FoundProblem("node-full", f"n{number}", f"number {number}"), 1_700_000_000_000_000)


def with_hooks(urls: list[str], work: Callable[[Webhooks, AsyncTasks], Coroutine[Any, Any, None]], *, timeout_s: float = 5.0) -> list[str]:
    """Run `work` on a loop of its own; the log's lines."""
    lines: list[str] = []

    async def main(tasks: AsyncTasks) -> None:
        hooks = Webhooks(
            Env(RealClock(), RealRand(), tasks),
            urls,
            post,
            secret="between us",
            timeout_s=timeout_s,
            facts={"cluster": "c"},
            log=lambda level, line: lines.append(f"{level} {line}"),
        )
        hooks.start()
        await work(hooks, tasks)
        hooks.stop()

    run(main)
    return lines


async def until(tasks: AsyncTasks, claim: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if claim():
            return
        await tasks.sleep(0.01)
    raise AssertionError("not within 20 s")


def test_a_beginning_and_an_end_are_told_and_signed() -> None:
    with Receiver() as receiver:

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            hooks.tell(problem(1), True)
            await until(tasks, lambda: len(receiver.taken) == 2)

        assert with_hooks([receiver.url], work) == []
        first, second = receiver.taken
        assert (first["event"], second["event"]) == ("problem", "over")
        assert (first["kind"], first["what"], first["cluster"]) == ("node-full", "number 1", "c")
        assert first["runbook"] == "runbooks/disk-full.md"
        assert first["id"] != second["id"]
        mac = hmac.new(b"between us", receiver.bodies[0], hashlib.sha256).hexdigest()
        assert receiver.headers[0][SIGNATURE] == f"sha256={mac}"


def test_what_a_500_did_not_take_is_told_in_order_once_it_does() -> None:
    with Receiver() as receiver:
        receiver.status = 500

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            for number in range(3):
                hooks.tell(problem(number), False)
            (hook,) = hooks.hooks
            await until(tasks, lambda: hook.failed >= 3)
            receiver.status = 200
            await until(tasks, lambda: not hook.queue)
            assert (hook.taken, hook.dropped) == (3, 0)

        lines = with_hooks([receiver.url], work)
        assert [notice["what"] for notice in receiver.taken] == ["number 0", "number 1", "number 2"]
        assert [line.split(" ", 1)[0] for line in lines] == ["error", "info"], "once when it begins, once when it is over"
        assert "it answered 500" in lines[0]
        assert "token" not in lines[0], "a URL may be a secret"


def test_one_that_hangs_keeps_no_other_from_being_told() -> None:
    with Receiver() as hangs, Receiver() as takes:
        hangs.status = 0

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            await until(tasks, lambda: len(takes.taken) == 1)
            await until(tasks, lambda: hooks.hooks[0].failed >= 1)
            assert "in time" in str(hooks.hooks[0].error)

        with_hooks([hangs.url, takes.url], work, timeout_s=0.3)


def test_one_that_is_not_there_is_told_when_it_comes() -> None:
    (port,) = free_ports(1)

    async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
        hooks.tell(problem(1), False)
        (hook,) = hooks.hooks
        await until(tasks, lambda: hook.failed >= 2)
        with Receiver(port) as receiver:
            await until(tasks, lambda: len(receiver.taken) == 1)

    with_hooks([f"http://127.0.0.1:{port}/hook"], work)


def test_a_test_notice_says_what_came_back_from_each() -> None:
    with Receiver() as takes, Receiver() as refuses:
        refuses.status = 403

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            report = await hooks.test()
            assert report["exit"] == 3
            first, second = report["webhooks"]
            assert (first["webhook"], first["status"], first["error"]) == ("127.0.0.1#1", 204, None)
            assert (second["status"], second["error"]) == (403, "it answered 403")
            refuses.status = 200
            assert (await hooks.test())["exit"] == 0

        assert with_hooks([takes.url, refuses.url], work) == []
        assert [json.loads(body)["event"] for body in takes.bodies] == ["test", "test"]

    async def none(hooks: Webhooks, tasks: AsyncTasks) -> None:
        with pytest.raises(Unavailable, match="no webhook is configured"):
            await hooks.test()

    with_hooks([], none)


def test_a_queue_is_bounded_and_the_oldest_goes_also_while_it_is_being_posted() -> None:
    host = LoneHost()
    told: list[str] = []

    async def slow(_url: str, body: bytes, _headers: object) -> int:
        await host.tasks.sleep(5.0)
        told.append(json.loads(body)["what"])
        return 200

    hooks = Webhooks(host.env(), ["http://h/"], slow, secret="", timeout_s=60, facts={}, log=lambda *_: None)
    hooks.start()
    hooks.tell(problem(0), False)
    host.run_for(1)
    for number in range(1, QUEUE_MAX + 3):
        hooks.tell(problem(number), False)
    (hook,) = hooks.hooks
    assert (len(hook.queue), hook.dropped) == (QUEUE_MAX, 3)
    host.run_for(11)
    assert told == ["number 0", "number 3"], "what was under way was taken; what took its place is not lost for it"


def test_a_notice_nobody_took_for_a_day_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_MAX_S", 300.0)
    host = LoneHost()

    async def refuse(_url: str, _body: bytes, _headers: object) -> int:
        return 500

    hooks = Webhooks(host.env(), ["http://h/"], refuse, secret="", timeout_s=60, facts={}, log=lambda *_: None)
    (hook,) = hooks.hooks
    hooks.start()
    hooks.tell(problem(0), False)
    host.run_for(86_000)
    assert (len(hook.queue), hook.dropped) == (1, 0)
    host.run_for(1_000)
    assert (len(hook.queue), hook.dropped) == (0, 1)
