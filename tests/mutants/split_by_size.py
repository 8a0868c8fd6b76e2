"""Mutants of what is split by itself for its size (ADR 0078, 12)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_BY_SIZE = "storage/control/by_size.py"
_HELD = "tests/unit/control/test_by_size.py::"
_GROWN = (_HELD + "test_what_has_grown_too_large_is_split_and_its_halves_not_before_a_while_if_they_grow_too",)
_ONE_KEY = (_HELD + "test_one_partition_key_is_not_divided_which_is_said_once_and_looked_at_again_when_it_has_doubled",)
_LOPSIDED = (_HELD + "test_a_cut_that_leaves_nearly_all_on_one_side_is_none",)
_AT_REST = (_HELD + "test_nothing_begins_while_the_cluster_is_not_at_rest",)
_SCARCE = (_HELD + "test_so_many_are_under_way_at_a_time_and_older_releases_see_none",)
_IDLE = (_HELD + "test_whoever_does_not_work_for_the_cluster_begins_nothing",)

_ROOM = (_HELD + "test_a_node_without_room_for_the_halves_is_waited_for_which_is_said_once",)

MUTANTS = [
    Mutant("by-size-without-room", _BY_SIZE, "        if room is not None and room < need:\n", "        if False:\n", _ROOM),
    Mutant("by-size-without-room-again-and-again", _BY_SIZE, "            self._failed[info.partition_id] = NO_ROOM\n", "", _ROOM),
    Mutant(
        "by-size-room-for-nothing",
        "storage/node/errand_messages.py",
        "    return 2 * size + ROOM_LEFT_BYTES",
        "    return ROOM_LEFT_BYTES",
        _ROOM,
    ),
    Mutant("by-size-two-at-once-in-a-table", _BY_SIZE, "    if now_us - last_us < APART_US:\n", "    if False:\n", _GROWN),
    Mutant("by-size-one-key-for-ever", _BY_SIZE, "        if size < again:\n", "        if False:\n", _ONE_KEY),
    Mutant(
        "by-size-one-key-never-again",
        _BY_SIZE,
        "                self._whole[partition] = GROWN * size\n",
        "                self._whole[partition] = 1 << 60\n",
        _ONE_KEY,
    ),
    Mutant(
        "by-size-crumbs",
        _BY_SIZE,
        "if not found.cut or LEAST_SHARE * min(found.left, found.total - found.left) < found.total:",
        "if not found.cut:",
        _LOPSIDED,
    ),
    Mutant("by-size-in-a-drain", _BY_SIZE, "        if member.state == DRAINING:\n", "        if False:\n", _AT_REST),
    Mutant("by-size-node-out", _BY_SIZE, "        if status.failed is not None or not status.started:\n", "        if False:\n", _AT_REST),
    Mutant(
        "by-size-removed-waited-for",
        _BY_SIZE,
        "        if member is None or member.state == REMOVED:\n",
        "        if member is None:\n",
        _AT_REST,
    ),
    Mutant("by-size-in-a-restore", _BY_SIZE, "    if restored is not None:\n", "    if False:\n", _AT_REST),
    Mutant("by-size-copy-missing", _BY_SIZE, "    if len(whole) < COPIES:\n", "    if False:\n", _AT_REST),
    Mutant("by-size-whatever-keeps-it", _BY_SIZE, "    if why:\n        return why\n    whole", "    whole", _SCARCE),
    Mutant("by-size-all-at-once", _BY_SIZE, "    if under_way >= UNDER_WAY_MAX:\n", "    if False:\n", _SCARCE),
    Mutant("by-size-not-at-work", _BY_SIZE, "            if self._works():\n", "            if True:\n", _IDLE),
    Mutant("by-size-rests-not-asked", _BY_SIZE, "[one._replace(why=one.why or why) for one in large]", "large", _AT_REST),
    Mutant(
        "by-size-after-the-walk-whatever",
        _BY_SIZE,
        "            if self._works() and not rests(self._fleet, self._metadata) and not room_for(",
        "            if not room_for(",
        ("tests/unit/control/test_by_size.py::test_what_changed_while_a_copy_was_walked_over_keeps_the_split_from_beginning",),
    ),
    Mutant(
        "by-size-after-the-walk-into-a-full-node",
        _BY_SIZE,
        " and not room_for(self._fleet, info, size, self.free):",
        ":",
        ("tests/unit/control/test_by_size.py::test_what_changed_while_a_copy_was_walked_over_keeps_the_split_from_beginning",),
    ),
]
