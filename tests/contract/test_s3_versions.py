"""A bucket with versions and object lock, on each real server: what stands over an object, the version that is read, what deletion frees, what a lock holds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scrubjay.archiver.write.probe import probe
from scrubjay.base.env import Env, ListPage, ObjectInfo
from scrubjay.base.errors import HOLE, UNREADABLE, Exists, Missing, Unsafe
from scrubjay.base.real.aws import settings_from
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.s3 import S3Store
from tests.contract.object_store_kinds import settle, shared_bucket
from tests.fixtures.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.xdist_group("s3")]

BUCKET = "contract-lock"
HOUR_US = 3_600_000_000


def fresh(server: S3Server, mode: str = "none", keep_us: int = HOUR_US) -> S3Store:
    """A prefix of its own in one bucket with object lock (and so with versions) for all tests."""
    if not server.client().bucket_exists(BUCKET):
        server.client().make_bucket(BUCKET, object_lock=True)
    lock = {"object_lock": mode, "object_lock_us": str(keep_us)}
    return S3Store(BUCKET, str(uuid.uuid4()), settings_from(server.env) | lock)


def within(store: S3Store, main: Callable[[S3Store, Any], Awaitable[None]]) -> None:
    async def whole(tasks: AsyncTasks) -> None:
        try:
            await settle(store)
            await main(store, store.client())
        finally:
            store.close()

    run(whole)


def versions_of(client: Any, store: S3Store) -> int:
    """Versions and markers below the store's prefix."""
    answer = client.list_object_versions(Bucket=store.bucket, Prefix=store.prefix)
    return len(answer.get("Versions", ())) + len(answer.get("DeleteMarkers", ()))


def test_a_marker_over_an_object_is_seen_and_the_object_is_read(s3_server: S3Server) -> None:
    async def main(store: S3Store, client: Any) -> None:
        await store.put("a/one", b"content")
        await store.put("a/two", b"other")
        await store.uncover("a/")
        assert store.recalled("a/") == {}
        client.delete_object(Bucket=store.bucket, Key=store.prefix + "a/one")
        assert [info.key for info in (await store.list("a/")).objects] == ["a/two"]
        assert store.recalled("") == {}, "a listing does not show it"
        await store.uncover("a/")
        assert (await store.list("a/")).objects == (ObjectInfo("a/one", 7), ObjectInfo("a/two", 5))
        assert await store.list("a/", limit=1) == ListPage((ObjectInfo("a/one", 7),), True)
        assert (await store.list("a/", after="a/one")).objects == (ObjectInfo("a/two", 5),)
        assert (await store.list("b")).objects == ()
        assert await store.head("a/one") == ObjectInfo("a/one", 7)
        assert await store.get("a/one") == b"content"
        assert await store.get_range("a/one", 1, 4) == b"ont"
        said = store.recalled("a/").get("a/one")
        assert said is not None
        assert said.kind == HOLE
        assert said.detail.startswith("deleted: a delete marker stands over version ")
        assert list(store.recalled("")) == ["a/one"]
        marker = client.list_object_versions(Bucket=store.bucket, Prefix=store.prefix + "a/one")["DeleteMarkers"][0]
        client.delete_object(Bucket=store.bucket, Key=store.prefix + "a/one", VersionId=marker["VersionId"])
        await store.uncover("")
        assert store.recalled("") == {}
        assert await store.get("a/one") == b"content"
        assert store.recalled("") == {}
        assert await store.head("a/three") is None
        with pytest.raises(Missing):
            await store.get("a/three")

    within(fresh(s3_server), main)


