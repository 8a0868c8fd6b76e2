"""`AsyncTasks` on the real loop: order, names, lost exceptions, cancellation, threads."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import structlog

from scrubjay.base import kept_loops
from scrubjay.base.real import log_lines, loop
from scrubjay.base.real.loop import AsyncTasks, run


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged so far."""
    stream = io.StringIO()
    log_lines.setup(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def test_call_soon_keeps_order_and_runs_after_the_turn() -> None:
    seen: list[str] = []

    async def main(tasks: AsyncTasks) -> None:
        tasks.call_soon(lambda: seen.append("a"))
        tasks.call_soon(lambda: seen.append("b"))
        seen.append("turn")
        await tasks.sleep(0)

    run(main)
    assert seen == ["turn", "a", "b"]


def test_a_cancelled_timer_does_not_fire() -> None:
    seen: list[str] = []

    async def main(tasks: AsyncTasks) -> None:
        tasks.call_later(0.001, lambda: seen.append("cancelled")).cancel()
        tasks.call_later(0.002, lambda: seen.append("fired"))
        await tasks.sleep(0.01)

    run(main)
    assert seen == ["fired"]


def test_futures_carry_values_and_errors() -> None:
    async def main(tasks: AsyncTasks) -> tuple[Any, bool]:
        value, error = tasks.future(), tasks.future()
        tasks.call_soon(lambda: value.set_result(7))
        tasks.call_soon(lambda: error.set_exception(KeyError("x")))
        got = await value
        with pytest.raises(KeyError):
            await error
        return got, error.done()

    assert run(main) == (7, True)


def test_an_exception_nobody_awaits_is_logged_once_under_its_name(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "UNSEEN_GRACE_S", 0.001)

    async def fails() -> None:
        raise KeyError("lost?")

    async def main(tasks: AsyncTasks) -> None:
        held = tasks.spawn(fails(), name="agent n1")  # held, never awaited: the case that asyncio itself stays silent about
        await tasks.sleep(0.02)
        assert held.done()

    run(main)
    (line,) = lines()
    assert line["event"] == "task failed"
    assert line["task"] == "agent n1"
    assert "lost?" in line["error"]
    assert "Traceback" in line["exception"]


def test_an_awaited_exception_is_not_logged(lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "UNSEEN_GRACE_S", 0.001)

    async def fails() -> None:
        raise KeyError("seen")

    async def main(tasks: AsyncTasks) -> None:
        with pytest.raises(KeyError):
            await tasks.spawn(fails(), name="agent n1")
        await tasks.sleep(0.01)

    run(main)
    assert lines() == []


def test_an_exception_in_the_last_turn_is_logged_at_close(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def stubborn(tasks: AsyncTasks) -> None:
        try:
            await tasks.sleep(60)
        finally:
            raise ValueError("on the way out")

    async def main(tasks: AsyncTasks) -> None:
        tasks.spawn(stubborn(tasks), name="last")
        await tasks.sleep(0)

    run(main)
    assert [line["task"] for line in lines()] == ["last"]


def test_cancel_raises_cancelled_at_the_next_await() -> None:
    seen: list[str] = []

    async def waits(tasks: AsyncTasks) -> None:
        try:
            await tasks.sleep(60)
        except AsyncTasks.Cancelled:
            seen.append("cancelled")
            raise

    async def main(tasks: AsyncTasks) -> None:
        task = tasks.spawn(waits(tasks), name="waits")
        await tasks.sleep(0)
        task.cancel()
        await tasks.sleep(0.001)
        assert task.done()

    run(main)
    assert seen == ["cancelled"]


def test_run_cancels_what_was_left_running() -> None:
    ended: list[bool] = []

    async def forever(tasks: AsyncTasks) -> None:
        try:
            await tasks.future()
        finally:
            ended.append(True)

    async def main(tasks: AsyncTasks) -> str:
        tasks.spawn(forever(tasks), name="forever")
        await tasks.sleep(0)
        return "done"

    assert run(main) == "done"
    assert ended == [True]


def test_a_callback_that_raises_is_logged_and_the_loop_goes_on(lines: Callable[[], list[dict[str, Any]]]) -> None:
    def fails() -> None:
        raise ZeroDivisionError("in a callback")

    async def main(tasks: AsyncTasks) -> str:
        tasks.call_soon(fails)
        await tasks.sleep(0.001)
        return "alive"

    assert run(main) == "alive"
    (line,) = lines()
    assert line["event"] == "callback failed"
    assert "ZeroDivisionError" in line["error"]


def test_blocking_runs_off_the_loop() -> None:
    async def main(tasks: AsyncTasks) -> bool:
        name = await tasks.blocking(lambda: threading.current_thread().name)
        return name.startswith("blocking")

    assert run(main)


@pytest.mark.slow
def test_a_running_task_is_never_collected() -> None:
    import gc

    async def main(tasks: AsyncTasks) -> int:
        done: list[int] = []

        async def waits() -> None:
            await asyncio.sleep(0.005)
            done.append(1)

        def begin(coro: Coroutine[Any, Any, None]) -> None:
            tasks.spawn(coro, name="held by nobody")

        begin(waits())
        gc.collect()
        await tasks.sleep(0.02)
        return len(done)

    assert run(main) == 1


def test_log_lines_survive_odd_values(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger(part="x").info("odd", value=object(), text="\udcff", raw=b"\x00")
    (line,) = lines()
    assert line["level"] == "info"
    assert list(line)[:3] == ["at", "level", "event"]


def test_log_to_a_closed_stream_is_silent() -> None:
    stream = io.StringIO()
    log_lines.setup(stream=stream)
    stream.close()
    structlog.get_logger().error("nobody listens")
    structlog.reset_defaults()


def test_a_kept_loop_that_falls_is_logged_with_its_traceback_and_taken_up_again(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_loops, "AGAIN_S", 0.01)
    tries: list[int] = []

    async def falls() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise ZeroDivisionError("a bug")

    async def main(tasks: AsyncTasks) -> list[str]:
        await tasks.keep(falls, name="falls")
        return [one.name for one in tasks.fallen()]

    assert run(main) == ["falls"]
    assert tries == [0, 1]
    (line,) = [line for line in lines() if line.get("loop") == "falls"]
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["exception"]


def test_a_task_that_swallows_its_cancellation_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CANCEL_AGAIN_S", 0.05)
    swallowed = []

    async def stubborn() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(True)
        await asyncio.Event().wait()

    async def main(tasks: AsyncTasks) -> None:
        tasks.spawn(stubborn(), name="stubborn")
        await tasks.sleep(0)

    run(main)
    assert len(swallowed) == 2
