"""Links without sockets: who is let in, what may be said when, what waits, and who is gone. Two ends in one process, their bytes carried by hand."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base import peer_link
from scrubjay.base import peer_wire as wire
from scrubjay.base.errors import Conflict, Corrupt, DiskFull, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.peer_link import BEAT_S, HANDSHAKE_S, PIECE_BYTES, SILENCE_S, STUCK_S, PeerLink, PeerPulse, SendQueue
from scrubjay.base.peer_wire import Hello, NotAdmitted, Opening, Ping, Welcome

Judge = Callable[[Hello, str], ScrubjayError | None]


class End:
    """One end of a connection. got: frames that were delivered to it."""

    def __init__(
        self, name: str, *, peer: str | None = None, channel: str | None = None, judge: Judge = lambda hello, life: None, said: str = ""
    ) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.ups = 0
        self.hellos: list[Hello] = []
        self.lives: list[str] = []

        def judged(hello: Hello, life: str) -> ScrubjayError | None:
            self.hellos.append(hello)
            self.lives.append(life)
            return judge(hello, life)

        self.link = PeerLink(
            0.0,
            name=name,
            dials=peer is not None,
            opening=lambda channel, to: Opening(1, 1, f"life of {name}", channel, to, Hello("c", "node", said or name)),
            judge=judged,
            channel=channel,
            peer=peer,
        )

    def out(self) -> bytes:
        """All that it says now."""
        pieces = []
        while (piece := self.link.outbox.take()) is not None:
            pieces.append(bytes(piece))
        return b"".join(pieces)

    def hears(self, data: bytes) -> None:
        self.ups += self.link.received(data, lambda lane, body: self.got.append((lane, bytes(body))))
        self.link.check_invariants()


class Pair:
    """a dials b."""

    def __init__(
        self,
        channel: str = "port",
        *,
        at_a: Judge = lambda hello, life: None,
        at_b: Judge = lambda hello, life: None,
        to: str = "b",
        says: str = "",
    ) -> None:
        self.a = End("a", peer=to, channel=channel, judge=at_a)
        self.b = End("b", judge=at_b, said=says)

    def talk(self, turns: int = 3) -> Pair:
        for _ in range(turns):
            self.b.hears(self.a.out())
            self.a.hears(self.b.out())
        return self


def said(message: wire.LinkMessage) -> bytes:
    return wire.frame(wire.LINK, wire.encode_link(message))


def opening(**changes: object) -> bytes:
    return said(msgspec.structs.replace(Opening(1, 1, "life", "port", "b", Hello("c", "node", "a")), **changes))


# --- who is let in -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", wire.CHANNELS)
def test_both_ends_come_up_once_they_admitted_each_other(channel: str) -> None:
    pair = Pair(channel).talk()
    assert (pair.a.link.up, pair.b.link.up, pair.a.ups, pair.b.ups) == (True, True, 1, 1)
    assert [hello.name for hello in pair.a.hellos + pair.b.hellos] == ["b", "a"]
    assert pair.a.lives + pair.b.lives == ["life of b", "life of a"]
    assert (pair.b.link.peer, pair.b.link.channel, pair.b.link.life) == ("a", channel, "life of a")


def test_the_handshake_goes_byte_by_byte() -> None:
    pair = Pair()
    for _ in range(3):
        for end, other in ((pair.a, pair.b), (pair.b, pair.a)):
            for one in end.out():
                other.hears(bytes([one]))
    assert (pair.a.ups, pair.b.ups) == (1, 1)


@pytest.mark.parametrize("end", ["a", "b"])
def test_who_is_refused_hears_why_and_nobody_is_up(end: str) -> None:
    """At either end: the dialler's rule counts as much as that of who is dialled."""
    refusal: Judge = lambda hello, life: Unsafe("its log is gone", node=hello.name)  # noqa: E731
    pair = Pair(at_a=refusal) if end == "a" else Pair(at_b=refusal)
    pair.talk()
    other = pair.b if end == "a" else pair.a
    assert isinstance(other.link.refused, Unsafe)
    assert other.link.refused.message == "its log is gone"
    assert (pair.a.link.state, pair.b.link.state) == ("over", "over")
    assert (pair.a.ups, pair.b.ups) == (0, 0)


def test_a_frame_before_the_other_side_admitted_is_not_delivered() -> None:
    """Whoever pushes in with an Opening and a request in one breath has said nothing."""
    b = End("b", judge=lambda hello, life: Conflict("another cluster"))
    b.hears(opening() + said(Welcome(1)) + wire.frame(wire.ASKED, b"give"))
    assert b.got == []
    b = End("b")
    b.hears(opening() + wire.frame(wire.ASKED, b"give"))
    assert b.got == []
    assert isinstance(b.link.over, Corrupt)
    b = End("b")
    b.hears(wire.frame(wire.ASKED, b"give"))
    assert isinstance(b.link.over, Corrupt)


