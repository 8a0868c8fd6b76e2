"""What each key may hold, kept outside the store: the last acknowledged write, or a write whose outcome nobody knows. Nothing else.

Which of two overlapping writes came last only the store decides, and it says so: every acknowledgement names its LSN. The ledger takes the store at its word
there (the witness and the black box check that word against time); what it never takes from the store is that the write is still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Open:
    """A write under way or without an answer. compare: it is a compare-and-set, of `expected`."""

    value: int | None
    compare: bool
    expected: int | None


@dataclass(slots=True)
class _Register:
    """last, at: value and LSN of the acknowledged write with the highest LSN. seen: values read -> lowest LSN at which."""

    last: int | None = None
    at: int = 0
    open: dict[int, _Open] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)


class RegisterLedger:
    """Values are unique over all writes of a key; None is absence. Ids name writes."""

    def __init__(self) -> None:
        self._keys: dict[int, _Register] = {}
        self.acknowledgements = 0

    def _of(self, key: int) -> _Register:
        return self._keys.setdefault(key, _Register())

    def sent(self, key: int, id_: int, value: int | None, *, compare: bool = False, expected: int | None = None) -> None:
        """A write left the client. Until `acknowledged` or `failed` it may take effect at any time, or never."""
        self._of(key).open[id_] = _Open(value, compare, expected)

    def acknowledged(self, key: int, id_: int, lsn: int) -> None:
        """The store answered: done, at `lsn`."""
        register = self._of(key)
        write = register.open.pop(id_)
        self.acknowledgements += 1
        if lsn > register.at:
            register.last, register.at = write.value, lsn

    def failed(self, key: int, id_: int) -> None:
        """The store answered: certainly not done."""
        del self._of(key).open[id_]

    def read(self, key: int, value: int | None, lsn: int) -> None:
        """Somebody read `value` at `lsn`: a write without an answer that was read took effect by then."""
        if value is not None:
            register = self._of(key)
            register.seen[value] = min(lsn, register.seen.get(value, lsn))

    def allowed(self, key: int) -> list[int | None]:
        """What the key may hold now. A compare-and-set without an answer counts only if what it expects may have been there after the last acknowledged write."""
        register = self._keys.get(key)
        if register is None:
            return [None]
        values: list[int | None] = [register.last]
        waiting = [
            one for one in register.open.values() if one.value is None or register.seen.get(one.value, register.at + 1) > register.at
        ]
        moved = True
        while moved:
            moved = False
            for one in list(waiting):
                if not one.compare or one.expected in values:
                    waiting.remove(one)
                    values.append(one.value)
                    moved = True
        return values

    def snapshot(self, keys: Iterable[int]) -> dict[int, list[int | None]]:
        """`allowed` of each key, as of now."""
        return {key: self.allowed(key) for key in keys}

    def check(self, found: Mapping[int, int | None]) -> list[str]:
        """Findings. found: every key that the store shows, with its value; keys left out are absent. Both ways: lacking, different and extra keys."""
        return compare(self.snapshot(self._keys), found)


def compare(allowed: Mapping[int, list[int | None]], found: Mapping[int, int | None]) -> list[str]:
    """Findings. allowed: what each key may hold, [None] for keys not named."""
    findings = []
    for key in sorted({**dict.fromkeys(allowed), **dict.fromkeys(found)}):
        value, may = found.get(key), allowed.get(key, [None])
        if value in may:
            continue
        if key not in allowed or may == [None]:
            findings.append(f"key {key} holds {value} and should not be there")
        else:
            findings.append(f"key {key} {'is absent' if value is None else f'holds {value}'}; acknowledged or possible: {may}")
    return findings
