"""Mutants of what nodes hold and lead alike: what goes where, when nothing does, and how a copy goes and comes back."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_PLAN, _SHELL, _MOVES = "server/balance.py", "server/balancing.py", "server/relocating.py"
_COPIES = ("tests/property/server/test_balance_property.py::test_copies_come_to_rest_and_never_go_back",)
_LEADS = ("tests/property/server/test_balance_property.py::test_leads_come_to_rest_and_never_go_back",)
_GOES = ("tests/unit/server/test_relocating.py::test_a_copy_goes_though_its_node_stays",)
_SIM = "tests/sim/test_balance.py::"
_JOINS = (_SIM + "test_who_joins_is_given_copies_and_leads_and_all_comes_to_rest",)
_BACK = (_SIM + "test_who_took_copies_is_drained_and_they_come_back_where_they_were_as_other_members",)
_NOTHING = (_SIM + "test_what_is_not_well_or_not_there_long_enough_is_given_nothing",)
_NEXT = ("tests/unit/server/test_replacing.py::test_the_next_incarnation_is_above_that_of_any_copy_that_came_back",)
_COUNT = (_SIM + "test_a_copy_on_its_way_is_none_of_those_that_count",)
_WEIGHS = (_SIM + "test_what_nobody_leads_just_now_weighs_what_it_did_and_what_is_dropped_takes_no_lane",)
_DECLINES = (_SIM + "test_who_does_not_take_a_lead_is_not_asked_again_and_again",)
_OLD = ("tests/unit/control/test_relocated.py::test_an_old_word_that_a_copy_went_elsewhere_does_not_remove_the_one_that_came_back",)
_OFF = (_SIM + "test_turned_off_nothing_moves_and_it_says_so",)

_LATE = ("tests/unit/control/test_relocated.py::test_a_word_to_make_a_copy_that_comes_after_the_one_to_remove_it_begins_nothing",)
_MEANT = ("tests/unit/consensus/test_membership.py::test_a_change_that_changes_nothing_or_leaves_nobody_is_refused",)
_ANOTHER = (_SIM + "test_who_was_removed_when_it_was_decided_that_it_stays_comes_back_as_the_next_member",)
_STOPS = (_SIM + "test_who_is_about_to_stop_is_given_no_lead",)
_ROOM = (_SIM + "test_what_is_on_its_way_to_a_node_has_its_room_there",)
_TWO = ("tests/unit/server/test_relocating.py::test_the_next_step",)
_DRAINS = ("tests/sim/test_relocate.py::test_two_nodes_leave_and_one_that_could_take_their_copies_is_not_enough",)
_LOGS = (_SIM + "test_a_partition_beside_which_a_log_stands_by_is_moved_too_and_who_has_the_log_makes_the_tree",)
_FILLS = "server/filling.py"
_TAKEN_BY_ANOTHER = "tests/unit/server/test_relocating.py::test_a_node_that_cannot_take_the_copy_of_one_that_leaves_has_it_taken_by_another"
_COMES_BACK = "tests/sim/test_balance.py::test_who_was_removed_when_it_was_decided_that_it_stays_comes_back_as_the_next_member"
_DRAINS_ON = "tests/sim/test_balance.py::test_a_drain_whose_taker_is_up_and_cannot_take_the_copy_ends_with_another"
_TAKES = (_SIM + "test_a_node_that_is_up_and_cannot_take_the_copy_is_waited_for_no_longer",)
_NEARER = ("tests/unit/server/test_filling.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        "drain-waits-for-who-cannot",
        "server/relocating.py",
        "        if site is not None and site.up:  # what it has of the copy goes",
        "        if False:  # what it has of the copy goes",
        (_TAKEN_BY_ANOTHER,),
    ),
    Mutant(
        "drain-gives-up-who-is-away",
        "server/relocating.py",
        "        if number in info.goes or _may_be_back(info, number, copies):\n",
        "        if number in info.goes:\n",
        (_TAKEN_BY_ANOTHER,),
    ),
    Mutant(
        "drain-gives-it-to-who-declined",
        "server/copy_moves.py",
        "(*info.goes, number)), besides=self.declined)\n",
        "(*info.goes, number)), besides=())\n",
        (_TAKEN_BY_ANOTHER,),
    ),
    Mutant(
        "what-was-given-up-stays",
        "server/relocating.py",
        "        if number in placed.declined and place.vote is not Vote.VOTES:\n",
        "        if False:\n",
        (_TAKEN_BY_ANOTHER,),
    ),
    Mutant(
        "who-goes-counts-for-its-zone",
        "server/copy_moves.py",
        "in info.nodes and site.member.node not in info.goes]\n",
        "in info.nodes]\n",
        (_TAKEN_BY_ANOTHER,),
    ),
    Mutant(
        "who-learns-is-whoever-is-there",
        "storage/consensus/membership.py",
        "    elif change.incarnation not in (0, place.member.incarnation):\n",
        "    elif not isinstance(change, LetVote) and change.incarnation not in (0, place.member.incarnation):\n",
        ("tests/unit/consensus/test_membership.py::test_a_change_that_changes_nothing_or_leaves_nobody_is_refused",),
    ),
    Mutant(
        "learner-meant-by-nobody",
        "storage/node/port_server.py",
        "LetVote(request.node, request.learner)",
        "LetVote(request.node)",
        (_COMES_BACK,),
    ),
    Mutant(
        "let-vote-names-nobody",
        "server/relocating.py",
        "step.incarnation, wanted.incarnation)\n",
        "step.incarnation)\n",
        ("tests/unit/server/test_relocating.py::test_the_next_step",),
    ),
    Mutant(
        "log-votes-as-whoever-is-there",
        "server/standing_in.py",
        "ChangeMembers(partition, number, 0, wanted.incarnation)",
        "ChangeMembers(partition, number, 0)",
        ("tests/unit/server/test_standing_in.py::test_the_next_step",),
    ),
    Mutant(
        "begins-before-it-is-told",
        "storage/node/port_server.py",
        "        elif isinstance(request, port.Host) and not self.told:\n",
        "        elif False:\n",
        (
            "tests/unit/control/test_relocated.py::test_a_word_from_elsewhere_begins_nothing_before_the_nodes_own_process_has_read_the_catalogue",
        ),
    ),
    Mutant("metadata-goes-nowhere", "storage/control/metadata.py", "info.again, info.goes)", "info.again)", (_DRAINS_ON,)),
    Mutant(
        "drain-never-given-up",
        "server/relocating.py",
        "            given_up = self._given_up(one, info, configuration, placed, leader, copies)\n",
        "            given_up = self._given_up(one, info, configuration, placed, leader, copies) if info.goes else []\n",
        (_DRAINS_ON,),
    ),
    Mutant(
        "new-zone-is-waited-for",
        "server/relocating.py",
        "there is None or (there.vote is Vote.LEARNER and not info.logs)",
        "there is None",
        ("tests/unit/server/test_relocating.py::test_a_copy_goes_though_its_node_stays",),
    ),
    Mutant(
        "who-rests-is-given-up",
        "server/relocating.py",
        "there is None or (there.vote is Vote.LEARNER and not info.logs)",
        "there is None or there.vote is Vote.LEARNER",
        ("tests/unit/server/test_relocating.py::test_a_copy_goes_though_its_node_stays",),
    ),
    Mutant(
        "removes-whoever-is-there",
        "storage/consensus/membership.py",
        "change.incarnation not in (0, place.member.incarnation):",
        "False:",
        _MEANT,
    ),
    Mutant(
        "removal-says-not-whom",
        "storage/node/port_server.py",
        "Remove(request.node, request.incarnation)",
        "Remove(request.node)",
        _ANOTHER,
    ),
    Mutant("removal-is-asked-of-whoever", _MOVES, "tuple(leaving), place.member.incarnation)", "tuple(leaving))", _TWO),
    Mutant("leads-to-who-stops", _SHELL, '"it stops" if status.stopping else "full"', '"full"', _STOPS),
    Mutant(
        "stops-and-does-not-say", "storage/node/port_server.py", "stopping=node.departure.leaving is not None", "stopping=False", _STOPS
    ),
    Mutant("room-twice", _PLAN, "places = [with_less(place, size) if", "places = [place if", _COPIES),
    Mutant("room-of-what-comes-forgotten", _SHELL, "                place = with_less(place, size)\n", "                pass\n", _ROOM),
    Mutant(
        "hosts-on-a-late-word",
        "storage/node/port_server.py",
        "elif request.table.version < self._forgotten.get(partition, 0):",
        "elif False:",
        _LATE,
    ),
    Mutant("forgotten-for-good-comes-back", "storage/node/port_server.py", "request.version or FOR_GOOD)", "request.version)", _LATE),
    Mutant("zones-by-the-first-that-comes", "server/copy_moves.py", "(len(after) < COPIES or not", "(not", _TWO),
    Mutant(
        "room-for-one-of-two",
        _MOVES,
        "            while self._staying(info, placed) < COPIES:",
        "            for _ in range(self._staying(info, placed) < COPIES):",
        _DRAINS,
    ),
    Mutant(
        "bound-to-a-copy-that-is-gone",
        "storage/node/peers.py",
        "(replica is None or replica.out",
        "replica is not None and (replica.out",
        ("tests/unit/control/test_relocated.py::test_a_node_without_the_copy_frees_whoever_is_bound_to_a_ballot_of_it",),
    ),
    Mutant("stays-beside-a-log", _SHELL, "if len(storage) != COPIES:", "if len(info.nodes) != COPIES:", _LOGS),
    Mutant("a-second-copy-beside-the-log", _MOVES, "            if target in info.logs\n", "            if False\n", _LOGS),
    Mutant("waited-for-for-ever", _MOVES, "placed, {*lost, *given_up})", "placed, lost)", _TAKES),
    Mutant(
        "given-again-at-once", _SHELL, "            if number in self._relocating.filling.declined:\n", "            if False:\n", _TAKES
    ),
    Mutant("full-and-waited-for", _FILLS, ">= FULL_US:", ">= FULL_US * 10**9:", _TAKES),
    Mutant("given-up-at-once-when-full", _FILLS, "now_us - self._full_us[number] >= FULL_US", "True", _NEARER),
    Mutant("given-up-though-it-comes-nearer", _FILLS, "if reached is None or lacks < reached.lacks:", "if reached is None:", _NEARER),
    Mutant("given-up-for-what-others-keep", _FILLS, "not copy.behind and lacks <= LAG_MAX:", "False:", _NEARER),
    Mutant("given-up-while-much-is-brought", _FILLS, "WAIT_US + leader.size * 1_000_000 // BYTES_PER_S", "WAIT_US", _NEARER),
    Mutant("given-up-though-it-votes", _FILLS, "(place is not None and place.vote is Vote.VOTES)", "False", _NEARER),
    Mutant("declined-for-ever", _FILLS, "if now_us < one.until_us}", "}", _NEARER),
    Mutant("balance-overshoots", _PLAN, "if 2 * one.weight <= apart and", "if one.weight < 3 * apart and", _COPIES),
    Mutant("balance-two-on-a-node", _PLAN, "target.number not in one.nodes and (", "(", _COPIES),
    Mutant("balance-a-zone-less", _PLAN, "    return len(after) >= len(before)\n", "    return True\n", _COPIES),
    Mutant("balance-to-who-takes-nothing", _PLAN, "if not place.keeps]", "]", _COPIES),
    Mutant("balance-no-room", _PLAN, "(target.free is None or ROOM * one.size <= target.free)", "True", _COPIES),
    Mutant("balance-what-stays", _PLAN, "for number in one.nodes if not one.stays else ():", "for number in one.nodes:", _COPIES),
    Mutant("balance-one-twice", _PLAN, 'stays="its copy is on its way"', 'stays=""', _COPIES),
    Mutant("balance-leads-for-ever", _PLAN, "least=max(2.0, sum(", "least=max(1.0, sum(", _LEADS),
    Mutant("balance-leads-to-anybody", _PLAN, "one.leader == source and target.number in one.heirs", "one.leader == source", _LEADS),
    Mutant("balance-all-at-once", _SHELL, "lanes = LANES - len(copies_moving(self._control))", "lanes = 99", _JOINS),
    Mutant("balance-the-metadata-group", _SHELL, "if one.table_id == self._control.system.table_id:", "if False:", _JOINS),
    Mutant("balance-under-a-scrub", _SHELL, "        if info.partition_id in self._scrubbed:\n", "        if False:\n", _NOTHING),
    Mutant("balance-before-its-version", _SHELL, "self._control.store.version.lacks(BALANCING) or ", "", _NOTHING),
    Mutant("balance-to-who-came-just-now", _SHELL, "now_us - seen[1] < self._options.steady_us", "False", _NOTHING),
    Mutant("balance-turned-off", _SHELL, "(lacks or self._waits()) if self._options.copies else OFF", "lacks or self._waits()", _OFF),
    Mutant("turned-back-a-zone-less", _MOVES, "nothing_lost or placed.apart([*kept, number]) >= placed.apart(staying)", "True", _GOES),
    Mutant("turned-back-for-a-zone-that-is-lost", _MOVES, "nothing_lost = never_voted or (", "nothing_lost = False and (", _GOES),
    Mutant("turned-back-and-gone-for-ever", _MOVES, "if there is not None and there.vote is Vote.GONE and", "if False and", _GOES),
    Mutant("a-member-without-a-copy-stays", _MOVES, "        if place.vote is Vote.LEARNER and", "        if False and", _GOES),
    Mutant(
        "forgets-on-an-old-word",
        "storage/node/port_server.py",
        "if not request.version or present is None or present.table.version <= request.version:",
        "if True:",
        _OLD,
    ),
    Mutant("weighs-nothing-without-a-leader", _SHELL, "return max([facts.size for", "return max([0 for", _WEIGHS),
    Mutant("leads-to-who-declines", _SHELL, "            if node.number in self._takers.declined:\n", "            if False:\n", _DECLINES),
    Mutant("lanes-for-what-is-dropped", _SHELL, " or one.status not in IN_USE:", ":", _WEIGHS),
    Mutant("turned-back-and-a-fourth-stays", _MOVES, "if placed.leaves(taker) and sum(", "if False and sum(", _GOES),
    Mutant("goes-after-all-others", _MOVES, "(place is None or place.vote is Vote.GONE) and not placed.leaves(number)", "False", _GOES),
    Mutant("turned-back-though-it-votes", _MOVES, "(votes or taker not in lost)", "taker not in lost", _GOES),
    Mutant("turned-back-never", _MOVES, "    if turned is not None:\n", "    if False:\n", _GOES),
    Mutant(
        "turned-back-after-it-left",
        _MOVES,
        "place is None or place.vote is Vote.GONE:\n            continue",
        "place is None:\n            continue",
        _GOES,
    ),
    Mutant(
        "turned-back-not-while-it-rests",
        _MOVES,
        "place is None or place.vote is Vote.GONE:\n            continue",
        "place is None or place.vote is not Vote.VOTES:\n            continue",
        _GOES,
    ),
    Mutant(
        "goes-nowhere",
        "server/copy_moves.py",
        "        return number in info.goes or self.leaves(number)\n",
        "        return self.leaves(number)\n",
        _GOES,
    ),
    Mutant("comes-back-as-it-was", "storage/catalogue.py", "max([incarnation, *[member[1]", "max([incarnation, *[0 * member[1]", _BACK),
    Mutant("replaced-as-who-came-back", "server/replacing.py", " metadata.spoke_as(", " 0 * metadata.spoke_as(", _NEXT),
    Mutant(
        "a-copy-that-comes-counts", "storage/control/fleet.py", "        return number not in voters\n", "        return False\n", _COUNT
    ),
    Mutant(
        "a-copy-that-goes-counts",
        "storage/control/fleet.py",
        "        if not info.goes or number in info.goes or number in info.fresh:\n",
        "        if not info.goes or number in info.fresh:\n",
        _COUNT,
    ),
]
