"""The ledger remembers over restarts, forgets what failed, and starts anew from a file that cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlite_utils import Database

from scrubjay.base.errors import Invalid, Unavailable
from scrubjay.scrubber.ledger import LEVELS, MATCHED, SCRUB, VERIFY, WINDOW_US, PartitionProof, Proof, last_verify
from scrubjay.scrubber.plan import last_matched
from scrubjay.scrubber.sqlite_ledger import MEMORY, OPEN_AGAIN_S, RUNS_KEPT, RUNS_LEAST, SqliteLedger
from tests.fixtures.golden import Golden
from tests.fixtures.small_disk import small_disk

T = TypeVar("T")


class InlineTasks:
    """Only what the ledger uses. spawned: what was begun and runs when the test says so. before_sleep: called at each rest."""

    def __init__(self) -> None:
        self.spawned: list[Any] = []
        self.slept: list[float] = []
        self.before_sleep: Callable[[], None] = lambda: None

    async def blocking(self, work: Callable[[], T]) -> T:
        return work()

    def spawn(self, coro: Any, *, name: str) -> None:
        self.spawned.append(coro)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.before_sleep()


def run(awaitable: Awaitable[T]) -> T:
    async def body() -> T:
        return await awaitable

    return asyncio.run(body())


@contextmanager
def opened(path: str) -> Iterator[SqliteLedger]:
    tasks: Any = InlineTasks()
    ledger = run(SqliteLedger.open(tasks, path))
    yield ledger
    run(ledger.close())


def test_a_deeper_and_fresh_proof_lets_an_object_be_skipped() -> None:
    with opened(MEMORY) as ledger:
        run(ledger.proved([Proof("a", "records", 100), Proof("b", "listed", 100), Proof("c", "replayed", 50), Proof("c", "records", 200)]))
        assert run(ledger.skip(["c", "b", "a", "z"], level="objects", since_us=100)) == ["c", "a"]
        assert run(ledger.skip(["a", "c"], level="replayed", since_us=60)) == []
        assert run(ledger.skip(["a", "c"], level="replayed", since_us=50)) == ["c"]
        assert run(ledger.skip(["a", "c"], level="records", since_us=0, until_us=100)) == ["a", "c"]
        assert run(ledger.skip(["a", "c"], level="records", since_us=0, until_us=99)) == ["c"], "by its deeper one"
        run(ledger.failed(["c"]))
        assert run(ledger.skip(["a", "b", "c"], level="listed", since_us=0)) == ["a", "b"]
        with pytest.raises(Invalid):
            run(ledger.skip([], level="deep", since_us=0))


def test_a_later_proof_replaces_the_earlier() -> None:
    with opened(MEMORY) as ledger:
        run(ledger.proved([Proof("a", "records", 100)]))
        run(ledger.proved([Proof("a", "records", 300)]))
        assert run(ledger.skip(["a"], level="records", since_us=300)) == ["a"]


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "durability" / "ledger.db")
    proof = PartitionProof("p1", "t1", "scrub", 5, 9, "match", False, 3, "00ff")
    with opened(path) as ledger:
        run(ledger.proved([Proof("a", "records", 100)]))
        run(ledger.scrubbed(proof))
        one = run(ledger.begin_run(7))
        run(ledger.end_run(one, finished_us=8, verdict="match", healed=False, report={"verdict": "match"}))
        run(ledger.begin_run(9))
    with opened(path) as ledger:
        assert ledger.set_aside is None
        assert run(ledger.skip(["a"], level="records", since_us=100)) == ["a"]
        assert run(ledger.partitions()) == [proof._replace(depth=MATCHED), proof]
        newest, older = run(ledger.runs(10))
        assert (newest.started_us, newest.finished_us, newest.report) == (9, None, None)
        assert (older.verdict, older.report) == ("match", {"verdict": "match"})


def test_runs_are_bounded() -> None:
    with opened(MEMORY) as ledger:
        for at in range(RUNS_KEPT + 5):
            run(ledger.begin_run(at))
        assert len(run(ledger.runs(RUNS_KEPT * 2))) == RUNS_KEPT


def test_what_a_run_found_stays_for_the_window_and_dull_ones_make_room() -> None:
    with opened(MEMORY) as ledger:
        rotten = run(ledger.begin_run(1))
        run(ledger.end_run(rotten, finished_us=2, verdict="mismatch", healed=True, report={"verdict": "mismatch"}))
        for at in range(2, RUNS_KEPT + 20):
            run(ledger.begin_run(at))
        assert [one.id for one in run(ledger.runs(RUNS_KEPT * 2))][-2:] == [20, rotten], (
            "it found something, and is not older than the window"
        )
        run(ledger.begin_run(WINDOW_US + 1))
        assert run(ledger.runs(RUNS_KEPT * 2))[-1].id == rotten
        for at in range(RUNS_LEAST):
            run(ledger.begin_run(3 * WINDOW_US + at))
        kept = [one.id for one in run(ledger.runs(RUNS_KEPT * 2))]
        assert (rotten in kept, len(kept)) == (False, RUNS_LEAST), "what began in the last window"


def test_a_clock_that_runs_ahead_does_not_end_the_history() -> None:
    with opened(MEMORY) as ledger:
        for at in range(RUNS_LEAST + 5):
            run(ledger.begin_run(at))
        run(ledger.begin_run(1000 * WINDOW_US))
        assert len(run(ledger.runs(RUNS_KEPT))) == RUNS_LEAST


def test_runs_are_told_by_kind_and_from_a_moment_on() -> None:
    with opened(MEMORY) as ledger:
        ids = [run(ledger.begin_run(at, kind=kind)) for at, kind in ((1, SCRUB), (2, VERIFY), (3, SCRUB))]
        assert [one.id for one in run(ledger.runs(9))] == ids[::-1]
        assert [one.id for one in run(ledger.runs(9, kind=VERIFY))] == [ids[1]]
        assert [one.id for one in run(ledger.runs(9, kind=SCRUB, since_us=2))] == [ids[2]]


def test_a_ledger_that_rots_while_it_is_open_is_begun_anew_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with opened(str(path)) as ledger:
        told: list[str] = []
        ledger.lost = told.append
        run(ledger.proved([Proof(f"object-{n:05d}", "records", 100) for n in range(2000)]))
        ledger._db.execute("pragma wal_checkpoint(truncate)")
        ledger._db.execute("pragma shrink_memory")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        run(ledger.proved([Proof("after", "records", 7)]))
        assert told == [ledger.set_aside] == [f"{path}.corrupt-1"]
        assert run(ledger.skip(["after", "object-00001"], level="records", since_us=0)) == ["after"]
    with opened(str(path)) as ledger:
        assert run(ledger.skip(["after"], level="records", since_us=0)) == ["after"]


@pytest.mark.parametrize("gone", ["all of it", "the file", "the journal", "exchanged"])
def test_a_ledger_that_is_deleted_while_it_is_open_is_written_anew_and_loses_nothing(tmp_path: Path, gone: str) -> None:
    path = tmp_path / "ledger.db"
    with opened(str(tmp_path / "older.db")) as older:
        run(older.proved([Proof("older", "records", 1)]))
    said: list[str] = []
    with opened(str(path)) as ledger:
        ledger.put_back = said.append
        run(ledger.proved([Proof("before", "records", 100)]))
        number = run(ledger.begin_run(5))
        for name in {"all of it": ("", "-wal", "-shm"), "the file": ("",), "the journal": ("-wal",), "exchanged": ()}[gone]:
            Path(f"{path}{name}").unlink()
        if gone == "exchanged":
            (tmp_path / "older.db").rename(path)
        assert run(ledger.known("")) == ["before"], "what is open still answers"
        assert said == []
        run(ledger.end_run(number, finished_us=9, verdict="match", healed=False, report={"exit": 0}))
        assert said == [f"{path}.other-1" if gone == "exchanged" else ""]
        run(ledger.proved([Proof("after", "records", 101)]))
        assert len(said) == 1, "said once"
    with opened(str(path)) as again:
        assert run(again.known("")) == ["after", "before"]
        assert [(one.id, one.verdict) for one in run(again.runs(9))] == [(number, "match")]
    left = {one.name for one in tmp_path.iterdir()} - {"older.db"}
    assert left == {"ledger.db"} | ({"ledger.db.other-1"} if gone == "exchanged" else set())
    if gone == "exchanged":
        with opened(f"{path}.other-1") as other:
            assert run(other.known("")) == ["older"], "and what was put there is kept"


def test_a_ledger_whose_folder_is_gone_says_so_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "durability"
    with opened(str(folder / "ledger.db")) as ledger:
        run(ledger.proved([Proof("before", "records", 100)]))
        folder.rename(tmp_path / "away")
        with pytest.raises(Unavailable):
            run(ledger.proved([Proof("meanwhile", "records", 101)]))
        assert ledger.trouble is not None
        folder.mkdir()
        run(ledger.proved([Proof("after", "records", 102)]))
        assert ledger.trouble is None
    with opened(str(folder / "ledger.db")) as again:
        assert run(again.known("")) == ["after", "before", "meanwhile"]


def test_a_ledger_that_takes_no_more_while_it_is_open_says_so_until_it_does(tmp_path: Path) -> None:
    with opened(str(tmp_path / "ledger.db")) as ledger:
        run(ledger.proved([Proof("a", "objects", 1)]))
        ledger._db.execute("pragma max_page_count = 1")  # as a full disk: SQLite takes the size it has for the bound
        with pytest.raises(Unavailable):
            run(ledger.proved([Proof(f"{number:0200}", "objects", 1) for number in range(1000)]))
        assert "full" in (ledger.trouble or "")
        assert run(ledger.known("a")) == ["a"]
        assert ledger.trouble is not None, "that it can be read does not make it remember"
        ledger._db.execute("pragma max_page_count = 100000")
        run(ledger.proved([Proof("b", "objects", 1)]))
        assert ledger.trouble is None


def test_a_place_where_no_ledger_can_be_is_a_ledger_in_memory_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    tasks: Any = InlineTasks()
    ledger = run(SqliteLedger.open_or_forget(tasks, str(tmp_path / "ledger.db")))
    assert ledger.trouble is not None
    assert "ledger.db" in ledger.trouble
    run(ledger.proved([Proof("a", "records", 1)]))
    assert run(ledger.skip(["a"], level="records", since_us=0)) == ["a"]
    tasks.spawned.pop().close()
    run(ledger.close())
    sound = run(SqliteLedger.open_or_forget(tasks, str(tmp_path / "other.db")))
    assert sound.trouble is None
    run(sound.close())


def test_a_ledger_that_could_not_be_opened_is_opened_later_and_has_what_was_noted_meanwhile(tmp_path: Path) -> None:
    path, hidden = tmp_path / "ledger.db", tmp_path / "hidden.db"
    with opened(str(path)) as before:
        first = run(before.begin_run(10))
        run(before.end_run(first, finished_us=20, verdict="match", healed=False, report={"first": 1}))
        run(
            before.proved([Proof("old", "records", 20, first), Proof("both", "records", 200, first), Proof("failed", "records", 20, first)])
        )
        run(before.keep_suspects({"rotten": ("unreadable", "of old", "records")}))
    path.rename(hidden)
    path.mkdir()  # nobody can open it
    tasks: Any = InlineTasks()
    ledger = run(SqliteLedger.open_or_forget(tasks, str(path)))
    told: list[str] = []
    ledger.opened = lambda: told.append("opened")
    ended, open_ = run(ledger.begin_run(100)), run(ledger.begin_run(110))
    run(ledger.end_run(ended, finished_us=120, verdict="mismatch", healed=False, report={"second": 1}))
    run(ledger.proved([Proof("new", "records", 120, ended), Proof("both", "records", 120, ended), Proof("failed", "records", 10, ended)]))
    run(ledger.failed(["failed"]))
    run(ledger.verified([PartitionProof("p", "t", "records", 120, 5, "match", False, 3, None, ended)]))
    run(ledger.keep_suspects({"bad": ("hole", "of now", "records")}))

    def third_time() -> None:
        assert ledger.trouble is not None
        if len(tasks.slept) == 3:
            path.rmdir()
            hidden.rename(path)

    tasks.before_sleep = third_time
    run(tasks.spawned.pop())
    assert tasks.slept == [OPEN_AGAIN_S] * 3, "at a steady rate"
    assert (told, ledger.trouble, ledger.path) == (["opened"], None, str(path))
    run(ledger.end_run(open_, finished_us=210, verdict="match", healed=True, report={"third": 1}))  # begun in memory
    run(ledger.proved([Proof("late", "records", 210, open_)]))
    run(ledger.close())
    with opened(str(path)) as after:
        runs = run(after.runs(9))
        assert [(one.started_us, one.finished_us, one.verdict, one.report) for one in reversed(runs)] == [
            (10, 20, "match", {"first": 1}),
            (100, 120, "mismatch", {"second": 1}),
            (110, 210, "match", {"third": 1}),
        ]
        assert run(after.known("")) == ["both", "failed", "late", "new", "old"]
        assert run(after.skip(["both", "failed", "late", "new", "old"], level="records", since_us=150)) == ["both", "late"], (
            "the newer word"
        )
        assert run(after.skip(["failed"], level="records", since_us=0)) == [], "what failed meanwhile"
        assert [(one.partition, one.run) for one in run(after.partitions())] == [("p", runs[1].id)]
        assert set(run(after.suspects())) == {"rotten", "bad"}
        assert run(after.begin_run(300)) == runs[0].id + 1


@pytest.mark.parametrize("damage", ["head", "middle", "text"])
def test_a_damaged_file_is_set_aside_and_the_ledger_starts_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    with opened(str(path)) as ledger:
        run(ledger.proved([Proof(f"object-{n:05d}", "records", 100) for n in range(2000)]))
    data = bytearray(path.read_bytes())
    if damage == "head":
        data[:100] = bytes(100)
    elif damage == "middle":
        data[len(data) // 2 : len(data) // 2 + 8192] = b"\xa5" * 8192
    else:
        data = bytearray(b"this is no database, it is a letter" * 40)
    path.write_bytes(data)
    with opened(str(path)) as ledger:
        assert ledger.set_aside == f"{path}.corrupt-1"
        assert Path(ledger.set_aside).read_bytes()[: len(data)] == bytes(data)
        assert run(ledger.skip(["object-00001"], level="records", since_us=0)) == []
        run(ledger.proved([Proof("a", "records", 1)]))
    with opened(str(path)) as ledger:
        assert ledger.set_aside is None


def test_the_schema_is_migrated_once(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.db")
    for _ in range(2):
        with opened(path):
            pass
    db = Database(path)
    assert db["_sqlite_migrations"].count == 4
    assert set(db.table_names()) == {"_sqlite_migrations", "objects", "partitions", "runs", "said", "state", "suspects"}
    db.close()


def test_golden_ledger(golden: Golden, tmp_path: Path) -> None:
    """A ledger as version 1 wrote it is opened, migrated and read."""
    path = tmp_path / "ledger.db"
    if golden.rewrite:
        with opened(str(path)) as ledger:
            run(ledger.proved([Proof("t=1/p=1/log/1.seg", "records", 1_760_000_000_000_000), Proof("t=1/p=1/log/1.json", "listed", 5)]))
            run(ledger.scrubbed(PartitionProof("p1", "t1", "scrub", 7, 42, "mismatch", True, 3, "0a" * 16)))
            number = run(ledger.begin_run(1_760_000_000_000_000))
            run(ledger.end_run(number, finished_us=1_760_000_001_000_000, verdict="mismatch", healed=True, report={"verdict": "mismatch"}))
            run(ledger.begin_run(1_760_000_002_000_000))
        golden.check("ledger/ledger.db", path.read_bytes())
    path.write_bytes(golden.read("ledger/ledger.db"))
    with opened(str(path)) as ledger:
        assert ledger.set_aside is None
        keys = run(ledger.known("t=1/"))
        read = {
            "records": run(ledger.skip(keys, level="records", since_us=0)),
            "listed": run(ledger.skip(keys, level="listed", since_us=0)),
            "partitions": [one._asdict() for one in run(ledger.partitions())],
            "runs": [one._asdict() for one in run(ledger.runs(10))],
        }
    assert {row.pop("run") for row in read["partitions"]} == {None}, "version 1 did not know which run"
    assert {row.pop("kind") for row in read["runs"]} == {"scrub"}, "version 1 knew no other"
    golden.check_json("ledger/ledger.json", read)


def check(level: str, at_us: int, verdict: str) -> PartitionProof:
    return PartitionProof("p1", "t1", level, at_us, None, verdict, False, None, None)


@pytest.mark.parametrize(
    ("checks", "stands"),
    [
        ([], None),
        ([check("scrub", 5, "mismatch")], None),
        ([check("records", 5, "match")], (5, "match")),
        ([check("records", 5, "mismatch")], (5, "mismatch")),
        ([check("records", 5, "mismatch"), check("listed", 9, "match")], (9, "mismatch")),
        ([check("records", 5, "mismatch"), check("replayed", 9, "match")], (9, "match")),
        ([check("records", 9, "mismatch"), check("replayed", 5, "match")], (9, "mismatch")),
        ([check(level, at, "match") for at, level in enumerate(LEVELS)], (3, "match")),
    ],
)
def test_a_failed_verify_stands_until_one_as_deep_has_passed(checks: list[PartitionProof], stands: tuple[int, str] | None) -> None:
    assert last_verify(checks) == stands


def test_verifies_and_scrubs_of_a_partition_are_kept_beside_each_other() -> None:
    with opened(MEMORY) as ledger:
        run(ledger.scrubbed(PartitionProof("p1", "t1", "scrub", 5, 9, "match", False, 3, "00ff")))
        run(ledger.verified([check("records", 6, "mismatch"), check("listed", 7, "match")]))
        run(ledger.verified([check("records", 8, "match")]))
        found = {proof.depth: (proof.at_us, proof.verdict) for proof in run(ledger.partitions())}
        assert found == {"scrub": (5, "match"), MATCHED: (5, "match"), "records": (8, "match"), "listed": (7, "match")}


def test_the_last_match_is_kept_when_a_later_scrub_could_not_compare() -> None:
    with opened(MEMORY) as ledger:
        run(ledger.scrubbed(PartitionProof("p1", "t1", "scrub", 5, 9, "match", False, 3, "00ff")))
        run(ledger.scrubbed(PartitionProof("p1", "t1", "scrub", 8, 9, "unverified", False, None, None)))
        assert {one.depth: (one.at_us, one.verdict) for one in run(ledger.partitions())} == {
            "scrub": (8, "unverified"),
            MATCHED: (5, "match"),
        }
        run(ledger.scrubbed(PartitionProof("p1", "t1", "scrub", 9, 9, "mismatch", True, 3, "00ff")))
        assert last_matched(run(ledger.partitions())) == {"p1": 9}, "healed"


@pytest.mark.parametrize(
    "report",
    [
        "",
        "{",
        "[]",
        '{"tables": [',
        "[" * 100_000,
        '{"tables": 5}',
        '{"tables": [{"table": "birds"}]}',
        '{"findings": [7]}',
        '{"why": "\\ud800"}',
    ],
)
def test_a_report_that_rotted_in_its_row_is_a_run_without_one(tmp_path: Path, report: str) -> None:
    path = str(tmp_path / "ledger.db")
    with opened(path) as ledger:
        run(ledger.end_run(run(ledger.begin_run(1)), finished_us=2, verdict="match", healed=False, report={"exit": 0}))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("update runs set report = ?", [report])
    with opened(path) as ledger:
        assert [(one.finished_us, one.report) for one in run(ledger.runs(5))] == [(2, None)]


def test_a_ledger_on_a_disk_that_is_full_says_so_and_remembers_all_once_there_is_room(tmp_path: Path) -> None:
    """ENOSPC of a file system, not of a stub: what was kept is kept, what is refused is said, and reading goes on."""
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, "1m"):
        with opened(str(folder / "ledger.db")) as ledger:
            run(ledger.proved([Proof("a", "records", 100)]))
            filler = folder / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    """Until there is no room."""
            some = [Proof(f"{number:0200}", "records", 200) for number in range(2_000)]
            with pytest.raises(Unavailable) as full:
                run(ledger.proved(some))
            assert "full" in str(full.value)
            assert "full" in (ledger.trouble or "")
            assert run(ledger.skip(["a", some[0].object], level="records", since_us=0)) == ["a"], "all of it or nothing"
            filler.unlink()
            run(ledger.proved(some[:200]))
            assert ledger.trouble is None
            assert ledger.set_aside is None
        with opened(str(folder / "ledger.db")) as ledger:
            assert run(ledger.skip(["a", some[0].object], level="records", since_us=0)) == ["a", some[0].object]


def test_a_ledger_on_a_file_system_that_turned_read_only_says_so_and_goes_on_reading(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, "4m"):
        path = str(folder / "ledger.db")
        with opened(path) as ledger:
            run(ledger.proved([Proof("a", "records", 100)]))
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        tasks: Any = InlineTasks()
        ledger = run(SqliteLedger.open_or_forget(tasks, path))
        assert ledger.path == MEMORY
        assert ledger.trouble
        run(ledger.proved([Proof("b", "records", 100)]))
        assert run(ledger.skip(["b"], level="records", since_us=0)) == ["b"], "remembered by this process"
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        run(tasks.spawned.pop())
        run(ledger.close())
        with opened(path) as ledger:
            assert run(ledger.skip(["a", "b"], level="records", since_us=0)) == ["a", "b"], "what was noted meanwhile is in it"
