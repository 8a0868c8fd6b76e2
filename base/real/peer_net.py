"""The processes of one cluster, connected: who is dialled, who is let in, and what is delivered to whom (docs/formats/peer-wire.md, ADR 0063).

Guarantees: nothing blocks and nothing raises in whoever sends; a peer that is slow, stopped or gone costs the others nothing but a bounded queue; a frame is delivered once or never; who
asked over a connection that ends hears so at once. Not covered: who may be let in (`admit`), and what frames mean.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from scrubjay.base import peer_wire as wire
from scrubjay.base.env import Env, Task, Timer
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.oserrors import EXHAUSTED, error_of_os
from scrubjay.base.peer_link import BEAT_S, HANDSHAKE_S, PeerLink
from scrubjay.base.peer_wire import BULK_CHANNEL, CHANNELS, PORT_CHANNEL, TALK_CHANNEL, Hello, NotAdmitted, Opening, PeerCall, PeerReply
from scrubjay.base.real.addresses import listening
from scrubjay.base.real.daemon_pool import DaemonPool
from scrubjay.base.real.peer_connection import PeerConnection
from scrubjay.base.real.peer_tls import TlsContexts, TlsFiles, check_names

CONNECT_S = 3.0
"""For a connection to be made, by address."""
AGAIN_FIRST_S, AGAIN_LAST_S, AGAIN_REFUSED_S = 0.05, 2.0, 5.0
"""Before a peer is dialled again: the first time, the longest, and the longest after it refused."""
GOOD_S = 2.0
"""A connection that was up for so long has ended without fault of its peer: the next is dialled soon."""
STRANGERS_MAX = 64
"""Accepted connections that have not been let in yet."""
GUESTS_MAX = 1024
"""Accepted connections that have."""
SAID_AGAIN_S = 60.0
"""The same of the same peer is not said more often."""
SAID_KEPT = 256
CLOSE_S = 1.0
"""What waits when a process closes may take so long to leave."""

Replied = Callable[[bytes | ScrubjayError], None]


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One connection as it is. channel: talk | port | bulk. outward: this process dialled. since_s: for how long it is up, or not. error: why it is not up, or was not before, "": never.
    sent, received: frames. dropped: frames that found no room, of one that is dialled since the process began. made: how often one that is dialled came up since then."""

    name: NodeName
    channel: str
    outward: bool
    up: bool
    since_s: float
    error: str
    queued_bytes: int
    sent: int
    received: int
    dropped: int
    made: int = 0


@dataclass(slots=True)
class PeerCounts:
    """Since the process began. accepted: connections. refused: that were not let in, here or there. broken: that ended over bytes no peer can have sent. ended: that were up and
    ended otherwise. replaced: by a newer one. crowded: not accepted for want of room. dropped: frames to nobody, or that found no room. unheard: frames nobody was there for."""

    accepted: int = 0
    refused: int = 0
    broken: int = 0
    ended: int = 0
    replaced: int = 0
    crowded: int = 0
    dropped: int = 0
    unheard: int = 0


class PeerNetwork:
    """`base.env.Network`: frames between nodes, over the channel `talk`."""

    def __init__(self, net: PeerNet) -> None:
        self._net = net
        self.receive: Callable[[NodeName, bytes], None] | None = None

    def send(self, to: NodeName, frame: bytes) -> None:
        """Never blocks, never raises; dropped and counted if the peer is not connected, or does not take what waits."""
        connection = self._net.outward(to, TALK_CHANNEL)
        if connection is None or not connection.send(wire.TALK, frame):
            self._net.counts.dropped += 1

    def listen(self, receive: Callable[[NodeName, bytes], None]) -> None:
        self.receive = receive


