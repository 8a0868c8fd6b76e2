"""`PeerNet` on real sockets of this machine: who is connected, who is let in, what is delivered, and what a slow, silent or gone peer costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from scrubjay.base import peer_wire as wire
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import CHANNELS, Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.peer_net import LinkFacts, PeerNet
from scrubjay.base.real.peer_tls import TlsFiles
from scrubjay.base.real.rand import RealRand

HOST = "127.0.0.1"


class Process:
    """One process's end, and what it heard."""

    def __init__(self, tasks: AsyncTasks, name: str, *, cluster: str = "c", tls: TlsFiles | None = None) -> None:
        self.name, self.cluster = NodeName(name), cluster
        self.heard: list[tuple[NodeName, bytes]] = []
        self.refused: list[tuple[NodeName, ScrubjayError]] = []
        self.lines: list[str] = []
        self.port = 0
        self.net = PeerNet(
            Env(RealClock(), RealRand(), tasks),
            name=self.name,
            hello=lambda: Hello(self.cluster, "node", self.name),
            admit=self._admit,
            refused=lambda name, error: self.refused.append((name, error)),
            tls=tls,
            log=self.lines.append,
        )
        self.net.network.listen(lambda sender, frame: self.heard.append((sender, frame)))

    def _admit(self, hello: Hello) -> ScrubjayError | None:
        return None if hello.cluster == self.cluster else Conflict("another cluster", here=self.cluster, there=hello.cluster)

    def dials(self, other: Process) -> None:
        self.net.dial(other.name, HOST, other.port)

    def outward(self, name: str) -> list[LinkFacts]:
        return [one for one in self.net.links() if one.outward and one.name == name]

    def up(self, name: str) -> bool:
        return [one.up for one in self.outward(name)] == [True] * len(CHANNELS)


async def until(claim: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Poll on the loop."""
    end = asyncio.get_running_loop().time() + seconds
    while not claim():
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def processes(tasks: AsyncTasks, *names: str, connected: bool = True, **options: Any) -> AsyncIterator[list[Process]]:
    """That listen, and dial each other."""
    made = [Process(tasks, name, **options) for name in names]
    try:
        for one in made:
            one.port = await one.net.listen(HOST, 0)
        for one in made if connected else ():
            for other in made:
                if other is not one:
                    one.dials(other)
        if connected:
            await until(lambda: all(one.up(other.name) for one in made for other in made if other is not one))
        yield made
    finally:
        for one in made:
            await one.net.close()


def on_a_loop(test: Callable[[AsyncTasks], Awaitable[None]]) -> Callable[[], None]:
    def whole() -> None:
        async def main(tasks: AsyncTasks) -> None:
            await test(tasks)

        run(main)

    whole.__name__, whole.__doc__ = test.__name__, test.__doc__
    return whole


# --- connected -----------------------------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_frames_arrive_whole_in_order_and_under_their_senders_name(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b", "c") as (a, b, c):
        frames = [bytes([n % 256]) * (n * 997 % 50_000) for n in range(200)]
        for frame in frames:
            a.net.network.send(b.name, frame)
        c.net.network.send(b.name, b"of c")
        await until(lambda: len(b.heard) == len(frames) + 1)
        assert [frame for sender, frame in b.heard if sender == "a"] == frames
        assert [frame for sender, frame in b.heard if sender == "c"] == [b"of c"]
        assert a.heard == []
        assert a.net.counts.dropped == 0


@on_a_loop
async def test_a_frame_to_nobody_is_dropped_and_counted(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        a.net.network.send(NodeName("nobody"), b"x")
        a.net.network.send(a.name, b"x")
        assert a.net.counts.dropped == 2
        assert b.heard == []


@on_a_loop
async def test_calls_find_their_replies_and_errors_cross(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        got: list[bytes | ScrubjayError] = []
        a.net.ask(b.name, b"early", got.append)
        await until(lambda: got)
        assert isinstance(got.pop(), Unavailable)  # nobody replies there yet

        def handler(hello: Hello, body: bytes, reply: Callable[[bytes | ScrubjayError], None]) -> None:
            if body == b"fail":
                reply(Conflict("no", what=hello.name))
            elif body != b"silence":
                reply(hello.name.encode() + body)
                reply(b"twice")

        b.net.answer(handler)
        for body in (b"1", b"fail", b"2"):
            a.net.ask(b.name, body, got.append)
        a.net.ask(NodeName("nobody"), b"x", got.append)
        a.net.ask(b.name, bytes(wire.CALL_BYTES_MAX), got.append)
        await until(lambda: len(got) == 5)
        a.net.ask(b.name, b"silence", got.append, timeout_s=0.1)
        await until(lambda: len(got) == 6)
        nobody, large, first, failed, second, late = got
        assert [type(one).__name__ for one in (nobody, large, failed, late)] == ["Unavailable", "Invalid", "Conflict", "Unavailable"]
        assert (first, second) == (b"a1", b"a2")
        assert isinstance(failed, ScrubjayError)
        assert isinstance(nobody, ScrubjayError)
        assert isinstance(late, ScrubjayError)
        assert failed.fields == {"what": "a"}
        assert "unknown" not in nobody.fields
        assert late.fields["unknown"] is True


@on_a_loop
async def test_who_waits_for_a_reply_of_one_that_goes_hears_at_once_that_it_is_unknown(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        got: list[bytes | ScrubjayError] = []
        lost: list[str] = []
        b.net.answer(lambda hello, body, reply: None)
        for bulk in (False, True):
            lane = a.net.lane(b.name, bulk=bulk)
            lane.lost = lambda channel=lane.channel: lost.append(channel)  # type: ignore[misc]
        a.net.ask(b.name, b"x", got.append, timeout_s=60)
        await asyncio.sleep(0.05)
        await b.net.close()
        await until(lambda: got and len(lost) == 2)
        assert isinstance(got[0], Unavailable)
        assert got[0].fields["unknown"] is True
        assert sorted(lost) == ["bulk", "port"]
        assert not a.net.lane(b.name).send(b"x")


@on_a_loop
async def test_requests_of_the_node_port_find_their_answers_over_both_lanes(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        b.net.asked = lambda hello, data, reply: reply(hello.name.encode() + b":" + bytes(data))
        heard: list[tuple[str, bytes]] = []
        for bulk in (False, True):
            lane = a.net.lane(b.name, bulk=bulk)
            lane.heard = lambda data, channel=lane.channel: heard.append((channel, bytes(data)))  # type: ignore[misc]
            assert lane.send(b"q")
        large = bytes(20_000_000)
        assert a.net.lane(b.name, bulk=True).send(large)
        await until(lambda: len(heard) == 3)
        assert sorted(heard[:2]) == [("bulk", b"a:q"), ("port", b"a:q")]
        assert heard[2] == ("bulk", b"a:" + large)


# --- let in, or not ------------------------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_process_of_another_cluster_gets_no_word_in_and_hears_why(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b", connected=False) as (a, b):
        b.cluster = "other"
        a.dials(b)
        b.dials(a)
        await until(lambda: a.refused and b.refused)
        a.net.network.send(b.name, b"x")
        assert {type(error) for _, error in a.refused + b.refused} == {Conflict}
        assert (a.refused[0][0], a.refused[0][1].fields) == ("b", {"here": "other", "there": "c"})
        assert a.heard == b.heard == []
        assert not any(one.up for one in a.net.links() + b.net.links())
        assert any("another cluster" in line for line in a.lines)
        b.cluster = "c"  # it was told which it belongs to
        await until(lambda: a.up("b") and b.up("a"))
