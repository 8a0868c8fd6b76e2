"""`lose-cluster` over a real archive: what is asked of the process that recovers, what is compared beside it, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.times import utc_text
from scrubjay.drills.contents import FOLDER, SPARE_BYTES, Contents
from scrubjay.drills.lose_cluster import JUST_MADE_US, lost
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scratch import ROOM_BYTES, answer_of
from scrubjay.scratch.recovered import Pair, compared
from scrubjay.storage.btree.rowfile import RowFileWriter, read_between, read_rowfile
from tests.unit.drills.drill_house import DrillHouse


@pytest.fixture
def house() -> DrillHouse:
    return DrillHouse()


class Process:
    """The process that recovers, by what it must answer: it reads the row files that it is given as it would, and finds what `wrong` says."""

    def __init__(self, house: DrillHouse, *, raw_bytes: int = 1000, wrong: tuple[str, ...] = (), error: str | None = None) -> None:
        self._house, self._raw_bytes, self._wrong, self._error = house, raw_bytes, wrong, error
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.seen: list[str] = []
        self.planned = [house.birds.table_id, "of nobody"]
        self.left_out: list[dict[str, str]] = []

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        disk = self._house.cluster.folder.disk
        self.asked.append((job, arguments))
        self.seen = disk.listdir(FOLDER)
        assert progress is not None
        progress({"phase": job})
        outcome = DrillOutcome()
        if job == "plan":
            at_us = self._house.env.clock.wall_us() - 15_000_000
            tables = [{"source_id": one} for one in self.planned]
            plan = {
                "at": utc_text(at_us),
                "predicted_seconds": 4.0,
                "raw_bytes": self._raw_bytes,
                "tables": tables,
                "left_out": self.left_out,
            }
            return {**answer_of(outcome, [], None), "plan": plan}
        outcome.rto_seconds = 6.0
        for table in arguments["tables"]:
            for path in table["rows"]:
                file = disk.open(path)
                outcome.rows_compared += len(list(read_rowfile(file.pread, file.size())))
                file.close()
        outcome.differences += self._wrong
        return answer_of(outcome, [], self._error)


@pytest.mark.slow
def test_everything_is_compared_and_nothing_of_it_stays(house: DrillHouse) -> None:
    process = Process(house)
    report = house.drill(house.lose_cluster(process), 1, "lose-cluster")
    assert report["verdict"] == "match", report["error"] or report["differences"]
    (planned, (job, asked)) = process.asked
    assert planned[0] == "plan"
    assert (job, asked["url"], asked["at"]) == ("recover", house.cluster.archive.url, report["facts"]["at"])
    (table,) = asked["tables"]
    assert (table["table"], table["key"], len(table["rows"])) == ("birds", [("k", "S")], 2)
    assert report["rows_compared"] == 19, "20 items, of which one was deleted"
    assert report["facts"]["rows_live"] == 19
    assert (report["facts"]["tables_recovered"], report["facts"]["tables_not_compared"]) == (2, [])
    assert (report["rto_seconds"], report["predicted_seconds"]) == (6.0, 4.0)
    assert 15 <= report["rpo_seconds"] < 20
    assert any(name.startswith("lose-cluster-") for name in process.seen), "its folder is there while it works"
    assert house.cluster.folder.disk.listdir(FOLDER) == []
    house.pass_time(1)
    assert house.held(house.birds) == [([], [])] * 6


def test_what_the_recovered_cluster_gives_wrong_is_a_mismatch_whatever_comes_next(house: DrillHouse) -> None:
    process = Process(house, wrong=("recovered birds: lacking key 00",), error="the server left")
    report = house.drill(house.lose_cluster(process), 1, "lose-cluster")
    assert (report["verdict"], report["differences"]) == ("mismatch", ["recovered birds: lacking key 00"])
    assert "the server left" in report["error"]["message"]
    assert house.cluster.folder.disk.listdir(FOLDER) == []


def test_a_live_copy_that_differs_from_the_archive_is_a_mismatch(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive read another way is what the recovered cluster is compared with: that it is right is not taken on trust."""
    expected = Contents.expected
    other = house.env.clock.wall_us() - 25_000_000

    async def of_another_moment(self: Contents, table: Any, info: Any, *, at_us: int) -> Any:
        return (await expected(self, table, info, at_us=other))._replace(applied=1 << 40)

    monkeypatch.setattr(Contents, "expected", of_another_moment)
    report = house.drill(house.lose_cluster(Process(house)), 1, "lose-cluster")
    assert report["verdict"] == "mismatch"
    assert any(one.startswith("live copy: ") for one in report["differences"])


def test_a_live_table_that_would_not_come_back_is_a_mismatch(house: DrillHouse) -> None:
    process = Process(house)
    process.planned = ["of nobody"]
    report = house.drill(house.lose_cluster(process), 1, "lose-cluster")
    assert (report["verdict"], report["differences"]) == ("mismatch", ["birds is live, and would not come back"])
    assert report["facts"]["tables_not_compared"] == ["birds"]


def test_a_table_that_is_left_out_for_a_reason_or_was_only_just_made_is_none_that_is_lost(house: DrillHouse) -> None:
    process = Process(house)
    process.planned, process.left_out = [], [{"table_id": house.birds.table_id}]
    report = house.drill(house.lose_cluster(process), 1, "lose-cluster")
    assert (report["verdict"], report["differences"]) == ("unverified", [])
    plan = {"tables": [], "left_out": []}
    assert lost([house.birds], plan, house.birds.created_at) == []
    assert lost([house.birds], plan, house.birds.created_at + JUST_MADE_US) == ["birds"]


