"""An item's history out of one partition's archive of many segments: with the key filters of their manifests, and with none, as archives were before.

    .venv/bin/python -m bench.bench_history [--segments 128] [--item 900]

Real segments and manifests of 8 MiB in a folder, read through the real catalogue and the history's own job, in this process: no start of a command line and no worker in
the way. Prints one JSON object: the first look (every manifest is read), then histories of a key that is in the newest segment alone, and of one that never was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from typing import Any

from bench.bench_rebuild import SEGMENT_BYTES
from scrubjay.archiver.format.identity import encode_epoch, encode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, SegmentKey, build
from scrubjay.archiver.format.manifest import decode_manifest, encode_manifest
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.stores import open_store
from scrubjay.pitr.timeline.jobs import history_job
from scrubjay.storage.log.record import Effect, Op
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US, Sample

RARE = b"r" * 16 + b"\x01rare"


class Context:
    """Of a job that runs here."""

    disk: Any = None

    def __init__(self, store: Any) -> None:
        self._store = store

    def store(self, url: str) -> Any:
        return self._store

    def progress(self, facts: dict[str, Any]) -> None:
        """Nobody looks."""


async def fill(store: Any, segments: int, item_bytes: int) -> int:
    """Archive segments of single puts of ever new keys. Their raw bytes."""
    await store.put(build(IdentityKey(CLUSTER)), encode_identity(cluster=CLUSTER, created_us=START_US, parent=None))
    await store.put(build(EpochKey(CLUSTER, 1)), encode_epoch(cluster=CLUSTER, epoch=1, owner=OWNER, created_us=START_US))
    sample, raw_bytes, number = Sample(seed=1), 0, 0
    records: list[Any] = sample.records
    for turn in range(segments):
        size = 0
        while size < SEGMENT_BYTES:
            number += 1
            key = RARE if size == 0 and turn in (0, segments - 1) else sample.rng.randbytes(16) + b"\x01%09d" % number
            size += len(sample.write([Effect(Op.PUT, key, sample.rng.randbytes(item_bytes // 2) + b"x" * (item_bytes // 2))]).data)
            sample.states.clear()
            sample.state.clear()
        segment = sample.seal()
        manifest, data = sample.manifest(segment)
        await store.put(build(manifest.key()), data)
        await store.put(build(manifest.key().twin()), encode_manifest(manifest))
        records[segment.first - 1 : segment.last] = [None] * segment.records  # they are in the store now
        raw_bytes += segment.raw_size
    return raw_bytes


async def without_filters(store: Any, index: ArchiveIndex) -> None:
    """The same archive as it would be from before there were any."""
    for name in names_of(index):
        where = build(name.twin())
        plain = replace(decode_manifest(await store.get(where), where=where), keys=None)
        await store.delete(where)
        await store.put(where, encode_manifest(plain))


def names_of(index: ArchiveIndex) -> list[SegmentKey]:
    """Newest first."""
    ((table, partition), found), *_ = index.partitions.items()
    return [row.key(CLUSTER, table, partition) for row in found.rows][::-1]


async def measure(store: Any, tasks: AsyncTasks) -> dict[str, Any]:
    context: Any = Context(store)
    began = time.perf_counter()
    index = ArchiveIndex(store, CLUSTER, tasks=tasks)
    await index.refresh(now_us=START_US + 10**15)
    told: dict[str, Any] = {"first_look_s": round(time.perf_counter() - began, 3)}
    names = names_of(index)
    for what, key, limit in (("newest", RARE, 1), ("whole", RARE, 1000), ("never_was", b"n" * 17, 1000)):
        began = time.perf_counter()
        absent = await index.filters.without(key, names)
        answer = await history_job(
            context,
            {
                "url": "", "key": key.hex(), "sources": [build(name) for name in names], "absent": [build(name) for name in absent],
                "from_us": 0, "to_us": 1 << 62, "first": 0, "limit": limit, "begun_us": 0,
            },
        )  # fmt: skip
        took = time.perf_counter() - began
        told[what] = {"seconds": round(took, 3), **{name: answer[name] for name in ("segments", "skipped", "raw_bytes")}}
        assert len(answer["versions"]) == {"newest": 1, "whole": 2, "never_was": 0}[what]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=128)
    parser.add_argument("--item", type=int, default=900)
    options = parser.parse_args()

    async def whole(tasks: AsyncTasks) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store: Any = open_store(f"file://{folder}/archive")
            raw_bytes = await fill(store, options.segments, options.item)
            told: dict[str, Any] = {"segments": options.segments, "raw_mb": round(raw_bytes / 1e6), "filters": await measure(store, tasks)}
            index = ArchiveIndex(store, CLUSTER, tasks=tasks)
            await index.refresh(now_us=START_US + 10**15)
            await without_filters(store, index)
            print(json.dumps({**told, "no_filters": await measure(store, tasks)}, indent=2))

    run(whole)


if __name__ == "__main__":
    main()
