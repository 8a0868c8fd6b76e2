"""The API over global secondary indexes of a whole cluster of the real parts: in the end, answers are those of a plain model, through a leader's death."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.fixtures.api_calls import ApiCalls
from tests.fixtures.global_index_model import GlobalIndexModel, create
from tests.unit.control.house import House


@pytest.mark.slow
def test_answers_are_in_the_end_those_of_a_plain_model() -> None:
    house = House(11, partitions=2)
    calls = ApiCalls(house.cluster.store, house.env, wait=house.until)

    def settle(claim: Callable[[], None]) -> None:
        """The index is a moment behind: ask until it has all, for 30 simulated seconds."""
        for left in range(150, -1, -1):
            try:
                claim()
            except AssertionError:
                if not left:
                    raise
                house.pass_time(0.2)
            else:
                return

    create(calls, "indexed")
    house.until(lambda: house.table("indexed").status == "ACTIVE")
    model = GlobalIndexModel(calls, "indexed", random.Random(4), settle=settle)
    for step in range(14):
        for _ in range(3):
            model.write()
        model.check()
        if step == 7:
            leader = house.cluster.leader(house.table("indexed").partitions[0].partition_id)
            assert leader is not None
            next(one for one in house.cluster.hosts if one.name == leader.node.name).crash(power=True)
    model.check_all()
