"""Field tables of docs/formats, parsed, so that a test can hold them against the `struct` layout and the text cannot drift.

A page's table has a header row with at least the columns `offset`, `size`, `type`, `name` (any order, more columns welcome). Sizes and offsets are
bytes in decimal; a row whose offset or size is not a number ("…", "n", "16 + n") ends the fixed part. Types:

    u8 u16 u32 u64 i8 i16 i32 i64 f64 (little-endian)     bytes (any size)     zero (reserved, any size)

In an owner's test:

    table = find_table("docs/formats/wal.md", "Frame header")
    assert_layout(table, FRAME_HEADER)            # a struct.Struct: offsets, sizes and types must agree to the last byte
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "f64": 8}
_CODES = {"B": "u8", "H": "u16", "I": "u32", "L": "u32", "Q": "u64", "b": "i8", "h": "i16", "i": "i32", "l": "i32", "q": "i64", "d": "f64"}
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$")


@dataclass(frozen=True)
class Field:
    """One row of the fixed part: offset and size in bytes."""

    offset: int
    size: int
    type: str
    name: str


@dataclass(frozen=True)
class Table:
    """A field table. heading: the nearest heading above it. fixed: rows up to the first one without numbers; rest: the names of the others."""

    page: str
    heading: str
    fixed: tuple[Field, ...]
    rest: tuple[str, ...]


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`").strip() for cell in line.strip().strip("|").split("|")]


def parse_tables(page: str | Path) -> list[Table]:
    """Every field table of a page, in order. page: relative to the repository, or absolute."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    tables: list[Table] = []
    heading = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if match := _HEADING.match(line):
            heading = match.group(1)
        header = [cell.lower() for cell in _cells(line)] if line.lstrip().startswith("|") else []
        if not {"offset", "size", "type", "name"} <= set(header):
            at += 1
            continue
        fixed: list[Field] = []
        rest: list[str] = []
        at += 2  # the header and the line of dashes
        while at < len(lines) and lines[at].lstrip().startswith("|"):
            row = dict(zip(header, _cells(lines[at]), strict=False))
            if not rest and row["offset"].isdecimal() and row["size"].isdecimal():
                fixed.append(Field(int(row["offset"]), int(row["size"]), row["type"], row["name"]))
            else:
                rest.append(row["name"])
            at += 1
        tables.append(Table(str(page), heading, tuple(fixed), tuple(rest)))
    return tables


def find_table(page: str | Path, heading: str) -> Table:
    """The one field table below the heading that contains `heading`. Raises AssertionError if there is none or more than one."""
    found = [table for table in parse_tables(page) if heading.lower() in table.heading.lower()]
    assert len(found) == 1, (
        f"{page}: {len(found)} field tables below a heading with {heading!r}; headings: {[t.heading for t in parse_tables(page)]}"
    )
    return found[0]


def struct_fields(layout: struct.Struct | str) -> list[tuple[int, int, str]]:
    """(offset, size, type) of each field of a little-endian struct; "16s" is bytes, "3x" is zero."""
    text = layout.format if isinstance(layout, struct.Struct) else layout
    assert text.startswith("<"), f"formats are little-endian, with no padding of the compiler's: {text}"
    fields: list[tuple[int, int, str]] = []
    offset = 0
    for count, code in re.findall(r"(\d*)([a-zA-Z?])", text[1:]):
        if code in "sx":
            size = int(count or 1)
            fields.append((offset, size, "bytes" if code == "s" else "zero"))
            offset += size
            continue
        kind = _CODES[code]
        for _ in range(int(count or 1)):
            fields.append((offset, _SIZES[kind], kind))
            offset += _SIZES[kind]
    return fields


def table_problems(table: Table) -> list[str]:
    """What is wrong with the table in itself: gaps, overlaps, sizes that are not their type's."""
    problems: list[str] = []
    at = table.fixed[0].offset if table.fixed else 0
    for field in table.fixed:
        if field.offset != at:
            problems.append(f"{field.name}: offset {field.offset}, but the field before ends at {at}")
        if field.type in _SIZES and field.size != _SIZES[field.type]:
            problems.append(f"{field.name}: size {field.size}, but a {field.type} has {_SIZES[field.type]}")
        at = field.offset + field.size
    return problems


def assert_layout(table: Table, layout: struct.Struct | str) -> None:
    """The fixed part of the table is exactly the struct (offsets counted from the table's first). A type outside the list counts as bytes."""
    assert not table_problems(table), table_problems(table)
    assert table.fixed, f"{table.page}: no fixed field below {table.heading!r}"
    base = table.fixed[0].offset
    written = [(f.offset - base, f.size, f.type if f.type in _SIZES or f.type == "zero" else "bytes") for f in table.fixed]
    coded = struct_fields(layout)
    for field, text, code in zip(table.fixed, written, coded, strict=False):
        # Reserved bytes may be coded as padding or as an integer that is checked to be 0.
        same = text == code or (text[:2] == code[:2] and "zero" in (text[2], code[2]))
        assert same, f"{table.page}, {table.heading}: {field.name} is {text} in the table, {code} in the code"
    assert len(written) == len(coded), f"{table.page}, {table.heading}: {len(written)} fields in the table, {len(coded)} in the code"
