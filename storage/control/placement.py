"""Where copies go: each partition has one on COPIES nodes, in as many zones as there are, on those that hold least. Pure (ADR 0077)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from scrubjay.base.ids import Member
from scrubjay.storage.catalogue import TableMeta, index_tables

COPIES = 3
"""Of each partition."""


class Site(NamedTuple):
    """A node on which a copy may be placed. zone: what fails together with it. up: it can be told so now."""

    member: Member
    zone: str
    up: bool


def loads(tables: Iterable[TableMeta]) -> dict[int, int]:
    """How many copies each node has, by its number; those of dropped tables are on their way out."""
    found: dict[int, int] = {}
    for table in tables:
        if table.status in ("DELETING", "DROPPED"):
            continue
        for one in (table, *index_tables(table)):
            for info in one.partitions:
                for number in info.nodes:
                    found[number] = found.get(number, 0) + 1
    return found


def next_site(sites: Sequence[Site], taken: Collection[Site], load: Mapping[int, int]) -> Site | None:
    """The one that takes the next copy of a partition, beside those that have one; None: nobody is left. A zone of its own comes first, then who is up, then who holds least."""
    zones = [site.zone for site in taken]
    free = [site for site in sites if site.member.node not in [one.member.node for one in taken]]
    return min(free, key=lambda site: (zones.count(site.zone), not site.up, load.get(site.member.node, 0), site.member), default=None)


def place(sites: Sequence[Site], load: Mapping[int, int]) -> tuple[Member, ...]:
    """The members of a new partition, by number: COPIES of them, or as many as there are."""
    taken: list[Site] = []
    while len(taken) < COPIES and (site := next_site(sites, taken, load)) is not None:
        taken.append(site)
    return tuple(sorted([site.member for site in taken]))


def zones_kept(before: Iterable[Site], after: Iterable[Site]) -> bool:
    """A partition would be in no fewer zones than it is, or in as many as it has copies: while one is on its way, it is in one more."""
    return len({site.zone for site in after}) >= min(COPIES, len({site.zone for site in before}))
