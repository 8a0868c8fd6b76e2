"""Recoveries of a lost quorum, as the archive tells of them."""

from __future__ import annotations

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.former import Former, FormerMember, encode_former
from scrubjay.archiver.format.layout import former_prefix
from scrubjay.archiver.read.formers import FormersSeen, formers
from scrubjay.archiver.read.suspects import Suspect, Suspects
from scrubjay.sim.lone import LoneHost, LoneStore
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.small_archive import SmallArchive
from tests.unit.archiver.test_archive_verify import check, named


class Counted(LoneStore):
    """lists: how often it was listed."""

    lists = 0

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000):  # type: ignore[no-untyped-def]
        self.lists += 1
        return await super().list(prefix, after=after, limit=limit)


def former(number: int) -> Former:
    return Former(CLUSTER, number, "n1", 1, (FormerMember("n2", "", 1),), ())


def test_who_looks_again_lists_only_when_there_is_another() -> None:
    loop, store = LoneHost(), Counted()
    seen = FormersSeen(store, CLUSTER)
    for _ in range(3):
        assert loop.run(seen.look()) == []
    assert store.lists == 1
    for number in (1, 2):
        store.objects[former(number).key()] = encode_former(former(number))
        for _ in range(3):
            assert loop.run(seen.look()) == [former(one) for one in range(1, number + 1)]
        assert store.lists == 1 + number


def test_verify_reads_them() -> None:
    archive = SmallArchive()
    key = former(1).key()
    before = check(archive).checked
    archive.store.objects[key] = encode_former(former(1))
    report = check(archive)
    assert (report.exit, report.checked) == (0, before + 1)
    archive.store.objects[key] = encode_former(former(1)).replace(b"n2", b"n3")
    report = check(archive)
    assert (report.exit, named(report)) == (2, [key])


def test_one_that_was_bad_is_no_suspect_once_it_is_read_well() -> None:
    loop, store = LoneHost(), LoneStore()
    suspects, key = Suspects(), former(1).key()
    suspects.add(key, Suspect("unreadable", "", "objects"))
    for data, left in ((b"{}", [key]), (encode_former(former(1)), [])):
        store.objects[key] = data
        loop.run(suspects.look(store))
        assert list(suspects.by_object) == left


def test_their_locks_never_end() -> None:
    world = ExpireWorld()
    world.lock(8)
    world.days(2)
    key = former(1).key()
    world.store.objects[key] = encode_former(former(1))
    for _ in range(20):
        world.idle(1)
        world.expire()
        assert world.store._store.objects[key].locked_until_us > world.now_us + DAY_US


def test_what_is_no_former_beside_them_is_not_read() -> None:
    loop, store = LoneHost(), LoneStore()
    store.objects[former(1).key()] = encode_former(former(1))
    store.objects[former_prefix(CLUSTER) + "README"] = b"of people"
    assert loop.run(formers(store, CLUSTER)) == [former(1)]
