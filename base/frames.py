"""Frames on a pipe between a process of ours and its workers: u32 little-endian length, then the body. One machine, one build: no version, no checksum."""

from __future__ import annotations

import struct

from scrubjay.base.errors import Invalid

LENGTH = struct.Struct("<I")


def framed(body: bytes, *, most: int, what: str) -> bytes:
    """One frame. Raises Invalid if the body has more than `most` bytes."""
    if len(body) > most:
        raise Invalid(f"{what} frame too large", size=len(body), limit=most)
    return LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies that are complete now."""
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        at = 0
        with memoryview(buffer) as view:  # each body is copied once: a segment is some MiB, and whoever feeds serves others meanwhile
            while len(view) - at >= LENGTH.size:
                (length,) = LENGTH.unpack_from(view, at)
                end = at + LENGTH.size + length
                if end > len(view):
                    break
                with view[at + LENGTH.size : end] as body:
                    bodies.append(bytes(body))
                at = end
        if at:
            del buffer[:at]
        return bodies