def test_nothing_is_taken_for_sending_before_the_link_is_up() -> None:
    pair = Pair()
    assert not pair.a.link.send(wire.ASKED, b"early")
    pair.b.hears(pair.a.out())
    assert not pair.b.link.answer(wire.SAID, b"early")
    pair.talk()
    assert pair.a.link.send(wire.ASKED, b"now")
    pair.talk()
    assert pair.b.got == [(wire.ASKED, b"now")]


def test_a_rule_that_cannot_be_kept_lets_nobody_in() -> None:
    def full(hello: Hello, life: str) -> ScrubjayError | None:
        raise DiskFull("the disk is full")

    pair = Pair(at_b=full).talk()
    assert isinstance(pair.a.link.refused, DiskFull)
    assert not pair.b.link.up


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (Pair(to="c"), "another process was dialled"),
        (Pair(says="c"), "another process answers"),
    ],
)
def test_who_reaches_another_process_than_was_meant_is_told(pair: Pair, why: str) -> None:
    pair.talk()
    assert {end.link.refused.message for end in (pair.a, pair.b) if end.link.refused is not None} == {why}
    assert pair.a.hellos == [] or pair.b.hellos == []


def test_a_process_of_this_ones_name_is_not_let_in() -> None:
    b = End("b")
    b.hears(opening(hello=Hello("c", "node", "b")))
    assert isinstance(b.link.over, Unsafe)
    assert b.hellos == []


MESSAGES = [
    opening(),
    opening(to="c"),
    opening(first=2, last=3),
    said(Welcome(1)),
    said(Welcome(2)),
    said(Ping()),
    said(NotAdmitted("Unsafe", "no", {})),
    wire.frame(wire.ASKED, b"x"),
    wire.frame(wire.CALL, b"x"),
    wire.frame(wire.TALK, b"x"),
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(MESSAGES), max_size=7), st.integers(1, 200), st.integers(0, 1 << 20), st.booleans())
def test_whatever_is_said_in_whatever_order_who_is_not_let_in_gets_no_word_in(
    parts: list[bytes], by: int, flip: int, admitted: bool
) -> None:
    data = bytearray(b"".join(parts))
    if data and flip % 3 == 0:
        data[flip % len(data)] ^= 1 << flip % 8
    b = End("b", judge=lambda hello, life: None if admitted else Conflict("another cluster"))
    for at in range(0, len(data), by):
        b.hears(bytes(data[at : at + by]))
    assert b.got == [] or (admitted and parts[:2] == [MESSAGES[0], MESSAGES[3]])


def test_an_answer_for_another_channel_is_refused() -> None:
    a = End("a", peer="b", channel="talk")
    a.hears(opening(channel="bulk", to="a", hello=Hello("c", "node", "b")))
    assert isinstance(a.link.over, Invalid)


def test_without_a_common_version_nobody_is_let_in_and_both_know() -> None:
    b = End("b")
    b.hears(opening(first=2, last=7))
    assert isinstance(b.link.over, Unsafe)
    assert b.hellos == []
    a = End("a", peer="b", channel="port")
    a.hears(b.out())
    assert a.link.refused is not None
    assert a.link.refused.fields == {"here": [1, 1], "there": [2, 7]}


@pytest.mark.parametrize(
    "behind",
    [
        opening(),
        said(Welcome(2)),
        said(Ping()),
        said(NotAdmitted("Unsafe", "no", {})) + said(Welcome(1)),
    ],
)
def test_a_link_message_out_of_turn_ends_the_link(behind: bytes) -> None:
    b = End("b")
    b.hears(opening() + behind)
    assert b.link.over is not None
    assert b.ups == 0


def test_a_second_opening_or_welcome_on_a_link_that_is_up_ends_it() -> None:
    for again in (opening(), said(Welcome(1)), said(NotAdmitted("Unsafe", "late", {}))):
        pair = Pair().talk()
        pair.b.hears(again)
        assert isinstance(pair.b.link.over, Corrupt)


def test_a_refusal_that_fits_into_no_frame_is_told_without_its_fields() -> None:
    pair = Pair(at_b=lambda hello, life: Unsafe("no", much="x" * wire.LINK_BYTES_MAX)).talk()
    assert isinstance(pair.a.link.refused, Unsafe)
    assert pair.a.link.refused.fields == {}


