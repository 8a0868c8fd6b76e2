"""Who may write below a prefix, the probe, and the checked record stream."""

from __future__ import annotations

import json

import pytest

from scrubjay.archiver.format.identity import decode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, build
from scrubjay.archiver.read.names import clusters
from scrubjay.archiver.read.reader import read_records
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.probe import probe
from scrubjay.base.env import ListPage, ObjectInfo
from scrubjay.base.errors import Corrupt, Missing, Unavailable, Unsafe
from scrubjay.server.archive import wrapped
from scrubjay.sim.lone import LoneHost, LoneStore
from tests.fixtures.golden import Golden
from tests.unit.archiver.sample import CLUSTER, history
from tests.unit.archiver.test_archive_rebuild import archive

OTHER = "0c1a5e00-0000-4000-8000-0000000000ff"


def test_a_new_folder_on_an_empty_prefix() -> None:
    loop, store = LoneHost(), LoneStore()
    cluster = loop.run(attach(store, loop.env(), cluster_id=None, folder_is_new=True))
    key = build(IdentityKey(cluster))
    assert decode_identity(store.objects[key], where=key) == cluster
    assert loop.run(attach(store, loop.env(), cluster_id=cluster, folder_is_new=False)) == cluster
    assert loop.run(clusters(store)) == [cluster]


def test_a_first_start_that_was_killed_goes_on() -> None:
    loop, store = LoneHost(), LoneStore()
    loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=True))
    assert loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=True)) == CLUSTER


@pytest.mark.parametrize("cluster_id", [None, CLUSTER])
def test_an_empty_folder_on_a_used_prefix_is_refused(cluster_id: str | None) -> None:
    loop, store = LoneHost(), LoneStore()
    loop.run(attach(store, loop.env(), cluster_id=OTHER, folder_is_new=True))
    with pytest.raises(Unsafe) as caught:
        loop.run(attach(store, loop.env(), cluster_id=cluster_id, folder_is_new=True))
    assert "recover" in str(caught.value)
    assert "--archive" in str(caught.value)
    assert OTHER in str(caught.value)


def test_a_recovered_folder_may_write_beside_its_parent_and_beside_nobody_else() -> None:
    loop, store = LoneHost(), LoneStore()
    loop.run(attach(store, loop.env(), cluster_id=OTHER, folder_is_new=True))
    stranger = "0c1a5e00-0000-4000-8000-0000000000aa"
    with pytest.raises(Unsafe):
        loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=True, parent=stranger))
    assert loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=True, parent=OTHER)) == CLUSTER
    assert json.loads(store.objects[build(IdentityKey(CLUSTER))])["parent"] == OTHER


@pytest.mark.parametrize("used", [False, True])
def test_a_foreign_archive_is_refused(used: bool) -> None:
    loop, store = LoneHost(), LoneStore()
    if used:
        loop.run(attach(store, loop.env(), cluster_id=OTHER, folder_is_new=True))
    with pytest.raises(Unsafe) as caught:
        loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=False))
    assert "recover" in str(caught.value)
    assert "--archive" in str(caught.value)


def test_foreign_objects_are_no_cluster() -> None:
    loop, store = LoneHost(), LoneStore()
    store.objects.update({"readme.txt": b"x", "backup/2020/a": b"x", "zz/t=1": b"x"})
    cluster = loop.run(attach(store, loop.env(), cluster_id=None, folder_is_new=True))
    assert loop.run(clusters(store)) == [cluster]


def test_a_lost_identity_is_written_again_at_start() -> None:
    loop, store = LoneHost(), LoneStore()
    loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=True))
    store.objects[build(EpochKey(CLUSTER, 1))] = b"epoch"
    key = build(IdentityKey(CLUSTER))
    del store.objects[key]
    loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=False))
    assert decode_identity(store.objects[key], where=key) == CLUSTER


def test_a_rotted_identity_is_no_reason_to_stop() -> None:
    loop, store = LoneHost(), LoneStore()
    store.objects[build(IdentityKey(CLUSTER))] = b"rot"
    assert loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=False)) == CLUSTER


def test_an_archive_of_format_version_1_is_refused_by_name(golden: Golden) -> None:
    loop, store = LoneHost(), LoneStore()
    store.objects[build(IdentityKey(CLUSTER))] = golden.read("v1/archive/identity.json")
    with pytest.raises(Unsafe, match="format version 1"):
        loop.run(attach(store, loop.env(), cluster_id=CLUSTER, folder_is_new=False))


# --- the probe: each lying store is refused by name ---


