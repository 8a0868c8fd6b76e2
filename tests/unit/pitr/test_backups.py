"""Backups by name over a world of lists: what was acknowledged is in, a death at any request leaves a pin or none, and nothing is promised that is not proven."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any, NamedTuple

import msgspec
import pytest

from scrubjay.archiver.expire.plan import PIN, pin_need
from scrubjay.archiver.facts import Start
from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.pin import PinEnd
from scrubjay.archiver.write.writer import FENCED, Stopped, Writer
from scrubjay.base.errors import Conflict, Corrupt, Fenced, Invalid, Missing, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, Stamp, TableId
from scrubjay.pitr import backups as module
from scrubjay.pitr.backups import AVAILABLE, CREATING, DAMAGED, NOTES, BackupService
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.plan import BaseFacts
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.lone import LoneStore
from scrubjay.storage.catalogue import METADATA_TABLE, TableStats, Throughput, TimeToLive, new_stream
from scrubjay.storage.cluster_version import DETAILED_BACKUPS, Feature
from scrubjay.storage.log.chain import START as CHAIN_START
from tests.unit.archiver.sample import CLUSTER, OWNER
from tests.unit.pitr.restore_world import Killed, RestoreWorld, total_of

STATS = TableStats(3, 400)


class DyingStore(LoneStore):
    """The process dies at request number `dies` (0: never), before or after its effect."""

    dies, after, count = 0, False, 0

    async def _begin(self) -> None:
        self.count += 1
        if self.count == self.dies and not self.after:
            raise Killed
        await super()._begin()

    async def _end(self) -> None:
        if self.count == self.dies and self.after:
            raise Killed
        await super()._end()


class BackupWorld(RestoreWorld):
    """prompt: the archive comes behind when it is hurried a second time."""

    def __init__(self, partitions: int = 2, seed: int = 1, *, prompt: bool = False) -> None:
        self.prompt = prompt
        self.store = DyingStore()
        self.writer = Writer(CLUSTER, Attached(CLUSTER, 1, OWNER))
        self.hurried = 0
        self.given_up: list[str] = []
        self.lacks: dict[Feature, str] = {}
        super().__init__(partitions, seed)
        self.write(random.Random(seed), 40)
        self.seal_all()
        self.backups = self.again()

    def again(self) -> BackupService:
        def hurry() -> None:
            self.hurried += 1
            if self.prompt and self.hurried % 2 == 0:
                self.arrive()

        world: Any = self
        options = RestoreOptions(archive_wait_s=5.0, lanes=2)
        self.backups = BackupService(
            self.env, world, world, self.store, self.writer, self.service, options, hurry=hurry, given_up=self.given_up.append,
            lacks=lambda feature: self.lacks.get(feature, ""),
        )  # fmt: skip
        return self.backups

    def create(self, name: str = "quarter", asked: RestoreTarget | None = None) -> Any:
        return self.run(self.backups.create(self.source, name, asked=asked, stats=STATS))

    def arrive(self) -> None:
        """The archive and the closed timestamps come behind whatever is sealed."""
        self.now_us += 1_000_000
        self.seal_all()

    def window(self) -> tuple[int, int]:
        found = self.run(self.look(self.source)).window
        return found.earliest_us, found.latest_us


def test_what_was_acknowledged_before_is_in_and_what_comes_later_is_not() -> None:
    world = BackupWorld(partitions=3)
    now_us = world.now_us
    expected = world.model(now_us)
    pin = world.create()
    assert now_us <= pin.at_us
    assert world.model(pin.at_us) == expected
    assert world.run(world.backups.state(pin)).word == CREATING
    world.arrive()
    world.write(random.Random(9), 30)
    world.arrive()
    assert world.run(world.backups.settled(pin)).word == AVAILABLE
    report = world.run(world.backups.restore(pin, "back"))
    world.finish()
    assert world.restored(report["to_id"]) == expected != world.model(world.now_us)
    assert world.run(world.backups.restore(pin, "back"))["state"] == "published", "the same again is done already"


def test_its_name_and_everything_else_come_back_as_they_were_put() -> None:
    world = BackupWorld()
    first, second = world.create(), world.create()
    assert (first.name, second.name) == ("quarter", "quarter")
    assert first.id < second.id or first.id[:14] == second.id[:14]
    again = world.again()
    assert {one.id for one in world.run(again.all()).pins} == {first.id, second.id}
    assert world.run(again.one(first.id)) == first
    assert world.run(again.find(f"arn:aws:dynamodb:us-east-1:000000000000:table/table1/backup/{second.id}")) == second
    with pytest.raises(Invalid, match="several"):
        world.run(again.find("quarter"))
    world.run(again.delete(first))
    assert world.run(again.find("quarter")) == second
    assert world.run(again.one(first.id)) is None
    for name in ("eighth", first.id, "../epoch"):
        with pytest.raises(Unavailable, match="no such backup"):
            world.run(again.find(name))


def test_one_of_now_says_what_the_table_had_beside_its_definition_and_one_of_an_earlier_moment_does_not() -> None:
    world = BackupWorld()
    assert (world.create().stream, world.create().ttl) == ("", "")
    world.source = msgspec.structs.replace(world.source, streams=(new_stream("KEYS_ONLY", 1),), ttl=TimeToLive(True, "until", 1))
    world.metas[world.source.table_id] = world.source
    pin = world.create()
    assert (pin.stream, pin.ttl) == ("KEYS_ONLY", "until")
    assert world.run(world.again().one(pin.id)) == pin
    world.arrive()
    earlier = world.create(asked=RestoreTarget(at_us=world.window()[0]))
    assert (earlier.stream, earlier.ttl) == ("", "")


def test_while_a_release_before_may_come_back_a_backup_says_only_what_that_one_can_read() -> None:
    world = BackupWorld()
    world.source = msgspec.structs.replace(world.source, streams=(new_stream("KEYS_ONLY", 1),), ttl=TimeToLive(True, "until", 1))
    world.metas[world.source.table_id] = world.source
    world.lacks = {DETAILED_BACKUPS: "it has 6"}
    before = world.create()
    assert json.loads(world.store.objects[build(before.key())])["version"] == 2
    world.lacks = {}
    assert json.loads(world.store.objects[build(world.create().key())])["version"] == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_request_it_is_there_or_it_is_not(after: bool) -> None:
    counted = BackupWorld()
    counted.create()
    seen = set()
    for dies in range(1, counted.store.count + 1):
        world = BackupWorld()
        world.store.dies, world.store.after = dies, after
        with pytest.raises(Killed):
            world.create()
        world.restart()
        found = world.run(world.again().all())
        assert found.unread == ()
        seen.add(len(found.pins))
        world.arrive()
        for pin in found.pins:
            assert world.run(world.backups.state(pin)).word == AVAILABLE
    assert seen == {0, 1}


def test_what_it_needs_is_said_before_it_looks_and_taken_back_if_nothing_comes_of_it() -> None:
    world = BackupWorld()
    said: list[list[int]] = []
    look = world.look

    async def watched(table: Any) -> Any:
        said.append([need.at_us for need in world.backups.needs() if (need.table, need.by) == (table.table_id, PIN)])
        return await look(table)

    world.look = watched  # type: ignore[method-assign]
    at_us = world.window()[0] + 5
    said.clear()
    pin = world.create(asked=RestoreTarget(at_us=at_us))
    assert said[0] == [0], "everything, until the moment is known"
    assert [need.at_us for need in world.backups.needs()] == [pin.at_us] == [at_us]
    earliest_us, _ = world.window()
    for refused in (RestoreTarget(at_us=earliest_us - 1), RestoreTarget(at_us=world.now_us + 9_000_000)):
        with pytest.raises(Unsafe, match="outside"):
            world.create(asked=refused)
    assert len(world.backups.needs()) == len(world.store.objects) == 1
    world.run(world.backups.delete(pin))
    assert world.backups.needs() == []


def test_where_the_store_is_away_nothing_is_made_and_the_next_try_works() -> None:
    world = BackupWorld()

    async def away(store: Any) -> None:
        raise Unavailable("the object store does not answer")

    sure, world.writer.assure = world.writer.assure, away
    with pytest.raises(Unavailable):
        world.create()
    assert (len(world.store.objects), world.backups.needs()) == (0, [])
    world.writer.assure = sure
    pin = world.create()
    world.writer.assure = away
    with pytest.raises(Unavailable):
        world.run(world.backups.delete(pin))
    assert world.run(world.backups.one(pin.id)) == pin


@pytest.mark.parametrize("done", [False, True], ids=["refused", "not answered"])
def test_what_it_needs_stays_said_where_its_put_was_not_answered(done: bool) -> None:
    world = BackupWorld()
    at_us = world.window()[0] + 5
    put = world.store.put

    async def unanswered(key: str, data: bytes) -> None:
        if done:
            await put(key, data)
        raise Unavailable("the object store does not answer")

    world.store.put = unanswered  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="does not answer"):
        world.create(asked=RestoreTarget(at_us=at_us))
    assert [(need.table, need.at_us) for need in world.backups.needs()] == [(world.source.table_id, at_us)]
    assert len(world.run(world.backups.all()).pins) == done


def test_fenced_makes_and_deletes_none() -> None:
    world = BackupWorld()
    pin = world.create()
    world.writer.stop(Stopped(FENCED, "another cluster writes here", 1))
    with pytest.raises(Fenced):
        world.create("later")
    with pytest.raises(Fenced):
        world.run(world.backups.delete(pin))
    assert len(world.store.objects) == 1


def test_a_store_that_keeps_other_bytes_is_found_out() -> None:
    world = BackupWorld()
    put = world.store.put

    async def lying(key: str, data: bytes) -> None:
        await put(key, data.replace(b"quarter", b"quartes"))

    world.store.put = lying  # type: ignore[method-assign]
    with pytest.raises(Corrupt, match="what was put"):
        world.create()
    assert len(world.backups.needs()) == 1, "nobody knows what the next one reads there"
    (bad,) = world.run(world.backups.all()).unread
    with pytest.raises(Corrupt, match="cannot be read") as told:
        world.run(world.backups.find("quarter"))
    assert told.value.fields["where"] == bad.object
    with pytest.raises(Unavailable, match="no such backup"):
        world.run(world.backups.find("0" * 14 + "-00000000"))


def test_there_is_an_end_to_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKUPS_MAX", 2)
    world = BackupWorld()
    first = world.create()
    world.create()
    with pytest.raises(Unsafe, match="as many backups"):
        world.create()
    world.run(world.backups.delete(first))
    world.create()


def test_a_dropped_table_is_kept_as_of_its_end_and_no_table_that_is_not_there_yet() -> None:
    world = BackupWorld()
    world.arrive()
    dropped = msgspec.structs.replace(world.source, status="DROPPED", dropped_at=world.now_us)
    world.metas[dropped.table_id] = world.source = dropped
    pin = world.create()
    assert pin.at_us == world.window()[1]
    assert pin.rows == len(world.model(pin.at_us)) > 0, "of a table that no leader has any more"
    assert world.run(world.backups.state(pin)).word == AVAILABLE
    report = world.run(world.backups.restore(pin, dropped.name))
    world.finish()
    assert world.restored(report["to_id"]) == world.model(pin.at_us)
    del world.metas[TableId(pin.table.table_id)]
    assert world.run(world.backups.state(pin)).word == DAMAGED
    with pytest.raises(Missing):
        world.run(world.backups.restore(pin, "nowhere"))
    for meta in (msgspec.structs.replace(dropped, name=METADATA_TABLE), world.metas[report["to_id"]]):
        origin = None if meta.restore_of is None else msgspec.structs.replace(meta.restore_of, in_progress=True)
        with pytest.raises(Unavailable, match="no such table"):
            world.run(world.backups.create(msgspec.structs.replace(meta, restore_of=origin), "never", asked=None, stats=STATS))


def test_its_size_is_that_of_its_moment_and_not_of_now() -> None:
    world = BackupWorld()
    world.arrive()
    then = world.window()[1]
    there = world.model(then)
    now = world.create()
    assert (now.rows, now.bytes) == (STATS.rows, STATS.bytes), "of now the leaders know it"
    world.write(random.Random(5), 60)
    world.arrive()
    assert len(world.model(world.now_us)) != len(there)
    pin = world.create(asked=RestoreTarget(at_us=then))
    assert pin.rows == len(there)
    assert pin.bytes == round(len(there) * STATS.bytes / STATS.rows)
    gone = world.run(world.backups.create(world.source, "gone", asked=RestoreTarget(at_us=then), stats=TableStats(0, 0)))
    assert gone.rows == len(there)
    assert gone.bytes > gone.rows, "by what the log wrote"


def test_the_settings_come_back_too_unless_others_are_asked_for() -> None:
    world = BackupWorld()
    table = msgspec.structs.replace(world.source, billing="PROVISIONED", throughput=Throughput(5, 7))
    world.metas[table.table_id] = world.source = table
    pin = world.create()
    world.metas[table.table_id] = msgspec.structs.replace(table, billing="PAY_PER_REQUEST", throughput=Throughput())
    world.arrive()
    report = world.run(world.backups.restore(pin, "as-then"))
    meta = world.metas[report["to_id"]]
    assert (meta.billing, meta.throughput) == ("PROVISIONED", Throughput(5, 7))
    assert meta.restore_of is not None
    assert (meta.restore_of.backup, meta.restore_of.at, meta.restore_of.in_progress) == (pin.id, pin.at_us, True)
    other = world.run(world.backups.restore(pin, "otherwise", {"throughput": Throughput(1, 1)}))
    assert world.metas[other["to_id"]].throughput == Throughput(1, 1)
    with pytest.raises(Conflict):
        world.run(world.backups.restore(world.create("later"), "as-then"))


def test_damage_at_its_moment_is_told_and_waited_for_in_vain() -> None:
    world = BackupWorld(partitions=1)
    pin = world.create()
    began_us = world.env.clock.boot_us()
    assert world.run(world.backups.settled(pin)).word == CREATING
    assert world.env.clock.boot_us() - began_us >= 5_000_000
    assert world.hurried > 5
    world.arrive()
    (log,) = world.logs.values()
    segments, log.bases = log.segments, []
    log.segments = lambda: segments()[:1] + segments()[2:]  # type: ignore[method-assign]
    found = world.run(world.backups.settled(pin))
    assert (found.word, "hole" in str(found.detail)) == (DAMAGED, True)


def test_a_pin_that_the_store_loses_is_missed_and_its_moment_is_held_until_it_is_given_up() -> None:
    world = BackupWorld()
    pin, other = world.create("quarter"), world.create("other")
    world.arrive()
    key = build(pin.key())
    del world.store.objects[key]
    again = world.again()  # the next life of the process: nothing is held in memory any more
    (lost,) = world.run(again.all()).lost
    assert (lost.id, lost.name, lost.table_id, lost.at_us) == (pin.id, "quarter", world.source.table_id, pin.at_us)
    assert pin_need(pin) in again.needs(), "retention leaves it all the same"
    assert set(again.noted()) == {key, build(other.key())}
    for text in ("quarter", pin.id):
        with pytest.raises(Missing, match="gone from the archive") as gone:
            world.run(again.find(text))
        assert gone.value.fields["backup"] == pin.id
    world.run(again.give_up(pin.id))
    assert world.run(again.all()).lost == ()
    assert [need.name for need in again.needs()] == [f"other ({other.id})"]
    assert world.given_up == [key]
    with pytest.raises(Unavailable, match="no such backup"):
        world.run(again.find("quarter"))


def test_a_deleted_backup_is_missed_by_nobody_and_one_without_a_note_gets_one() -> None:
    world = BackupWorld()
    pin, other = world.create("quarter"), world.create("other")
    remove = world.store.delete

    async def removed(key: str) -> None:
        await remove(key)
        assert (await world.backups.all()).lost == (), "who lists right now misses nothing either"

    world.store.delete = removed  # type: ignore[method-assign]
    world.run(world.backups.delete(pin))
    assert world.run(world.backups.all()).lost == ()
    world.run(world.save_job(f"{NOTES}{other.id}", None))  # as a process leaves it that dies between the two
    again = world.again()
    assert world.run(again.all()).lost == ()
    del world.store.objects[build(other.key())]
    assert [one.id for one in world.run(again.all()).lost] == [other.id]


def test_who_lists_while_one_is_deleted_misses_nothing() -> None:
    """Deleted at each request of the listing, which saw it before or does not see it any more: it is none that is lost, then or later. One that has no note is asked for
    once more, after it got one."""
    for noted, requests in ((True, ("list", "get")), (False, ("list", "get", "head"))):
        for at in range(1, len(requests) + 1):
            world = BackupWorld()
            pin = world.create("quarter")
            if not noted:
                world.run(world.save_job(f"{NOTES}{pin.id}", None))
            reader, begin = world.again(), world.store._begin
            world.store.count = 0
            deleted: list[Any] = []

            async def meanwhile(
                world: BackupWorld = world, begin: Any = begin, pin: Any = pin, at: int = at, deleted: Any = deleted
            ) -> None:
                if world.store.count + 1 == at and not deleted:
                    deleted.append(pin)
                    await world.again().delete(pin)
                await begin()

            world.store._begin = meanwhile  # type: ignore[method-assign]
            assert world.run(reader.all()).lost == ()
            assert deleted, requests[at - 1]
            assert world.run(reader.all()).lost == ()


def test_the_state_of_many_backups_costs_one_look_for_each_table() -> None:
    world = BackupWorld()
    pins = [world.create(f"backup-{number}") for number in range(5)]
    world.arrive()
    looks: list[Any] = []
    look = world.look

    async def counted(table: Any) -> Any:
        looks.append(table)
        return await look(table)

    world.look = counted  # type: ignore[method-assign]
    states = world.run(world.backups.states(pins))
    assert {one.word for one in states.values()} == {AVAILABLE}
    assert (len(states), len(looks)) == (5, 1)


def test_a_pin_says_which_bytes_it_is_of_and_another_history_in_their_place_is_found_out() -> None:
    world, late = BackupWorld(partitions=3, prompt=True), BackupWorld(partitions=3)
    at_us = late.window()[1]
    for one in (world, late):
        one.write(random.Random(7), 30)
    pin = world.create()
    without = late.create()
    assert without.ends is None, "the archive was late: nothing is said that it does not prove"
    late.arrive()
    assert pin.ends is not None
    assert [end.partition for end in pin.ends] == sorted(world.logs)
    for end in pin.ends:
        segments = world.logs[end.partition].segments()
        (last,) = [one for one in segments if one.last == end.lsn]
        assert last.chain.hex() == end.chain
        assert last_stamp_at(pin.at_us) <= last.closed, "nothing of the moment lies behind it"
        before = [one.closed for one in segments if one.last < end.lsn]
        assert max(before) < last_stamp_at(pin.at_us), "and no earlier seal would do"
    assert world.run(world.again().one(pin.id)) == pin
    earlier = world.create("earlier", RestoreTarget(at_us=at_us))
    assert earlier.ends is not None
    assert all(old.lsn < new.lsn for old, new in zip(earlier.ends, pin.ends, strict=True))
    world.write(random.Random(8), 30)
    world.arrive()
    assert world.run(world.backups.state(pin)).word == AVAILABLE

    for one, expected in ((world, DAMAGED), (late, AVAILABLE)):
        found = pin if one is world else without
        log = next(iter(one.logs.values()))
        log.segments = other_history(log.segments, log.entries[-1].lsn)  # type: ignore[method-assign]
        state = one.run(one.backups.state(found))
        assert state.word == expected
        assert one.run(one.look(one.source)).window[1] is not None, "consistent with itself"
    assert "another history" in str(world.run(world.backups.state(pin)).detail)
    assert str(pin.ends[0].chain) in str(world.run(world.backups.state(pin)).detail)
    with pytest.raises(Corrupt, match="another history") as told:
        world.run(world.backups.restore(pin, "back"))
    assert (told.value.fields["partition"], told.value.fields["lsn"]) == (pin.ends[0].partition, pin.ends[0].lsn)
    assert all(meta.name != "back" for meta in world.metas.values()), "nothing was begun"


def other_history(segments: Any, upto: int) -> Any:
    """The same records under other chain values, each of which follows from the one before."""

    def other(value: bytes) -> bytes:
        return value if value == bytes(32) else b"\xee" + value[1:]

    def made() -> list[Any]:
        return [
            one._replace(span=one.span._replace(chain_before=other(one.span.chain_before), chain=other(one.span.chain)))
            for one in segments()
            if one.last <= upto
        ]

    return made


def test_a_base_at_the_end_of_the_moment_proves_the_same_bytes() -> None:
    world = BackupWorld(partitions=1, prompt=True)
    pin = world.create()
    assert pin.ends is not None
    ((_, lsn, chain),) = pin.ends
    (log,) = world.logs.values()
    seal = log.entries[lsn - 1]
    world.write(random.Random(3), 10)
    world.arrive()
    look = world.look
    for value, expected in ((bytes.fromhex(chain), AVAILABLE), (b"\xee" * 32, DAMAGED)):

        async def based(table: Any, value: bytes = value) -> Any:
            seen = await look(table)
            (history,) = seen.histories
            start = Start(lsn, seal.stamp, value, total_of(log.rows_at(seal.stamp)).state, 1)
            base = BaseFacts(start, 1, 1, 1, 1, "base")
            segments = tuple(one for one in history.segments if one.first > lsn)
            rows = start.rows()
            spans = tuple(one.span._replace(chain_before=value, rests=rows) if one.first == lsn + 1 else one.span for one in segments)
            kept = tuple(one._replace(span=span) for one, span in zip(segments, spans, strict=True))
            facts = history.facts._replace(spans=spans, starts=(start,), expired=lsn)
            return seen._replace(histories=(history._replace(segments=kept, bases=(base,), facts=facts),))

        world.look = based  # type: ignore[method-assign]
        moment = dataclasses.replace(pin, at_us=stamp_micros(Stamp(seal.stamp)))
        assert world.run(world.backups.state(moment)).word == expected


class SeenNothing(NamedTuple):
    """A look at an archive that holds nothing of the table."""

    histories: tuple[()] = ()


def test_a_backup_of_what_was_empty_is_of_any_history_that_began_with_nothing() -> None:
    """There is no record at LSN 0 to compare with: the chain that begins every log says as much, and another one is another history."""
    world = BackupWorld(1)
    pin = world.create()
    partition = world.source.partitions[0].partition_id
    seen: Any = SeenNothing()
    begun = dataclasses.replace(pin, ends=(PinEnd(partition, Lsn(0), CHAIN_START.hex()),))
    assert module._other_history(begun, seen) is None
    for lsn, chain in ((0, "11" * 32), (1, CHAIN_START.hex())):
        other = dataclasses.replace(pin, ends=(PinEnd(partition, Lsn(lsn), chain),))
        assert isinstance(module._other_history(other, seen), Corrupt)
