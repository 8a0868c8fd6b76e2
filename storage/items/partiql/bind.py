"""Statements with their parameters put in, as the trees that the other operations of the API have: projection, condition, update.

What is wrong whatever the table is told here, in the service's words; they are those of expressions without the name of a request parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions import update as updates
from scrubjay.storage.items.expressions.check import INDEX_MAX
from scrubjay.storage.items.expressions.condition import check_node
from scrubjay.storage.items.expressions.paths import PATH_DEPTH_MAX, read
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.expressions.tree import (
    CONDITION_FUNCTIONS,
    Action,
    And,
    Arithmetic,
    Between,
    Compare,
    FunctionNode,
    In,
    Not,
    Or,
    PathNode,
    ValueNode,
    children,
)
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.partiql import syntax
from scrubjay.storage.items.partiql.builder import malformed
from scrubjay.storage.items.partiql.values import is_value, value_of
from scrubjay.storage.items.partiql.words import TYPES
from scrubjay.storage.items.values import SET_TYPES, Item, Value

_KIND = "Statement"
_SET_FUNCTIONS = {"set_add": "ADD", "set_delete": "DELETE"}
NO_KEY = "Where clause does not contain a mandatory equality on all key attributes"
_TYPES_OF_IS = "[MISSING, NULL, BOOLEAN, BLOB, STRING, NUMERIC, STRUCT, TUPLE, LIST]"
_BARE = {
    "=": "Eq",
    "<>": "Ne",
    "<": "Lt",
    "<=": "Lte",
    ">": "Gt",
    ">=": "Gte",
    "+": "Plus",
    "-": "Minus",
    "LIKE": "Like",
    "AND": "And",
    "OR": "Or",
}
_BARE_KINDS = {
    syntax.IsSyntax: "IsType",
    syntax.PathSyntax: "Id",
    syntax.CallSyntax: "Call",
    syntax.NotSyntax: "Not",
    syntax.BetweenSyntax: "Between",
    syntax.InSyntax: "InCollection",
    syntax.ParameterSyntax: "Parameter",
    syntax.SequenceSyntax: "List",
    syntax.StructSyntax: "Struct",
    syntax.MissingSyntax: "Missing",
}


def _plain(step: Callable[[], Any]) -> Any:
    """What `step` gives; a fault of an expression loses the name of the parameter it would be in elsewhere."""
    try:
        return step()
    except ItemError as error:
        for kind in (_KIND, "UpdateExpression"):
            prefix = f"Invalid {kind}: "
            if error.message.startswith(prefix):
                raise ItemError(error.message[len(prefix) :]) from None
        raise


def path_of(path: syntax.PathSyntax) -> PathNode:
    """Raises ItemError (too deep, index out of range)."""
    for step in path.steps:
        if isinstance(step, int) and step > INDEX_MAX:
            raise ItemError(f"List index is not within the allowable range; index: [{step}]")
    if len(path.steps) > PATH_DEPTH_MAX:
        raise ItemError(f"The document path has too many nesting elements; nesting levels: {len(path.steps)}")
    return PathNode(path.steps)


# --- where -------------------------------------------------------------------------------------------------------------------------------


def condition_of(node: Any, parameters: Sequence[Value]) -> Any:
    """The tree of a WHERE. Raises ItemError."""
    return _plain(lambda: _condition(node, parameters))


def _checked(node: Any) -> Any:
    check_node(_KIND, node)
    return node


def _condition(node: Any, parameters: Sequence[Value]) -> Any:
    within = partial(_condition, parameters=parameters)
    operand = partial(_operand, parameters=parameters)
    if isinstance(node, syntax.JunctionSyntax):
        terms = tuple([within(one) for one in node.operands])
        return And(terms) if node.operator == "AND" else Or(terms)
    if isinstance(node, syntax.NotSyntax):
        return Not(within(node.operand))
    if isinstance(node, syntax.InfixSyntax) and node.operator in ("=", "<>", "<", "<=", ">", ">="):
        truth = _truth(node, parameters)
        return truth if truth is not None else _checked(Compare(node.operator, operand(node.left), operand(node.right)))
    if isinstance(node, syntax.BetweenSyntax):
        return _checked(Between(operand(node.operand), operand(node.low), operand(node.high)))
    if isinstance(node, syntax.InSyntax):
        candidates = (
            node.candidates.elements
            if isinstance(node.candidates, syntax.SequenceSyntax) and node.candidates.kind != "bag"
            else (node.candidates,)
        )
        if not candidates:
            raise malformed("Unexpected term")
        return _checked(In(operand(node.operand), tuple([operand(one) for one in candidates])))
    if isinstance(node, syntax.IsSyntax):
        return _is(node)
    if isinstance(node, syntax.CallSyntax) and node.name in CONDITION_FUNCTIONS:
        return _checked(FunctionNode(node.name, tuple([operand(one) for one in node.arguments])))
    if isinstance(node, syntax.InfixSyntax):
        raise ItemError(f"Unsupported operator in Condition Expression. Operator: {node.operator}")
    operand(node)
    raise ItemError(f"Unsupported token in expression: {_bare_name(node)} at {node.at}")


def _truth(node: syntax.InfixSyntax, parameters: Sequence[Value]) -> Any:
    """A condition that is held against TRUE or FALSE; None: `node` is another comparison."""
    for call, other in ((node.left, node.right), (node.right, node.left)):
        if isinstance(call, syntax.CallSyntax) and call.name in CONDITION_FUNCTIONS and is_value(other) and node.operator in ("=", "<>"):
            kind, payload = value_of(other, parameters)
            if kind == "BOOL":
                found = _condition(call, parameters)
                return found if payload is (node.operator == "=") else Not(found)
    return None


def _operand(node: Any, parameters: Sequence[Value]) -> Any:
    if isinstance(node, syntax.PathSyntax):
        return path_of(node)
    if is_value(node):
        return ValueNode(value_of(node, parameters))
    if isinstance(node, syntax.CallSyntax) and node.name == "size":
        return _checked(FunctionNode("size", tuple([_operand(one, parameters) for one in node.arguments])))
    if isinstance(node, syntax.CallSyntax) and node.name not in CONDITION_FUNCTIONS:
        raise ItemError(f"Unrecognized function: {node.name} at {node.at}")
    if isinstance(node, syntax.InfixSyntax):
        raise ItemError(f"Unsupported operator in Condition Expression. Operator: {node.operator}")
    raise ItemError(f"Unsupported token in expression: {_bare_name(node)} at {node.at}")


def _is(node: syntax.IsSyntax) -> Any:
    if not isinstance(node.operand, syntax.PathSyntax):
        raise ItemError(f"Unsupported token in expression: {_bare_name(node.operand)} at {node.operand.at}")
    path, kind = path_of(node.operand), TYPES.get(node.type)
    if kind is None:
        raise ItemError(f"Unsupported data type for IS operator: {node.type.upper()}. Supported data types are {_TYPES_OF_IS}")
    if kind == "MISSING":
        return FunctionNode("attribute_not_exists", (path,))
    return FunctionNode("attribute_type", (path, ValueNode(("S", kind))))


# --- select ------------------------------------------------------------------------------------------------------------------------------


class Columns(Projection):
    """What SELECT projects: each path's value under the path's last name."""

    __slots__ = ("_names",)

    def __init__(self, paths: Sequence[tuple[str | int, ...]]) -> None:
        super().__init__(tuple(paths))
        self._names = tuple([_column_name(path) for path in paths])
        twice = next((name for index, name in enumerate(self._names) if name in self._names[:index]), None)
        if twice is not None:
            raise ItemError(f"Duplicate identifiers in select clause: {twice}")

    def project(self, item: Item) -> Item:
        """The projected parts of `item`."""
        found: Item = {}
        for name, path in zip(self._names, self.paths, strict=True):
            value = read(item, path)
            if value is not None:
                found[name] = value
        return found


def _column_name(path: Sequence[str | int]) -> str:
    """The last name of a path, with the indexes behind it."""
    at = max(index for index, step in enumerate(path) if isinstance(step, str))
    return str(path[at]) + "".join([f"[{step}]" for step in path[at + 1 :]])


def columns_of(select: syntax.SelectSyntax) -> Columns | None:
    """None: everything. Raises ItemError."""
    if any(column.alias for column in select.columns):
        raise ItemError("Aliasing is not supported")
    if any(column.expression is None for column in select.columns):
        if len(select.columns) > 1:
            raise ItemError("Other attributes should not be present in the projection when '*' is used.")
        return None
    paths = []
    for column in select.columns:
        if not isinstance(column.expression, syntax.PathSyntax):
            raise ItemError(f"Unexpected path component at {column.expression.at}")
        paths.append(path_of(column.expression).path)
    return Columns(paths)


def table_of(source: syntax.SourceSyntax) -> tuple[str, str | None]:
    """Names of table and index. Raises ItemError."""
    if source.alias:
        raise ItemError("Aliasing is not supported")
    steps = source.path.steps
    if any(step == "" for step in steps):
        raise ItemError("Path component cannot be an empty string")
    if any(isinstance(step, int) for step in steps):
        raise ItemError("Invalid list expression in source.")
    if len(steps) > 2:
        raise ItemError("A path may contain at most 2 components in the FROM clause")
    return str(steps[0]), str(steps[1]) if len(steps) == 2 else None


def written_table_of(source: syntax.SourceSyntax) -> str:
    """The table of a write. Raises ItemError."""
    table, index = table_of(source)
    if index is not None:
        raise ItemError("This operation is not supported on an index")
    return table


# --- updates -----------------------------------------------------------------------------------------------------------------------------


def update_of(statement: syntax.UpdateSyntax, parameters: Sequence[Value]) -> Update:
    """SET and REMOVE. Raises ItemError."""
    update: Update = _plain(lambda: updates.checked(tuple([_action(action, parameters) for action in statement.actions])))
    return update


def _action(action: syntax.Assign, parameters: Sequence[Value]) -> Action:
    target, value = path_of(action.target), action.value
    if value is None:
        return Action("REMOVE", target)
    if isinstance(value, syntax.CallSyntax) and value.name in _SET_FUNCTIONS:
        return _set_action(action.target, target, value, parameters)
    return Action("SET", target, _new_value(value, parameters))


def _set_action(path: syntax.PathSyntax, target: PathNode, call: syntax.CallSyntax, parameters: Sequence[Value]) -> Action:
    name = call.name.upper()
    if len(call.arguments) != 2:
        raise ItemError(f"{name} must have exactly two arguments at {call.at}")
    first, second = call.arguments
    if not isinstance(first, syntax.PathSyntax) or first.steps != path.steps:
        raise ItemError(f"The first argument to {name} must equal the assignment value at {call.at}")
    if not is_value(second):
        raise ItemError(f"The second argument to {name} must be a value with type SET at {first.at}")
    value = value_of(second, parameters)
    if value[0] not in SET_TYPES:
        raise ItemError(f"The second argument to {name} must be a value with type SET at {first.at}")
    return Action(_SET_FUNCTIONS[call.name], target, ValueNode(value))


def _new_value(node: Any, parameters: Sequence[Value]) -> Any:
    if isinstance(node, syntax.PathSyntax):
        return path_of(node)
    if is_value(node):
        return ValueNode(value_of(node, parameters))
    if isinstance(node, syntax.InfixSyntax) and node.operator in ("+", "-"):
        return Arithmetic(node.operator, _new_value(node.left, parameters), _new_value(node.right, parameters))
    if isinstance(node, syntax.CallSyntax):
        if node.name != "list_append":
            raise ItemError(f"Unrecognized function: {node.name} at {node.at}")
        return FunctionNode("list_append", tuple([_new_value(one, parameters) for one in node.arguments]))
    if isinstance(node, syntax.IsSyntax):
        raise ItemError("IS operator is not supported in update expressions")
    raise ItemError(f"Unsupported operator in Update Expression. Operator: {_bare_name(node)}")


# --- the key of a write ------------------------------------------------------------------------------------------------------------------


def split_key(condition: Any, names: Sequence[str]) -> tuple[Item, list[Any]]:
    """The key that a WHERE names, and what it demands beside. Raises ItemError: not one equality on each key attribute."""
    key: Item = {}
    rest: list[Any] = []
    for term in terms_of(condition):
        equality = equality_of(term)
        if equality is not None and equality[0] in names and equality[0] not in key:
            key[equality[0]] = equality[1]
        else:
            rest.append(term)
    if len(key) != len(names):
        raise ItemError(NO_KEY)
    return {name: key[name] for name in names}, rest


def terms_of(condition: Any) -> list[Any]:
    """The conditions that must all hold."""
    if condition is None:
        return []
    return [one for term in condition.terms for one in terms_of(term)] if isinstance(condition, And) else [condition]


def equality_of(term: Any) -> tuple[str, Value] | None:
    """Name and value, if the term is attribute = constant."""
    if isinstance(term, Compare) and term.operator == "=":
        for path, value in (children(term), tuple(reversed(children(term)))):
            if isinstance(path, PathNode) and len(path.path) == 1 and isinstance(value, ValueNode):
                return str(path.path[0]), value.value
    return None


def bare_refusal(node: Any) -> ItemError:
    """Of an expression in place of a statement."""
    return ItemError(f"Unsupported operation: {_bare_name(node)}")


def _bare_name(node: Any) -> str:
    if isinstance(node, (syntax.InfixSyntax, syntax.JunctionSyntax)):
        return _BARE[node.operator]
    return _BARE_KINDS.get(type(node), "Lit")
