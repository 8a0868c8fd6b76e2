"""How two archives are opened as one: of which URL, with whose access, sealed or not; and what passes between processes that open the same pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.format.identity import encode_epoch, encode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, SegmentKey, build
from scrubjay.archiver.format.segment import SegmentHead, encode_segment
from scrubjay.archiver.format.sound import alike, sound
from scrubjay.archives import open_archive
from scrubjay.base.env import Env
from scrubjay.base.errors import Invalid, Missing, Unavailable
from scrubjay.base.paired_jobs import MET, TURN, PairedJobs
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import SECOND, beginning_second, open_store, pair_of
from scrubjay.base.wrap.paired import PairedStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config, load
from scrubjay.store_settings import settings_for, store_settings

CLUSTER, TABLE, PART = (f"0000000{number}-0000-4000-8000-000000000000" for number in (1, 2, 3))
SEGMENT = build(SegmentKey(CLUSTER, TABLE, PART, 1, 2, 1, "ab" * 8, False))


def config(**values: str) -> Config:
    return load(sets=[f"{name.replace('__', '.')}={value}" for name, value in values.items()])


def folders(tmp_path: Path) -> tuple[str, str]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return (tmp_path / "one").as_uri(), (tmp_path / "two").as_uri()


def test_a_pair_is_of_the_archive_alone(tmp_path: Path) -> None:
    one, two = folders(tmp_path)
    settings = store_settings(config(archive__url=one, second__url=two))
    pair = pair_of(RetryingStore(open_store(one + "/", settings=settings), Env(RealClock(), RealRand(), None)))  # type: ignore[arg-type]
    assert pair is not None
    assert [half.url for half in pair.halves] == [one, two]
    for url in (two, (tmp_path / "elsewhere").as_uri()):
        assert pair_of(open_store(url, settings=settings)) is None, "the scratch archive of a drill has no second one"
    assert pair_of(open_store(one, settings=store_settings(config(archive__url=one)))) is None


def test_a_second_folder_that_is_not_there_is_made_once_only(tmp_path: Path) -> None:
    one, _ = folders(tmp_path)
    settings = store_settings(config(archive__url=one, second__url=(tmp_path / "new").as_uri()))

    async def main(tasks: AsyncTasks) -> None:
        later, begun = (pair_of(open_store(one, settings=each)) for each in (settings, beginning_second(settings)))
        assert later is not None
        assert begun is not None
        with pytest.raises(Unavailable):
            await later.halves[1].store.put("a", b"x")
        await begun.halves[1].store.put("a", b"x")
        await later.halves[1].store.put("b", b"x")

    run(main)


def test_the_second_one_has_its_own_access_or_the_firsts() -> None:
    shared = config(archive__url="s3://a/b", second__url="s3://c/d", s3__access_key_id="k1", s3__secret_access_key="s1")
    assert json.loads(store_settings(shared)[SECOND])["access_key"] == "k1"
    own = config(
        archive__url="s3://a/b", second__url="s3://c/d", s3__access_key_id="k1", s3__secret_access_key="s1",
        s3__endpoint_url="http://one", second__endpoint_url="http://two",
    )  # fmt: skip
    second = json.loads(store_settings(own)[SECOND])
    assert (second["endpoint"], second["access_key"]) == ("http://two", ""), "a pair of keys of another server is not sent there"
    alone = settings_for(own, "s3://c/d/")
    assert (alone["endpoint"], alone["access_key"], alone[SECOND]) == ("http://two", "", "")


@pytest.mark.parametrize(
    "values",
    [
        {"archive__url": "file:///a", "second__url": "file:///a/"},
        {"archive__url": "s3://a/b", "second__url": "file:///a", "archive__object_lock": "governance"},
        {"second__url": "s3://a/b", "second__access_key_id": "k"},
        {"archive__url": "s3://a/b", "second__url": "file:///a", "jobs__backend": "dask", "jobs__address": "tcp://h:1"},
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        config(**values)
    assert caught.value.fields["next"]


def test_the_locks_are_the_firsts() -> None:
    with_lock = config(archive__url="s3://a/b", second__url="s3://c/d", archive__object_lock="governance")
    pair = pair_of(open_store("s3://a/b", settings=store_settings(with_lock)))
    assert pair is not None
    assert [half.store._versions.locks("x") for half in pair.halves] == [True, True]  # type: ignore[attr-defined]
    plain = pair_of(open_store("s3://a/b", settings=store_settings(config(archive__url="s3://a/b", second__url="s3://c/d"))))
    assert plain is not None
    assert [half.store._versions.locks("x") for half in plain.halves] == [False, False]  # type: ignore[attr-defined]


def segment(*, level: int = 1, first_stamp: int = 5) -> bytes:
    head = SegmentHead(CLUSTER, TABLE, PART, 1, 2, first_stamp, 6, 2, 1)
    return encode_segment(head, b"records " * 500, level=level)


def test_bytes_are_judged_by_their_format() -> None:
    good = segment()
    assert sound(SEGMENT, good) is True
    assert sound(SEGMENT, good[:200] + bytes([good[200] ^ 1]) + good[201:]) is False
    assert sound(build(SegmentKey(CLUSTER, TABLE, PART, 3, 4, 1, "ab" * 8, False)), good) is False, "another one's"
    identity = encode_identity(cluster=CLUSTER, created_us=1, parent=None)
    assert sound(build(IdentityKey(CLUSTER)), identity) is True
    assert sound(build(IdentityKey(CLUSTER)), identity[:-3]) is False
    assert sound("something/else", b"x") is None
    assert sound(SEGMENT, b"SJsealed" + good) is None, "its seal says it, not its format"


def test_two_honest_segments_say_the_same_and_two_claims_never_do() -> None:
    assert segment(level=1) != segment(level=19)
    assert alike(SEGMENT, segment(level=1), segment(level=19))
    assert not alike(SEGMENT, segment(), segment(first_stamp=4))
    assert not alike(SEGMENT, segment(), b"rotten")
    claims = [encode_epoch(cluster=CLUSTER, epoch=1, owner=owner, created_us=1) for owner in (TABLE, PART)]
    assert not alike(build(EpochKey(CLUSTER, 1)), *claims)


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["", "k=env:THE_KEY"])
def test_one_that_is_away_is_done_without_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("THE_KEY", "11" * 32)
    one, two = folders(tmp_path)
    given = config(archive__url=one, second__url=two, **({"encryption__keys": keys} if keys else {}))

    async def main(tasks: AsyncTasks) -> None:
        env = Env(RealClock(), RealRand(), tasks)
        for url in (one, two):
            store = open_store(url, settings={**store_settings(given), SECOND: ""})
            await store.put("identity", b"here")
        whole = await open_archive(env, given, one)
        assert whole.away is None
        assert isinstance(whole.store.inner, PairedStore)
        for gone, left in (("one", two), ("two", one)):
            (tmp_path / gone).rename(tmp_path / "away")
            opened = await open_archive(env, given, one)
            assert opened.away is not None
            assert opened.away[0] == (tmp_path / gone).as_uri()
            assert opened.url == left
            assert await opened.store.get("identity") == b"here"
            assert pair_of(open_store(opened.url, settings=opened.settings)) is None
            (tmp_path / "away").rename(tmp_path / gone)
        (tmp_path / "one").rename(tmp_path / "away1")
        (tmp_path / "two").rename(tmp_path / "away2")
        with pytest.raises(Unavailable):
            await open_archive(env, given, one)

    run(main)


def test_a_sealed_pair_reads_the_one_whose_seal_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "11" * 32)
    one, two = folders(tmp_path)
    settings = store_settings(config(archive__url=one, second__url=two, encryption__keys="k=env:THE_KEY"))

    async def main(tasks: AsyncTasks) -> None:
        store = open_store(one, settings=settings)
        pair = pair_of(store)
        assert pair is not None
        pair.keep(tasks)
        pair.turn = 0
        await store.put("identity", b"here")
        files = [tmp_path / name / "identity" for name in ("one", "two")]
        assert files[0].read_bytes() == files[1].read_bytes(), "sealed once, copied as it lies"
        files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
        assert await store.get("identity") == b"here"
        assert list(pair.halves[0].unsound) == ["identity"]

    run(main)


class Told:
    """Jobs that answer."""

    def __init__(self, answer: Callable[[], dict[str, Any]]) -> None:
        self.arguments: dict[str, Any] = {}
        self.answer = answer

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Any = None) -> dict[str, Any]:
        self.arguments = arguments
        return self.answer()

    async def bring(self, path: str) -> None: ...

    def drop(self, path: str) -> None: ...


def test_workers_are_told_whose_turn_it_is_and_say_what_they_met(tmp_path: Path) -> None:
    one, two = folders(tmp_path)

    async def main(tasks: AsyncTasks) -> None:
        pair = pair_of(open_store(one, settings=store_settings(config(archive__url=one, second__url=two))))
        assert pair is not None
        pair.turn = 1
        for half in pair.halves:
            half.compared = True
        told = Told(lambda: {"x": 1, MET: {"lacking": [["a"], []], "unsound": [[], ["b"]]}})
        jobs = PairedJobs(told, pair, writes=("put",))
        assert await jobs.run("put", {"url": one}) == {"x": 1}
        assert told.arguments == {"url": one, TURN: 1}
        assert (list(pair.halves[0].lacking), list(pair.halves[1].unsound)) == (["a"], ["b"])

        def fails() -> dict[str, Any]:
            raise Missing("gone")

        told.answer = fails
        for job, compared in (("get", True), ("put", False)):
            with pytest.raises(Missing):
                await jobs.run(job, {})
            assert [half.compared for half in pair.halves] == [compared, compared], "some of it may lie in one alone"

    run(main)