class Far:
    """Workers of another machine: what they make is there, and here once it is brought."""

    def __init__(self, house: DrillHouse) -> None:
        self._here, self._disk = house.jobs(), house.cluster.folder.disk
        self.fails_at: int | None = None
        self._runs = 0

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        answer = await self._here.run(job, arguments, progress=progress)
        self._runs += 1
        if self._runs == self.fails_at:
            raise Unavailable("the worker process died")
        if output := arguments.get("output"):
            self._disk.rename(output, f"far/{output.rpartition('/')[2]}")
        return answer

    async def bring(self, path: str) -> None:
        self._disk.rename(f"far/{path.rpartition('/')[2]}", path)

    def drop(self, path: str) -> None:
        """It was brought."""


@pytest.fixture
def far(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> Far:
    found = Far(house)
    house.cluster.folder.disk.mkdir("far")
    monkeypatch.setattr(house, "jobs", lambda: found)
    return found


def test_what_a_fleet_made_is_brought_to_the_process_that_compares(house: DrillHouse, far: Far) -> None:
    report = house.drill(house.lose_cluster(Process(house)), 1, "lose-cluster")
    assert (report["verdict"], report["rows_compared"]) == ("match", 19), report["error"]


def test_row_files_go_whatever_ends_a_drill(house: DrillHouse, far: Far) -> None:
    """The worker dies over the second of two partitions, with a half-written file: neither that nor the whole one of the first stays on the disk."""
    far.fails_at = 2
    report = house.drill(house.lose_cluster(Process(house)), 1, "lose-cluster")
    assert (report["verdict"], report["error"]["message"]) == ("unverified", "the worker process died")
    assert house.cluster.folder.disk.listdir(FOLDER) == []


@pytest.mark.parametrize(
    ("room", "raw_bytes"), [(SPARE_BYTES + 10_000_000, 100_000_000), (SPARE_BYTES + ROOM_BYTES - 1, 1000)], ids=["data", "logs alone"]
)
def test_without_room_nothing_is_recovered(house: DrillHouse, room: int, raw_bytes: int) -> None:
    """Three logs are made before the first row is there, however small the tables are."""
    disk = house.cluster.folder.disk
    disk.capacity = room
    process = Process(house, raw_bytes=raw_bytes)
    report = house.drill(house.lose_cluster(process), 1, "lose-cluster")
    assert (report["verdict"], [job for job, _ in process.asked]) == ("unverified", ["plan"])
    assert "no room" in report["error"]["message"]


def test_what_a_killed_drill_left_goes_with_the_next_start(house: DrillHouse) -> None:
    disk = house.cluster.folder.disk
    disk.mkdir(f"{FOLDER}/lose-cluster-1/data")
    disk.mkdir(f"{FOLDER}/of-another")
    house.lose_cluster(Process(house)).start()
    house.until(lambda: disk.listdir(FOLDER) == ["of-another"], seconds=10)


def pairs(*keys: bytes) -> list[Pair]:
    return [(key, b"item " + key) for key in keys]


def test_a_merge_names_what_is_lacking_extra_and_different() -> None:
    both = pairs(b"a", b"b", b"c")
    assert compared(iter(both), iter(both)) == (3, [])
    assert compared(iter([]), iter([])) == (0, [])
    assert compared(iter(both[1:]), iter(both)) == (3, ["lacking key 61"])
    assert compared(iter(both[:2]), iter(both)) == (3, ["lacking key 63"])
    assert compared(iter(both), iter(both[::2])) == (3, ["extra key 62"])
    assert compared(iter(both), iter(both[:2])) == (3, ["extra key 63"])
    assert compared(iter(both), iter([both[0], (b"b", b"other"), both[2]])) == (3, ["different key 62"])
    with pytest.raises(Corrupt):
        compared(iter(pairs(b"b", b"a")), iter(both))


def test_an_own_row_file_that_rots_says_nothing() -> None:
    from scrubjay.scratch.recovered import truth

    house = DrillHouse(rows=0)
    house.cluster.folder.disk.write_file("rows", b"rot")
    with pytest.raises(Unavailable):
        list(truth(house.cluster.folder.disk, ["rows"]))
    with pytest.raises(Unavailable):
        list(truth(house.cluster.folder.disk, ["none"]))


def test_a_part_of_a_row_file_is_read_by_its_blocks_alone() -> None:
    pieces: list[bytes] = []
    writer = RowFileWriter(pieces.append)
    keys = [number.to_bytes(4, "big") for number in range(3000)]
    for key in keys:
        writer.add(key, 1, 1, key * 60)
    writer.finish()
    data = b"".join(pieces)
    asked: list[int] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return data[offset : offset + length]

    for start, end in ((b"", None), (keys[7], keys[9]), (keys[2500], None), (b"\x00", keys[1]), (keys[9], keys[9]), (b"\xff", None)):
        found = [row.key for row in read_between(read, len(data), start, end)]
        assert found == [key for key in keys if key >= start and (end is None or key < end)]
    asked.clear()
    list(read_between(read, len(data), keys[7], keys[9]))
    assert sum(asked) < len(data) * 0.8, "the other blocks are not read"
