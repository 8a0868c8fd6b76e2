"""`PeerNet` on real sockets of this machine: who is connected, who is let in, what is delivered, and what a slow, silent or gone peer costs the others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base import peer_link
from scrubjay.base import peer_wire as wire
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Exhausted, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import CHANNELS, Hello, Opening, Ping, Welcome
from scrubjay.base.real import peer_connection, peer_net
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.peer_net import LinkFacts, PeerNet
from scrubjay.base.real.peer_tls import TlsContexts, TlsFiles, tls_files
from scrubjay.base.real.rand import RealRand
from tests.fixtures.certificates import Authority

HOST = "127.0.0.1"


class Process:
    """One process's end, and what it heard."""

    def __init__(self, tasks: AsyncTasks, name: str, *, cluster: str = "c", tls: TlsFiles | None = None) -> None:
        self.name, self.cluster = NodeName(name), cluster
        self.can = 6
        self.heard: list[tuple[NodeName, bytes]] = []
        self.refused: list[tuple[NodeName, ScrubjayError]] = []
        self.lines: list[str] = []
        self.port = 0
        self.net = PeerNet(
            Env(RealClock(), RealRand(), tasks),
            name=self.name,
            hello=lambda: Hello(self.cluster, "node", self.name, can=self.can),
            admit=self._admit,
            refused=lambda name, error: self.refused.append((name, error)),
            tls=tls,
            log=self.lines.append,
        )
        self.net.network.listen(lambda sender, frame: self.heard.append((sender, frame)))

    def _admit(self, hello: Hello, life: str) -> ScrubjayError | None:
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
async def test_who_is_connected_is_told_of_and_who_can_too_little_is_cut_off(tasks: AsyncTasks) -> None:
    """On either side: who dialled, and who was dialled."""
    async with processes(tasks, "a", "b", "c", connected=False) as (a, b, c):
        c.can = 5
        for one, other in ((b, a), (c, a), (a, c)):
            one.dials(other)
        await until(lambda: b.up("a") and c.up("a") and a.up("c"))
        assert {name: hello.can for name, hello in a.net.connected().items()} == {"b": 6, "c": 5}
        assert b.net.connected() == {}, "it was dialled by nobody"
        made = [one.made for one in (*b.outward("a"), *c.outward("a"), *a.outward("c"))]
        a.net.dismiss(lambda hello: None if hello.can >= 6 else Unsafe("too old"))
        await until(lambda: all(one.made == 2 for one in (*c.outward("a"), *a.outward("c"))))
        assert made == [1] * 9
        assert [one.made for one in b.outward("a")] == [1, 1, 1]


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


