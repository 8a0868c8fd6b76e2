"""How a partition that was split goes on in two (ADR 0078): the children's trees, the logs that begin where the parent's ends, and what a node does that dies on the way. On the real
classes in the simulated world; who asks for it is this test."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp
from scrubjay.sim.whole.commands import key_of, put, value_of
from scrubjay.storage.catalogue import FinalSeal, FormerPartition, KeyAttribute, KeySchema, LocalIndex, SplitIntent
from scrubjay.storage.commands.values import PutCommand, RangeRead, ReadAnswer, WriteAnswer
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.record import RecordKind, Seal
from scrubjay.storage.log.split import decode_born, read_born
from scrubjay.storage.node.archive_source import NodeLogSource
from scrubjay.storage.node.cut_points import CutFinder
from scrubjay.storage.node.errand_messages import FindCut, PrepareSplit, SplitPrepared
from scrubjay.storage.replica import BASE, OPENING, SUSPECT, Replica
from tests.sim.story import Story, tell
from tests.sim.test_split_log import LEFT, RIGHT, SPLIT, log_of

KEYS = 30
SORTED = KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", "S"))


class Division:
    """A split of the story's table, asked for at every node as the control part would."""

    def __init__(self, story: Story, table: str = "t") -> None:
        self.story, self.table = story, table
        parent = story.table(table).partitions[0]
        self.left = replace(parent, partition_id=LEFT, hi=SPLIT.cut.hex())
        self.right = replace(parent, partition_id=RIGHT, lo=SPLIT.cut.hex())
        self.values: dict[int, int] = {}

    async def fill(self, keys: int = KEYS) -> None:
        for key in range(keys):
            await self.put(key, key)

    async def put(self, key: int, value: int) -> None:
        await self.story.must_put(key, value, table=self.table)
        self.values[key] = value

    async def prepare(self, name: str, *, heal: bool = False) -> SplitPrepared:
        request = PrepareSplit(self.story.partition, self.story.table(self.table), SPLIT.id, SPLIT.cut, self.left, self.right, heal)
        return await self.story.node(name).services.splitting.prepare(request, lambda _: None)

    async def prepared(self, name: str) -> None:
        """The trees there follow the parent's log."""
        while (await self.prepare(name)).left > 3:
            await self.story.sleep(0.05)

    async def end(self) -> Lsn:
        """The parent's log ends; at which LSN."""
        sealed: list[Any] = []
        self.story.leader().end_in_split(SPLIT, sealed.append)
        await self.story.until(lambda: sealed)
        return Lsn(sealed[0].lsn)

    async def begun(self, *names: str) -> None:
        for name in names:
            while True:
                try:
                    if (await self.prepare(name)).begun:
                        break
                except Unavailable:
                    pass
                await self.story.sleep(0.05)

    @property
    def names(self) -> list[str]:
        return [host.name for host in self.story.cluster.hosts]

    def children(self) -> list[Replica]:
        return [node.replicas[child] for node in self.story.cluster.nodes() for child in (LEFT, RIGHT)]

    async def led(self) -> tuple[Replica, Replica]:
        found: list[Replica] = []
        for child in (LEFT, RIGHT):
            await self.story.until(lambda child=child: any(one.leads for one in self._copies(child)))  # type: ignore[misc]
            found.append(next(one for one in self._copies(child) if one.leads))
        return found[0], found[1]

    def _copies(self, child: PartitionId) -> list[Replica]:
        return [copy for node in self.story.cluster.nodes() if (copy := node.replicas.get(child)) is not None]

    async def read(self, key: int, leaders: tuple[Replica, Replica]) -> Any:
        leader = leaders[key_of(key) >= SPLIT.cut]
        answer = await self.story.ask(lambda done: leader.read(key_of(key), consistent=True, min_lsn=Lsn(0), done=done))
        return (None if answer.item is None else value_of(answer.item)) if isinstance(answer, ReadAnswer) else answer

    async def judge(self) -> tuple[Replica, Replica]:
        """Both children are led, on every node, and have all rows between them."""
        leaders = await self.led()
        for key, value in self.values.items():
            assert await self.read(key, leaders) == value
        for child in (LEFT, RIGHT):
            copies = [copy for copy in self._copies(child) if copy.group is not None]
            assert len({copy.total() for copy in copies if copy.applied == copies[0].applied}) == 1
        return leaders


