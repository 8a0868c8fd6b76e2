"""Mutants of time travel: key filters, and what a part of a table is."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "key-filter-unproven",
        "archiver/read/check.py",
        "                check_keys(span, manifest, where=build(manifest.key().twin()))\n",
        "",
        ("tests/unit/archiver/test_forged.py::test_a_key_filter_that_lies_is_found_by_reading_the_records",),
    ),
    Mutant(
        "key-filter-of-first-keys-only",
        "archiver/format/records.py",
        "                    keys.update(_keys(raw, begin + HEADER_SIZE, end, effects))\n",
        "                    keys.update(list(_keys(raw, begin + HEADER_SIZE, end, effects))[:1])\n",
        ("tests/property/archiver/test_key_filter.py::test_the_records_of_a_segment_give_all_their_keys",),
    ),
    Mutant(
        "key-filter-asks-for-one-bit-more-than-was-set",
        "archiver/format/keyfilter.py",
        "for at in _places(key, self.hashes, size))\n",
        "for at in _places(key, self.hashes + 1, size))\n",
        ("tests/property/archiver/test_key_filter.py::test_no_key_of_the_records_is_ever_said_to_be_absent",),
    ),
    Mutant(
        "one-part-too-few-of-a-base",
        "archiver/read/objects.py",
        "bisect_left(starts, end)):",
        "bisect_left(starts, end) - 1):",
        ("tests/unit/archiver/test_base_row.py::test_a_row_is_found_as_by_a_scan",),
    ),
    Mutant(
        "parts-of-a-base-unproven",
        "archiver/read/objects.py",
        '                manifest.parts[number].check(data, what="base", where=where)\n',
        "",
        ("tests/unit/archiver/test_base_row.py::test_a_part_that_is_not_what_the_manifest_says_is_no_answer",),
    ),
    Mutant(
        "no-filter-skips-all",
        "archiver/read/keyfilters.py",
        "            if keys is not None and not keys.may_hold(key):\n",
        "            if keys is None or not keys.may_hold(key):\n",
        ("tests/unit/pitr/test_timeline.py::test_what_keeps_a_filter_from_being_read_skips_nothing",),
    ),
    Mutant(
        "key-filters-unasked",
        "archiver/read/keyfilters.py",
        "            if keys is not None and not keys.may_hold(key):\n",
        "            if False:\n",
        ("tests/unit/pitr/test_timeline.py::test_what_keeps_a_filter_from_being_read_skips_nothing",),
    ),
    Mutant(
        "a-part-forgets-its-condition",
        "pitr/part.py",
        "        if self._condition is None:\n",
        "        if True:\n",
        ("tests/unit/pitr/test_restore_part.py::test_the_rows_of_a_part_are_those_that_a_model_chooses",),
    ),
    Mutant(
        "a-part-forgets-its-keys",
        "pitr/part.py",
        "        if self._keys is not None and key not in self._keys:\n",
        "        if False:\n",
        ("tests/unit/pitr/test_restore_part.py::test_the_rows_of_a_part_are_those_that_a_model_chooses",),
    ),
    Mutant(
        "rows-left-out-uncounted",
        "archiver/read/rebuild.py",
        "                left += row_hash(key, item)\n",
        "",
        ("tests/unit/archiver/test_archive_rebuild.py::test_a_part_is_chosen_from_a_proven_whole",),
    ),
    Mutant(
        "another-part-attaches",
        "pitr/service.py",
        "source.table_id and job.part == asked.part:\n",
        "source.table_id:\n",
        ("tests/unit/pitr/test_restore_part.py::test_another_part_of_the_same_moment_is_another_restore",),
    ),
    Mutant(
        "a-part-is-not-noted",
        "pitr/prepare.py",
        "            part=asked.part,\n",
        "",
        ("tests/unit/pitr/test_restore_part.py::test_killed_at_any_point_the_same_part_is_carried_on",),
    ),
    Mutant(
        "a-part-unchecked-until-it-is-read",
        "pitr/prepare.py",
        "            part_of(source.key, asked.part)\n",
        "            pass\n",
        ("tests/unit/pitr/test_restore_part.py::test_what_is_no_part_is_refused_before_anything_is_written",),
    ),
    Mutant(
        "an-undo-goes-by-the-value-alone",
        "pitr/timeline/undo.py",
        "self._key_item(before, after), after, before, lsn)\n",
        "self._key_item(before, after), after, before)\n",
        ("tests/unit/pitr/test_timeline.py::test_the_same_value_written_again_since_stays",),
    ),
    Mutant(
        "a-swap-does-not-ask-who-wrote",
        "storage/commands/evaluate.py",
        " or (command.lsn is not None and lsn != command.lsn):\n",
        ":\n",
        ("tests/unit/pitr/test_timeline.py::test_the_same_value_written_again_since_stays",),
    ),
    Mutant(
        "a-leader-does-not-look-who-wrote",
        "storage/replica/term.py",
        "        outcome = evaluate(command, old, lsn=lsn)\n",
        "        outcome = evaluate(command, old, lsn=getattr(command, 'lsn', None))\n",
        ("tests/integration/process/test_timeline.py::test_a_bad_job_is_found_and_undone_and_what_was_written_meanwhile_stays",),
    ),
    Mutant(
        "forks-untold",
        "pitr/timeline/what_to_read.py",
        "        for fork in coverage(history.facts).forks\n",
        "        for fork in coverage(history.facts).forks[:0]\n",
        ("tests/unit/pitr/test_timeline.py::test_where_the_log_forks_is_said",),
    ),
    Mutant(
        "a-rotten-base-ends-a-comparison",
        "pitr/timeline/service.py",
        "                if not left or not any(",
        "                if True or not any(",
        ("tests/unit/pitr/test_timeline.py::test_a_base_that_is_no_good_is_done_without",),
    ),
]
