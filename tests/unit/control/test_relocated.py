"""What a node does about a partition whose copies moved: it removes what went elsewhere, on a fresh word alone, and begins no log that it may have lost."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.base.ids import Member, NodeName, PartitionId, TableId, ballot, uuid_bytes
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, with_partition
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.node import Node
from scrubjay.storage.node.port import Forget, Host, HostedHere, NodePort
from scrubjay.storage.node.port_codec import decode_said, encode_request
from scrubjay.storage.node.port_server import NodeServer
from scrubjay.storage.replica import AMNESIAC
from tests.unit.control.house import House

STRANGE = PartitionId("00000000-0000-4000-8000-00000000aaaa")


def a_table(house: House, *, hosts: tuple[int, ...] = (), fresh: tuple[int, ...] = ()) -> TableMeta:
    """One that the catalogue does not know, ACTIVE: nobody but the test tells nodes of it."""
    like = house.create("orders")
    info = PartitionInfo(STRANGE, "0" * 32, "", like.partitions[0].members, (), hosts, fresh)
    return msgspec.structs.replace(like, table_id=TableId("strange"), partitions=(info,), version=5)


def told(house: House, number: int, table: TableMeta, *, only_known: bool = False) -> Node:
    fleet = house.cluster.parts.fleet
    port: NodePort = next(node for node in fleet.ports.values() if node.number == number)
    house.run(fleet.host_on(port, table, only_known=only_known))
    return house.cluster.nodes()[number - 1]


def test_a_copy_that_went_elsewhere_is_removed_on_a_fresh_word_and_on_no_old_one() -> None:
    house = House()
    before = msgspec.structs.replace(a_table(house), status="CREATING")
    node = told(house, 1, before)
    assert node.hosting.known(STRANGE)
    moved = msgspec.structs.replace(before, partitions=(msgspec.structs.replace(before.partitions[0], hosts=(2, 3, 4)),))
    told(house, 1, moved, only_known=True)
    assert node.hosting.known(STRANGE), "what was known last may be older than the copy"
    told(house, 1, moved)
    assert not node.hosting.known(STRANGE)
    told(house, 2, before)
    told(house, 2, moved)
    assert house.cluster.nodes()[1].hosting.known(STRANGE), "who has a copy still keeps it"


def test_an_old_word_that_a_copy_went_elsewhere_does_not_remove_the_one_that_came_back() -> None:
    """Whoever follows the catalogue late tells its node what it read, and whoever works for the cluster has told it more by then."""
    house = House()
    before = msgspec.structs.replace(a_table(house), status="CREATING")
    node = told(house, 1, before)
    (info,) = before.partitions
    went = msgspec.structs.replace(before, version=6, partitions=(msgspec.structs.replace(info, hosts=(2, 3, 4)),))
    came = msgspec.structs.replace(info, hosts=(1, 2, 3, 4), fresh=(1,), again=(Member(1, 2),))
    told(house, 1, msgspec.structs.replace(before, version=7, partitions=(came,)))
    assert node.hosting.members[STRANGE].member == Member(1, 2)
    told(house, 1, went)
    assert node.hosting.members[STRANGE].member == Member(1, 2)
    told(house, 1, msgspec.structs.replace(went, version=8))
    assert not node.hosting.known(STRANGE)


def test_a_word_to_make_a_copy_that_comes_after_the_one_to_remove_it_begins_nothing() -> None:
    """The move was turned back: nobody's catalogue names the copy any more, and nobody would remove it."""
    house = House(spares=1)
    before = a_table(house, hosts=(1, 2, 3))
    (info,) = before.partitions
    coming = msgspec.structs.replace(before, version=6, partitions=(msgspec.structs.replace(info, hosts=(1, 2, 3, 4), fresh=(4,)),))
    back = msgspec.structs.replace(before, version=7)
    node = told(house, 4, back)
    told(house, 4, coming)
    assert not node.hosting.known(STRANGE)
    told(house, 4, msgspec.structs.replace(coming, version=8))
    assert node.hosting.known(STRANGE), "it comes after all"
    told(house, 4, msgspec.structs.replace(before, version=7))
    assert node.hosting.known(STRANGE), "and that word was late"
    # What is forgotten for good, as its table is no more, comes back by no version.
    port = house.cluster.parts.ports[NodeName("n4")]
    house.run(house.cluster.parts.fleet.forget(STRANGE, port))
    told(house, 4, msgspec.structs.replace(coming, version=9))
    assert not node.hosting.known(STRANGE)


