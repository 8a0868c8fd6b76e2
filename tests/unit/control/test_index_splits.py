"""A partition of a global index is split, on real nodes in simulated time: its rows stay what the table's items say, whoever feeds it by whichever map (ADR 0087)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.btree.engine import TreeState
from scrubjay.storage.catalogue import (
    GlobalIndex,
    PartitionInfo,
    SplitIntent,
    TableMeta,
    VersionNote,
    coming,
    definition_anew,
    index_table,
    index_tables,
    placed,
)
from scrubjay.storage.cluster_version import SPLITS_INDEXES
from scrubjay.storage.commands.values import FeedCommand, WriteAnswer
from scrubjay.storage.control import by_size
from scrubjay.storage.control.indexing import feeding, proof
from scrubjay.storage.control.indexing import keeper as keeping
from scrubjay.storage.control.indexing.feeding import IndexFeed, fed_of
from scrubjay.storage.control.splits import Splits, _Carried
from scrubjay.storage.indexes.kept_rows import Fed, fed_key, stored
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.node import splitting
from scrubjay.storage.node.splitting import Splitting
from scrubjay.storage.replica import Replica
from tests.unit.control.house import House
from tests.unit.control.test_global_indexes import ATTRIBUTES, BY_COLOUR, BY_NUMBER, Indexed, hosted
from tests.unit.control.test_split_follow import split as split_table


class Split:
    """An indexed table, of whose index partitions are split."""

    def __init__(self, *indexes: GlobalIndex, seed: int = 51, split_size: int = 0) -> None:
        self.house = House(seed, split_size=split_size)
        self.indexed = Indexed(self.house, *indexes)
        self.house.run(self.house.cluster.parts.metadata.put_version(VersionNote(SPLITS_INDEXES)))

    @property
    def splits(self) -> Splits:
        found: Splits | None = self.house.cluster.parts.splits
        assert found is not None
        return found

    def inner(self, name: str) -> TableMeta:
        return index_table(self.indexed.table, self.indexed.index(name))

    def begin(self, name: str, *, number: int = 0) -> None:
        """At the key in the middle of those of one partition."""
        table = self.inner(name)
        info = table.partitions[number]
        lo, hi = bytes.fromhex(info.lo), bytes.fromhex(info.hi) if info.hi else b"\xff" * 17
        keys = sorted({key[:16] for key in self.indexed.wanted(name) if lo < key[:16] < hi})
        self.house.run(self.splits.begin(table, info, keys[len(keys) // 2]))

    def mapped(self, name: str, *, step: Any = None) -> None:
        for _ in range(3_000):
            if self.inner(name).split is msgspec.UNSET:
                return
            if step is not None:
                step()
            self.house.pass_time(0.02)
        raise AssertionError(self.splits.waiting)

    def split(self, name: str, *, number: int = 0, step: Any = None) -> None:
        self.begin(name, number=number)
        self.mapped(name, step=step)

    def feed(self, table: TableMeta, command: FeedCommand) -> Any:
        future = self.house.env.tasks.future()
        self.house.cluster.store.write(table, command, future.set_result)
        return self.house.run(future)

    def fed(self, place: PartitionInfo, source: PartitionId) -> Fed | None:
        return self.house.run(fed_of(self.house.cluster.parts.feeds._parts, self.inner("by-colour"), place, source))

    def insist(self, ask: Any) -> None:
        """Until the catalogue is not changed by who splits at the same time."""
        for _ in range(20):
            try:
                self.house.run(ask())
            except Conflict:
                self.house.pass_time(0.01)
            else:
                return
        raise AssertionError("refused again and again")

    def retired(self, name: str) -> None:
        self.house.until(lambda: self.inner(name).former is msgspec.UNSET and not self.indexed.table.gone)


@pytest.mark.slow
def test_an_index_is_what_its_table_says_through_splits_of_both_and_its_past_goes() -> None:
    split = Split(BY_COLOUR, BY_NUMBER)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    filled = [view.rows for view in house.cluster.parts.feeds.views()]
    parent = split.inner("by-colour").partitions[0].partition_id
    split.split("by-colour", step=lambda: indexed.write(2))
    assert len(split.inner("by-colour").partitions) == 2
    indexed.write(20)
    indexed.agrees()
    split.split("by-number", step=lambda: indexed.write(1))
    split.split("by-number", number=1, step=lambda: indexed.write(1))
    indexed.write(30)
    indexed.agrees()
    assert [view.rows for view in house.cluster.parts.feeds.views()] == filled, "no item was put in anew"
    for name in ("by-colour", "by-number"):
        split.retired(name)
        stats = house.cluster.store.stats(split.inner(name))
        rows = indexed.rows(name)
        assert (stats.rows, stats.bytes) == (len(rows), sum(len(key) + len(item) for key, item in rows.items()))
    split_table(house, "indexed", step=lambda: indexed.write(1))
    indexed.agrees()
    house.until(lambda: parent not in hosted(house))
    assert hosted(house) >= {info.partition_id for name in ("by-colour", "by-number") for info in split.inner(name).partitions}
    assert house.scrub().verdict.value == "match"
    indexed.write(10)
    indexed.agrees()


@pytest.mark.parametrize("late", ["feeds", "table"])
def test_what_was_not_fed_when_both_were_split_is_fed_to_the_right_halves(monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    """Nobody feeds while table and index are split: a new partition of the index begins as far as the one that it came of was fed, and what is left of the parent's log goes to both."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    follow = IndexFeed._follow

    async def no_follow(self: IndexFeed, until: Lsn | None = None) -> bool:
        return False

    monkeypatch.setattr(IndexFeed, "_follow", no_follow)
    indexed.write(10)
    if late == "feeds":
        split_table(house, "indexed", step=lambda: indexed.write(1))
        split.split("by-colour", step=lambda: indexed.write(1))
    else:
        split.split("by-colour", step=lambda: indexed.write(1))
        split_table(house, "indexed", step=lambda: indexed.write(1))
    split.split("by-colour", number=1, step=lambda: indexed.write(1))
    monkeypatch.setattr(IndexFeed, "_follow", follow)
    indexed.write(10)
    indexed.agrees()
    assert sum(view.rows for view in house.cluster.parts.feeds.views()) == 0, "no item was put in anew"
    split.retired("by-colour")


