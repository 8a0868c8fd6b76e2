"""Random histories and random faults in copies and archive: each fault is found and named where it is, nothing else is, and a healed store is clean."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.run import scrub
from scrubjay.scrubber.verdict import Verdict
from scrubjay.sim.lone import LoneHost
from tests.unit.scrubber.scrub_world import NODES, FakeReferences, FakeStore, PartitionModel, item_of, random_history, storage_key, table_of

FAULT = st.tuples(
    st.integers(0, 100), st.sampled_from((*NODES, "archive")), st.integers(0, 39), st.sampled_from(("different", "lacking", "extra", "bad"))
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    partitions=st.integers(1, 4),
    steps=st.integers(0, 120),
    faults=st.lists(FAULT, max_size=5),
    lanes=st.integers(1, 3),
)
def test_every_fault_is_found_and_nothing_else(
    seed: int, partitions: int, steps: int, faults: list[tuple[int, str, int, str]], lanes: int
) -> None:
    loop = LoneHost(seed)
    env = loop.env()
    table = table_of(1, partitions)
    store = FakeStore(env, [table])
    models = list(store.models.values())
    for at, model in enumerate(models):
        random_history(model, random.Random(seed + at), steps)
    truth = {model.info.partition_id: dict(model.state(model.lsn)) for model in models}
    for where, place, number, kind in faults:
        model, key = models[where % len(models)], storage_key(number)
        if not (model.info.lo <= key[:16].hex() and (not model.info.hi or key[:16].hex() < model.info.hi)):
            continue
        if place == "archive":
            model.forged[key] = None if kind == "lacking" else (item_of(number, 555), 3)
            continue
        copy = model.copies[place]  # type: ignore[index]
        if kind == "lacking":
            copy.rows.pop(key, None)
            copy.bad.discard(key)
        elif kind == "bad" and key in copy.rows:
            copy.bad.add(key)
        else:
            copy.rows[key] = (item_of(number, 777), 3)
    wrong, decided = {}, {}
    for model in models:
        expected = truth[model.info.partition_id]
        bad = {node for node in NODES if seen(model.copies[node].rows, model.copies[node].bad) != {k: v[0] for k, v in expected.items()}}
        if {k: v[0] for k, v in model.state(model.lsn).items()} != {k: v[0] for k, v in expected.items()}:
            bad.add("archive")  # type: ignore[arg-type]
        wrong[model.info.partition_id] = bad
        decided[model.info.partition_id] = all(
            majority(model, key, expected) for key in {*expected, *(k for node in NODES for k in model.copies[node].rows)}
        )
    port: Any = store
    report = loop.run(scrub(env, port, FakeReferences(env, store), None, ScrubOptions(lanes=lanes)))
    for part in report.tables[0].partitions:
        bad = wrong[part.partition]  # type: ignore[index]
        named = {found.finding.copy for found in part.findings}
        assert (part.verdict is Verdict.MATCH) == (not bad), (part.verdict, bad)
        assert bool(named) == bool(bad)
        if "archive" not in bad:
            assert named == bad
            # Nobody is healed on a claim: at every key the reference needs a copy that holds the same, and no other value as many holders.
            assert part.healed == (bool(bad) and decided[part.partition])
        else:
            assert not part.healed
            assert not store.models[part.partition].heals or named - {"archive"}  # type: ignore[index]
    assert not FakeReferences.files
    clean = loop.run(scrub(env, port, FakeReferences(env, store), None, ScrubOptions()))
    healed = {part.partition for part in report.tables[0].partitions if part.healed}
    for part in clean.tables[0].partitions:
        if part.partition in healed or not wrong[part.partition]:  # type: ignore[index]
            assert (part.verdict, part.findings) == (Verdict.MATCH, ())


def seen(rows: dict[bytes, tuple[bytes, int]], bad: set[bytes]) -> dict[bytes, bytes | None]:
    return {key: None if key in bad else item for key, (item, _) in rows.items()}


def majority(model: PartitionModel, key: bytes, truth: dict[bytes, tuple[bytes, int]]) -> bool:
    """The rule, told anew: what should be there has a copy beside the log, and together they outnumber any other value."""
    right = truth[key][0] if key in truth else None
    held = [copy.rows[key][0] if key in copy.rows else None for copy in model.copies.values() if key not in copy.bad]
    others = [value for value in held if value != right]
    return right in held and held.count(right) + 1 > max((others.count(value) for value in others), default=0)
