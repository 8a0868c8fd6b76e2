"""A quorum that is lost for good: groups go on from the one voter that is left, of the real classes, over an archive; and nothing of the former membership ever speaks again (ADR 0084)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.identity import encode_epoch
from scrubjay.archiver.format.layout import ClosedKey, EpochKey, SegmentKey, build, parse
from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.read.formers import formers
from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import Ballot, Lsn, Member, NodeName, PartitionId, uuid_bytes
from scrubjay.scrubber.healer import Healer
from scrubjay.scrubber.ledger import SCRUB, PartitionProof
from scrubjay.server import lost_quorum
from scrubjay.server.cluster_status import voters_up
from scrubjay.server.cut_histories import Recoveries, cuts_of
from scrubjay.server.former_watch import FormerWatch
from scrubjay.server.lost_quorum import LOST, QUORUM, REFUSED, QuorumPlan, Survivor, plan_recovery, recover_quorum
from scrubjay.server.relocating import Relocating
from scrubjay.server.replacing import Replacing
from scrubjay.sim.events import Life
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.btree.memory_engine import MemoryTree, MemoryTrees
from scrubjay.storage.catalogue import REMOVED
from scrubjay.storage.log import record as records
from scrubjay.storage.node.identity import identity_in
from scrubjay.storage.replica.state import BornExtra
from scrubjay.storage.wal.port import Append
from scrubjay.storage.wal.wal import Wal
from tests.unit.control.house import House

N1, N2, N3 = (NodeName(f"n{number}") for number in (1, 2, 3))
GONE = {N2: 2, N3: 3}


class _Look:
    """A tree of a node that does not run, as the storage worker left it."""

    def __init__(self, trees: MemoryTrees, partition: PartitionId) -> None:
        self._tree = MemoryTree(None, partition, trees.trees[partition])  # type: ignore[arg-type]
        self.state = self._tree.state

    def range(self, start: bytes, end: bytes | None) -> Any:
        return self._tree.range(start, end)

    def close(self) -> None:
        return


class Wreck:
    """A cluster of which n1 alone is left, and does not run."""

    def __init__(self, *, spares: int = 0) -> None:
        house = self.house = House(storage=replace(STORAGE, keep_log_us=3_600_000_000), spares=spares)
        self.table = house.create("t")
        self.partition = self.table.partitions[0].partition_id

    def host(self, name: NodeName) -> Any:
        return next(host for host in self.house.cluster.hosts if host.name == name)

    def fill(self, first: int, end: int) -> None:
        for key in range(first, end):
            self.house.put(self.table, key, key)

    def archived(self) -> None:
        """Until all that was written is in the archive, twice attested."""
        replica = self.host(N1).process.node.replicas[self.partition]
        self.house.until(lambda: replica.segments.facts.archived >= replica.segments.facts.last_content > 0)

    def lose(self, *names: NodeName, wiped: bool = True) -> None:
        for name in names:
            self.host(name).crash(power=True)
            if wiped:
                self.wipe(name)

    def wipe(self, name: NodeName) -> None:
        self.host(name).disk.attach(Life(self.house.world))
        self.host(name).disk.wipe()
        self.house.cluster.trees[name] = MemoryTrees()

    def wreck(self) -> None:
        """All die at once; two of them for good."""
        self.house.cluster.control.crash(power=True)
        self.lose(N2, N3)
        if self.host(N1).up:
            self.host(N1).crash(power=True)

    def survivor(self) -> Survivor:
        disk = self.host(N1).disk
        disk.attach(Life(self.house.world))
        identity = identity_in(disk)
        assert identity is not None
        wal, recovered = Wal.open(disk, "wal", file_size=1 << 15, limit_bytes=64 << 20, reserve_bytes=1 << 15)
        trees = self.house.cluster.trees[N1]
        return Survivor(
            N1, 1, identity.id, identity.incarnation, wal, recovered, lambda partition: _Look(trees, partition), lambda _: False
        )

    def plan(self, survivor: Survivor, lost: Any = None) -> QuorumPlan:
        cluster = self.house.cluster
        return self.house.run(
            plan_recovery(
                self.house.env, self.house.client(), survivor, cluster.system, cluster=CLUSTER, members=cluster.members, lost=lost or GONE
            )
        )

    def recover(self) -> QuorumPlan:
        survivor = self.survivor()
        plan = self.plan(survivor)
        self.house.run(recover_quorum(self.house.env, self.house.client(), survivor, plan, members=self.house.cluster.members))
        survivor.wal.close()
        return plan

    def up(self) -> None:
        """n1, and whoever works for the cluster, start again."""
        house = self.house
        self.host(N1).start()
        house.cluster.control.start()
        house.run(house.cluster.up())
        house._reads_the_archive()
        house.cluster.claim(house.client(), house.writer)
        self.table = house.table("t")

    def rows(self) -> dict[bytes, int | None]:
        return self.house.rows(self.table)

    def last(self, name: NodeName) -> int:
        return int(self.host(name).process.node.replicas[self.partition].group.last)

    def archive_ends(self) -> int:
        names = [key for key in map(parse, self.house.cluster.archive.objects) if isinstance(key, SegmentKey) and key.manifest]
        return max(key.last for key in names if key.partition == self.partition)


def behind() -> Wreck:
    """n1 was down while the others wrote and archived; then those were lost."""
    wreck = Wreck()
    wreck.fill(0, 20)
    wreck.archived()
    wreck.lose(N1, wiped=False)
    wreck.fill(20, 40)
    house = wreck.house
    replica = wreck.host(N2).process.node.replicas[wreck.partition]
    house.until(lambda: replica.segments.facts.archived >= replica.segments.facts.last_content > 0)
    house.pass_time(12)
    wreck.wreck()
    return wreck


def expected(end: int) -> dict[bytes, int | None]:
    return {key_of(key): key for key in range(end)}


def test_the_one_that_is_left_goes_on_with_all_that_it_had() -> None:
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 30)
    wreck.archived()
    wreck.fill(30, 40)
    wreck.wreck()
    plan = wreck.recover()
    assert [(group.standing, group.takes) for group in plan.groups] == [(LOST, 0), (LOST, 0)]
    assert [one.node for one in plan.lost] == [N2, N3]
    wreck.up()
    assert wreck.rows() == expected(40)
    house.put(wreck.table, 40, 40)
    nodes = house.cluster.metadata.nodes
    assert {name: nodes[name].state for name in (N2, N3)} == {N2: REMOVED, N3: REMOVED}
    told = cuts_of(house.cluster.metadata.jobs)
    note, cut = told[wreck.partition]
    assert (note.survivor, note.nodes, cut.over_us, cut.last) == (N1, (N2, N3), None, plan.groups[1].ends)


def test_what_the_archive_has_and_the_survivor_lacks_is_taken_from_there() -> None:
    wreck = behind()
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    group = plan.groups[1]
    assert group.takes > 20
    assert group.ends >= wreck.archive_ends() == group.archived
    wreck.house.run(recover_quorum(wreck.house.env, wreck.house.client(), survivor, plan, members=wreck.house.cluster.members))
    survivor.wal.close()
    wreck.up()
    assert wreck.rows() == expected(40)


def test_it_is_refused_where_the_archive_lacks_what_it_names() -> None:
    """New records would take LSNs that the archive has given away already."""
    wreck = behind()
    objects = wreck.house.cluster.archive.objects
    ends = wreck.archive_ends()
    gone = [
        key
        for key in objects
        if isinstance(name := parse(key), SegmentKey) and name.partition == wreck.partition and name.last == ends and not name.manifest
    ]
    for key in gone:
        del objects[key]
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    assert (plan.groups[1].standing, "does not have them" in plan.groups[1].why) == (REFUSED, True), plan.groups[1]
    with pytest.raises(Unsafe, match="cannot be recovered from this node"):
        wreck.house.run(recover_quorum(wreck.house.env, wreck.house.client(), survivor, plan, members=wreck.house.cluster.members))
    assert wreck.house.run(formers(wreck.house.client(), CLUSTER)) == [], "nothing was changed"
    assert survivor.wal.queued == 0


def test_another_history_in_the_archive_is_refused() -> None:
    """The survivor's tail was never chosen, and the archive has what was chosen in its place."""
    wreck = behind()
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    log = plan.groups[1].log
    assert log is not None
    owner = records.owner_tag(uuid_bytes(wreck.partition))
    other = records.encode(owner=owner, lsn=log.last + 1, stamp=plan.groups[1].newest, kind=records.RecordKind.NOOP, payload=b"")
    survivor.wal.queue(Append(wreck.partition, log.accepted, (other,), staged=False))
    done: list[Any] = []
    survivor.wal.commit(done.append)
    wreck.house.until(lambda: bool(done))
    survivor.wal.close()
    again = wreck.plan(wreck.survivor()).groups[1]
    assert (again.standing, "another history" in again.why) == (REFUSED, True), again


