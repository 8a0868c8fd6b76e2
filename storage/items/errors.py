"""What this room refuses: the texts are DynamoDB's own, so that a client cannot tell the difference.

`ItemError` becomes a ValidationException, `SerializationError` a SerializationException. Neither belongs to the tree of `base.errors`: they are
answers to a client, not conditions of the store.
"""

from __future__ import annotations

from typing import ClassVar


class ItemError(Exception):
    """A ValidationException. message: the exact text of the answer."""

    code: ClassVar[str] = "ValidationException"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SerializationError(ItemError):
    """A SerializationException: the JSON does not have the shape of the request. Wins over every ValidationException."""

    code: ClassVar[str] = "SerializationException"
