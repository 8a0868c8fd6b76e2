"""Mutants of what a reader of the archive compares: names, fields, bases, closed objects, and what is done with a lie."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "name-of-another-accepted",
        "archiver/format/fields.py",
        "        if name != self.where:\n",
        "        if False:\n",
        (
            "tests/unit/archiver/test_archive_verify.py::test_a_renamed_object_is_found",
            "tests/unit/archiver/test_archive_verify.py::test_decoding_a_manifest_needs_its_own_name",
        ),
    ),
    Mutant(
        "parts-that-make-no-name-escape",
        "archiver/format/fields.py",
        "        except Invalid:\n            name = None\n",
        "        except KeyError:\n            name = None\n",
        ("tests/unit/archiver/test_forged.py::test_fields_that_make_no_name_are_a_finding_and_stop_nobody",),
    ),
    Mutant(
        "time-of-no-calendar-escapes",
        "archiver/format/layout.py",
        "    except OverflowError as error:\n",
        "    except KeyError as error:\n",
        ("tests/unit/archiver/test_forged.py::test_fields_that_make_no_name_are_a_finding_and_stop_nobody",),
    ),
    Mutant(
        "range-is-any-text",
        "archiver/format/fields.py",
        "        return self.hex(name, 32 if self.text(name) else 0)\n",
        "        return self.text(name)\n",
        ("tests/unit/archiver/test_forged.py::test_a_forged_fact_is_found",),
    ),
    Mutant(
        "content-beyond-the-records",
        "archiver/format/manifest.py",
        "    if manifest.content > manifest.records:\n",
        "    if False:\n",
        ("tests/unit/archiver/test_forged.py::test_a_manifest_that_cannot_be_true_is_refused_before_its_segment_is_read",),
    ),
    Mutant(
        "junk-in-front-of-closed-objects",
        "archiver/read/names.py",
        "if isinstance(key := parse(name), ClosedKey) and key.time_us <= until_us]",
        "if (key := parse(name)) is None or (isinstance(key, ClosedKey) and key.time_us <= until_us)]",
        ("tests/unit/archiver/test_archive_index.py::test_names_that_do_not_count_stand_in_front_of_no_closed_object",),
    ),
    Mutant(
        "future-in-front-of-closed-objects",
        "archiver/read/names.py",
        ", ClosedKey) and key.time_us <= until_us]",
        ", ClosedKey)]",
        ("tests/unit/archiver/test_archive_index.py::test_names_that_do_not_count_stand_in_front_of_no_closed_object",),
    ),
    Mutant(
        "closed-seen-before-it-is-read",
        "archiver/read/index.py",
        "            for key in keys:\n                try:\n                    closed = decode_closed(",
        "            for key in keys:\n                self._closed_seen[node] = key\n                try:\n                    closed = decode_closed(",
        ("tests/unit/archiver/test_archive_index.py::test_a_closed_object_that_the_store_did_not_give_is_read_at_the_next_look",),
    ),
    Mutant(
        "absent-epochs-untold",
        "archiver/verify/small.py",
        "            if named < number:\n",
        "            if False:\n",
        ("tests/unit/archiver/test_archive_verify.py::test_an_epoch_of_any_number_ends_a_verify_with_findings",),
    ),
    Mutant(
        "base-in-front-of-the-log-unfitted",
        "archiver/coverage.py",
        " and after.first_stamp > start.stamp)\n",
        ")\n",
        ("tests/unit/archiver/test_coverage.py::test_a_base_in_front_of_the_first_segment_must_be_what_that_continues",),
    ),
    Mutant(
        "base-in-front-of-the-log-uncounted",
        "archiver/coverage.py",
        "(after.chain_before, after.rests) == (start.chain, start.rows())",
        "after.chain_before == start.chain",
        ("tests/unit/archiver/test_coverage.py::test_a_base_in_front_of_the_first_segment_must_be_what_that_continues",),
    ),
    Mutant(
        "base-place-unchecked-by-a-rebuild",
        "archiver/read/replay.py",
        "        if place(base) != place(manifest):\n",
        "        if False:\n",
        ("tests/unit/archiver/test_archive_rebuild.py::test_a_base_that_lies_of_itself_is_to_blame_and_not_the_log_behind_it",),
    ),
    Mutant(
        "log-blamed-for-its-base",
        "archiver/read/replay.py",
        "        if base.total != manifest.before:\n",
        "        if False:\n",
        ("tests/unit/archiver/test_archive_rebuild.py::test_a_base_that_is_not_the_log_state_is_found",),
    ),
    Mutant(
        "base-with-later-rows",
        "archiver/read/replay.py",
        "            if row.lsn > last or row.stamp > newest_stamp:\n",
        "            if False:\n",
        ("tests/unit/archiver/test_archive_rebuild.py::test_a_base_that_lies_of_itself_is_to_blame_and_not_the_log_behind_it",),
    ),
    Mutant(
        "unsound-base-is-our-own-file",
        "archiver/read/rebuild.py",
        "        if whole.hexdigest() != base.file.sha256:\n",
        "        if True:\n",
        ("tests/unit/archiver/test_archive_rebuild.py::test_a_base_that_lies_of_itself_is_to_blame_and_not_the_log_behind_it",),
    ),
    Mutant(
        "base-file-unsummed",
        "archiver/read/check.py",
        "    if whole.hexdigest() != base.file.sha256:\n",
        "    if False:\n",
        ("tests/unit/archiver/test_forged.py::test_what_a_base_says_of_itself_is_compared",),
    ),
    Mutant(
        "base-place-unchecked-by-verify",
        "archiver/verify/partition.py",
        "            if self._log.place is not None and entry.place != self._log.place:\n",
        "            if False:\n",
        ("tests/unit/archiver/test_forged.py::test_what_a_base_says_of_itself_is_compared",),
    ),
    Mutant(
        "base-rows-of-elsewhere",
        "archiver/read/check.py",
        "        if row.key < lo or (hi and row.key >= hi):\n",
        "        if False:\n",
        ("tests/unit/archiver/test_forged.py::test_rows_that_are_not_of_the_base_that_holds_them",),
    ),
    Mutant(
        "base-rows-of-later",
        "archiver/read/check.py",
        "        if row.lsn > base.lsn or row.stamp > base.stamp:\n",
        "        if False:\n",
        ("tests/unit/archiver/test_forged.py::test_rows_that_are_not_of_the_base_that_holds_them",),
    ),
]