def test_who_feeds_by_an_old_map_is_refused_what_lies_in_both_halves_and_takes_nothing_to_the_wrong_one() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    old = split.inner("by-colour")
    split.split("by-colour")
    left, right = split.inner("by-colour").partitions
    cut = bytes.fromhex(right.lo)
    source = indexed.table.partitions[0].partition_id
    house.until(lambda: split.fed(left, source) is not None and split.fed(right, source) is not None)
    fed = split.fed(left, source)
    assert fed is not None
    low, high = bytes(16) + b"\x01l", cut + b"\x01h"
    rows = {key: stored(bytes(8), fed.lsn + 1, encode_item({"k": ("S", "x")})) for key in (low, high)}
    for keys in ((low, high), (high,)):
        sent = tuple([(fed.lsn + 1, key, rows[key]) for key in keys])
        answer = split.feed(old, FeedCommand(fed_key(bytes(16), source), FeedCommand.CHANGES, fed.lsn, fed.lsn + 1, sent))
        assert isinstance(answer, Unavailable)
        assert answer.fields["split"]
    assert split.fed(left, source) == fed, "nothing of it was taken"
    answer = split.feed(
        old, FeedCommand(fed_key(bytes(16), source), FeedCommand.CHANGES, fed.lsn, fed.lsn + 1, ((fed.lsn + 1, low, rows[low]),))
    )
    assert isinstance(answer, WriteAnswer)
    assert answer.partition == left.partition_id


