"""`former/` objects: whose folders are of a former membership, since a lost quorum was recovered (docs/formats/identity.md, ADR 0084).

Two old folders may be a quorum of the membership that was. Neither knows of the one that is, and who does may be out of reach: the archive is where they find out. Create-once, never deleted: it
also says, for good and to who has nothing but the archive, behind which LSNs acknowledged writes may be lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.fields import Fields
from scrubjay.archiver.format.layout import FormerKey, build

FORMAT = "scrubjay former members"
VERSION = 1
_GROUP = ("table", "partition", "last", "archived")


@dataclass(frozen=True, slots=True)
class FormerMember:
    """A node that was lost. id: of its folder, "": nobody knows it, any with that incarnation or an earlier one. incarnation: the highest known."""

    node: str
    id: str
    incarnation: int

    def names(self, node: str, id_: str, incarnation: int) -> bool:
        """That folder is of this former member."""
        return self.node == node and self.id in ("", id_) and incarnation <= self.incarnation


@dataclass(frozen=True, slots=True)
class CutGroup:
    """last: up to which LSN its history goes on from what was there. archived: up to which the archive had it. Acknowledged writes behind `last` are lost, if there were any."""

    table: str
    partition: str
    last: int
    archived: int


@dataclass(frozen=True, slots=True)
class Former:
    """One recovery. number: from 1 on. survivor: the node whose log the groups go on from. at_us: microseconds since the epoch. members: by name. groups: by partition."""

    cluster: str
    number: int
    survivor: str
    at_us: int
    members: tuple[FormerMember, ...]
    groups: tuple[CutGroup, ...]

    def key(self) -> str:
        return build(FormerKey(self.cluster, self.number))


def encode_former(former: Former) -> bytes:
    return canonical.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "cluster": former.cluster,
            "number": former.number,
            "survivor": former.survivor,
            "at": former.at_us,
            "members": [{"node": one.node, "id": one.id, "incarnation": one.incarnation} for one in former.members],
            "groups": [[one.table, one.partition, one.last, one.archived] for one in former.groups],
        }
    )


def decode_former(data: bytes, *, where: str) -> Former:
    """where: its object key. Raises Corrupt."""
    f = Fields(canonical.decode(data, where=where, format=FORMAT, version=VERSION), what="former members", where=where)
    f.only("format", "version", "cluster", "number", "survivor", "at", "members", "groups")
    members, groups = [], []
    for one in f.items("members"):
        m = Fields(one, what="former members", where=where)
        m.only("node", "id", "incarnation")
        members.append(FormerMember(m.text("node"), m.uuid("id") if m.text("id") else "", m.integer("incarnation", high=0xFFFF)))
    for row in f.items("groups"):
        if not isinstance(row, list) or len(row) != len(_GROUP):
            raise f.bad("groups")
        g = Fields(dict(zip(_GROUP, row, strict=True)), what="former members", where=where)
        groups.append(CutGroup(g.uuid("table"), g.uuid("partition"), g.integer("last"), g.integer("archived")))
    former = Former(f.uuid("cluster"), f.integer("number", low=1), f.text("survivor"), f.integer("at"), tuple(members), tuple(groups))
    f.stands_at(FormerKey(former.cluster, former.number))
    return former
