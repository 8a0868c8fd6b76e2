"""The codec of commands and answers: golden bytes, bounds, what it refuses, and the page in step with the structs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scrubjay.base import errors
from scrubjay.base.errors import Corrupt, Internal, Invalid, NotLeader, ScrubjayError, Unavailable
from scrubjay.storage.commands import codec, values
from scrubjay.storage.commands.codec import decode_answer, decode_command, encode_answer, encode_command
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    DeleteCommand,
    ExpireCommand,
    Failure,
    FinishCommand,
    IndexRangeAnswer,
    LookCommand,
    Outcome,
    PrepareCommand,
    PutCommand,
    RangeAnswer,
    ReadAnswer,
    Said,
    SwapCommand,
    TransactAnswer,
    UpdateCommand,
    WriteAnswer,
    WriteCommand,
)
from scrubjay.storage.items import legacy
from scrubjay.storage.items.encoding import encode_item, encode_value
from scrubjay.storage.items.expressions import tree
from scrubjay.storage.items.expressions.condition import Condition, parse_condition
from scrubjay.storage.items.expressions.tree import Action, And, Arithmetic, Compare, FunctionNode, Not, PathNode, ValueNode
from scrubjay.storage.items.expressions.update import Update, parse_update
from scrubjay.storage.items.size import ITEM_ENCODED_BYTES_MAX
from scrubjay.storage.items.values import Item
from tests.fixtures.golden import Golden

PAGE = Path("docs/formats/command.md")
KEY: Item = {"pk": ("S", "k")}
K = encode_item(KEY)
OLD = encode_item({**KEY, "n": ("N", "1")})
NEW = encode_item({**KEY, "n": ("N", "2"), "b": ("B", b"\x00\xff"), "m": ("M", {"l": ("L", (("NULL", True), ("BOOL", False)))})})
STORAGE_KEY = bytes(range(16)) + b"sort"
EVERY_TERM = (
    "NOT (a = :s OR b.c[1] <> :n) AND NOT NOT size(a) BETWEEN :n AND x AND #r IN (:s, :b, y) AND contains(a, :s) "
    "AND (attribute_type(a, :t) OR begins_with(a, :b) OR a < :n OR attribute_exists(z) AND attribute_not_exists(a.b))"
)
VALUES: Item = {
    ":s": ("S", "ü"),
    ":n": ("N", "-1.5"),
    ":b": ("B", b"\xff"),
    ":t": ("S", "NS"),
    ":set": ("SS", ("a", "b")),
    ":l": ("L", (("N", "1"),)),
}
EVERY_ACTION = "SET a = if_not_exists(a, :n) + :n, b.c[0] = list_append(d, :l), e = x - :n REMOVE f, g[3] ADD h :n, i :set DELETE j :set"

COMMANDS: dict[str, WriteCommand] = {
    "put": PutCommand(STORAGE_KEY, K, NEW, blind=True),
    "conditional_put": PutCommand(STORAGE_KEY, K, NEW, parse_condition(EVERY_TERM, {"#r": "size"}, VALUES)),
    "update": UpdateCommand(STORAGE_KEY, K, parse_update(EVERY_ACTION, None, VALUES), parse_condition("attribute_exists(pk)")),
    "legacy_update": UpdateCommand(
        STORAGE_KEY, K, legacy.parse_attribute_updates({"a": {"Action": "ADD", "Value": {"N": "1"}}, "b": {"Action": "DELETE"}})
    ),
    "touch": UpdateCommand(STORAGE_KEY, K, None),
    "delete": DeleteCommand(STORAGE_KEY, K, legacy.parse_expected({"n": {"ComparisonOperator": "NOT_CONTAINS", "Value": {"S": "x"}}})),
    "swap": SwapCommand(STORAGE_KEY, K, None, NEW),
    "expire": ExpireCommand(STORAGE_KEY, K, "ends", encode_value(("N", "1800000000"))),
    "prepare": PrepareCommand(
        STORAGE_KEY,
        bytes(range(16)),
        b"c0123",
        (
            PutCommand(STORAGE_KEY, K, NEW),
            UpdateCommand(STORAGE_KEY + b"2", K, parse_update("SET a = :n", None, VALUES), parse_condition("a <> :n", None, VALUES)),
            CheckCommand(STORAGE_KEY + b"3", K, parse_condition("attribute_exists(pk)")),
        ),
    ),
    "finish": FinishCommand(STORAGE_KEY, bytes(range(16)), 1_800_000_000_000_000 << 12),
    "look": LookCommand(STORAGE_KEY, (STORAGE_KEY, STORAGE_KEY + b"2")),
}
ANSWERS: dict[str, Said] = {
    "written": WriteAnswer(Outcome(Decision.PUT, OLD, NEW), "p", 7, 1_800_000_000_000_000),
    "deleted": WriteAnswer(Outcome(Decision.DELETE, OLD, None), "p", 8, 1_800_000_000_000_001),
    "unchanged": WriteAnswer(Outcome(Decision.UNCHANGED, None, None), "p", 8, None),
    "condition_failed": WriteAnswer(Outcome(Decision.CONDITION_FAILED, OLD, OLD), "p", 8, None),
    "refused": WriteAnswer(Outcome(Decision.REFUSED, OLD, OLD, Failure("ValidationException", "no such attribute")), "p", 8, None),
    "transacted": TransactAnswer(
        Outcome(Decision.UNCHANGED, None, None),
        "p",
        8,
        None,
        (Outcome(Decision.PUT, OLD, NEW), Outcome(Decision.LOCKED, None, None)),
        1_800_000_000_000_000 << 12,
        True,
        (7, 3),
    ),
    "read": ReadAnswer(OLD, "p", 9),
    "range": RangeAnswer([(STORAGE_KEY, OLD), (STORAGE_KEY + b"2", NEW)], True, "p", 9),
    "index_range": IndexRangeAnswer([(STORAGE_KEY + b"\xff\x01", OLD)], True, "p", 9, STORAGE_KEY + b"\xff\x02"),
    "failed": NotLeader("not the leader", partition="p", hint="node2"),
}


def shown(value: Any) -> Any:
    return msgspec.to_builtins(value)


@pytest.mark.parametrize("name", COMMANDS)
def test_golden_commands(golden: Golden, name: str) -> None:
    command = COMMANDS[name]
    golden.check(f"command/{name}.bin", encode_command(command))
    decoded = decode_command(golden.read(f"command/{name}.bin"))
    assert decoded == command
    golden.check_json(f"command/{name}.json", [type(decoded).__name__, shown(decoded)])


@pytest.mark.parametrize("name", ANSWERS)
def test_golden_answers(golden: Golden, name: str) -> None:
    answer = ANSWERS[name]
    golden.check(f"command/{name}.bin", encode_answer(answer))
    decoded = decode_answer(golden.read(f"command/{name}.bin"))
    if isinstance(answer, ScrubjayError):
        assert isinstance(decoded, NotLeader)
        assert (decoded.message, decoded.fields) == (answer.message, answer.fields)
        golden.check_json(f"command/{name}.json", [decoded.code, decoded.message, decoded.fields])
    else:
        assert decoded == answer
        golden.check_json(f"command/{name}.json", [type(decoded).__name__, shown(decoded)])


# --- the page ------------------------------------------------------------------------------------------------------------------------------


def structs() -> dict[str, tuple[str, str]]:
    """Name to (tag, fields), of everything that crosses."""
    rooms = (values, tree)
    found = [one for room in rooms for one in vars(room).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    wanted = [one for one in found if one is not msgspec.Struct]
    tags = {one: one.__struct_config__.tag for one in wanted}
    return {one.__name__: ("" if tags[one] is None else str(tags[one]), ", ".join(one.__struct_fields__)) for one in wanted}


def test_the_page_and_the_structs_agree() -> None:
    rows = re.findall(r"^\| (\d*) ?\| ([A-Z]\w+) \| ([a-z_]+(?:, [a-z_]+)*) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: (tag, fields) for tag, name, fields in rows} == structs()
    decisions = re.findall(r"^\| (\d) \| ([A-Z_]+) \| item", PAGE.read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name in decisions] == [(one.value, one.name) for one in Decision]


def test_the_page_names_the_bounds() -> None:
    text = " ".join(PAGE.read_text().split())
    assert f"| 0 | 1 | u8 | `version` | {codec.VERSION};" in text
    assert f"A command has at most {codec.COMMAND_BYTES_MAX >> 20} MiB, an answer as well" in text
    assert codec.ANSWER_BYTES_MAX == codec.COMMAND_BYTES_MAX
    assert f"a storage key at most {codec.KEY_BYTES_MAX:,} bytes" in text
    assert f"canonical bytes at most {ITEM_ENCODED_BYTES_MAX >> 20} MiB" in text
    assert f"at most {codec.EXPRESSION_DEPTH_MAX} nodes" in text


# --- bounds and refusals -------------------------------------------------------------------------------------------------------------------


def test_a_shared_tree_is_not_changed_by_encoding() -> None:
    first, second = (parse_condition("a = :s", None, {":s": ("S", text)}) for text in ("one", "two"))
    encode_command(DeleteCommand(b"key", K, first))
    assert (first.evaluate({"a": ("S", "one")}), second.evaluate({"a": ("S", "two")})) == (True, True)


@pytest.mark.parametrize(
    "text",
    ["NOT (" * 150 + "a = :n" + ")" * 150, "a = :n AND (" * 140 + "a = :n" + ")" * 140, "a = :n OR NOT (" * 90 + "a = :n" + ")" * 90],
)
def test_the_deepest_condition_crosses(text: str) -> None:
    command = DeleteCommand(b"key", K, parse_condition(text, None, {":n": ("N", "1")}))
    decoded = decode_command(encode_command(command))
    assert decoded == command
    assert evaluate(decoded, OLD) == evaluate(command, OLD)


def test_the_deepest_update_crosses() -> None:
    text = "SET a = " + "if_not_exists(b, " * 150 + ":n" + ")" * 150
    command = UpdateCommand(b"key", K, parse_update(text, None, {":n": ("N", "1")}))
    assert decode_command(encode_command(command)) == command


def raw(tree: Any) -> bytes:
    """A delete under a condition, its constants as they stand in `tree`."""
    return b"\x01" + msgspec.msgpack.encode(DeleteCommand(b"key", K, Condition(tree)))


def raw_update(*actions: Action) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(UpdateCommand(b"key", K, Update(actions)))


def nested(levels: int) -> Any:
    found: Any = FunctionNode("attribute_exists", (PathNode(("a",)),))
    for _ in range(levels - 2):
        found = Not(found)
    return found


def deep(levels: int) -> bytes:
    value: Any = ("S", "x")
    for _ in range(levels - 1):
        value = ("L", (value,))
    return encode_value(value)


A = PathNode(("a",))
ONE = ValueNode(encode_value(("N", "1")))
EXISTS = FunctionNode("attribute_exists", (A,))


@pytest.mark.parametrize(
    "data",
    [
        raw(nested(codec.EXPRESSION_DEPTH_MAX)),
        raw(Compare("=", A, ValueNode(deep(32)))),
        raw(And(())),
        raw(Compare("=", PathNode(("a", *range(31))), ONE)),
        raw_update(Action("SET", A, Arithmetic("+", ONE, A)), Action("REMOVE", A), Action("ADD", A, ONE)),
    ],
    ids=["depth", "constant", "and", "path", "update"],
)
def test_what_is_just_within_the_bounds_is_taken(data: bytes) -> None:
    assert isinstance(evaluate(decode_command(data), OLD), Outcome)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "version"),
        (b"\x01", "version"),
        (b"\x02" + encode_command(COMMANDS["put"])[1:], "version"),
        (encode_command(COMMANDS["put"]) + b"\x00", "structure"),
        (encode_command(COMMANDS["put"])[:-1], "structure"),
        (b"\x01" + b"\xdd\xff\xff\xff\xff", "structure"),
        (b"\x01" + b"\x94\x03\xc4\x01k\xc4\x01k" + b"\x91\x92\x07" * 100_000, "structure"),
        (b"\x01\x94\x09\xc4\x01k\xc4\x01k\xc0", "structure"),
        (b"\x01" + msgspec.msgpack.encode(PutCommand(b"", K, NEW)), "length of the key"),
        (b"\x01" + msgspec.msgpack.encode(PutCommand(b"k" * (codec.KEY_BYTES_MAX + 1), K, NEW)), "length of the key"),
        (b"\x01" + msgspec.msgpack.encode(PutCommand(b"k", K, bytes(ITEM_ENCODED_BYTES_MAX + 1))), "size of an item"),
        (b"\x01" + msgspec.msgpack.encode(SwapCommand(b"k", K, None, bytes(ITEM_ENCODED_BYTES_MAX + 1))), "size of an item"),
        (b"\x01" + msgspec.msgpack.encode(PutCommand(b"k", K, NEW, Condition(EXISTS), blind=True)), "looks at nothing"),
        (raw(nested(codec.EXPRESSION_DEPTH_MAX + 1)), "depth of an expression"),
        (raw(Compare("=", A, ValueNode(deep(33)))), "depth of a constant"),
        (raw(Compare("=", A, ValueNode("text"))), "constant"),
        (raw(Compare("=", A, ValueNode(b"\x81\xa1Q\xc0"))), "item bytes"),
        (raw(Compare("==", A, ONE)), "comparison"),
        (raw(Compare("=", A, Arithmetic("+", ONE, ONE))), "arithmetic"),
        (raw(Compare("=", A, EXISTS)), "function"),
        (raw(FunctionNode("size", (A,))), "function"),
        (raw(FunctionNode("attribute_exists", (A, A))), "function"),
        (raw(FunctionNode("attribute_exists", (PathNode(()),))), "path"),
        (raw(FunctionNode("attribute_exists", (PathNode((1,)),))), "path"),
        (raw(FunctionNode("attribute_exists", (PathNode(("a", *range(32))),))), "path"),
        (raw(FunctionNode("attribute_exists", (PathNode(("a", -1)),))), "list index"),
        (raw(FunctionNode("attribute_exists", (PathNode(("a", 1 << 32)),))), "list index"),
        (raw_update(Action("MOVE", A, ONE)), "section"),
        (raw_update(Action("REMOVE", A, ONE)), "operand of a section"),
        (raw_update(Action("SET", A)), "operand of a section"),
        (raw_update(Action("ADD", A, A)), "operand of a section"),
        (raw_update(Action("SET", A, Arithmetic("*", ONE, ONE))), "arithmetic"),
        (raw_update(Action("SET", A, FunctionNode("size", (A,)))), "function"),
        (raw_update(Action("SET", PathNode((0,)), ONE)), "path"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_router_sends_is_refused_by_name(data: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=re.escape(why)):
        decode_command(data)


@pytest.mark.parametrize(
    ("outcome", "timestamp"),
    [
        (Outcome(Decision.PUT, OLD, None), 1),
        (Outcome(Decision.PUT, OLD, NEW), None),
        (Outcome(Decision.DELETE, OLD, NEW), 1),
        (Outcome(Decision.DELETE, OLD, None), None),
        (Outcome(Decision.UNCHANGED, OLD, NEW), None),
        (Outcome(Decision.UNCHANGED, OLD, OLD), 1),
        (Outcome(Decision.CONDITION_FAILED, OLD, None), None),
        (Outcome(Decision.REFUSED, OLD, OLD), None),
        (Outcome(Decision.PUT, OLD, NEW, Failure("Internal", "")), 1),
    ],
)
def test_an_outcome_whose_parts_do_not_belong_together_is_refused(outcome: Outcome, timestamp: int | None) -> None:
    with pytest.raises(Corrupt, match="of an outcome"):
        decode_answer(b"\x01" + msgspec.msgpack.encode(WriteAnswer(outcome, "p", 1, timestamp)))


def test_sizes_are_bounded_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    command, answer = encode_command(COMMANDS["put"]), encode_answer(ANSWERS["read"])
    monkeypatch.setattr(codec, "COMMAND_BYTES_MAX", len(command))
    monkeypatch.setattr(codec, "ANSWER_BYTES_MAX", len(answer))
    assert decode_command(encode_command(COMMANDS["put"])) == COMMANDS["put"]
    assert decode_answer(encode_answer(ANSWERS["read"])) == ANSWERS["read"]
    monkeypatch.setattr(codec, "COMMAND_BYTES_MAX", len(command) - 1)
    monkeypatch.setattr(codec, "ANSWER_BYTES_MAX", len(answer) - 1)
    with pytest.raises(Invalid, match="command too large"):
        encode_command(COMMANDS["put"])
    with pytest.raises(Corrupt, match="size"):
        decode_command(command)
    with pytest.raises(Invalid, match="answer too large"):
        encode_answer(ANSWERS["read"])
    with pytest.raises(Corrupt, match="size"):
        decode_answer(answer)


def test_what_is_no_data_is_not_sent() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "odd"

    with pytest.raises(Invalid, match="no data"):
        encode_command(DeleteCommand(b"key", K, Condition(Compare("=", A, ValueNode(("S", "\ud800"))))))
    # an error's fields are for people: they are said as text rather than not at all
    said = decode_answer(encode_answer(Unavailable("later", cause=Odd())))
    assert isinstance(said, Unavailable)
    assert said.fields == {"cause": "odd"}


# --- errors --------------------------------------------------------------------------------------------------------------------------------


def test_every_error_comes_back_as_its_own_kind() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ScrubjayError)]
    for kind in kinds:
        said = decode_answer(encode_answer(kind("what", applied=7)))
        assert type(said) is (Internal if kind is ScrubjayError else kind)
    assert len(kinds) > 10


def test_an_error_of_a_later_version_is_an_internal_one_that_names_it() -> None:
    said = decode_answer(b"\x01" + msgspec.msgpack.encode(Failure("Later", "what", {"self": 1, "message": 2})))
    assert isinstance(said, Internal)
    assert (said.message, said.fields) == ("what", {"self": 1, "message": 2, "code": "Later"})
