"""Black-box linearizability of one register per key (Wing and Gong's search with Lowe's memory of configurations). It looks at nothing but calls and answers.

Within the step limit the verdict is `ok` or `bad`; beyond it `unknown`, which is never a pass. Keep histories to some eight clients and some hundred operations a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scrubjay.sim.checkers.history import FOREVER, HistoryOperation, Kind

STEPS_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Linearity:
    """outcome: ok | bad | unknown. key: the first key that is bad or unknown. steps: configurations visited in all."""

    outcome: str
    steps: int
    key: int | None = None


def check_linear(operations: Sequence[HistoryOperation], *, steps_max: int = STEPS_MAX) -> Linearity:
    """Judge each key by itself (linearizability is local). Keys start absent (None)."""
    by_key: dict[int, list[HistoryOperation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    steps, unknown = 0, None
    for key in sorted(by_key):
        outcome, used = _check_key(by_key[key], steps_max)
        steps += used
        if outcome == "bad":
            return Linearity("bad", steps, key)
        if outcome == "unknown" and unknown is None:
            unknown = key
    return Linearity("ok" if unknown is None else "unknown", steps, unknown)


def _apply(state: int | None, one: HistoryOperation) -> tuple[bool, int | None]:
    """(possible, state after)."""
    if one.kind is Kind.WRITE:
        return True, one.value
    if one.kind is Kind.READ:
        return state == one.value, state
    if one.ok is True:
        return state == one.expected, one.value
    if one.ok is False:
        return state != one.expected, state
    return True, one.value if state == one.expected else state


def _check_key(operations: list[HistoryOperation], steps_max: int) -> tuple[str, int]:
    # A read without an answer says nothing; a weak one promises nothing about time.
    history = [one for one in operations if (one.answered or one.kind is not Kind.READ) and one.kind is not Kind.WEAK]
    history.sort(key=lambda one: (one.start, one.end, one.id))
    count = len(history)
    must = sum([1 << place for place, one in enumerate(history) if one.answered])
    starts = [one.start for one in history]
    ends = [one.end for one in history]
    seen: dict[tuple[int, int | None], None] = {(0, None): None}
    stack: list[tuple[int, int | None]] = [(0, None)]
    steps = 0
    while stack:
        done, state = stack.pop()
        if done & must == must:
            return "ok", steps
        # Only what began before the first answer among the remaining operations may come next.
        first_end = FOREVER
        place = ((done + 1) & ~done).bit_length() - 1
        candidates = []
        while place < count and starts[place] <= first_end:
            if not done >> place & 1:
                candidates.append(place)
                first_end = min(first_end, ends[place])
            place += 1
        for candidate in reversed(candidates):
            if starts[candidate] > first_end:
                continue
            steps += 1
            if steps > steps_max:
                return "unknown", steps
            possible, after = _apply(state, history[candidate])
            if possible:
                configuration = (done | 1 << candidate, after)
                if configuration not in seen:
                    seen[configuration] = None
                    stack.append(configuration)
    return "bad", steps
