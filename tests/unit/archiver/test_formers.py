"""Recoveries of a lost quorum, as the archive tells of them."""

from __future__ import annotations

from scrubjay.archiver.format.former import Former, FormerMember, encode_former
from scrubjay.archiver.read.formers import FormersSeen
from scrubjay.sim.lone import LoneHost, LoneStore
from tests.unit.archiver.sample import CLUSTER


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
