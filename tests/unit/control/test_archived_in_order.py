"""How far the archive has the log: no member lets go of a segment that does not count, though those behind it do."""

from __future__ import annotations

from scrubjay.base.ids import NodeName
from scrubjay.server.node import RunningNode
from scrubjay.sim.world import WorldHost
from scrubjay.storage.archive_port import Attestation, LogSource, SealedSegment
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.record import Seal
from tests.unit.control.house import House


class Silent(House):
    """No agent works: the test says what they would."""

    def __init__(self) -> None:
        self.sources: dict[NodeName, LogSource] = {}
        super().__init__()

    def _start_agent(self, host: WorldHost, life: RunningNode) -> None:
        super()._start_agent(host, life)
        self.agents[host.name].stop()
        self.sources[host.name] = life.source

    def say(self, segment: SealedSegment, *nodes: NodeName, generation: int = 1) -> None:
        """The first of them has uploaded it, the others have read it back."""
        for name in nodes:
            said = Attestation(segment.raw_sha256, generation, read=name != nodes[0])
            self.sources[name].announce(segment.partition, segment.first, segment.last, said)
        self.pass_time(2)

    def archived(self, info: PartitionInfo) -> list[int]:
        return [facts.archived for facts in self.cluster.parts.fleet.facts(info.partition_id)]


def test_what_lies_before_a_segment_that_nobody_has_in_the_archive_is_kept() -> None:
    """One member found the upload bad, another had read it in time and went on: its word for the next segment let go of the log of this one, which nobody could write anew then."""
    house = Silent()
    table = house.create("birds")
    (info,) = table.partitions
    for number in range(3):
        house.put(table, number, number)
        house.run(house.service.seal(info.partition_id, reason=Seal.SCRUB, tag=bytes(16)))
        house.pass_time(1)
    leader = house.cluster.parts.fleet.leader(info.partition_id)
    assert leader is not None
    one, *others = sorted(house.sources, key=lambda name: name != leader.node)
    first, second, *rest = house.sources[one].sealed(info.partition_id)
    before = house.archived(info)
    house.say(second, one, others[0])
    assert house.archived(info) == before, "the first one is nowhere"
    assert house.sources[one].sealed(info.partition_id)[0] == first
    house.sources[others[1]].refute(info.partition_id, first.last, generation=1, object="o", kind="unreadable", reason="a bit flipped")
    house.say(first, one, others[0])
    assert house.archived(info) == before, "what one of them found bad does not count"
    house.say(first, one, others[0], generation=2)
    assert house.archived(info) == [second.last] * 3, "written anew, and with it what waited for it"
    for segment in rest:
        house.say(segment, one, *others)
    assert house.archived(info) == [rest[-1].last] * 3