def test_asked_again_nothing_is_left_to_be_done() -> None:
    wreck = Wreck()
    wreck.fill(0, 10)
    wreck.wreck()
    wreck.recover()
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    assert [group.standing for group in plan.groups] == [QUORUM, QUORUM]
    assert (
        wreck.house.run(recover_quorum(wreck.house.env, wreck.house.client(), survivor, plan, members=wreck.house.cluster.members)) is None
    )
    survivor.wal.close()
    assert len(wreck.house.run(formers(wreck.house.client(), CLUSTER))) == 1


@pytest.mark.parametrize("died", ["the archive was told", "the list of members was written", "records were taken", "nothing was synced"])
def test_killed_at_any_step_the_same_command_goes_on(died: str) -> None:
    wreck = behind()
    house = wreck.house
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    if died == "the archive was told":
        house.run(lost_quorum._put_former(house.env, house.client(), plan))
    elif died == "nothing was synced":
        wal = survivor.wal
        wal.commit = lambda done: done(Unavailable("killed")) or True  # type: ignore[method-assign,func-returns-value]
        with pytest.raises(Unavailable):
            house.run(recover_quorum(house.env, house.client(), survivor, plan, members=house.cluster.members))
    else:
        house.run(lost_quorum._put_former(house.env, house.client(), plan))
        house.cluster.members.cut_off({NodeName(one.node): one.incarnation for one in plan.lost})
        if died == "records were taken":
            house.run(lost_quorum._take(house.env, survivor, ListedLog(house.client(), CLUSTER, house.env.tasks), plan.groups[1]))
    wreck.recover()
    found = house.run(formers(house.client(), CLUSTER))
    assert {one.members for one in found} == {plan.lost}, "whose folders they were is not forgotten on the way"
    wreck.up()
    assert wreck.rows() == expected(40)