def test_two_children_go_on_where_the_parent_ends() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill()
        await story.until(lambda: story.leader().checkpoints.committed > 0)
        node = story.node(story.leader().node.name)
        hashes = sorted(key_of(key)[:16] for key in range(KEYS))
        point = await CutFinder(node).find(FindCut(story.partition), lambda _: None)
        assert hashes[KEYS // 3] < point.cut < hashes[2 * KEYS // 3], "by hand or not, it lies in the middle"
        for name in division.names:
            await division.prepared(name)
        assert all(child.state == BASE and child.group is None for child in division.children()), "nothing of them begins before"
        for key in range(0, KEYS, 2):
            await division.put(key, key + 1000)
        for name in division.names:
            await division.prepared(name)  # refused, if what the log said since did not go into the trees
        parent = story.leader()
        wrote = {key: parent.written_by(key_of(key)) for key in division.values}
        end = await division.end()
        began_us = story.world.now
        await division.led()
        assert story.world.now - began_us < 2_000_000, "without being asked again"
        await division.begun(*division.names)
        leaders = await division.judge()
        total, chain = parent.total(), parent.segments.facts.chain
        born = [decode_born(leader.born) for leader in leaders]
        assert Total(sum(one.total.sum for one in born if one) & MASK, sum(one.total.rows for one in born if one)) == total
        seal = next(record for record in log_of(parent, end) if record.lsn == end)
        for leader, one in zip(leaders, born, strict=True):
            assert one is not None
            assert (one.parent, one.lsn, one.stamp, one.chain) == (story.partition, end, seal.stamp, chain)
            first = log_of(leader, end + 1)[0]
            assert (first.lsn, first.kind) == (end + 1, RecordKind.SCHEMA)
            facts = json.loads(first.payload)
            assert read_born(facts["born"]) == one
            assert "base" not in facts
            assert first.stamp > last_stamp_at(stamp_micros(Stamp(seal.stamp))), "what the parent's end closed stays closed"
        for key, lsn in wrote.items():
            leader = leaders[key_of(key) >= SPLIT.cut]
            assert leader.written_by(key_of(key)) == lsn, "rows keep their LSNs"
            assert leaders[key_of(key) < SPLIT.cut].find(key_of(key)) is None
        for key in division.values:
            leader = leaders[key_of(key) >= SPLIT.cut]
            answer = await story.ask(lambda done, leader=leader, key=key: leader.write(put(key, 7, blind=True), done))  # type: ignore[misc]
            assert isinstance(answer, WriteAnswer)
            assert answer.lsn > end
            division.values[key] = 7
        await division.judge()
        sealed: list[Any] = []
        leaders[0].seal(Seal.STOP, bytes(16), sealed.append)
        await story.until(lambda: sealed)
        own = leaders[0].segments.facts.sealed[0]
        assert (own.statement.first, own.chain_before) == (end + 1, chain), "its chain goes on from the parent's"
        assert all(not copy.checkpoints._holds for copy in (story.replica(name) for name in division.names))
        assert not any(node._disk.exists(f"spool/{child}.split") for node in story.cluster.nodes() for child in (LEFT, RIGHT))

    tell(scene)


def test_rows_of_local_indexes_follow_their_items_into_the_children() -> None:
    def command(number: int, value: int) -> PutCommand:
        keys = {"p": ("S", f"p{number % 10}"), "s": ("S", f"s{number}")}
        item = encode_item({**keys, "v": ("S", str(value))})
        return PutCommand(storage_key(SORTED, keys), encode_item(keys), item, blind=True)

    async def scene(story: Story) -> None:
        await story.begin()
        story.partition = await story.create("indexed", LocalIndex("by value", KeyAttribute("v", "S")), key=SORTED)
        await story.sleep(0.5)
        division = Division(story, "indexed")

        async def write(number: int, value: int) -> None:
            answer = await story.ask(lambda done: story.leader().write(command(number, value), done))
            assert isinstance(answer, WriteAnswer)

        for number in range(KEYS):
            await write(number, number)
        await story.until(lambda: story.leader().checkpoints.committed > 0)
        for name in division.names:
            await division.prepared(name)
        for number in range(0, KEYS, 3):
            await write(number, number + 500)
        parent = story.leader()
        await division.end()
        await division.begun(*division.names)
        leaders = await division.led()
        assert [sum(pair) for pair in zip(*[leader.index_sizes[0] for leader in leaders], strict=True)] == list(parent.index_sizes[0])
        for leader in leaders:
            rows = RangeRead(b"", None, 1000, 1 << 20, reverse=False, consistent=True, index=1, fetch=True)
            found = await story.ask(lambda done, leader=leader, rows=rows: leader.read_range(rows, min_lsn=Lsn(0), done=done))  # type: ignore[misc]
            assert 0 < len(found.rows) == leader.index_sizes[0][0] == leader.total().rows, "each item has its row, and no other item has"

    tell(scene)


@pytest.mark.parametrize("when", ["preparing", "prepared", "ended", "begun"])
def test_a_node_that_dies_on_the_way_begins_again(when: str) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill()
        await story.until(lambda: all(story.replica(name).checkpoints.committed > 0 for name in division.names))
        others = [name for name in division.names if name != story.leader().node.name]
        dies = others[0]
        if when != "preparing":
            await division.prepared(dies)
        else:
            await division.prepare(dies)
        await division.prepared(others[1])
        await division.prepared(story.leader().node.name)
        if when in ("ended", "begun"):
            await division.end()
        if when == "begun":
            await division.begun(dies)
        story.host(dies).crash(power=True)
        if when not in ("ended", "begun"):
            await division.end()
        story.host(dies).start()
        await story.until(
            lambda: any(node.name == dies and node.started and story.partition in node.replicas for node in story.cluster.nodes())
        )
        await division.begun(*division.names)
        await division.judge()
        await story.until(lambda: all(child.status.serves for child in division.children()))

    tell(scene)


@pytest.mark.parametrize("heal", [False, True], ids=["to divide", "nothing here"])
def test_a_child_whose_tree_is_only_being_opened_has_begun(heal: bool) -> None:
    """A node that came again took it for one that waits: it made its log anew below what it had voted for, and stopped by a rule of its own when the tree was there; or it
    loaded what the parent had been over it."""

    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill()
        for name in division.names:
            await division.prepared(name)
        await division.end()
        await division.begun(*division.names)
        leaders = await division.led()
        late = next(name for name in division.names if name != leaders[0].node.name)
        before = story.replica(late, LEFT).applied
        story.host(late).crash(power=False)
        story.host(late).start()
        await story.until(
            lambda: any(node.name == late and node.started and story.partition in node.replicas for node in story.cluster.nodes())
        )
        await story.until(lambda: story.replica(late).status.serves)
        if heal:
            story.node(late).hosting.forget(story.partition)
        assert (await division.prepare(late, heal=heal)).begun
        children = [story.replica(late, child) for child in (LEFT, RIGHT)]
        assert [child.state for child in children] == [OPENING] * 2
        await story.until(lambda: all(child.status.serves for child in children))
        assert children[0].applied >= before
        await story.sleep(3)
        assert all(child.status.serves for child in division.children())
        if not heal:
            await division.judge()

    tell(scene)


def test_a_drop_that_comes_first_leaves_nothing_of_the_children() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(10)
        for name in division.names:
            await division.prepared(name)
        sealed: list[Any] = []
        story.leader().seal(Seal.DROP, bytes(16), sealed.append)
        await story.until(
            lambda: all(division.over for node in story.cluster.nodes() for division in node.services.splitting._under.values())
        )
        assert all(child.group is None and child.tree is None for child in division.children())
        for node in story.cluster.nodes():
            node.hosting.forget(LEFT)
            node.hosting.forget(RIGHT)
            assert LEFT not in node.replicas

    tell(scene)


def test_a_copy_that_rotted_divides_nothing_and_is_healed() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(20)
        bad = story.followers()[0]
        for name in division.names:  # so that half of each tree lies there
            await division.prepared(name)
        story.replica(bad).suspect("of this test")
        with pytest.raises(Unavailable) as refused:
            await division.prepare(bad)
        assert refused.value.fields["heal"] is True
        await division.end()
        await division.begun(*[name for name in division.names if name != bad])
        leaders = await division.judge()
        assert (await division.prepare(bad, heal=True)).begun
        for child in (LEFT, RIGHT):
            copy = story.replica(bad, child)
            assert (copy.behind, copy.state) == (True, SUSPECT), "whoever heals sees that it lacks its tree"
            group = copy.group
            assert group is not None
            assert group.last == 0
        assert all(leader.leads for leader in leaders)
        await story.until(lambda: all(story.replica(bad, child).logged for child in (LEFT, RIGHT)))
        story.host(bad).crash(power=True)
        story.host(bad).start()
        await story.until(lambda: any(node.name == bad and node.started for node in story.cluster.nodes()))
        await division.begun(bad)
        await story.until(lambda: all(story.replica(bad, child).group is not None for child in (LEFT, RIGHT)))
        for child in (LEFT, RIGHT):
            copy = story.replica(bad, child)
            assert (copy.behind, copy.state, copy.status.vote) == (True, SUSPECT, "votes"), (
                "what lies there is no sign of a log that lost something"
            )

    tell(scene)


def test_a_tree_that_comes_too_late_is_none() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(20)
        bad = story.followers()[0]
        for name in division.names:
            if name != bad:
                await division.prepared(name)
        await division.end()
        healing = story.node(bad).services.splitting._healing
        load_rows, loaded = healing.load_rows, list[PartitionId]()

        async def late(replica: Replica, *of: Any) -> Any:
            found = await load_rows(replica, *of)
            loaded.append(replica.partition)
            story.replica(bad).suspect("of this test")
            assert (await division.prepare(bad, heal=True)).begun
            return found

        healing.load_rows = late  # type: ignore[method-assign]
        assert not (await division.prepare(bad)).begun
        await story.sleep(1)
        assert loaded == [LEFT]
        assert [story.replica(bad, child).tree for child in (LEFT, RIGHT)] == [None, None]

    tell(scene)


def test_what_an_earlier_life_made_of_a_child_goes_when_its_log_begins_behind() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(20)
        late = story.followers()[0]
        for name in division.names:
            await division.prepared(name)
        story.host(late).crash(power=True)
        trees = story.cluster.trees[NodeName(late)].trees
        assert {LEFT, RIGHT} <= set(trees)
        await division.end()
        await division.begun(*[name for name in division.names if name != late])
        await division.judge()
        story.host(late).start()
        await story.until(lambda: any(node.name == late and node.started for node in story.cluster.nodes()))
        node = story.node(late)
        former = FormerPartition(
            story.table("t").partitions[0],
            FinalSeal(story.partition, 30, 40, "", "", 0),
            SplitIntent("", story.partition, "", LEFT, RIGHT, 1),
        )
        mapped = replace(story.table("t"), former=(former,))
        for info in (division.left, division.right):
            node.hosting.host(mapped, replace(info, fresh=(node.number,)))
            assert info.partition_id not in trees
            assert story.replica(late, info.partition_id).state == SUSPECT

    tell(scene)


@pytest.mark.slow
def test_a_half_that_is_not_hosted_is_told_to_nobody() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(10)
        for name in division.names:
            await division.prepared(name)
        await division.end()
        await division.begun(*division.names)
        node = story.node(division.names[0])
        source, heard = NodeLogSource(node), list[PartitionId]()
        source.subscribe(lambda partition: heard.append(node.members[partition].partition))
        node.hosting.forget(LEFT)
        source.notify(story.partition)
        assert heard == [story.partition, RIGHT]

    tell(scene)


def test_halves_that_do_not_add_up_begin_nothing() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill(20)
        bad = story.followers()[0]
        for name in division.names:
            await division.prepared(name)
        child = story.replica(bad, LEFT)
        child.follow.digest.add(key_of(next(key for key in range(1000, 2000) if key_of(key) < SPLIT.cut)), 5)
        await division.end()
        await division.begun(*[name for name in division.names if name != bad])
        await division.judge()
        await story.until(lambda: not story.replica(bad).status.serves)
        assert story.replica(bad, LEFT).group is None
        assert story.replica(bad, RIGHT).group is None
        with pytest.raises(Unavailable):
            await division.prepare(bad)

    tell(scene)


def test_a_child_is_archived_behind_its_parents_end() -> None:
    """What lies in the archive of a child rests on all of its parent's log: a scrub that came between them called the rest a hole."""

    async def scene(story: Story) -> None:
        await story.begin()
        division = Division(story)
        await division.fill()
        for name in division.names:
            await division.prepared(name)
        end = await division.end()
        await division.led()
        await division.begun(*division.names)
        leader = (await division.judge())[0]
        sealed: list[Any] = []
        leader.seal(Seal.STOP, bytes(16), sealed.append)
        await story.until(lambda: sealed)
        source, woken = NodeLogSource(leader.node), list[PartitionId]()
        source.subscribe(woken.append)
        assert source.waiting(LEFT).segments == 1, "it is told of as what waits"
        assert source.sealed(LEFT) == []
        parent = leader.node.members[story.partition]
        parent.segments.facts.archived = Lsn(end - 1)
        assert source.sealed(LEFT) == [], "all of it but the last record"
        parent.segments.facts.archived = end
        source.notify(story.partition)
        assert woken == [story.partition, LEFT, RIGHT]
        assert [one.first for one in source.sealed(LEFT)] == [end + 1]

    tell(scene)