@pytest.mark.parametrize("how", ["bare", "marked"])
def test_of_what_was_written_over_the_version_that_was_put_is_read(s3_server: S3Server, how: str) -> None:
    """bare: by a tool that knows nothing of us. marked: with our metadata, which does not fit."""

    async def main(store: S3Store, client: Any) -> None:
        await store.put("a/one", b"content")
        metadata = {} if how == "bare" else {"scrubjay-sum": "4-00000000"}
        for body in (b"junk", b"more"):
            client.put_object(Bucket=store.bucket, Key=store.prefix + "a/one", Body=body, Metadata=metadata)
        assert await store.get("a/one") == b"content"
        assert await store.get_range("a/one", 0, 7) == b"content"
        said = store.recalled("a/").get("a/one")
        assert said is not None
        assert said.kind == UNREADABLE
        assert said.detail.startswith("written over: version ")
        client.put_object(Bucket=store.bucket, Key=store.prefix + "copied", Body=b"as it is")
        assert await store.get("copied") == b"as it is"  # no version under it is ours: read as it is, as ever
        client.put_object(Bucket=store.bucket, Key=store.prefix + "copied", Body=b"as it was not")
        assert list(store.recalled("")) == ["a/one"]
        assert (await store.list("a/")).objects == (ObjectInfo("a/one", 7),)
        again = S3Store(store.bucket, store.prefix.rstrip("/"), settings_from(s3_server.env))
        await settle(again)
        assert (await again.list("a/")).objects == (ObjectInfo("a/one", 4),)
        await again.uncover("")
        assert list(again.recalled("")) == ["a/one"], "several versions of which none, or the newest, is ours are nothing to tell"
        assert (await again.list("a/")).objects == (ObjectInfo("a/one", 7),)
        again.close()

    within(fresh(s3_server), main)


def test_deletion_takes_every_version_and_marker(s3_server: S3Server) -> None:
    async def main(store: S3Store, client: Any) -> None:
        await store.put("a/one", b"content")
        client.put_object(Bucket=store.bucket, Key=store.prefix + "a/one", Body=b"junk")
        client.delete_object(Bucket=store.bucket, Key=store.prefix + "a/one")
        await store.put("a/one", b"again")  # a marker lets a create through, as a deletion does anywhere
        await store.put("a/one-not", b"kept")
        await store.delete("a/one")
        await store.uncover("")
        assert store.recalled("") == {}
        assert (await store.list("a/")).objects == (ObjectInfo("a/one-not", 4),)
        assert versions_of(client, store) == 1
        assert await store.get("a/one-not") == b"kept"

    within(fresh(s3_server), main)


def test_versions_that_are_switched_on_meanwhile_are_noticed(s3_server: S3Server) -> None:
    """Also where nobody may ask: the answer to a deletion tells."""

    async def main(store: S3Store, client: Any) -> None:
        await store.put("a/one", b"content")
        store._versions._known.kept, store._versions._known.at = False, time.monotonic()
        await store.delete("a/one")
        assert versions_of(client, store) == 0

    within(fresh(s3_server), main)


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_what_is_put_is_locked_and_stays_as_it_was_when_it_cannot_go(s3_server: S3Server, mode: str) -> None:
    async def main(store: S3Store, client: Any) -> None:
        await store.put("c/log/1", b"content")
        with pytest.raises(Exists):
            await store.put("c/log/1", b"other")
        with pytest.raises(Unsafe) as caught:
            await store.delete("c/log/1")
        assert caught.value.fields["error_code"] == "ObjectLocked"
        assert [info.key for info in (await store.list("c/")).objects] == ["c/log/1"]  # no marker stands over it
        assert await store.get("c/log/1") == b"content"
        store._versions._known.kept, store._versions._known.at = False, time.monotonic()
        with pytest.raises(Unsafe):  # nor where versions were not known of
            await store.delete("c/log/1")
        assert await store.get("c/log/1") == b"content"
        assert store.recalled("") == {}
        before = client.get_object_retention(Bucket=store.bucket, Key=store.prefix + "c/log/1")["Retention"]
        assert before["Mode"] == mode.upper()
        now_us = time.time_ns() // 1000
        for until_us in (now_us + 3 * HOUR_US, now_us + 2 * HOUR_US):
            await store.retain("c/log/1", until_us)
            found = client.get_object_retention(Bucket=store.bucket, Key=store.prefix + "c/log/1")["Retention"]
            assert abs(found["RetainUntilDate"].timestamp() - now_us / 1e6 - 3 * 3600) < 5
        await store.put("c/pins/1.json", b"a backup may be deleted")
        await store.delete("c/pins/1.json")
        with pytest.raises(Missing):
            await store.retain("c/log/2", now_us + HOUR_US)

    within(fresh(s3_server, mode), main)