def test_every_new_stamp_lies_above_what_the_lost_nodes_said_is_closed() -> None:
    """A leader that is gone may have said that nothing comes before a time that the survivor's clock has not reached."""
    wreck = behind()
    survivor = wreck.survivor()
    plan = wreck.plan(survivor)
    objects = wreck.house.cluster.archive.objects
    closed = [decode_closed(one.data, where=key) for key, one in objects.items() if isinstance(parse(key), ClosedKey)]
    highest = max(point.closed for one in closed for point in one.points)
    assert plan.above >= highest > max(group.newest for group in plan.groups)
    house, now = wreck.house, wreck.house.env.clock.wall_us
    plan.above = stamp_of(now() + 10_000_000)
    with pytest.raises(Unsafe, match="clock is behind"):
        house.run(recover_quorum(house.env, house.client(), survivor, plan, members=house.cluster.members))
    assert house.run(formers(house.client(), CLUSTER)) == [], "nothing was changed"
    plan.above = stamp_of(now() + 450_000)  # as if those clocks had been ahead
    house.run(recover_quorum(house.env, house.client(), survivor, plan, members=house.cluster.members))
    log = survivor.wal.read(wreck.partition, Lsn(plan.groups[1].ends + 1), Lsn(plan.groups[1].ends + 2))
    assert log[0].stamp > plan.above
    survivor.wal.close()


def test_folders_of_the_former_membership_never_speak_again() -> None:
    """The survivor's list lets none in; the archive keeps two of them, a quorum of what was, from speaking to each other."""
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 10)
    house.cluster.control.crash(power=True)
    identities = {name: identity_in(wreck.host(name).disk) for name in (N2, N3)}
    for name in (N1, N2, N3):
        wreck.host(name).crash(power=True)  # no folder is gone: an operator who is wrong
    wreck.recover()
    for name, identity in identities.items():
        assert identity is not None
        out: list[Unsafe] = []
        watch = FormerWatch(house.env, house.client(), identity, out.append)
        house.run(watch.begin())
        assert ["of a former membership" in str(one) for one in out] == [True]
        with pytest.raises(Unsafe, match="stays out"):
            house.cluster.members.meet(name, id_=identity.id, incarnation=identity.incarnation, boots=99, reserved=1 << 62)
        renewed = msgspec.structs.replace(identity, id="00000000-0000-4000-8000-00000000beef", incarnation=2)
        anew = FormerWatch(house.env, house.client(), renewed, out.append)
        house.run(anew.begin())
        assert (anew.asked, anew.out) == (True, False), "an empty folder that was made the next member may speak"
    for name in (N2, N3):
        wreck.host(name).start()
    wreck.up()
    house.pass_time(20)
    assert set(house.cluster.absent) == {N2, N3}, "their folders are not those that joined"
    assert wreck.rows() == expected(10)


