"""`LocalHub`: delivered later, in order, as bytes; bounded; a receiver that fails costs only its own frame."""

from __future__ import annotations

import pytest

from scrubjay.base.env import Timer
from scrubjay.base.ids import NodeName
from scrubjay.base.real import net
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.net import LocalHub
from scrubjay.base.real.rand import RealRand

A, B = NodeName("n1"), NodeName("n2")


class Turns:
    """A loop by hand: only `call_soon`, run by `turn()`."""

    def __init__(self) -> None:
        self.queue: list[object] = []

    def call_soon(self, callback: object) -> None:
        self.queue.append(callback)

    def call_later(self, seconds: float, callback: object) -> Timer:
        raise AssertionError("the hub needs no timer")

    def turn(self) -> None:
        now, self.queue = self.queue, []
        for callback in now:
            callback()  # type: ignore[operator]


def hub() -> tuple[Turns, LocalHub]:
    turns = Turns()
    return turns, LocalHub(turns)  # type: ignore[arg-type]


def test_frames_arrive_in_order_and_never_inside_send() -> None:
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    seen: list[tuple[str, bytes]] = []
    b.listen(lambda sender, frame: seen.append((sender, frame)))
    a.send(B, b"1")
    a.send(B, bytearray(b"2"))  # type: ignore[arg-type]
    assert seen == []
    turns.turn()
    assert seen == [("n1", b"1"), ("n1", b"2")]
    assert all(type(frame) is bytes for _, frame in seen)


def test_an_answer_waits_for_the_next_turn() -> None:
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    rounds: list[str] = []

    def answer(sender: NodeName, frame: bytes) -> None:
        rounds.append(sender)
        world.peers[A if sender == B else B].send(sender, b"x")

    a.listen(answer)
    b.listen(answer)
    a.send(B, b"x")
    for expected in (1, 2, 3, 4):
        turns.turn()
        assert len(rounds) == expected


def test_a_full_inbox_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "QUEUE_FRAMES_MAX", 2)
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    seen: list[bytes] = []
    b.listen(lambda sender, frame: seen.append(frame))
    for number in range(4):
        a.send(B, b"%d" % number)
    turns.turn()
    assert seen == [b"0", b"1"]
    assert a.dropped == 2


def test_too_many_bytes_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "QUEUE_BYTES_MAX", 10)
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    seen: list[bytes] = []
    b.listen(lambda sender, frame: seen.append(frame))
    a.send(B, bytes(8))
    a.send(B, bytes(8))
    turns.turn()
    a.send(B, bytes(8))  # taken again: the first was delivered
    turns.turn()
    assert [len(frame) for frame in seen] == [8, 8]
    assert a.dropped == 1


def test_a_receiver_that_raises_loses_no_later_frame() -> None:
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    seen: list[bytes] = []

    def receive(sender: NodeName, frame: bytes) -> None:
        if frame == b"bad":
            raise ValueError("bad frame")
        seen.append(frame)

    b.listen(receive)
    for frame in (b"1", b"bad", b"2"):
        a.send(B, frame)
    with pytest.raises(ValueError, match="bad frame"):
        turns.turn()
    turns.turn()
    assert seen == [b"1", b"2"]


def test_unknown_and_closed_peers_drop() -> None:
    turns, world = hub()
    a, b = world.attach(A), world.attach(B)
    a.send(NodeName("n9"), b"x")
    a.send(B, b"x")
    b.close()
    a.send(B, b"x")
    turns.turn()
    assert a.dropped == 2


def test_clock_and_randomness_of_the_machine() -> None:
    clock, rand = RealClock(), RealRand()
    assert clock.wall_us() > 1_700_000_000_000_000
    assert clock.boot_us() <= clock.boot_us()
    assert rand.u64() != rand.u64()
    assert rand.uuid() != rand.uuid()
    assert 2.0 <= rand.uniform(2.0, 3.0) <= 3.0
