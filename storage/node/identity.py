"""Who a node is: an identity minted once, when the node joins, that lies in the node's own folder; and the cluster's list of who joined.

`nodes/<node>/identity.json` says whose folder this is. `members.json`, beside it and outside every node's folder, says which identity each member joined
with, and how often it has started. A folder without an identity, or with another one, is a new node whatever name it is started under: it must not take
the place of a member whose promises it does not know. Nor may a member whose log starts fewer times than the cluster has seen: its disk was put back from
an older copy, or its log was emptied. Until members can be replaced (CONFIG), such a node stays out and says why.

Order of a first start: the identity is durable, then its seat is (`joined` false), then the node speaks; `joined` turns true once every log that it was
asked to make is durable. Until then it may make logs anew: nobody can have counted on it. (docs/formats/metadata.md)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from base.env import Disk
from base.errors import Corrupt, ScrubjayError, Unsafe
from base.ids import ClusterId, NodeName

IDENTITY_FILE = "identity.json"
MEMBERS_FILE = "members.json"
INCARNATION_FIRST = 1


class Identity(msgspec.Struct, frozen=True):
    """id: a UUID minted for this folder. incarnation: of the member that this node is. minted_at: microseconds."""

    version: int
    cluster_id: ClusterId
    node: NodeName
    number: int
    incarnation: int
    id: str
    minted_at: int


class Seat(msgspec.Struct, frozen=True):
    """id, incarnation: of the identity that joined. joined: its logs are made. boots: how often it is known to have started."""

    id: str
    incarnation: int
    joined: bool
    boots: int


class _Members(msgspec.Struct):
    version: int
    cluster_id: ClusterId
    seats: dict[NodeName, Seat]


class Members:
    """The cluster's list. disk: not one of a node's own."""

    def __init__(self, disk: Disk, cluster_id: ClusterId) -> None:
        """Raises Corrupt if the list cannot be understood (never guessed, never replaced), Unsafe if it is another cluster's."""
        self._disk, self.cluster_id = disk, cluster_id
        data = disk.read_file(MEMBERS_FILE)
        self._known = data is not None
        self.seats: dict[NodeName, Seat] = {}
        if data is not None:
            try:
                found = msgspec.json.decode(data, type=_Members)
            except msgspec.MsgspecError as error:
                raise Corrupt("the list of members cannot be read", what=MEMBERS_FILE, detail=str(error)) from error
            if found.version != 1:
                raise Corrupt("the list of members has an unknown version", what=MEMBERS_FILE, found=found.version)
            if found.cluster_id != cluster_id:
                raise Unsafe("the list of members is another cluster's", what=MEMBERS_FILE, expected=cluster_id, found=found.cluster_id)
            self.seats = found.seats

    def recall(self, folders: Mapping[NodeName, Callable[[], Disk]]) -> bool:
        """A list that is gone is written anew from the folders, strictly: every identity in them has joined, and who has none stays out. Call before `admit`.

        True if that was done. A first start, with neither list nor identities, is none of this. An identity that cannot be read stays out at `admit`.
        """
        if self.seats or self._known:
            return False
        found: dict[NodeName, Seat] = {}
        spoke = False
        for node, opened in folders.items():
            with suppress(ScrubjayError):  # a folder that cannot be opened is said, by name, when its node is
                disk = opened()
                identity = _read(disk)
                if identity is not None and identity.cluster_id == self.cluster_id and identity.node == node:
                    found[node] = Seat(identity.id, identity.incarnation, joined=True, boots=0)
                    spoke = spoke or _has_log(disk)
        if not spoke:
            return False  # a first start that died before any node spoke
        self._write({node: found.get(node, Seat("unknown", INCARNATION_FIRST, joined=True, boots=0)) for node in folders})
        return True

    def admit(self, disk: Disk, *, node: NodeName, number: int, mint: str, now_us: int) -> tuple[Identity, bool]:
        """Who the folder at `disk` says that `node` is, and whether it still joins. A folder that never was a node's gets an identity.

        mint: a fresh UUID. Raises Unsafe if the node must stay out, Corrupt if its identity cannot be read, DiskFull.
        """
        seat = self.seats.get(node)
        identity = _read(disk)
        if identity is None:
            if seat is not None:
                raise Unsafe(
                    "its folder was emptied or replaced: a new node may not take a member's place, it stays out", node=node, member=seat.id
                )
            identity = Identity(1, self.cluster_id, node, number, INCARNATION_FIRST, mint, now_us)
            disk.mkdir("")
            disk.write_file(IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(identity), indent=2))
        if identity.cluster_id != self.cluster_id:
            raise Unsafe(
                "its folder belongs to another cluster: it stays out", node=node, cluster=self.cluster_id, found=identity.cluster_id
            )
        if (identity.node, identity.number) != (node, number):
            raise Unsafe("its folder belongs to another node: it stays out", node=node, found=identity.node)
        if seat is None:
            seat = Seat(identity.id, identity.incarnation, joined=False, boots=0)
            self._put(node, seat)
        if (identity.id, identity.incarnation) != (seat.id, seat.incarnation):
            raise Unsafe("its folder is not the one that joined as this member: it stays out", node=node, member=seat.id, found=identity.id)
        return identity, not seat.joined

    def check_boots(self, node: NodeName, boots: int) -> None:
        """boots: how often the node has started, as its own log knows. Raises Unsafe if the cluster has seen more."""
        seen = self.seats[node].boots
        if boots < seen:
            what = "its log is gone" if boots == 0 else "its log is older than what this member has promised since"
            raise Unsafe(f"{what} (put back from a copy, or emptied): it stays out", node=node, starts_known=seen, starts_in_log=boots)

    def booted(self, node: NodeName, boots: int) -> None:
        """The start is durable in the node's log."""
        self._put(node, msgspec.structs.replace(self.seats[node], boots=boots))

    def joined(self, node: NodeName) -> None:
        """Every log that the node was asked to make is durable: from now on one that it does not know is lost."""
        if not self.seats[node].joined:
            self._put(node, msgspec.structs.replace(self.seats[node], joined=True))

    def _put(self, node: NodeName, seat: Seat) -> None:
        if self.seats.get(node) != seat:
            self._write({**self.seats, node: seat})

    def _write(self, seats: dict[NodeName, Seat]) -> None:
        self._disk.write_file(MEMBERS_FILE, msgspec.json.format(msgspec.json.encode(_Members(1, self.cluster_id, seats)), indent=2))
        self.seats = seats


def _has_log(disk: Disk) -> bool:
    return bool(disk.listdir("wal"))


def _read(disk: Disk) -> Identity | None:
    data = disk.read_file(IDENTITY_FILE)
    if data is None:
        return None
    try:
        identity = msgspec.json.decode(data, type=Identity)
    except msgspec.MsgspecError as error:
        raise Corrupt("the node's identity cannot be read", what=IDENTITY_FILE, detail=str(error)) from error
    if identity.version != 1:
        raise Corrupt("the node's identity has an unknown version", what=IDENTITY_FILE, found=identity.version)
    return identity
