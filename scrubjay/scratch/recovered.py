"""Jobs of the drill `lose-cluster`: the cluster is recovered with the very verb that an operator would type, served, and read back whole through its front door."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scrubjay.base.env import Disk, JobContext
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.real.stores import handed_on
from scrubjay.base.sealed import is_sealed
from scrubjay.drills.lose_cluster import LoseJobs
from scrubjay.drills.scenario import DIFFERENCES_MAX
from scrubjay.machine import monotonic_s
from scrubjay.output import DONE, MISMATCH
from scrubjay.scratch.access_keys import ANYBODY, ClientKey, for_the_client, for_the_server
from scrubjay.scratch.client import pages, refuses
from scrubjay.scratch.rehearsal import Rehearsal, rehearse
from scrubjay.scratch.server import clean_environment, verb
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.wire import item_from_json
from scrubjay.store_settings import key_environment, store_environment

JOBS = LoseJobs("scrubjay.scratch.recovered:plan_job", "scrubjay.scratch.recovered:recover_job")
PLAN_S = 1800.0
RECOVER_S = 12 * 3600.0
TELL_EVERY = 1000
STRANGER = ClientKey("stranger-of-the-drill", "no secret of anybody")

Pair = tuple[bytes, bytes]
"""Storage key and canonical bytes of an item."""


async def plan_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: see drills.scratch, and url, cluster. Answer: and plan, what `recover --plan` printed."""
    plan: dict[str, Any] = {}

    def work(rehearsal: Rehearsal) -> None:
        with rehearsal.step("plan"):
            plan.update(_recover(rehearsal, "--plan", timeout_s=PLAN_S))

    return {**rehearse(context, arguments, work), "plan": plan}


async def recover_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: and at (what to recover as of), tables ([{table, key: [(name, type)], rows: [paths of row files, keys rising]}])."""
    return rehearse(context, arguments, _recovered)


def _recover(rehearsal: Rehearsal, *words: str, timeout_s: float) -> dict[str, Any]:
    asked = rehearsal.arguments
    words = ("recover", "--archive", asked["url"], "--cluster", asked["cluster"], "--data", str(rehearsal.folder / "data"), *words)
    code, report = verb(
        rehearsal.folder,
        words,
        environment=clean_environment(store_environment(handed_on())),
        timeout_s=timeout_s,
        waits=lambda: rehearsal.context.progress({"phase": "recover"}),
    )
    if code == MISMATCH:
        raise Corrupt(f"recover ended with {code}: {(report['error'] or {}).get('message')}", what="archive")
    if code != DONE:
        raise Unavailable(f"recover ended with {code}: {(report['error'] or {}).get('message')}")
    return report


def _recovered(rehearsal: Rehearsal) -> None:
    began = monotonic_s()
    with rehearsal.step("recover"):
        report = _recover(rehearsal, "--at", rehearsal.arguments["at"], timeout_s=RECOVER_S)
    rehearsal.expect(
        report["cluster"] != rehearsal.arguments["cluster"], "the recovered cluster has the identity of the one it was recovered from"
    )
    with rehearsal.step("serve"):
        archive, keys = rehearsal.folder / "archive", key_environment(handed_on())
        server = rehearsal.server(archive=archive.as_uri(), settings=(), environment={**for_the_server(), **keys})
        server.start()
    rehearsal.outcome.rto_seconds = round(monotonic_s() - began, 3)
    rehearsal.outcome.facts["recover_seconds"] = report["seconds"]["recover"]
    rehearsal.outcome.facts["archive_encrypted"] = bool(keys)
    if keys:  # as the original's is: a rehearsal leaves nothing readable on a disk, not even for an hour
        readable = plain(archive)
        rehearsal.expect(not readable, f"the recovered cluster's archive holds what is not encrypted: {', '.join(readable[:3])}")
    key = for_the_client()
    rehearsal.outcome.facts["asks_for_keys"] = key is not None
    if key is not None:
        rehearsal.expect(refuses(server.endpoint, STRANGER), "the recovered cluster answers who has none of the configured keys")
    with rehearsal.step("compare"):
        for table in rehearsal.arguments["tables"]:
            schema = KeySchema(*(KeyAttribute(name, kind) for name, kind in table["key"]))
            found = items(server.endpoint, table["table"], schema, key or ANYBODY)
            rows, differences = compared(told(rehearsal, table["table"], found), truth(rehearsal.context.disk, table["rows"]))
            rehearsal.outcome.rows_compared += rows
            for one in differences:
                rehearsal.differs(f"recovered {table['table']}: {one}")


def plain(archive: Path) -> list[str]:
    """Names of what lies in a folder's archive and is not sealed. One that holds nothing at all is not encrypted either."""
    found = [path for path in archive.rglob("*") if path.is_file()]
    return [path.name for path in sorted(found) if not is_sealed(path.read_bytes(), where=path.name)] if found else ["nothing"]


def items(endpoint: str, table: str, schema: KeySchema, key: ClientKey) -> Iterator[Pair]:
    """Every item as a client gets it, encoded again."""
    for page in pages(endpoint, table, key=key):
        for one in page:
            item = item_from_json(json.loads(json.dumps(one, default=_binary)))
            yield storage_key(schema, item), encode_item(item)


def _binary(value: Any) -> str:
    """A binary value as the wire has it: boto3 hands out bytes."""
    from base64 import b64encode

    return b64encode(bytes(value)).decode("ascii")


def told(rehearsal: Rehearsal, table: str, found: Iterator[Pair]) -> Iterator[Pair]:
    """The same, and how far it is."""
    for count, one in enumerate(found):
        if count % TELL_EVERY == 0:
            rehearsal.context.progress({"phase": f"compare {table}", "rows": rehearsal.outcome.rows_compared + count})
        yield one


def truth(disk: Disk, paths: Sequence[str]) -> Iterator[Pair]:
    """Rows of row files one after another. Raises Unavailable: a file of our own that cannot be read says nothing about what was recovered."""
    for path in paths:
        try:
            file = disk.open(path)
            try:
                for row in read_rowfile(file.pread, file.size()):
                    yield row.key, row.item
            finally:
                file.close()
        except (Corrupt, Missing) as error:
            raise Unavailable(f"the drill's own row file cannot be read: {error}", path=path) from error


def compared(found: Iterator[Pair], expected: Iterator[Pair]) -> tuple[int, list[str]]:
    """Both in rising order of their keys, merged: how many keys either has, and what is lacking, extra or different, in words, bounded. Pure."""
    rows = 0
    differences: list[str] = []
    here, there = next(found, None), next(expected, None)
    while here is not None or there is not None:
        rows += 1
        if there is None or (here is not None and here[0] < there[0]):
            assert here is not None
            wrong, key = "extra", here[0]
            here = _after(here, found)
        elif here is None or there[0] < here[0]:
            wrong, key = "lacking", there[0]
            there = next(expected, None)
        else:
            wrong, key = "" if here[1] == there[1] else "different", here[0]
            here, there = _after(here, found), next(expected, None)
        if wrong and len(differences) < DIFFERENCES_MAX:
            differences.append(f"{wrong} key {key.hex()}")
    return rows, differences


def _after(last: Pair, found: Iterator[Pair]) -> Pair | None:
    """Raises Corrupt: a scan that goes back could give anything twice."""
    following = next(found, None)
    if following is not None and following[0] <= last[0]:
        raise Corrupt("a scan gave keys out of order", what="scan", key=following[0].hex())
    return following
