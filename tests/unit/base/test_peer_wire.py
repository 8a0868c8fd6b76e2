"""Frames and link messages between processes: golden bytes, the page in step with the code, and every prefix, flipped bit and odd length refused or waited for."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base import peer_wire as wire
from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Corrupt, Invalid, Unsafe
from scrubjay.base.peer_wire import Hello, LinkMessage, NotAdmitted, Opening, PeerCall, PeerReply, Ping, Welcome
from scrubjay.storage.consensus import messages
from scrubjay.storage.node import port_codec
from tests.docs.format_tables import assert_layout, find_table
from tests.fixtures.golden import Golden

PAGE = Path("docs/formats/peer-wire.md")
ALL = frozenset(range(6))
HELLO = Hello(
    "00000000-0000-4000-8000-000000000001",
    "node",
    "n1",
    1,
    "00000000-0000-4000-8000-000000000002",
    1,
    3,
    1 << 60,
    joined=True,
    note=b"\x00x",
    can=6,
)
LINK: dict[str, LinkMessage] = {
    "opening_can": Opening(1, 1, "00000000-0000-4000-8000-000000000003", "talk", "n2", HELLO),
    "welcome": Welcome(1),
    "refused": NotAdmitted("Unsafe", "stays out", {"node": "n1", "starts_known": 3}),
    "ping": Ping(),
}
CALLS: dict[str, PeerCall | PeerReply] = {
    "call": PeerCall(7, 1_000_000, b"body"),
    "reply": PeerReply(7, b"body"),
    "reply_failed": PeerReply(7, b"", NotAdmitted("Unavailable", "no", {})),
}


def fed(data: bytes, *, heard: frozenset[int] = ALL, by: int | None = None) -> list[tuple[int, bytes]]:
    """What a reader makes of `data`, in pieces of `by` bytes."""
    reader, got = wire.PeerFrameReader(heard), []

    def take(lane: int, body: bytes | bytearray) -> bool:
        got.append((lane, bytes(body)))
        return True

    for at in range(0, len(data), by or max(1, len(data))):
        reader.feed(data[at : at + (by or len(data))], take)
    return got


# --- golden bytes, and the page ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINK)
def test_golden_link_messages(golden: Golden, name: str) -> None:
    golden.check(f"peer_wire/{name}.bin", wire.frame(wire.LINK, wire.encode_link(LINK[name])))
    ((lane, body),) = fed(golden.read(f"peer_wire/{name}.bin"))
    assert (lane, wire.decode_link(body)) == (wire.LINK, LINK[name])


@pytest.mark.parametrize("name", CALLS)
def test_golden_calls(golden: Golden, name: str) -> None:
    call = CALLS[name]
    lane = wire.CALL if isinstance(call, PeerCall) else wire.REPLY
    golden.check(f"peer_wire/{name}.bin", wire.frame(lane, wire.encode_call(call)))
    ((found, body),) = fed(golden.read(f"peer_wire/{name}.bin"))
    assert found == lane
    assert (wire.decode_call(body) if isinstance(call, PeerCall) else wire.decode_reply(body)) == call


def test_what_a_release_without_a_number_says_of_itself_is_read_on(golden: Golden) -> None:
    ((_, body),) = fed(golden.read("peer_wire/opening.bin"))
    older = msgspec.structs.replace(LINK["opening_can"], hello=msgspec.structs.replace(HELLO, can=0))
    assert wire.decode_link(body) == older


def test_every_message_has_its_golden_file() -> None:
    assert set(LinkMessage.__args__) == {type(one) for one in LINK.values()}


def test_the_page_and_the_header_agree() -> None:
    assert_layout(find_table(str(PAGE), "Frame"), wire.FRAME_HEADER)


def test_the_page_and_the_structs_agree() -> None:
    rows = re.findall(r"^\| (\d*) ?\| ([A-Z]\w+) \| ((?:[a-z_]+(?:, [a-z_]+)*)?) ?\|", PAGE.read_text(), re.MULTILINE)
    wanted = {}
    for one in vars(wire).values():
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one.__module__ == wire.__name__:
            tag = one.__struct_config__.tag
            wanted[one.__name__] = ("" if tag is None else str(tag), ", ".join(one.__struct_fields__))
    assert {name: (tag, fields) for tag, name, fields in rows} == wanted


def test_the_page_names_each_lane_and_its_bound() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \| ([\w, ]+) \| [\w ]+ \| .* \| ([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(int(lane), int(most.replace(",", ""))) for lane, _, _, most in rows] == list(enumerate(wire.BODY_BYTES_MAX))
    for lane, _, channels, _ in rows:
        named = set(wire.CHANNELS) if channels == "all" else set(channels.split(", "))
        assert {one for one in wire.CHANNELS if int(lane) in wire.TO_DIALLED[one] | wire.TO_DIALLER[one]} == named


def test_whatever_storage_makes_fits_its_lane() -> None:
    assert wire.TALK_BYTES_MAX >= messages.FRAME_SIZE_MAX + messages.HEADER_SIZE
    assert wire.PORT_BYTES_MAX == port_codec.MESSAGE_BYTES_MAX


# --- frames --------------------------------------------------------------------------------------------------------------------------------

STREAM = b"".join(wire.frame(lane, body) for lane, body in ((0, b""), (1, b"a"), (2, b"bc" * 40), (5, b"\x00" * 9)))


@pytest.mark.parametrize("by", [1, 2, 7, 11, 12, 13, 64])
def test_frames_come_out_as_they_went_in_however_they_are_cut(by: int) -> None:
    assert fed(STREAM, by=by) == [(0, b""), (1, b"a"), (2, b"bc" * 40), (5, b"\x00" * 9)]


def test_every_prefix_of_a_frame_is_waited_for() -> None:
    data = wire.frame(wire.TALK, b"hello")
    for end in range(len(data)):
        reader = wire.PeerFrameReader(ALL)
        reader.feed(data[:end], lambda lane, body: pytest.fail("nothing is whole"))
        assert reader.unfinished_bytes == (end if end < wire.HEADER_BYTES else end - wire.HEADER_BYTES)


@pytest.mark.parametrize("by", [None, 3])
def test_every_flipped_bit_is_found_and_in_the_header_before_the_body_is_awaited(by: int | None) -> None:
    data = wire.frame(wire.TALK, b"hello, world")
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            fed(bytes(bad), by=by)
        if bit < 8 * 8:  # all of the header but its checksum of the body
            with pytest.raises(Corrupt):
                fed(bytes(bad[: wire.HEADER_BYTES]))


def test_what_came_before_damage_is_delivered_and_nothing_behind_it() -> None:
    reader, got = wire.PeerFrameReader(ALL), []
    bad = bytearray(wire.frame(1, b"two"))
    bad[-1] ^= 1

    def take(lane: int, body: bytes | bytearray) -> bool:
        got.append(bytes(body))
        return True

    with pytest.raises(Corrupt):
        reader.feed(wire.frame(1, b"one") + bytes(bad) + wire.frame(1, b"three"), take)
    assert got == [b"one"]


def header(length: int, lane: int, *, reserved: int = 0) -> bytes:
    """A sound header, whatever it says."""
    head = length.to_bytes(4, "little") + bytes([lane, reserved])
    start = head + (crc32c_masked(head) & 0xFFFF).to_bytes(2, "little")
    return start + bytes(4)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(1, 6), "lane"),
        (header(1, 255), "lane"),
        (header(1, 1, reserved=1), "reserved"),
        *[(header(most + 1, lane), "length") for lane, most in enumerate(wire.BODY_BYTES_MAX)],
        (b"GET / HTTP/1.1\r\n", "header checksum"),
        (bytes(12), "header checksum"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", "header checksum"),
    ],
)
def test_what_no_peer_sends_is_refused_by_name_at_its_header(data: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=why):
        fed(data)


def test_a_lane_that_may_not_come_now_is_refused_though_it_is_sound() -> None:
    with pytest.raises(Corrupt, match="lane"):
        fed(wire.frame(wire.TALK, b"x"), heard=frozenset({wire.LINK}))


def test_a_claim_of_a_large_body_keeps_only_what_came() -> None:
    reader = wire.PeerFrameReader(ALL)
    reader.feed(header(wire.TALK_BYTES_MAX, wire.TALK) + bytes(10), lambda lane, body: True)
    assert reader.unfinished_bytes == 10


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_whatever_comes_raises_corrupt_and_nothing_else(data: bytes, by: int) -> None:
    try:
        got = fed(data, by=by)
    except Corrupt:
        return
    assert got == []  # no bytes at random pass two checksums


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=60)), max_size=8), st.integers(1, 90))
def test_any_frames_in_any_pieces(frames: list[tuple[int, bytes]], by: int) -> None:
    assert fed(b"".join(wire.frame(lane, body) for lane, body in frames), by=by) == frames


# --- messages of the link ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINK)
def test_no_prefix_of_a_link_message_is_one(name: str) -> None:
    body = wire.encode_link(LINK[name])
    for end in range(len(body)):
        with pytest.raises(Corrupt):
            wire.decode_link(body[:end])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x02" + wire.encode_link(Ping())[1:], "version"),
        (wire.encode_link(LINK["opening_can"])[4:], "magic"),
        (b"SJPW" + wire.encode_link(Ping()), "magic"),
        (b"\x01" + msgspec.msgpack.encode((99,)), "structure"),
        *[
            (b"SJPW\x01" + msgspec.msgpack.encode(msgspec.structs.replace(LINK["opening_can"], **change)), "opening")
            for change in ({"first": 0}, {"first": 2}, {"channel": "other"}, {"hello": msgspec.structs.replace(HELLO, note=bytes(32_769))})
        ],
    ],
)
def test_a_link_message_that_breaks_a_rule_is_refused_by_name(body: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=why):
        wire.decode_link(body)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x01", b"SJPW\x01"]))
def test_whatever_a_link_message_is_corrupt_is_all_it_raises(data: bytes, start: bytes) -> None:
    for decode in (wire.decode_link, wire.decode_call, wire.decode_reply):
        try:
            decode(start + data)
        except Corrupt:
            continue


def test_fields_behind_those_known_are_ignored() -> None:
    body = b"\x01" + msgspec.msgpack.encode((2, 1, "of a later release"))
    assert wire.decode_link(body) == Welcome(1)


def test_a_call_without_time_or_id_is_refused() -> None:
    for call in (PeerCall(-1, 1, b""), PeerCall(1, -1, b"")):
        with pytest.raises(Corrupt, match="id or time left"):
            wire.decode_call(wire.encode_call(call))


def test_what_does_not_fit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Invalid):
        wire.encode_call(PeerCall(1, 1, bytes(wire.CALL_BYTES_MAX)))
    with pytest.raises(Invalid):
        wire.encode_link(Opening(1, 1, "", "talk", "n2", msgspec.structs.replace(HELLO, note=bytes(wire.NOTE_BYTES_MAX + 1))))
    with pytest.raises(Invalid):
        wire.encode_link(NotAdmitted("Unsafe", "x" * wire.LINK_BYTES_MAX, {}))


def test_an_error_crosses_as_code_message_and_fields() -> None:
    back = NotAdmitted.of(Unsafe("stays out", node="n1")).error
    assert type(back) is Unsafe
    assert (back.message, back.fields) == ("stays out", {"node": "n1"})


@pytest.mark.parametrize(("first", "last", "spoken"), [(1, 1, 1), (1, 9, 1), (2, 9, None)])
def test_the_greatest_common_version_is_spoken(first: int, last: int, spoken: int | None) -> None:
    assert wire.spoken(Opening(first, last, "", "talk", "n2", HELLO)) == spoken
