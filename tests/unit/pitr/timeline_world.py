"""A table of real segments and bases whose keys are real, and its live state behind the leader's own decision function."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.service import RestoreService
from scrubjay.pitr.timeline.service import TimelineService
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import Decision, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Item
from scrubjay.storage.log.record import Effect, Op, Record, RecordKind, effects
from tests.unit.archiver.sample import ATTACHED, Sample
from tests.unit.pitr.test_restore_archive import ArchivedWorld
from tests.unit.scrubber.scrub_world import KEY

KEYS = 24


def item_of(number: int, version: int) -> Item:
    return {"pk": ("S", f"p{number % 6}"), "sk": ("N", str(number)), "v": ("N", str(version))}


def key_json(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"p{number % 6}"}, "sk": {"N": str(number)}}


def key_of(number: int) -> bytes:
    return storage_key(KEY, item_of(number, 0))


class TimelineWorld(ArchivedWorld):
    def __init__(self, partitions: int = 2, seed: int = 1) -> None:
        self.unknown = 0
        """So many writes happen and nobody is told."""
        self.give_up_after: int | None = None
        self.writes = 0
        super().__init__(partitions, seed)

    def restart(self) -> RestoreService:
        service = super().restart()
        world: Any = self
        disk: Any = self.disk
        self.timeline = TimelineService(
            self.env, world, service.preparing, self.source_archive, RestoreOptions(archive_wait_s=10.0, lanes=2), LiveTable(self), disk,
            log=self.lines.append
        )  # fmt: skip
        self.timeline.sweep()
        return service

    def sample_of(self, key: bytes) -> Sample:
        return next(
            self.samples[info.partition_id]
            for info in self.source.partitions
            if bytes.fromhex(info.lo) <= key[:16] and (not info.hi or key[:16] < bytes.fromhex(info.hi))
        )

    def put(self, number: int, version: int | None) -> None:
        """version None: delete."""
        self.now_us += 7
        key = key_of(number)
        sample = self.sample_of(key)
        self.catch_up(sample)
        body = b"" if version is None else encode_item(item_of(number, version))
        sample.write([Effect(Op.DELETE if version is None else Op.PUT, key, body)])
        self.now_us = max(self.now_us, stamp_micros(sample.stamp) + 1)

    def write(self, rng: random.Random, steps: int) -> None:
        for step in range(steps):
            self.now_us += rng.randrange(1, 5000)
            number = rng.randrange(KEYS)
            # few versions: many writes leave an item as it was
            self.put(number, None if rng.random() < 0.25 else rng.choice((step, 1, 2)))
            if rng.random() < 0.2:
                sample = self.sample_of(key_of(number))
                self.seal_one(sample)
                if rng.random() < 0.3:
                    self.snapshot(sample)

    def records_of(self, sample: Sample) -> list[Record]:
        """All that wrote its rows, in order."""
        return sample.records

    def snapshot(self, sample: Sample) -> None:
        """A base at the last seal, every row with the record that wrote it."""
        parts: list[bytes] = []
        writer = RowFileWriter(parts.append)
        wrote = {effect.key: one for one in self.records_of(sample) if one.kind == RecordKind.DATA for effect in effects(one)}
        for key in sorted(sample.state):
            writer.add(key, wrote[key].lsn, wrote[key].stamp, sample.state[key])
        total = writer.finish()
        self.disk.write_file("base", b"".join(parts))
        disk: Any = self.disk
        self.run(
            upload_base(
                self.objects, disk, "base", writer=ATTACHED, table=sample.table, partition=sample.partition,
                table_name=sample.facts.table_name, schema=sample.facts.schema, lo=sample.facts.lo, hi=sample.facts.hi,
                lsn=sample.lsn, stamp=sample.stamp, chain=sample.chain, total=total, born=sample.born,
            )
        )  # fmt: skip
        self.disk.remove("base")

    def live(self) -> dict[bytes, bytes]:
        return {key: item for sample in self.samples.values() for key, item in sample.state.items()}

    def objects_of(self, sample: Sample) -> list[tuple[SegmentKey, str]]:
        """Segments of a partition, rising."""
        keys = [(key, name) for name in self.objects.objects if isinstance(key := parse(name), SegmentKey) and not key.manifest]
        return sorted((key, name) for key, name in keys if key.partition == sample.partition)

    # the live table

    def write_item(self, command: WriteCommand) -> WriteAnswer:
        sample = self.sample_of(command.key)
        outcome = evaluate(command, sample.state.get(command.key), lsn=self.written_by(command.key))
        if outcome.decision in (Decision.PUT, Decision.DELETE):
            self.catch_up(sample)
            put = outcome.decision is Decision.PUT
            sample.write([Effect(Op.PUT if put else Op.DELETE, command.key, (outcome.new or b"") if put else command.key_item)])
            self.writes += 1
        return WriteAnswer(outcome, sample.partition, sample.lsn, stamp_micros(sample.stamp))

    def written_by(self, key: bytes) -> int | None:
        return next(
            (
                one.lsn
                for one in reversed(self.records_of(self.sample_of(key)))
                if one.kind == RecordKind.DATA and effects(one)[0].key == key
            ),
            None,
        )

    def answer(self, command: WriteCommand) -> WriteAnswer | ScrubjayError:
        if self.give_up_after is not None and self.writes >= self.give_up_after:
            return Unavailable("no leader")
        answer = self.write_item(command)
        if self.unknown:
            self.unknown -= 1
            return Unavailable("its outcome is not known", unknown=True)
        return answer


class LiveTable:
    def __init__(self, world: TimelineWorld) -> None:
        self.world = world

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        self.world.env.tasks.call_later(0.001, lambda: done(self.world.answer(command)))

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        assert consistent
        sample = self.world.sample_of(key)
        self.world.env.tasks.call_later(0.001, lambda: done(ReadAnswer(sample.state.get(key), sample.partition, sample.lsn)))


def made(seed: int = 1, partitions: int = 2, steps: int = 80) -> TimelineWorld:
    world = TimelineWorld(partitions, seed)
    world.write(random.Random(seed), steps)
    world.seal_all()
    return world
