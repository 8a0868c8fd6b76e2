"""Who a node is: an identity minted once, when the node joins, that lies in the node's own folder; and the cluster's list of who joined.

`nodes/<node>/identity.json` says whose folder this is. `members.json`, beside it and outside every node's folder, says which identity each member joined
with, and how often it has started. A folder without an identity, or with another one, is a new node whatever name it is started under: it must not take
the place of a member whose promises it does not know. Nor may a member whose log starts fewer times, or reserves its clock less far, than the cluster has
seen: its disk was put back from an older copy, or its log was emptied. Such a node stays out and says why, until the catalogue makes it another member: a higher incarnation of its
node, which no list takes back (ADR 0075).

Where nodes are processes of their own, each process has such a list, of its own node and of every member that it has met: who a member says it is, and how
far its log has come, is compared with it before a word of that member is heard (`Members.meet`).

Every node's folder holds a copy of the list as of the last start, so that losing the list, or putting back an older one, does not forget what each member
had promised.

Order of a first start: the identity is durable, then its seat is (`joined` false), then the node speaks; `joined` turns true once every log that it was
asked to make is durable. Until then it may make logs anew: nobody can have counted on it. (docs/formats/metadata.md)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from scrubjay.base.env import Disk
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.hlc import COUNTER_BITS
from scrubjay.base.ids import ClusterId, NodeName
from scrubjay.base.versioned import decode_versioned
from scrubjay.storage.catalogue import INCARNATION_FIRST

IDENTITY_FILE = "identity.json"
MEMBERS_FILE = "members.json"
FORMER = "former"
"""In the place of an identity: of a member that was cut off. No folder has it."""
STARTS_BITS = 16
"""The starts of a member are counted above all that an earlier one of its node can have had: epochs of grants never come again."""


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
    """id, incarnation: of the identity that joined. joined: its logs are made. boots: how often it is known to have started. reserved: how far its clock is
    known to be reserved, durably in its own log (a stamp); a log that is alive moves it on about every second, idle or not."""

    id: str
    incarnation: int
    joined: bool
    boots: int
    reserved: int = 0


class _Members(msgspec.Struct):
    version: int
    cluster_id: ClusterId
    seats: dict[NodeName, Seat]


def first_start(starts: int, incarnation: int) -> int:
    """The number of this start. starts: that the log knows of."""
    return max(starts, (incarnation - INCARNATION_FIRST) << STARTS_BITS) + 1


class Members:
    """The cluster's list. disk: not one of a node's own."""

    def __init__(self, disk: Disk, cluster_id: ClusterId) -> None:
        """Raises Corrupt if the list cannot be understood (never guessed, never replaced), Unsafe if it is another cluster's."""
        self._disk, self.cluster_id = disk, cluster_id
        data = disk.read_file(MEMBERS_FILE)
        self._known = data is not None
        self.seats: dict[NodeName, Seat] = {}
        if data is not None:
            self.seats = _seats(data, cluster_id)

    def recall(self, folders: Mapping[NodeName, Callable[[], Disk]]) -> bool:
        """Take in what the nodes' folders remember. Call before `admit`. True if the list had to be written anew.

        A list that is there learns from the copies what it does not know of its own members (it was put back from an older one). A list that is gone is
        written anew, strictly: every member that a copy or an identity names has joined, and who has no identity stays out. A first start, with neither list
        nor identities, is none of this. An identity that cannot be read stays out at `admit`.
        """
        found: dict[NodeName, Seat] = {}
        told: list[dict[NodeName, Seat]] = []
        spoke = False
        for node, opened in folders.items():
            with suppress(ScrubjayError):  # a folder that cannot be opened is said, by name, when its node is
                disk = opened()
                copied = disk.read_file(MEMBERS_FILE)
                if copied is not None:
                    with suppress(ScrubjayError):  # another cluster's, or rotten: it tells nothing
                        told.append(_seats(copied, self.cluster_id))
                identity = _read(disk)
                if identity is not None and identity.cluster_id == self.cluster_id and identity.node == node:
                    found[node] = Seat(identity.id, identity.incarnation, joined=True, boots=0)
                    spoke = spoke or _has_log(disk)
        if self.seats or self._known:
            merged = {node: _newest(seat, told, node) for node, seat in self.seats.items()}
            if merged != self.seats:
                self._write(merged)
            return False
        if not spoke:
            return False  # a first start that died before any node spoke
        unknown = Seat("unknown", INCARNATION_FIRST, joined=True, boots=0)
        names = sorted({*folders, *(node for seats in told for node in seats)})  # of members in other processes too
        self._write({node: _newest(_told(told, node) or found.get(node, unknown), told, node) for node in names})
        return True

    def copy_to(self, disks: Mapping[NodeName, Disk]) -> list[NodeName]:
        """Leave a copy of the list in the folders of nodes that started. Returns the nodes whose folder did not take it."""
        refused = []
        for node, disk in disks.items():
            try:
                disk.write_file(MEMBERS_FILE, self._encoded(self.seats))
            except ScrubjayError:
                refused.append(node)
        return refused

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
            _write_identity(disk, identity)
        if identity.cluster_id != self.cluster_id:
            raise Unsafe(
                "its folder belongs to another cluster: it stays out", node=node, cluster=self.cluster_id, found=identity.cluster_id
            )
        if (identity.node, identity.number) != (node, number):
            raise Unsafe("its folder belongs to another node: it stays out", node=node, found=identity.node)
        if seat is None or identity.incarnation > seat.incarnation:
            seat = Seat(identity.id, identity.incarnation, joined=False, boots=0)
            self._put(node, seat)
        if (identity.id, identity.incarnation) != (seat.id, seat.incarnation):
            raise Unsafe("its folder is not the one that joined as this member: it stays out", node=node, member=seat.id, found=identity.id)
        return identity, not seat.joined

    def check_log(self, node: NodeName, *, boots: int, reserved: int) -> None:
        """boots, reserved: how often the node has started and how far its clock is reserved, as its own log knows. Raises Unsafe if the cluster has seen more."""
        seat = self.seats[node]
        if boots < seat.boots:
            what = "its log is gone" if boots == 0 else "its log is older than what this member has promised since"
            raise Unsafe(
                f"{what} (put back from a copy, or emptied): it stays out", node=node, starts_known=seat.boots, starts_in_log=boots
            )
        if reserved < seat.reserved:
            raise Unsafe(
                "its log is older than what this member has promised since (put back from a copy made in the same life): it stays out",
                node=node,
                seconds_lacking=round((seat.reserved - reserved >> COUNTER_BITS) / 1e6, 1),
            )

    def meet(self, node: NodeName, *, id_: str, incarnation: int, boots: int, reserved: int, same_life: bool = False) -> None:
        """A member in another process says who it is, and how far its log has come, before it is heard: what is known of it here decides, and is known from now on.
        same_life: it was let in before in this life of its process. Then its log is the one that was compared, whatever this says: a process that was held up reads what was said meanwhile late,
        and not in the order in which it was said.

        Raises Unsafe if it must stay out: its folder was emptied or replaced, or put back from an older copy.
        """
        seat = self.seats.get(node)
        if seat is None or incarnation > seat.incarnation:  # the catalogue alone gives a higher one, to one folder
            self._put(node, Seat(id_, incarnation, joined=False, boots=boots, reserved=reserved))
            return
        if (id_, incarnation) != (seat.id, seat.incarnation):
            raise Unsafe("its folder is not the one that joined as this member: it stays out", node=node, member=seat.id, found=id_)
        if same_life:
            boots, reserved = max(boots, seat.boots), max(reserved, seat.reserved)
        self.check_log(node, boots=boots, reserved=reserved)
        self._put(node, msgspec.structs.replace(seat, boots=boots, reserved=reserved))

    def booted(self, node: NodeName, boots: int) -> None:
        """The start is durable in the node's log."""
        self._put(node, msgspec.structs.replace(self.seats[node], boots=boots))

    def note(self, reserved: Mapping[NodeName, int]) -> None:
        """The nodes' clocks are reserved this far, durably in their own logs."""
        seats = {node: seat for node, seat in self.seats.items() if reserved.get(node, 0) > seat.reserved}
        if seats:
            self._write({**self.seats, **{node: msgspec.structs.replace(seat, reserved=reserved[node]) for node, seat in seats.items()}})

    def joined(self, node: NodeName) -> None:
        """Every log that the node was asked to make is durable: from now on one that it does not know is lost."""
        if not self.seats[node].joined:
            self._put(node, msgspec.structs.replace(self.seats[node], joined=True))

    def cut_off(self, nodes: Mapping[NodeName, int]) -> None:
        """These members are lost for good, by a person's word: no folder is let in as one of them, the one that it was least of all (ADR 0084). nodes: the highest incarnation known of each.
        Raises DiskFull, Unavailable."""
        seats = {
            node: Seat(FORMER, max(incarnation, known.incarnation if known is not None else 0), joined=True, boots=0)
            for node, incarnation in nodes.items()
            if (known := self.seats.get(node)) is None or known.id != FORMER or known.incarnation < incarnation
        }
        if seats:
            self._write({**self.seats, **seats})

    def _put(self, node: NodeName, seat: Seat) -> None:
        if self.seats.get(node) != seat:
            self._write({**self.seats, node: seat})

    def _write(self, seats: dict[NodeName, Seat]) -> None:
        self._disk.write_file(MEMBERS_FILE, self._encoded(seats))
        self.seats = seats

    def _encoded(self, seats: dict[NodeName, Seat]) -> bytes:
        return msgspec.json.format(msgspec.json.encode(_Members(1, self.cluster_id, seats)), indent=2)


