"""Who may speak for a member: a replaced, emptied, swapped or older disk may not; a log that is gone is amnesia, whatever the tree says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, Exists, ScrubjayError, Unsafe
from scrubjay.base.ids import ClusterId, Lsn, NodeName
from scrubjay.server.node import NOTE_S, keep_noting
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.world import World
from scrubjay.storage.btree.memory_engine import MemoryTrees
from scrubjay.storage.node.identity import IDENTITY_FILE, MEMBERS_FILE, Members
from scrubjay.storage.wal.wal import Wal
from tests.sim.story import Story, tell


def copy_of(story: Story, name: str) -> tuple[Any, Any]:
    """What lies on a node's disk, trees too."""
    disk = story.host(name).disk
    return copy.deepcopy((disk._entries, disk._durable, disk._folders)), copy.deepcopy(story.cluster.trees[NodeName(name)].trees)


def put_back(story: Story, name: str, kept: tuple[Any, Any]) -> None:
    disk = story.host(name).disk
    (disk._entries, disk._durable, disk._folders), story.cluster.trees[NodeName(name)].trees = copy.deepcopy(kept)


def lose_folder(story: Story, name: str) -> None:
    """The disk of a node that is down is replaced by an empty one."""
    story.host(name).disk.wipe()
    story.cluster.trees[NodeName(name)] = MemoryTrees()


async def crash_all(story: Story) -> None:
    for host in story.cluster.hosts:
        host.crash(power=False)
    await story.sleep(0.1)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_replaced_disk_costs_no_acknowledged_write(seed: int) -> None:
    """One disk of three is lost, a second member lags, the third starts late: the write that only the lost disk and the late one hold must not be lost."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        await story.sleep(1.0)
        late = story.leader().node.name
        lost, lag = story.followers()
        net = story.world.net
        for other in (late, lost):
            net.cut_link(lag, other)
            net.cut_link(other, lag)
        await story.must_put(2, 77)
        await crash_all(story)
        net.heal()
        lose_folder(story, lost)
        story.host(lost).start()
        story.host(lag).start()
        await story.sleep(10.0)
        assert isinstance(story.cluster.absent[lost].failed, Unsafe)
        assert "emptied or replaced" in str(story.cluster.absent[lost].failed)
        assert isinstance(await story.get(2), ScrubjayError), "nobody can know"
        story.host(late).start()
        await story.until(lambda: story.cluster.leader(story.partition) is not None)
        assert await story.get(2) == 77
        await story.must_put(3, 3)  # two members go on without it
        assert ("failed", True) in {(state, "stays out" in reason) for _, node, _, state, reason in story.cluster.states if node == lost}

    tell(scene, seed=seed)


def test_a_new_disk_stays_out_at_every_later_start_and_the_old_one_is_welcome() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        host = story.host("n2")
        host.crash(power=False)
        kept = copy_of(story, "n2")
        lose_folder(story, "n2")
        for _ in range(2):
            await story.sleep(0.1)
            host.start()
            await story.sleep(1.0)
            assert story.cluster.absent[NodeName("n2")].failed is not None
            host.crash(power=False)
        put_back(story, "n2", kept)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.until(lambda: story.replica("n2").state == "ok")

    tell(scene)


def test_a_log_that_was_emptied_keeps_its_node_out() -> None:
    """The identity is there, and the tree; what was promised is not."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        host = story.host("n3")
        host.crash(power=False)
        host.disk.attach(Life(story.world))
        host.disk.remove_tree("wal")
        await story.sleep(0.1)
        host.start()
        await story.sleep(1.0)
        assert "its log is gone" in str(story.cluster.absent[NodeName("n3")].failed)
        await story.must_put(2, 2)

    tell(scene)


def test_a_folder_put_back_from_an_older_copy_stays_out() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        host = story.host("n3")
        host.crash(power=False)
        old = copy_of(story, "n3")
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.must_put(1, 1)
        await story.sleep(1.0)
        host.crash(power=False)
        put_back(story, "n3", old)
        await story.sleep(0.1)
        host.start()
        await story.sleep(1.0)
        assert "older than what this member has promised" in str(story.cluster.absent[NodeName("n3")].failed)

    tell(scene)


def test_a_folder_put_back_from_a_copy_of_the_same_life_stays_out() -> None:
    """It has started as often as the cluster knows; but its clock was reserved further since."""

    async def scene(story: Story) -> None:
        await story.begin()
        nodes = [story.node(name) for name in ("n1", "n2", "n3")]
        keep_noting(story.env, story.cluster.members, nodes)
        host = story.host("n3")
        old = copy_of(story, "n3")
        await story.must_put(1, 1)
        await story.sleep(NOTE_S + 2.0)
        host.crash(power=False)
        now = copy_of(story, "n3")
        put_back(story, "n3", old)
        await story.sleep(0.1)
        host.start()
        await story.sleep(1.0)
        failed = story.cluster.absent[NodeName("n3")].failed
        assert isinstance(failed, Unsafe)
        assert "a copy made in the same life" in str(failed)
        assert 5 < failed.fields["seconds_lacking"] < NOTE_S + 5
        host.crash(power=False)
        put_back(story, "n3", now)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        assert await story.get(1) == 1

    tell(scene)


