"""A ledger in one SQLite file below the data folder (docs/formats/ledger.md).

A file that SQLite cannot read is set aside beside itself and begun anew, at the start or in the middle of its use, and `set_aside` says so. One that is deleted or
exchanged while it is open is written anew from what is open. One that cannot be opened at all is replaced by a ledger in memory, and `trouble` says so: no scrub and no start waits for a ledger.
It is tried again at a steady rate, and what was noted meanwhile goes into it. All calls are coroutines; SQLite runs off the loop, one call at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

from sqlite_utils import Database, Migrations
from sqlite_utils.db import Table

from scrubjay.base.env import Tasks
from scrubjay.base.errors import Unavailable
from scrubjay.scrubber.ledger import (
    MATCHED,
    SCRUB,
    WINDOW_US,
    LedgerRun,
    PartitionProof,
    Proof,
    RebuiltLedger,
    level_rank,
    matched,
    report_read,
)

T = TypeVar("T")

RUNS_KEPT = 1000
"""So many of the newest runs are kept, and of those before them the ones that found something."""
RUNS_MAX = 10_000
"""Never more than this."""
RUNS_LEAST = 100
"""So many are kept however old they look: a clock that ran ahead must not end the history."""
_LET_GO = (
    "delete from runs where id <= :newest - :least and started_us < :begins",
    "delete from runs where id <= :newest - :kept and verdict is not 'mismatch'",
    "delete from runs where id <= :newest - :most",
)

MEMORY = ":memory:"

OPEN_AGAIN_S = 30.0
"""A file that could not be opened is tried again so often."""
_TAKE_OVER = (
    (
        "insert into objects (object, level, at_us, run) select object, level, at_us, run + :after from kept.objects where true"
        " on conflict (object, level) do update set at_us = excluded.at_us, run = excluded.run where excluded.at_us < 0 or excluded.at_us >= at_us"
    ),
    (
        "insert into partitions (partition, table_id, depth, at_us, lsn, verdict, healed, rows, digest, run)"
        " select partition, table_id, depth, at_us, lsn, verdict, healed, rows, digest, run + :after from kept.partitions where true"
        " on conflict (partition, depth) do update set table_id = excluded.table_id, at_us = excluded.at_us, lsn = excluded.lsn, verdict = excluded.verdict,"
        " healed = excluded.healed, rows = excluded.rows, digest = excluded.digest, run = excluded.run where excluded.at_us >= at_us"
    ),
    (
        "insert into runs (id, started_us, finished_us, verdict, healed, report, kind, said)"
        " select id + :after, started_us, finished_us, verdict, healed, report, kind, said from kept.runs where :after >= 0"
    ),
    "insert or replace into suspects select * from kept.suspects",
    "insert into said (object, at_us) select object, at_us from kept.said where true on conflict (object) do update set at_us = max(at_us, excluded.at_us)",
)
"""What a ledger in memory noted, into the file: the newer of each, its runs behind those that are there. What the file says of itself (`state`) stays."""

migrations = Migrations("scrubjay-ledger")


@migrations()
def m001_objects_partitions_runs(db: Database) -> None:
    """Version 1."""
    _table(db, "objects").create({"object": str, "level": int, "at_us": int}, pk=("object", "level"), not_null={"at_us"}, strict=True)
    _table(db, "partitions").create(
        {
            "partition": str,
            "table_id": str,
            "depth": str,
            "at_us": int,
            "lsn": int,
            "verdict": str,
            "healed": int,
            "rows": int,
            "digest": str,
        },
        pk=("partition", "depth"),
        not_null={"table_id", "at_us", "verdict", "healed"},
        strict=True,
    )
    _table(db, "runs").create(
        {"id": int, "started_us": int, "finished_us": int, "verdict": str, "healed": int, "report": str},
        pk="id",
        not_null={"started_us"},
        strict=True,
    )


@migrations()
def m002_suspects(db: Database) -> None:
    """Version 2."""
    _table(db, "suspects").create(
        {"object": str, "kind": str, "detail": str, "level": str}, pk="object", not_null={"kind", "detail", "level"}, strict=True
    )


@migrations()
def m003_which_run(db: Database) -> None:
    """Version 3."""
    db.execute("alter table runs add column kind text not null default 'scrub'")
    db.execute("alter table objects add column run integer")
    db.execute("alter table partitions add column run integer")


@migrations()
def m004_what_was_told(db: Database) -> None:
    """Version 4."""
    _table(db, "said").create({"object": str, "at_us": int}, pk="object", not_null={"at_us"}, strict=True)
    _table(db, "state").create({"key": str, "value": str}, pk="key", not_null={"value"}, strict=True)
    db.execute("alter table runs add column said integer")


def _table(db: Database, name: str) -> Table:
    return cast(Table, db[name])


class SqliteLedger:
    """A Ledger in one SQLite file. Made by `SqliteLedger.open`.

    More than 25 methods: one for each question, and each is a statement or two; they share the connection and its one way in (`_run`).
    """

    def __init__(self, tasks: Tasks, path: str, db: Database, set_aside: str | None) -> None:
        self._tasks = tasks
        self.path = path
        self._db = db
        self._lock = Lock()
        self.set_aside = set_aside
        """Where a ledger that could not be read was moved, when this one was opened or later; None if it was sound."""
        self.trouble: str | None = None
        """Why nothing is remembered beyond this process, or what was last to be remembered is not; None: it is. Only what could be written ends it."""
        self.rebuilt: RebuiltLedger | None = None
        """Since when it holds no more than it could be begun anew with; None: it was not lost."""
        self.lost: Callable[[str], object] = lambda aside: None
        """Called with the new place when a file is set aside in the middle of its use."""
        self.put_back: Callable[[str], object] = lambda other: None
        """Called when a file that was deleted while it was open was written anew. other: where the file lies now that had been put in its place; "": there was none."""
        self.opened: Callable[[], object] = lambda: None
        """Called when a file that could not be opened could be: what was noted meanwhile is in it."""
        self._moved: dict[int, int] = {}
        """Runs begun in memory, by their ids in the file."""
        self._file, self._journal = _number(path), _number(path + "-wal")

    @classmethod
    async def open(cls, tasks: Tasks, path: str) -> SqliteLedger:
        """path: of the file (made with its folder if absent), or MEMORY. Raises Unavailable (disk full, no rights)."""
        db, set_aside = await tasks.blocking(lambda: _open(path))
        ledger = cls(tasks, path, db, set_aside)
        with suppress(Unavailable):  # whoever asks next is told
            ledger.rebuilt = await ledger._run(_rebuilt)
        return ledger

    @classmethod
    async def open_or_forget(cls, tasks: Tasks, path: str) -> SqliteLedger:
        """As `open`; a file that cannot be opened makes a ledger in memory, with `trouble`: what it would have told is proven again, nothing else is lost."""
        try:
            return await cls.open(tasks, path)
        except Unavailable as error:
            ledger = await cls.open(tasks, MEMORY)
            ledger.trouble = str(error)
            tasks.spawn(ledger._open_again(path), name="open the ledger again")
            return ledger

    async def _open_again(self, path: str) -> None:
        """Until it can be opened: the same ledger goes on in the file."""
        while True:
            await self._tasks.sleep(OPEN_AGAIN_S)
            try:
                rebuilt = await self._tasks.blocking(lambda: self._take(path))
            except Unavailable as error:
                self.trouble = str(error)
                continue
            self.rebuilt = rebuilt or self.rebuilt
            self.trouble = None
            self.opened()
            return

    def _take(self, path: str) -> RebuiltLedger | None:
        """Open the file, bring what memory holds into it, all of it or nothing, and go on with it. Raises Unavailable."""
        with self._lock:
            db, aside = _open(path)
            try:
                after = next(iter(db.query("select coalesce(max(id), 0) as n from runs")))["n"]
                moved = {row["id"]: row["id"] + after for row in self._db.query("select id from runs")}
                # The memory of one connection cannot be attached to another; a copy of it can.
                db.execute("attach ':memory:' as kept")
                self._copy_into(db)
                with db.conn:
                    for statement in _TAKE_OVER:
                        db.execute(statement, {"after": after} if ":after" in statement else {})
                db.execute("detach kept")
            except sqlite3.Error as error:
                db.close()
                raise Unavailable("the ledger can be opened and takes nothing", path=path, why=str(error)) from error
            self._db.close()
            self._db, self.path, self._moved = db, path, moved
            self.set_aside = aside or self.set_aside
            self._file, self._journal = _number(path), _number(path + "-wal")
            return _rebuilt(db)

    def _copy_into(self, db: Database) -> None:
        for name in ("objects", "partitions", "runs", "suspects", "said"):
            rows = list(self._db.query(f"select * from {name}"))  # noqa: S608
            columns = [one.name for one in _table(self._db, name).columns]
            db.execute(f"create table kept.{name} ({', '.join(columns)})")
            if rows:
                places = ", ".join("?" * len(columns))
                db.conn.executemany(f"insert into kept.{name} values ({places})", [tuple(row[one] for one in columns) for row in rows])  # noqa: S608
        db.conn.commit()

    def _run_id(self, run: int | None) -> int | None:
        """Of a run that began in memory, as the file has it."""
        return run if run is None else self._moved.get(run, run)

    async def empty(self) -> bool:
        query = "select exists(select 1 from objects) or exists(select 1 from partitions) or exists(select 1 from runs) as told"
        return await self._run(lambda db: not next(iter(db.query(query)))["told"])

    async def close(self) -> None:
        await self._run(lambda db: db.close())

    async def skip(self, objects: Sequence[str], *, level: str, since_us: int, until_us: int | None = None) -> list[str]:
        query = (
            "select o.object from objects o join json_each(:wanted) j on o.object = j.value"
            " where o.level >= :rank and o.at_us >= :since and o.at_us <= coalesce(:until, o.at_us)"
        )
        asked = {"wanted": json.dumps(list(objects)), "rank": level_rank(level), "since": since_us, "until": until_us}
        found = await self._run(lambda db: {row["object"] for row in db.query(query, asked)})
        return [one for one in objects if one in found]

    async def proved(self, proofs: Sequence[Proof]) -> None:
        rows = [{"object": one.object, "level": level_rank(one.level), "at_us": one.at_us, "run": self._run_id(one.run)} for one in proofs]
        await self._run(lambda db: _write(db, "objects", rows), writes=True)

    async def failed(self, objects: Sequence[str]) -> None:
        wanted = json.dumps(list(objects))
        await self._run(
            lambda db: _execute(db, "update objects set at_us = -1 where object in (select value from json_each(?))", [wanted]), writes=True
        )

    async def forget(self, objects: Sequence[str]) -> None:
        """These went, as they should: nobody looks for them any more."""
        wanted = json.dumps(list(objects))

        def work(db: Database) -> None:
            with db.conn:
                for table in ("objects", "said"):
                    db.execute(f"delete from {table} where object in (select value from json_each(?))", [wanted])  # noqa: S608

        await self._run(work, writes=True)

    async def unsaid(self, cluster: str, *, before_us: int, now_us: int, limit: int) -> list[str]:
        """Segments and manifests of bases that were proven by content, and were not told to the archive since `before_us`; rising."""
        query = (
            "select distinct o.object from objects o left join said s on s.object = o.object"
            " where o.object >= :low and o.object < :high and o.level >= :rank and o.at_us >= 0"
            " and (o.object like '%.seg' or o.object like '%/manifest.json')"
            " and (s.at_us is null or s.at_us < :before or s.at_us > :now) order by o.object limit :limit"
        )
        prefix = f"{cluster}/t="
        bounds = {
            "low": prefix,
            "high": prefix + "\uffff",
            "rank": level_rank("objects"),
            "before": before_us,
            "now": now_us,
            "limit": limit,
        }
        return await self._run(lambda db: [str(row["object"]) for row in db.query(query, bounds)])

    async def unsaid_runs(self, limit: int, *, now_us: int) -> list[LedgerRun]:
        """Ended, and not told to the archive; the oldest first."""
        where, asked = "finished_us is not null and (said is null or said > :now)", {"now": now_us}
        return await self._run(lambda db: [_run_of(row) for row in _table(db, "runs").rows_where(where, asked, order_by="id", limit=limit)])

    async def said(self, objects: Sequence[str], runs: Sequence[int], at_us: int) -> None:
        def work(db: Database) -> None:
            with db.conn:
                _table(db, "said").upsert_all([{"object": one, "at_us": at_us} for one in objects])
                db.execute("update runs set said = ? where id in (select value from json_each(?))", [at_us, json.dumps(list(runs))])

        await self._run(work, writes=True)

    async def heard(self, objects: Sequence[str], at_us: int) -> None:
        """The archive was told of these at that time, by whomever. Those that are not known are left out."""
        query = (
            "insert into said (object, at_us) select j.value, :at from json_each(:told) j where exists(select 1 from objects o where o.object = j.value)"
            " on conflict (object) do update set at_us = max(at_us, excluded.at_us)"
        )

        def work(db: Database) -> None:
            with db.conn:
                db.execute(query, {"at": at_us, "told": json.dumps(list(objects))})

        await self._run(work, writes=True)

    async def untold(self, cluster: str, *, since_us: int, now_us: int) -> bool:
        """Something that should be there, by whatever proof, was not told to the archive since then."""
        query = (
            "select exists(select 1 from objects o left join said s on s.object = o.object where o.object >= :low and o.object < :high and o.at_us >= 0"
            " and (o.object like '%.seg' or o.object like '%/manifest.json')"
            " and (s.at_us is null or s.at_us < :since or s.at_us > :now)) as untold"
        )
        bounds = {"low": f"{cluster}/t=", "high": f"{cluster}/t=\uffff", "since": since_us, "now": now_us}
        return await self._run(lambda db: bool(next(iter(db.query(query, bounds)))["untold"]))

    async def told_at(self, times: Sequence[int], *, since_us: int) -> int:
        """Objects of the daily index that were made at these times tell what they did. What was told at another since then is not told any more, and is to be told again: how
        many names and runs."""
        asked = {"since": since_us, "times": json.dumps(list(times))}
        of_others = ">= :since and {0} not in (select value from json_each(:times))"

        def work(db: Database) -> int:
            with db.conn:
                names = db.execute(f"update said set at_us = 0 where at_us {of_others.format('at_us')}", asked).rowcount  # noqa: S608
                return names + db.execute(f"update runs set said = null where said {of_others.format('said')}", asked).rowcount  # noqa: S608

        return await self._run(work, writes=True)

    async def take_back_runs(self, runs: Sequence[LedgerRun], at_us: int) -> int:
        """Runs of a ledger that was lost, as an object of the archive tells them that was made then: those that are not there, in front of those that are. How many."""

        def work(db: Database) -> int:
            with db.conn:
                there = {(row["kind"], row["started_us"]) for row in db.query("select kind, started_us from runs")}
                lost = sorted((run for run in runs if (run.kind, run.started_us) not in there), key=lambda run: run.started_us)
                lowest = next(iter(db.query("select min(id) as id from runs")))["id"]
                first = 1 if lowest is None else lowest - len(lost)
                rows = [
                    {
                        "id": first + place, "started_us": run.started_us, "finished_us": run.finished_us, "verdict": run.verdict,
                        "healed": int(run.healed), "report": json.dumps(run.report, sort_keys=True), "kind": run.kind, "said": at_us,
                    }
                    for place, run in enumerate(lost)
                ]  # fmt: skip
                _table(db, "runs").insert_all(rows)
            return len(rows)

        return await self._run(work, writes=True)

    async def unfinished(self) -> bool:
        """It was begun anew, and a life of a process ended before it knew what it could be rebuilt from."""
        query = "select count(*) as n from state where key = 'rebuilding'"
        return await self._run(lambda db: bool(next(iter(db.query(query)))["n"]))

    async def rebuilding(self, told: RebuiltLedger) -> None:
        """It is rebuilt; over restarts too, until `objects` says that it is through."""
        self.rebuilt = told
        value = json.dumps(told._asdict())

        def work(db: Database) -> None:
            with db.conn:
                _table(db, "state").upsert({"key": "rebuilt", "value": value})
                if told.objects is None:
                    _table(db, "state").upsert({"key": "rebuilding", "value": value})
                else:
                    db.execute("delete from state where key = 'rebuilding'")

        await self._run(work, writes=True)

    async def known(self, prefix: str) -> list[str]:
        query = "select distinct object from objects where object >= ? and object < ? order by object"
        return await self._run(lambda db: [str(row["object"]) for row in db.query(query, [prefix, prefix + "\uffff"])])

    async def known_partitions(self, cluster: str) -> list[tuple[str, str]]:
        # <cluster>/t=<table>/p=<partition>/: ids have a fixed width.
        query = "select distinct substr(object, 40, 36) as t, substr(object, 79, 36) as p from objects where object >= ? and object < ? order by 1, 2"
        prefix = f"{cluster}/t="
        return await self._run(lambda db: [(str(row["t"]), str(row["p"])) for row in db.query(query, [prefix, prefix + "\uffff"])])

    async def newest(self, prefix: str) -> str | None:
        """The last in key order of the objects ever proven below `prefix`."""
        query = "select max(object) as newest from objects where object >= ? and object < ?"
        return await self._run(lambda db: cast("str | None", next(iter(db.query(query, [prefix, prefix + "\uffff"])))["newest"]))

    async def suspects(self) -> dict[str, tuple[str, str, str]]:
        """Objects that were found bad and have not been found sound since: (kind, detail, level), by key."""
        query = "select object, kind, detail, level from suspects order by rowid"
        return await self._run(lambda db: {row["object"]: (row["kind"], row["detail"], row["level"]) for row in db.query(query)})

    async def keep_suspects(self, found: Mapping[str, tuple[str, str, str]]) -> None:
        """These and no others."""
        rows = [{"object": key, "kind": kind, "detail": detail, "level": level} for key, (kind, detail, level) in found.items()]

        def work(db: Database) -> None:
            with db.conn:
                db.execute("delete from suspects")
                _table(db, "suspects").insert_all(rows)

        await self._run(work, writes=True)

    async def scrubbed(self, proof: PartitionProof) -> None:
        kept = [proof, proof._replace(depth=MATCHED)] if matched(proof) else [proof]
        await self.verified(kept)

    async def verified(self, proofs: Sequence[PartitionProof]) -> None:
        rows = [{**proof._asdict(), "healed": int(proof.healed), "run": self._run_id(proof.run)} for proof in proofs]
        await self._run(lambda db: _write(db, "partitions", rows), writes=True)

    async def partitions(self) -> list[PartitionProof]:
        rows = await self._run(lambda db: list(_table(db, "partitions").rows_where(order_by="partition, depth")))
        return [PartitionProof(**{**row, "healed": bool(row["healed"])}) for row in rows]

    async def begin_run(self, started_us: int, *, kind: str = SCRUB) -> int:
        def work(db: Database) -> int:
            with db.conn:
                at = _table(db, "runs").insert({"started_us": started_us, "healed": 0, "kind": kind}).last_pk
                newest = int(cast(int, at))
                bounds = {"newest": newest, "begins": started_us - WINDOW_US, "least": RUNS_LEAST, "kept": RUNS_KEPT, "most": RUNS_MAX}
                for statement in _LET_GO:
                    db.execute(statement, bounds)
            return newest

        return await self._run(work, writes=True)

    async def end_run(self, run: int, *, finished_us: int, verdict: str, healed: bool, report: dict[str, Any]) -> None:
        change = [finished_us, verdict, int(healed), json.dumps(report, sort_keys=True), self._run_id(run)]
        await self._run(
            lambda db: _execute(db, "update runs set finished_us = ?, verdict = ?, healed = ?, report = ? where id = ?", change),
            writes=True,
        )

    async def runs(self, limit: int, *, kind: str | None = None, since_us: int | None = None) -> list[LedgerRun]:
        where = "kind = coalesce(:kind, kind) and started_us >= coalesce(:since, started_us)"
        asked = {"kind": kind, "since": since_us}

        def work(db: Database) -> list[LedgerRun]:
            """Reports are read here, off the loop: there may be megabytes of them."""
            rows = _table(db, "runs").rows_where(where, asked, order_by="id desc", limit=limit)
            return [_run_of(row) for row in rows]

        return await self._run(work)

    def _stay(self) -> str | None:
        """After a write: where its file is not the one that is open any more (or lacks its journal, which there is after a write), what is open is all there is, and
        would end with this process: it is written anew. Where the file lies now that was put in its place ("": none was); None: all is well. Raises OSError, sqlite3.Error."""
        there, journal = _number(self.path), _number(self.path + "-wal")
        if there == self._file and journal is not None:
            self._journal = journal
            return None
        part = f"{self.path}.new"
        Path(part).unlink(missing_ok=True)
        self._db.execute("vacuum into ?", [part])
        self._db.close()
        other = ""
        if there not in (None, self._file):
            other = _free(f"{self.path}.other")
            Path(self.path).rename(other)
        if other and journal not in (None, self._journal):
            Path(self.path + "-wal").rename(other + "-wal")  # it came with that file; ours must never be taken for its
        for suffix in ("-wal", "-shm"):
            Path(self.path + suffix).unlink(missing_ok=True)
        Path(part).rename(self.path)
        self._db, self._file = _connect(self.path), _number(self.path)
        return other

    async def _run(self, work: Callable[[Database], T], *, writes: bool = False) -> T:
        def locked() -> tuple[T, str | None, str | None]:
            with self._lock:
                try:
                    result = work(self._db)
                    return result, None, self._stay() if writes and self.path != MEMORY else None
                except OSError as error:
                    raise Unavailable("the ledger's file is gone and cannot be written anew", path=self.path, why=str(error)) from error
                except sqlite3.Error as error:
                    if not _rotten(error) or self.path == MEMORY:
                        raise Unavailable("the ledger cannot be used", path=self.path, why=str(error)) from error
                try:
                    self._db.close()
                    self._db, aside = _begin_anew(self.path)
                    self._file = _number(self.path)
                    return work(self._db), aside, None
                except (OSError, sqlite3.Error) as error:
                    raise Unavailable("the ledger rotted and cannot be begun anew", path=self.path, why=str(error)) from error

        try:
            result, aside, other = await self._tasks.blocking(locked)
        except Unavailable as error:
            self.trouble = str(error)
            raise
        if writes and self.path != MEMORY:
            self.trouble = None
        if aside is not None:
            self.set_aside = aside
            self.lost(aside)
        if other is not None:
            self.put_back(other)
        return result


def _rebuilt(db: Database) -> RebuiltLedger | None:
    for row in _table(db, "state").rows_where("key = 'rebuilt'"):
        try:
            return RebuiltLedger(**json.loads(row["value"]))
        except (ValueError, TypeError, RecursionError):
            return None
    return None


def _rotten(error: sqlite3.Error) -> bool:
    """The file's own bytes are bad; no statement will do better."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _run_of(row: Mapping[str, Any]) -> LedgerRun:
    return LedgerRun(
        **{name: row[name] for name in LedgerRun._fields} | {"healed": bool(row["healed"]), "report": report_read(row["report"])}
    )


