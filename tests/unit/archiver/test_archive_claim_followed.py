"""A node writes under the epoch that another process of its cluster claimed, and under no other; a stranger stops the whole cluster."""

from __future__ import annotations

import msgspec

from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.claim_followed import FollowedClaim
from scrubjay.archiver.write.claiming import OWNERS_KEPT
from scrubjay.archiver.write.writer import DIVERGED, FENCED, UNKNOWN, Writer
from scrubjay.base.ids import PartitionId
from scrubjay.storage.catalogue import WriterNotes
from tests.unit.archiver.sample import CLUSTER, Sample, history
from tests.unit.archiver.test_archive_agent import FakeSource
from tests.unit.archiver.test_archive_claiming import OTHER, MemoryBook, OldNotes, World, write


class Follower:
    """A node's process: its view of the notes is `seen`."""

    def __init__(self, world: World, book: MemoryBook, sample: Sample) -> None:
        self.seen = OldNotes(book)
        self.writer = Writer(CLUSTER)
        self.source = FakeSource(1, [sample], leads=True)
        env = world.loop.env()
        self.claim = FollowedClaim(
            env,
            world.store,
            self.writer,
            self.seen,
            lambda: [self.source],
            log=lambda level, line: world.lines.append((level, line)),
        )
        self.agent = ArchiveAgent(env, world.store, self.source, self.writer, options=AgentOptions())
        self.agent.start()
        self.claim.start()


def claimed(world: World, book: MemoryBook) -> None:
    """The process that works claims, as it does at each start, and goes."""
    life = world.life(book, history(segments=1), agent=False).start()
    world.loop.run_for(3)
    life.stop()


def test_a_node_waits_for_the_claim_and_writes_under_it() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    node = Follower(world, book, sample)
    world.loop.run_for(20)
    assert node.writer.state == UNKNOWN
    assert not world.segments()
    assert not world.epochs(), "it claims nothing itself"
    claimed(world, book)
    world.loop.run(node.seen.newest())
    world.loop.run_for(15)
    assert node.writer.attached == world.epochs()[0]
    assert world.segments()


def test_the_next_claim_is_followed_and_takes_nothing_back() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    claimed(world, book)
    node = Follower(world, book, sample)
    world.loop.run_for(15)
    assert node.writer.attached.epoch == 1
    claimed(world, book)
    write(sample)
    node.source.changed(PartitionId(sample.partition))
    world.loop.run_for(30)
    assert node.writer.stopped is None, "whose the new epoch is stands in the notes, though not yet as known here"
    world.loop.run(node.seen.newest())
    world.loop.run_for(5)
    assert node.writer.attached == world.epochs()[1]


def test_a_stranger_stops_the_whole_cluster_durably() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    claimed(world, book)
    node = Follower(world, book, sample)
    world.loop.run_for(15)
    world.foreign(2)
    node.seen.away = True
    world.loop.run_for(60)
    assert node.writer.stopped is None, "nobody is called a stranger by notes that may be old"
    node.seen.away = False
    world.loop.run_for(60)
    assert node.writer.state == FENCED
    assert node.seen.writer.stopped is not None
    assert node.seen.writer.stopped[0] == FENCED
    assert OTHER in node.seen.writer.stopped[1]


def test_what_another_process_found_stops_this_one() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    claimed(world, book)
    node = Follower(world, book, sample)
    world.loop.run_for(15)
    assert node.writer.state == ""
    node.seen.writer = msgspec.structs.replace(book.writer, stopped=(FENCED, "found elsewhere", 7))
    world.loop.run_for(3)
    assert node.writer.state == FENCED
    late = Follower(world, MemoryBook(node.seen.writer), sample)
    world.loop.run_for(3)
    assert late.writer.state == FENCED


def test_a_noted_epoch_whose_owner_is_unknown_is_not_written_under() -> None:
    world, sample = World(), history(segments=1)
    world.foreign(1)
    node = Follower(world, MemoryBook(WriterNotes(owners=("somebody",), epoch=1)), sample)
    world.loop.run_for(30)
    assert node.writer.state == UNKNOWN
    assert not world.segments()


def test_a_node_whose_log_does_not_continue_the_archive_says_so() -> None:
    world, book, sample = World(), MemoryBook(), history(segments=1)
    claimed(world, book)
    first = Follower(world, book, sample)
    world.loop.run_for(15)
    assert world.segments()
    first.claim.stop()
    first.agent.stop()
    other = Follower(world, book, history(seed=77, segments=1))
    world.loop.run_for(15)
    assert other.writer.state == DIVERGED


def test_owners_that_nobody_remembers_any_more_are_no_strangers() -> None:
    """A node that was cut off from the notes while the process that works was started again and again."""
    world, book, sample = World(), MemoryBook(), history(segments=1)
    claimed(world, book)
    node = Follower(world, book, sample)
    world.loop.run_for(15)
    node.seen.away = True
    for _ in range(OWNERS_KEPT + 1):
        claimed(world, book)
    assert world.epochs()[1].owner not in book.writer.owners
    write(sample)
    node.source.changed(PartitionId(sample.partition))
    world.loop.run_for(30)
    node.seen.away = False
    world.loop.run_for(30)
    assert node.writer.stopped is None
    assert node.writer.attached == world.epochs()[-1]
    world.foreign(len(world.epochs()) + 1)
    world.loop.run_for(60)
    assert node.writer.state == FENCED
