"""At which moment a recovery is proven: small tables of runs and holes, and against a model that knows every moment."""

from __future__ import annotations

import random

import msgspec
import pytest

from scrubjay.archiver.facts import Coverage, Hole, RestorableRun, Start, Window
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.pitr.recover.moment import (
    YOUNG_US,
    NeededPart,
    begun,
    blocking,
    highest,
    lost_above,
    lost_at,
    lost_next,
    present,
    why_left_out,
)
from scrubjay.storage.catalogue import (
    METADATA_TABLE,
    FinalSeal,
    KeyAttribute,
    KeySchema,
    PartitionInfo,
    RestoreOrigin,
    SplitIntent,
    TableMeta,
    with_children,
)

INFO = PartitionInfo(PartitionId("p"), "0" * 32, "", ())


def table(name: str = "orders", *, created: int = 100, status: str = "ACTIVE", restore: bool | None = None) -> TableMeta:
    origin = None if restore is None else RestoreOrigin(TableId("source"), "source", 1, restore)
    return TableMeta(
        table_id=TableId(name), name=name, status=status, key=KeySchema(KeyAttribute("k", "S")), attributes=(("k", "S"),), partitions=(INFO,),
        created_at=created, restore_of=origin,
    )  # fmt: skip


def piece(*runs: tuple[int, int], holes: tuple[tuple[int | None, int | None], ...] = (), of: TableMeta | None = None) -> NeededPart:
    """runs: (low, high), in microseconds. holes: (from, to)."""
    found = [RestorableRun(Start(0, 0, b"", b""), number, low, high, high) for number, (low, high) in enumerate(runs)]
    absent = tuple(Hole("p", 5, 9, low, high) for low, high in holes)
    window = Window(min((run.low_us for run in found), default=None), max((run.high_us for run in found), default=None), absent)
    return NeededPart(of or table(), INFO, Coverage(window, (), (), tuple(found), (), (), 9))


@pytest.mark.parametrize(
    ("one", "at", "expected"),
    [
        (piece((100, 500)), 300, 300),
        (piece((100, 500)), 500, 500),
        (piece((100, 500)), 900, 500),
        (piece((100, 500), (700, 900)), 600, 500),
        (piece((100, 500), (700, 900)), 700, 700),
        (piece((100, 500)), 50, 50),  # before it was there it stands in nobody's way
        (piece((300, 500)), 200, 99),
        (piece(), 900, 99),
        (piece((300, 200)), 900, 99),  # a run that proves no moment
        (piece((100, 500), of=table(METADATA_TABLE)), 50, None),  # without the catalogue there is nothing
    ],
)
def test_the_last_moment_at_or_before(one: NeededPart, at: int, expected: int | None) -> None:
    assert highest(one, at) == expected


def test_against_every_moment() -> None:
    """Runs at random; the model looks at each moment by itself."""
    rng = random.Random(5)
    for _ in range(300):
        runs = [(low, low + rng.randrange(-2, 8)) for low in (rng.randrange(10, 40) for _ in range(rng.randrange(4)))]
        one = piece(*runs, of=table(created=10))
        for at in range(10, 50):
            proven = [moment for moment in range(10, at + 1) if any(low <= moment <= high for low, high in runs)]
            assert highest(one, at) == (max(proven) if proven else 9)
            assert bool(blocking([one], at)) == (at not in proven)


def test_a_hole_is_named_where_it_costs_the_moment() -> None:
    one = piece((100, 500), (700, 900), holes=((500, 700),))
    assert [lost.hole.first_lsn for lost in lost_at([one], 600)] == [5]
    assert lost_at([one], 300) == [], "that moment is proven"
    assert lost_above([one], 900, end_us=900) == [], "a hole that a base has bridged costs nothing later"
    tail = piece((100, 500), holes=((500, None),))
    assert len(lost_above([tail], 500, end_us=900)) == 1
    assert lost_above([piece((100, 500))], 500, end_us=900) == [], "an archive that only lags has lost nothing"
    behind = piece((100, 500), (950, 990), holes=((500, 950),))
    assert len(lost_above([behind], 500, end_us=900)) == 1


def test_a_table_without_any_object_is_lost_unless_it_is_young() -> None:
    old = NeededPart(table(created=100), INFO, None)
    assert len(lost_above([old], 99, end_us=100 + YOUNG_US)) == 1
    assert lost_above([old], 99, end_us=99 + YOUNG_US) == [], "its first segment was on its way"


def test_a_table_of_which_only_others_tell_is_as_lost() -> None:
    """A closed point names it, or a base lies there: no record of it was ever archived, as far as anybody says."""
    told = NeededPart(table(created=100), INFO, Coverage(Window(None, None, ()), (), (), (), (), (), 0))
    assert len(lost_above([told], 99, end_us=100 + YOUNG_US)) == 1
    assert lost_above([told], 99, end_us=99 + YOUNG_US) == []


def test_a_hole_that_begins_where_the_proof_ends() -> None:
    tail = piece((100, 500), holes=((500, None),), of=table(METADATA_TABLE))
    assert [lost.hole.first_lsn for lost in lost_next(tail, 500)] == [5]
    assert lost_next(tail, 400) == [], "it was something else that kept the moment so early"
    behind = piece((100, 500), (700, 900), holes=((500, 700),), of=table(METADATA_TABLE))
    assert lost_next(behind, 900) == [], "bridged"
    assert len(lost_next(behind, 600)) == 1


def test_which_tables_come_back() -> None:
    cases = [
        (table(), True, False),
        (table(status="UPDATING"), True, False),
        (table(restore=False), True, False),
        (table(status="CREATING"), False, True),
        (table(status="CREATING", restore=True), False, False),
        (table(status="DELETING"), False, False),
        (table(status="DROPPED"), False, False),
    ]
    for one, there, empty in cases:
        assert (present(one), begun(one), why_left_out(one) is None) == (there, empty, there or empty), one


def test_a_child_of_a_split_stands_in_nobodys_way_before_it_was_there() -> None:
    """Where it proves nothing yet, the last moment is its parent's: not one before the table was made."""
    left, right = PartitionId("left"), PartitionId("right")
    whole = msgspec.structs.replace(table(), split=SplitIntent("0" * 32, PartitionId("p"), "8" + "0" * 31, left, right, 300))
    split = with_children(whole, FinalSeal(PartitionId("p"), 9, stamp_of(400), "", "", 0))
    child = NeededPart(split, split.partitions[0], None)
    assert highest(child, 900) == 400
    assert highest(child, 350) == 350
    assert lost_above([child], 400, end_us=400 + YOUNG_US) == [], "its first segment was on its way"
    assert len(lost_above([child], 400, end_us=401 + YOUNG_US)) == 1
