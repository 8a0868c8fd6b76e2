"""The payload of a CONFIG record: who is a member of a group, of which kind, and whose vote counts (docs/formats/record.md).

A configuration has one place per node. A place that is gone stays, so that no member ever comes back under its id.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Member

CONFIG_HEAD = struct.Struct("<HHI")
CONFIG_PLACE = struct.Struct("<HHBBH")
PLACES_MAX = 1024
"""Places in one configuration. A higher count is damage, refused before any allocation."""


class CopyKind(IntEnum):
    """What a member holds. A log replica votes and never leads."""

    STORAGE = 0
    LOG = 1


class Vote(IntEnum):
    """What its word counts for. GONE: removed; the place keeps its incarnation."""

    VOTES = 0
    LEARNER = 1
    GONE = 2


_KINDS = {int(kind): kind for kind in CopyKind}
_VOTES = {int(vote): vote for vote in Vote}


class MemberPlace(NamedTuple):
    """One member's place."""

    member: Member
    kind: CopyKind
    vote: Vote


class Configuration(NamedTuple):
    """places: by rising node number, one per node. None at all: of a log whose first CONFIG has not come yet."""

    places: tuple[MemberPlace, ...]

    def place(self, node: int) -> MemberPlace | None:
        """The place of that node, gone or not."""
        return next((place for place in self.places if place.member.node == node), None)

    def gone(self, member: Member) -> bool:
        """This member was removed, for good. False of a member that was never named."""
        place = self.place(member.node)
        if place is None:
            return False
        return member.incarnation < place.member.incarnation or (member == place.member and place.vote is Vote.GONE)


def founding(members: tuple[Member, ...], *, logs: tuple[int, ...] = ()) -> Configuration:
    """The configuration of a log that holds no CONFIG: every member votes. logs: nodes that hold a log replica."""
    places = [MemberPlace(member, CopyKind.LOG if member.node in logs else CopyKind.STORAGE, Vote.VOTES) for member in sorted(members)]
    assert len({place.member.node for place in places}) == len(places), "one member a node"
    return Configuration(tuple(places))


def encode_configuration(configuration: Configuration) -> bytes:
    """The payload of a CONFIG record."""
    places = configuration.places
    assert len(places) <= PLACES_MAX
    return CONFIG_HEAD.pack(len(places), 0, 0) + b"".join(
        [CONFIG_PLACE.pack(place.member.node, place.member.incarnation, place.kind, place.vote, 0) for place in places]
    )


def decode_configuration(payload: bytes) -> Configuration:
    """Raises Corrupt if it is malformed, or says what this version does not know."""
    if len(payload) < CONFIG_HEAD.size:
        raise Corrupt("config payload cut short", what="record", found=len(payload))
    count, zero, zero2 = CONFIG_HEAD.unpack_from(payload)
    if zero or zero2 or count > PLACES_MAX or len(payload) != CONFIG_HEAD.size + count * CONFIG_PLACE.size:
        raise Corrupt("config payload malformed", what="record", found=len(payload))
    places: list[MemberPlace] = []
    for at in range(count):
        node, incarnation, kind, vote, reserved = CONFIG_PLACE.unpack_from(payload, CONFIG_HEAD.size + at * CONFIG_PLACE.size)
        if reserved or kind not in _KINDS or vote not in _VOTES or (places and node <= places[-1].member.node):
            raise Corrupt("config payload malformed, or of a later version", what="record", node=node)
        places.append(MemberPlace(Member(node, incarnation), _KINDS[kind], _VOTES[vote]))
    return Configuration(tuple(places))
