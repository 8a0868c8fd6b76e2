"""The parser of field tables, with tables that must fail; and every page's tables in themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.docs.format_tables import ROOT, assert_layout, find_table, parse_tables, struct_fields, table_problems

PAGE = """# A format
## Header

| offset | size | type | name | meaning |
|---|---|---|---|---|
| 0 | 4 | bytes | `magic` | SJxx |
| 4 | 2 | u16 | `version` | 1 |
| 6 | 2 | zero | `reserved` | |
| 8 | 8 | u64 | `lsn` | |
| 16 | n | bytes | `body` | |

## Trailer
| name | type | size | offset |
|---|---|---|---|
| crc | u32 | 4 | 0 |
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_tables_are_found_with_their_headings(page: Path) -> None:
    header, trailer = parse_tables(page)
    assert (header.heading, [field.name for field in header.fixed], header.rest) == (
        "Header",
        ["magic", "version", "reserved", "lsn"],
        ("body",),
    )
    assert (trailer.heading, trailer.fixed[0].type) == ("Trailer", "u32")


def test_agreement_passes(page: Path) -> None:
    assert_layout(find_table(page, "header"), struct.Struct("<4sH2xQ"))
    assert_layout(find_table(page, "header"), "<4sHHQ")
    assert_layout(find_table(page, "trailer"), "<I")


@pytest.mark.parametrize("layout", ["<4sHQ", "<4sH2xq", "<4sH2xQI", "<4sI2xQ", "<4sH2x"])
def test_any_drift_fails(page: Path, layout: str) -> None:
    with pytest.raises(AssertionError):
        assert_layout(find_table(page, "header"), layout)


def test_native_byte_order_is_refused() -> None:
    with pytest.raises(AssertionError, match="little-endian"):
        struct_fields("4sHQ")


@pytest.mark.parametrize(
    ("old", "new"), [("| 4 | 2 | u16", "| 5 | 2 | u16"), ("| 8 | 8 | u64", "| 8 | 4 | u64"), ("| 6 | 2 | zero", "| 6 | 1 | zero")]
)
def test_gaps_and_wrong_sizes_are_found(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE.replace(old, new))
    assert table_problems(find_table(path, "header"))


@pytest.mark.parametrize("page_name", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "formats").glob("*.md")))
def test_every_field_table_is_gap_free(page_name: str) -> None:
    for table in parse_tables(page_name):
        assert not table_problems(table), f"{page_name}, {table.heading}: {table_problems(table)}"
