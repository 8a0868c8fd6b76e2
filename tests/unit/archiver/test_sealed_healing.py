"""Rot in an encrypted archive: the tests of healing and of telling that were written for a plain one, over a sealed one.

There it shows where an object is read, and not in its format: whoever tells the two apart mends one kind and stops at the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.unit.archiver import (
    expire_world,
    small_archive,
    test_archive_agent,
    test_archive_attest,
    test_archive_identity,
    test_archive_index,
    test_archive_rebuild,
    test_archive_verify,
    test_expire,
    test_pins,
)
from tests.unit.archiver.sealed_lone import SealedLone
from tests.unit.pitr import test_restore_archive
from tests.unit.scrubber import test_scrub_archive

HEALED: list[tuple[ModuleType, str]] = [
    (test_archive_agent, "test_a_spoilt_segment_gets_a_new_generation_that_says_why"),
    (test_archive_agent, "test_a_back_up_finds_a_spoilt_manifest_and_repairs_it"),
    (test_archive_agent, "test_a_back_up_finds_a_lost_segment_object"),
    (test_archive_agent, "test_an_answer_lost_after_the_effect_is_settled_by_content"),
    (test_archive_attest, "test_a_spoilt_upload_is_never_archived_and_written_anew"),
    (test_archive_attest, "test_a_base_is_read_back_before_it_counts"),
    (test_archive_attest, "test_a_slip_on_the_way_is_read_again_and_not_called_rot"),
    (test_archive_rebuild, "test_a_base_is_uploaded_once_and_a_spoilt_one_gets_a_new_generation"),
    (test_archive_rebuild, "test_another_generation_of_the_same_content_is_read_instead_of_a_rotted_one"),
    (test_archive_identity, "test_a_rotted_identity_is_no_reason_to_stop"),
    (test_archive_identity, "test_a_lost_identity_is_written_again_at_start"),
    (test_archive_identity, "test_the_stream_stops_in_front_of_what_is_absent_or_bad"),
    (test_archive_index, "test_the_highest_generation_that_verifies_is_taken"),
    (test_archive_index, "test_a_segment_of_another_size_than_its_manifest_says_is_not_used"),
    (test_archive_index, "test_a_manifest_that_was_bad_is_looked_at_again"),
    (test_archive_index, "test_rot_that_somebody_met_is_looked_at_and_once_sound_again_believed"),
    (test_archive_index, "test_rot_inside_a_segment_that_verify_met_is_a_hole_of_status_until_it_is_sound_again"),
    (test_archive_verify, "test_a_superseded_bad_object_is_evidence_and_no_finding"),
    (test_archive_verify, "test_swapped_objects_are_found_and_both_named"),
    (test_archive_verify, "test_rows_of_a_base_that_rotted_beside_a_manifest_that_is_gone_end_no_verify"),
    (test_expire, "test_a_base_whose_rows_have_rotted_carries_nothing"),
    (test_expire, "test_a_word_that_rotted_is_seen_and_said_again"),
    (test_expire, "test_a_name_that_was_taken_by_rot_gets_the_next_generation"),
    (test_pins, "test_a_pin_that_rots_holds_everything_and_verify_names_it"),
    (test_scrub_archive, "test_damage_in_the_archive_names_the_object"),
    (test_scrub_archive, "test_a_bad_generation_that_a_scrub_read_is_left_out_of_what_restores_read"),
    (test_scrub_archive, "test_a_base_that_rotted_is_named_and_done_without"),
    (test_restore_archive, "test_a_rotted_segment_fails_the_restore_and_publishes_nothing"),
    (test_restore_archive, "test_a_bad_generation_is_done_without_and_told_of"),
    (test_restore_archive, "test_a_base_that_rotted_is_done_without"),
]  # fmt: skip
WORLDS = (
    expire_world, small_archive, test_archive_agent, test_archive_attest, test_archive_identity, test_archive_rebuild, test_scrub_archive,
    test_restore_archive,
)  # fmt: skip
"""Modules that make the store of these tests."""


def cases(module: ModuleType, name: str) -> list[Any]:
    """A test's own cases, each as the arguments that it gets."""
    test: Callable[..., None] = getattr(module, name)
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names = mark.args[0].split(",") if isinstance(mark.args[0], str) else list(mark.args[0])
            values = [one if len(names) > 1 else (one,) for one in mark.args[1]]
            found = [{**before, **dict(zip(names, one, strict=True))} for before in found for one in values]
    return [pytest.param(test, one, id=f"{name}-{number}") for number, one in enumerate(found)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[SealedLone]:
    """The stores that a test made."""
    found: list[SealedLone] = []

    def make() -> SealedLone:
        found.append(SealedLone())
        return found[-1]

    for module in WORLDS:
        monkeypatch.setattr(module, "LoneStore", make)
    return found


@pytest.mark.parametrize(("test", "arguments"), [case for module, name in HEALED for case in cases(module, name)])
def test_what_is_told_and_mended_in_a_plain_archive_is_in_a_sealed_one(
    made: list[SealedLone], test: Callable[..., None], arguments: dict[str, Any]
) -> None:
    assert set(inspect.signature(test).parameters) == set(arguments)
    test(**arguments)
    assert any(store.bare.objects for store in made), "nothing of it was sealed"
