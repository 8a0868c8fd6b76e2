"""Holds an answer of the API against botocore's model of the service: every member known, of the right type, the required ones there."""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import Any

import botocore.session

COMMON_ERRORS = frozenset(
    (
        "AccessDeniedException",
        "IncompleteSignatureException",
        "InternalServerError",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestEntityTooLargeException",
        "SerializationException",
        "ServiceUnavailableException",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationException",
    )
)
"""Errors of the service's front, which the model does not list with every operation."""
NAME_SPACES = frozenset(
    (
        "com.amazonaws.dynamodb.v20120810",
        "com.amazon.coral.service",
        "com.amazon.coral.validate",
        "com.amazon.coral.availability",
    )
)


@cache
def service_model(service: str = "dynamodb") -> Any:
    return botocore.session.get_session().get_service_model(service)


def check_answer(operation: str, status: int, body: Any) -> list[str]:
    """What is wrong with an answer; empty if nothing is."""
    known = operation in service_model().operation_names
    model = service_model("dynamodb" if known else "dynamodbstreams").operation_model(operation)
    if status == 200:
        shape = model.output_shape
        if shape is None:
            return [] if not body else [f"{operation} has no output, but answered {body!r}"]
        return _check(shape, body, operation)
    return _check_error(model, status, body)


def _check_error(model: Any, status: int, body: Any) -> list[str]:
    if not isinstance(body, dict) or not isinstance(body.get("__type"), str):
        return [f"an error has a __type: {body!r}"]
    space, _, name = body["__type"].partition("#")
    faults = []
    if space not in NAME_SPACES:
        faults.append(f"unknown name space {space}")
    shapes = {shape.name: shape for shape in model.error_shapes}
    if name not in shapes and name not in COMMON_ERRORS:
        faults.append(f"{model.name} has no error {name}")
    allowed = {"__type", "message", "Message"} | set(shapes[name].members if name in shapes else ())
    faults += [f"{name} has no member {member}" for member in body if member not in allowed]
    if name in shapes:
        rest = {member: value for member, value in body.items() if member in shapes[name].members}
        faults += _check(shapes[name], rest, name)
    if (status >= 500) != (name in ("InternalServerError", "ServiceUnavailableException")):
        faults.append(f"{name} with status {status}")
    return faults


def _check(shape: Any, value: Any, path: str) -> list[str]:
    checker = _CHECKS.get(shape.type_name)
    assert checker is not None, shape.type_name
    return checker(shape, value, path)


def _structure(shape: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: not an object: {value!r}"]
    faults = [f"{path}: unknown member {name}" for name in value if name not in shape.members]
    faults += [f"{path}: lacks {name}" for name in shape.required_members if name not in value]
    for name, member in shape.members.items():
        if name in value:
            faults += [f"{path}.{name}: null"] if value[name] is None else _check(member, value[name], f"{path}.{name}")
    return faults


def _list(shape: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{path}: not a list: {value!r}"]
    return [fault for index, one in enumerate(value) for fault in _check(shape.member, one, f"{path}[{index}]")]


def _map(shape: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: not a map: {value!r}"]
    return [fault for name, one in value.items() for fault in _check(shape.value, one, f"{path}.{name}")]


def _string(shape: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{path}: not a string: {value!r}"]
    if getattr(shape, "enum", None) and value not in shape.enum:
        return [f"{path}: {value!r} is none of {shape.enum}"]
    return []


def _integer(shape: Any, value: Any, path: str) -> list[str]:
    return [] if type(value) is int else [f"{path}: not an integer: {value!r}"]


def _number(shape: Any, value: Any, path: str) -> list[str]:
    return [] if type(value) in (int, float) else [f"{path}: not a number: {value!r}"]


def _boolean(shape: Any, value: Any, path: str) -> list[str]:
    return [] if type(value) is bool else [f"{path}: not a boolean: {value!r}"]


def _blob(shape: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{path}: not base64: {value!r}"]
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return [f"{path}: not base64: {value!r}"]
    return []


_CHECKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _integer,
    "long": _integer,
    "double": _number,
    "float": _number,
    "timestamp": _number,
    "boolean": _boolean,
    "blob": _blob,
}
