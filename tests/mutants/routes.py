"""Mutants of what a router does not know, or knows no more: it asks before it says so, and what it asks is bounded."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_ASKED = "tests/unit/control/test_asked_catalogue.py"
_MADE = f"{_ASKED}::test_what_one_router_made_is_there_through_every_other"
_SEVERAL = (f"{_ASKED}::test_so_it_is_for_several_items_statements_and_streams",)
_DROPPED = (f"{_ASKED}::test_a_table_of_a_dropped_ones_name_is_the_one_that_every_router_serves",)
_PARTS = (f"{_ASKED}::test_of_several_parts_none_is_done_twice_and_all_may_be_tried_again",)
_CHANGED = (f"{_ASKED}::test_what_is_changed_of_a_table_shows_through_every_router",)
_COST = (f"{_ASKED}::test_what_is_not_there_costs_the_metadata_group_the_same_however_often_it_is_asked_for",)
_AWAY = (f"{_ASKED}::test_while_the_metadata_is_away_what_is_known_is_served_and_nobody_is_told_that_something_is_not_there",)
_FOLLOWING = "tests/unit/control/test_following.py"
_AT_ONCE = (f"{_FOLLOWING}::test_while_nothing_happens_nodes_are_asked_for_nothing_and_what_happens_is_known_at_once",)
_QUIET = (f"{_FOLLOWING}::test_a_quiet_catalogue_is_asked_for_at_a_constant_rate_and_read_whole_now_and_then",)
_AGAIN = (f"{_FOLLOWING}::test_a_node_that_cannot_be_asked_is_asked_again_with_the_next_read",)
_PEERS = "tests/unit/server/test_peer_nodes.py"
_AWAITED = "tests/unit/control/test_following.py"
_GONE = (f"{_ASKED}::test_a_request_on_its_way_to_a_table_that_is_gone_with_its_copies_hears_so_at_once",)

MUTANTS: list[Mutant] = [
    Mutant(
        "a-table-that-another-router-made-is-not-there",
        "storage/api/call.py",
        "        if not self.sure:\n            raise Unsure",
        "        if False:\n            raise Unsure",
        (f"{_MADE}", *_SEVERAL),
    ),
    Mutant(
        "an-index-that-another-router-made-is-not-there",
        "storage/api/call.py",
        "        if touched.index_name is not None and not _reads(table, touched.index_name):\n",
        "        if False:\n",
        _CHANGED,
    ),
    Mutant(
        "a-table-is-described-by-what-is-known",
        "storage/api/api.py",
        "        if call.sure or operation in BY_WHAT_IS_KNOWN:\n",
        "        if True:\n",
        _CHANGED,
    ),
    Mutant(
        "a-dropped-table-is-the-answer",
        "storage/api/call.py",
        "(isinstance(error, Unsure) or is_dropped(error))",
        "isinstance(error, Unsure)",
        _DROPPED,
    ),
    Mutant(
        "several-parts-are-done-again",
        "storage/api/api.py",
        "        if isinstance(error, Unsure) or call.operation in OF_ONE_TABLE:\n",
        "        if True:\n",
        _PARTS,
    ),
    Mutant(
        "one-part-of-several-is-told-that-there-is-no-table",
        "storage/api/call.py",
        "        if not self.sure and is_dropped(error):",
        "        if False:",
        _PARTS,
    ),
    Mutant(
        "a-log-that-ended-is-read-on",
        "storage/replica/reads.py",
        "replica.serves(consistent=consistent) or self._ended()",
        "replica.serves(consistent=consistent)",
        _DROPPED,
    ),
    Mutant(
        "a-log-that-ended-is-scanned-on",
        "storage/replica/reads.py",
        "        if refusal is None and request.start != request.end:",
        "        if False:",
        _DROPPED,
    ),
    Mutant(
        "an-end-that-copies-know-is-asked-for-again-and-again",
        "storage/control/router.py",
        "        if not isinstance(answer, ScrubjayError) or is_dropped(answer):\n",
        "        if not isinstance(answer, ScrubjayError):\n",
        _DROPPED,
    ),
    Mutant(
        "who-waits-for-a-table-that-is-gone-waits-on",
        "storage/control/router.py",
        "        if self.router.maps.gone(self._table):\n",
        "        if False:\n",
        _GONE,
    ),
    Mutant(
        "questions-have-no-pause",
        "storage/control/newest.py",
        "                if began_us < self._not_before_us:\n",
        "                if False:\n",
        _COST,
    ),
    Mutant(
        "who-asks-reads-all-each-time",
        "storage/control/metadata.py",
        "        if (await self._read(WRITER)).lsn > self._read_at:\n",
        "        if True:\n",
        _COST,
    ),
    Mutant(
        "who-asks-never-reads-all",
        "storage/control/metadata.py",
        "        if (await self._read(WRITER)).lsn > self._read_at:\n",
        "        if False:\n",
        (f"{_MADE}",),
    ),
    Mutant(
        "who-cannot-ask-says-that-it-is-not-there",
        "storage/api/api.py",
        "        await self.backend.newest(limits.CATALOGUE_MS / 1000)\n",
        "        with contextlib.suppress(Unavailable):\n            await self.backend.newest(limits.CATALOGUE_MS / 1000)\n",
        _AWAY,
    ),
    Mutant(
        "what-is-known-is-not-shown-while-nobody-can-be-asked",
        "storage/api/api.py",
        "        with contextlib.suppress(Unavailable):\n            await self.backend.newest(limits.CATALOGUE_FIRST_MS",
        "        with contextlib.suppress(ValueError):\n            await self.backend.newest(limits.CATALOGUE_FIRST_MS",
        _AWAY,
    ),
    Mutant(
        "a-question-that-was-sent-before-answers-who-came-after",
        "storage/control/newest.py",
        "                waiting, self._waiting = self._waiting, []  # who comes",
        "                waiting = self._waiting  # who comes",
        (f"{_ASKED}::test_a_question_answers_those_who_came_before_it_was_sent",),
    ),
    Mutant(
        "nobody-says-that-the-catalogue-moved",
        "storage/node/node.py",
        "            listener(partition)\n",
        "            pass\n",
        _AT_ONCE,
    ),
    Mutant(
        "the-catalogue-is-read-whole-each-time",
        "storage/control/following.py",
        "        if now_us - self._whole_us < WHOLE_S * 1e6:\n",
        "        if False:\n",
        _QUIET,
    ),
    Mutant(
        "the-catalogue-is-never-read-whole-again",
        "storage/control/following.py",
        "        if now_us - self._whole_us < WHOLE_S * 1e6:\n",
        "        if True:\n",
        _QUIET,
    ),
    Mutant(
        "who-could-not-say-is-never-asked-again",
        "storage/control/following.py",
        "        self._awaiting.discard(name)\n",
        "",
        _AGAIN,
    ),
    Mutant(
        "who-waits-to-hear-is-owed-an-answer",
        "server/peer_nodes.py",
        "self.waiting > self._patient or",
        "self.waiting or",
        (f"{_PEERS}::test_a_question_that_waits_for_something_to_happen_is_no_silence",),
    ),
    Mutant(
        "who-waits-to-hear-waits-for-ever",
        "storage/node/port_server.py",
        "        awaiting = _Awaiting(request.lsn, done, tasks.call_later(min(request.wait_us, AWAIT_US_MAX) / 1e6,",
        "        awaiting = _Awaiting(request.lsn, done, tasks.call_later(1e9,",
        (f"{_AWAITED}::test_whoever_waits_is_answered_when_its_time_is_up",),
    ),
    Mutant(
        "any-number-wait-to-hear",
        "storage/node/port_server.py",
        "        if sum(map(len, self._awaiting.values())) >= AWAITING_MAX:\n",
        "        if False:\n",
        (f"{_AWAITED}::test_a_bounded_number_waits",),
    ),
    Mutant(
        "a-new-table-takes-routers-out",
        "server/cluster_status.py",
        "            if leader is None and tables and control.fleet.awaited(table, info.partition_id, now_us):\n                continue\n",
        "",
        (
            "tests/unit/control/test_routers_alone.py::test_a_table_that_was_just_made_takes_no_router_out_of_service_before_it_has_heard_who_leads",
        ),
    ),
    Mutant(
        "a-leader-lost-early-is-awaited",
        "storage/control/fleet.py",
        " and partition not in self._led\n",
        "\n",
        (
            "tests/unit/control/test_routers_alone.py::test_a_table_that_was_just_made_takes_no_router_out_of_service_before_it_has_heard_who_leads",
        ),
    ),
    Mutant(
        "awaited-for-ever",
        "storage/control/fleet.py",
        "now_us - table.created_at <= AWAITED_US and self.leader",
        "self.leader",
        (
            "tests/unit/control/test_routers_alone.py::test_a_table_that_was_just_made_takes_no_router_out_of_service_before_it_has_heard_who_leads",
        ),
    ),
]