def test_a_page_of_an_old_feed_is_refused_as_its_changes_are_also_one_read_just_where_the_log_of_what_was_split_ends() -> None:
    """Its backfill by the old map, of a checkpoint at the end of the index's log, before or behind: no half goes past items of its own that only the other was given."""
    split = Split(BY_COLOUR)
    indexed = split.indexed
    indexed.write(30)
    indexed.agrees()
    old = split.inner("by-colour")
    split.split("by-colour")
    left, right = split.inner("by-colour").partitions
    (former,) = split.inner("by-colour").former or ()
    cut, end = bytes.fromhex(right.lo), Lsn(former.final.lsn)
    source = PartitionId("00000000-0000-4000-8000-00000000f00d")  # nobody else feeds it from here
    for place in (left, right):
        split.feed(split.inner("by-colour"), FeedCommand(fed_key(bytes.fromhex(place.lo), source), FeedCommand.BEGIN, 0, 0))
    low, high = bytes(16) + b"\x01l", cut + b"\x01h"
    for lsn in (end - 1, end, end + 1):
        rows = {key: stored(bytes(8), lsn, encode_item({"k": ("S", "x")})) for key in (low, high)}
        for keys in ((low, high), (high,)):
            sent = tuple([(lsn, key, rows[key]) for key in keys])
            page = FeedCommand(fed_key(bytes(16), source), FeedCommand.PAGE, 0, Lsn(lsn), sent, b"", b"next")
            answer = split.feed(old, page)
            assert isinstance(answer, Unavailable)
            assert answer.fields["split"]
        assert [fed.cursor for place in (left, right) if (fed := split.fed(place, source)) is not None] == [b"", b""]
    page = FeedCommand(
        fed_key(bytes(16), source),
        FeedCommand.PAGE,
        0,
        end,
        ((end, low, stored(bytes(8), end, encode_item({"k": ("S", "x")}))),),
        b"",
        b"next",
    )
    answer = split.feed(old, page)
    assert isinstance(answer, WriteAnswer)
    assert answer.partition == left.partition_id
    assert [fed.cursor for place in (left, right) if (fed := split.fed(place, source)) is not None] == [b"next", b""], (
        "the other half is filled by itself"
    )


@pytest.mark.slow
def test_a_backfill_goes_on_where_it_was_when_its_index_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "PAGE_ROWS", 4)
    split = Split()
    house, indexed = split.house, split.indexed
    indexed.write(120, keys=60)
    house.cluster.parts.feeds._parts = house.cluster.parts.feeds._parts._replace(rows_per_second=10)
    house.run(house.cluster.store.create_index("indexed", BY_COLOUR, ATTRIBUTES, {}))
    house.until(lambda: any(20 <= view.rows < 40 for view in house.cluster.parts.feeds.views()))
    split.split("by-colour", step=lambda: indexed.write(1, keys=60))
    assert indexed.index("by-colour").backfilling
    split.split("by-colour", number=1, step=lambda: indexed.write(1, keys=60))
    assert indexed.index("by-colour").backfilling
    indexed.active("by-colour")
    indexed.agrees()
    (view,) = house.cluster.parts.feeds.views()
    assert view.rows <= len(indexed.items) + 2 * feeding.PAGE_ROWS, "it began anew with no half"
    split.retired("by-colour")


@pytest.mark.parametrize("what", ["index", "table"])
@pytest.mark.parametrize("when", ["under way", "just over"])
def test_nothing_is_left_of_an_index_that_goes_while_it_is_split(what: str, when: str) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    split.begin("by-colour")
    if when == "just over":
        split.mapped("by-colour")
    else:
        house.pass_time(0.01)
        assert split.inner("by-colour").split is not msgspec.UNSET
    ids = {info.partition_id for info in placed(split.inner("by-colour"))}
    assert len(ids) == 3
    assert ids <= house.cluster.store.derived()
    if what == "index":
        split.insist(lambda: house.cluster.store.delete_index("indexed", "by-colour"))
        house.until(lambda: not indexed.table.global_indexes and not indexed.table.gone)
    else:
        split.insist(lambda: house.cluster.store.delete_table("indexed"))
        house.until(lambda: house.cluster.store.table("indexed") is None)
    house.until(lambda: not ids & hosted(house))
    house.pass_time(5)
    assert not ids & hosted(house)
    house.until(lambda: not split.splits.waiting)
    house.until(lambda: not [key for key in house.cluster.metadata.jobs if key.startswith("split/")], seconds=10.0)


def test_whoever_dies_meanwhile_the_halves_are_what_the_table_says() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    split.begin("by-colour")
    house.pass_time(0.02)
    house.restart_control(power=True)
    split.mapped("by-colour", step=lambda: indexed.write(1))
    split.begin("by-colour", number=1)
    leader = house.cluster.parts.fleet.leader(split.inner("by-colour").partitions[1].partition_id)
    assert leader is not None
    host = next(host for host in house.cluster.hosts if host.name == leader.node)
    host.crash(power=True)
    house.pass_time(3)
    host.start()
    split.mapped("by-colour", step=lambda: indexed.write(1))
    indexed.write(10)
    indexed.agrees(seconds=200)
    split.retired("by-colour")


