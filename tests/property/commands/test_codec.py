"""Commands and answers through their codec: the same value, the same evaluation; and bytes of any kind, which are refused by one error or understood."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.storage.commands.codec import decode_answer, decode_command, encode_answer, encode_command
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import Decision, Outcome, Said, WriteAnswer, WriteCommand
from tests.property.commands.strategies import answers, commands, olds


@given(commands, olds)
@settings(max_examples=300)
def test_a_decoded_command_is_the_command_and_decides_the_same(command: WriteCommand, old: bytes | None) -> None:
    before = repr(command)
    data = encode_command(command)
    decoded = decode_command(data)
    assert repr(command) == before, "encoding changed a tree that others share"
    assert decoded == command
    assert encode_command(decoded) == data
    outcome = evaluate(command, old)
    assert evaluate(decoded, old) == outcome
    answer = WriteAnswer(outcome, "p", 7, 1 if outcome.decision in (Decision.PUT, Decision.DELETE) else None)
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.slow
@given(answers)
@settings(max_examples=200)
def test_a_decoded_answer_is_the_answer(answer: Said) -> None:
    decoded = decode_answer(encode_answer(answer))
    if isinstance(answer, ScrubjayError):
        assert isinstance(decoded, ScrubjayError)
        assert (type(decoded), decoded.message, decoded.fields) == (type(answer), answer.message, answer.fields)
    else:
        assert decoded == answer


mutations = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 4)), min_size=1, max_size=3)
"""(place, bytes put there, bytes taken out)"""


def mutated(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for at, put, taken in changes:
        at %= len(data) + 1
        data = data[:at] + put + data[at + taken :]
    return data


def understood_or_corrupt(data: bytes, old: bytes | None) -> None:
    """Raises what else it raises."""
    try:
        command = decode_command(data)
    except Corrupt:
        pass
    else:
        # what is understood can be evaluated, and said again
        assert isinstance(evaluate(command, old), Outcome)
        assert decode_command(encode_command(command)) == command
    try:
        answer = decode_answer(data)
    except Corrupt:
        return
    encode_answer(answer)


@pytest.mark.slow
@given(st.one_of(commands.map(encode_command), answers.map(encode_answer)), mutations, olds)
@settings(max_examples=500)
def test_damaged_bytes_are_refused_by_name_or_understood(data: bytes, changes: list[tuple[int, bytes, int]], old: bytes | None) -> None:
    understood_or_corrupt(mutated(data, changes), old)


@pytest.mark.slow
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda data: b"\x01" + data)), olds)
@settings(max_examples=300)
def test_any_bytes_are_refused_by_name_or_understood(data: bytes, old: bytes | None) -> None:
    understood_or_corrupt(data, old)


@pytest.mark.slow
@given(commands)
@settings(max_examples=50)
def test_damage_is_mostly_noticed(command: WriteCommand) -> None:
    """Negative control: a decoder that takes everything would pass the tests above."""
    data = encode_command(command)
    for at in range(len(data)):
        try:
            decode_command(data[:at])
        except Corrupt:
            continue
        raise AssertionError(f"{at} of {len(data)} bytes are understood")