@pytest.mark.parametrize("channel", wire.CHANNELS)
def test_each_side_hears_only_the_lanes_of_its_channel_and_side(channel: str) -> None:
    for lane in range(1, 6):
        pair = Pair(channel).talk()
        pair.b.hears(wire.frame(lane, b"x"))
        assert (pair.b.link.over is None) == (lane in wire.TO_DIALLED[channel])
        pair.a.hears(wire.frame(lane, b"x"))
        assert (pair.a.link.over is None) == (lane in wire.TO_DIALLER[channel])


def test_an_ended_link_delivers_and_takes_nothing() -> None:
    pair = Pair().talk()
    pair.b.link.end(Unavailable("first"))
    pair.b.link.end(Unavailable("second"))
    pair.b.hears(wire.frame(wire.ASKED, b"x"))
    assert pair.b.got == []
    assert not pair.b.link.answer(wire.SAID, b"x")
    assert str(pair.b.link.over) == "first"


def test_what_ends_a_link_in_the_middle_of_a_reading_stops_the_delivery() -> None:
    pair = Pair().talk()
    got: list[bytes] = []

    def deliver(lane: int, body: bytes | bytearray) -> None:
        got.append(bytes(body))
        pair.b.link.end(Unavailable("enough"))

    pair.b.link.received(wire.frame(wire.ASKED, b"1") + wire.frame(wire.ASKED, b"2"), deliver)
    assert got == [b"1"]


def test_what_a_crowded_link_was_sent_waits_and_none_of_it_is_lost() -> None:
    pair, got = Pair().talk(), []
    data = b"".join(wire.frame(wire.ASKED, bytes([n])) for n in range(5))
    for part in (data[:-3], b"", b"", data[-3:], b"", b""):
        pair.b.link.received(part, lambda lane, body: got.append(body[0]), lambda: True)
    assert got == [0, 1, 2, 3, 4]
    assert pair.b.link.up


# --- what waits ----------------------------------------------------------------------------------------------------------------------------


def test_what_waits_is_bounded_and_the_newest_is_dropped() -> None:
    pair = Pair("talk").talk()
    frames = [bytes([n]) * (4 << 20) for n in range(5)]
    assert [pair.a.link.send(wire.TALK, one) for one in frames] == [True, True, True, False, False]
    assert pair.a.link.dropped == 2
    assert pair.a.link.outbox.bytes <= peer_link.QUEUE_BYTES_MAX["talk"]
    pair.talk()
    assert [body[0] for _, body in pair.b.got] == [0, 1, 2]
    assert pair.a.link.send(wire.TALK, b"room again")


def test_a_frame_that_no_reader_would_take_is_dropped_and_not_sent() -> None:
    pair = Pair("port").talk()
    assert not pair.a.link.send(wire.CALL, bytes(wire.CALL_BYTES_MAX + 1))
    assert (pair.a.link.dropped, pair.a.link.outbox.bytes) == (1, 0)


def test_what_the_socket_holds_counts_as_waiting() -> None:
    pair = Pair("talk").talk()
    assert not pair.a.link.send(wire.TALK, b"x", held=peer_link.QUEUE_BYTES_MAX["talk"])
    assert pair.a.link.send(wire.TALK, b"x", held=peer_link.QUEUE_BYTES_MAX["talk"] - 13)


def test_a_frame_beyond_the_bound_is_taken_if_nothing_waits() -> None:
    pair = Pair("talk").talk()
    large = bytes(peer_link.QUEUE_BYTES_MAX["talk"] + 1)
    assert pair.a.link.send(wire.TALK, large)
    assert not pair.a.link.send(wire.TALK, b"x")
    pair.talk()
    assert len(pair.b.got[0][1]) == len(large)


@pytest.mark.parametrize(("channel", "lane"), [("talk", wire.TALK), ("port", wire.ASKED), ("bulk", wire.ASKED)])
def test_the_largest_frame_of_a_lane_goes_over_its_channel(channel: str, lane: int) -> None:
    pair = Pair(channel).talk()
    assert pair.a.link.send(lane, bytes(wire.BODY_BYTES_MAX[lane]))
    pair.talk()
    assert [len(body) for _, body in pair.b.got] == [wire.BODY_BYTES_MAX[lane]]


def test_a_socket_gets_no_more_than_a_piece_at_a_time_and_small_frames_together() -> None:
    box = SendQueue(1 << 30)
    for size in (10, 20, PIECE_BYTES * 2 + 5, 30):
        box.put(b"h", bytes(size), held=0)
    sizes = []
    while (piece := box.take()) is not None:
        sizes.append(len(piece))
        assert box.bytes == box.put_bytes - sum(sizes)
    assert max(sizes) <= PIECE_BYTES
    assert sizes[0] == 33  # two small frames, and the header of the large one
    assert sum(sizes) == 10 + 20 + PIECE_BYTES * 2 + 5 + 30 + 4


