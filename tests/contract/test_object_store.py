"""One contract for all object stores: a folder, MinIO, SeaweedFS and the simulated one; with encryption over a folder and over MinIO;
and two of them as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.archiver.write.probe import probe
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Invalid, Missing
from scrubjay.base.wrap.limit import LimitedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.retry import RetryingStore
from tests.contract.object_store_kinds import Kind, make

MARKED = [
    "file",
    pytest.param("minio", marks=[pytest.mark.s3, pytest.mark.xdist_group("s3")]),
    pytest.param("seaweed", marks=[pytest.mark.s3, pytest.mark.xdist_group("s3")]),
    "sim",
    "sealed-file",
    pytest.param("sealed-minio", marks=[pytest.mark.s3, pytest.mark.xdist_group("s3")]),
    "pair-sim",
    "pair-file",
    "sealed-pair-file",
    pytest.param("pair-s3", marks=[pytest.mark.s3, pytest.mark.xdist_group("s3")]),
]


@pytest.fixture(params=MARKED)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    with make(request.param, request, tmp_path) as made:
        yield made


def test_what_is_put_is_read(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        for key, data in (
            ("a/b=c/x.1", b"hello"),
            ("empty", b""),
            ("zeros", bytes(3_000_000)),
            ("t=1/p=2/log/0-1.1.ab.seg", bytes(range(256))),
        ):
            await store.put(key, data)
            assert await store.get(key) == data
            info = await store.head(key)
            assert info is not None
            assert (info.key, info.size) == (key, len(data))

    kind.run(main)


def test_ranges(kind: Kind) -> None:
    data = bytes(range(200))

    async def main(store: ObjectStore, env: Env) -> None:
        await store.put("r", data)
        for start, end in ((0, 200), (0, 1), (199, 200), (50, 150), (7, 7)):
            assert await store.get_range("r", start, end) == data[start:end]
        for start, end in ((150, 201), (200, 210), (500, 600)):
            with pytest.raises(Corrupt):
                await store.get_range("r", start, end)
        with pytest.raises(Invalid):
            await store.get_range("r", 5, 4)
        with pytest.raises(Missing):
            await store.get_range("absent", 0, 1)

    kind.run(main)


def test_absent(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        with pytest.raises(Missing):
            await store.get("no/such")
        assert await store.head("no/such") is None
        await store.delete("no/such")
        assert await store.list("no/") == ((), False)

    kind.run(main)


def test_create_once(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        await store.put("k/1", b"first")
        for data in (b"second", b"first"):
            with pytest.raises(Exists) as caught:
                await store.put("k/1", data)
            assert caught.value.fields["key"] == "k/1"
        assert await store.get("k/1") == b"first"
        await store.delete("k/1")
        assert await store.head("k/1") is None
        await store.put("k/1", b"third")
        assert await store.get("k/1") == b"third"

    kind.run(main)


def test_exactly_one_of_many_creates_wins(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        for round_ in range(3):
            key = f"race/{round_}"
            won: list[int] = []

            async def racer(number: int, key: str = key, won: list[int] = won) -> None:
                try:
                    await store.put(key, b"%d" % number * 1000)
                except Exists:
                    return
                won.append(number)

            for task in [env.tasks.spawn(racer(number), name="racer") for number in range(8)]:
                await task
            assert len(won) == 1
            assert await store.get(key) == b"%d" % won[0] * 1000

    kind.run(main)


KEYS = sorted(
    [
        "c/n/1",
        "c/n/2",
        "c/n-1/1",
        "c/n.1/1",
        "c/n-1/2",
        "c/n0/5",
        "c/z",
        "b",
        "d/e/f/g",
        "c/a-b",
        "c/a.b",
        "d/e/f0",
        "d/e/f=1/x",
        "d/e/f_1/x",
    ]
)
PREFIXES = ["", "c", "c/", "c/n", "c/n-", "c/n/", "d/e", "d/e/f", "zz", "c/a."]
AFTERS = ["", "a", "b", "c", "c/", "c/n", "c/n-1/1", "c/n-1/~", "c/n/1", "c/n/2", "c/n/~", "c/n0/", "c/n~", "d/e", "d/e/f=1/x", "zzz"]


def test_listing_is_complete_at_once_and_in_byte_order(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        for key in reversed(KEYS):
            await store.put(key, key.encode())
        for prefix in PREFIXES:
            every = 1 if kind.name in ("file", "sim", "pair-sim") else 2 if prefix in ("", "c/") else 4
            for after in AFTERS[::every]:
                expected = [key for key in KEYS if key.startswith(prefix) and key > after]
                for limit in (2, 100):
                    page = await store.list(prefix, after=after, limit=limit)
                    assert [info.key for info in page.objects] == expected[:limit], (prefix, after, limit)
                    assert page.more == (len(expected) > limit), (prefix, after, limit)
                    assert all(info.size == len(info.key) for info in page.objects)

    kind.run(main)


def test_paging_through_more_than_one_page_of_the_server(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        keys = [f"log/{number:04d}.{ending}" for number in range(30) for ending in ("json", "seg")]
        for key in keys:
            await store.put(key, b"x")
        found: list[str] = []
        while True:
            page = await store.list("log/", after=found[-1] if found else "", limit=7)
            found += [info.key for info in page.objects]
            if not page.more:
                break
        assert found == keys

    kind.run(main)


def test_bad_keys_are_refused(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        for key in ("", "/a", "a/", "a//b", "../a", "a/../b", ".tmp/x", "a b", "a\n", "ä", "a/.b", "%41"):
            with pytest.raises(Invalid):
                await store.put(key, b"x")

    kind.run(main)


def test_the_probe_passes_and_leaves_nothing(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        await store.put("mine", b"x")
        await probe(store, env)
        await probe(store, env)
        assert [info.key for info in (await store.list("")).objects] == ["mine"]

    kind.run(main)


def test_listing_after_the_probe_found_out_about_the_order(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        await probe(store, env)
        if kind.name in ("minio", "seaweed"):
            assert store.flat_order == (kind.name == "minio")  # type: ignore[attr-defined]
        for key in KEYS:
            await store.put(key, b"x")
        for after in AFTERS[1::3]:
            for prefix in ("", "c/n"):
                page = await store.list(prefix, after=after)
                assert [info.key for info in page.objects] == [key for key in KEYS if key.startswith(prefix) and key > after], (
                    prefix,
                    after,
                )

    kind.run(main)


def test_through_all_wrappers(kind: Kind) -> None:
    async def main(store: ObjectStore, env: Env) -> None:
        metered = MeteredStore(store, env)
        whole = LimitedStore(RetryingStore(metered, env), env, in_flight=2)
        await whole.put("w/1", b"data")
        with pytest.raises(Exists):
            await whole.put("w/1", b"data")
        assert await whole.get("w/1") == b"data"
        assert await whole.get_range("w/1", 1, 3) == b"at"
        assert (await whole.list("w/")).objects[0].size == 4
        assert await whole.head("w/1") is not None
        await whole.delete("w/1")
        with pytest.raises(Missing):
            await whole.get("w/1")
        assert {verb: stats.requests for verb, stats in metered.stats.items()} == {
            "put": 2,
            "get": 2,
            "get_range": 1,
            "head": 1,
            "list": 1,
            "delete": 1,
        }
        assert metered.stats["put"].bytes == 4
        assert metered.reachable

    kind.run(main)
