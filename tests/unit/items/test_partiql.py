"""The grammar by a table, parameters by their place in the text, and what a WHERE reaches. Faults and their words: tests/contract/api/test_statements.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.partiql import parse as parsing
from scrubjay.storage.items.partiql import syntax, tables
from scrubjay.storage.items.partiql.bind import condition_of
from scrubjay.storage.items.partiql.grammar import GRAMMAR
from scrubjay.storage.items.partiql.parse import parse
from scrubjay.storage.items.partiql.reach import reach_of

SCHEMA = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))


def shown(node: Any) -> Any:
    """A tree as short text."""
    if isinstance(node, syntax.PathSyntax):
        return ".".join(map(str, node.steps))
    if isinstance(node, syntax.ParameterSyntax):
        return f"?{node.number}"
    if isinstance(node, syntax.NumberSyntax):
        return f"#{node.text}"
    if isinstance(node, syntax.ConstantSyntax):
        return repr(node.value)
    if isinstance(node, syntax.MissingSyntax):
        return "MISSING"
    if isinstance(node, syntax.SequenceSyntax):
        return f"{node.kind}[{' '.join(map(shown, node.elements))}]"
    if isinstance(node, syntax.StructSyntax):
        return "{" + " ".join([f"{name}:{shown(value)}" for name, value in node.members]) + "}"
    if isinstance(node, syntax.CallSyntax):
        return f"{node.name}({' '.join(map(shown, node.arguments))})"
    if isinstance(node, syntax.InfixSyntax):
        return f"({shown(node.left)} {node.operator} {shown(node.right)})"
    if isinstance(node, syntax.BetweenSyntax):
        return f"({shown(node.operand)} between {shown(node.low)} {shown(node.high)})"
    if isinstance(node, syntax.InSyntax):
        return f"({shown(node.operand)} in {shown(node.candidates)})"
    if isinstance(node, syntax.IsSyntax):
        return f"({shown(node.operand)} is {node.type})"
    if isinstance(node, syntax.NotSyntax):
        return f"not {shown(node.operand)}"
    assert isinstance(node, syntax.JunctionSyntax)
    return "(" + f" {node.operator} ".join(map(shown, node.operands)) + ")"


@pytest.mark.parametrize(
    ("where", "tree"),
    [
        ("a = 1", "(a = #1)"),
        ("a=-1 AND b<>+2.5e-3", "((a = #-1) AND (b <> #+2.5e-3))"),
        ("a=1 OR b=2 AND c=3", "((a = #1) OR ((b = #2) AND (c = #3)))"),
        ("(a=1 OR b=2) AND c=3", "(((a = #1) OR (b = #2)) AND (c = #3))"),
        ("NOT a=1 AND NOT NOT b=2", "(not (a = #1) AND not not (b = #2))"),
        ("a BETWEEN 1 AND 2 AND b = 3", "((a between #1 #2) AND (b = #3))"),
        ("a NOT BETWEEN 1 AND 2", "not (a between #1 #2)"),
        ("a IN [1, 'x'] OR a NOT IN (?, ?)", "((a in list[#1 'x']) OR not (a in tuple[?0 ?1]))"),
        ("a IN ('x')", "(a in 'x')"),
        ("a IS MISSING AND b IS NOT NULL AND c is not missing", "((a is missing) AND not (b is null) AND not (c is missing))"),
        ("a IS DOUBLE PRECISION AND b IS STRING", "((a is double) AND (b is string))"),
        ('a.b[0][\'c d\']."e""f" >= .5', '(a.b.0.c d.e"f >= #.5)'),
        ("size(a) > 3 AND Contains(b, 'it''s')", '((size(a) > #3) AND contains(a b "it\'s"))'.replace("a b", "b")),
        ("a = [] AND b = {} AND c = {'x': [1, {'y': null}]}", "((a = list[]) AND (b = {}) AND (c = {x:list[#1 {y:None}]}))"),
        ("a = <<1, 2>> AND b < 3", "((a = bag[#1 #2]) AND (b < #3))"),
        ("a != TRUE AND b = false AND c = missing", "((a <> True) AND (b = False) AND (c = MISSING))"),
        ("a = b + 1 - c", "(a = ((b + #1) - c))"),
        ("modified = 1 AND old.new = 2", "((modified = #1) AND (old.new = #2))"),
        ("a/* IN */=--x\n1", "(a = #1)"),
        ("((((a))) = (1))", "(a = #1)"),
        ("exists(a) AND count(*)", "(exists(a) AND count())"),
        ("selected = 1 AND ordering = 2 AND $x_1 = 3", "((selected = #1) AND (ordering = #2) AND ($x_1 = #3))"),
        ("a LIKE 'x'", "(a LIKE 'x')"),
    ],
)
def test_conditions(where: str, tree: str) -> None:
    statement = parse(f"SELECT * FROM t WHERE {where}").statement
    assert isinstance(statement, syntax.SelectSyntax)
    assert shown(statement.where) == tree


def test_statements() -> None:
    select = parse('select a, b.c, * from "T"."i" where a = 1 order by b desc, c, d asc;').statement
    assert isinstance(select, syntax.SelectSyntax)
    assert [column.expression and shown(column.expression) for column in select.columns] == ["a", "b.c", None]
    assert select.source.path.steps == ("T", "i")
    assert [(shown(one.expression), one.descending) for one in select.order] == [("b", True), ("c", False), ("d", False)]
    insert = parse("INSERT INTO t VALUE {'a': ?}").statement
    assert isinstance(insert, syntax.InsertSyntax)
    assert shown(insert.value) == "{a:?0}"
    for text in (
        "UPDATE t SET a = 1, b = c SET d = ? REMOVE e, f.g WHERE x = ? RETURNING ALL OLD *",
        "FROM t WHERE x = ? SET a = 1, b = c SET d = ? REMOVE e, f.g RETURNING ALL OLD *",
    ):
        update = parse(text).statement
        assert isinstance(update, syntax.UpdateSyntax)
        assert [(shown(one.target), one.value and shown(one.value)) for one in update.actions][:2] == [("a", "#1"), ("b", "c")]
        assert [(shown(one.target), one.value) for one in update.actions][3:] == [("e", None), ("f.g", None)]
        assert update.returning == syntax.Returning(all=True, new=False)
    delete = parse("DELETE FROM t WHERE a = 1 RETURNING MODIFIED NEW *").statement
    assert isinstance(delete, syntax.DeleteSyntax)
    assert delete.returning is not None
    assert delete.returning.text == "MODIFIED NEW *"
    assert isinstance(parse("EXISTS(SELECT * FROM t WHERE a = 1)").statement, syntax.ExistsSyntax)


def test_parameters_are_numbered_as_the_text_has_them() -> None:
    parsed = parse("FROM t WHERE x = ? AND y = '?' SET a = ?, b = [?, {'c': ?}] -- ?")
    assert parsed.parameters == 4
    assert isinstance(parsed.statement, syntax.UpdateSyntax)
    assert shown(parsed.statement.where) == "((x = ?0) AND (y = '?'))"
    assert [shown(one.value) for one in parsed.statement.actions] == ["?1", "list[?2 {c:?3}]"]


def test_a_text_is_parsed_once_and_a_fault_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse("SELECT once FROM t") is parse("SELECT once FROM t")
    with pytest.raises(ItemError) as first:
        parse("SELECT once FROM")
    monkeypatch.setattr(parsing, "_parsed", lambda text: pytest.fail("parsed again"))
    with pytest.raises(ItemError) as second:
        parse("SELECT once FROM")
    assert second.value is not first.value
    assert second.value.message == first.value.message


def test_half_a_surrogate_pair_is_told() -> None:
    with pytest.raises(SerializationError):
        parse("SELECT * FROM t WHERE a = '\ud800'")


def keys_of(where: str) -> list[tuple[str, str | None, tuple[str, ...]]] | None:
    statement = parse(f"SELECT * FROM t WHERE {where}").statement
    assert isinstance(statement, syntax.SelectSyntax)
    reach = reach_of(condition_of(statement.where, []), SCHEMA)
    if reach.keys is None:
        return None
    return [(key.hash_value[1], key.operator, tuple([value[1] for value in key.sort_values])) for key in reach.keys]


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("pk = 'a'", [("a", None, ())]),
        ("'a' = pk AND 3 < sk", [("a", ">", ("3",))]),
        ("pk = 'a' AND sk > 1 AND sk = 2", [("a", "=", ("2",))]),
        ("pk = 'a' AND x = 1 AND sk BETWEEN 1 AND 2", [("a", "BETWEEN", ("1", "2"))]),
        ("x = 1 AND (pk = 'b' OR pk = 'a')", [("a", None, ()), ("b", None, ())]),
        ("pk IN ['b', 'a'] AND sk IN [2, 1]", [("a", "=", ("1",)), ("a", "=", ("2",)), ("b", "=", ("1",)), ("b", "=", ("2",))]),
        ("pk = 'a' AND (x = 1 OR y = 2)", [("a", None, ())]),
        ("pk = 'a' AND sk = 1 OR pk = 'a' AND sk <> 2", [("a", None, ())]),
        ("pk = 'a' OR x = 1", None),
        ("NOT pk = 'a'", None),
        ("pk > 'a'", None),
        ("pk = x", None),
        ("pk IN ['a', x]", None),
        ("pk.x = 'a'", None),
        ("sk = 1", None),
    ],
)
def test_what_a_where_reaches(where: str, keys: Any) -> None:
    assert keys_of(where) == keys


def test_how_many_reads_a_statement_may_be() -> None:
    assert len(keys_of("pk IN [" + ", ".join([f"'{number}'" for number in range(50)]) + "]") or ()) == 50
    for where in (
        "pk IN [" + ", ".join([f"'{number}'" for number in range(51)]) + "]",
        "pk IN ['1', '2', '3', '4', '5', '6', '7', '8'] AND sk IN [1, 2, 3, 4, 5, 6, 7]",
        " AND ".join(["(pk = 'a' OR pk = 'b')"] * 40),
    ):
        with pytest.raises(ItemError, match="Too many decomposed read operations"):
            keys_of(where)
    # what is a scan anyway may have any number
    assert keys_of("x = 1 OR " + " OR ".join([f"pk = '{number}'" for number in range(90)])) is None


WORDS = sorted({word for word in GRAMMAR.split() if word.isupper() and word.isalpha()})
SIGNS = ["a", "pk", '"q"', "'s'", "1", "1e5", *".,()[]{}=<-+*?:;", "<<", ">>", "<>", "--", "/*", "'", '"', "inner", "set_add", "string"]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS + SIGNS), max_size=40).map(" ".join) | st.text(max_size=60))
@example("(" * 8192)
@example("SELECT * FROM t WHERE a = " + "[" * 4000 + "]" * 4000)
@example("SELECT * FROM t WHERE " + "NOT " * 2000 + "a = 1")
@example("SELECT * FROM t WHERE a = 1" + " OR a = 1" * 900)
@example("SELECT * FROM t WHERE a = " + "1-" * 4000 + "1")
@example("SELECT a" + ".a" * 4000 + " FROM t")
@example("SELECT * FROM t WHERE " + "size(" * 1500 + "a" + ")" * 1500 + " = 1")
@example("\ud800")
def test_any_text_is_a_statement_or_a_fault(text: str) -> None:
    with contextlib.suppress(ItemError):
        parse(text)


# --- tables --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unread() -> Iterator[None]:
    """No parser was made yet."""
    parsing._parser.cache_clear()
    yield
    parsing._parser.cache_clear()


@pytest.mark.usefixtures("unread")
def test_the_tables_that_came_along_are_of_this_grammar_and_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsing.fingerprint() == tables.OF, "run: .venv/bin/python tools/partiql_tables.py"

    def never() -> Any:
        raise AssertionError("made anew")

    monkeypatch.setattr(parsing, "made_anew", never)
    parsing.prepare()
    assert parsing._parser.cache_info().currsize == 0
    assert shown(parsing._parsed("SELECT a FROM t WHERE b = 1").statement.where) == "(b = #1)"


@pytest.mark.usefixtures("unread")
def test_tables_of_another_grammar_or_another_lark_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SAVED", "of another Lark")
    monkeypatch.setattr(tables, "OF", "")
    parsing.prepare()
    assert parsing._parser.cache_info().currsize == 1  # before anybody waits for it
    assert shown(parsing._parsed("SELECT a FROM t WHERE b = 1").statement.where) == "(b = #1)"
