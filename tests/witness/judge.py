"""Everything that tells of the past, held against the notes: each answers with what is wrong."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from tests.fixtures.cluster import ClusterOfProcesses
from tests.witness.notes import Item, Name, Notes, name_of, normal
from tests.witness.writers import MANY, ONE, key_item

TABLES = (MANY, ONE)
REFUSED = 4
"""Exit code of a verb: the archive does not prove that moment yet."""
PATIENCE_S = 60.0


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def scan(client: Any, table: str, **more: Any) -> list[Item]:
    return [item for page in client.get_paginator("scan").paginate(TableName=table, **more) for item in page["Items"]]


def judge_now(client: Any, notes: Notes) -> list[str]:
    return [line for table in TABLES for line in notes.wrong(table, time.time(), scan(client, table, ConsistentRead=True))]


# --- restores


def judge_restore(cluster: ClusterOfProcesses, client: Any, notes: Notes, at: float, suffix: str, *, shifted_s: float = 0.0) -> list[str]:
    """Both tables as of `at`, their indexes too, and transactions whole. shifted_s: judged as if they were of so much earlier (the negative control)."""
    found, tables = [], {}
    for table in TABLES:
        code, answer = proven(cluster, "restore", "run", "--table", table, "--to", f"{table}-{suffix}", "--at", rfc3339(at))
        if code:
            found.append(f"restore of {table} to {rfc3339(at)}: {code} {answer}")
            continue
        tables[table] = scan(client, f"{table}-{suffix}", ConsistentRead=True)
        found += [f"restored to {rfc3339(at)}: {line}" for line in notes.wrong(table, at - shifted_s, tables[table])]
        found += judge_indexes(client, f"{table}-{suffix}", tables[table], local=table == MANY)
    if len(tables) == len(TABLES):
        found += notes.halves(at, tables)
    return found


def proven(cluster: ClusterOfProcesses, *verb: str) -> tuple[int, dict[str, Any]]:
    """Of a moment that may not be in the archive yet."""
    until = time.monotonic() + PATIENCE_S
    while True:
        code, answer = cluster.cli(*verb, timeout=300)
        if code != REFUSED or time.monotonic() >= until:
            return code, answer
        time.sleep(0.4)


def judge_indexes(client: Any, table: str, items: Sequence[Item], *, local: bool) -> list[str]:
    """Of a table that nobody writes to. A global index may be behind for a moment."""
    found = []
    until = time.monotonic() + PATIENCE_S
    while client.describe_table(TableName=table)["Table"]["TableStatus"] != "ACTIVE" and time.monotonic() < until:
        time.sleep(0.2)
    for index, attribute in (("by-g", "g"), *([("by-n", "n")] if local else [])):
        wanted = sorted(str(normal(item)) for item in items if attribute in item)
        while True:
            try:
                there = sorted(str(normal(item)) for item in scan(client, table, IndexName=index))
            except ClientError as error:
                there = [str(error)]
            if there == wanted or time.monotonic() >= until:
                break
            time.sleep(0.2)
        if there != wanted:
            found.append(f"index {index} of {table}: {len(there)} rows where {len(wanted)} belong, or others")
    return found


def judge_recovery(client: Any, notes: Notes, at: float) -> list[str]:
    """A whole cluster that was made from an archive, as of `at`."""
    tables = {table: scan(client, table, ConsistentRead=True) for table in TABLES}
    found = [f"recovered as of {rfc3339(at)}: {line}" for table, items in tables.items() for line in notes.wrong(table, at, items)]
    found += notes.halves(at, tables)
    for table, items in tables.items():
        found += judge_indexes(client, table, items, local=table == MANY)
    return found


# --- what tells of changes


def judge_stream(streams: Any, arn: str, notes: Notes, *, exact: bool) -> list[str]:
    """The stream of MANY over all its shards, parents first. exact: every request was answered, so that there is nothing in it that was not noted."""
    heard: dict[Name, list[tuple[str | None, str | None]]] = defaultdict(list)
    for record in _records(streams, arn):
        change = record["dynamodb"]
        heard[name_of(MANY, change["Keys"])].append((normal(change.get("OldImage")), normal(change.get("NewImage"))))
    found = [f"the stream tells of {name}, which was never written" for name in heard if name not in notes.of]
    for name, _ in notes.table(MANY):
        before, there = None, [new for _, new in heard[name]]
        for old, new in heard[name]:
            if old != before:
                found.append(f"the stream of {name}: {old} where it was {before}")
            before = new
        wanted = notes.states(name)
        if not (there == wanted if exact else _within(wanted, there)):
            found.append(f"the stream of {name} has {len(there)} changes of {len(wanted)}, or others")
    return found


def _records(streams: Any, arn: str) -> list[dict[str, Any]]:
    shards: dict[str, str | None] = {}
    last: str | None = None
    while True:
        page = streams.describe_stream(StreamArn=arn, **({} if last is None else {"ExclusiveStartShardId": last}))["StreamDescription"]
        shards |= {shard["ShardId"]: shard.get("ParentShardId") for shard in page["Shards"]}
        last = page.get("LastEvaluatedShardId")
        if last is None:
            break
    found: list[dict[str, Any]] = []
    while shards:
        shard = next(one for one, parent in shards.items() if parent not in shards)
        del shards[shard]
        iterator, empty = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"], 0
        while iterator is not None and empty < 4:  # an open shard has no end
            page = streams.get_records(ShardIterator=iterator)
            iterator, empty = page.get("NextShardIterator"), 0 if page["Records"] else empty + 1
            found += page["Records"]
    return found


def _within(wanted: Sequence[str | None], there: Sequence[str | None]) -> bool:
    """All that is wanted is there, in that order, and perhaps more between."""
    rest = iter(there)
    return all(any(one == other for other in rest) for one in wanted)


def judge_diff(cluster: ClusterOfProcesses, notes: Notes, first: float, second: float, folder: Path) -> list[str]:
    found = []
    for table in TABLES:
        out = folder / f"{table}-{first}.diff"
        code, answer = proven(cluster, "diff", table, "--from", rfc3339(first), "--to", rfc3339(second), "--output", str(out))
        if code:
            found.append(f"diff of {table}: {code} {answer}")
            continue
        changed = {name_of(table, json.loads(line)["key"]) for line in out.read_text().splitlines()}
        for name, _ in notes.table(table):
            before, after = notes.may_be(name, first), notes.may_be(name, second)
            if len(before) == len(after) == 1 and (before != after) != (name in changed):
                found.append(f"diff of {table}: {name} {'is lacking' if before != after else 'did not change'}")
    return found


def judge_histories(cluster: ClusterOfProcesses, notes: Notes, rand: Random, count: int) -> list[str]:
    found = []
    for name in rand.sample(sorted(notes.of), count):
        code, answer = cluster.cli("history", name.table, "--key", json.dumps(key_item(name)))
        versions = [normal(one.get("item")) for one in reversed(answer.get("versions", ()))]
        if code or not _within(notes.states(name), versions):
            found.append(f"history of {name}: {code}, {len(versions)} versions of {len(notes.states(name))}")
    return found


def judge_export(cluster: ClusterOfProcesses, client: Any, notes: Notes, at: float, folder: Path) -> list[str]:
    """Exported as of `at`, and imported again."""
    found = []
    for table in TABLES:
        out = folder / f"export-{table}"
        out.mkdir()
        for verb in (("export", table, "--to", out.as_uri(), "--at", rfc3339(at)), ("import", out.as_uri(), "--table", f"{table}-import")):
            code, answer = proven(cluster, *verb)
            if code:
                found.append(f"{verb[0]} of {table}: {code} {answer}")
                break
        else:
            items = scan(client, f"{table}-import", ConsistentRead=True)
            found += [f"imported: {line}" for line in notes.wrong(table, at, items)]
    return found


def judge_undo(cluster: ClusterOfProcesses, client: Any, notes: Notes, first: float, second: float) -> list[str]:
    """ONE as it was at `first` again. Nobody writes meanwhile."""
    code, answer = proven(cluster, "undo", ONE, "--from", rfc3339(first), "--to", rfc3339(second), "--confirm")
    if code or answer["totals"]["conflicts"]:
        return [f"undo: {code} {answer}"]
    return [f"undone: {line}" for line in notes.wrong(ONE, first, scan(client, ONE, ConsistentRead=True))]


def judge_proofs(cluster: ClusterOfProcesses, verbs: Mapping[tuple[str, ...], float]) -> list[str]:
    """verbs: with how long each may be asked again, in seconds: what was killed a moment ago is being healed."""
    found = []
    for verb, patience_s in verbs.items():
        until = time.monotonic() + patience_s
        while True:
            code, answer = cluster.cli(*verb, timeout=300)
            if code == 0 or time.monotonic() >= until:
                break
            time.sleep(0.4)
        if code:
            found.append(f"{' '.join(verb)}: {code} {answer.get('verdict')} {answer.get('findings')} {answer.get('problems')}")
    return found