class Raw:
    """A socket that says what a test wants, and reads only when told."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.loop = asyncio.get_running_loop()
        self.socket.setblocking(False)

    async def to(self, port: int) -> Raw:
        await self.loop.sock_connect(self.socket, (HOST, port))
        return self

    async def say(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.socket, data)

    async def hears_end(self, *, seconds: float = 10.0) -> bytes:
        """Everything until the other side closes."""
        found = b""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    data = await self.loop.sock_recv(self.socket, 1 << 16)
                except ConnectionResetError:
                    return found
                if not data:
                    return found
                found += data

    async def let_in(self, port: int, *, name: str, to: str, channel: str) -> Raw:
        """As far as the link being up."""
        await self.to(port)
        await self.say(said(Opening(1, 1, "raw", channel, to, Hello("c", "node", name))))
        assert (await self.loop.sock_recv(self.socket, 1 << 16))[12:16] == b"SJPW"
        await self.say(said(Welcome(1)))
        return self

    def close(self) -> None:
        self.socket.close()


def said(message: wire.LinkMessage) -> bytes:
    return wire.frame(wire.LINK, wire.encode_link(message))


@on_a_loop
async def test_what_is_no_peer_is_cut_off_at_once_and_said_once(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        sound = said(Opening(1, 1, "raw", "talk", "b", Hello("c", "node", "x")))
        nonsense = (b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"\x16\x03\x01\x02\x00" * 8, wire.frame(wire.TALK, b"x"), sound[:-1] + b"\xff")
        for data in nonsense:
            raw = await Raw().to(b.port)
            await raw.say(data)
            assert await raw.hears_end(seconds=2) == b""
            raw.close()
        assert b.net.counts.broken == 4
        assert len([line for line in b.lines if "header checksum" in line]) == 1
        a.net.network.send(b.name, b"still here")
        await until(lambda: b.heard == [(a.name, b"still here")])


@on_a_loop
async def test_who_closes_in_the_middle_of_the_handshake_leaves_nothing(tasks: AsyncTasks) -> None:
    async with processes(tasks, "b", connected=False) as (b,):
        whole = said(Opening(1, 1, "raw", "talk", "b", Hello("c", "node", "x")))
        for data in (b"", whole[:5], whole[:40], whole):
            raw = await Raw().to(b.port)
            await raw.say(data)
            await asyncio.sleep(0.02)
            raw.close()
        await until(lambda: b.net.counts.refused == 4)
        assert not b.net._connections
        assert not b.net._strangers
        assert b.net.links() == []


@pytest.mark.slow
@on_a_loop
async def test_strangers_are_few_and_go_by_themselves_and_a_peer_gets_in_after_them(tasks: AsyncTasks) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(peer_net, "STRANGERS_MAX", 3)
        patched.setattr(peer_link, "HANDSHAKE_S", 0.4)
        async with processes(tasks, "a", "b", connected=False) as (a, b):
            raws = [await Raw().to(b.port) for _ in range(6)]
            await raws[0].say(said(Opening(1, 1, "raw", "talk", "b", Hello("c", "node", "x")))[:20])  # and then nothing
            await until(lambda: b.net.counts.crowded == 3)
            assert await raws[5].hears_end(seconds=2) == b""
            await until(lambda: not b.net._strangers, seconds=5)
            a.dials(b)
            await until(lambda: a.up("b"))
            for raw in raws:
                raw.close()


@on_a_loop
async def test_a_newer_connection_of_the_same_peer_takes_the_place_of_the_older_one(tasks: AsyncTasks) -> None:
    """A leftover of a machine that lost its power, say: nothing of it is delivered any more, and nothing of the newer one is lost."""
    async with processes(tasks, "b", connected=False) as (b,):
        old = await Raw().let_in(b.port, name="x", to="b", channel="talk")
        await old.say(wire.frame(wire.TALK, b"old"))
        await until(lambda: b.heard == [("x", b"old")])
        new = await Raw().let_in(b.port, name="x", to="b", channel="talk")
        await new.say(wire.frame(wire.TALK, b"new"))
        await until(lambda: len(b.heard) == 2)
        await old.hears_end(seconds=2)
        assert [frame for _, frame in b.heard] == [b"old", b"new"]
        assert [one.name for one in b.net.links()] == ["x"]
        assert b.net.counts.replaced == 1
        await new.say(wire.frame(wire.TALK, b"newer"))
        await until(lambda: len(b.heard) == 3)
        for raw in (old, new):
            raw.close()


@on_a_loop
async def test_one_channel_of_a_peer_does_not_replace_another(tasks: AsyncTasks) -> None:
    async with processes(tasks, "b", connected=False) as (b,):
        raws = [await Raw().let_in(b.port, name="x", to="b", channel=channel) for channel in CHANNELS]
        await until(lambda: len(b.net.links()) == 3)
        assert b.net.counts.replaced == 0
        for raw in raws:
            raw.close()


class Deaf:
    """Listens as a peer, says what it must, and never reads again. Its frames' sender is up for as long as it pings."""

    def __init__(self, name: str) -> None:
        self.name, self.listener = name, socket.create_server((HOST, 0))
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            taken, _ = await loop.sock_accept(self.listener)
            taken.setblocking(False)
            self.taken.append(taken)
            body = (await loop.sock_recv(taken, 1 << 16))[12:]
            opening = wire.decode_link(body)
            assert isinstance(opening, Opening)
            await loop.sock_sendall(taken, said(Opening(1, 1, "deaf", opening.channel, opening.hello.name, Hello("c", "node", self.name))))

    async def ping(self) -> None:
        for taken in self.taken:
            await asyncio.get_running_loop().sock_sendall(taken, said(Ping()))

    def close(self) -> None:
        self._task.cancel()
        for taken in (*self.taken, self.listener):
            taken.close()


