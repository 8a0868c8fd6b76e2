"""What processes of one cluster say to each other, as bytes (docs/formats/peer-wire.md): frames, and the messages of a link.

Guarantees: bytes that no encoder of ours can have made raise Corrupt and nothing else, as soon as it can be known; a reader keeps at most one unfinished frame,
of the size that its lane allows. Not covered: what the bodies of other lanes mean.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Invalid, ScrubjayError, from_code
from scrubjay.base.packed import malformed, packed, unpacked

FRAME_HEAD = struct.Struct("<IBx")
"""length, lane, reserved: what `head` is over."""
FRAME_CHECK = struct.Struct("<H")
FRAME_CRC = struct.Struct("<I")
FRAME_HEADER = struct.Struct("<IBxHI")
"""length, lane, reserved, head, crc."""
HEADER_BYTES = FRAME_HEADER.size
CRC_AT = HEADER_BYTES - FRAME_CRC.size

LINK, TALK, ASKED, SAID, CALL, REPLY = range(6)
"""Lanes."""
LINK_BYTES_MAX = 64 << 10
TALK_BYTES_MAX = (64 << 20) + 1024
"""The largest frame between nodes (docs/formats/messages.md), and its header."""
PORT_BYTES_MAX = 33_558_528
"""docs/formats/node-port.md."""
CALL_BODY_BYTES_MAX = 4 << 20
CALL_BYTES_MAX = CALL_BODY_BYTES_MAX + 4096
BODY_BYTES_MAX = (LINK_BYTES_MAX, TALK_BYTES_MAX, PORT_BYTES_MAX, PORT_BYTES_MAX, CALL_BYTES_MAX, CALL_BYTES_MAX)
"""By lane."""

TALK_CHANNEL, PORT_CHANNEL, BULK_CHANNEL = CHANNELS = ("talk", "port", "bulk")
TO_DIALLED = {TALK_CHANNEL: frozenset({LINK, TALK}), PORT_CHANNEL: frozenset({LINK, ASKED, CALL}), BULK_CHANNEL: frozenset({LINK, ASKED})}
TO_DIALLER = {TALK_CHANNEL: frozenset({LINK}), PORT_CHANNEL: frozenset({LINK, SAID, REPLY}), BULK_CHANNEL: frozenset({LINK, SAID})}
"""Lanes that each side may hear, by channel."""

VERSION = 1
"""Of the bodies below."""
WIRE_FIRST = WIRE_LAST = 1
"""Versions of the wire that this release speaks."""
OPENING_MAGIC = b"SJPW"
NOTE_BYTES_MAX = 32 << 10


# --- frames --------------------------------------------------------------------------------------------------------------------------------


def frame_header(lane: int, body: bytes | memoryview) -> bytes:
    """What stands before a body. The body must fit its lane (`BODY_BYTES_MAX`)."""
    length = len(body)
    assert length <= BODY_BYTES_MAX[lane]
    head = FRAME_HEAD.pack(length, lane)
    start = head + FRAME_CHECK.pack(crc32c_masked(head) & 0xFFFF)
    return start + FRAME_CRC.pack(crc32c_masked(body, crc32c_raw(start)))


def frame(lane: int, body: bytes) -> bytes:
    return frame_header(lane, body) + body


class PeerFrameReader:
    """Cuts what comes over a connection into frames. heard: the lanes that may come; set anew as the order of things goes on.

    A body that is awaited grows as its bytes come, and its checksum with it: a claim of a large one costs nothing, and its end is no long turn.
    """

    def __init__(self, heard: frozenset[int]) -> None:
        self.heard = heard
        self._rest = b""
        """The beginning of a header, or what was not taken yet."""
        self._body: bytearray | None = None
        self._want = self._lane = self._crc = self._running = 0
        """Of the body that is awaited: its length, lane, checksum, and the checksum (raw) of what is there."""

    @property
    def unfinished_bytes(self) -> int:
        """Of the frame that is not whole yet."""
        return len(self._rest) + (0 if self._body is None else len(self._body))

    def feed(self, data: bytes, take: Callable[[int, bytes | bytearray], bool]) -> None:
        """take: gets each frame that is whole now, lane and body; False: no more just now, and what is left is kept for the next feed. Raises Corrupt at the first
        byte that cannot be right, after the frames before it."""
        at = 0
        if self._body is not None:
            at = self._await(data, 0)
            if len(self._body) < self._want:
                return
            body, self._body = self._body, None
            if crc32c_masked(b"", self._running) != self._crc:
                raise malformed("frame", "checksum", self._lane)
            if not take(self._lane, body):
                self._rest = data[at:]
                return
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        while end - at >= HEADER_BYTES:
            length, lane, check, crc = FRAME_HEADER.unpack_from(data, at)
            self._check_header(data, at, length, lane, check)
            start = crc32c_raw(data[at : at + CRC_AT])
            at += HEADER_BYTES
            if end - at < length:
                self._want, self._lane, self._crc, self._running = length, lane, crc, start
                self._body = bytearray()
                self._await(data, at)
                return
            body_here = data[at : at + length]
            at += length
            if crc32c_masked(body_here, start) != crc:
                raise malformed("frame", "checksum", lane)
            if not take(lane, body_here):
                break
        self._rest = data[at:]

    def _await(self, data: bytes, at: int) -> int:
        """Add to the body that is awaited. Returns how far into `data` it reached."""
        body = self._body
        assert body is not None
        end = min(len(data), at + self._want - len(body))
        part = memoryview(data)[at:end]
        body += part
        self._running = crc32c_raw(part, self._running)
        return end

    def _check_header(self, data: bytes, at: int, length: int, lane: int, check: int) -> None:
        if crc32c_masked(data[at : at + FRAME_HEAD.size]) & 0xFFFF != check:
            raise malformed("frame", "header checksum", bytes(data[at : at + HEADER_BYTES]).hex())
        if data[at + FRAME_HEAD.size - 1]:
            raise malformed("frame", "reserved", data[at + FRAME_HEAD.size - 1])
        if lane not in self.heard:
            raise malformed("frame", "lane", lane)
        if length > BODY_BYTES_MAX[lane]:
            raise malformed("frame", "length", length)


# --- messages of the link ------------------------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """What a process says of itself. cluster: its id, "": there is none yet. role: node | router | durability. number: of the node, 0: it is none.
    identity, incarnation, boots, reserved: `storage.node.identity`. joined: its logs are made. note: at most NOTE_BYTES_MAX of the assembly's own.
    can: the newest of the cluster's versions that it can, 0: its release knows none."""

    cluster: str
    role: str
    name: str
    number: int = 0
    identity: str = ""
    incarnation: int = 0
    boots: int = 0
    reserved: int = 0
    joined: bool = False
    note: bytes = b""
    can: int = 0


