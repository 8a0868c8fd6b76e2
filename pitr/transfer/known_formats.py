"""Which formats there are, and one of them for a table. What only an extra brings is loaded here, where it is asked for."""

from __future__ import annotations

import importlib.util

from scrubjay.base.errors import Unavailable
from scrubjay.pitr.transfer.aws_layout import CSV, DYNAMODB_JSON, PARQUET
from scrubjay.pitr.transfer.formats import CsvItems, Format, JsonChanges, JsonItems
from scrubjay.storage.catalogue import KeySchema

FORMATS = (DYNAMODB_JSON, CSV, PARQUET)
OF_CHANGES = (DYNAMODB_JSON, PARQUET)
"""Formats of incremental exports."""


def format_of(name: str, key: KeySchema, *, view: str | None) -> Format:
    """name: one of FORMATS, or of OF_CHANGES. view: of an incremental export, else None. Raises Unavailable (pyarrow is not installed), Unsafe (the key's names cannot be columns)."""
    if name == PARQUET:
        check_installed(name)
        from scrubjay.pitr.transfer.parquet import ParquetChanges, ParquetItems  # an extra: nobody else needs it

        return ParquetItems(key) if view is None else ParquetChanges(key, view)
    if view is not None:
        return JsonChanges(key, view)
    return CsvItems(key) if name == CSV else JsonItems(key)


def check_installed(name: str | None) -> None:
    """Raises Unavailable if that format needs a package that is not here."""
    if name == PARQUET and importlib.util.find_spec("pyarrow") is None:
        raise Unavailable(
            "Parquet is not installed", asked=f"format {name}", found="no package `pyarrow`", error_code="NotInstalled",
            next="pip install 'scrubjay[parquet]', on the server and on the workers of a fleet",
        )  # fmt: skip
