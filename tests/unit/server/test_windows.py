"""Windows: what one life of a server knows to be bad in the archive, and the next one too."""

from __future__ import annotations

from collections.abc import Mapping

from archiver.index import ArchiveIndex
from archiver.layout import build
from base.errors import Unavailable
from base.wrap.metered import MeteredStore
from scrubber.ledger import MEMORY, SqliteLedger
from server.windows import AGAIN_S, SuspectBook, Windows
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.small_archive import SmallArchive


def life(archive: SmallArchive, book: SuspectBook, said: list[str]) -> Windows:
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop.tasks)
    meter = MeteredStore(archive.store, archive.loop.env())
    windows = Windows(archive.loop.env(), archive.store, index, meter, url="memory://", lag_alarm_us=60_000_000, log=said.append)
    windows.book = book
    windows.start()
    archive.loop.run_for(2)
    return windows


def test_what_was_found_bad_is_bad_after_a_restart_until_it_is_found_sound() -> None:
    archive, said = SmallArchive(), list[str]()
    ledger = archive.loop.run(SqliteLedger.open(archive.loop.tasks, MEMORY))
    sample = archive.samples[0]
    keys = [build(sample.manifest(sample.segments[number])[0].key()) for number in (1, 2)]
    good = archive.store.objects[keys[0]]
    first = life(archive, ledger, said)
    archive.store.objects[keys[0]] = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]  # of the same size: no listing shows it
    first.index.distrust(keys[:1])
    first.index.distrust(keys[1:], kind="forged", detail="a lie", level="replayed")
    archive.loop.run_for(1)
    first.stop()

    second = life(archive, ledger, said)
    assert sorted(second.index.suspects.by_object) == sorted(keys)
    holes = [(hole.first_lsn, hole.last_lsn) for one in second.index.partitions.values() for hole in one.window().holes]
    assert holes == [(sample.segments[number].first, sample.segments[number].last) for number in (1, 2)]
    archive.store.objects[keys[0]] = good
    second.index.trust(keys[1:], level="replayed")
    archive.loop.run_for(AGAIN_S + 1)
    assert second.index.suspects.by_object == {}, "looked at again, unasked"
    assert [hole for one in second.index.partitions.values() for hole in one.window().holes] == []
    second.stop()

    third = life(archive, ledger, said)
    assert third.index.suspects.by_object == {}
    assert [hole for one in third.index.partitions.values() for hole in one.window().holes] == []
    assert said == []


class FullLedger:
    """Cannot be written for a while."""

    def __init__(self) -> None:
        self.full = True
        self.found: Mapping[str, tuple[str, str, str]] = {}

    async def suspects(self) -> Mapping[str, tuple[str, str, str]]:
        return {}

    async def keep_suspects(self, found: Mapping[str, tuple[str, str, str]]) -> None:
        if self.full:
            raise Unavailable("the ledger cannot be used", why="disk full")
        self.found = found


def test_a_ledger_that_cannot_be_written_is_said_once_and_tried_again() -> None:
    archive, said, ledger = SmallArchive(), list[str](), FullLedger()
    windows = life(archive, ledger, said)
    key = build(archive.samples[0].manifest(archive.samples[0].segments[1])[0].key())
    windows.index.distrust([key])
    archive.loop.run_for(5)
    assert [line for line in said if "disk full" in line] == said != []
    assert len(said) == 1
    assert windows.index.partitions, "the archive is followed all the same"
    ledger.full = False
    archive.loop.run_for(1)
    assert list(ledger.found) == [key]
    windows.stop()