class Opening(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """The first frame of each side. first, last: versions of the wire. life: a UUID, new in each life of the process. to: who is meant."""

    first: int
    last: int
    life: str
    channel: str
    to: str
    hello: Hello


class Welcome(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """version: of the wire, which both speak from now on."""

    version: int


class NotAdmitted(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """An error as it crosses."""

    code: str
    message: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, error: ScrubjayError) -> NotAdmitted:
        return cls(error.code, error.message, error.fields)

    @property
    def error(self) -> ScrubjayError:
        return from_code(self.code, self.message, self.fields)


class Ping(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """The sender lives."""


LinkMessage = Opening | Welcome | NotAdmitted | Ping
_link: msgspec.msgpack.Decoder[LinkMessage] = msgspec.msgpack.Decoder(LinkMessage)


def encode_link(message: LinkMessage) -> bytes:
    """A body. Raises Invalid if it is too large, or no data."""
    if isinstance(message, Opening) and len(message.hello.note) > NOTE_BYTES_MAX:
        raise Invalid("the note of a hello is too large", size=len(message.hello.note), limit=NOTE_BYTES_MAX)
    body = packed(message, version=VERSION, what="message of a link", limit=LINK_BYTES_MAX - len(OPENING_MAGIC))
    return OPENING_MAGIC + body if isinstance(message, Opening) else body


def decode_link(body: bytes | bytearray) -> LinkMessage:
    """Raises Corrupt."""
    opening = body.startswith(OPENING_MAGIC)
    message = unpacked(
        _link, memoryview(body)[len(OPENING_MAGIC) if opening else 0 :], version=VERSION, what="message of a link", limit=LINK_BYTES_MAX
    )
    if isinstance(message, Opening) != opening:
        raise malformed("message of a link", "magic", bytes(body[: len(OPENING_MAGIC)]).hex())
    if isinstance(message, Opening) and not _sound(message):
        raise malformed("message of a link", "opening", (message.first, message.last, message.channel, len(message.hello.note)))
    return message


def _sound(opening: Opening) -> bool:
    return 0 < opening.first <= opening.last and opening.channel in CHANNELS and len(opening.hello.note) <= NOTE_BYTES_MAX


# --- calls ---------------------------------------------------------------------------------------------------------------------------------


class PeerCall(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """id: of one life of one asker, never used twice in it. left_us: how long the asker still waits, from when it was sent."""

    id: int
    left_us: int
    body: bytes


class PeerReply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """id: of the call. failure: in the place of a body."""

    id: int
    body: bytes
    failure: NotAdmitted | None = None


_calls: msgspec.msgpack.Decoder[PeerCall] = msgspec.msgpack.Decoder(PeerCall)
_replies: msgspec.msgpack.Decoder[PeerReply] = msgspec.msgpack.Decoder(PeerReply)


def encode_call(call: PeerCall | PeerReply) -> bytes:
    """As `encode_link`."""
    return packed(call, version=VERSION, what="call", limit=CALL_BYTES_MAX)


def decode_call(body: bytes | bytearray) -> PeerCall:
    """Raises Corrupt."""
    call = unpacked(_calls, memoryview(body), version=VERSION, what="call", limit=CALL_BYTES_MAX)
    if call.id < 0 or call.left_us < 0:
        raise malformed("call", "id or time left", min(call.id, call.left_us))
    return call


def decode_reply(body: bytes | bytearray) -> PeerReply:
    """Raises Corrupt."""
    return unpacked(_replies, memoryview(body), version=VERSION, what="reply", limit=CALL_BYTES_MAX)


def spoken(opening: Opening) -> int | None:
    """The greatest version of the wire that this release and the sender can speak; None: there is none."""
    last = min(WIRE_LAST, opening.last)
    return last if last >= max(WIRE_FIRST, opening.first) else None
