"""Mutants of time to live: who decides, by which clock, what counts as a time, and what a walk leaves behind."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_EVALUATED = ("tests/unit/commands/test_evaluate.py::test_what_is_over_goes_only_as_it_was_found_and_by_the_leaders_clock_too",)
_PASSED = ("tests/unit/items/test_ttl.py::test_only_a_number_of_the_last_five_years_has_passed",)
_LIFE = ("tests/contract/api/test_time_to_live.py::test_the_life_of_a_setting",)
_SIM = "tests/sim/test_ttl.py::"
_LEAPT = (_SIM + "test_nothing_goes_by_a_clock_that_leapt_until_it_is_trusted",)
_CUT = (_SIM + "test_a_walk_goes_on_where_it_was_cut_off_and_ends_with_the_setting",)
_WHOLE = (_SIM + "test_what_is_over_goes_and_says_so_and_a_restore_to_before_has_it",)

MUTANTS: list[Mutant] = [
    Mutant(
        "ttl-touched-item-taken",
        "storage/commands/evaluate.py",
        "value is None or encode_value(value) != command.value or now_s is None",
        "value is None or now_s is None",
        _EVALUATED,
    ),
    Mutant(
        "ttl-leaders-clock-not-asked",
        "storage/commands/evaluate.py",
        " or now_s is None or not has_passed(value, now_s=now_s):",
        " or now_s is None:",
        _EVALUATED,
    ),
    Mutant(
        "ttl-leader-without-a-clock",
        "storage/replica/term.py",
        "now_s = replica.node.env.clock.wall_us() // 1_000_000 if isinstance(command, ExpireCommand) else None",
        "now_s = 1 << 40 if isinstance(command, ExpireCommand) else None",
        (_SIM + "test_the_leader_goes_by_its_own_clock_too",),
    ),
    Mutant(
        "ttl-at-its-very-second",
        "storage/items/ttl.py",
        "return now_s - YEARS_S <= at_s < now_s",
        "return now_s - YEARS_S <= at_s <= now_s",
        _PASSED,
    ),
    Mutant("ttl-of-any-age", "storage/items/ttl.py", "return now_s - YEARS_S <= at_s < now_s", "return at_s < now_s", _PASSED),
    Mutant(
        "ttl-of-any-type",
        "storage/items/ttl.py",
        'if value is None or value[0] != "N":',
        'if value is None or value[0] not in "NS":',
        _PASSED,
    ),
    Mutant(
        "ttl-delete-unmarked",
        "storage/replica/term.py",
        "Effect(Op.EXPIRE if type(command) is ExpireCommand else Op.DELETE, key, command.key_item, old)",
        "Effect(Op.DELETE, key, command.key_item, old)",
        _WHOLE,
    ),
    Mutant(
        "ttl-told-as-a-delete",
        "pitr/timeline/versions.py",
        "Op.EXPIRE: TTL}",
        "Op.EXPIRE: DELETE}",
        _WHOLE,
    ),
    Mutant(
        "ttl-unknown-to-a-rebuild",
        "archiver/read/replay.py",
        "_DELETES = (int(Op.DELETE), int(Op.EXPIRE))",
        "_DELETES = (int(Op.DELETE),)",
        _WHOLE,
    ),
    Mutant("ttl-kept-by-a-restore", "pitr/prepare.py", "            ttl=msgspec.UNSET,\n", "", _WHOLE),
    Mutant(
        "ttl-row-of-another-key",
        "storage/btree/ttl_page.py",
        " or storage_key(wanted.schema, item) != key:",
        ":",
        ("tests/unit/btree/test_ttl_page.py::test_a_row_that_does_not_check_and_one_under_another_key_are_passed_over",),
    ),
    Mutant(
        "ttl-page-skips-a-row",
        "storage/btree/ttl_page.py",
        "return ExpiredPage(tuple(found), key, looked)",
        'return ExpiredPage(tuple(found), key + b"\\0", looked)',
        ("tests/unit/btree/test_ttl_page.py::test_a_page_ends_with_what_it_may_look_at_and_with_what_it_may_name",),
    ),
    Mutant(
        "ttl-by-a-clock-that-leapt", "server/ttl/walker.py", "        if self._leaps.doubt is not None:\n", "        if False:\n", _LEAPT
    ),
    Mutant(
        "ttl-stamps-ahead-not-seen",
        "server/ttl/walker.py",
        "            if status.failed is None and ahead_us > RESERVATION_US + status.offset_us:\n",
        "            if False:\n",
        _LEAPT,
    ),
    Mutant(
        "ttl-time-off-believed",
        "server/ttl/walker.py",
        "if last_us is None or abs(now_us - last_us) <= AWAY_US:",
        "if True:",
        (_SIM + "test_who_finds_the_last_walk_noted_long_ago_waits",),
    ),
    Mutant(
        "ttl-without-its-minute",
        "server/ttl/walker.py",
        "return self._env.clock.wall_us() // 1_000_000 - GRACE_S",
        "return self._env.clock.wall_us() // 1_000_000",
        _WHOLE,
    ),
    Mutant(
        "ttl-walk-begins-anew",
        "server/ttl/walker.py",
        "info, start = table.partitions[number], bytes.fromhex(note.next)",
        'info, start = table.partitions[number], b""',
        _CUT,
    ),
    Mutant(
        "ttl-turned-off-unheard",
        "server/ttl/walker.py",
        'return known is not None and known.ttl == setting and known.status in ("ACTIVE", "UPDATING")',
        "return known is not None",
        _CUT,
    ),
    Mutant(
        "ttl-every-walk-noted",
        "server/ttl/walker.py",
        "        if kept.partition or abs(self._env.clock.wall_us() - kept.noted_us) >= CLEAN_US:\n",
        "        if True:\n",
        (_SIM + "test_who_finds_the_last_walk_noted_long_ago_waits",),
    ),
    Mutant("ttl-late-unseen", "server/ttl/walker.py", "return self.behind_us > self.late_us", "return False", _LEAPT),
    Mutant(
        "ttl-changed-as-often-as-asked",
        "storage/api/operations/time_to_live.py",
        "0 <= wanted.changed_at - last.changed_at < CHANGE_AFTER_US",
        "False",
        _LIFE,
    ),
    Mutant(
        "ttl-other-attribute-taken",
        "storage/api/operations/time_to_live.py",
        "if attribute is not None and attribute != wanted.attribute:",
        "if False:",
        _LIFE,
    ),
]
