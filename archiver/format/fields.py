"""Typed reading of decoded JSON: each accessor returns the value or raises Corrupt naming the field. A checksum proves bytes, not sense."""

from __future__ import annotations

import re
from typing import Any

from scrubjay.archiver.format.layout import Key, build
from scrubjay.base.errors import FORGED, Corrupt, Invalid
from scrubjay.storage.log.digest import Total

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]*")


class Fields:
    """One decoded JSON object. `only` refuses fields that this version does not know."""

    def __init__(self, fields: Any, *, what: str, where: str) -> None:
        self.what, self.where = what, where
        if not isinstance(fields, dict):
            raise Corrupt(f"{what}: an object was expected", what=what, where=where)
        self.fields: dict[str, Any] = fields

    def bad(self, name: str) -> Corrupt:
        return Corrupt(f"{self.what}: field {name} is missing or malformed", what=self.what, where=self.where, field=name)

    def only(self, *names: str) -> None:
        for name in sorted(self.fields):
            if name not in names:
                raise self.bad(name)

    def integer(self, name: str, *, low: int = 0, high: int = (1 << 64) - 1) -> int:
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.bad(name)
        return value

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.bad(name)
        return value

    def uuid(self, name: str) -> str:
        value = self.text(name)
        if not _UUID.fullmatch(value):
            raise self.bad(name)
        return value

    def hex(self, name: str, digits: int) -> str:
        value = self.text(name)
        if len(value) != digits or not _HEX.fullmatch(value):
            raise self.bad(name)
        return value

    def bound(self, name: str) -> str:
        """An end of a partition's range: 16 bytes in hex, or empty."""
        return self.hex(name, 32 if self.text(name) else 0)

    def stamp(self, name: str) -> int:
        return int(self.hex(name, 16), 16)

    def items(self, name: str) -> list[Any]:
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self.bad(name)
        return value

    def object(self, name: str) -> Fields:
        value = self.fields.get(name)
        if not isinstance(value, dict):
            raise self.bad(name)
        return Fields(value, what=self.what, where=self.where)

    def maybe(self, name: str) -> Fields | None:
        if name not in self.fields:
            raise self.bad(name)
        return None if self.fields[name] is None else self.object(name)

    def stands_at(self, key: Key) -> None:
        """Raises Corrupt unless the object lies under the name that its own fields make: another object's bytes under our name, or parts that make no name."""
        try:
            name: str | None = build(key)
        except Invalid:
            name = None
        if name != self.where:
            raise Corrupt(f"{self.what} lies under another object's name", kind=FORGED, what=self.what, where=self.where, expected=name)

    def integers(self, name: str) -> tuple[int, ...]:
        values = self.items(name)
        if any(not isinstance(value, int) or isinstance(value, bool) for value in values):
            raise self.bad(name)
        return tuple(values)


def total_fields(total: Total) -> dict[str, Any]:
    """A state digest as JSON: `read_total` reads it."""
    return {"sum": total.hex, "rows": total.rows}


def read_total(fields: Fields) -> Total:
    return Total(int(fields.hex("sum", 32), 16), fields.integer("rows"))


def stamp_text(stamp: int) -> str:
    """A 64-bit stamp as 16 hex digits: exact in every JSON reader."""
    return f"{stamp:016x}"
