"""Mutants of the drills: what a drill must notice, must not claim, and must not leave behind."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_RANDOM = "tests/unit/drills/test_restore_random.py"
_ROT = "tests/unit/drills/test_rot.py"
_REPORTS = "tests/unit/drills/test_drill_reports.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "drill-compares-the-restore-with-itself",
        "drills/contents.py",
        'for one in differences_in({"restored": found}, truth)',
        'for one in differences_in({"restored": truth}, truth)',
        (f"{_RANDOM}::test_a_restore_that_gives_another_moment_is_found_out",),
    ),
    Mutant(
        "drill-live-copy-written-since",
        "drills/contents.py",
        "[row for row in live if row.lsn <= applied]",
        "list(live)",
        (f"{_RANDOM}::test_what_the_live_copy_says_of_a_moment",),
    ),
    Mutant(
        "drill-without-a-note",
        "drills/restore_random.py",
        'await self._port.save_job(NOTES + drill.id, {"target": target})',
        "pass",
        (f"{_RANDOM}::test_killed_at_any_step_it_is_swept_at_the_next_start[compare]",),
    ),
    Mutant(
        "drill-keeps-the-scratch-table",
        "drills/restore_random.py",
        "            if self._gone(target) or",
        "            if True or",
        (f"{_RANDOM}::test_a_moment_is_restored_compared_and_nothing_of_it_stays",),
    ),
    Mutant(
        "drill-nothing-compared-is-a-match",
        "drills/report.py",
        "return MATCH if self.rows_compared or self.planted else UNVERIFIED",
        "return MATCH",
        (f"{_REPORTS}::test_a_verdict_rests_on_what_was_compared",),
    ),
    Mutant(
        "drill-missed-damage-is-a-match",
        "drills/report.py",
        "if self.differences or self.detected < self.planted:",
        "if self.differences:",
        (f"{_REPORTS}::test_a_verdict_rests_on_what_was_compared",),
    ),
    Mutant(
        "drill-signature-unchecked",
        "drills/report.py",
        "        key.verify(",
        "        bool(",
        (f"{_RANDOM}::test_a_report_is_as_it_was_signed",),
    ),
    Mutant(
        "drill-report-without-fields",
        "drills/report.py",
        "    if lacking:\n",
        "    if False:\n",
        (f"{_REPORTS}::test_what_is_no_report_counts_for_nothing",),
    ),
    Mutant(
        "drill-slow-is-no-alarm",
        "drills/regression.py",
        "    if now > WORSE_FACTOR * usual and",
        "    if False and",
        (f"{_REPORTS}::test_much_slower_than_usual_for_as_much_is_told",),
    ),
    Mutant(
        "drill-size-is-slowness",
        "drills/regression.py",
        "float(rto) / max(1.0, float(predicted or 1.0))",
        "float(rto)",
        (f"{_REPORTS}::test_much_slower_than_usual_for_as_much_is_told",),
    ),
    Mutant(
        "drill-keeps-copies-pinned-that-it-does-not-read",
        "drills/contents.py",
        "                other.release()",
        "                pass",
        (f"{_RANDOM}::test_no_copy_stays_pinned_and_no_log_stays_held",),
    ),
    Mutant(
        "drill-fills-the-disk",
        "drills/contents.py",
        "        if needed > free:",
        "        if False:",
        (f"{_RANDOM}::test_a_drill_is_not_what_fills_the_disk",),
    ),
    Mutant(
        "drill-own-row-file-is-the-archives",
        "drills/contents.py",
        "        except (Corrupt, Missing) as error:",
        "        except ZeroDivisionError as error:",
        (f"{_RANDOM}::test_a_row_file_of_our_own_that_is_damaged_says_nothing_about_the_archive",),
    ),
    Mutant(
        "drill-rpo-grows-with-the-drill",
        "drills/restore_random.py",
        '        with drill.steps.step("drop"):',
        '        outcome.rpo_seconds = round((self._env.clock.wall_us() - latest_us) / 1e6, 3)\n        with drill.steps.step("drop"):',
        (f"{_RANDOM}::test_what_would_be_lost_does_not_grow_with_the_drill",),
    ),
    Mutant(
        "drill-rotten-live-copy-is-away",
        "drills/restore_random.py",
        "                    except Unavailable:\n                        unasked += 1",
        "                    except ScrubjayError:\n                        unasked += 1",
        (f"{_RANDOM}::test_a_live_copy_that_is_rotten_is_not_one_that_is_away",),
    ),
    Mutant(
        "drill-difference-lost-with-an-error",
        "drills/runs.py",
        "wrong = outcome.differences or isinstance(",
        "wrong = isinstance(",
        (f"{_RANDOM}::test_a_difference_that_was_found_before_an_error_counts",),
    ),
    Mutant(
        "drill-another-table-ends-a-mismatch",
        "drills/regression.py",
        "if table not in proven and",
        "if not matched and",
        (f"{_REPORTS}::test_a_match_of_another_table_ends_no_mismatch",),
    ),
    Mutant(
        "drill-unreadable-report-stops-status",
        "drills/kept.py",
        "                except ScrubjayError as error:",
        "                except ZeroDivisionError as error:",
        (f"{_REPORTS}::test_what_cannot_be_read_does_not_keep_status_from_answering",),
    ),
    Mutant(
        "drill-page-unescaped",
        "drills/page.py",
        "<td>{escape(str(value))}</td>",
        "<td>{value}</td>",
        (f"{_REPORTS}::test_the_page_is_one_file_and_escapes_what_it_shows",),
    ),
    Mutant(
        "rot-planted-nowhere",
        "drills/damage.py",
        "    rotten[below(len(rotten))] ^= 1 << below(8)",
        "    below(len(rotten)), below(8)",
        (f"{_ROT}::test_every_kind_is_found_in_a_copy_and_the_archive_is_as_it_was",),
    ),
    Mutant(
        "rot-found-by-any-finding",
        "drills/rot.py",
        "            outcome.detected += 1\n        else:",
        "            pass\n        outcome.detected += 1\n        if False:",
        (f"{_ROT}::test_a_verify_that_does_not_look_is_found_out",),
    ),
    Mutant(
        "rot-in-a-copy-that-was-rotten",
        "drills/rot.py",
        '            if clean.verdict != "match":',
        "            if False:",
        (f"{_ROT}::test_damage_that_was_there_before_is_no_match",),
    ),
    Mutant(
        "rot-copy-stays",
        "drills/rot.py",
        '            self._disk.remove_tree(f"{FOLDER}/{name}")',
        "            pass",
        (f"{_ROT}::test_what_a_killed_drill_left_goes_with_the_next_start",),
    ),
]
