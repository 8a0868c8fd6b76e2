"""What only an S3 server does: checksums in the PUT, credentials, buckets, and errors that mean what we take them for."""

from __future__ import annotations

import uuid

import pytest

from scrubjay.base.env import Env
from scrubjay.base.errors import Invalid, ScrubjayError, Unavailable
from scrubjay.base.real.aws import settings_from
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.s3 import S3Store
from scrubjay.base.real.stores import bare_store
from tests.contract.object_store_kinds import settle, shared_bucket
from tests.fixtures.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.xdist_group("s3")]


def fresh(server: S3Server) -> S3Store:
    """A store with a prefix of its own."""
    store = bare_store(f"s3://{shared_bucket(server)}/{uuid.uuid4()}", environment=server.env)
    assert isinstance(store, S3Store)
    return store


def test_a_wrong_checksum_is_refused_and_leaves_nothing(s3_server: S3Server) -> None:
    async def main(tasks: AsyncTasks) -> None:
        store = fresh(s3_server)
        await settle(store)
        assert await store.refuses_wrong_checksum("probe/1")
        assert await store.head("probe/1") is None
        store.close()

    run(main)


def test_a_put_carries_a_content_checksum(s3_server: S3Server) -> None:
    async def main(tasks: AsyncTasks) -> None:
        store = fresh(s3_server)
        await settle(store)
        await store.put("sum/1", b"content")
        key = store.prefix + "sum/1"
        answer = store.client().head_object(Bucket=store.bucket, Key=key, ChecksumMode="ENABLED")
        assert answer.get("ChecksumCRC64NVME")
        store.close()

    run(main)


@pytest.mark.parametrize("wrong", ["secret", "bucket", "port"])
def test_what_cannot_be_reached_is_unavailable(s3_server: S3Server, wrong: str) -> None:
    if wrong == "bucket" and s3_server.name == "seaweed":
        pytest.skip("SeaweedFS makes a missing bucket for an administrator")

    async def main(tasks: AsyncTasks) -> None:
        settings = settings_from(s3_server.env)
        if wrong == "secret":
            settings["secret_key"] = "not-the-secret"
        elif wrong == "port":
            settings["endpoint"] = "http://127.0.0.1:9"
        store = S3Store("no-such-bucket-here" if wrong == "bucket" else shared_bucket(s3_server), "p", settings)
        for call in (lambda: store.put("k", b"x"), lambda: store.get("k"), lambda: store.list("k"), lambda: store.delete("k")):
            with pytest.raises(Unavailable) as caught:
                await call()
            assert caught.value.fields["key"] == "k"
        store.close()

    run(main)


def test_prefixes_do_not_see_each_other(s3_server: S3Server) -> None:
    async def main(tasks: AsyncTasks) -> None:
        base = f"s3://{shared_bucket(s3_server)}/{uuid.uuid4()}"
        stores = [bare_store(url, environment=s3_server.env) for url in (base, base + "/one", base + "/one/two", base + "/other")]
        await settle(stores[0])
        for number, store in enumerate(stores[1:]):
            await store.put("key", b"%d" % number)
        assert [await store.get("key") for store in stores[1:]] == [b"0", b"1", b"2"]
        assert [info.key for info in (await stores[0].list("")).objects] == ["one/key", "one/two/key", "other/key"]
        assert [info.key for info in (await stores[2].list("")).objects] == ["key"]
        for store in stores:
            store.close()

    run(main)


def test_real_environment_is_complete() -> None:
    async def main(tasks: AsyncTasks) -> None:
        env = Env(RealClock(), RealRand(), tasks)
        assert env.clock.boot_us() > 0

    run(main)


@pytest.mark.parametrize(
    "url",
    [
        "http://x/y",
        "s3:///prefix",
        "s3://bucket/a//b",
        "s3://bucket/.hidden",
        "s3://bucket/a b",
        "file://host/path",
        "file:relative",
        "x",
        "s3://b/p?q=1",
    ],
)
def test_bad_urls_are_usage_errors(url: str) -> None:
    with pytest.raises(Invalid):
        bare_store(url, environment={})


def test_errors_of_the_tree_only() -> None:
    async def main(tasks: AsyncTasks) -> None:
        store = S3Store("b", "", {"endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"})
        with pytest.raises(ScrubjayError):
            await store.head("x")
        store.close()

    run(main)