def test_many_answers_that_wait_stop_the_reading_and_too_many_end_the_link() -> None:
    pair = Pair("port").talk()
    assert pair.b.link.answer(wire.SAID, bytes(peer_link.ANSWERS_PAUSE_BYTES["port"]))
    assert pair.b.link.crowded(0)
    assert not pair.a.link.crowded(1 << 30)  # who asks reads all it is told
    piece = bytes(30 << 20)
    taken = [pair.b.link.answer(wire.SAID, piece) for _ in range(6)]
    assert taken == [True, True, True, True, False, False]
    assert isinstance(pair.b.link.over, Unavailable)
    assert pair.b.link.outbox.bytes == 0


# --- time ----------------------------------------------------------------------------------------------------------------------------------


def pulse(
    heard: Callable[[float], bool] = lambda at: False, *, said: bool = True, waiting: int = 0, gone: Callable[[float], int] = lambda at: 0
) -> float:
    """When a pulse that is looked at every BEAT_S says that it is over; inf: not within a minute."""
    one = PeerPulse(0.0)
    for beat in range(1, 241):
        now = beat * BEAT_S
        why, _ = one.look(now, heard=heard(now), said=said, waiting=waiting, gone_bytes=gone(now))
        if why:
            return now
    return float("inf")


def test_the_silent_are_gone_and_who_is_heard_is_not() -> None:
    assert pulse() == pytest.approx(SILENCE_S)
    assert pulse(lambda at: at <= 7) == pytest.approx(7 + SILENCE_S)
    assert pulse(lambda at: at % 3 == 0) == float("inf")


def test_who_takes_nothing_is_gone_and_who_takes_slowly_is_not() -> None:
    assert pulse(lambda at: True, waiting=1) == pytest.approx(STUCK_S)
    assert pulse(lambda at: True, waiting=1 << 20, gone=lambda at: int(at // 8)) == float("inf")
    assert pulse(lambda at: True, waiting=0) == float("inf")


def test_our_own_pause_is_not_the_others_silence() -> None:
    one = PeerPulse(0.0)
    assert one.look(0.25, heard=True, said=True, waiting=1, gone_bytes=0) == ("", False)
    why, ping = one.look(60.0, heard=False, said=False, waiting=1, gone_bytes=0)
    assert (why, ping) == ("", True)
    for beat in range(1, 100):
        why, _ = one.look(60.0 + beat * BEAT_S, heard=False, said=True, waiting=1, gone_bytes=0)
        if why:
            break
    assert why == "it is silent"
    assert beat * BEAT_S <= SILENCE_S


def test_who_has_said_nothing_for_a_while_says_that_it_lives() -> None:
    pair = Pair().talk()
    sent = []
    for beat in range(1, 13):
        pair.a.link.look(beat * BEAT_S, held=0)
        sent.append(len(pair.a.out()) > 0)
    assert [n for n, one in enumerate(sent) if one] == [4, 8]  # a beat of the handshake, then a Ping a second


def test_pings_keep_an_idle_link_up_and_without_them_it_ends() -> None:
    pair = Pair().talk()
    for beat in range(1, 100):
        for end in (pair.a, pair.b):
            end.link.look(beat * BEAT_S, held=0)
        pair.talk(1)
    assert pair.a.link.up
    assert pair.b.link.up
    for beat in range(100, 100 + int(SILENCE_S / BEAT_S) + 1):
        pair.a.link.look(beat * BEAT_S, held=0)
    assert isinstance(pair.a.link.over, Unavailable)
    assert pair.a.link.over.fields["why"] == "it is silent"


def test_who_reads_nothing_cannot_call_the_other_silent() -> None:
    pair = Pair().talk()
    for beat in range(1, 100):
        pair.b.link.look(beat * BEAT_S, held=0, listening=False)
        pair.b.out()
    assert pair.b.link.up


@pytest.mark.parametrize("so_far", [b"", opening()[:20], opening()])
def test_who_does_not_introduce_itself_in_time_is_let_go_however_slowly_it_speaks(so_far: bytes) -> None:
    b = End("b")
    for beat in range(1, 60):
        b.hears(so_far[beat - 1 : beat] if len(so_far) == 20 else (so_far if beat == 1 else b""))
        b.link.look(beat * BEAT_S, held=0)
        if b.link.over is not None:
            break
    assert isinstance(b.link.over, Unavailable)
    assert beat * BEAT_S == pytest.approx(HANDSHAKE_S, abs=2 * BEAT_S) or beat * BEAT_S == pytest.approx(SILENCE_S, abs=2 * BEAT_S)
