"""Messages between nodes and the frame that carries them (docs/formats/messages.md).

One frame carries many messages: those of the node pair (liveness) and those of partitions, so that everything of one turn leaves in one write.
Records travel as the concatenation of their own bytes (storage.log.record), each with its own checksum; the frame has one too.

Frame, little-endian, 24-byte header then body:

    0  4B   magic    "SJMF"
    4  u8   version  1
    5  u8   flags    0; an unknown flag stops the reader
    6  u16  sender   node number
    8  u32  length   of the body
    12 u32  crc      masked CRC-32C over bytes [0,12), [16,24) and the body
    16 8B   cluster  first 8 bytes of the cluster id: a frame of another cluster is refused
    24 ...  body     MessagePack: [node messages, [[partition id, message], ...]]

A message is an array: its tag, then its fields in the order below. Readers ignore further fields; fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import PartitionId

VERSION = 1
MAGIC = b"SJMF"
HEADER = struct.Struct("<4sBBHII8s")
HEADER_SIZE = HEADER.size
FRAME_SIZE_MAX = 64 << 20
"""Bytes. A longer length is damage, refused before any allocation."""

assert HEADER_SIZE == 24


class Prepare(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Candidate to member: promise me this ballot."""

    ballot: int


class Promise(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Member to candidate, after the promise is synced.

    voter: the member's incarnation. epoch: under which it supports the candidate's node (0: it does not). clock: its hybrid clock.
    accepted, first, last, chosen: the state of its log. members: payload of its last CONFIG, or of what stands for one (empty: it was written by a version
    that has none, and its log holds none).
    """

    ballot: int
    voter: int
    epoch: int
    clock: int
    accepted: int
    first: int
    last: int
    chosen: int
    members: bytes = b""


class Refused(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Answer to a ballot that is not taken. promised: the member's promised ballot. hears: refused because it still supports that ballot's owner."""

    ballot: int
    promised: int
    hears: bool


class Fetch(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Candidate to the member whose log it adopts: records [first, last] of the log you accepted under `accepted`."""

    ballot: int
    accepted: int
    first: int
    last: int


class Fetched(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """Answer to Fetch. missing: the log no longer reaches back that far."""

    ballot: int
    first: int
    missing: bool
    records: bytes


class Stage(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """Leader to member: a piece of the adopted log. When all of cut_at+1..adopted_last is there the member writes ADOPT and answers Accepted.

    source: the accepted ballot of the log that the leader adopted.
    """

    ballot: int
    source: int
    cut_at: int
    adopted_last: int
    first: int
    records: bytes


class Accept(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """Leader to member: records from `first` on, under the ballot that the member's log has adopted. Empty: "where are you, and whom do you support?"."""

    ballot: int
    first: int
    chosen: int
    records: bytes


class Accepted(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """Member to leader, after the sync: my log is accepted under `ballot` up to `last`. gap: what came did not continue it."""

    ballot: int
    voter: int
    epoch: int
    last: int
    gap: bool


class Behind(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """Member to leader: I promised your ballot, and my log has not adopted it. staged: last LSN staged of the adoption that cuts at `cut_at` (0, 0: none)."""

    ballot: int
    voter: int
    epoch: int
    accepted: int
    first: int
    last: int
    chosen: int
    cut_at: int
    staged: int


class Chosen(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=10):
    """Leader to member, usually unpacked from Ask or Moved: the log of `ballot` is chosen up to `last`."""

    ballot: int
    last: int


class Resign(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=11):
    """The owner of `ballot` never acts under it again. successor: node number that should campaign now (0: any)."""

    ballot: int
    successor: int


class Resigned(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=12):
    """A member took note of a Resign, durably."""

    ballot: int


class Question(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=13):
    """Member to the owner of its promised ballot: do you still act under it? Answered by Leads or Resign."""

    ballot: int


class AskHealth(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=14):
    """Before a campaign: do you still hear the leader? nonce: ties the answer to the question. incarnation: of the member that asks (0: not said)."""

    ballot: int
    nonce: int
    incarnation: int = 0


class LogHealth(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=15):
    """Answer to AskHealth, with the state of the log, so that the member with the best log goes first. hears: the leader is heard, or a campaign is under way here."""

    nonce: int
    promised: int
    hears: bool
    accepted: int
    last: int


class Snapshot(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=16):
    """Leader to member: my log begins after what you lack; fetch a snapshot at or above `lsn`."""

    ballot: int
    lsn: int


class Leads(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=17):
    """Answer to a Question: I act under this ballot. boot: the owner's boot count, so that an answer from before a restart does not count."""

    ballot: int
    boot: int


class Removed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=18):
    """To whom was a member: what is chosen up to `lsn` says that the member of your node with this incarnation is none, and it never will be again."""

    incarnation: int
    lsn: int


PartitionMessage = (
    Prepare
    | Promise
    | Refused
    | Fetch
    | Fetched
    | Stage
    | Accept
    | Accepted
    | Behind
    | Chosen
    | Resign
    | Resigned
    | Question
    | Leads
    | AskHealth
    | LogHealth
    | Snapshot
    | Removed
)


class Ask(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Support me. boot, sent_us: the asker's boot count and boot clock at sending, echoed in the Grant. chosen: (partition, ballot, last) that moved."""

    boot: int
    sent_us: int
    clock: int
    chosen: tuple[tuple[str, int, int], ...] = ()


class Grant(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """I support your node for D from receipt, under `epoch`. acknowledged: my clock will never read less than this; at most the clock asked with."""

    boot: int
    sent_us: int
    epoch: int
    acknowledged: int
    clock: int


class Moved(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Chosen indexes that moved, ahead of the next Ask."""

    chosen: tuple[tuple[str, int, int], ...]


class ShellMessage(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """A message of the node's shell (snapshot pieces, questions about membership): opaque here. kind: a stable word; body: its own bytes."""

    kind: str
    body: bytes


NodeMessage = Ask | Grant | Moved | ShellMessage


class _Body(msgspec.Struct, array_like=True, frozen=True):
    node: list[NodeMessage]
    groups: list[tuple[str, PartitionMessage]]


class FrameContent(NamedTuple):
    """A decoded frame. sender: node number."""

    sender: int
    node: list[NodeMessage]
    groups: list[tuple[PartitionId, PartitionMessage]]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Body)


def cluster_tag(cluster_raw: bytes) -> bytes:
    """The 8 bytes by which a frame names its cluster. cluster_raw: 16 raw id bytes."""
    return cluster_raw[:8]


def encode_frame(
    *, cluster: bytes, sender: int, node: Sequence[NodeMessage] = (), groups: Sequence[tuple[PartitionId, PartitionMessage]] = ()
) -> bytes:
    """One frame. cluster: 8 bytes from `cluster_tag`."""
    assert len(cluster) == 8
    body = _ENCODER.encode((node, groups))
    head = HEADER.pack(MAGIC, VERSION, 0, sender, len(body), 0, cluster)
    crc = crc32c_masked(body, crc32c_raw(head[16:], crc32c_raw(head[:12])))
    return b"".join((head[:12], crc.to_bytes(4, "little"), head[16:], body))


def decode_frame(data: bytes | memoryview, *, cluster: bytes) -> FrameContent:
    """Check and read a whole frame. Raises Corrupt (short, bad checksum, unknown version or flag, another cluster's, malformed body)."""
    if len(data) < HEADER_SIZE:
        raise Corrupt("frame cut short", what="frame", found=len(data))
    magic, version, flags, sender, length, crc, tag = HEADER.unpack_from(data)
    if magic != MAGIC or length > FRAME_SIZE_MAX or len(data) != HEADER_SIZE + length:
        raise Corrupt("frame magic or length wrong", what="frame", found=len(data), expected=HEADER_SIZE + length)
    view = memoryview(data)
    body = view[HEADER_SIZE:]
    if crc32c_masked(body, crc32c_raw(view[16:HEADER_SIZE], crc32c_raw(view[:12]))) != crc:
        raise Corrupt("frame checksum differs", what="frame")
    if version != VERSION or flags != 0:
        raise Corrupt("frame version or flag unknown", what="frame", version=version, flags=flags)
    if tag != cluster:
        raise Corrupt("frame belongs to another cluster", what="frame", expected=cluster.hex(), found=tag.hex())
    try:
        content = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise Corrupt("frame body malformed", what="frame", error=str(error)) from error
    return FrameContent(sender, content.node, content.groups)  # type: ignore[arg-type]