def test_a_log_unknown_to_the_wal_is_made_only_while_its_table_is() -> None:
    """The catalogue says that this member took part; its log of this one partition is gone: amnesia, not a fresh start."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        node = story.node("n2")
        host = story.host("n2")
        node.hosting.forget(story.partition)  # as if a WAL had lost every frame of it, and its tree
        await story.sleep(0.5)
        host.crash(power=False)
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        replica = story.replica("n2")
        await story.sleep(0.5)
        assert (replica.state, replica.group) == ("amnesiac", None)
        assert "its log is gone" in replica.reason
        assert replica.node.failed is None, "the other copies of the node go on"
        assert [one.copy for one in story.cluster.findings if "stays out" in one.detail] == ["n2"]
        await story.must_put(2, 2)
        assert await story.get(2) == 2

    tell(scene)


def test_a_member_that_was_down_when_a_table_was_made_may_begin_its_log_once() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        host = story.host("n3")
        host.crash(power=False)
        late = await story.create("late")
        assert story.table("late").absent == (3,)
        await story.must_put(1, 1, table="late")
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.until(lambda: story.table("late").absent == ())
        await story.until(lambda: story.replica("n3", late).applied >= story.cluster.leader(late).applied)  # type: ignore[union-attr]
        story.node("n3").hosting.forget(late)
        await story.sleep(0.5)
        host.crash(power=False)
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        assert story.replica("n3", late).state == "amnesiac"

    tell(scene)


def test_the_metadata_group_is_no_exception() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        system = story.cluster.system.partitions[0].partition_id
        await story.until(lambda: not story.node("n2").joining)
        story.node("n2").hosting.forget(system)
        await story.sleep(0.5)
        host = story.host("n2")
        host.crash(power=False)
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        assert story.replica("n2", system).state == "amnesiac"

    tell(scene)


@pytest.mark.parametrize("tree", ["kept", "lost", "damaged"])
def test_an_amnesiac_stays_one_whatever_befalls_its_tree(tree: str) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        host = story.host("n2")
        story.replica("n2").amnesia("as recovery says when synced bytes may be lost")
        await story.sleep(1.0)
        for _ in range(2):
            host.crash(power=False)
            if tree == "lost":
                story.cluster.trees[NodeName("n2")].trees.pop(story.partition, None)
            elif tree == "damaged" and story.partition in story.cluster.trees[NodeName("n2")].trees:
                kept = story.cluster.trees[NodeName("n2")].trees[story.partition]
                kept.state = kept.state._replace(extra=b"\xc1")
            await story.sleep(0.1)
            host.start()
            await story.until(lambda: story.partition in story.node("n2").replicas if len(story.cluster.nodes()) == 3 else False)
            await story.until(lambda: story.replica("n2").group is not None)
            replica = story.replica("n2")
            assert replica.group is not None
            assert (replica.state, replica.status.vote, replica.group.state.may_vote, replica.group.state.may_lead) == (
                "amnesiac",
                "amnesiac",
                False,
                False,
            )
        await story.sleep(3.0)
        promised = replica.group.state.promised
        story.host(story.leader().node.name if story.leader().node.name != "n2" else "n1").crash(power=False)
        await story.sleep(8.0)
        assert replica.group.state.promised == promised, "it promises nothing to anybody"
        assert story.cluster.leader(story.partition) is None
        host.crash(power=False)
        host.disk.attach(Life(story.world))
        _, found = Wal.open(host.disk, "wal", file_size=1 << 18, limit_bytes=64 << 20, reserve_bytes=1 << 18)
        assert found.replicas[story.partition].vote == "amnesiac"

    tell(scene)


def test_a_tree_ahead_of_its_log_is_amnesia_unless_a_heal_was_under_way() -> None:
    async def scene(story: Story, healing: bool) -> None:
        await story.begin()
        for key in range(8):
            await story.must_put(key, key)
        await story.sleep(3.0)  # checkpoints
        host = story.host("n2")
        if healing:
            story.replica("n2").keep_tree("healing")
            await story.sleep(0.5)
        host.crash(power=False)
        kept = story.cluster.trees[NodeName("n2")].trees[story.partition]
        kept.state = kept.state._replace(applied=Lsn(kept.state.applied + 1000))
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.until(lambda: story.replica("n2").group is not None)
        replica = story.replica("n2")
        if healing:
            assert replica.status.vote == "votes"
            assert replica.state == "suspect"
        else:
            assert replica.status.vote == "amnesiac"
            assert "beyond the end of its log" in replica.reason

    tell(lambda story: scene(story, False))
    tell(lambda story: scene(story, True))


# ------------------------------------------------------------------ the list of members, by itself


def members_and_disks() -> tuple[Members, SimDisk, SimDisk]:
    world = World(1)
    home, folder = SimDisk(world, "home", capacity=1 << 30), SimDisk(world, "n1", capacity=1 << 30)
    for disk in (home, folder):
        disk.attach(Life(world))
    return Members(home, CLUSTER), home, folder


def admit(members: Members, disk: SimDisk, *, node: str = "n1", number: int = 1, mint: str = "a") -> bool:
    return members.admit(disk, node=NodeName(node), number=number, mint=mint, now_us=1)[1]


def test_a_join_that_is_cut_off_goes_on_and_ends_once() -> None:
    members, home, folder = members_and_disks()
    assert admit(members, folder)
    assert admit(Members(home, CLUSTER), folder, mint="b"), "the identity is not minted anew"
    again = Members(home, CLUSTER)
    again.booted(NodeName("n1"), 3)
    again.joined(NodeName("n1"))
    last = Members(home, CLUSTER)
    assert not admit(last, folder)
    assert (last.seats[NodeName("n1")].id, last.seats[NodeName("n1")].boots) == ("a", 3)
    last.check_log(NodeName("n1"), boots=3, reserved=0)
    with pytest.raises(Unsafe, match="older than what this member has promised"):
        last.check_log(NodeName("n1"), boots=2, reserved=0)


def test_folders_that_may_not_speak() -> None:
    members, home, folder = members_and_disks()
    admit(members, folder)
    with pytest.raises(Unsafe, match="belongs to another node"):
        admit(members, folder, node="n2", number=2)
    world = World(2)
    empty, foreign, twin = [SimDisk(world, name, capacity=1 << 30) for name in "eft"]
    for disk in (empty, foreign, twin):
        disk.attach(Life(world))
    with pytest.raises(Unsafe, match="emptied or replaced"):
        admit(members, empty)
    assert empty.read_file(IDENTITY_FILE) is None, "a node that stays out leaves no trace that could pass for an identity later"
    other = Members(foreign, ClusterId("11111111-0000-4000-8000-000000000000"))
    admit(other, foreign)
    with pytest.raises(Unsafe, match="another cluster"):
        admit(members, foreign)
    with pytest.raises(Unsafe, match="another cluster"):
        Members(foreign, CLUSTER)
    admit(Members(twin, CLUSTER), twin, mint="z")
    with pytest.raises(Unsafe, match="not the one that joined"):
        admit(members, twin)
    folder.write_file(IDENTITY_FILE, b"{")
    with pytest.raises(Corrupt):
        admit(members, folder)
    home.write_file(MEMBERS_FILE, b'{"version": 9}')
    with pytest.raises(Corrupt):
        Members(home, CLUSTER)


def _no_folder() -> SimDisk:
    raise Exists("a file is there", key="n3")


def test_a_lost_list_is_written_anew_from_the_folders_and_lets_nobody_in() -> None:
    members, home, folder = members_and_disks()
    world = World(3)
    emptied = SimDisk(world, "n2", capacity=1 << 30)
    emptied.attach(Life(world))
    folders = {NodeName("n1"): lambda: folder, NodeName("n2"): lambda: emptied, NodeName("n3"): _no_folder}
    assert not members.recall(folders), "a first start has nothing to recall"
    admit(members, folder)
    home.remove(MEMBERS_FILE)
    young = Members(home, CLUSTER)
    assert not young.recall(folders), "it never spoke: there is no log"
    assert admit(young, folder)
    folder.mkdir("wal")
    folder.write_file("wal/some", b"frames")
    home.remove(MEMBERS_FILE)
    again = Members(home, CLUSTER)
    assert again.recall(folders)
    assert not again.recall(folders)
    assert not admit(again, folder), "it has joined"
    with pytest.raises(Unsafe, match="emptied or replaced"):
        admit(again, emptied, node="n2", number=2)


def test_what_a_lost_or_older_list_does_not_know_the_other_folders_do() -> None:
    """A list that is gone, or put back from an older copy, and with it a folder put back from an older copy: the log in it has started less often than its peers saw."""
    members, home, folder = members_and_disks()
    world = World(4)
    peer = SimDisk(world, "n2", capacity=1 << 30)
    peer.attach(Life(world))
    first, second = NodeName("n1"), NodeName("n2")
    disks = {first: folder, second: peer}
    for number, (node, disk) in enumerate(disks.items(), 1):
        assert members.admit(disk, node=node, number=number, mint=node, now_us=1)[1]
        disk.mkdir("wal")
        disk.write_file("wal/some", b"frames")
    for boots in (1, 2):
        for node in disks:
            members.booted(node, boots)
            members.joined(node)
        assert members.copy_to(disks) == []
        if boots == 1:
            old = folder.read_file(MEMBERS_FILE), home.read_file(MEMBERS_FILE)
    members.note({first: 9 << 12})
    members.copy_to({second: peer})
    folder.write_file(MEMBERS_FILE, old[0] or b"")
    folders = {node: lambda disk=disk: disk for node, disk in disks.items()}
    for kept in (None, old[1]):
        home.remove(MEMBERS_FILE)
        if kept is not None:
            home.write_file(MEMBERS_FILE, kept)
        again = Members(home, CLUSTER)
        assert again.recall(folders) == (kept is None)
        assert Members(home, CLUSTER).seats == again.seats, "durably"
        assert not admit(again, folder)
        with pytest.raises(Unsafe, match="older than what this member has promised"):
            again.check_log(first, boots=1, reserved=9 << 12)
        with pytest.raises(Unsafe, match="a copy made in the same life"):
            again.check_log(first, boots=2, reserved=8 << 12)
        again.check_log(first, boots=2, reserved=9 << 12)
        again.check_log(second, boots=2, reserved=0)
    # a copy that is another cluster's, rotten, or of another identity tells nothing
    peer.write_file(MEMBERS_FILE, b"{")
    home.remove(MEMBERS_FILE)
    alone = Members(home, CLUSTER)
    assert alone.recall(folders)
    alone.check_log(first, boots=1, reserved=0)
    emptied = SimDisk(world, "n1", capacity=1 << 30)
    emptied.attach(Life(world))
    with pytest.raises(Unsafe, match="emptied or replaced"):
        alone.admit(emptied, node=first, number=1, mint="new", now_us=1)


def test_a_member_in_another_process_is_known_again_or_stays_out() -> None:
    members, home, folder = members_and_disks()
    peer = NodeName("n2")
    members.meet(peer, id_="b", incarnation=1, boots=1, reserved=5 << 12)
    members.meet(peer, id_="b", incarnation=1, boots=2, reserved=7 << 12)
    again = Members(home, CLUSTER)
    assert (again.seats[peer].boots, again.seats[peer].reserved) == (2, 7 << 12), "durably, before it is heard"
    with pytest.raises(Unsafe, match="not the one that joined"):
        again.meet(peer, id_="new", incarnation=1, boots=0, reserved=0)
    with pytest.raises(Unsafe, match="not the one that joined"):
        again.meet(peer, id_="b", incarnation=0, boots=3, reserved=8 << 12)
    with pytest.raises(Unsafe, match="older than what this member has promised"):
        again.meet(peer, id_="b", incarnation=1, boots=1, reserved=9 << 12)
    with pytest.raises(Unsafe, match="a copy made in the same life"):
        again.meet(peer, id_="b", incarnation=1, boots=2, reserved=6 << 12)
    again.note({peer: 9 << 12})
    with pytest.raises(Unsafe, match="a copy made in the same life"):
        again.meet(peer, id_="b", incarnation=1, boots=2, reserved=7 << 12)
    assert Members(home, CLUSTER).seats == again.seats, "who was refused has changed nothing"
    # The list of this process is lost: what it knew of members in other processes lies in its node's folder too.
    admit(again, folder)
    folder.mkdir("wal")
    folder.write_file("wal/some", b"frames")
    assert again.copy_to({NodeName("n1"): folder}) == []
    home.remove(MEMBERS_FILE)
    anew = Members(home, CLUSTER)
    assert anew.recall({NodeName("n1"): lambda: folder})
    with pytest.raises(Unsafe, match="not the one that joined"):
        anew.meet(peer, id_="new", incarnation=1, boots=0, reserved=0)


def test_what_members_in_other_processes_tell_is_noted() -> None:
    """Until they come again: a folder of theirs, put back from a copy, is behind it."""

    async def scene(story: Story) -> None:
        await story.begin()
        own, other = story.node("n1"), story.host("n3").process.port
        world = World(5)
        home = SimDisk(world, "home", capacity=1 << 30)
        home.attach(Life(world))
        members = Members(home, CLUSTER)
        status = other.status()
        members.meet(NodeName("n3"), id_="c", incarnation=1, boots=status.boots, reserved=status.reserved_us << 12)
        keep_noting(story.env, members, [own], [other])
        await story.sleep(NOTE_S + 2.0)
        noted = members.seats[NodeName("n3")].reserved >> 12
        assert status.reserved_us + 5_000_000 < noted <= other.status().reserved_us

    tell(scene)