def _write(db: Database, table: str, rows: Sequence[dict[str, Any]]) -> None:
    with db.conn:
        _table(db, table).upsert_all(rows)


def _execute(db: Database, sql: str, arguments: Sequence[Any]) -> None:
    with db.conn:
        db.execute(sql, arguments)


def _open(path: str) -> tuple[Database, str | None]:
    try:
        if path == MEMORY:
            return _connect(path), None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path), None
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return _begin_anew(path)
    except (OSError, sqlite3.OperationalError) as error:
        step = (
            f"let the user that runs it read and write {path}, or move it away: it only remembers what was verified when, and is begun anew"
        )
        raise Unavailable("the ledger cannot be opened", path=path, why=str(error), next=step) from error


def _begin_anew(path: str) -> tuple[Database, str]:
    """Move the unreadable file (and its journal) to the first free name beside it, and start an empty ledger."""
    aside = _free(f"{path}.corrupt")
    Path(path).rename(aside)
    for suffix in ("-wal", "-shm"):
        if Path(path + suffix).exists():
            Path(path + suffix).rename(aside + suffix)
    return _connect(path), aside


def _free(path: str) -> str:
    """The first name of path-1, path-2, … that nothing has."""
    number = 1
    while Path(f"{path}-{number}").exists():
        number += 1
    return f"{path}-{number}"


def _number(path: str) -> int | None:
    """Of the file at a path; None: there is none."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def _connect(path: str) -> Database:
    """Open, check every page, and bring the schema up to date. Raises sqlite3.DatabaseError if the file is damaged."""
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        if path != MEMORY:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
        found = connection.execute("pragma quick_check").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        db = Database(connection)
        migrations.apply(db)
    except BaseException:
        connection.close()
        raise
    return db
