"""What every operation shares: its entry in the table, and the first two checks of a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.shapes import Struct


class Operation(NamedTuple):
    """shape: of the request. run: answers the call at once or through callbacks (returns None), or returns a coroutine to be run as a task."""

    shape: Struct
    run: Callable[[Call], Coroutine[Any, Any, None] | None]


def read_input(call: Call) -> Body:
    """Deserialise the request. Raises SerializationError."""
    call.input = call.shape.read(call.raw)
    return call.input


def check_constraints(call: Call) -> None:
    """Raise the ValidationException that lists every broken constraint of the request."""
    if call.shape.fits(call.input):
        return
    found: list[str] = []
    call.shape.constrain(call.input, "", found)
    if found:
        raise errors.constraints(found)


def check_name_length(name: str, what: str) -> None:
    """The length of a name where the service words it by hand. what: the kind of name. Raises ValidationException."""
    if not limits.TABLE_NAME_CHARS_MIN <= len(name) <= limits.TABLE_NAME_CHARS_MAX:
        raise errors.validation(
            f"{what} must be at least {limits.TABLE_NAME_CHARS_MIN} characters long and at most {limits.TABLE_NAME_CHARS_MAX} characters long"
        )


def check_not_asked(data: Body, *names: str) -> None:
    """Raise if one of the members `names` asks for something (an empty list or structure asks for nothing)."""
    for name in names:
        if data.get(name):
            raise errors.not_built(name)