def test_a_restore_of_before_and_after_makes_the_index_anew_and_a_rebuilt_index_keeps_its_own_splits() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    split.split("by-colour")
    house.run(house.cluster.parts.keeper.rebuild(indexed.table.table_id, "by-colour", "asked by a test"))
    house.until(lambda: indexed.index("by-colour").next is None, seconds=120)
    assert indexed.index("by-colour").former is msgspec.UNSET
    assert len(split.inner("by-colour").partitions) == 1
    indexed.agrees()
    split.split("by-colour")
    following = definition_anew(indexed.table).global_indexes
    assert following
    assert (following[0].former, following[0].split, following[0].partitions) == (msgspec.UNSET, msgspec.UNSET, ())
    indexed.write(5)
    indexed.agrees()
    house.until(lambda: house.scrub().verdict.value == "match")


def test_an_index_that_was_split_and_of_which_nobody_tells_how_far_it_was_fed_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 16009: a half of it had one copy left. What it had been split from was asked for first, in vain, so the whole one that was built beside it never took its place."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    monkeypatch.setattr(keeping.IndexKeeper, "_retire", _no_retire)
    split.split("by-colour")
    house.until(lambda: all(former.archived_at is not None for former in indexed.index("by-colour").former or ()))
    monkeypatch.undo()
    halves = [info.partition_id for info in indexed.index("by-colour").partitions]
    every = keeping.IndexKeeper._every

    async def silent(self: keeping.IndexKeeper, table: TableMeta, index: GlobalIndex, so: Any) -> bool:
        if [info.partition_id for info in index.partitions] == halves:
            raise Unavailable("no leader for this partition in time")
        return await every(self, table, index, so)

    monkeypatch.setattr(keeping.IndexKeeper, "_every", silent)
    house.run(house.cluster.parts.keeper.rebuild(indexed.table.table_id, "by-colour", "asked by a test"))
    house.until(lambda: indexed.index("by-colour").next is None)
    indexed.agrees()


def test_an_older_release_beside_it_keeps_an_index_whole() -> None:
    house = House(52)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(20)
    splits: Any = house.cluster.parts.splits
    inner = index_table(indexed.table, indexed.index("by-colour"))
    with pytest.raises(Unavailable) as refused:
        house.run(splits.begin(inner, inner.partitions[0], bytes([0x80]) + bytes(15)))
    assert refused.value.fields["why"] == "to split a partition of a global index needs version 8 of the cluster, it has 1"


@pytest.mark.slow
def test_an_index_that_grows_is_split_by_itself_and_the_table_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_size, "APART_US", 5_000_000)
    split = Split(BY_NUMBER, split_size=1_500)
    house, indexed = split.house, split.indexed
    for _ in range(8):
        indexed.write(20, keys=60)
        house.pass_time(5)
    house.until(lambda: min(len(split.inner("by-number").partitions), len(indexed.table.partitions)) > 1)
    indexed.agrees()
    house.until(lambda: house.scrub().verdict.value == "match")


@pytest.mark.slow
def test_what_was_split_is_known_until_all_are_told_how_far_it_was_fed_and_its_log_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    (before,) = split.inner("by-colour").partitions
    fleet, metadata = house.cluster.parts.fleet, house.cluster.parts.metadata
    spread, archived = IndexFeed._spread, fleet.archived

    async def unasked(self: IndexFeed) -> Any:
        raise Unavailable("not now")

    monkeypatch.setattr(IndexFeed, "_spread", unasked)
    monkeypatch.setattr(fleet, "archived", lambda partition: Lsn(0) if partition == before.partition_id else archived(partition))
    split.split("by-colour", step=lambda: indexed.write(1))
    house.pass_time(5)
    assert metadata.place(before.partition_id)[0].index_of
    assert before.partition_id in house.cluster.store.derived()
    (former,) = split.inner("by-colour").former or ()
    assert former.archived_at is None
    monkeypatch.setattr(IndexFeed, "_spread", spread)
    indexed.agrees()
    house.pass_time(2)
    assert split.inner("by-colour").former == (former,), "its log is not settled"
    monkeypatch.setattr(IndexFeed, "_spread", unasked)
    split.split("by-colour", number=1, step=lambda: indexed.write(1))
    monkeypatch.setattr(fleet, "archived", archived)
    house.until(lambda: all(one.archived_at is not None for one in split.inner("by-colour").former or ()))
    house.pass_time(5)
    assert len(split.inner("by-colour").former or ()) == 2, "a half was told by nobody yet how far the other was fed"
    monkeypatch.setattr(IndexFeed, "_spread", spread)
    split.retired("by-colour")
    indexed.write(5)
    indexed.agrees()
    house.until(lambda: before.partition_id not in hosted(house))


