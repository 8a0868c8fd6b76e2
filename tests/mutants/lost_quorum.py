"""Mutants of the recovery of a lost quorum: what it refuses, what it takes first, and what keeps the former membership out (ADR 0084)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_SIM = "tests/sim/test_lost_quorum.py::"
_WAY = "tests/unit/consensus/test_left_alone.py::test_what_is_in_the_way_is_named"
_MEMBERS, _PLAN, _WATCH, _NOTES = (
    "storage/consensus/membership.py",
    "server/lost_quorum.py",
    "server/former_watch.py",
    "server/cut_histories.py",
)
_AHEAD = _SIM + "test_what_the_archive_has_and_the_survivor_lacks_is_taken_from_there"
_FORMER = _SIM + "test_folders_of_the_former_membership_never_speak_again"
_PARTS = _SIM + "test_a_copy_that_is_not_whole_is_refused_by_name"
_KILLED = _SIM + "test_killed_at_any_step_the_same_command_goes_on"
_MATCHED = _SIM + "test_it_is_told_until_a_scrub_has_matched_since"

MUTANTS: list[Mutant] = [
    Mutant("alone-beside-a-quorum", _MEMBERS, "    if has_quorum(before, lost=lost):\n", "    if False:\n", (_WAY,)),
    Mutant(
        "alone-beside-another-voter", _MEMBERS, "    if others:\n        raise Unsafe(", "    if False:\n        raise Unsafe(", (_WAY,)
    ),
    Mutant("alone-without-a-vote", _MEMBERS, "or place.member != survivor or place.vote is not Vote.VOTES:", "or False:", (_WAY,)),
    Mutant("alone-with-the-log", _MEMBERS, "    if place.kind is not CopyKind.STORAGE:\n", "    if False:\n", (_WAY,)),
    Mutant(
        "alone-and-the-lost-stay",
        _MEMBERS,
        "one._replace(vote=Vote.GONE) if one.member.node in lost else one",
        "one._replace(vote=Vote.LEARNER) if one.member.node in lost else one",
        ("tests/unit/consensus/test_left_alone.py::test_the_survivor_alone_votes_and_leads_and_the_lost_are_gone_for_good",),
    ),
    Mutant("recovered-without-the-archive", _PLAN, "                    group.takes += 1\n", "                    pass\n", (_AHEAD,)),
    Mutant(
        "recovered-over-a-hole",
        _PLAN,
        "        if reached < group.archived:\n",
        "        if False:\n",
        (_SIM + "test_it_is_refused_where_the_archive_lacks_what_it_names",),
    ),
    Mutant(
        "recovered-beside-another-history",
        _PLAN,
        "if record.lsn in own and own[record.lsn] != record.data:",
        "if False:",
        (_SIM + "test_another_history_in_the_archive_is_refused",),
    ),
    Mutant(
        "recovered-by-half",
        _PLAN,
        "    plan.check()\n    if not",
        "    if not",
        (_SIM + "test_it_is_refused_where_the_archive_lacks_what_it_names",),
    ),
    Mutant("recovered-an-amnesiac", _PLAN, '        if log.vote == "amnesiac":\n', "        if False:\n", (_PARTS,)),
    Mutant("recovered-damaged", _PLAN, "        if log.damaged:\n", "        if False:\n", (_PARTS,)),
    Mutant("recovered-a-log", _PLAN, "        if self._survivor.keeps_log(partition):\n", "        if False:\n", (_PARTS,)),
    Mutant("recovered-without-its-tree", _PLAN, '        if log.tree != "ok":\n', "        if False:\n", (_PARTS,)),
    Mutant("recovered-an-earlier-member", _PLAN, "        if log.member != self._member(group):\n", "        if False:\n", (_PARTS,)),
    Mutant("recovered-nothing", _PLAN, "            if not log.accepted or log.last < 1:\n", "            if False:\n", (_PARTS,)),
    Mutant(
        "recovered-without-metadata",
        _PLAN,
        "    if metadata.partition not in survivor.recovered.replicas:\n",
        "    if False:\n",
        (_SIM + "test_a_node_without_a_copy_of_the_metadata_group_is_none_to_go_on_from",),
    ),
    Mutant(
        "recovered-stamps-below-closed",
        _PLAN,
        "    stamp = Stamp(max(plan.above, stamp_of(env.clock.wall_us())) + 1)\n",
        "    stamp = Stamp(stamp_of(env.clock.wall_us()) + 1)\n",
        (_SIM + "test_every_new_stamp_lies_above_what_the_lost_nodes_said_is_closed",),
    ),
    Mutant(
        "recovered-and-nobody-can-lead",
        _PLAN,
        "    if ahead_us > max_offset_us:  #",
        "    if False:  #",
        (_SIM + "test_every_new_stamp_lies_above_what_the_lost_nodes_said_is_closed",),
    ),
    Mutant(
        "recovered-and-fenced",
        _PLAN,
        "        if claim.owner not in owners:\n",
        "        if False:\n",
        (_SIM + "test_an_epoch_whose_note_was_lost_is_still_ours",),
    ),
    Mutant(
        "recovered-and-the-archive-is-not-told",
        _PLAN,
        "            await store.put(former.key(), encode_former(former))\n",
        "            pass\n",
        (_FORMER,),
    ),
    Mutant(
        "recovered-and-the-list-lets-them-in",
        _PLAN,
        "    members.cut_off({NodeName(one.node): one.incarnation for one in plan.lost})\n",
        "",
        (_FORMER,),
    ),
    Mutant(
        "recovered-and-they-are-members",
        _PLAN,
        "            found[NODE + one.node] = msgspec.json.encode(gone).decode()\n",
        "            pass\n",
        (_SIM + "test_the_one_that_is_left_goes_on_with_all_that_it_had",),
    ),
    Mutant(
        "recovered-twice",
        _PLAN,
        "        if any(member.names(survivor.name, survivor.id, survivor.incarnation) for member in former.members):\n",
        "        if False:\n",
        (_SIM + "test_who_was_given_up_recovers_nobody",),
    ),
    Mutant(
        "recovered-and-forgets-whose-folders",
        _PLAN,
        "    ids = {one.incarnation: one.id for former in known for one in former.members if one.node == name}\n",
        "    ids: dict[int, str] = {}\n",
        (_KILLED,),
    ),
    Mutant("former-members-speak", _WATCH, "                self._found(\n", "                str(\n", (_FORMER,)),
    Mutant(
        "former-members-of-any-folder",
        "archiver/format/former.py",
        'self.node == node and self.id in ("", id_) and incarnation <= self.incarnation',
        "self.node == node",
        (_FORMER,),
    ),
    Mutant(
        "former-members-asked-once",
        _WATCH,
        "            await self._env.tasks.sleep(LOOK_S if self.asked else AGAIN_S)\n",
        "            await self._env.tasks.sleep(1e9)\n",
        (_SIM + "test_a_store_that_does_not_answer_keeps_no_node_from_starting_and_is_asked_again",),
    ),
    Mutant(
        "former-members-wait-for-the-store",
        _WATCH,
        "        except ScrubjayError:\n            return  # it is asked",
        "        except KeyError:\n            return  # it is asked",
        (_SIM + "test_a_store_that_does_not_answer_keeps_no_node_from_starting_and_is_asked_again",),
    ),
    Mutant(
        "recovery-over-by-an-old-scrub", _NOTES, "matched.get(group.partition, 0) > note.at_us", "group.partition in matched", (_MATCHED,)
    ),
    Mutant(
        "recovery-over-by-one-group",
        _NOTES,
        "group.over_us is None and matched.get(group.partition, 0)",
        "group.over_us is None and max(matched.values())",
        (_MATCHED,),
    ),
    Mutant(
        "recovery-not-learnt",
        _NOTES,
        "            if key_of(former.number) not in self._notes.jobs:\n",
        "            if False:\n",
        (_SIM + "test_what_the_catalogue_does_not_know_yet_is_learnt_from_the_archive",),
    ),
    Mutant(
        "recovered-and-no-zone-is-left",
        "server/copy_moves.py",
        "        counted = info.nodes if len(there) > 1 else there\n",
        "        counted = info.nodes\n",
        (_SIM + "test_a_spare_node_takes_copies_by_itself",),
    ),
    Mutant(
        "recovered-though-ended",
        _PLAN,
        "            if ended:\n                raise Unsafe(",
        "            if False:\n                raise Unsafe(",
        (_PARTS,),
    ),
    Mutant("recovered-from-a-tree-beyond-its-log", _PLAN, "        if state.applied > log.last:\n", "        if False:\n", (_PARTS,)),
    Mutant(
        "recovered-beside-one-that-answers",
        "scrubjay/quorum_recovery.py",
        "        if await answers(address.host, address.port, timeout_s=KNOCK_S):\n",
        "        if False:\n",
        ("tests/unit/cli/test_quorum_recovery.py::test_who_answers_is_not_lost",),
    ),
    Mutant(
        "recovered-beside-the-durability-process",
        "scrubjay/quorum_recovery.py",
        "    if await answers(plan.durability.host, plan.durability.port, timeout_s=KNOCK_S):\n",
        "    if False:\n",
        ("tests/unit/cli/test_quorum_recovery.py::test_who_answers_is_not_lost",),
    ),
    Mutant(
        "former-members-unverified",
        "archiver/verify/small.py",
        "            await self._small(name, lambda data, name=name: decode_former(data, where=name))",
        "            await self._small(name, lambda data, name=name: None)",
        ("tests/unit/archiver/test_formers.py::test_verify_reads_them",),
    ),
    Mutant(
        "former-members-suspect-no-more",
        "archiver/read/suspects.py",
        "            decode_former(data, where=name)\n",
        "            pass\n",
        ("tests/unit/archiver/test_formers.py::test_one_that_was_bad_is_no_suspect_once_it_is_read_well",),
    ),
    Mutant(
        "former-members-unlocked",
        "archiver/expire/keeping.py",
        "            *await former_names(self._store, self._cluster),\n",
        "",
        ("tests/unit/archiver/test_formers.py::test_their_locks_never_end",),
    ),
    Mutant(
        "former-members-listed-at-each-look",
        "archiver/read/formers.py",
        "if self._found is None or await self._store.head(build(FormerKey(self._cluster, self._next))) is not None:",
        "if True:",
        ("tests/unit/archiver/test_formers.py::test_who_looks_again_lists_only_when_there_is_another",),
    ),
    Mutant(
        "former-members-looked-for-once",
        "archiver/read/formers.py",
        "if self._found is None or await self._store.head(build(FormerKey(self._cluster, self._next))) is not None:",
        "if self._found is None:",
        ("tests/unit/archiver/test_formers.py::test_who_looks_again_lists_only_when_there_is_another",),
    ),
]
