"""A `PeerLink` and its socket: bytes in, bytes out as the peer takes them."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.peer_link import PIECE_BYTES, PeerLink
from scrubjay.base.real.log_lines import logger

PIECES_PER_TURN = 2
"""A socket is given so many pieces before others have their turn."""
LONG_READING_BYTES = 64 << 10
"""After so much in one reading the others have their turn: the loop would read up to 32 times in a row, megabytes, from whoever sends fast."""
LINGER_S = 1.0
"""How long what is still to be said before the end may take."""

_log = logger("peers")


class Owner(Protocol):
    """Who keeps the connections of a process."""

    loop: asyncio.AbstractEventLoop

    def link(self, connection: PeerConnection) -> PeerLink: ...

    def came_up(self, connection: PeerConnection) -> None:
        """Both sides admitted each other; before any frame is delivered."""
        ...

    def delivered(self, connection: PeerConnection, lane: int, body: bytes | bytearray) -> None: ...

    def lost(self, connection: PeerConnection) -> None:
        """Once, and nothing comes after it."""
        ...


class PeerConnection(asyncio.Protocol):
    """dialled: name and channel that were dialled; None: it was accepted. since: when it came up, on the loop's clock."""

    def __init__(self, owner: Owner, dialled: tuple[str, str] | None) -> None:
        self._owner, self.dialled = owner, dialled
        self.link: PeerLink | None = None
        self.closed: asyncio.Future[None] = owner.loop.create_future()
        self.since = 0.0
        self.planned = False
        """It was ended on this side on purpose."""
        self.peer_address = ""
        """Without the port, which differs each time."""
        self._transport: asyncio.Transport | None = None
        self._writing_paused = self._reading_paused = self._flushing = self._going_on = self._told = False

    @property
    def held_bytes(self) -> int:
        """What the socket was given and has not sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def queued_bytes(self) -> int:
        return self.held_bytes + (0 if self.link is None else self.link.outbox.bytes)

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The peer's, under TLS."""
        return None if self._transport is None else self._transport.get_extra_info("peercert")

    # ------------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer_address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._transport.set_write_buffer_limits(high=PIECE_BYTES, low=PIECE_BYTES // 4)
        try:
            self.link = self._owner.link(self)
        except BaseException:
            self._transport.abort()
            raise
        self.flush()

    def data_received(self, data: bytes) -> None:
        link = self.link
        if link is None:
            return
        if link.received(data, self._deliver, self._crowded):
            self._tell_up()
        if len(data) >= LONG_READING_BYTES and self._transport is not None and not self._reading_paused:
            self._stop_reading(self._transport)
        self.flush()
        if link.over is not None:
            self._close()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.link is not None:
            cause = "it was closed" if exc is None else str(exc) or type(exc).__name__
            self.link.end(Unavailable("the connection is gone", peer=self.link.peer, cause=cause))
        if not self.closed.done():
            self.closed.set_result(None)
            self._owner.lost(self)

    # ------------------------------------------------------------------ ours

    def _tell_up(self) -> None:
        if not self._told:
            self._told, self.since = True, self._owner.loop.time()
            self._owner.came_up(self)

    def _deliver(self, lane: int, body: bytes | bytearray) -> None:
        self._tell_up()
        try:
            self._owner.delivered(self, lane, body)
        except Corrupt as error:
            if self.link is not None:
                self.link.end(error)
        except Exception as error:  # noqa: BLE001  the frames behind the one a receiver chokes on still get their turn
            _log.error("a receiver failed", lane=lane, error=repr(error), exc_info=error)

    def send(self, lane: int, body: bytes) -> bool:
        """False: not up, or too much waits."""
        link = self.link
        if link is None or not link.send(lane, body, held=self.held_bytes):
            return False
        self.flush()
        return True

    def answer(self, lane: int, body: bytes) -> None:
        """To who asked over this connection; dropped if it is gone."""
        link = self.link
        if link is None:
            return
        taken = link.answer(lane, body, held=self.held_bytes)
        self.flush()
        if not taken and link.over is not None:
            self._close()

    def flush(self) -> None:
        """Give the socket what it takes now."""
        link, transport = self.link, self._transport
        if link is None or transport is None or transport.is_closing():
            return
        given = 0
        while not self._writing_paused and (piece := link.outbox.take()) is not None:
            transport.write(piece)
            given += 1
            if given == PIECES_PER_TURN and link.outbox.bytes and not self._writing_paused:
                self._flush_soon()
                break
        if link.last_words and not link.outbox.bytes:
            transport.close()
        else:
            self._pace(transport)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._owner.loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()

    def _crowded(self) -> bool:
        return self.link is not None and self.link.crowded(self.held_bytes)

    def _pace(self, transport: asyncio.Transport) -> None:
        """Requests are read only while their answers are."""
        if self._crowded():
            if not self._reading_paused:
                self._stop_reading(transport)
        elif self._reading_paused and not self._going_on:
            self._going_on = True
            self._owner.loop.call_soon(self._go_on)

    def _stop_reading(self, transport: asyncio.Transport) -> None:
        """Until `_pace` finds that there is no reason any more."""
        if not transport.is_closing():
            self._reading_paused = True
            transport.pause_reading()

    def _go_on(self) -> None:
        """Read on: first what had come already."""
        self._going_on = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.data_received(b"")
        if not self._crowded() and not transport.is_closing():
            self._reading_paused = False
            transport.resume_reading()

    def look(self, now: float) -> None:
        """What time does; every BEAT_S."""
        link = self.link
        if link is None:
            return
        link.look(now, held=self.held_bytes, listening=not self._reading_paused)
        self.flush()
        if link.over is not None:
            self._close()

    def end(self, why: ScrubjayError, *, planned: bool = False) -> None:
        """planned: nobody is at fault; what waits is still written, for LINGER_S."""
        self.planned = planned
        if self.link is not None:
            self.link.end(why, drain=planned)
        self._close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """What the link still has to say goes out, for a while; then the socket is closed, whether the other side says anything or not."""
        if self._transport is None:
            return
        if self.link is not None and self.link.last_words:
            self.flush()
            self._owner.loop.call_later(LINGER_S, self.abort)
        else:
            self._transport.abort()
