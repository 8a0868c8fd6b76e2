"""The plan of a scrub: pure, printable, and what is then done."""

from __future__ import annotations

import json
import random
from typing import Any

from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.scrubber.ledger import SCRUB, PartitionProof
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.plan import Target, choose, plan_scrub
from scrubjay.scrubber.reference import Cost
from scrubjay.scrubber.run import scrub
from scrubjay.sim.lone import LoneHost
from scrubjay.storage.service_port import Copy
from tests.unit.scrubber.scrub_world import FakeReferences, FakeStore, random_history, table_of


def copy(number: int, kind: str = "storage", state: str = "ok", *, scannable: bool = True) -> Copy:
    return Copy(NodeName(f"n{number}"), number, kind, state, Lsn(5), scannable)


def proof(partition: str, at_us: int, verdict: str = "match", *, healed: bool = False, depth: str = SCRUB) -> PartitionProof:
    return PartitionProof(partition, "t", depth, at_us, 1, verdict, healed, None, None)


def targets_of(partitions: int) -> list[Target]:
    return choose([table_of(1, partitions)], chosen=None, partition=None)


def test_each_copy_is_read_or_left_out_with_its_reason() -> None:
    (target,) = targets_of(1)
    partition = target.info.partition_id
    copies = [
        copy(6, state="suspect", scannable=False),
        copy(1),
        copy(2, kind="log"),
        copy(3, state="suspect"),
        copy(4, state="behind"),
        copy(5, state="down"),
    ]
    plan = plan_scrub([target], [], copies={partition: copies}, costs={partition: Cost(Lsn(7), 3, 4000, 9000)}, lanes=2)
    (one,) = plan.parts
    assert one.copies == ("n1", "n3")
    assert [(left.copy, left.reason, left.rotten) for left in one.left_out] == [
        ("n2", "log_not_read", False),
        ("n4", "behind", False),
        ("n5", "down", False),
        ("n6", "suspect", True),
    ]
    assert (one.reference_bytes, one.copy_bytes, plan.bytes, plan.copies) == (4000, 18_000, 22_000, 2)
    said = json.loads(json.dumps(plan.as_json()))
    assert (said["seals"], said["references"], said["copies"], said["bytes"], said["lanes"]) == (1, 1, 2, 22_000, 2)
    assert (said["partitions"][0]["base_lsn"], said["partitions"][0]["segments"], said["partitions"][0]["last_matched"]) == (7, 3, None)
    assert "2 copies to read" in str(plan)
    assert f"n5 of {partition} (down)" in str(plan)


def test_the_stalest_comes_first_and_a_mismatch_is_no_match() -> None:
    targets = targets_of(4)
    a, b, c, d = (one.info.partition_id for one in targets)
    proofs = [proof(a, 50), proof(b, 10), proof(c, 90, "mismatch"), proof(d, 20, "mismatch", healed=True), proof(c, 99, depth="replayed")]
    plan = plan_scrub(targets, proofs, copies=dict.fromkeys((a, b, c, d), ()), costs={}, lanes=1)
    assert [one.target.info.partition_id for one in plan.parts] == [c, b, d, a]
    assert [one.matched_us for one in plan.parts] == [None, 10, 20, 50]
    assert plan.as_json()["partitions"][0]["reference_bytes"] is None, "nothing is known of its archive yet: that is not nothing to read"


def test_what_is_done_is_what_was_planned() -> None:
    loop = LoneHost()
    env = loop.env()
    store = FakeStore(env, [table_of(1, 3)])
    for at, model in enumerate(store.models.values()):
        model.copies[NodeName("n2")].state = "ok" if at else "down"
        random_history(model, random.Random(at), 20)
        model.archived = 1
    port: Any = store
    told: list[Any] = []
    report = loop.run(
        scrub(
            env, port, FakeReferences(env, store), None, ScrubOptions(lanes=1), planned=lambda plan: told.append((plan, len(store.seals)))
        )
    )
    ((plan, sealed),) = told
    assert sealed == 0, "it is told before anything is done"
    assert report.plan is plan
    assert report.as_json()["plan"] == plan.as_json()
    assert [PartitionId(partition) for partition, *_ in store.seals] == [one.target.info.partition_id for one in plan.parts]
    for one in plan.parts:
        (part,) = [part for table in report.tables for part in table.partitions if part.partition == one.target.info.partition_id]
        assert [copy.copy for copy in part.copies if copy.rows is not None and copy.kind == "storage"] == list(one.copies)
        assert {copy.copy: copy.reason for copy in part.copies if copy.rows is None} == {left.copy: left.reason for left in one.left_out}
