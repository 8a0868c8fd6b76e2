"""Mutants of the write-ahead log: room, recycling, copying forward, damage, recovery."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "wal-goes-on-after-failure",
        "storage/wal/wal.py",
        '                self._broken = Corrupt("the WAL failed and is not written any more", what="wal", where=batch.file.name, cause=str(error))\n                done(error)',
        "                done(error)",
        ("tests/unit/wal/test_wal.py::test_after_a_failed_sync_nothing_is_written_any_more",),
    ),
    Mutant(
        "wal-copy-nothing",
        "storage/wal/wal.py",
        "        if len(files) < COPY_WHEN_FILES or",
        "        if True or",
        ("tests/unit/wal/test_wal_reclaim.py::test_an_idle_partition_does_not_keep_the_log_from_being_recycled",),
    ),
    Mutant(
        "wal-copy-unbounded",
        "storage/wal/wal.py",
        "max_bytes=min(budget, self._body_max()))",
        "max_bytes=self._body_max())",
        ("tests/unit/wal/test_wal_reclaim.py::test_one_commit_copies_a_part_of_a_long_body",),
    ),
    Mutant(
        "wal-damage-untold",
        "storage/wal/reader.py",
        "        if lost and self.told is not None:\n",
        "        if False:\n",
        ("tests/unit/wal/test_wal_reclaim.py::test_damage_met_while_copying_is_told_is_known_and_stops_nothing",),
    ),
    Mutant(
        "wal-cache-keeps-dropped",
        "storage/wal/reader.py",
        "            body.unused = self._drop\n",
        "            pass\n",
        ("tests/unit/wal/test_wal_cache.py",),
    ),
    Mutant(
        "wal-record-cost",
        "storage/wal/reader.py",
        "return body.length + body.count * RECORD_COST",
        "return body.length",
        ("tests/unit/wal/test_wal_cache.py",),
    ),
    Mutant(
        "wal-repair-unchecked",
        "storage/wal/wal.py",
        "            self._check_repair(state, record)\n",
        "",
        ("tests/unit/wal/test_wal.py::test_repair_puts_back_what_rotted_and_refuses_what_contradicts",),
    ),
    Mutant(
        "wal-append-gap",
        "storage/wal/wal.py",
        "if not frame.staged and first != state.last + 1:",
        "if False:",
        ("tests/unit/wal/test_wal.py::test_an_append_must_continue_the_log",),
    ),
    Mutant(
        "wal-half-made-kept",
        "storage/wal/files.py",
        '(name.startswith(".") and name.endswith(".new"))',
        "False",
        ("tests/unit/wal/test_wal.py::test_what_a_crash_left_half_made_counts_for_nothing",),
    ),
    Mutant(
        "wal-never-shrinks",
        "storage/wal/files.py",
        "if self.removing or self._closed or len(self.free) <= self._spare:",
        "if True:",
        ("tests/unit/wal/test_wal.py::test_spare_files_are_removed_but_for_a_few_and_each_step_of_it_recovers",),
    ),
    Mutant(
        "wal-adopt-unstaged",
        "storage/wal/wal.py",
        "                self._check_adopt(frame)\n",
        "",
        ("tests/unit/wal/test_wal.py::test_an_adoption_may_shorten_the_log_and_needs_its_records",),
    ),
]
