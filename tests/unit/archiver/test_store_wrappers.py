"""Retry, pace, meter and faults around an object store; and the folder store's own corners."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

import scrubjay.base.real.localfs
from scrubjay.base.errors import Conflict, Corrupt, DiskFull, Exists, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.real.localfs import LocalStore
from scrubjay.base.real.s3 import translate
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.limit import LimitedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.retry import RetryingStore, RetryPolicy
from scrubjay.sim.lone import Cancelled, LoneHost, LoneStore


def faulty() -> tuple[LoneHost, LoneStore, FaultyStore, RetryingStore]:
    loop, memory = LoneHost(), LoneStore()
    bad = FaultyStore(memory, loop.env())
    return loop, memory, bad, RetryingStore(bad, loop.env())


def test_a_lost_answer_of_a_create_is_settled_by_content() -> None:
    loop, memory, bad, store = faulty()
    bad.lose_answers = 1
    loop.run(store.put("k", b"mine"))
    assert memory.objects["k"] == b"mine"
    assert store.retries == 1


def test_somebody_elses_object_is_a_conflict_after_a_lost_answer_too() -> None:
    loop, memory, bad, store = faulty()
    failed = [False]

    def fault(verb: str, key: str) -> ScrubjayError | None:
        if verb == "put" and not failed[0]:
            failed[0] = True
            memory.objects["k"] = b"theirs"
            return Unavailable("timed out before the effect")
        return None

    bad.fault = fault
    with pytest.raises(Exists):
        loop.run(store.put("k", b"mine"))


def test_the_first_answer_counts() -> None:
    loop, memory, _, store = faulty()
    memory.objects["k"] = b"mine"
    with pytest.raises(Exists):
        loop.run(store.put("k", b"mine"))


def test_retries_are_bounded_and_spread() -> None:
    loop, _, bad, store = faulty()
    bad.down = True
    start = loop.now_us
    for call in (store.get("k"), store.put("k", b"x"), store.list("k"), store.head("k"), store.delete("k"), store.get_range("k", 0, 1)):
        with pytest.raises(Unavailable):
            loop.run(call)
    assert len(bad.calls) == 6 * RetryPolicy().attempts
    assert 0 < loop.now_us - start < 6 * 10_000_000


def test_a_full_store_is_asked_twice() -> None:
    loop, _, bad, store = faulty()
    bad.full = True
    with pytest.raises(DiskFull):
        loop.run(store.put("k", b"x"))
    assert len(bad.calls) == 2


@pytest.mark.parametrize("error", [Missing("x"), Corrupt("x"), Unsafe("x"), Invalid("x"), Conflict("x")])
def test_permanent_errors_are_not_retried(error: ScrubjayError) -> None:
    loop, _, bad, store = faulty()
    bad.fault = lambda verb, key: error
    with pytest.raises(type(error)):
        loop.run(store.get("k"))
    assert len(bad.calls) == 1


def test_pace_bounds_requests_in_flight() -> None:
    loop = LoneHost()
    slow = FaultyStore(LoneStore(), loop.env())
    slow.slow_s = 1.0
    store = LimitedStore(slow, loop.env(), in_flight=3)

    async def many() -> int:
        tasks = [loop.spawn(store.put(f"k{number}", b"x"), name="put") for number in range(9)]
        await loop.sleep(0.5)
        begun = len(slow.calls)
        for task in tasks:
            await task
        return begun

    start = loop.now_us
    assert loop.run(many()) == 3
    assert loop.now_us - start == pytest.approx(3_000_000, rel=0.01)


def test_pace_bounds_bytes() -> None:
    loop = LoneHost()
    store = LimitedStore(LoneStore(), loop.env(), bytes_per_second=1_000_000)

    async def many() -> None:
        for number in range(10):
            await store.put(f"k{number}", bytes(1_000_000))
            await store.get(f"k{number}")

    start = loop.now_us
    loop.run(many())
    assert 18_000_000 < loop.now_us - start < 21_000_000


def test_a_cancelled_waiter_gives_its_place_back() -> None:
    loop = LoneHost()
    slow = FaultyStore(LoneStore(), loop.env())
    slow.slow_s = 1.0
    store = LimitedStore(slow, loop.env(), in_flight=1)

    async def main() -> None:
        first = loop.spawn(store.put("a", b"x"), name="a")
        second = loop.spawn(store.put("b", b"x"), name="b")
        third = loop.spawn(store.put("c", b"x"), name="c")
        await loop.sleep(0.5)
        second.cancel()
        await first
        await third
        with pytest.raises(Cancelled):
            await second

    loop.run(main())
    assert [key for _, key in slow.calls] == ["a", "c"]
    loop.run(store.put("d", b"x"))


def test_the_meter_counts_bytes_errors_and_time() -> None:
    loop = LoneHost()
    bad = FaultyStore(LoneStore(), loop.env())
    bad.slow_s = 0.002
    store = MeteredStore(bad, loop.env())
    loop.run(store.put("k", b"12345"))
    loop.run(store.get("k"))
    with pytest.raises(Missing):
        loop.run(store.get("absent"))
    assert store.reachable
    bad.down = True
    with pytest.raises(Unavailable):
        loop.run(store.get("k"))
    assert not store.reachable
    assert "down" in str(store.last_error)
    get = store.stats["get"]
    assert (get.requests, get.bytes) == (3, 5)
    assert get.ended == {"ok": 1, "exists": 0, "missing": 1, "locked": 0, "error": 1}
    assert get.latency.max_us == 2000
    assert sum(get.latency.counts) == 3
    assert get.latency.counts[(2000).bit_length()] == 3
    bad.down = False
    loop.run(store.head("k"))
    assert store.reachable
    with pytest.raises(Exists):
        loop.run(store.put("k", b"another"))
    assert store.stats["put"].ended == {"ok": 1, "exists": 1, "missing": 0, "locked": 0, "error": 0}, (
        "a create-once object that is there is no error"
    )


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("<Code>NoSuchBucket</Code>", Unavailable),
        ("<Code>NoSuchKey</Code>", Missing),
        ("507 XMinioStorageFull", DiskFull),
        ("<Code>BadDigest</Code>", Corrupt),
        ("<Code>XAmzContentChecksumMismatch</Code>", Corrupt),
        ("<Code>AccessDenied</Code>", Unavailable),
        ("<Code>NotImplemented</Code>", Unsafe),
        ("<Code>SlowDown</Code>", Unavailable),
        ("connection reset", Unavailable),
        ("<Code>PreconditionFailed</Code>", Exists),
    ],
)
def test_what_servers_say_becomes_a_typed_error(said: str, error: type[ScrubjayError]) -> None:
    assert type(translate(OSError(said), "k")) is error


# --- the folder ---


def test_an_interrupted_write_leaves_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 10:
            return real(handle, data[:10])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(scrubjay.base.real.localfs.os, "write", full)
        with pytest.raises(DiskFull):
            asyncio.run(store.put("a/b", bytes(15)))
    assert asyncio.run(store.head("a/b")) is None
    assert not any((tmp_path / ".tmp").iterdir())
    asyncio.run(store.put("a/b", b"whole"))
    store.close()


def test_leftovers_of_a_killed_writer_are_swept_and_never_listed(tmp_path: Path) -> None:
    (tmp_path / ".tmp").mkdir()
    old, young = tmp_path / ".tmp" / "1-0-old", tmp_path / ".tmp" / "2-0-young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    store = LocalStore(tmp_path)
    assert asyncio.run(store.list("")).objects == ()
    asyncio.run(store.put("k", b"x"))
    assert not old.exists()
    assert young.exists()
    assert [info.key for info in asyncio.run(store.list("")).objects] == ["k"]
    store.close()


def test_no_key_is_a_folder_of_others(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    asyncio.run(store.put("a/b", b"x"))
    with pytest.raises(Invalid):
        asyncio.run(store.put("a", b"x"))
    with pytest.raises(Invalid):
        asyncio.run(store.put("a/b/c", b"x"))
    with pytest.raises(Missing):
        asyncio.run(store.get("a"))
    assert asyncio.run(store.head("a")) is None
    store.close()


def test_without_hard_links_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(scrubjay.base.real.localfs.os, "link", link)
    store = LocalStore(tmp_path)
    with pytest.raises(Unsafe):
        asyncio.run(store.put("k", b"x"))
    store.close()


def test_the_object_and_its_folders_are_synced_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order: content synced, then linked, then the folder synced; new folders are synced into their parents."""
    steps: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def sync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append("sync content" if path.parent.name == ".tmp" else f"sync {path.relative_to(tmp_path)}")
        real_sync(handle)

    def link(source: str, target: str) -> None:
        steps.append("link")
        real_link(source, target)

    monkeypatch.setattr(scrubjay.base.real.localfs.os, "fsync", sync)
    monkeypatch.setattr(scrubjay.base.real.localfs.os, "link", link)
    store = LocalStore(tmp_path)
    asyncio.run(store.put("a/b/k", b"x"))
    assert steps == ["sync content", "sync .", "sync a", "link", "sync a/b"]
    store.close()
    steps.clear()
    fresh = LocalStore(tmp_path / "new" / "archive")
    asyncio.run(fresh.put("k", b"x"))
    assert steps == ["sync .", "sync new", "sync content", "link", "sync new/archive"], "a new archive's own folder too"
    fresh.close()


def test_an_unreadable_medium_is_corrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    asyncio.run(store.put("k", b"x"))

    def broken(*_: object, **__: object) -> object:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr("builtins.open", broken)
    with pytest.raises(Corrupt):
        asyncio.run(store.get("k"))
    store.close()
