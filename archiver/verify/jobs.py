"""The parts of `verify` that read whole objects and loop over records and rows: plain functions, and the same as jobs for worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scrubjay.archiver.format.base import BaseManifest, decode_base, encode_base
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import SegmentKey, build
from scrubjay.archiver.format.manifest import decode_manifest, encode_manifest
from scrubjay.archiver.read.check import SegmentToCheck, check_base, check_segments
from scrubjay.archiver.read.inherited import Inheritance, start_of
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.env import Disk, JobContext, Jobs, ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, NoKey

CHECK_JOB = "scrubjay.archiver.verify.jobs:check_job"


async def check_replay(
    store: ObjectStore,
    disk: Disk,
    base: BaseManifest | None,
    segments: Sequence[SegmentKey],
    follower: BaseManifest | None,
    *,
    work: str,
) -> list[Fault]:
    """Rebuild [base, segments]: every seal's digest, and that the next base (`follower`) is what comes out. Raises Unavailable."""
    if base is None and not segments:
        return []
    first = segments[0] if segments else base.key() if base is not None else None
    assert first is not None
    where = build(first)
    try:
        done = await rebuild(store, disk, base=base, segments=segments, cut=Cut(), output=None, work=work)
    except (Missing, Corrupt, NoKey) as error:
        return [fault_of(error, where=where, lsn=None)]
    faults = list(done.spoilt)
    if follower is not None and done.sealed == follower.lsn and (done.total != follower.total or done.chain != follower.chain):
        faults.append(Fault(FORGED, build(follower.key()), follower.lsn, "the base is not what the log before it gives"))
    return faults


# --- as a job ---


async def run_check(
    store: ObjectStore,
    disk: Disk,
    jobs: Jobs | None,
    *,
    what: str,
    segments: Sequence[SegmentToCheck] = (),
    keys: Sequence[SegmentKey] = (),
    base: BaseManifest | None = None,
    made: Inheritance | None = None,
    follower: BaseManifest | None = None,
    deep: bool = False,
    work: str = "",
) -> list[Fault]:
    """One check, in a worker process if there are `jobs`. what: segments | base | replay. keys: of the segments to replay, read one after the other. made: what a child's replay begins with instead of a base."""
    if jobs is None:
        base = base if made is None else await start_of(store, made.argument())
        return await _check(store, disk, what=what, segments=segments, keys=keys, base=base, follower=follower, deep=deep, work=work)
    answer = await jobs.run(
        CHECK_JOB,
        {
            "url": store.url,
            "what": what,
            "segments": [[build(item.manifest.key().twin()), encode_manifest(item.manifest), item.after_stamp] for item in segments],
            "keys": [build(key) for key in keys],
            "base": base and [build(base.key()), encode_base(base)],
            "made": made and made.argument(),
            "follower": follower and [build(follower.key()), encode_base(follower)],
            "deep": deep,
            "work": work,
        },
    )
    return [Fault(*fault) for fault in answer["faults"]]


async def check_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`run_check` in a worker process. Manifests travel as the bytes they were read as."""
    store = context.store(arguments["url"])
    made = await start_of(store, arguments["made"])
    faults = await _check(
        store,
        context.disk,
        what=arguments["what"],
        segments=[SegmentToCheck(decode_manifest(data, where=key), after) for key, data, after in arguments["segments"]],
        keys=segment_keys(arguments["keys"]),
        base=_base(arguments["base"]) if made is None else made,
        follower=_base(arguments["follower"]),
        deep=arguments["deep"],
        work=arguments["work"],
    )
    return {"faults": [list(fault) for fault in faults]}


def _base(said: list[Any] | None) -> BaseManifest | None:
    return None if said is None else decode_base(said[1], where=said[0])


async def _check(
    store: ObjectStore,
    disk: Disk,
    *,
    what: str,
    segments: Sequence[SegmentToCheck],
    keys: Sequence[SegmentKey],
    base: BaseManifest | None,
    follower: BaseManifest | None,
    deep: bool,
    work: str,
) -> list[Fault]:
    if what == "segments":
        return await check_segments(store, segments, deep=deep)
    if what == "base":
        assert base is not None
        return await check_base(store, base, deep=deep)
    assert what == "replay"
    return await check_replay(store, disk, base, keys, follower, work=work)


def batches(items: Sequence[SegmentToCheck], *, count: int, size: int) -> Iterator[list[SegmentToCheck]]:
    """Items in order, at most `count` and about `size` stored bytes at a time."""
    batch: list[SegmentToCheck] = []
    held = 0
    for item in items:
        if batch and (len(batch) >= count or held + item.manifest.stored.size > size):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += item.manifest.stored.size
    if batch:
        yield batch
