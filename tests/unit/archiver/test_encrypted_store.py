"""An encrypted archive: what lies in the store, what is believed of it, and what verify says when something of it or of the keys is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.format import layout
from scrubjay.archiver.format.layout import BaseKey, IdentityKey, SegmentKey, build, parse
from scrubjay.archiver.read.suspects import LEVELS
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.attach import attach
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Missing, NoKey, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.sealed import MAGIC, OVERHEAD, Key, Keyring, kept_name, stem_of
from scrubjay.base.wrap.encrypted import WITNESS, EncryptedStore
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.metered import ERROR, MeteredStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.sim.lone import LoneHost, LoneJobs, LoneStore
from scrubjay.sim.rand import stream
from tests.unit.archiver.sample import CLUSTER, PARTITION, START_US, TABLE
from tests.unit.archiver.small_archive import SmallArchive

OLD, NEW = Key("2025", b"o" * 32), Key("2026", b"n" * 32)
BEFORE, RING = Keyring((OLD,)), Keyring((NEW, OLD))
PLAIN = dict(SmallArchive().store.objects)
SEGMENT = next(key for key in sorted(PLAIN) if key.endswith(".seg"))


def sealed(inner: ObjectStore, ring: Keyring | None = BEFORE) -> EncryptedStore:
    return EncryptedStore(inner, ring, random=stream(1, "seals").randbytes)


class SealedArchive(SmallArchive):
    """The small archive, encrypted. bare: what lies there. store: as it is seen; `use` gives it other keys."""

    def __init__(self) -> None:
        super().__init__()
        self.bare: Any = LoneStore()
        self.use(BEFORE)
        for key, data in PLAIN.items():
            self.loop.run(self.store.put(key, data))

    def use(self, ring: Keyring | None) -> None:
        self.store = sealed(self.bare, ring)  # type: ignore[assignment]


def check(archive: SealedArchive, level: str = "records", *, jobs: bool = False) -> VerifyReport:
    return archive.loop.run(
        verify(
            archive.store,
            archive.disk,
            options=VerifyOptions(level=level, wall_us=lambda: START_US + 60_000_000),
            now_us=archive.loop.boot_us,
            work="verify-work",
            jobs=LoneJobs(archive.loop, archive.store, archive.disk) if jobs else None,
            tasks=archive.loop if jobs else None,
        )
    )


@pytest.fixture
def archive() -> SealedArchive:
    return SealedArchive()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("jobs", [False, True])
def test_an_encrypted_archive_is_found_good(archive: SealedArchive, level: str, jobs: bool) -> None:
    report = check(archive, level, jobs=jobs)
    assert (report.verdict, report.findings) == ("match", [])


def test_nothing_of_the_content_lies_in_the_store(archive: SealedArchive) -> None:
    assert len(archive.bare.objects) == len(PLAIN)
    for key, data in PLAIN.items():
        there = archive.bare.objects[kept_name(BEFORE, key)]
        assert there.startswith(MAGIC)
        assert len(there) == len(data) + OVERHEAD
        assert data[:24] not in there
        parsed = parse(key)
        if isinstance(parsed, SegmentKey | BaseKey):
            assert not any(parsed.sha16 in name for name in archive.bare.objects)


def test_names_and_sizes_are_seen_as_without(archive: SealedArchive) -> None:
    found = archive.loop.run(archive.store.list("", limit=1000)).objects
    assert {one.key: one.size for one in found} == {key: len(data) for key, data in PLAIN.items()}
    assert archive.loop.run(archive.store.head(SEGMENT)) == (SEGMENT, len(PLAIN[SEGMENT]))


def test_every_key_of_the_layout_with_a_hash_is_kept_under_another_one_that_is_a_key_too() -> None:
    kinds = {type(parse(key)) for key in PLAIN}
    assert {layout.SegmentKey, layout.BaseKey, layout.ClosedKey, layout.EpochKey, layout.IdentityKey} <= kinds
    for key in PLAIN:
        hashed = isinstance(parse(key), SegmentKey | BaseKey)
        assert (stem_of(key) is not None, kept_name(RING, key) != key) == (hashed, hashed)
        assert type(parse(kept_name(RING, key))) is type(parse(key))


def test_names_that_differ_in_their_hash_alone_are_listed_in_order_and_page_by_page() -> None:
    loop, store = LoneHost(), sealed(LoneStore())
    stems = ["c/t=1/p=2/log/0000000000000001-0000000000000002.1.", "c/t=1/p=2/log/0000000000000001-0000000000000002.2."]
    keys = sorted(
        f"{stem}{number * 0x1357_9BDF_0246_8ACE % (1 << 64):016x}.{end}" for stem in stems for number in range(9) for end in ("json", "seg")
    )
    for key in [*keys, "c/a", "c/z"]:
        loop.run(store.put(key, b"x"))
    for limit in (1, 2, 5, 100):
        found: list[str] = []
        more = True
        while more:
            page = loop.run(store.list("c/t=", after=found[-1] if found else "", limit=limit))
            found += [info.key for info in page.objects]
            more = page.more
        assert found == keys
    for prefix in (stems[1], keys[-1][:-9], keys[-1], keys[0][: len(stems[0]) + 16]):
        assert [info.key for info in loop.run(store.list(prefix)).objects] == [key for key in keys if key.startswith(prefix)]
    for after in (stems[0], stems[1][:-2], keys[5], keys[5][:-6], keys[20] + "~"):
        assert [info.key for info in loop.run(store.list("c/t=", after=after)).objects] == [key for key in keys if key > after]


def test_an_error_names_the_object_as_its_readers_do(archive: SealedArchive) -> None:
    with pytest.raises(Exists) as taken:
        archive.loop.run(archive.store.put(SEGMENT, b"other"))
    assert (taken.value.fields["key"], taken.value.fields["kept_as"]) == (SEGMENT, kept_name(BEFORE, SEGMENT))
    del archive.bare.objects[kept_name(BEFORE, SEGMENT)]
    with pytest.raises(Missing) as gone:
        archive.loop.run(archive.store.get(SEGMENT))
    assert gone.value.fields["what"] == SEGMENT


def test_a_lost_answer_of_a_create_is_settled_by_content_though_two_seals_differ() -> None:
    loop, memory = LoneHost(), LoneStore()
    bad = FaultyStore(memory, loop.env())
    store = RetryingStore(sealed(bad), loop.env())
    bad.lose_answers = 1
    loop.run(store.put("k", b"mine"))
    assert store.retries == 1
    bad.lose_answers = 1
    with pytest.raises(Exists):
        loop.run(store.put("k", b"theirs"))


def test_what_rotted_while_the_answer_of_its_create_was_lost_is_not_ours_any_more() -> None:
    loop, memory = LoneHost(), LoneStore()
    bad = FaultyStore(memory, loop.env())
    store = RetryingStore(sealed(bad), loop.env())
    bad.lose_answers = 1

    def rotted(verb: str, key: str) -> None:
        if verb == "put" and key in memory.objects:
            memory.objects[key] = memory.objects[key][:-1] + bytes([memory.objects[key][-1] ^ 1])

    bad.fault = rotted
    with pytest.raises(Exists):
        loop.run(store.put("k", b"mine"))


# --- damage, and what is not believed ---


@pytest.mark.parametrize("key", sorted(PLAIN), ids=lambda key: key.split("/", 1)[1][-40:])
def test_a_flipped_bit_is_unreadable_and_named(archive: SealedArchive, key: str) -> None:
    there = bytearray(archive.bare.objects[kept_name(BEFORE, key)])
    there[len(there) // 2] ^= 4
    archive.bare.objects[kept_name(BEFORE, key)] = bytes(there)
    report = check(archive)
    assert report.verdict == "mismatch"
    assert {"unreadable"} == {finding.kind for finding in report.findings if finding.object == key}


@pytest.mark.parametrize(
    "key", [key for key in sorted(PLAIN) if parse(key) != IdentityKey(CLUSTER)], ids=lambda key: key.split("/", 1)[1][-40:]
)
def test_a_plain_object_in_an_encrypted_archive_is_forged(archive: SealedArchive, key: str) -> None:
    """Sound in every other way, at its place."""
    archive.bare.objects[kept_name(BEFORE, key)] = PLAIN[key]
    report = check(archive)
    assert report.verdict == "mismatch"
    assert key in {finding.object for finding in report.findings}
    with pytest.raises(Corrupt, match="a plain object") as caught:
        archive.loop.run(archive.store.get(key))
    assert caught.value.kind == "forged"


def test_without_its_identity_a_plain_object_is_forged_all_the_same(archive: SealedArchive) -> None:
    witness = build(IdentityKey(CLUSTER))
    assert witness == f"{CLUSTER}/{WITNESS}"
    del archive.bare.objects[witness]
    archive.bare.objects[kept_name(BEFORE, SEGMENT)] = PLAIN[SEGMENT]
    with pytest.raises(Corrupt, match="a plain object") as caught:
        archive.loop.run(archive.store.get(SEGMENT))
    assert caught.value.kind == "forged"


def test_two_objects_that_change_places_are_found(archive: SealedArchive) -> None:
    manifests = sorted(key for key in PLAIN if key.endswith(".json") and "/log/" in key)[:2]
    one, other = (kept_name(BEFORE, key) for key in manifests)
    objects = archive.bare.objects
    objects[one], objects[other] = objects[other], objects[one]
    assert {*manifests} <= {finding.object for finding in check(archive).findings}


def test_a_copy_under_another_prefix_verifies(archive: SealedArchive) -> None:
    copy = LoneStore()
    copy.objects.update(archive.bare.objects)
    archive.bare = copy
    archive.use(BEFORE)
    assert check(archive).verdict == "match"


# --- keys ---


def test_new_objects_are_under_the_new_key_and_old_ones_are_read(archive: SealedArchive) -> None:
    archive.use(RING)
    again = SEGMENT.replace(".1.", ".2.", 1)
    archive.loop.run(archive.store.put(again, b"later"))
    assert b"2026" in archive.bare.objects[kept_name(RING, again)][:64]
    assert b"2025" in archive.bare.objects[kept_name(RING, SEGMENT)][:64]
    assert archive.loop.run(archive.store.get(again)) == b"later"
    archive.loop.run(archive.store.delete(again))
    assert check(archive).verdict == "match"


@pytest.mark.parametrize("ring", [None, Keyring((NEW,)), Keyring((Key("2025", b"x" * 32),))])
@pytest.mark.parametrize("jobs", [False, True])
def test_a_lost_key_is_unverified_with_its_id_and_no_finding(archive: SealedArchive, ring: Keyring | None, jobs: bool) -> None:
    archive.use(ring)
    report = check(archive, jobs=jobs)
    assert (report.verdict, report.findings) == ("unverified", [])
    assert "2025" in report.reason
    assert report.checked == 1, "where the identity does not open nothing does: the rest is not even read"


def test_a_key_that_is_lost_for_a_part_is_unverified_too(archive: SealedArchive) -> None:
    """The newest segment lies under a key of which this machine knows nothing: no hole, no rot."""
    sealed_later = sealed(archive.bare, RING)
    newest = max(key for key in PLAIN if key.endswith(".seg"))
    del archive.bare.objects[kept_name(RING, newest)]
    archive.loop.run(sealed_later.put(newest, PLAIN[newest]))
    report = check(archive)
    assert (report.verdict, report.findings) == ("unverified", [])
    assert "2026" in report.reason


@pytest.mark.parametrize(("ring", "said"), [(None, "2025"), (Keyring((NEW,)), "2025"), (Keyring((OLD, NEW)), "names")])
def test_a_server_is_refused_that_has_not_the_archives_keys(archive: SealedArchive, ring: Keyring | None, said: str) -> None:
    archive.use(ring)
    with pytest.raises(Unsafe, match=said) as caught:
        archive.loop.run(attach(archive.store, archive.loop.env(), cluster_id=CLUSTER, folder_is_new=False))
    assert caught.value.exit_code == 4


def test_keys_over_an_archive_that_was_begun_without_are_refused_and_find_nothing_forged(archive: SealedArchive) -> None:
    archive.bare.objects.clear()
    archive.bare.objects.update(PLAIN)
    with pytest.raises(Unsafe, match="begun without encryption"):
        archive.loop.run(attach(archive.store, archive.loop.env(), cluster_id=CLUSTER, folder_is_new=False))
    report = check(archive)
    assert (report.verdict, report.findings) == ("unverified", [])


def test_a_new_archive_begins_sealed() -> None:
    loop, memory = LoneHost(), LoneStore()
    loop.run(attach(sealed(memory), loop.env(), cluster_id=CLUSTER, folder_is_new=True))
    assert all(data.startswith(MAGIC) for data in memory.objects.values())


def test_a_lost_key_is_not_asked_for_again_and_is_no_trouble_of_the_store(archive: SealedArchive) -> None:
    archive.use(None)
    metered = MeteredStore(archive.store, archive.loop.env())
    store = RetryingStore(metered, archive.loop.env())
    with pytest.raises(NoKey) as caught:
        archive.loop.run(store.get(f"{CLUSTER}/{WITNESS}"))
    assert isinstance(caught.value, Unavailable)
    assert (store.retries, metered.stats["get"].ended[ERROR], metered.reachable) == (0, 1, True)


def test_a_store_that_does_not_answer_says_nothing_of_keys() -> None:
    loop, memory = LoneHost(), LoneStore()
    bad = FaultyStore(memory, loop.env())
    store = sealed(bad)
    memory.objects["c/x"] = b"plain enough"
    bad.fault = lambda verb, key: Unavailable("down") if key.endswith(WITNESS) else None
    with pytest.raises(ScrubjayError, match="down") as caught:
        loop.run(store.get("c/x"))
    assert type(caught.value) is Unavailable


def test_what_stands_over_a_sealed_object_has_its_true_name() -> None:
    archive = SealedArchive()
    bucket = archive.bare._store
    bucket.versioned = True
    bucket.lose(kept_name(BEFORE, SEGMENT))
    report = check(archive)
    assert [(one.object, one.kind) for one in report.findings] == [(SEGMENT, "hole")]
    assert list(archive.store.recalled(f"{CLUSTER}/t=")) == [SEGMENT]
    bucket.put_back(kept_name(BEFORE, SEGMENT))
    assert check(archive).findings == []


@pytest.mark.slow
def test_a_page_costs_one_request_and_all_pages_together_are_everything() -> None:
    bare = LoneStore()
    store = sealed(bare)
    loop = LoneHost()
    prefix = f"{CLUSTER}/t={TABLE}/p={PARTITION}/"
    # Of the first two of three the hash alone differs: one may lie on the store's next page, and in front of the other by its true name.
    names = [
        build(
            SegmentKey(
                CLUSTER, TABLE, PARTITION, first, first + 9, 1 + number // 3, f"{(first * 2654435761 * number) % (1 << 64):016x}", manifest
            )
        )
        for first in range(1, 2500, 10)
        for number in (1, 2, 3)
        for manifest in (False, True)
    ]
    for name in names:
        loop.run(store.put(name, b"x"))
    spent = bare._store.requests
    for limit in (1000, 98, 7):
        before, pages, after, found = spent.list, 0, "", []
        while True:
            page = loop.run(store.list(prefix, after=after, limit=limit))
            pages += 1
            found += [info.key for info in page.objects]
            if not page.more:
                break
            after = found[-1]
        assert found == sorted(names)
        assert spent.list - before == pages
        assert pages <= len(names) / max(limit - 4, 3) + 2
