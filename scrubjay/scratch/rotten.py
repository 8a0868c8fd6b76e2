"""The half of the drill `rot` that needs a cluster of its own: bits of live values in the replicas' trees, and of live records in a node's log.

Trees rot under a running server, which is read meanwhile: a scrub must name each value, on the node that holds it, heal it, and then find all equal. Logs rot while the server is down,
on a copy of the folder, one bit at a time: what recovery reads back must say that records, or more, are lost. One rots in earnest: the node must come back by itself.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from scrubjay.base.env import JobContext
from scrubjay.base.real.disk import RealDisk
from scrubjay.drills.damage import flip_bit, flip_live_bit, live_in_trees
from scrubjay.drills.model import Key, canonical, decode, key_item, key_of
from scrubjay.drills.scenario import DIFFERENCES_MAX
from scrubjay.machine import monotonic_s
from scrubjay.output import DONE, MISMATCH
from scrubjay.scratch.client import dynamodb
from scrubjay.scratch.model_table import TABLE, ModelTable
from scrubjay.scratch.rehearsal import QUICK, WAIT_S, Rehearsal, rehearse
from scrubjay.storage.wal.format import decode_batch_header
from scrubjay.storage.wal.recover import LogReplay, replay
from scrubjay.storage.wal.state import Body

JOB = "scrubjay.scratch.rotten:rot_job"
ROWS = 300
NODES = ("n1", "n2", "n3")
TREE_FAULTS, LOG_FAULTS = 6, 30
"""Unless it is said how many."""
TOGETHER = 50
"""Values that rot between two scrubs."""
SCRUBS_MORE = 4
"""What one scrub found and could not heal, as when all three copies of a partition are rotten and one would be left without another that serves, the next one heals."""
READ_OF = 3
"""So many of them are read before the scrub. A reader that meets rot waits until the copy that it was to come from is healed, and the others must be left for the scrub to find."""
READS = 5
SMALL_LOG = ("storage.wal_file=1MiB", "storage.wal_reserve=2MiB")
"""A log is read from end to end after each fault, with all that it has preallocated."""


async def rot_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """See drills.scratch."""
    return rehearse(context, arguments, _rotten)


def _rotten(rehearsal: Rehearsal) -> None:
    server = rehearsal.server(archive=(rehearsal.folder / "archive").as_uri(), settings=(*QUICK, *SMALL_LOG))
    load = ModelTable(rehearsal, server)
    with rehearsal.step("load"):
        server.start()
        load.fill(ROWS)
    with rehearsal.step("rot of a tree"):
        _trees(rehearsal, load, rehearsal.arguments["faults"] or TREE_FAULTS)
    with rehearsal.step("rot of a log"):
        load.change(30)
        server.kill()
        _logs(rehearsal, server.data, rehearsal.arguments["faults"] or LOG_FAULTS)
    with rehearsal.step("a node with a rotten log"):
        node = NODES[rehearsal.dice.below(len(NODES))]
        place = _settled(replay(RealDisk(_copied(rehearsal, server.data, node)), "wal"))[-1]
        flip_bit(server.data / "nodes" / node / "wal" / place.file, place.offset + place.length // 2, 1)
        server.start()
        load.first_write()
        load.compare("with a rotten log")
        rehearsal.until("all copies serve again", partial(_all_serve, load), within_s=3 * WAIT_S)
        code, report = server.verb("scrub", "run")
        told = {one["copy"] for one in _findings(report)}
        rehearsal.expect(
            code == MISMATCH and told == {node},
            f"a log of {node} rotted, and the scrub after it ended with {code} and told of {sorted(told)}",
        )
        code, report = server.verb("scrub", "run")
        rehearsal.expect(code == DONE, f"the second scrub after a log rotted ended with {code}: {report['verdict']}")
        load.compare("after a log rotted")
        rehearsal.expect(server.stop() == DONE, "the cluster did not stop with everything archived")


def _trees(rehearsal: Rehearsal, load: ModelTable, faults: int) -> None:
    outcome, left, spent, alarms, found = rehearsal.outcome, faults, 0.0, 0, 0
    later: list[str] = []
    while left:
        count = min(left, TOGETHER)
        left -= count
        planted = _planted(rehearsal, load, count)
        began = monotonic_s()
        code, report = load.server.verb("scrub", "run", "--table", TABLE)
        spent += (monotonic_s() - began) * count
        named = _named(report)
        outcome.planted += count
        outcome.detected += len(planted & named)
        found += len(planted & named)
        alarms += len(named - planted)
        rehearsal.expect(
            code == MISMATCH and planted <= named,
            f"a scrub over {count} rotten values ended with {code} and did not name {sorted(planted - named)[:3]}",
        )
        rehearsal.expect(not named - planted, f"a scrub blamed what was well: {sorted(named - planted)[:3]}")
        for more in range(SCRUBS_MORE):
            notes = [str(note) for note in report["notes"]]
            rehearsal.until("all copies serve again", partial(_all_serve, load))
            code, report = load.server.verb("scrub", "run", "--table", TABLE)
            alarms += len(_named(report) - planted)
            rehearsal.expect(
                _named(report) <= planted, f"a scrub after the healing blamed what was well: {sorted(_named(report) - planted)[:3]}"
            )
            if code == DONE:
                break
            later.append(f"{len(_named(report))} values after scrub {more + 1}{': ' + notes[0] if notes else ''}")
        told = ", ".join(f"{one['kind']} of {one['key']} on {one['copy']}" for one in _findings(report)[:3])
        rehearsal.expect(code == DONE, f"scrub {SCRUBS_MORE + 1} of what had rotted ended with {code}: {report['verdict']}, {told}")
        rehearsal.context.progress({"phase": "rot of a tree", "done": faults - left, "total": faults})
    outcome.facts |= {
        "tree_faults": faults,
        "tree_found": found,
        "tree_found_seconds": round(spent / faults, 3),
        "tree_false_alarms": alarms,
        "tree_healed_later": later[:DIFFERENCES_MAX],
    }


def _all_serve(load: ModelTable) -> bool:
    """What was found stays a problem until a scrub has told of it: that is none of a copy."""
    return not any(one["kind"].startswith("copy-") for one in load.problems())


Named = tuple[str, Key]
"""Node and key."""


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for table in report["tables"] for part in table["partitions"] for one in part["findings"]]


def _named(report: dict[str, Any]) -> set[Named]:
    return {(one["copy"], key_of(one["key"])) for one in _findings(report) if one.get("key")}


def _planted(rehearsal: Rehearsal, load: ModelTable, count: int) -> set[Named]:
    """One bit each in the tree of one node, of values drawn; the first are read a few times then, and never wrong."""
    keys = sorted(load.model)
    planted: set[Named] = set()
    client = dynamodb(load.server.endpoint)
    remarks = {key: decode(load.model[key])["remark"]["S"].encode() for key in keys}
    for node in NODES:
        all_there = partial(live_in_trees, load.server.data, remarks.values(), node=node)
        rehearsal.until("a checkpoint brings all values into the tree", all_there)
    for number in range(count):
        key = keys.pop(rehearsal.dice.below(len(keys)))
        node, bit = NODES[rehearsal.dice.below(len(NODES))], rehearsal.dice.below(8)
        rehearsal.expect(
            flip_live_bit(load.server.data, remarks[key], bit=bit, node=node), f"the value of {key} left the tree of {node} again"
        )
        planted.add((node, key))
        for attempt in range(READS if number < READ_OF else 0):
            item = client.get_item(TableName=TABLE, Key=key_item(key), ConsistentRead=attempt % 2 == 0).get("Item")
            rehearsal.expect(item is not None and canonical(item) == load.model[key], f"a read gave a rotten value of {key}")
    return planted


class Place(NamedTuple):
    """Where the bytes of live records lie in a log."""

    file: str
    offset: int
    length: int


def _logs(rehearsal: Rehearsal, data: Path, faults: int) -> None:
    outcome, alarms, found, began = rehearsal.outcome, 0, 0, monotonic_s()
    before = outcome.planted
    for number, node in enumerate(NODES):
        folder = _copied(rehearsal, data, node)
        clean = replay(RealDisk(folder), "wal")
        alarms += _says(clean)
        places = _places(clean)
        for _ in range(faults // len(NODES) + (number < faults % len(NODES))):
            place = places[rehearsal.dice.below(len(places))]
            at, bit = place.offset + rehearsal.dice.below(place.length), rehearsal.dice.below(8)
            flip_bit(folder / "wal" / place.file, at, bit)
            outcome.planted += 1
            if _says(replay(RealDisk(folder), "wal")):
                outcome.detected += 1
                found += 1
            else:
                rehearsal.differs(
                    f"bit {bit} of byte {at} of {place.file} of {node} flipped in a record, and the log was read as if nothing were"
                )
            flip_bit(folder / "wal" / place.file, at, bit)
            rehearsal.context.progress({"phase": "rot of a log", "done": outcome.planted - before, "total": faults})
        alarms += _says(replay(RealDisk(folder), "wal"))
    rehearsal.expect(not alarms, "a log that is well was read as damaged")
    took = round((monotonic_s() - began) / faults, 4)
    outcome.facts |= {"log_faults": faults, "log_found": found, "log_found_seconds": took, "log_false_alarms": alarms}


def _copied(rehearsal: Rehearsal, data: Path, node: str) -> Path:
    folder = rehearsal.folder / f"log-of-{node}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data / "nodes" / node / "wal", folder / "wal")
    return folder


def _places(log: LogReplay) -> list[Place]:
    """Of bodies all of whose records are the log's: of others a part may have been written anew since."""
    live: dict[Body, int] = {}
    for state in log.states.values():
        for extent in state.extents:
            live[extent.body] = live.get(extent.body, 0) + extent.end - extent.first
    whole = [body for body, count in live.items() if count == body.count]
    return sorted(Place(body.file.name, body.offset, body.length) for body in whole if body.file is not None and body.length)


def _settled(log: LogReplay) -> list[Place]:
    """Those in front of the newest batch. That one may lie in a log without the mark that it was synced, when a process died in the milliseconds before the mark:
    rot in it cannot be told from a write that was cut off (docs/formats/wal.md, "what stays uncovered")."""
    newest = log.newest
    assert newest is not None
    header = decode_batch_header(newest.header)
    assert header is not None
    return [place for place in _places(log) if (place.file, place.offset) < (newest.file.name, header.offset)]


def _says(log: LogReplay) -> bool:
    """It knows that something is lost."""
    return any(one.damaged or one.amnesia for one in log.recovered().replicas.values())