@pytest.mark.parametrize("how", ["deleted", "written over", "written over by a twin"])
def test_what_is_locked_for_longer_is_what_was_put_and_not_what_stands_over_it(s3_server: S3Server, how: str) -> None:
    """written over by a twin: with our mark and length, so that only its bytes tell; noticed once somebody has read it."""

    async def main(store: S3Store, client: Any) -> None:
        await store.put("c/log/1", b"content")
        full = store.prefix + "c/log/1"
        ours = client.head_object(Bucket=store.bucket, Key=full)
        if how == "deleted":
            client.delete_object(Bucket=store.bucket, Key=full)
        else:
            twin = how != "written over"
            body, metadata = (b"CONTENT", ours["Metadata"]) if twin else (b"junk", {})
            client.put_object(Bucket=store.bucket, Key=full, Body=body, Metadata=metadata)
            if twin:
                assert await store.get("c/log/1") == b"content"
        until_us = time.time_ns() // 1000 + 3 * HOUR_US
        assert abs(await store.retain("c/log/1", until_us) - until_us) < 1_000_000
        found = client.head_object(Bucket=store.bucket, Key=full, VersionId=ours["VersionId"])
        assert abs(found["ObjectLockRetainUntilDate"].timestamp() - until_us / 1e6) < 2
        answer = client.list_object_versions(Bucket=store.bucket, Prefix=full)
        for one in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())):
            if one["VersionId"] != ours["VersionId"]:
                client.delete_object(Bucket=store.bucket, Key=full, VersionId=one["VersionId"])  # nothing of it was locked
        assert await store.get("c/log/1") == b"content"

    within(fresh(s3_server, "governance"), main)


def test_a_moment_that_has_passed_asks_and_changes_nothing(s3_server: S3Server) -> None:
    async def main(store: S3Store, client: Any) -> None:
        put_us = time.time_ns() // 1000
        await store.put("c/log/1", b"content")
        assert store.locks_us() == HOUR_US
        assert abs(await store.retain("c/log/1", 0) - put_us - HOUR_US) < 5_000_000
        client.put_object(Bucket=store.bucket, Key=store.prefix + "c/log/2", Body=b"old")
        assert await store.retain("c/log/2", 0) == 0
        client.delete_object(
            Bucket=store.bucket,
            Key=store.prefix + "c/log/2",
            VersionId=client.head_object(Bucket=store.bucket, Key=store.prefix + "c/log/2")["VersionId"],
        )

    within(fresh(s3_server, "governance"), main)


def test_a_store_that_locks_nothing_says_so(s3_server: S3Server) -> None:
    async def main(store: S3Store, client: Any) -> None:
        await store.put("c/log/1", b"content")
        assert (store.locks_us(), await store.retain("c/log/1", time.time_ns())) == (0, 0)

    within(fresh(s3_server), main)


def test_an_object_without_a_lock_is_locked_when_it_is_needed(s3_server: S3Server) -> None:
    """What was archived before the lock was configured."""

    async def main(store: S3Store, client: Any) -> None:
        client.put_object(Bucket=store.bucket, Key=store.prefix + "c/log/1", Body=b"old")
        await store.retain("c/log/1", time.time_ns() // 1000 + HOUR_US)
        with pytest.raises(Unsafe):
            await store.delete("c/log/1")

    within(fresh(s3_server, "governance"), main)


def test_the_probe_takes_a_bucket_that_locks_and_refuses_one_that_does_not(s3_server: S3Server) -> None:
    async def main(tasks: AsyncTasks) -> None:
        env = Env(RealClock(), RealRand(), tasks)
        good = fresh(s3_server, "governance")
        await settle(good)
        await probe(good, env)
        left = good.client().list_object_versions(Bucket=good.bucket, Prefix=good.prefix)
        assert [one["Key"].rpartition("/")[2] for one in left["Versions"]] == ["locked"]  # for an hour
        assert not left.get("DeleteMarkers")
        good.close()
        settings = settings_from(s3_server.env) | {"object_lock": "compliance", "object_lock_us": str(HOUR_US)}
        bad = S3Store(shared_bucket(s3_server), str(uuid.uuid4()), settings)
        with pytest.raises(Unsafe) as caught:
            await probe(bad, env)
        assert caught.value.fields["probe"] == "object lock"
        assert (await bad.list("")).objects == ()
        bad.close()

    run(main)
