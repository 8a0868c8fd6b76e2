"""One at a time, and what happens to the turn of somebody who was cancelled. On the simulator's tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.places import Places
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.limit import LimitedStore
from scrubjay.sim.lone import LoneHost, LoneStore


def test_nobody_enters_while_somebody_is_inside_and_they_come_in_order() -> None:
    loop = LoneHost()
    gate = Gate(loop.tasks)
    inside: list[int] = []
    order: list[int] = []

    async def visit(number: int) -> None:
        async with gate:
            inside.append(number)
            assert len(inside) == 1
            assert not gate.free
            await loop.sleep(0.1)
            inside.remove(number)
            order.append(number)

    async def all_of_them() -> None:
        for task in [loop.spawn(visit(number), name=str(number)) for number in range(4)]:
            await task

    loop.run(all_of_them())
    assert order == [0, 1, 2, 3]
    assert gate.free


@pytest.mark.parametrize("when_s", [0.05, 0.1], ids=["while it waits", "with the turn already given to it"])
def test_the_turn_of_a_cancelled_visitor_goes_to_the_next(when_s: float) -> None:
    loop = LoneHost()
    gate = Gate(loop.tasks)
    ended: list[str] = []

    async def visit(name: str) -> None:
        async with gate:
            await loop.sleep(0.1)
        ended.append(name)

    async def main() -> None:
        tasks: dict[str, Any] = {name: loop.spawn(visit(name), name=name) for name in ("a", "b", "c")}
        await loop.sleep(when_s)
        if when_s == 0.1:
            while "a" not in ended:
                await loop.sleep(0)
        tasks["b"].cancel()
        await tasks["c"]

    loop.run(main(), limit_s=10)
    assert ended == ["a", "c"]
    assert gate.free


def test_a_turn_given_to_who_was_cancelled_in_the_same_moment_is_handed_on() -> None:
    loop = LoneHost()
    gate = Gate(loop.tasks)
    ended: list[str] = []

    async def visit(name: str) -> None:
        async with gate:
            ended.append(name)

    async def main() -> None:
        await gate.__aenter__()
        tasks = {name: loop.spawn(visit(name), name=name) for name in ("b", "c")}
        await loop.sleep(0.1)
        await gate.__aexit__()  # b has its turn, and has not run yet
        tasks["b"].cancel()
        await tasks["c"]

    loop.run(main(), limit_s=10)
    assert ended == ["c"]
    assert gate.free


def test_a_request_that_fails_gives_its_place_back() -> None:
    loop = LoneHost()
    store = LimitedStore(FaultyStore(LoneStore(), loop.env()), loop.env(), in_flight=1)
    store.inner.down = True  # type: ignore[attr-defined]

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.get("a")
        store.inner.down = False  # type: ignore[attr-defined]
        await store.put("a", b"x")
        assert await store.get("a") == b"x"

    loop.run(main(), limit_s=100)


def test_a_place_given_to_who_was_cancelled_in_the_same_moment_is_handed_on() -> None:
    loop = LoneHost()
    store = LimitedStore(LoneStore(), loop.env(), in_flight=1)

    async def main() -> None:
        await store._places.take()
        tasks = {name: loop.spawn(store.put(name, b"x"), name=name) for name in ("b", "c")}
        await loop.sleep(0.1)
        store._places.give()  # b has the place, and has not run yet
        tasks["b"].cancel()
        await tasks["c"]
        await store.put("d", b"x")

    loop.run(main(), limit_s=10)
    assert sorted(store.inner.objects) == ["c", "d"]  # type: ignore[attr-defined]


def test_a_turn_that_was_passed_over_because_it_was_cancelled_makes_no_place() -> None:
    """The caller is cancelled, and a place becomes free before it has run again: it gives back nothing, for it was given nothing."""

    async def main() -> None:
        places = Places(1, future=asyncio.get_running_loop().create_future)
        await places.take()
        waiting = asyncio.ensure_future(places.take())
        await asyncio.sleep(0)
        waiting.cancel()
        places.give()
        await asyncio.gather(waiting, return_exceptions=True)
        await places.take()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(places.take(), 0.01)

    asyncio.run(main())


def test_no_more_wait_for_a_place_than_may() -> None:
    async def main() -> None:
        places = Places(1, future=asyncio.get_running_loop().create_future, waiting_max=1)
        await places.take()
        waiting = asyncio.ensure_future(places.take())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many wait"):
            await places.take()
        places.give()
        await waiting

    asyncio.run(main())