def identity_in(disk: Disk) -> Identity | None:
    """Of the folder at `disk`; None: it never was a node's. Raises Corrupt."""
    return _read(disk)


def identify(disk: Disk, *, cluster_id: ClusterId, node: NodeName, number: int, mint: str, now_us: int) -> Identity | None:
    """The identity of a folder that stays out; one that was never a node's gets one, with which it may be made a member. None: its log is there, and its identity is not. Raises Corrupt, DiskFull."""
    identity = _read(disk)
    if identity is None and not _has_log(disk):
        identity = Identity(1, cluster_id, node, number, INCARNATION_FIRST, mint, now_us)
        disk.mkdir("")
        _write_identity(disk, identity)
    return identity


def renew(disk: Disk, identity: Identity, incarnation: int) -> None:
    """The catalogue has given this folder, in which no member ever spoke, that incarnation: it is that member from its next start on. Raises DiskFull."""
    assert incarnation > identity.incarnation
    _write_identity(disk, msgspec.structs.replace(identity, incarnation=incarnation))


def _write_identity(disk: Disk, identity: Identity) -> None:
    disk.write_file(IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(identity), indent=2))


def _seats(data: bytes, cluster_id: ClusterId) -> dict[NodeName, Seat]:
    found = decode_versioned(data, _Members, version=1, what="the list of members", name=MEMBERS_FILE)
    if found.cluster_id != cluster_id:
        raise Unsafe("the list of members is another cluster's", what=MEMBERS_FILE, expected=cluster_id, found=found.cluster_id)
    return found.seats


def _told(copies: Sequence[Mapping[NodeName, Seat]], node: NodeName) -> Seat | None:
    """The seat of `node` as the copy that knows most of its starts has it."""
    return max((seats[node] for seats in copies if node in seats), key=lambda seat: seat.boots, default=None)


def _newest(seat: Seat, copies: Sequence[Mapping[NodeName, Seat]], node: NodeName) -> Seat:
    """`seat` with the most that any copy knows of the same identity."""
    same = [
        one for seats in copies for name, one in seats.items() if name == node and (one.id, one.incarnation) == (seat.id, seat.incarnation)
    ]
    boots, reserved = max([seat.boots, *(one.boots for one in same)]), max([seat.reserved, *(one.reserved for one in same)])
    return msgspec.structs.replace(seat, joined=seat.joined or any(one.joined for one in same), boots=boots, reserved=reserved)


def _has_log(disk: Disk) -> bool:
    return bool(disk.listdir("wal"))


def _read(disk: Disk) -> Identity | None:
    data = disk.read_file(IDENTITY_FILE)
    return None if data is None else decode_versioned(data, Identity, version=1, what="the node's identity", name=IDENTITY_FILE)