def test_a_word_from_elsewhere_begins_nothing_before_the_nodes_own_process_has_read_the_catalogue() -> None:
    """What was forgotten here is remembered for one life; an old word that comes in the next one would begin a log under the id of a member that had one."""
    house = House(spares=1)
    before = a_table(house, hosts=(1, 2, 3))
    (info,) = before.partitions
    coming = msgspec.structs.replace(before, version=6, partitions=(msgspec.structs.replace(info, hosts=(1, 2, 3, 4), fresh=(4,)),))
    node = house.cluster.nodes()[3]
    server = NodeServer(node)
    server.told = False
    said: list[bytes] = []
    server.frame(encode_request(1, 1_000_000, Host(coming, coming.partitions[0])), node.env.clock, said.append)
    assert "not been told yet" in str(decode_said(said.pop()).answer)
    assert not node.hosting.known(STRANGE)
    server.ask(Forget(STRANGE, 7), lambda answer: None)  # as its own process reads it
    server.told = True
    server.frame(encode_request(2, 1_000_000, Host(coming, coming.partitions[0])), node.env.clock, said.append)
    assert decode_said(said.pop()).answer == HostedHere(here=False)
    assert not node.hosting.known(STRANGE)


def test_a_node_without_the_copy_frees_whoever_is_bound_to_a_ballot_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It led, was removed, and its copy is gone: a member that was away heard of none of it, and would promise nobody anything for as long as that node lives."""
    house = House(spares=1)
    node = told(house, 4, a_table(house, hosts=(1, 2, 3)))
    assert not node.hosting.known(STRANGE)
    said: list[tuple[PartitionId, object]] = []
    boxes = node.peers.boxes
    monkeypatch.setattr(boxes, "group", lambda partition, envelopes: said.extend((partition, one) for one in envelopes))
    cluster = consensus.cluster_tag(uuid_bytes(node.cluster_id))

    def hears(owner: Member) -> None:
        question = consensus.Question(ballot(7, owner))
        node.peers.receive(NodeName("n2"), consensus.encode_frame(cluster=cluster, sender=2, groups=[(STRANGE, question)]))

    hears(Member(4, 1))
    assert said == [(STRANGE, Envelope(2, consensus.Resign(ballot(7, Member(4, 1)), 0)))]
    hears(Member(3, 1))
    assert len(said) == 1, "of another's ballot it knows nothing"


def test_a_log_is_begun_where_the_copy_is_fresh_and_nowhere_else() -> None:
    house = House(spares=1)
    table = a_table(house, hosts=(1, 2, 3, 4), fresh=(4,))
    node = told(house, 4, table)
    assert node.hosting.members[STRANGE].status.vote != AMNESIAC
    house.until(lambda: node.hosting.members[STRANGE].logged)
    assert Member(4, 1) == node.hosting.members[STRANGE].member


def test_a_first_member_that_did_not_found_the_group_begins_nothing_that_it_may_have_had() -> None:
    """Its folder was emptied: it is a new node for itself. The catalogue says that it has a copy, and nothing of a fresh one."""
    house = House(spares=1)
    host = next(host for host in house.cluster.hosts if host.name == "n4")
    host.process.node.joining = True
    node = told(house, 4, a_table(house, hosts=(1, 2, 3, 4)))
    assert node.hosting.members[STRANGE].status.vote == AMNESIAC


def test_one_word_of_where_copies_are_does_not_go_over_another() -> None:
    house = House()
    table = a_table(house)
    (info,) = table.partitions
    after, later = (msgspec.structs.replace(info, hosts=hosts) for hosts in ((1, 2, 3, 4), (2, 3, 4)))
    moved = with_partition(table, info, after)
    assert moved is not None
    assert moved.partitions == (after,)
    assert with_partition(moved, info, later) is None
    assert with_partition(table, msgspec.structs.replace(info, partition_id=PartitionId("other")), later) is None
    assert house.run(house.cluster.metadata.put_partition(TableId("nobody's"), info, after)) is False
    system = house.cluster.metadata.system
    assert house.run(house.cluster.metadata.put_partition(system.table_id, after, later)) is False
