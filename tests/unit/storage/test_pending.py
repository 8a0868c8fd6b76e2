"""Answers that wait for their record: given in order, told when leadership ends, and never kept for ever."""

from __future__ import annotations

from scrubjay.base.errors import NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.replica.pending import Pending


class Heard:
    def __init__(self) -> None:
        self.told: dict[int, ScrubjayError | None] = {}

    def __call__(self, number: int) -> object:
        def answer(error: ScrubjayError | None) -> None:
            assert number not in self.told, "one answer each"
            self.told[number] = error

        return answer


def test_an_answer_waits_for_its_lsn_and_no_longer_than_its_time() -> None:
    pending, heard = Pending(), Heard()
    for number in range(1, 6):
        pending.wait(Lsn(number), heard(number), proposed=number != 4, until_us=100 * number)  # type: ignore[arg-type]
    pending.answer_to(Lsn(1))
    assert heard.told == {1: None}
    assert pending.deadline() == 200
    pending.expire(199)
    assert list(heard.told) == [1]
    pending.expire(400)
    assert list(heard.told) == [1, 2, 3, 4]
    for number in (2, 3):
        error = heard.told[number]
        assert type(error) is Unavailable
        assert error.fields["unknown"] is True, "its record may yet be chosen: nobody may try it again unasked"
    assert type(heard.told[4]) is Unavailable
    assert "unknown" not in heard.told[4].fields
    pending.answer_to(Lsn(4))  # the quorum came back: what was answered is not answered again
    pending.end()
    assert type(heard.told[5]) is Unavailable
    assert pending.deadline() is None


def test_the_end_of_leadership_tells_who_may_try_again() -> None:
    pending, heard = Pending(), Heard()
    pending.wait(Lsn(1), heard(1), proposed=True, until_us=9)  # type: ignore[arg-type]
    pending.wait(Lsn(1), heard(2), proposed=False, until_us=9)  # type: ignore[arg-type]
    pending.end()
    assert isinstance(heard.told[1], Unavailable)
    assert heard.told[1].fields["unknown"] is True
    assert isinstance(heard.told[2], NotLeader)


def test_a_later_write_of_a_key_stays_speculative_when_an_earlier_one_is_applied() -> None:
    pending = Pending()
    pending.speculative[b"k"] = (Lsn(5), b"the later one")
    pending.applied(b"k", Lsn(4))
    assert pending.speculative == {b"k": (5, b"the later one")}
    pending.applied(b"k", Lsn(5))
    assert pending.speculative == {}