def test_a_store_that_does_not_answer_keeps_no_node_from_starting_and_is_asked_again() -> None:
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 5)
    identity = identity_in(wreck.host(N2).disk)
    assert identity is not None
    wreck.wreck()
    wreck.recover()
    out: list[Unsafe] = []
    house.cluster.archive.faults.down = True
    watch = FormerWatch(house.env, house.client(), identity, out.append)
    house.run(watch.begin())
    assert (out, watch.asked) == ([], False)
    watch.start()
    house.cluster.archive.faults.down = False
    house.until(lambda: bool(out))


def test_others_join_and_the_groups_have_three_copies_again() -> None:
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 30)
    wreck.wreck()
    wreck.recover()
    wreck.up()
    control = house.cluster.parts
    relocating = Relocating(house.env, house.cluster.folders, control, works=lambda: True, log=house.lines.append)
    relocating.start()
    Replacing(house.env, house.cluster.folders, control, works=lambda: True, log=house.lines.append).start()
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()
    for name in (N2, N3):
        wreck.host(name).start()
        house.run(relocating.join(name, lambda _: None))
    house.until(
        lambda: all(voters_up(control, info) == 3 for info in (control.system.partitions[0], wreck.table.partitions[0])), seconds=120
    )
    wreck.host(N1).crash(power=False)
    assert wreck.rows() == expected(30), "the two that joined have it all"


def test_it_is_told_until_a_scrub_has_matched_since() -> None:
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 5)
    wreck.wreck()
    wreck.recover()
    wreck.up()
    metadata = house.cluster.metadata
    recovered = Recoveries(house.env, house.client(), metadata, None, cluster=CLUSTER)  # type: ignore[arg-type]
    note, _ = cuts_of(metadata.jobs)[wreck.partition]

    def proof(partition: str, at_us: int, verdict: str = "match") -> PartitionProof:
        return PartitionProof(partition, "t", SCRUB, at_us, 1, verdict, False, 1, "")

    both = [group.partition for group in note.groups]
    for proofs in (
        [proof(one, note.at_us - 1) for one in both],
        [proof(one, note.at_us + 1) for one in both if one != wreck.partition],
        [proof(one, note.at_us + 1, "mismatch") for one in both],
    ):
        house.run(recovered.settle(proofs))
        assert cuts_of(metadata.jobs)[wreck.partition][1].over_us is None, proofs
    house.run(recovered.settle([proof(one, note.at_us + 1) for one in both]))
    assert [cut.over_us is not None for _, cut in cuts_of(metadata.jobs).values()] == [True, True]


def test_what_the_catalogue_does_not_know_yet_is_learnt_from_the_archive() -> None:
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 5)
    wreck.wreck()
    wreck.recover()
    wreck.up()
    metadata = house.cluster.metadata
    house.run(metadata.put_job("recovered/1", None))
    recovered = Recoveries(house.env, house.client(), metadata, None, cluster=CLUSTER)  # type: ignore[arg-type]
    house.run(recovered._learn())
    assert wreck.partition in cuts_of(metadata.jobs)


def test_who_was_given_up_recovers_nobody() -> None:
    """Two operators, each with a node that the other gave up."""
    wreck = Wreck()
    wreck.fill(0, 5)
    wreck.wreck()
    wreck.recover()
    house = wreck.house
    (former,) = house.run(formers(house.client(), CLUSTER))
    survivor = wreck.survivor()
    lost = former.members[0]
    with pytest.raises(Unsafe, match="of a former membership itself"):
        wreck.plan(survivor._replace(name=N2, number=2, id=lost.id, incarnation=lost.incarnation), {N1: 1, N3: 3})
    survivor.wal.close()