@pytest.mark.slow
def test_a_node_that_was_away_meanwhile_has_good_copies_of_the_halves_in_the_end() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    parent = split.inner("by-colour").partitions[0].partition_id
    leader = house.cluster.parts.fleet.leader(parent)
    assert leader is not None
    host = next(host for host in house.cluster.hosts if host.name != leader.node)
    host.crash(power=True)
    house.pass_time(2)
    split.split("by-colour", step=lambda: indexed.write(1))
    assert any(info.fresh for info in split.inner("by-colour").partitions)
    house.pass_time(3)
    assert split.inner("by-colour").former, "a copy of a half may begin its log yet"
    host.start()

    def whole() -> bool:
        index = indexed.index("by-colour")
        copies = [copy for info in index.partitions for copy in house.cluster.parts.fleet.copies(info)]
        return index.next is None and {copy.state for copy in copies} == {"ok"}

    house.until(whole, seconds=200)
    indexed.write(5)
    indexed.agrees()
    split.retired("by-colour")
    house.until(lambda: parent not in hosted(house))


def test_a_node_that_goes_before_it_is_told_forgets_what_was_split_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    parent = split.inner("by-colour").partitions[0].partition_id
    fleet = house.cluster.parts.fleet
    archived = fleet.archived
    monkeypatch.setattr(fleet, "archived", lambda partition: Lsn(0) if partition == parent else archived(partition))
    split.split("by-colour", step=lambda: indexed.write(1))
    house.until(lambda: not any(info.fresh for info in split.inner("by-colour").partitions))
    leaders = {leader.node for info in split.inner("by-colour").partitions if (leader := fleet.leader(info.partition_id)) is not None}
    host = next(host for host in house.cluster.hosts if host.name not in leaders)
    host.crash(power=False)
    monkeypatch.setattr(fleet, "archived", archived)
    house.until(lambda: split.inner("by-colour").former is msgspec.UNSET)
    assert [info.partition_id for info in indexed.table.gone or ()] == [parent]
    host.start()
    house.until(lambda: not indexed.table.gone)
    house.until(lambda: parent not in hosted(house))


def test_one_that_is_built_beside_another_is_split_too_and_keeps_that_when_it_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "PAGE_ROWS", 4)
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(120, keys=60)
    indexed.agrees()
    house.cluster.parts.feeds._parts = house.cluster.parts.feeds._parts._replace(rows_per_second=10)
    house.run(house.cluster.parts.keeper.rebuild(indexed.table.table_id, "by-colour", "asked by a test"))
    house.until(lambda: any(view.backfilling and view.rows for view in house.cluster.parts.feeds.views()))
    house.until(lambda: index_tables(indexed.table)[-1].status == "ACTIVE")
    _, beside = index_tables(indexed.table)
    red = max(indexed.wanted("by-colour"))[:16]
    house.run(split.splits.begin(beside, beside.partitions[0], red))
    house.until(lambda: len(index_tables(indexed.table)[-1].partitions) == 2)
    assert len(index_tables(indexed.table)) == 2, "it does not take the place yet"
    monkeypatch.setattr(keeping.IndexKeeper, "_retire", _no_retire)
    house.until(lambda: indexed.index("by-colour").next is None, seconds=120)
    assert [one.info.partition_id for one in indexed.index("by-colour").former or ()] == [beside.partitions[0].partition_id]
    monkeypatch.undo()
    split.retired("by-colour")
    indexed.agrees()


async def _no_retire(*_: Any) -> None:
    pass


