"""What an index's table makes of what it is fed, against a plain model: whatever comes late, twice, from two, or not at all, the rows are those of the log, and of the log alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.commands.codec import decode_command, encode_command
from scrubjay.storage.commands.values import FeedCommand
from scrubjay.storage.indexes.feed import FeedStep, NotNext, take
from scrubjay.storage.indexes.kept_rows import FED_BYTES, Fed, fed_key, is_fed, item_bytes, origin, stored
from tests.fixtures.golden import Golden

SOURCE = PartitionId("00000000-0000-4000-8000-0000000000aa")
KEY = fed_key(bytes(16), SOURCE)


class Target:
    """A partition of an index's table, as its leader has it."""

    def __init__(self) -> None:
        self.fed: Fed | None = None
        self.rows: dict[bytes, bytes] = {}

    def send(self, command: FeedCommand) -> str:
        taken = take(decode_command(encode_command(command)), self.fed)  # type: ignore[arg-type]
        if not isinstance(taken, FeedStep):
            return "nothing new" if taken is None else "not next"
        self.fed = Fed.decode(taken.fed.encode())
        for key, value in taken.rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return "taken"


def changes(after: int, upto: int, *rows: tuple[int, bytes, bytes | None]) -> FeedCommand:
    return FeedCommand(KEY, FeedCommand.CHANGES, after, upto, rows)


def page(upto: int, start: bytes, following: bytes | None, *rows: tuple[int, bytes, bytes | None]) -> FeedCommand:
    return FeedCommand(KEY, FeedCommand.PAGE, 0, upto, rows, start, following)


def begun(lsn: int = 5) -> Target:
    target = Target()
    assert target.send(FeedCommand(KEY, FeedCommand.BEGIN, 0, lsn)) == "taken"
    return target


def test_a_feed_begins_once_and_nothing_comes_before_it() -> None:
    target = Target()
    assert target.send(changes(0, 3, (3, b"a", b"1"))) == "not next"
    assert target.send(page(3, b"", None, (3, b"a", b"1"))) == "not next"
    assert target.send(FeedCommand(KEY, FeedCommand.BEGIN, 0, 5)) == "taken"
    assert target.send(FeedCommand(KEY, FeedCommand.BEGIN, 0, 9)) == "nothing new"
    assert target.fed == Fed(Lsn(5), b"")


def test_what_was_taken_is_passed_over_and_what_does_not_continue_it_is_refused() -> None:
    target = begun()
    assert target.send(changes(5, 7, (6, b"a", b"1"), (7, b"a", None))) == "taken"
    assert target.send(changes(5, 7, (6, b"a", b"1"), (7, b"a", None))) == "nothing new"
    assert target.send(changes(5, 6, (6, b"a", b"1"))) == "nothing new"
    assert target.send(changes(8, 9, (9, b"a", b"1"))) == "not next"
    assert not target.rows
    assert target.send(changes(5, 9, (6, b"a", b"1"), (7, b"a", None), (9, b"b", b"2"))) == "taken"
    assert (target.rows, target.fed) == ({b"b": b"2"}, Fed(Lsn(9), b""))


