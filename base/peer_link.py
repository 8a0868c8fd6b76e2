"""One connection between two processes, without its socket: the order of the first messages, what may be said when, what waits to be sent, and who is gone.

Invariants of a `PeerLink`:
1. No frame of another lane than the link's own is delivered, or taken for sending, before both sides admitted each other.
2. What waits never exceeds its bound, but for one frame that met nothing waiting.
3. An ended link stays ended: it delivers nothing, takes nothing and has one reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from scrubjay.base import peer_wire as wire
from scrubjay.base.errors import Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.packed import malformed
from scrubjay.base.peer_wire import BULK_CHANNEL, LINK, PORT_CHANNEL, TALK_CHANNEL, Hello, NotAdmitted, Opening, Ping, Welcome

HANDSHAKE_S = 5.0
"""From the connection until both have admitted each other."""
PING_S = 1.0
"""Who has sent nothing for so long says that it lives."""
SILENCE_S = 4.0
"""From whom nothing came for so long is gone."""
STUCK_S = 10.0
"""A peer that takes no byte for so long, though some wait."""
BEAT_S = 0.25
"""Between two looks at the time."""

QUEUE_BYTES_MAX: Mapping[str, int] = MappingProxyType({TALK_CHANNEL: 16 << 20, PORT_CHANNEL: 8 << 20, BULK_CHANNEL: 40 << 20})
"""What may wait for a peer, by channel."""
ANSWERS_PAUSE_BYTES: Mapping[str, int] = MappingProxyType({TALK_CHANNEL: 4 << 20, PORT_CHANNEL: 4 << 20, BULK_CHANNEL: 16 << 20})
"""More answers than that wait: no further requests are read."""
ANSWERS_BYTES_MAX = 128 << 20
"""More answers than that: the peer does not read them, and the connection ends."""
PIECE_BYTES = 256 << 10
"""What a socket is given at a time."""

OPENING, WELCOMING, UP, OVER = "opening", "welcoming", "up", "over"
"""States: the other side's Opening is awaited; its Welcome is; frames flow; ended."""

Judge = Callable[[Hello, str], ScrubjayError | None]


class SendQueue:
    """Bytes that wait for a socket, and their bound. put_bytes: all that were ever taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = self.put_bytes = 0
        self._pieces: deque[memoryview | bytes] = deque()

    def put(self, header: bytes, body: bytes | bytearray | memoryview, *, held: int, limit: int | None = None) -> bool:
        """held: bytes that the socket has not sent yet. False: there is no room, and nothing was taken."""
        size = len(header) + len(body)
        waiting = self.bytes + held
        if waiting and waiting + size > (self.limit if limit is None else limit):
            return False
        self.bytes += size
        self.put_bytes += size
        if size <= PIECE_BYTES:
            self._pieces.append(header + bytes(body))
        else:
            self._pieces.append(header)
            view = memoryview(body)
            self._pieces.extend(view[at : at + PIECE_BYTES] for at in range(0, len(view), PIECE_BYTES))
        return True

    def take(self) -> bytes | memoryview | None:
        """The next piece, at most PIECE_BYTES; small frames in a row are one. None: nothing waits."""
        pieces = self._pieces
        if not pieces:
            return None
        first = pieces.popleft()
        self.bytes -= len(first)
        if not pieces or len(first) + len(pieces[0]) > PIECE_BYTES:
            return first
        row, size = [first], len(first)
        while pieces and size + len(pieces[0]) <= PIECE_BYTES:
            row.append(pieces.popleft())
            size += len(row[-1])
        self.bytes -= size - len(first)
        return b"".join(row)

    def clear(self) -> None:
        self._pieces.clear()
        self.bytes = 0

    def gone_bytes(self, held: int) -> int:
        """What has left, through a socket that holds `held`: never goes down while the socket is the same."""
        return self.put_bytes - self.bytes - held


class PeerPulse:
    """Whether the other side lives, and whether it must hear that this one does. Times in seconds, of one clock that never goes back."""

    def __init__(self, now: float) -> None:
        self._heard_at = self._said_at = self._moved_at = self._looked_at = now
        self._gone_bytes = 0

    def look(self, now: float, *, heard: bool, said: bool, waiting: int, gone_bytes: int) -> tuple[str, bool]:
        """heard, said: whether anything came, or went, since the last look. waiting: bytes that wait to be sent. gone_bytes: all that ever left. Returns (why the link is over, or "", whether to
        send a Ping). A look that comes late says that this process was held up: its own pause is not the other's silence."""
        late = max(0.0, now - self._looked_at - 2 * BEAT_S)
        self._looked_at = now
        self._heard_at = now if heard else self._heard_at + late
        self._said_at = now if said else self._said_at
        self._moved_at = now if not waiting or gone_bytes > self._gone_bytes else self._moved_at + late
        self._gone_bytes = gone_bytes
        if now - self._heard_at >= SILENCE_S:
            return "it is silent", False
        if now - self._moved_at >= STUCK_S:
            return "it takes nothing", False
        ping = now - self._said_at >= PING_S
        self._said_at = now if ping else self._said_at
        return "", ping


