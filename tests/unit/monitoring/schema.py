"""The board against Grafana's own classes: every key is one of theirs, every value of the type that they say."""

from __future__ import annotations

import enum
import json
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from grafana_foundation_sdk.cog import runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}


def faults(board: Mapping[str, Any]) -> list[str]:
    """What Grafana would not understand, each with its place. Empty: nothing."""
    register_default_plugins()
    missing = [*_unknown_plugins(board)]
    try:
        read = Dashboard.from_json(dict(board))
        written = json.loads(JSONEncoder().encode(read))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [*missing, f"it cannot be read: {error!r}"]
    return [*missing, *_lost(board, written, ""), *_mistyped(read, type(read), "")]


def _unknown_plugins(board: Mapping[str, Any]) -> Iterator[str]:
    """Panels, data sources and units that Grafana does not come with: their options would not be looked at."""
    known = runtime.Runtime()
    for panel in board["panels"]:
        if panel["type"] != "row" and known.panelcfg_config(panel["type"]) is None:
            yield f"{panel['title']}: no panel {panel['type']}"
        for target in panel.get("targets", ()):
            if target["datasource"]["type"] not in known.dataquery_variants:
                yield f"{panel['title']}: no data source {target['datasource']['type']}"
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        if unit is not None and unit not in UNITS:
            yield f"{panel['title']}: no unit {unit}"


def _lost(asked: Any, kept: Any, place: str) -> Iterator[str]:
    """What reading and writing it again does not bring back: keys that no class has."""
    if isinstance(asked, Mapping) and isinstance(kept, Mapping):
        for name, value in asked.items():
            if name not in kept and value is not None:
                yield f"{place}.{name}: no such key"
            elif name in kept:
                yield from _lost(value, kept[name], f"{place}.{name}")
    elif isinstance(asked, list) and isinstance(kept, list) and len(asked) == len(kept):
        for number, (one, other) in enumerate(zip(asked, kept, strict=True)):
            yield from _lost(one, other, f"{place}[{number}]")
    elif asked != kept:
        yield f"{place}: {asked!r} became {kept!r}"


def _mistyped(value: Any, wanted: Any, place: str) -> Iterator[str]:
    """wanted: an annotation of Grafana's classes, or a class with annotations."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (object, Any):
        if hasattr(type(value), "to_json"):
            yield from _mistyped(value, type(value), place)
    elif origin is typing.Union:
        found = [[*_mistyped(value, one, place)] for one in inner]
        if all(found):
            yield min(found, key=len)[0]
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{place}: {value!r} is none of {inner}"
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{place}: {value!r} is no {origin.__name__}"
            return
        parts = enumerate(value) if origin is list else value.items()
        for name, one in parts:
            yield from _mistyped(one, inner[-1], f"{place}[{name}]")
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        if value not in [one.value for one in wanted]:
            yield f"{place}: {value!r} is no {wanted.__name__}"
    elif hasattr(wanted, "to_json"):
        if not isinstance(value, wanted):
            yield f"{place}: {value!r} is no {wanted.__name__}"
            return
        for name, annotation in typing.get_type_hints(wanted, vars(sys.modules[wanted.__module__])).items():
            if (one := getattr(value, name)) is not None:
                yield from _mistyped(one, annotation, f"{place}.{name}")
    elif wanted is float:
        if not isinstance(value, float | int) or isinstance(value, bool):
            yield f"{place}: {value!r} is no number"
    elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        yield f"{place}: {value!r} is no {getattr(wanted, '__name__', wanted)}"