class PortLane:
    """Requests of the node port to one peer over one channel. heard: gets answers. lost: the connection ended, and what was asked over it has no answer."""

    def __init__(self, net: PeerNet, name: NodeName, channel: str) -> None:
        self._net, self.name, self.channel = net, name, channel
        self.heard: Callable[[bytes | bytearray], None] = lambda _: None
        self.lost: Callable[[], None] = lambda: None

    @property
    def up(self) -> bool:
        return self._net.outward(self.name, self.channel) is not None

    def send(self, data: bytes) -> bool:
        """False: not connected, or too much waits."""
        connection = self._net.outward(self.name, self.channel)
        return connection is not None and connection.send(wire.ASKED, data)


@dataclass(slots=True)
class _Asked:
    """A call that has no reply yet."""

    done: Replied
    timer: Timer
    connection: PeerConnection


class PeerNet:
    """One process's end. name: of this process. hello: what it says of itself, asked anew for each connection. admit: whether a peer's Hello, in this life of its process, is let in (None) or why not, asked at
    both ends of each connection before anything is delivered. refused: a peer does not let this process in, and why. log: gets a line for people.

    More than 15 fields, more than 25 methods: what was configured, who is connected, who waits for what, and what a connection, a dialler and the assembly each ask of it.
    """

    def __init__(
        self,
        env: Env,
        *,
        name: NodeName,
        hello: Callable[[], Hello],
        admit: Callable[[Hello, str], ScrubjayError | None],
        refused: Callable[[NodeName, ScrubjayError], None],
        tls: TlsFiles | None = None,
        log: Callable[[str], None],
    ) -> None:
        """Raises Invalid if the TLS files cannot be used. Made on the loop's thread."""
        self.loop = asyncio.get_running_loop()
        self.env, self.name, self.counts = env, name, PeerCounts()
        self.network = PeerNetwork(self)
        self.asked: Callable[[Hello, bytes | bytearray, Callable[[bytes], None]], None] | None = None
        """Who answers requests of the node port here: of whom, the request, the way back."""
        self._hello, self._admit, self._refused, self._log = hello, admit, refused, log
        self.tls = None if tls is None else TlsContexts(tls)
        self._life = env.rand.uuid()
        self._diallers: dict[tuple[NodeName, str], _Dialler] = {}
        self._inward: dict[tuple[NodeName, str], PeerConnection] = {}
        self._connections: set[PeerConnection] = set()
        self._strangers: set[PeerConnection] = set()
        """Accepted, and not let in yet."""
        self._hellos: dict[NodeName, Hello] = {}
        self._lanes: dict[tuple[NodeName, str], PortLane] = {}
        self._calls: dict[int, _Asked] = {}
        self._last_call = 0
        self._handler: Callable[[Hello, bytes, Replied], None] | None = None
        self._said: dict[tuple[str, str], float] = {}
        self._sockets: list[socket.socket] = []
        self._listeners: list[Task[None]] = []
        self._names = DaemonPool(2, name="peer-names")
        self._looking_up: dict[str, asyncio.Future[list[str]]] = {}
        self._closed = False
        self._sweeper = self.loop.call_later(BEAT_S, self._sweep)

    # ------------------------------------------------------------------ being reached

    async def listen(self, host: str, port: int) -> int:
        """Let peers connect. host: an address of this machine. port: 0 for any free one. Returns the port. Raises OSError if the address is taken."""
        taken = listening(host, port)
        taken.setblocking(False)
        self._sockets.append(taken)
        found: int = taken.getsockname()[1]
        self._listeners.append(self.env.tasks.keep(partial(self._accept, taken), name=f"peers-{host}:{found}"))
        return found

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                taken, _ = await self.loop.sock_accept(listener)
            except OSError as error:
                if error.errno not in EXHAUSTED and not isinstance(error, ConnectionError):
                    raise
                self.tell("", str(error_of_os(error.errno, what="a peer's connection", action="accept")))
                await asyncio.sleep(BEAT_S)
                continue
            self.counts.accepted += 1
            if len(self._strangers) >= STRANGERS_MAX or len(self._inward) >= GUESTS_MAX:
                self.counts.crowded += 1
                taken.close()
                continue
            connection = PeerConnection(self, None)
            self._strangers.add(connection)
            self.env.tasks.spawn(self._receive(connection, taken), name="peer")

    async def _receive(self, connection: PeerConnection, taken: socket.socket) -> None:
        """Give an accepted connection its socket, after the TLS handshake if there is one."""
        try:
            taken.setblocking(False)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = None if self.tls is None else self.tls.accepting
            limit = None if context is None else HANDSHAKE_S
            await self.loop.connect_accepted_socket(lambda: connection, taken, ssl=context, ssl_handshake_timeout=limit)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            self._strangers.discard(connection)
            self.counts.refused += 1
            self.tell("", f"a connection was not taken: {_cause(error)}")
            taken.close()
        except BaseException:
            self._strangers.discard(connection)
            taken.close()
            raise

    # ------------------------------------------------------------------ reaching

    def dial(self, name: NodeName, host: str, port: int, *, channels: Sequence[str] = CHANNELS) -> None:
        """Connect to a peer, and again whenever the connection is gone. Another address takes the place of the one before."""
        assert name != self.name
        assert not self._closed
        for channel in channels:
            dialler = self._diallers.get((name, channel))
            if dialler is None:
                self._diallers[name, channel] = _Dialler(self, name, channel, (host, port))
            else:
                dialler.move((host, port))

    def undial(self, name: NodeName) -> None:
        """No longer; connections that this process dialled are closed."""
        for key in [key for key in self._diallers if key[0] == name]:
            self._diallers.pop(key).stop()

    def outward(self, name: NodeName, channel: str) -> PeerConnection | None:
        """The connection that was dialled, while it is up."""
        dialler = self._diallers.get((name, channel))
        if dialler is None or dialler.connection is None:
            return None
        link = dialler.connection.link
        return dialler.connection if link is not None and link.up else None

    async def addresses(self, host: str) -> list[str]:
        """Of a peer's machine. Raises OSError, Exhausted. Not left to the loop: see `base.real.addresses`."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        looking = self._looking_up.get(host)
        if looking is None or looking.done():
            looking = self._looking_up[host] = asyncio.wrap_future(self._names.submit(_addresses, host), loop=self.loop)
        return await asyncio.shield(looking)

    # ------------------------------------------------------------------ what a connection asks of its owner

    def link(self, connection: PeerConnection) -> PeerLink:
        self._connections.add(connection)
        name, channel = (None, None) if connection.dialled is None else connection.dialled
        return PeerLink(
            self.loop.time(),
            name=self.name,
            dials=name is not None,
            opening=self._opening,
            judge=partial(self._judge, connection),
            channel=channel,
            peer=name,
        )

    def _opening(self, channel: str, peer: str) -> Opening:
        return Opening(wire.WIRE_FIRST, wire.WIRE_LAST, self._life, channel, peer, self._hello())

    def _judge(self, connection: PeerConnection, hello: Hello, life: str) -> ScrubjayError | None:
        if self.tls is not None and (error := check_names(hello, connection.certificate)) is not None:
            return error
        return self._admit(hello, life)

    def came_up(self, connection: PeerConnection) -> None:
        link = connection.link
        assert link is not None
        assert link.hello is not None
        name = NodeName(link.peer)
        self._hellos[name] = link.hello
        if connection.dialled is not None:
            if (own := self._diallers.get((name, link.channel))) is not None and own.connection is connection:
                own.made += 1
            return
        self._strangers.discard(connection)
        before = self._inward.get((name, link.channel))
        self._inward[name, link.channel] = connection
        if before is not None:
            self.counts.replaced += 1
            before.end(Unavailable("a newer connection of the same peer took its place", peer=name))
        for channel in CHANNELS:
            if (dialler := self._diallers.get((name, channel))) is not None:
                dialler.hurry()

    def lost(self, connection: PeerConnection) -> None:
        link = connection.link
        self._connections.discard(connection)
        self._strangers.discard(connection)
        if link is None:
            return
        name = NodeName(link.peer)
        if connection.dialled is None:
            if self._inward.get((name, link.channel)) is connection:
                del self._inward[name, link.channel]
        else:
            for id_ in [id_ for id_, asked in self._calls.items() if asked.connection is connection]:
                self._ended(id_, Unavailable("the connection went away before the reply", peer=name, unknown=True))
            if (lane := self._lanes.get((name, link.channel))) is not None:
                lane.lost()
        self._tell_end(connection, link)

    def _tell_end(self, connection: PeerConnection, link: PeerLink) -> None:
        if link.refused is not None:
            self.counts.refused += 1
            self.tell(link.peer, f"refuses this process: {link.refused}")
            self._refused(NodeName(link.peer), link.refused)
        elif link.over is not None and not connection.planned:
            self._count_end(link.over, was_up=link.hello is not None and connection.since > 0.0)
            what = f"is not let in: {link.over}" if link.last_words else str(link.over)
            self.tell(link.peer or connection.peer_address, what, of=link.over.message)

    def _count_end(self, why: ScrubjayError, *, was_up: bool) -> None:
        if why.code == "Corrupt":
            self.counts.broken += 1
        elif was_up:
            self.counts.ended += 1
        else:
            self.counts.refused += 1

    def delivered(self, connection: PeerConnection, lane: int, body: bytes | bytearray) -> None:
        link = connection.link
        assert link is not None
        assert link.hello is not None
        if lane == wire.TALK:
            if self.network.receive is None:
                self.counts.unheard += 1
            else:
                self.network.receive(NodeName(link.peer), bytes(body))
        elif lane == wire.ASKED:
            if self.asked is None:
                self.counts.unheard += 1
            else:
                self.asked(link.hello, body, partial(connection.answer, wire.SAID))
        elif lane == wire.SAID:
            if (port := self._lanes.get((NodeName(link.peer), link.channel))) is not None:
                port.heard(body)
        elif lane == wire.CALL:
            self._called(connection, link.hello, body)
        else:
            reply = wire.decode_reply(body)
            self._ended(reply.id, reply.body if reply.failure is None else reply.failure.error)

    # ------------------------------------------------------------------ requests

    def lane(self, name: NodeName, *, bulk: bool = False) -> PortLane:
        """Requests of the node port to a peer. bulk: those that are large, or whose answers are."""
        channel = BULK_CHANNEL if bulk else PORT_CHANNEL
        found = self._lanes.get((name, channel))
        if found is None:
            found = self._lanes[name, channel] = PortLane(self, name, channel)
        return found

    def ask(self, name: NodeName, body: bytes, done: Replied, *, timeout_s: float = 10.0) -> None:
        """A small request of one assembly to another's. done, once: the reply, or an error; Unavailable with the field `unknown` if it may have been heard."""
        connection = self.outward(name, PORT_CHANNEL)
        self._last_call += 1
        id_ = self._last_call
        try:
            data = wire.encode_call(PeerCall(id_, int(timeout_s * 1e6), body))
        except ScrubjayError as error:
            done(error)
            return
        if connection is None or not connection.send(wire.CALL, data):
            done(Unavailable("the peer cannot be reached", peer=name))
            return
        late = Unavailable("the peer did not reply in time", peer=name, seconds=timeout_s, unknown=True)
        self._calls[id_] = _Asked(done, self.env.tasks.call_later(timeout_s, lambda: self._ended(id_, late)), connection)

    def _ended(self, id_: int, outcome: bytes | ScrubjayError) -> None:
        asked = self._calls.pop(id_, None)
        if asked is not None:
            asked.timer.cancel()
            asked.done(outcome)

    def answer(self, handler: Callable[[Hello, bytes, Replied], None]) -> None:
        """handler: who replies to requests of `ask` here: of whom, the request, the way back (to be used once)."""
        self._handler = handler

    def _called(self, connection: PeerConnection, hello: Hello, body: bytes | bytearray) -> None:
        call = wire.decode_call(body)
        until = self.loop.time() + call.left_us / 1e6

        def reply(outcome: bytes | ScrubjayError) -> None:
            if self.loop.time() > until:
                return
            connection.answer(wire.REPLY, _reply(call.id, outcome))

        if self._handler is None:
            reply(Unavailable("nobody replies here yet", peer=self.name))
        else:
            self._handler(hello, call.body, reply)

    # ------------------------------------------------------------------ telling

    def connected(self) -> dict[NodeName, Hello]:
        """What those said of themselves that are connected now from their side; of several connections of one, the one that can the least."""
        found: dict[NodeName, Hello] = {}
        for (name, _), connection in sorted(self._inward.items()):
            link = connection.link
            if link is not None and link.up and link.hello is not None and (name not in found or link.hello.can < found[name].can):
                found[name] = link.hello
        return found

    def dismiss(self, why: Callable[[Hello], ScrubjayError | None]) -> None:
        """End the connections of those who would not be let in any more. why: None: it would."""
        for connection in sorted(self._connections, key=lambda one: "" if one.link is None else one.link.peer):
            link = connection.link
            if link is not None and link.up and link.hello is not None and (error := why(link.hello)) is not None:
                connection.end(error)

    def peer(self, name: NodeName) -> Hello | None:
        """What a peer said of itself when it was last let in."""
        return self._hellos.get(name)

    def links(self) -> list[LinkFacts]:
        """By name, channel and direction: every channel that is dialled, and every connection that was let in."""
        found = [dialler.facts() for dialler in self._diallers.values()]
        now = self.loop.time()
        found += [_facts(name, channel, connection, now, "") for (name, channel), connection in self._inward.items()]
        return sorted(found, key=lambda one: (one.name, one.channel, not one.outward))

    def tell(self, peer: str, what: str, *, of: str = "") -> None:
        """Say it, unless it was said of this peer a moment ago. of: what it is about, if `what` has more than that."""
        now, key = self.loop.time(), (peer, of or what)
        if now - self._said.get(key, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return
        self._said.pop(key, None)
        if len(self._said) >= SAID_KEPT:
            self._said.pop(next(iter(self._said)))
        self._said[key] = now
        self._log(f"peer {peer}: {what}" if peer else f"peers: {what}")

    # ------------------------------------------------------------------ time, and the end

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(BEAT_S, self._sweep)
        now = self.loop.time()
        for connection in list(self._connections):
            connection.look(now)

    async def close(self) -> None:
        """Nothing is dialled or accepted any more; what waits may leave for CLOSE_S, then every connection is closed."""
        self._closed = True
        for dialler in self._diallers.values():
            dialler.stop()
        for task in self._listeners:
            task.cancel()
        for taken in self._sockets:
            taken.close()
        leaving = list(self._connections)
        for connection in leaving:
            connection.end(Unavailable("this process closes"), planned=True)
        if leaving:
            await asyncio.wait([connection.closed for connection in leaving], timeout=CLOSE_S)
        for connection in list(self._connections):
            connection.abort()
        self._sweeper.cancel()
        self._names.shutdown(wait=False)


class _Dialler:
    """Keeps one channel to one peer connected. connection: the present one. error: why there was none, or the last one ended."""

    def __init__(self, net: PeerNet, name: NodeName, channel: str, address: tuple[str, int]) -> None:
        self.connection: PeerConnection | None = None
        self.error = ""
        self.made = 0
        self._dropped = 0
        """By connections that are over."""
        self._net, self._name, self._channel, self._address = net, name, channel, address
        self._wake = asyncio.Event()
        self._stopped = False
        self._since = net.loop.time()
        self._task = net.env.tasks.keep(self._run, name=f"dial-{name}-{channel}")

    async def _run(self) -> None:
        wait_s = AGAIN_FIRST_S
        while not self._stopped:
            refused = False
            self._wake.clear()
            try:
                connection = self.connection = await self._connected()
            except (OSError, TimeoutError, ScrubjayError) as error:
                self.error = _cause(error)
                self._net.tell(self._name, f"{self._channel} cannot be reached: {self.error}")
            else:
                await asyncio.shield(connection.closed)
                self.connection = None
                link = connection.link
                self._dropped += 0 if link is None else link.dropped
                self.error = "" if link is None or link.over is None else str(link.over)
                refused = link is not None and link.refused is not None
                if connection.since and self._net.loop.time() - connection.since >= GOOD_S:
                    wait_s = AGAIN_FIRST_S
                self._since = self._net.loop.time()
            pause_s = self._net.env.rand.uniform(0.5, 1.0) * wait_s
            wait_s = min(wait_s * 2, AGAIN_REFUSED_S if refused else AGAIN_LAST_S)
            timer = self._net.loop.call_later(pause_s, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def _connected(self) -> PeerConnection:
        """Raises OSError, TimeoutError, Exhausted."""
        host, port = self._address
        net, failed = self._net, OSError("its name has no address")
        for address in await net.addresses(host):
            try:
                return await self._connect(address, port)
            except (OSError, TimeoutError) as error:
                failed = error
        raise failed

    async def _connect(self, address: str, port: int) -> PeerConnection:
        net = self._net
        taken = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            taken.setblocking(False)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_S):
                await net.loop.sock_connect(taken, (address, port))
            connection = PeerConnection(net, (self._name, self._channel))
            context = None if net.tls is None else net.tls.dialling
            await net.loop.create_connection(
                lambda: connection,
                sock=taken,
                ssl=context,
                server_hostname=None if context is None else "",
                ssl_handshake_timeout=None if context is None else HANDSHAKE_S,
            )
        except BaseException:
            taken.close()
            raise
        return connection

    def hurry(self) -> None:
        """The peer is there: it has just connected from its side."""
        if self.connection is None:
            self._wake.set()

    def move(self, address: tuple[str, int]) -> None:
        if address != self._address:
            self._address = address
            if self.connection is not None:
                self.connection.end(Unavailable("the peer has another address now", peer=self._name), planned=True)
            self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._task.cancel()
        if self.connection is not None:
            self.connection.end(Unavailable("the peer is dialled no more", peer=self._name), planned=True)

    def facts(self) -> LinkFacts:
        now = self._net.loop.time()
        if self.connection is None:
            return LinkFacts(self._name, self._channel, True, False, now - self._since, self.error, 0, 0, 0, self._dropped, self.made)
        found = _facts(self._name, self._channel, self.connection, now, self.error)
        since_s = found.since_s if found.up else now - self._since
        return replace(found, since_s=since_s, dropped=found.dropped + self._dropped, made=self.made)


def _facts(name: NodeName, channel: str, connection: PeerConnection, now: float, error: str) -> LinkFacts:
    link = connection.link
    sent, received, dropped = (0, 0, 0) if link is None else (link.sent, link.received_frames, link.dropped)
    up = link is not None and link.up
    return LinkFacts(
        name,
        channel,
        connection.dialled is not None,
        up,
        now - connection.since if up else 0.0,
        error,
        connection.queued_bytes,
        sent,
        received,
        dropped,
    )


def _reply(id_: int, outcome: bytes | ScrubjayError) -> bytes:
    """A reply that fits into no frame is one too."""
    try:
        if isinstance(outcome, ScrubjayError):
            return wire.encode_call(PeerReply(id_, b"", NotAdmitted.of(outcome)))
        return wire.encode_call(PeerReply(id_, outcome))
    except ScrubjayError as error:
        return wire.encode_call(
            PeerReply(id_, b"", NotAdmitted("Unavailable", "the reply does not fit", {"cause": str(error), "unknown": True}))
        )


def _addresses(host: str) -> list[str]:
    """Raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a name with an empty part, or one that is too long
        raise OSError(f"{host!r} is no name of a machine") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _cause(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
