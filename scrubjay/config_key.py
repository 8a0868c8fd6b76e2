"""How a configuration field is typed by users (`scrubjay.config`)."""

from __future__ import annotations

from dataclasses import dataclass

NO_BOUND = 1 << 62


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """How a field is typed by users. kind: text | switch | count | duration | size | keys | urls | sources | names | nodes | routers. low, high: inclusive bounds of the number.
    open: a text that strangers may read (`scrubjay.secrets_out`); a text that nobody said that of is none."""

    name: str
    kind: str
    doc: str
    low: int = 0
    high: int = NO_BOUND
    open: bool = False