class PeerLink:
    """dials: this side dialled. channel: of this connection; None: who dials says. opening: this side's, for a channel and a peer's name. peer: who was dialled; None: who dials
    says. judge: whether the other side's Hello, in this life of its process, is admitted (None), or why not; it sees only what is of this version, and meant for this process.

    The shell gives bytes that came to `received`, calls `look` every BEAT_S, and writes what `outbox` holds. `over` is why the link ended, once it did; what
    the outbox holds then is still to be written, as far as it goes.

    More than 15 fields: who both sides are, where the order of things is, and the counts that `links` shows.
    """

    def __init__(
        self,
        now: float,
        *,
        name: str,
        dials: bool,
        opening: Callable[[str, str], Opening],
        judge: Judge,
        channel: str | None = None,
        peer: str | None = None,
    ) -> None:
        assert dials == (channel is not None)
        assert dials == (peer is not None)
        self.name, self.dials, self.peer, self.channel = name, dials, peer or "", channel or ""
        self._opening, self._judge = opening, judge
        self.state = OPENING
        self.hello: Hello | None = None
        """Of the other side, once admitted."""
        self.life = ""
        self.over: ScrubjayError | None = None
        self.last_words = False
        """Something is to be said yet though the link is over."""
        self.refused: ScrubjayError | None = None
        """What the other side said when it refused this one."""
        self.outbox = SendQueue(QUEUE_BYTES_MAX[channel or PORT_CHANNEL])
        self.sent = self.received_frames = self.dropped = 0
        self.received_bytes = 0
        self._until = now + HANDSHAKE_S
        self._pulse = PeerPulse(now)
        self._heard = self._said = False
        self._reader = wire.PeerFrameReader(frozenset({LINK}))
        if dials:
            assert channel is not None
            assert peer is not None
            self._say(opening(channel, peer))

    @property
    def up(self) -> bool:
        return self.state == UP

    # ------------------------------------------------------------------ what comes

    def received(self, data: bytes, deliver: Callable[[int, bytes | bytearray], None], crowded: Callable[[], bool] = lambda: False) -> bool:
        """deliver: gets each frame that is not the link's own. crowded: whether it should get no more just now: what is left waits for the next call, which may bring
        nothing new. Returns whether both sides admitted each other just now. Raises nothing: see `over`."""
        was_up = self.state == UP
        self._heard = self._heard or len(data) > 0
        self.received_bytes += len(data)

        def take(lane: int, body: bytes | bytearray) -> bool:
            if lane == LINK:
                self._heard_link(body)
            else:
                self.received_frames += 1
                deliver(lane, body)
                if crowded():
                    return False
            return self.state != OVER

        if self.state != OVER:
            try:
                self._reader.feed(data, take)
            except ScrubjayError as error:
                self.end(error)
        return self.state == UP and not was_up

    def _heard_link(self, body: bytes | bytearray) -> None:
        message = wire.decode_link(body)
        if isinstance(message, Ping):
            if self.state != UP:
                raise malformed("message of a link", "too early", "Ping")
        elif isinstance(message, NotAdmitted) and self.state != UP:
            self.refused = message.error
            self.end(Unavailable("the peer refuses this process", peer=self.peer, why=str(self.refused)))
        elif isinstance(message, Opening) and self.state == OPENING:
            self._opened(message)
        elif isinstance(message, Welcome) and self.state == WELCOMING:
            self._admitted(self._version, message.version)
        else:
            raise malformed("message of a link", "out of turn", type(message).__name__)

    def _opened(self, opening: Opening) -> None:
        error = self._check(opening)
        if not self.dials:
            self.peer, self.channel = opening.hello.name, opening.channel
        if error is None:
            error = self._judged(opening)
        if error is not None:
            self.refuse(error)
            return
        version = wire.spoken(opening)
        assert version is not None
        self.hello, self.life, self._version = opening.hello, opening.life, version
        if self.dials:
            self._say(Welcome(version))
            self._admitted(version, version)
        else:
            self._say(self._opening(self.channel, self.peer))
            self.state = WELCOMING

    def _judged(self, opening: Opening) -> ScrubjayError | None:
        try:
            return self._judge(opening.hello, opening.life)
        except ScrubjayError as error:  # what it would have noted could not be: nobody is let in unnoted
            return error

    def _check(self, opening: Opening) -> ScrubjayError | None:
        """What the wire itself asks of an Opening."""
        if wire.spoken(opening) is None:
            return Unsafe("no version of the wire is common", here=[wire.WIRE_FIRST, wire.WIRE_LAST], there=[opening.first, opening.last])
        if opening.to != self.name:
            return Invalid("another process was dialled", dialled=opening.to, answers=self.name)
        if opening.hello.name == self.name:
            return Unsafe("another process has this one's name", name=self.name)
        if self.dials and (opening.hello.name, opening.channel) != (self.peer, self.channel):
            return Invalid("another process answers", dialled=self.peer, answers=opening.hello.name)
        return None

    def _admitted(self, ours: int, theirs: int) -> None:
        if ours != theirs:
            raise malformed("message of a link", "version", theirs)
        self.state = UP
        self.outbox.limit = QUEUE_BYTES_MAX[self.channel]
        self._reader.heard = (wire.TO_DIALLER if self.dials else wire.TO_DIALLED)[self.channel]

    # ------------------------------------------------------------------ what goes

    def send(self, lane: int, body: bytes, *, held: int = 0) -> bool:
        """Take a frame for sending. held: bytes that the socket has not sent yet. False: the link is not up, too much waits, or it is larger than its lane allows; the frame is dropped,
        and counted if the link was up."""
        if self.state != UP:
            return False
        if len(body) > wire.BODY_BYTES_MAX[lane] or not self.outbox.put(wire.frame_header(lane, body), body, held=held):
            self.dropped += 1
            return False
        self.sent += 1
        self._said = True
        return True

    def answer(self, lane: int, body: bytes, *, held: int = 0) -> bool:
        """As `send`, for what the other side asked for: it waits however slowly it is taken, up to ANSWERS_BYTES_MAX; beyond that the link ends."""
        if self.state != UP:
            return False
        if not self.outbox.put(wire.frame_header(lane, body), body, held=held, limit=ANSWERS_BYTES_MAX):
            self.end(Unavailable("answers are not read", peer=self.peer, waiting=self.outbox.bytes + held))
            return False
        self.sent += 1
        self._said = True
        return True

    def crowded(self, held: int) -> bool:
        """So many answers wait that no further request should be read."""
        return not self.dials and self.state == UP and self.outbox.bytes + held > ANSWERS_PAUSE_BYTES[self.channel]

    def _say(self, message: wire.LinkMessage) -> None:
        body = wire.encode_link(message)
        self.outbox.put(wire.frame_header(LINK, body), body, held=0)
        self._said = True

    # ------------------------------------------------------------------ time, and the end

    def look(self, now: float, *, held: int, listening: bool = True) -> None:
        """What time does: a Ping, or the end. listening: False: this side reads nothing just now, so it cannot tell whether the other is silent."""
        if self.state == OVER:
            return
        outbox = self.outbox
        why, ping = self._pulse.look(
            now, heard=self._heard or not listening, said=self._said, waiting=outbox.bytes + held, gone_bytes=outbox.gone_bytes(held)
        )
        if self.state != UP:
            if now >= self._until:
                self.end(Unavailable("it did not introduce itself in time", seconds=HANDSHAKE_S, peer=self.peer))
        elif why:
            self.end(Unavailable("the peer is gone", why=why, peer=self.peer))
        elif ping:
            self._say(Ping())
        self._heard = self._said = False

    def refuse(self, error: ScrubjayError) -> None:
        """The other side is not let in, and hears why."""
        try:
            self._say(NotAdmitted.of(error))
        except Invalid:
            self._say(NotAdmitted(error.code, error.message[:1024], {}))
        self.end(error, drain=True)

    def end(self, why: ScrubjayError, *, drain: bool = False) -> None:
        """From now on nothing is delivered or taken. drain: what waits is still to be written. The first reason stays."""
        if self.state == OVER:
            return
        self.state, self.over, self.last_words = OVER, why, drain
        if not drain:
            self.outbox.clear()

    def check_invariants(self) -> None:
        """Programmer errors only; numbered as above."""
        assert self.state != UP or self.hello is not None  # 1
        assert (self.state == OVER) == (self.over is not None)  # 3
