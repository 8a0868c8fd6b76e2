"""Mutants of backups by name: pins, what they hold and what is said of them."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "backup-lost-pin-is-unseen",
        "pitr/backups.py",
        "if id_ in still and self._key(id_) not in there)",
        "if False)",
        ("tests/unit/pitr/test_backups.py::test_a_pin_that_the_store_loses_is_missed_and_its_moment_is_held_until_it_is_given_up",),
    ),
    Mutant(
        "backup-lost-pin-holds-nothing",
        "pitr/backups.py",
        "for one in self._noted().values() if one.id not in self._held)",
        "for one in self._noted().values() if False)",
        ("tests/unit/pitr/test_backups.py::test_a_pin_that_the_store_loses_is_missed_and_its_moment_is_held_until_it_is_given_up",),
    ),
    Mutant(
        "backup-deleted-is-lost",
        "pitr/backups.py",
        "        await self.give_up(pin.id)\n        await self._store.delete(build(pin.key()))",
        "        await self._store.delete(build(pin.key()))",
        ("tests/unit/pitr/test_backups.py::test_a_deleted_backup_is_missed_by_nobody_and_one_without_a_note_gets_one",),
    ),
    Mutant(
        "backup-deleted-while-listed-is-lost",
        "pitr/backups.py",
        "if id_ in still and self._key",
        "if self._key",
        ("tests/unit/pitr/test_backups.py::test_who_lists_while_one_is_deleted_misses_nothing",),
    ),
    Mutant(
        "backup-adopted-after-its-deletion",
        "pitr/backups.py",
        "                if await self._store.head(self._key(pin.id)) is None:",
        "                if False:",
        ("tests/unit/pitr/test_backups.py::test_who_lists_while_one_is_deleted_misses_nothing",),
    ),
    Mutant(
        "backup-of-before-the-last-seal",
        "pitr/backups.py",
        "        return max(stamp_micros(seal.stamp) for seal in seals)\n",
        "        return min(stamp_micros(seal.stamp) for seal in seals) - 5000\n",
        ("tests/unit/pitr/test_backups.py::test_what_was_acknowledged_before_is_in_and_what_comes_later_is_not",),
    ),
    Mutant(
        "backup-looks-before-it-says-what-it-needs",
        "pitr/backups.py",
        '        self._held[id_] = Need(table.table_id, 0, PIN, f"{name} ({id_})")\n        tried = False\n        try:\n            at_us = await self._moment(table, asked, now_us)\n',
        '        tried = False\n        try:\n            at_us = await self._moment(table, asked, now_us)\n            self._held[id_] = Need(table.table_id, 0, PIN, f"{name} ({id_})")\n',
        ("tests/unit/pitr/test_backups.py::test_what_it_needs_is_said_before_it_looks_and_taken_back_if_nothing_comes_of_it",),
    ),
    Mutant(
        "backup-needs-for-ever-what-was-refused",
        "pitr/backups.py",
        "            if not tried:\n                del self._held[id_]\n            raise\n",
        "            raise\n",
        ("tests/unit/pitr/test_backups.py::test_what_it_needs_is_said_before_it_looks_and_taken_back_if_nothing_comes_of_it",),
    ),
    Mutant(
        "backup-needs-nothing-where-its-put-was-not-answered",
        "pitr/backups.py",
        "            if not tried:\n",
        "            if True:\n",
        ("tests/unit/pitr/test_backups.py::test_what_it_needs_stays_said_where_its_put_was_not_answered",),
    ),
    Mutant(
        "backup-none-of-that-name-though-one-is-unreadable",
        "pitr/backups.py",
        "        if not named and found.unread and",
        "        if not named and found.unread and False and",
        ("tests/unit/pitr/test_backups.py::test_a_store_that_keeps_other_bytes_is_found_out",),
    ),
    Mutant(
        "backup-not-read-back",
        "pitr/backups.py",
        "        if await self._store.get(where) != data:\n",
        '        if await self._store.get(where) == b"":\n',
        ("tests/unit/pitr/test_backups.py::test_a_store_that_keeps_other_bytes_is_found_out",),
    ),
    Mutant(
        "backup-made-while-fenced-or-away",
        "pitr/backups.py",
        "            await self._writer.assure(self._store)\n            tried = True\n",
        "            tried = True\n",
        ("tests/unit/pitr/test_backups.py::test_where_the_store_is_away_nothing_is_made_and_the_next_try_works",),
    ),
    Mutant(
        "backup-deleted-while-fenced",
        "pitr/backups.py",
        "        _ = self._writer.attached\n        await self._writer.assure(self._store)\n        await self.give_up(pin.id)",
        "        await self.give_up(pin.id)",
        ("tests/unit/pitr/test_backups.py::test_fenced_makes_and_deletes_none",),
    ),
    Mutant(
        "backup-available-unproven",
        "pitr/backups.py",
        "            return BackupState(CREATING, str(error))\n        except (Missing",
        "            return BackupState(AVAILABLE, str(error))\n        except (Missing",
        ("tests/unit/pitr/test_backups.py::test_what_was_acknowledged_before_is_in_and_what_comes_later_is_not",),
    ),
    Mutant(
        "backup-restored-with-the-settings-of-now",
        "pitr/backups.py",
        "getattr(pin.table, name) for name in",
        "getattr(source, name) for name in",
        ("tests/unit/pitr/test_backups.py::test_the_settings_come_back_too_unless_others_are_asked_for",),
    ),
    Mutant(
        "backup-size-of-now",
        "pitr/backups.py",
        "                stats = await self._stats_at(table, at_us, stats)\n",
        "                await self._stats_at(table, at_us, stats)\n",
        ("tests/unit/pitr/test_backups.py::test_its_size_is_that_of_its_moment_and_not_of_now",),
    ),
]
