"""Mutants of the cluster's version (ADR 0081): when it is raised, what asks for it, who is let in, what a process keeps to."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_RAISING = "server/raising.py"
_GATE = "storage/control/feature_gate.py"
_TESTS = "tests/unit/server/test_raising.py::"
_TO = (_TESTS + "test_to_what_it_is_raised",)
_COUNTS = (_TESTS + "test_who_counts",)
_GUESTS = (_TESTS + "test_processes_that_are_no_nodes_are_known_by_the_nodes_that_they_are_connected_to",)
_WORLD = (_TESTS + "test_nodes_that_are_exchanged_one_way_and_the_other",)
_HELD = (_TESTS + "test_somebody_else_who_holds_it_at_the_same_time_is_not_overwritten",)
_BEFORE = (_TESTS + "test_what_came_before_the_number_is_asked_of_every_member_that_is_up",)
_SINCE = (_TESTS + "test_what_came_since_asks_for_the_number_alone",)
_API = (_TESTS + "test_what_the_api_turns_on_is_refused_while_a_node_cannot_read_it",)
_DOOR = (_TESTS + "test_who_is_let_in_where",)
_FOLDER = (_TESTS + "test_what_was_read_lies_in_the_folder_and_stops_an_older_release",)
_ENDS = (_TESTS + "test_a_process_that_reads_a_number_above_its_own_ends",)
_REFUSED = (_TESTS + "test_a_process_that_is_not_let_in_for_its_release_ends",)
_ASKED = (_TESTS + "test_what_a_node_told_last_is_not_enough",)
_NOTED = (_TESTS + "test_the_number_is_of_the_catalogue_and_never_lowered",)
_STORE = "storage/control/store.py"
_CONNECTED = ("tests/unit/real/test_peer_net.py::test_who_is_connected_is_told_of_and_who_can_too_little_is_cut_off",)
_HEALTH = ("tests/unit/server/test_health.py::test_what_keeps_the_clusters_version_is_told_and_after_a_day_it_is_a_problem",)

MUTANTS = [
    Mutant(
        "version-raised-past-who-is-away",
        _RAISING,
        "note.number if len(known) < len(told) else min([own, *known])",
        "min([own, *known])",
        (*_TO, *_WORLD),
    ),
    Mutant("version-raised-to-the-newest", _RAISING, "else min([own, *known])", "else max([own, *known])", (*_TO, *_WORLD)),
    Mutant("version-raised-beyond-its-own", _RAISING, "else min([own, *known])", "else min(known)", _TO),
    Mutant("version-lowered", _RAISING, "Next(max(note.number, least)", "Next(least", _TO),
    Mutant("version-raised-though-held", _RAISING, "        least = note.held\n", "        pass\n", (*_TO, *_HELD)),
    Mutant(
        "version-of-who-is-down",
        _RAISING,
        "        heard = told.failed is None or told.can > 0",
        "        heard = True",
        (*_COUNTS, *_WORLD),
    ),
    Mutant("version-of-members-alone", _RAISING, "        if name in members or can is not None:", "        if name in members:", _COUNTS),
    Mutant(
        "version-without-who-is-away", _RAISING, "        if name in members or can is not None:", "        if can is not None:", _COUNTS
    ),
    Mutant(
        "version-of-the-luckiest-guest",
        _RAISING,
        "min(said_once, guests.get(guest, said_once))",
        "max(said_once, guests.get(guest, said_once))",
        _GUESTS,
    ),
    Mutant("version-without-guests", _RAISING, "for name, can in sorted(guests.items())]", "for name, can in ()]", _GUESTS),
    Mutant("version-guests-are-nodes-too", _RAISING, " if hello.role != NODE}", "}", _GUESTS),
    Mutant(
        "version-raised-by-all",
        _RAISING,
        "            if self._works():\n                await self.look()",
        "            if True:\n                await self.look()",
        (_TESTS + "test_while_a_member_is_away_nothing_is_raised_and_held_it_stays",),
    ),
    Mutant(
        "version-hold-given-up",
        _RAISING,
        "        except Conflict:\n            continue\n",
        "        except Conflict:\n            return\n",
        (_TESTS + "test_a_hold_is_tried_again_over_what_others_write",),
    ),
    Mutant(
        "version-raised-by-what-was-told",
        _RAISING,
        "processes(self._control, await self._asked())",
        "processes(self._control)",
        _ASKED,
    ),
    Mutant(
        "version-silence-is-consent",
        _RAISING,
        "    return told if told.failed is not None else NodeStatus(",
        "    return told if told else NodeStatus(",
        _ASKED,
    ),
    Mutant(
        "version-world-past-who-is-away",
        _RAISING,
        "    least = note.number if len(known) < len(told)",
        "    least = note.number if not known",
        _WORLD,
    ),
    Mutant(
        "version-hold-overtaken",
        _RAISING,
        "        if to == note.number or metadata.version != note:",
        "        if to == note.number:",
        (_TESTS + "test_a_hold_that_comes_while_nodes_are_asked_stays",),
    ),
    Mutant(
        "version-world-never",
        _RAISING,
        "        if to == note.number or metadata.version != note:",
        "        if to:",
        _WORLD,
    ),
    Mutant(
        "version-lowered-by-a-write",
        "storage/control/metadata.py",
        "        if note.number < self.version.number:\n",
        "        if False:\n",
        _NOTED,
    ),
    Mutant(
        "version-unheard-of",
        "storage/control/metadata.py",
        "        self.version = note\n        for listener in self.on_version:",
        "        self.version = note\n        for listener in ():",
        _NOTED,
    ),
    Mutant("version-not-asked-for", _GATE, "        if feature.number > FLAGGED:\n", "        if False:\n", _SINCE),
    Mutant(
        "version-asked-of-who-is-out",
        _GATE,
        "            if member is not None and member.state != REMOVED:",
        "            if True:",
        _BEFORE,
    ),
    Mutant(
        "version-asked-of-who-is-down",
        _GATE,
        " or status.failed is not None or said(status) >= feature.number",
        " or said(status) >= feature.number",
        _BEFORE,
    ),
    Mutant("version-asked-of-who-leaves", _GATE, "name == besides or ", "", _BEFORE),
    Mutant("version-raised-in-vain", _GATE, "        if self.number >= feature.number:\n", "        if False:\n", (*_BEFORE, *_SINCE)),
    Mutant("version-streams-unasked", _STORE, "        if spec.stream_view:\n", "        if False:\n", _API),
    Mutant("version-indexes-unasked", _STORE, "        if spec.global_indexes:", "        if False:", _API),
    Mutant("version-new-indexes-unasked", _STORE, "        self.version.need(GLOBAL_INDEXES)\n        return", "        return", _API),
    Mutant("version-policies-of-new-tables-unasked", _STORE, "        if spec.policy is not None:\n", "        if False:\n", _API),
    Mutant(
        "version-policies-unasked",
        _STORE,
        "        self.version.need(POLICIES)\n\n        def decided",
        "        def decided",
        _API,
    ),
    Mutant(
        "version-narrowed-policies-unasked",
        _STORE,
        "                self.version.need(policy_feature(policy.text))",
        "                pass",
        _API,
    ),
    Mutant(
        "version-narrowed-policies-of-new-tables-unasked",
        _STORE,
        "            self.version.need(policy_feature(spec.policy.text))",
        "            self.version.need(POLICIES)",
        _API,
    ),
    Mutant("version-ttl-unasked", _STORE, "        self.version.need(EXPIRING)\n", "", _API),
    Mutant("version-transactions-unasked", _STORE, "        self.version.need(TRANSACTIONS)\n", "", _API),
    Mutant("version-turned-streams-unasked", _STORE, '        if "streams" in change:\n', "        if False:\n", _API),
    Mutant(
        "version-any-flag",
        "storage/cluster_version.py",
        "            break\n",
        "            continue\n",
        (_TESTS + "test_flags_of_older_releases_are_numbers",),
    ),
    Mutant(
        "version-door-open",
        "server/admission.py",
        "    if number <= FLAGGED or hello.can >= number:",
        "    if number <= FLAGGED or hello.can > 0:",
        _DOOR,
    ),
    Mutant(
        "version-door-shut-for-flags",
        "server/admission.py",
        "    if number <= FLAGGED or hello.can >= number:",
        "    if hello.can >= number:",
        _DOOR,
    ),
    Mutant(
        "version-door-unasked",
        "server/admission.py",
        "        if (old := below(hello, self._version())) is not None:",
        "        if (old := below(hello, 0)) is not None:",
        ("tests/unit/server/test_cluster_processes.py::test_who_is_too_old_is_not_let_in",),
    ),
    Mutant(
        "version-not-kept",
        _RAISING,
        "            self._disk.write_file(FILE, msgspec.json.encode(VersionFile(1, note.number)))",
        "            pass",
        _FOLDER,
    ),
    Mutant("version-kept-lower", _RAISING, "        if note.number <= self.number:\n", "        if note.number == self.number:\n", _FOLDER),
    Mutant(
        "version-goes-on", _RAISING, "        if self.over:\n            self.end()", "        if False:\n            self.end()", _ENDS
    ),
    Mutant("version-goes-on-unheard", _RAISING, "            self._heard = number\n", "            pass\n", _REFUSED),
    Mutant(
        "version-ends-for-any-refusal",
        _RAISING,
        "and number > self._own:\n            self._heard",
        "and number:\n            self._heard",
        _REFUSED,
    ),
    Mutant(
        "version-nobody-dismissed",
        "base/real/peer_net.py",
        "(error := why(link.hello)) is not None:\n                connection.end(error)",
        "(error := why(link.hello)) is not None:\n                pass",
        _CONNECTED,
    ),
    Mutant("version-problem-of-every-hold", "server/health.py", "if newest > note.number and (differ", "if (differ", _HEALTH),
    Mutant(
        "version-problem-at-once",
        "server/problems.py",
        '"version-held": Rule("upgrade.md", grace_s=86_400.0)',
        '"version-held": Rule("upgrade.md")',
        _HEALTH,
    ),
    Mutant(
        "split-by-hand-below-its-version-is-to-be-asked-again",
        "server/table_splits.py",
        "        self._control.store.version.allow(split_of(table), table=owner.name)\n",
        "",
        (
            "tests/unit/server/test_table_splits.py::test_below_the_version_that_it_needs_an_index_is_not_split_and_asking_again_is_not_advised",
        ),
    ),
]