class Careless(LoneStore):
    """Overwrites."""

    async def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data


class Racy(LoneStore):
    """Looks before it writes, with a gap in between."""

    def __init__(self, loop: LoneHost) -> None:
        super().__init__()
        self._loop = loop

    async def put(self, key: str, data: bytes) -> None:
        there = await self.head(key)
        await self._loop.sleep(0.01)
        if there is not None:
            await super().put(key, data)
        self.objects[key] = data


class Stale(LoneStore):
    """Lists late."""

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        return ListPage((), False)


class Disorderly(LoneStore):
    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        page = await super().list(prefix, after=after, limit=limit)
        return ListPage(tuple(reversed(page.objects)), page.more)


class Rotten(LoneStore):
    async def get(self, key: str) -> bytes:
        return (await super().get(key))[:-1] + b"!"


class Trusting(LoneStore):
    """Does not look at checksums."""

    async def refuses_wrong_checksum(self, key: str) -> bool:
        return False


class Clinging(LoneStore):
    async def delete(self, key: str) -> None: ...

    async def head(self, key: str) -> ObjectInfo | None:
        return await super().head(key)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda loop: Careless(), "create-once"),
        (Racy, "create-once race"),
        (lambda loop: Stale(), "list order"),
        (lambda loop: Disorderly(), "list order"),
        (lambda loop: Rotten(), "read-your-write"),
        (lambda loop: Trusting(), "wrong checksum"),
        (lambda loop: wrapped(Trusting(), loop.env()).store, "wrong checksum"),
        (lambda loop: Clinging(), "deletion"),
    ],
)
def test_a_store_that_lies_is_refused(make: object, name: str) -> None:
    loop = LoneHost()
    store = make(loop)  # type: ignore[operator]
    with pytest.raises(Unsafe) as caught:
        loop.run(probe(store, loop.env()))
    assert caught.value.fields["probe"] == name
    assert name in caught.value.message


def test_an_honest_store_passes_and_is_left_clean() -> None:
    loop, store = LoneHost(), LoneStore()
    loop.run(probe(store, loop.env()))
    assert store.objects == {}


class Dying(LoneStore):
    """Goes away after a few calls; counts what it is still asked."""

    calls = 0

    async def put(self, key: str, data: bytes) -> None:
        self.calls += 1
        if self.calls > 4:
            raise Unavailable("gone", key=key)
        await super().put(key, data)

    async def delete(self, key: str) -> None:
        self.calls += 1
        if self.calls > 4:
            raise Unavailable("gone", key=key)


def test_a_store_that_goes_away_in_the_probe_is_not_asked_again_to_clean_up() -> None:
    """Each such call may cost a whole patience: seven of them kept a start, and a stop, for minutes."""
    loop, store = LoneHost(), Dying()
    with pytest.raises(Unavailable):
        loop.run(probe(store, loop.env()))
    assert store.calls <= 4 + 8, "the racers' calls were under way at once"


# --- the record stream ---


def test_records_come_in_order_and_whole() -> None:
    sample = history(segments=3)
    loop, store, _ = archive(sample)

    async def read(first: int, last: int | None) -> list[int]:
        found = []
        async for record in read_records(store, sample.manifests(), first=first, last=last):
            assert record == sample.records[record.lsn - 1]
            found.append(int(record.lsn))
        return found

    assert loop.run(read(1, None)) == list(range(1, sample.lsn + 1))
    assert loop.run(read(5, 20)) == list(range(5, 21))
    with pytest.raises(Missing) as caught:
        loop.run(read(5, sample.lsn + 1))
    assert caught.value.fields["lsn"] == sample.lsn + 1


def test_the_stream_stops_in_front_of_what_is_absent_or_bad() -> None:
    sample = history(segments=3)
    loop, store, _ = archive(sample)
    manifests = sample.manifests()
    bad = build(manifests[2].key())
    store.objects[bad] = store.objects[bad][:-3] + b"abc"
    seen: list[int] = []

    async def read(some: list) -> None:  # type: ignore[type-arg]
        async for record in read_records(store, some, first=1):
            seen.append(int(record.lsn))  # noqa: PERF401 - what was seen before the error counts

    with pytest.raises(Corrupt) as corrupt:
        loop.run(read(manifests))
    assert corrupt.value.fields["where"] == bad
    assert seen[-1] == manifests[1].last
    with pytest.raises(Missing) as missing:
        loop.run(read([manifests[0], *manifests[2:]]))
    assert missing.value.fields["lsn"] == manifests[1].first
