"""Which member of its node a folder is: a higher incarnation takes the seat, a lower one never comes back, and starts are counted above those of the member before."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Unsafe
from scrubjay.base.ids import ClusterId, NodeName
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.world import World
from scrubjay.storage.node.identity import Members, first_start, identify, identity_in, renew

CLUSTER = ClusterId("00000000-0000-4000-8000-00000000000c")
N1 = NodeName("n1")


def disks(count: int) -> list[SimDisk]:
    world = World(1)
    made = [SimDisk(world, f"disk {number}", capacity=1 << 20) for number in range(count)]
    for disk in made:
        disk.attach(Life(world))
    return made


def admit(members: Members, disk: SimDisk) -> tuple[int, bool]:
    identity, joins = members.admit(disk, node=N1, number=1, mint="minted", now_us=1)
    return identity.incarnation, joins


def test_starts_of_a_member_are_above_all_of_the_one_before() -> None:
    assert [first_start(starts, incarnation) for starts, incarnation in ((0, 1), (7, 1), (0, 2), (1 << 16 | 1, 2), (0, 3))] == [
        1,
        8,
        (1 << 16) + 1,
        (1 << 16) + 2,
        (2 << 16) + 1,
    ]


def test_the_folder_that_was_made_a_member_takes_the_seat_and_joins_and_the_one_before_stays_out() -> None:
    home, old, new = disks(3)
    members = Members(home, CLUSTER)
    assert admit(members, old) == (1, True)
    members.booted(N1, 9)
    members.joined(N1)
    with pytest.raises(Unsafe, match="emptied or replaced"):
        admit(members, new)
    identity = identify(new, cluster_id=CLUSTER, node=N1, number=1, mint="another", now_us=5)
    assert identity is not None
    assert (identity.id, identity.incarnation) == ("another", 1)
    with pytest.raises(Unsafe, match="not the one that joined"):
        admit(members, new)
    renew(new, identity, 2)
    assert admit(members, new) == (2, True)
    assert (members.seats[N1].id, members.seats[N1].boots, members.seats[N1].joined) == ("another", 0, False)
    with pytest.raises(Unsafe, match="not the one that joined"):
        admit(members, old)
    again = Members(home, CLUSTER)
    with pytest.raises(Unsafe, match="not the one that joined"):
        admit(again, old)


def test_a_folder_gets_one_identity_and_none_where_a_log_lies() -> None:
    empty, half = disks(2)
    first = identify(empty, cluster_id=CLUSTER, node=N1, number=1, mint="one", now_us=1)
    assert identify(empty, cluster_id=CLUSTER, node=N1, number=1, mint="two", now_us=2) == first == identity_in(empty)
    half.mkdir("wal")
    half.write_file("wal/0000000000000001.wal", b"x")
    assert identify(half, cluster_id=CLUSTER, node=N1, number=1, mint="one", now_us=1) is None
    assert identity_in(half) is None, "half a disk is no empty one"


def test_another_process_knows_a_member_by_its_higher_incarnation_alone() -> None:
    (home,) = disks(1)
    members = Members(home, CLUSTER)
    members.meet(N1, id_="old", incarnation=1, boots=70, reserved=5)
    members.meet(N1, id_="new", incarnation=2, boots=1 << 16, reserved=0)
    for id_, incarnation in (("old", 1), ("other", 2)):
        with pytest.raises(Unsafe, match="not the one that joined"):
            members.meet(N1, id_=id_, incarnation=incarnation, boots=1 << 20, reserved=1 << 40)
    assert (members.seats[N1].id, members.seats[N1].incarnation) == ("new", 2)