def test_who_compares_goes_on_in_the_halves_of_what_is_split_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(40)
    indexed.agrees()
    looks: list[PartitionId] = []
    ranged = proof._Comparison._range

    async def splits_first(self: Any, place: PartitionInfo, start: bytes, end: bytes | None) -> Any:
        looks.append(place.partition_id)
        if len(looks) == 1:
            table = split.inner("by-colour")
            await split.splits.begin(table, table.partitions[0], max(indexed.wanted("by-colour"))[:16])
            while split.inner("by-colour").split is not msgspec.UNSET:
                await house.env.tasks.sleep(0.1)
        return await ranged(self, place, start, end)

    monkeypatch.setattr(proof._Comparison, "_range", splits_first)
    parts = house.cluster.parts.feeds._parts
    (info,) = indexed.table.partitions
    found: list[Any] = []
    prover = proof.IndexProver(parts, note=found.append, rebuild=_no_retire)
    assert house.run(prover.prove(indexed.table, info)) == []
    assert found == []
    assert len(set(looks)) == 3


def test_who_has_known_a_table_for_long_compares_the_index_that_took_the_place_of_another() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(40)
    indexed.agrees()
    long_ago = indexed.table
    house.run(house.cluster.parts.keeper.rebuild(long_ago.table_id, "by-colour", "asked by a test"))
    house.until(lambda: indexed.index("by-colour").next is None)
    house.pass_time(5)
    prover = proof.IndexProver(house.cluster.parts.feeds._parts, note=lambda _: None, rebuild=_no_retire)
    assert house.run(prover.prove(long_ago, long_ago.partitions[0])) == []


def test_splits_of_indexes_count_as_any_and_say_why_they_wait() -> None:
    split = Split(BY_COLOUR, BY_NUMBER)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    parts = house.cluster.parts
    for host in house.cluster.hosts[1:]:
        host.crash(power=True)
    house.pass_time(0.2)
    table = indexed.table
    intents = [
        SplitIntent("0a" * 16, one.partitions[0].partition_id, "80" + "00" * 15, PartitionId(f"l{at}"), PartitionId(f"r{at}"), 0)
        for at, one in enumerate(index_tables(table))
    ]
    indexes = tuple([msgspec.structs.replace(one, split=intent) for one, intent in zip(table.global_indexes or (), intents, strict=True)])
    parts.metadata.tables[table.table_id] = going = msgspec.structs.replace(table, global_indexes=indexes)
    assert by_size.rests(parts.fleet, parts.metadata) == "2 other splits are under way"
    assert [one.partition_id for one in coming(index_tables(going)[0])] == ["l0", "r0"]
    assert placed(index_tables(going)[0])[1:] == coming(index_tables(going)[0])


def test_a_node_that_is_told_to_forget_a_half_while_it_commits_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 15000: an index was built anew just then; what was in memory of the half was gone when its commit was done, and the node stopped by a rule of its own."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    freeze, forgotten = Splitting._freeze, []

    def forget(self: Splitting, child: Replica, state: TreeState) -> Any:
        committed = freeze(self, child, state)
        if not forgotten and state.extra:
            forgotten.append(child.partition)
            self._hosting.forget(child.partition)
        return committed

    monkeypatch.setattr(Splitting, "_freeze", forget)
    split.split("by-colour", step=lambda: indexed.write(1))
    assert forgotten
    assert all(node.failed is None for node in house.cluster.nodes())
    indexed.agrees(seconds=200)


@pytest.mark.slow
def test_what_a_parent_left_unfed_comes_to_both_halves_though_the_feed_of_its_child_began_with_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The half that has not begun took what the other one was told by the child for what the whole had been fed, and never had the end of the parent's log."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    follow, inherit = IndexFeed._follow, IndexFeed._inherit
    first: dict[PartitionId, PartitionId] = {}
    refused: set[PartitionId] = set()

    async def no_follow(self: IndexFeed, until: Lsn | None = None) -> bool:
        return False

    async def first_alone(self: IndexFeed, place: PartitionInfo) -> Fed | None:
        source = self._info.partition_id
        if first.setdefault(source, place.partition_id) != place.partition_id and source not in refused:
            refused.add(source)
            raise Unavailable("not now")
        return await inherit(self, place)

    monkeypatch.setattr(keeping.IndexKeeper, "_retire", _no_retire)  # as while a node is away, on which a copy of a half may begin yet
    split.split("by-colour")
    house.pass_time(1)
    monkeypatch.setattr(IndexFeed, "_follow", no_follow)
    indexed.write(40)
    monkeypatch.setattr(IndexFeed, "_inherit", first_alone)
    split_table(house, "indexed", step=lambda: indexed.write(1))
    house.until(lambda: len(refused) == 2)
    monkeypatch.setattr(IndexFeed, "_follow", follow)
    indexed.write(5)
    indexed.agrees()