def test_an_epoch_whose_note_was_lost_is_still_ours() -> None:
    """The survivor's metadata lacks the last term's note; without it the archive would call who goes on another cluster."""
    wreck = Wreck()
    house = wreck.house
    wreck.fill(0, 5)
    wreck.wreck()
    owner = "00000000-0000-4000-8000-00000000aaaa"
    epochs = [key.number for key in map(parse, house.cluster.archive.objects) if isinstance(key, EpochKey)]
    claim = build(EpochKey(CLUSTER, max(epochs) + 1))
    house.run(house.client().put(claim, encode_epoch(cluster=CLUSTER, epoch=max(epochs) + 1, owner=owner, created_us=1)))
    wreck.recover()
    wreck.up()
    assert owner in house.cluster.metadata.writer.owners
    house.until(lambda: house.writer.claimed_as is not None and house.writer.claimed_as.epoch == max(epochs) + 2)
    assert house.writer.stopped is None


def test_a_spare_node_takes_copies_by_itself() -> None:
    wreck = Wreck(spares=1)
    house = wreck.house
    control = house.cluster.parts
    relocating = Relocating(house.env, house.cluster.folders, control, works=lambda: True, log=house.lines.append)
    house.run(relocating.join("n4", lambda _: None))
    wreck.fill(0, 20)
    wreck.wreck()
    wreck.recover()
    wreck.up()
    control = house.cluster.parts
    Healer(house.env, house.service, house.references(), interval_s=0.5, log=house.lines.append).start()
    Relocating(house.env, house.cluster.folders, control, works=lambda: True, log=house.lines.append).start()
    house.until(
        lambda: all(voters_up(control, info) == 2 for info in (control.system.partitions[0], house.table("t").partitions[0])), seconds=120
    )
    assert wreck.rows() == expected(20)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("amnesiac", "lost synced bytes"),
        ("damaged", "is damaged"),
        ("log", "keeps the log alone"),
        ("member", "of an earlier member"),
        ("nothing", "nothing of the group"),
        ("tree", "tree is suspect"),
        ("beyond", "beyond the end of its log"),
        ("ended", "its log has ended"),
    ],
)
def test_a_copy_that_is_not_whole_is_refused_by_name(what: str, why: str) -> None:
    wreck = Wreck()
    wreck.fill(0, 5)
    wreck.house.pass_time(3)  # the tree has them
    wreck.wreck()
    survivor = wreck.survivor()
    log = survivor.recovered.replicas[wreck.partition]
    if what == "ended":  # half of a split, or of a drop
        survivor = survivor._replace(look=partial(_ended, survivor.look, wreck.partition))
    changes: dict[str, Any] = {
        "amnesiac": {"vote": "amnesiac", "amnesia": "a test"},
        "damaged": {"damaged": ((Lsn(2), Lsn(3)),)},
        "tree": {"tree": "suspect"},
        "member": {"member": Member(1, 9)},
        "nothing": {"accepted": Ballot(0)},
        "beyond": {"last": Lsn(2)},
    }.get(what, {})
    replicas = {**survivor.recovered.replicas, wreck.partition: log._replace(**changes)}
    keeps = (lambda partition: partition == wreck.partition) if what == "log" else survivor.keeps_log
    plan = wreck.plan(survivor._replace(recovered=survivor.recovered._replace(replicas=replicas), keeps_log=keeps))
    assert (plan.groups[0].standing, plan.groups[1].standing) == (LOST, REFUSED)
    assert why in plan.groups[1].why
    with pytest.raises(Unsafe):
        plan.check()
    survivor.wal.close()


def _ended(look: Callable[[PartitionId], Any], ends: PartitionId, partition: PartitionId) -> Any:
    """A tree in which the last SEAL of that partition is applied."""
    tree = look(partition)
    if partition == ends:
        extra = msgspec.msgpack.decode(tree.state.extra, type=BornExtra)
        ended = msgspec.structs.replace(extra, segments=msgspec.structs.replace(extra.segments, ended=5))
        tree.state = tree.state._replace(extra=msgspec.msgpack.encode(ended))
    return tree


def test_a_node_without_a_copy_of_the_metadata_group_is_none_to_go_on_from() -> None:
    wreck = Wreck()
    wreck.fill(0, 5)
    wreck.wreck()
    survivor = wreck.survivor()
    replicas = {wreck.partition: survivor.recovered.replicas[wreck.partition]}
    with pytest.raises(Unsafe, match="no copy of the metadata group"):
        wreck.plan(survivor._replace(recovered=survivor.recovered._replace(replicas=replicas)))
    survivor.wal.close()
