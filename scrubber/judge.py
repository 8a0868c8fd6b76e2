"""Who is wrong. The one place where it is decided which copy is wrong, and which may be healed (ADR 0006). Pure.

By majority *and* log, key by key: a copy is outvoted where the reference, rebuilt from the archived log alone, and at least one other copy hold the same
value and no other value has as many holders. Where all copies agree against the reference the archive is wrong; anything else has no majority. Rot in all
three copies at three different keys leaves a majority at each of them, so each copy may be healed though none matches as a whole; a copy is healed from the
reference only if the reference has that majority at every key of the partition at which anything differs.

It does not cover: a fault that all copies and the reference share.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping

from scrubjay.scrubber.evidence import UNREADABLE, Ruling


def who_is_wrong(values: Mapping[str, Hashable], reference: Hashable | None) -> tuple[Ruling, tuple[str, ...]] | None:
    """Who is wrong about one value. values: what each copy holds (UNREADABLE: nothing that checks). reference None: there is none.

    Returns None if all agree, else the ruling and the copies it speaks of (ARCHIVE: none of them).
    """
    readable = {copy: value for copy, value in values.items() if value != UNREADABLE}
    holders: dict[Hashable, int] = {}
    for value in readable.values():
        holders[value] = holders.get(value, 0) + 1
    if reference is None:
        return _among_peers(values, holders)
    wrong = tuple(copy for copy, value in values.items() if value != reference)
    if not wrong:
        return None
    supporters = holders.pop(reference, 0)
    rivals = max(holders.values(), default=0)
    if supporters and supporters + 1 > rivals:
        return Ruling.COPY, wrong
    if not supporters and rivals == len(values) and rivals > 1:
        return Ruling.ARCHIVE, ()
    return Ruling.UNDECIDED, wrong


def _among_peers(values: Mapping[str, Hashable], holders: Mapping[Hashable, int]) -> tuple[Ruling, tuple[str, ...]] | None:
    if len(holders) <= 1 and UNREADABLE not in values.values():
        return None
    best = max(holders.values(), default=0)
    if best * 2 > len(values):
        winner = next(value for value, count in holders.items() if count == best)
        return Ruling.PEERS, tuple(copy for copy, value in values.items() if value != winner)
    return Ruling.UNDECIDED, tuple(values)


def may_heal(rulings: Collection[tuple[Ruling, str]], *, compared: bool) -> frozenset[str]:
    """The copies that may be rebuilt from the reference. rulings: of every key at which anything differs, each with the copy it speaks of.
    compared: there is a reference, and a copy that was compared with it.

    COPY says that another copy holds what the reference holds at that key; where nothing differs every scanned copy does. So nothing is healed while any
    other ruling stands: it speaks against the reference.
    """
    if not compared or any(ruling is not Ruling.COPY for ruling, _ in rulings):
        return frozenset()
    return frozenset(copy for _, copy in rulings)
