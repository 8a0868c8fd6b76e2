"""Expressions: text to tokens (lexer) to tree (parser), names and values put in and checked in AWS's order (check), then evaluated. Pure."""

from __future__ import annotations

from scrubjay.storage.items.expressions.condition import Condition, check_key_paths, check_no_keys, parse_condition, parse_filter
from scrubjay.storage.items.expressions.keycondition import KeyCondition, KeyExpression, bind, parse_key_expression
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.projection import Projection, parse_projection
from scrubjay.storage.items.expressions.update import Update, parse_update

__all__ = [
    "Condition",
    "KeyCondition",
    "KeyExpression",
    "Placeholders",
    "Projection",
    "Update",
    "bind",
    "check_key_paths",
    "check_no_keys",
    "parse_condition",
    "parse_filter",
    "parse_key_expression",
    "parse_projection",
    "parse_update",
]
