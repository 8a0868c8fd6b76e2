"""The model of a scratch cluster's table: what it draws anew is new, also where the model came with items that another one made."""

from __future__ import annotations

from pathlib import Path

from scrubjay.drills.model import key_of
from scrubjay.scratch.model_table import ModelTable
from scrubjay.scratch.rehearsal import Rehearsal
from tests.unit.drills.test_scratch_drills import Context


def test_a_new_item_is_none_that_the_model_came_with(tmp_path: Path) -> None:
    rehearsal = Rehearsal(Context(tmp_path), {"folder": str(tmp_path), "seed": 1})
    server = rehearsal.server(archive=(tmp_path / "archive").as_uri())
    first, copy = ModelTable(rehearsal, server), ModelTable(rehearsal, server)
    for item in [first.item() for _ in range(40)]:
        first.model[key_of(item)] = "there"
    copy.model = dict(first.model)
    made = [key_of(copy.item()) for _ in range(20)]
    assert len({*made, *first.model}) == 60
    some = next(iter(first.model))
    assert key_of(copy.item(some)) == some, "one that is asked for by its key"