@pytest.mark.slow
@on_a_loop
async def test_a_peer_that_never_reads_costs_a_bounded_queue_and_nobody_else_anything(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        deaf = Deaf("d")
        a.net.dial(NodeName("d"), HOST, deaf.port)
        await until(lambda: a.up("d"))
        frame, delays = bytes(1 << 20), []
        for number in range(60):
            a.net.network.send(NodeName("d"), frame)
            began = asyncio.get_running_loop().time()
            a.net.network.send(b.name, number.to_bytes(4, "little"))
            await until(lambda number=number: len(b.heard) == number + 1)
            delays.append(asyncio.get_running_loop().time() - began)
        talk = next(one for one in a.outward("d") if one.channel == "talk")
        assert talk.dropped > 20
        assert talk.queued_bytes <= peer_link.QUEUE_BYTES_MAX["talk"] + peer_link.PIECE_BYTES
        assert a.net.counts.dropped == talk.dropped
        assert sorted(delays)[30] < 0.1
        # A request is not taken either, and whoever asked hears so.
        lane = a.net.lane(NodeName("d"))
        taken = [lane.send(frame) for _ in range(30)]
        assert taken[0]
        assert not taken[-1]
        ended = a.net.outward(NodeName("d"), "talk")
        assert ended is not None
        ended.abort()
        await until(lambda: next(one for one in a.outward("d") if one.channel == "talk").made == 2)
        assert next(one for one in a.outward("d") if one.channel == "talk").dropped >= talk.dropped, "counted over connections"
        deaf.close()


@pytest.mark.slow
@on_a_loop
async def test_a_peer_that_takes_nothing_is_let_go_though_it_says_that_it_lives(tasks: AsyncTasks) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(peer_link, "STUCK_S", 0.6)
        async with processes(tasks, "a", connected=False) as (a,):
            deaf = Deaf("d")
            a.net.dial(NodeName("d"), HOST, deaf.port, channels=["talk"])
            await until(lambda: [one.up for one in a.outward("d")] == [True])
            for _ in range(16):
                a.net.network.send(NodeName("d"), bytes(1 << 20))
            await until(lambda: any("takes nothing" in line for line in a.lines), seconds=5)
            assert a.net.counts.ended == 1
            deaf.close()


@pytest.mark.slow
@on_a_loop
async def test_a_silent_peer_is_found_and_let_go_and_dialled_again(tasks: AsyncTasks) -> None:
    """As one that is stopped, or behind a cut that answers nothing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(peer_link, "SILENCE_S", 0.6)
        patched.setattr(peer_link, "PING_S", 0.2)
        async with processes(tasks, "a", "b") as (a, b):
            deaf = Deaf("d")
            a.net.dial(NodeName("d"), HOST, deaf.port, channels=["talk"])
            await until(lambda: [one.up for one in a.outward("d")] == [True])
            await until(lambda: any("it is silent" in line for line in a.lines), seconds=5)
            await until(lambda: len(deaf.taken) >= 2, seconds=5)
            await until(lambda: a.outward("d")[0].made >= 2, seconds=5)
            assert [one.made for one in a.outward("b")] == [1, 1, 1], "the others had to come up once"
            assert a.up("b")
            assert b.up("a")
            deaf.close()


@pytest.mark.slow
@on_a_loop
async def test_answers_that_nobody_reads_stop_the_reading_of_requests_and_nothing_else(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        asked = []

        def answer(hello: Hello, data: bytes | bytearray, reply: Callable[[bytes], None]) -> None:
            asked.append(hello.name)
            reply(bytes(1 << 20) if hello.name == "x" else b"yes")

        b.net.asked = answer
        raw = await Raw().let_in(b.port, name="x", to="b", channel="port")
        with contextlib.suppress(TimeoutError):  # more than sockets hold: it cannot be said
            async with asyncio.timeout(0.4):
                await raw.say(wire.frame(wire.ASKED, b"q" * 1000) * 24_000)
        assert 0 < asked.count("x") < 100
        (crowded,) = [one.link for one in b.net._connections if one.link is not None and one.link.peer == "x"]
        assert crowded._reader.unfinished_bytes < 1 << 20
        before = asked.count("x")
        heard: list[bytes] = []
        lane = a.net.lane(b.name)
        lane.heard = lambda data: heard.append(bytes(data))
        assert lane.send(b"q")
        await until(lambda: heard == [b"yes"])
        assert asked.count("x") == before
        got = 0
        async with asyncio.timeout(10):  # it reads after all, and goes on where it was
            while asked.count("x") < 200:
                got += len(await raw.loop.sock_recv(raw.socket, 1 << 20))
        raw.close()


@on_a_loop
async def test_requests_are_read_again_once_their_answers_are(tasks: AsyncTasks) -> None:
    async with processes(tasks, "b", connected=False) as (b,):
        asked = []

        def answer(hello: Hello, data: bytes | bytearray, reply: Callable[[bytes], None]) -> None:
            asked.append(bytes(data))
            reply(bytes(1 << 20))

        b.net.asked = answer
        raw = await Raw().let_in(b.port, name="x", to="b", channel="port")
        await raw.say(wire.frame(wire.ASKED, b"1") * 20)
        await asyncio.sleep(0.1)
        assert len(asked) < 20
        async with asyncio.timeout(10):
            while len(asked) < 20:
                await raw.loop.sock_recv(raw.socket, 1 << 20)
        await raw.say(wire.frame(wire.ASKED, b"later"))
        async with asyncio.timeout(10):
            while b"later" not in asked:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await raw.loop.sock_recv(raw.socket, 1 << 20)
        raw.close()


@on_a_loop
async def test_a_peer_that_restarts_is_connected_again_soon(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        await b.net.close()
        await until(lambda: not any(one.up for one in a.outward("b")))
        a.net.network.send(b.name, b"lost")
        b2 = Process(tasks, "b")
        b2.port = await b2.net.listen(HOST, b.port)
        b2.dials(a)
        await until(lambda: a.up("b") and b2.up("a"), seconds=8)
        a.net.network.send(b.name, b"found")
        await until(lambda: b2.heard == [("a", b"found")])  # what was lost is not sent again
        await b2.net.close()


@on_a_loop
async def test_a_peer_is_dialled_elsewhere_and_no_more(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b", connected=False) as (a, b):
        a.net.dial(b.name, HOST, 1)
        await until(lambda: all(one.error for one in a.outward("b")))
        a.dials(b)
        await until(lambda: a.up("b"))
        a.net.undial(b.name)
        assert a.outward("b") == []
        await until(lambda: b.net.links() == [])
        assert [line for line in a.lines if "gone" in line] == []  # it was meant


@on_a_loop
async def test_a_name_that_is_none_is_said_and_tried_again(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", connected=False) as (a,):
        for name, host in (("b", "no..name"), ("c", "x" * 300), ("d", "no-such-host.invalid")):
            a.net.dial(NodeName(name), host, 1, channels=["port"])
        await until(lambda: all(one.error for one in a.net.links()))
        assert len([line for line in a.lines if "cannot be reached" in line]) == 3


@on_a_loop
async def test_a_call_that_cannot_be_read_ends_its_connection_though_its_checksum_fits(tasks: AsyncTasks) -> None:
    async with processes(tasks, "b", connected=False) as (b,):
        b.net.answer(lambda hello, body, reply: reply(body))
        raw = await Raw().let_in(b.port, name="x", to="b", channel="port")
        await raw.say(wire.frame(wire.CALL, b"\x01\x00"))
        assert await raw.hears_end(seconds=2) == b""
        await until(lambda: b.net.counts.broken == 1)
        raw.close()


@on_a_loop
async def test_a_receiver_that_fails_costs_its_own_frame_only(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        heard = []

        def receive(sender: NodeName, frame: bytes) -> None:
            heard.append(frame)
            if frame == b"bad":
                raise RuntimeError("a receiver's bug")

        b.net.network.listen(receive)
        for frame in (b"1", b"bad", b"2"):
            a.net.network.send(b.name, frame)
        await until(lambda: heard == [b"1", b"bad", b"2"])
        assert a.up("b")


@on_a_loop
async def test_a_machine_that_starts_no_thread_is_said_by_name_and_tried_again(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b", connected=False) as (a, b):
        submit, left = a.net._names.submit, [1]

        def refusing(work: Any, *arguments: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise Exhausted("the machine starts no more threads")
            return submit(work, *arguments)

        a.net._names.submit = refusing  # type: ignore[method-assign]
        a.net.dial(b.name, "localhost", b.port, channels=["talk"])
        await until(lambda: [one.up for one in a.outward("b")] == [True], seconds=5)
        assert any("no more threads" in line for line in a.lines)
        assert not tasks.fallen()


@on_a_loop
async def test_what_waits_leaves_before_a_process_closes(tasks: AsyncTasks) -> None:
    async with processes(tasks, "a", "b") as (a, b):
        for _ in range(10):
            a.net.network.send(b.name, bytes(1 << 20))
        await a.net.close()
        await until(lambda: len(b.heard) == 10)
        assert a.net.counts.ended == 0


@on_a_loop
async def test_a_fast_sender_has_one_reading_a_turn(tasks: AsyncTasks) -> None:
    """A loop would go on reading from one socket for megabytes, and whoever else is heard would wait."""
    async with processes(tasks, "b", connected=False) as (b,):
        raw = await Raw().let_in(b.port, name="x", to="b", channel="talk")
        await until(lambda: b.net.links())
        (connection,) = b.net._connections
        turns: list[int] = []
        turn = 0

        def count() -> None:
            nonlocal turn
            turn += 1
            tasks.call_soon(count)

        received = connection.data_received

        def noted(data: bytes) -> None:
            if len(data) >= peer_connection.LONG_READING_BYTES:
                turns.append(turn)
            received(data)

        connection.data_received = noted  # type: ignore[method-assign]
        assert connection._transport is not None
        connection._transport.set_protocol(connection)
        count()
        await raw.say(wire.frame(wire.TALK, bytes(8 << 20)))
        await until(lambda: b.heard)
        assert len(turns) > 4
        assert len(set(turns)) == len(turns)
        raw.close()


@on_a_loop
async def test_bulk_does_not_hold_up_talk(tasks: AsyncTasks) -> None:
    """33 MB one after another over the bulk channel, and a frame of talk every few milliseconds."""
    async with processes(tasks, "a", "b") as (a, b):
        got: list[int] = []
        b.net.asked = lambda hello, data, reply: got.append(len(data))
        lane, loop = a.net.lane(b.name, bulk=True), asyncio.get_running_loop()
        body, delays = bytes(wire.PORT_BYTES_MAX), []
        while len(got) < 4:
            lane.send(body)
            began, before = loop.time(), len(b.heard)
            a.net.network.send(b.name, b"beat")
            await until(lambda before=before: len(b.heard) > before)
            delays.append(loop.time() - began)
        assert len(delays) > 5
        assert sorted(delays)[len(delays) // 2] < 0.2  # on a machine that does much besides; bench/bench_wire.py measures


# --- TLS -----------------------------------------------------------------------------------------------------------------------------------


def with_tls(tasks: AsyncTasks, at_a: TlsFiles | None, at_b: TlsFiles | None) -> tuple[Process, Process]:
    return Process(tasks, "a", tls=at_a), Process(tasks, "b", tls=at_b)


@pytest.mark.parametrize("names", [{"common": "{0}"}, {"names": ["other", "{0}"]}, {"names": ["node"]}, {"common": "node"}])
def test_certificates_that_name_the_process_or_its_role_let_it_in(tmp_path: Path, names: dict[str, Any]) -> None:
    authority = Authority(tmp_path)

    def named(process: str) -> TlsFiles:
        filled = {
            key: value.format(process) if isinstance(value, str) else [one.format(process) for one in value] for key, value in names.items()
        }
        return authority.files(process, **filled)

    async def main(tasks: AsyncTasks) -> None:
        a, b = with_tls(tasks, named("a"), named("b"))
        for one in (a, b):
            one.port = await one.net.listen(HOST, 0)
        a.dials(b)
        b.dials(a)
        await until(lambda: a.up("b") and b.up("a"))
        large = bytes(5_000_000)
        a.net.network.send(b.name, large)
        await until(lambda: b.heard == [("a", large)])
        connection = a.net.outward(b.name, "talk")
        assert connection is not None
        assert connection.certificate
        for one in (a, b):
            await one.net.close()

    run(main)


@pytest.mark.parametrize("wrong", ["another authority", "another name", "none", "only here", "common name beside others"])
def test_who_shows_no_good_certificate_gets_no_word_in(tmp_path: Path, wrong: str) -> None:
    authority = Authority(tmp_path)
    good = authority.files("b", names=["b"])
    bad = {
        "another authority": lambda: Authority(tmp_path, "other").files("a", names=["a"]),
        "another name": lambda: authority.files("a", names=["c"]),
        "none": lambda: None,
        "only here": lambda: authority.files("a", names=["a"]),
        "common name beside others": lambda: authority.files("a", common="a", names=["c"]),
    }[wrong]()

    async def main(tasks: AsyncTasks) -> None:
        a, b = with_tls(tasks, bad, None if wrong == "only here" else good)
        for one in (a, b):
            one.port = await one.net.listen(HOST, 0)
        a.dials(b)
        b.dials(a)
        # Both directions fail, each side for a reason of its own.
        await until(lambda: all(one.error for one in a.outward("b")) and all(one.error for one in b.outward("a")))
        a.net.network.send(b.name, b"x")
        b.net.network.send(a.name, b"x")
        assert not any(one.up for one in a.net.links() + b.net.links())
        assert a.heard == b.heard == []
        if "name" in wrong:
            await until(lambda: a.refused)
            assert a.refused[0][1].fields["certificate"] == "c"
        for one in (a, b):
            await one.net.close()

    run(main)


def test_a_peer_without_a_certificate_is_turned_away_by_the_handshake(tmp_path: Path) -> None:
    """Though it is a client that speaks TLS and trusts the authority: not even its Opening is read."""
    authority = Authority(tmp_path)
    files = authority.files("b", names=["b"])

    async def main(tasks: AsyncTasks) -> None:
        b = Process(tasks, "b", tls=files)
        b.port = await b.net.listen(HOST, 0)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(files.ca)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, b.port, ssl=context, server_hostname="")
            writer.write(said(Opening(1, 1, "raw", "talk", "b", Hello("c", "node", "a"))))
            writer.close()
        await until(lambda: b.lines)
        assert "TLS" in b.lines[0]
        assert b.net.counts.refused == 1
        await b.net.close()

    run(main)


def test_half_of_tls_is_refused_and_so_is_what_cannot_be_used(tmp_path: Path) -> None:
    files = Authority(tmp_path).files("a")
    assert tls_files(None, None, None) is None
    assert tls_files(files.ca, files.cert, files.key) == files
    for have in range(1, 7):
        given = [path if have >> bit & 1 else None for bit, path in enumerate((files.ca, files.cert, files.key))]
        with pytest.raises(Invalid, match="by half") as caught:
            tls_files(*given)
        assert caught.value.fields["lacking"].split(", ") == [
            name for name, path in zip(("ca", "cert", "key"), given, strict=True) if path is None
        ]
    other = Authority(tmp_path, "other").files("other")
    empty = tmp_path / "empty"
    empty.write_text("")
    for wrong, key in (
        (TlsFiles(tmp_path / "nowhere", files.cert, files.key), "tls.ca"),
        (TlsFiles(empty, files.cert, files.key), "tls.ca"),
        (TlsFiles(files.ca, files.cert, tmp_path / "nowhere"), "tls.key"),
        (TlsFiles(files.ca, files.cert, other.key), "tls.cert, tls.key"),
        (TlsFiles(files.ca, empty, files.key), "tls.cert, tls.key"),
    ):
        with pytest.raises(Invalid) as caught:
            TlsContexts(wrong)
        assert caught.value.fields["key"] == key