def test_a_half_that_another_began_meanwhile_is_taken_as_that_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half has gone on since: of the items up to there nobody knows whether this one has its own."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    split.split("by-colour")
    left, right = split.inner("by-colour").partitions
    feed = IndexFeed(house.cluster.parts.feeds._parts, indexed.table, indexed.table.partitions[0], indexed.index("by-colour"))
    begun, sent = Fed(Lsn(70), b""), []
    said: dict[str, list[Fed | None]] = {left.lo: 2 * [Fed(Lsn(70), b"k")], right.lo: [None, begun]}

    async def known(info: PartitionInfo) -> Fed | None:
        return said[info.lo].pop(0)

    async def send(info: PartitionInfo, command: FeedCommand) -> Fed:
        sent.append(command)
        return begun

    monkeypatch.setattr(feed, "_known", known)
    monkeypatch.setattr(feed, "_send", send)
    assert house.run(feed._spread()) == [(left, Fed(Lsn(70), b"k")), (right, begun)]
    assert sent == []


def test_an_index_that_is_split_while_it_is_looked_at_is_not_taken_for_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    table, index = indexed.table, indexed.index("by-colour")
    begun: list[PartitionId] = []

    async def splits_meanwhile(*_: Any) -> Fed:
        if not begun:
            inner = split.inner("by-colour")
            begun.append(inner.partitions[0].partition_id)
            await split.splits.begin(inner, inner.partitions[0], max(indexed.wanted("by-colour"))[:16])
            while split.inner("by-colour").split is not msgspec.UNSET:
                await house.env.tasks.sleep(0.1)
        return Fed(Lsn(1), None)

    monkeypatch.setattr(keeping, "fed_of", splits_meanwhile)
    keeper = house.cluster.parts.keeper
    assert not house.run(keeper.filled(table, index))
    assert house.run(keeper.filled(indexed.table, indexed.index("by-colour")))


def test_what_takes_the_place_of_another_while_it_is_to_be_split_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the intent its log would end in a split that nobody knows of."""
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    filled, ready = keeping.IndexKeeper.filled, _Carried.ready

    async def not_yet(*_: Any) -> bool:
        return False

    async def held(*_: Any) -> str:
        return "a test holds it"

    monkeypatch.setattr(keeping.IndexKeeper, "filled", not_yet)
    house.run(house.cluster.parts.keeper.rebuild(indexed.table.table_id, "by-colour", "asked by a test"))
    house.until(lambda: len(index_tables(indexed.table)) == 2 and index_tables(indexed.table)[-1].status == "ACTIVE")
    house.pass_time(1)
    _, beside = index_tables(indexed.table)
    monkeypatch.setattr(_Carried, "ready", held)
    house.run(split.splits.begin(beside, beside.partitions[0], max(indexed.wanted("by-colour"))[:16]))
    monkeypatch.setattr(keeping.IndexKeeper, "filled", filled)
    house.until(lambda: indexed.index("by-colour").next is None)
    intent = split.inner("by-colour").split
    assert isinstance(intent, SplitIntent)
    assert intent.parent == beside.partitions[0].partition_id
    monkeypatch.setattr(_Carried, "ready", ready)
    split.mapped("by-colour")
    assert len(split.inner("by-colour").partitions) == 2
    indexed.write(5)
    indexed.agrees()


def test_a_feed_by_an_old_map_begins_nothing() -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    feed = IndexFeed(house.cluster.parts.feeds._parts, indexed.table, indexed.table.partitions[0], indexed.index("by-colour"))
    split.split("by-colour")
    with pytest.raises(Unavailable, match="the index was split meanwhile"):
        house.run(feed._spread())


def test_a_node_without_room_for_the_halves_makes_none_of_them_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(BY_COLOUR)
    house, indexed = split.house, split.indexed
    indexed.write(30)
    indexed.agrees()
    monkeypatch.setattr(splitting, "room_to_split", lambda _: 1 << 60)
    split.begin("by-colour")
    inner = split.inner("by-colour")
    house.until(lambda: "no room for the children's trees" in split.splits.waiting.get(inner.table_id, ""))
    house.pass_time(3)
    assert split.inner("by-colour").split == inner.split
    monkeypatch.undo()
    split.mapped("by-colour")
    indexed.agrees()