def test_a_page_is_taken_once_and_only_as_of_where_the_feed_has_not_passed() -> None:
    target = begun()
    assert target.send(page(4, b"", b"m", (3, b"a", b"1"))) == "not next"
    assert target.send(page(6, b"f", b"m", (3, b"a", b"1"))) == "not next"
    assert target.send(page(6, b"", b"m", (3, b"a", b"1"))) == "taken"
    assert target.send(page(6, b"", b"k", (3, b"z", b"1"))) == "nothing new"
    assert target.send(changes(5, 6, (6, b"a", None))) == "taken"
    assert target.send(page(8, b"f", None, (8, b"q", b"2"))) == "taken"
    assert target.send(page(9, b"", None, (9, b"r", b"2"))) == "nothing new"
    assert (target.rows, target.fed) == ({b"q": b"2"}, Fed(Lsn(6), None))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_however_it_is_sent_the_rows_are_those_of_the_log(data: st.DataObject) -> None:
    """Two feeders, each with an idea of its own of how far the target is, send pieces of one log and pages of the items in any order; what nobody sent, somebody sends in the end."""
    draw = data.draw
    keys = [bytes([letter]) for letter in b"abcdef"]
    length = draw(st.integers(1, 14))
    log: list[tuple[bytes, bytes | None, bytes | None]] = []  # item key, row before, row after
    states: list[dict[bytes, bytes]] = [{}]
    for _ in range(length):
        state = dict(states[-1])
        key = draw(st.sampled_from(keys))
        old = state.pop(key, None)
        new = draw(st.none() | st.sampled_from([b"x", b"y"]).map(lambda colour, key=key: colour + key))  # type: ignore[misc]
        if new is not None:
            state[key] = new
        log.append((key, old, new))
        states.append(state)

    def rows_of(after: int, upto: int) -> tuple[tuple[int, bytes, bytes | None], ...]:
        found: list[tuple[int, bytes, bytes | None]] = []
        for lsn in range(after + 1, upto + 1):
            _, old, new = log[lsn - 1]
            if old is not None and old != new:
                found.append((lsn, old, None))
            if new is not None:
                found.append((lsn, new, b"%d" % lsn))
        return tuple(found)

    def page_at(lsn: int, start: bytes, following: bytes | None) -> FeedCommand:
        items = [(key, row) for key, row in sorted(states[lsn].items()) if key >= start and (following is None or key < following)]
        written = {key: max(at for at in range(1, lsn + 1) if log[at - 1][0] == key) for key, _ in items}
        return page(lsn, start, following, *[(written[key], row, b"%d" % written[key]) for key, row in items])

    target, newest = Target(), 0
    first = draw(st.integers(0, length))
    target.send(FeedCommand(KEY, FeedCommand.BEGIN, 0, first))
    bounds = [b"", *keys, None]
    for _ in range(draw(st.integers(0, 25))):
        if draw(st.booleans()):
            after = draw(st.integers(0, length))
            upto = draw(st.integers(after, length))
            target.send(changes(after, upto, *rows_of(after, upto)))
        else:
            start = draw(st.integers(0, len(keys)))
            lsn = draw(st.integers(first, length))
            if target.send(page_at(lsn, bounds[start] or b"", bounds[draw(st.integers(start + 1, len(keys) + 1))])) == "taken":
                newest = max(newest, lsn)
        assert target.fed is not None
        if target.fed.cursor is None and target.fed.lsn >= newest:  # all that a page knew of the log's later part has been said by the log
            assert set(target.rows) == set(states[target.fed.lsn].values())
    while target.fed is None or target.fed.lsn < length or target.fed.cursor is not None:
        assert target.fed is not None
        if target.fed.cursor is not None:
            assert target.send(page_at(length, target.fed.cursor, None)) == "taken"
        if target.fed.lsn < length:
            assert target.send(changes(target.fed.lsn, length, *rows_of(target.fed.lsn, length))) == "taken"
    assert set(target.rows) == set(states[-1].values())


def test_what_lies_beside_the_rows_says_how_far_it_is_and_is_no_row() -> None:
    assert len(KEY) + len(Fed(Lsn(7), None).encode()) == FED_BYTES
    assert is_fed(KEY)
    assert not is_fed(bytes(16) + b"\x01x")
    for fed in (Fed(Lsn(7), None), Fed(Lsn(2**60), b""), Fed(Lsn(1), b"k" * 1040)):
        assert Fed.decode(fed.encode()) == fed
    value = stored(b"ownerown", 77, b"\x01\x80")
    assert (item_bytes(value), origin(value)) == (b"\x01\x80", (b"ownerown", 77))
    bad: list[Any] = [b"", b"\x04", Fed(Lsn(7), None).encode() + b"x", b"\x05" + Fed(Lsn(7), b"k").encode()[1:]]
    for data in bad:
        with pytest.raises(Corrupt):
            Fed.decode(data)
    for read in (item_bytes, origin):
        for data in (b"", b"\x01\x80", value[:16]):
            with pytest.raises(Corrupt):
                read(data)


def test_a_command_that_nobody_sends_is_refused_as_it_comes() -> None:
    for command in (
        FeedCommand(KEY, 3, 0, 1),
        FeedCommand(KEY, FeedCommand.CHANGES, 5, 1),
        FeedCommand(KEY, FeedCommand.CHANGES, 0, 1, ((1, b"", b"x"),)),
        FeedCommand(KEY, FeedCommand.CHANGES, 0, 1, ((1, b"k" * 1979, b"x"),)),
    ):
        with pytest.raises(Corrupt):
            decode_command(encode_command(command))


def test_golden_bytes(golden: Golden) -> None:
    """In hex: what a tree of this release holds, every later one reads."""
    shown = {
        "key": KEY.hex(),
        "done": Fed(Lsn(258), None).encode().hex(),
        "cursor": Fed(Lsn(258), b"\xaa\xbb").encode().hex(),
        "row": stored(b"ownerown", 258, b"\x01\x80").hex(),
    }
    golden.check_json("item/index_feed.json", shown)


def test_not_next_is_told_apart_from_nothing_new() -> None:
    assert isinstance(take(changes(8, 9), Fed(Lsn(5), None)), NotNext)
    assert take(changes(3, 5), Fed(Lsn(5), None)) is None
