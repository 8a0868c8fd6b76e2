"""Mutants of members of the cluster: who may join and leave, where copies go, and in which steps."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_STEP = "tests/unit/server/test_relocating.py::test_the_next_step"
_PLACE = "tests/unit/server/test_relocating.py::test_copies_go_where_zones_are_apart_and_least_is_held"
_ROOMY = "tests/unit/server/test_relocating.py::test_a_copy_goes_to_who_has_the_room_and_waits_where_nobody_has"
_SIM = "tests/sim/test_relocate.py::"
_DRAIN = _SIM + "test_a_node_is_drained_and_removed_and_another_has_its_copies"
_REFUSED = _SIM + "test_what_would_cost_a_zone_or_a_quorum_is_refused_and_nothing_is_written"
_OUT = _SIM + "test_who_was_removed_stays_out_and_joins_again_with_an_empty_folder"
_MOVE = "server/relocating.py"
_FLEET = "tests/unit/control/test_relocated.py::"

MUTANTS: list[Mutant] = [
    Mutant(
        "zones-of-what-is-on-its-way",
        "storage/control/placement.py",
        "min(COPIES, len({site.zone for site in before}))",
        "len({site.zone for site in before})",
        ("tests/sim/test_relocate.py::test_two_nodes_are_drained_at_once_and_each_partition_keeps_its_zones",),
    ),
    Mutant(
        "lanes-for-those-that-have-one",
        _MOVE,
        "move.begins and len(placed.storage(info)) <= COPIES",
        "move.begins",
        (_SIM + "test_two_nodes_are_drained_at_once_and_each_partition_keeps_its_zones",),
    ),
    Mutant(
        "relocate-without-room",
        "server/copy_moves.py",
        "return room is None or ROOM * self.size(info.partition_id) <= room",
        "return True",
        (_ROOMY,),
    ),
    Mutant("relocate-waits-for-nobody", _MOVE, 'if placed.lacks_room(info) else "no node', 'if False else "no node', (_ROOMY,)),
    Mutant(
        "drained-without-room-beside",
        _MOVE,
        "max(0, placed.room[taker] - size)",
        "placed.room[taker]",
        (_SIM + "test_a_drain_is_refused_where_the_copies_have_no_room_beside_each_other",),
    ),
    Mutant(
        "room-though-it-is-low",
        _MOVE,
        "found[node.number] = free - self._low_bytes",
        "found[node.number] = free",
        (_SIM + "test_a_drain_is_refused_where_the_copies_have_no_room_beside_each_other",),
    ),
    Mutant(
        "room-twice-while-it-comes",
        _MOVE,
        "found[number] -= ROOM *",
        "found[number] -= 0 *",
        (_SIM + "test_what_is_on_its_way_has_its_room_and_what_has_come_needs_none",),
    ),
    Mutant("relocate-before-its-log", _MOVE, "copy.up and copy.logged and copy.incarnation", "copy.up and copy.incarnation", (_STEP,)),
    Mutant(
        "relocate-another-incarnation",
        _MOVE,
        "copy.logged and copy.incarnation == placed.wanted(info, number).incarnation",
        "copy.logged",
        (_STEP,),
    ),
    Mutant(
        "relocate-fresh-to-who-leaves",
        _MOVE,
        "        if placed.let_go(info, number):\n",
        "        if number not in placed.members:\n",
        (_STEP,),
    ),
    Mutant(
        "relocate-forgets-who-votes",
        _MOVE,
        "if place is not None and place.vote is not Vote.GONE:\n                continue",
        "if False:\n                continue",
        (_STEP,),
    ),
    Mutant("relocate-forgets-a-member", _MOVE, "if place is None or place.vote is Vote.GONE:", "if place is None or True:", (_STEP,)),
    Mutant("relocate-removes-first", _MOVE, "    if len(staying) < COPIES:\n", "    if False:\n", (_STEP,)),
    Mutant("relocate-to-who-is-out", _MOVE, "        if site is not None and site.up:\n", "        if site is not None:\n", (_STEP,)),
    Mutant(
        "relocate-a-zone-less",
        "server/copy_moves.py",
        "site is not None and zones_kept(before, after)",
        "site is not None",
        (_STEP,),
    ),
    Mutant("relocate-drained-to-two", _MOVE, "    return len(gone) == len(leaving) and len(staying)", "    return len(staying)", (_STEP,)),
    Mutant("relocate-removed-to-one", _MOVE, "len(staying) >= COPIES - 1", "len(staying) >= 1", (_STEP,)),
    Mutant("relocate-asks-who-is-settled", _MOVE, "        if not leaving and MemberPlace(", "        if False and MemberPlace(", (_STEP,)),
    Mutant("relocate-any-zone", "storage/control/placement.py", "(zones.count(site.zone), not site.up, ", "(not site.up, ", (_PLACE,)),
    Mutant("relocate-who-is-down", "storage/control/placement.py", "not site.up, load.get", "load.get", (_PLACE,)),
    Mutant("relocate-any-load", "storage/control/placement.py", "load.get(site.member.node, 0), ", "", (_PLACE,)),
    Mutant("relocate-no-room", _MOVE, "            self._check_room(name, member)\n", "            pass\n", (_REFUSED,)),
    Mutant(
        "relocate-no-quorum",
        _MOVE,
        "if not others or whole < quorum_of(len(voters)) or whole < quorum_of(len(others)):",
        "if not others:",
        (_REFUSED,),
    ),
    Mutant(
        "relocate-the-removed-come-back",
        "server/admission.py",
        '    if member.state == REMOVED and member.id in ("", identity.id):',
        "    if False:",
        (_OUT,),
    ),
    Mutant(
        "relocate-the-removed-join-again",
        _MOVE,
        "or (before is not None and (before.id == told.id or not told.fresh))",
        "",
        (_OUT,),
    ),
    Mutant(
        "relocate-drained-nodes-get-copies",
        "server/control.py",
        "for name, member in self.members().items() if member.state == MEMBER]",
        "for name, member in self.members().items()]",
        (_DRAIN,),
    ),
    Mutant(
        "relocate-leader-removes-itself",
        "storage/node/port_server.py",
        "        elif request.node != self.node.number:\n",
        "        elif True:\n",
        (_DRAIN,),
    ),
    Mutant(
        "relocate-nothing-forgotten",
        "storage/control/fleet.py",
        "if info.hosts and node.number not in info.hosts",
        "if False",
        (_FLEET + "test_a_copy_that_went_elsewhere_is_removed_on_a_fresh_word_and_on_no_old_one",),
    ),
    Mutant(
        "relocate-forgets-by-an-old-word",
        "storage/control/fleet.py",
        "        if not only_known:\n            orders += [",
        "        if True:\n            orders += [",
        (_FLEET + "test_a_copy_that_went_elsewhere_is_removed_on_a_fresh_word_and_on_no_old_one",),
    ),
    Mutant(
        "relocate-over-another-move",
        "storage/catalogue.py",
        "[info if one == before else one for one in partitions]",
        "[info if one.partition_id == before.partition_id else one for one in partitions]",
        (_FLEET + "test_one_word_of_where_copies_are_does_not_go_over_another",),
    ),
    Mutant(
        "relocate-begins-what-was-lost",
        "storage/node/hosting.py",
        "        return self._node.joining and (founds or self._node.incarnation > INCARNATION_FIRST)",
        "        return self._node.joining",
        (_FLEET + "test_a_first_member_that_did_not_found_the_group_begins_nothing_that_it_may_have_had",),
    ),
    Mutant(
        "relocate-fresh-may-not-begin",
        "storage/node/hosting.py",
        " or self._node.number in info.fresh:",
        ":",
        (_FLEET + "test_a_log_is_begun_where_the_copy_is_fresh_and_nowhere_else",),
    ),
    Mutant(
        "relocate-all-at-once",
        _MOVE,
        "            if not begins or lanes > 0:\n",
        "            if True:\n",
        (_SIM + "test_at_most_two_partitions_are_on_their_way",),
    ),
    Mutant(
        "replace-a-second-at-once",
        "server/replacing.py",
        "            if first != name and groups:\n",
        "            if False:\n",
        ("tests/unit/server/test_replacing.py::test_what_is_refused_leaves_nothing_behind",),
    ),
    Mutant(
        "ballot-of-before-is-told",
        "storage/node/moved_facts.py",
        "            _leads_under(replica),\n",
        "",
        ("tests/sim/test_node_faults.py::test_what_is_told_of_a_leader_is_told_anew_when_it_leads_under_another_ballot",),
    ),
]
