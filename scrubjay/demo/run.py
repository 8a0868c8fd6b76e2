"""The demo itself: load, change, damage, find, heal, restore, compare. Every step ends in something that was checked."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.demo.cities import SOURCE, load_cities
from scrubjay.demo.client import RECOUNT_MORE, put_cities, recount
from scrubjay.demo.copying import copy_archive
from scrubjay.demo.story import CheckFailed, Step, Story
from scrubjay.drills.damage import ArchiveDamage, Flip, damage_archive, flip_live_bit
from scrubjay.drills.model import Key, Model, canonical, compare, decode, key_item, merge
from scrubjay.machine import monotonic_s, pause
from scrubjay.output import DONE, FAILED, INCOMPLETE, MISMATCH, REFUSED, USAGE, VerbFailure
from scrubjay.scratch import client
from scrubjay.scratch.processes import NODES, Processes
from scrubjay.scratch.server import Server
from scrubjay.units import human_size
from scrubjay.verb import Result, VerbCall
from scrubjay.verbs.restore_target import plan_lines

TABLE = "cities"
RESTORED = "cities-restored"
WORKERS = 2
CHUNK = 1_000
PARTS_MIN = 5
ROWS_MIN = PARTS_MIN * CHUNK
"""So that every country of the story is there."""
LOAD_UNTIL_S = 38.0
"""Seconds after the demo's start. No more is loaded then, so that the whole stays under two minutes on a slow machine too (what follows takes about as
long as the load); the report says how much it was."""

SETTINGS = ("tables.initial_partitions=2", "storage.checkpoint_age=2s", "archive.seal_age=5s", "archive.seal_age_max=5s")
RECOUNTED = 1_000
WRONG_COUNTRIES = ("DE",)
DELETED_COUNTRIES = ("NL", "PT")
UNTOUCHED_READS = 20


def run_demo(call: VerbCall) -> Result:
    """Everything; exit 0 only if every claim was checked. The server is stopped whatever happens; a temporary folder stays only if a step failed."""
    tell = (lambda line: call.log(line)) if call.json else (lambda line: print(line, flush=True))
    story = Story(tell)
    given, rows = call.option("data"), call.option("rows")
    if rows is not None and rows < ROWS_MIN:
        raise VerbFailure(
            "too few cities to show anything",
            code="Usage",
            exit_code=USAGE,
            asked=f"--rows {rows}",
            next_step=f"give at least {ROWS_MIN}, or none",
        )
    folder = _folder(given)
    archive = call.option("archive")
    demo = (DemoOnProcesses if call.option("cluster") else Demo)(story, folder, archive=archive, rows=rows)
    try:
        demo.run()
    except CheckFailed:
        pass  # told, and kept in the story
    finally:
        demo.close()
        kept = given is not None or bool(call.option("keep")) or story.exit_code != DONE
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return story.exit_code, {
        "error": story.error,
        "checked": story.exit_code == DONE,
        "steps": [step.as_json() for step in story.steps],
        "rows": demo.rows,
        "source": SOURCE,
        "at": demo.noted,
        "seconds": round(story.seconds, 3),
        "data": str(folder) if kept else None,
        "archive": demo.server.archive_url,
    }


def _folder(given: str | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="scrubjay-demo-"))
    folder = Path(given).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise VerbFailure(
            "the folder is not empty",
            code="Unsafe",
            exit_code=REFUSED,
            asked=f"--data {given}",
            found="files in it",
            next_step="name a new one",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Demo:
    """The state between the steps. model: exactly what the table held at the noted time. largest: keys of the most populous cities."""

    def __init__(self, story: Story, folder: Path, *, archive: str | None, rows: int | None) -> None:
        self.story = story
        self.folder = folder
        self.server = self.cluster(folder, archive)
        self.rows: int | None = None
        self.noted: str | None = None
        self.model: Model = {}
        self.largest: list[Key] = []
        self.table_id = ""
        self.flip: Flip | None = None
        self.victim: Key = ("", "")
        self._pool: ProcessPoolExecutor | None = None
        # Reading the data set takes as long as starting the server: both at once.
        self._reader = ThreadPoolExecutor(1)
        self._cities = self._reader.submit(load_cities, rows)

    def cluster(self, folder: Path, archive: str | None) -> Server | Processes:
        """What it runs on, not started yet."""
        return Server(folder, archive=archive, settings=SETTINGS)

    def run(self) -> None:
        self.start()
        self.load()
        self.change()
        self.rest()

    def rest(self) -> None:
        """From a table that is right and noted, to the end."""
        self.break_table()
        self.rot_a_replica()
        self.verify_archive()
        self.scrub()
        self.restore()
        self.compare()
        self.finish()

    def close(self) -> None:
        """End the workers and, if it still runs, the server."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._reader.shutdown(wait=False, cancel_futures=True)
        self.server.close()

    # -- the steps -------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.story.step("start", "Start a cluster: three storage nodes in three zones, archive in object storage") as step:
            self.server.start()
            self._pool = _open_pool()
            self.table_id = client.create_table(self.server.endpoint, TABLE)
            step.proven(f"it serves {self.server.endpoint}, table {TABLE} is ACTIVE", endpoint=self.server.endpoint, table_id=self.table_id)

    def load(self) -> None:
        with self.story.step("load", "Load real data with boto3: the cities of the world, key country + city") as step:
            available, wanted = self._cities.result()
            began = monotonic_s()
            self.model = merge(self._spread(put_cities, _chunks(wanted, CHUNK), until=began + LOAD_UNTIL_S - self.story.seconds))
            seconds = monotonic_s() - began
            self.rows = len(self.model)
            self.largest = [key for key in ((city.country, city.sort) for city in wanted[:RECOUNTED]) if key in self.model]
            rate = self.rows / seconds
            if self.rows < len(wanted):
                self.story.say(
                    f"stopped after {seconds:.0f} s: this machine loads {rate:.0f} items/s; the {len(wanted) - self.rows} smallest cities are left out"
                )
            step.proven(
                f"{self.rows} of {available} cities acknowledged by a quorum, {rate:.0f} items/s",
                rows=self.rows,
                available=available,
                items_per_second=round(rate, 1),
            )

    def change(self) -> None:
        with self.story.step("change", "Count the largest cities again, one UpdateItem each, and note the time") as step:
            chosen = self.largest
            remarks = [(key, f"counted again by the demo, sheet {number:06d} of {key[1]}") for number, key in enumerate(chosen)]
            updated = merge(self._spread(recount, _chunks(remarks, RECOUNTED // (2 * WORKERS))))
            for key, remark in remarks:
                item = decode(self.model[key])
                item["population"] = {"N": str(int(item["population"]["N"]) + RECOUNT_MORE)}
                item["remark"] = {"S": remark}
                self.model[key] = canonical(item)
                step.expect(updated[key] == self.model[key], f"the answer to the update of {key} is not what was to be expected")
            self.victim = next(key for key in chosen if key[0] not in (*WRONG_COUNTRIES, *DELETED_COUNTRIES))
            # One write more, sent after all others were acknowledged: its effective time on the server's clock is the moment to come back to. It has a
            # remark of its own, so that where that is found in a tree no later write of the same city is on its way there (it would undo the rot).
            item = decode(self.model[self.victim])
            item["remark"] = {"S": f"the last count of the demo: {self.victim[1]}"}
            self.model[self.victim] = canonical(item)
            last = client.dynamodb(self.server.endpoint).put_item(TableName=TABLE, Item=item)
            self.noted = client.server_time(last)
            parse_time(self.noted)
            step.proven(f"{len(updated)} answers equal what was expected; the moment is {self.noted}", updated=len(updated), at=self.noted)

    def break_table(self) -> None:
        with self.story.step(
            "bad job", f"A bad job runs: wrong populations in {', '.join(WRONG_COUNTRIES)}, {', '.join(DELETED_COUNTRIES)} deleted"
        ) as step:
            wrong = [{**decode(raw), "population": {"N": "-1"}} for key, raw in self.model.items() if key[0] in WRONG_COUNTRIES]
            gone = [key for key in self.model if key[0] in DELETED_COUNTRIES]
            written = sum(self._spread(client.put_items, _chunks(wrong, CHUNK)))
            deleted = sum(self._spread(client.delete_keys, _chunks(gone, CHUNK)))
            for country, expected in ((WRONG_COUNTRIES[0], "-1"), (DELETED_COUNTRIES[0], None)):
                key = next(key for key in self.model if key[0] == country)
                item = client.dynamodb(self.server.endpoint).get_item(TableName=TABLE, Key=key_item(key), ConsistentRead=True).get("Item")
                found = item["population"]["N"] if item else None
                step.expect(found == expected, f"the bad job did not reach {key}")
            step.proven(f"the live table is wrong: {written} cities with -1 people, {deleted} gone", wrong=written, deleted=deleted)

    def rot_a_replica(self) -> None:
        with self.story.step("bit rot", "A disk rots: flip one bit of a live value in one replica's B-tree file") as step:
            remark = decode(self.model[self.victim])["remark"]["S"].encode()
            self.flip = _until(
                30.0, lambda: next(filter(None, (flip_live_bit(folder, remark) for folder in self.server.node_folders)), None)
            )
            step.expect(self.flip is not None, "no checkpoint brought the value into a B-tree file within 30 s", exit_code=FAILED)
            assert self.flip is not None
            right = self.model[self.victim]
            dynamodb = client.dynamodb(self.server.endpoint)
            for attempt in range(UNTOUCHED_READS):
                item = dynamodb.get_item(TableName=TABLE, Key=key_item(self.victim), ConsistentRead=attempt % 2 == 0)["Item"]
                step.expect(canonical(item) == right, f"a read gave the rotted value of {self.victim}")
            flip = self.flip
            step.proven(
                f"bit {flip.bit} of byte {flip.offset} on {flip.node} flipped in the value of {self.victim[1]}; {UNTOUCHED_READS} reads, never the rotted value",
                node=flip.node,
                file=str(flip.file),
                offset=flip.offset,
                key=key_item(self.victim),
            )

    def verify_archive(self) -> None:
        with self.story.step("verify", "Verify the archive, and a copy of it with a flipped bit and a lost segment") as step:
            self._wait_archived(step)
            copy = self.folder / "damaged-copy"
            objects = copy_archive(self.server.archive_url, copy)
            damage = damage_archive(copy, self.table_id)
            code, bad = self._verb(step, "verify", "--archive", copy.as_uri())
            step.expect(code == MISMATCH, f"verify of the damaged copy ended with {code}, not 2: {bad['error'] or bad['verdict']}")
            _expect_found(step, bad["findings"], damage)
            code, good = self._verb(step, "verify")
            step.expect(
                code == DONE,
                f"verify of the real archive ended with {code}: {good['error'] or good['findings'] or good['verdict']}",
                exit_code=code or FAILED,
            )
            checked = good["objects"]["checked"]
            step.proven(
                f"the copy: both damages named, exit 2; the real archive: {checked} objects whole, {human_size(good['bytes'])} read, exit 0",
                copied=objects,
                flipped=damage.flipped,
                removed=damage.removed,
                checked=checked,
            )

    def scrub(self) -> None:
        with self.story.step("scrub", "Scrub: compare every replica with one rebuilt from the archive alone") as step:
            code, first = self._verb(step, "scrub", "run", "--table", TABLE)
            step.expect(
                code == MISMATCH, f"the scrub ended with {code}, not 2: {first['error'] or first['verdict']}", exit_code=code or MISMATCH
            )
            step.expect(first["healed"] is True, "the scrub found the rot but did not heal it")
            found = [finding for finding in _findings(first) if finding.get("key")]
            assert self.flip is not None
            mine = [finding for finding in found if (finding["key"]["country"]["S"], finding["key"]["city"]["S"]) == self.victim]
            step.expect(bool(mine), f"no finding names {self.victim}: {found}")
            step.expect(all(finding["copy"] == self.flip.node for finding in mine), f"the wrong copy was blamed: {mine}")
            self.story.say(
                f"found on {mine[0]['copy']}: {mine[0]['kind']} {self.victim[1]}, by {mine[0]['found_by']}; action: {mine[0]['action']}"
            )
            code, second = self._verb(step, "scrub", "run", "--table", TABLE)
            step.expect(
                code == DONE, f"the second scrub ended with {code}: {second['error'] or second['verdict']}", exit_code=code or FAILED
            )
            totals = second["totals"]
            step.proven(
                f"the rotted city named and healed (exit 2); scrubbed again: {totals['rows']} rows match on every copy (exit 0)",
                kind=mine[0]["kind"],
                found_by=mine[0]["found_by"],
                rows=totals["rows"],
                seconds=[first["totals"]["seconds"], totals["seconds"]],
            )

    def restore(self) -> None:
        with self.story.step("restore", f"Restore to {self.noted}, before the bad job, as a new table") as step:
            assert self.noted is not None
            target = ("--table", TABLE, "--to", RESTORED, "--at", self.noted)
            code, plan = self._verb(step, "restore", "plan", *target)
            step.expect(code == DONE, f"the plan ended with {code}: {plan['error']}", exit_code=code or FAILED)
            for line in plan_lines(plan):
                self.story.say(line)
            code, done = self._verb(step, "restore", "run", *target)
            step.expect(code == DONE, f"the restore ended with {code}: {done['error'] or done['verdict']}", exit_code=code or FAILED)
            step.expect(done["state"] == "published", f"state {done['state']}")
            step.expect(done["rows"] == len(self.model), f"{done['rows']} rows restored, {len(self.model)} expected")
            total = done["seconds"]["total"]
            step.proven(
                f"{done['rows']} rows published after their digests agreed; {total:.1f} s, predicted {plan['predicted_seconds']:.1f} s",
                rows=done["rows"],
                digest=done["digest"],
                predicted_seconds=plan["predicted_seconds"],
                restore_seconds=done["seconds"],
            )

    def compare(self) -> None:
        with self.story.step("compare", "Read the restored table and compare it item by item, both ways") as step:
            segments = 4 * WORKERS
            parts = [(RESTORED, number, segments) for number in range(segments)]
            found = merge(self._map(client.scan, parts))
            difference = compare(self.model, found)
            step.expect(
                difference.total == 0,
                f"{len(difference.lacking)} lacking, {len(difference.different)} different, {len(difference.extra)} extra, e.g. {(difference.lacking + difference.different + difference.extra)[:3]}",
            )
            step.proven(f"{len(found)} items equal, 0 lacking, 0 different, 0 extra", items=len(found))

    def finish(self) -> None:
        with self.story.step("stop", "Stop the cluster: seal, archive, hand over") as step:
            code = self.server.stop()
            step.expect(code == DONE, f"it left with {code}", exit_code=INCOMPLETE if code == INCOMPLETE else FAILED)
            step.proven("it left with 0: everything acknowledged is in the archive")

    def _verb(self, step: Step, *words: str) -> tuple[int, dict[str, Any]]:
        """A verb against the server, noted in the step."""
        code, document = self.server.verb(*words)
        step.commands.append({"command": "scrubjay " + " ".join(words), "exit": code})
        return code, document

    # -- helpers ---------------------------------------------------------------------------------------------------------------------

    def _wait_archived(self, step: Step) -> None:
        def caught_up() -> bool:
            code, status = self._verb(step, "archive", "status", "--table", TABLE)
            step.expect(code in (DONE, INCOMPLETE), f"archive status ended with {code}: {status['error']}", exit_code=code or FAILED)
            tables = status["tables"]
            return bool(tables) and tables[0]["unarchived_bytes"] == 0

        step.expect(_until(40.0, caught_up) is True, "the archive did not catch up within 40 s", exit_code=INCOMPLETE)
        step.commands = step.commands[-1:]

    def _spread(self, work: Any, parts: Iterable[Sequence[Any]], *, until: float | None = None) -> Iterator[Any]:
        """work(endpoint, table, part) for each part, in the workers, in order of completion; after `until` none but the first PARTS_MIN are begun."""
        return self._map(work, ((TABLE, part) for part in parts), until=until)

    def _map(self, work: Any, parts: Iterable[tuple[Any, ...]], *, until: float | None = None) -> Iterator[Any]:
        assert self._pool is not None
        waiting: set[Future[Any]] = set()
        for number, part in enumerate(parts):
            if until is not None and number >= PARTS_MIN and monotonic_s() > until:
                break
            waiting.add(self._pool.submit(work, self.server.endpoint, *part))
            if len(waiting) > WORKERS:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        for future in waiting:
            yield future.result()


class DemoOnProcesses(Demo):
    """The same claims on a cluster of four processes, of which one is killed on the way."""

    server: Processes

    def __init__(self, story: Story, folder: Path, *, archive: str | None, rows: int | None) -> None:
        super().__init__(story, folder, archive=archive, rows=rows)
        self.killed = ""

    def cluster(self, folder: Path, archive: str | None) -> Processes:
        return Processes(folder, archive=archive, settings=SETTINGS)

    def run(self) -> None:
        self.start()
        self.load()
        self.kill_a_node()
        self.change()
        self.bring_back()
        self.rest()

    def kill_a_node(self) -> None:
        with self.story.step("a node dies", "Kill the node that leads most of the table (SIGKILL), and go on writing and reading") as step:
            leader = self.server.leader_of(TABLE)
            step.expect(leader in NODES, f"the table is led by {leader}", exit_code=FAILED)
            assert leader is not None
            self.killed = leader
            dynamodb = client.dynamodb(self.server.endpoint)
            began = monotonic_s()
            self.server.kill(leader)
            asked = self.largest[:UNTOUCHED_READS]
            for key in asked:
                dynamodb.put_item(TableName=TABLE, Item=decode(self.model[key]))
                item = dynamodb.get_item(TableName=TABLE, Key=key_item(key), ConsistentRead=True)["Item"]
                step.expect(canonical(item) == self.model[key], f"without {leader} a strong read gave something else for {key}")
            seconds = monotonic_s() - began
            step.proven(
                f"{leader} is dead: {len(asked)} writes acknowledged and read back strongly, the last {seconds:.1f} s after the kill; no error",
                node=leader,
                seconds=round(seconds, 3),
            )

    def bring_back(self) -> None:
        with self.story.step("it comes back", "Start it again, with its folder") as step:
            began = monotonic_s()
            self.server.start_again(self.killed)
            step.expect(_until(60.0, self.server.whole) is True, f"{self.killed} was not whole again within 60 s", exit_code=INCOMPLETE)
            seconds = monotonic_s() - began
            step.proven(
                f"{self.killed} has again what the others have, what was written without it too; {seconds:.1f} s", seconds=round(seconds, 3)
            )


def _open_pool() -> ProcessPoolExecutor:
    """The workers. Spawned, not forked: this process has threads, and a fork would take their locks along. Ctrl-C reaches every process of a terminal
    but only the parent acts on it: the workers start with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))
        for _ in range(WORKERS):
            pool.submit(int)
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _chunks(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(things), size):
        yield things[at : at + size]


def _until(seconds: float, question: Any) -> Any:
    """Ask until the answer is something; None after `seconds`."""
    deadline = monotonic_s() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if monotonic_s() > deadline:
            return None
        pause(0.25)


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for table in report["tables"] for part in table["partitions"] for finding in part["findings"]]


def _expect_found(step: Step, findings: Sequence[dict[str, Any]], damage: ArchiveDamage) -> None:
    objects = {finding.get("object") for finding in findings}
    for name, what in ((damage.flipped, "flipped bit"), (damage.removed, "lost segment")):
        step.expect(name in objects, f"verify did not name the {what} in {name}; it named {sorted(str(one) for one in objects)}")
