"""Mutants of this room: tables made and dropped, copies healed and loaded, findings kept, the planned stop."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_DROP = "tests/unit/control/test_drop.py"
_LOADED = "tests/unit/control/test_loaded_copies.py"
_KEPT = "tests/unit/control/test_findings_kept.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "dropped-before-its-final-seal",
        "storage/control/drops.py",
        "                    await self._fleet.seal(info.partition_id, Seal.DROP)\n",
        "                    await self._fleet.seal(info.partition_id, Seal.AGE)\n",
        (f"{_DROP}::test_the_catalogue_knows_where_each_log_ends_and_the_name_is_free_at_once",),
    ),
    Mutant(
        "end-noted-on-one-members-word",
        "storage/node/port_server.py",
        "len(replica.segments.agreed(own)[0]) < 2):\n        return None\n",
        "len(replica.segments.agreed(own)[0]) < 1):\n        return None\n",
        (f"{_DROP}::test_the_end_is_noted_only_once_two_members_state_the_same_of_it",),
    ),
    Mutant(
        "forgotten-before-archived",
        "storage/control/drops.py",
        "            while self._fleet.archived(final.partition_id) < final.lsn:\n",
        "            while False:\n",
        (f"{_DROP}::test_until_the_archive_has_the_end_a_restore_waits_and_never_gives_less",),
    ),
    Mutant(
        "healed-copy-left-before-it-follows",
        "storage/control/service.py",
        "            await self._follows(partition, node)\n",
        "",
        ("tests/unit/control/test_heal_races.py::test_a_copy_healed_while_more_was_archived_follows_the_log_that_was_kept_for_it",),
    ),
    Mutant(
        "healed-copy-not-compared",
        "storage/node/healing.py",
        "        if digest.total() != request.total.total:\n            tree.close()\n            self._node.engine",
        "        if False:\n            tree.close()\n            self._node.engine",
        (f"{_LOADED}::test_a_healed_copy_that_is_not_its_reference_never_serves",),
    ),
    Mutant(
        "restored-copy-not-compared",
        "storage/node/healing.py",
        "            if digest.total() != request.total.total:\n                tree.close()\n                return Loaded(Sum.of(digest.total()))\n",
        "",
        (f"{_LOADED}::test_a_restored_copy_that_is_not_what_was_read_never_starts",),
    ),
    Mutant(
        "unreadable-load-accepted",
        "storage/node/healing.py",
        "        if result.bad or result.structure:\n",
        "        if False:\n",
        (_LOADED,),
    ),
    Mutant(
        "finding-found-again-is-forgotten",
        "storage/control/findings.py",
        " and known.at_us <= finding.at_us\n",
        "\n",
        (f"{_KEPT}::test_a_fault_found_again_after_it_was_handed_out_is_kept",),
    ),
    Mutant(
        "rebuilt-copy-forgets-the-end",
        "storage/control/service.py",
        "                ended=self._ended_closed(partition, lsn),\n",
        "                ended=None,\n",
        (f"{_DROP}::test_a_copy_rebuilt_at_the_last_seal_knows_that_nothing_follows",),
    ),
    Mutant(
        "only-the-useless-tree-surveyed",
        "storage/node/healing.py",
        "pin = None if replica.status.serves else await",
        "pin = None if replica.usable else await",
        (f"{_KEPT}::test_a_copy_healed_because_none_served_has_every_rotted_row_named_and_its_evidence_told",),
    ),
    Mutant(
        "survey-gives-up-at-a-checkpoint",
        "storage/node/healing.py",
        "_PINS_MAX = 20\n",
        "_PINS_MAX = 1\n",
        (f"{_KEPT}::test_a_suspect_that_goes_on_applying_is_surveyed_whatever_checkpoint_comes_in_between",),
    ),
    Mutant(
        "evidence-not-noted-with-what-was-found",
        "storage/control/service.py",
        "            self._findings.set_aside(partition, node, evidence[-1])\n",
        "            pass\n",
        (f"{_KEPT}::test_a_copy_healed_because_none_served_has_every_rotted_row_named_and_its_evidence_told",),
    ),
    Mutant(
        "evidence-of-an-earlier-tree-overwritten",
        "storage/control/findings.py",
        "            if (finding.partition, finding.copy, finding.evidence) == (partition, copy, None)\n",
        "            if (finding.partition, finding.copy) == (partition, copy)\n",
        (f"{_KEPT}::test_what_was_found_in_an_earlier_tree_keeps_its_own_evidence",),
    ),
    Mutant(
        "stop-before-the-claim-is-known",
        "server/stop.py",
        "    await _claimed(env, store, agents, deadline_us=deadline_us)\n",
        "",
        ("tests/unit/control/test_stop.py",),
    ),
    Mutant(
        "stop-takes-writes-to-the-end",
        "storage/control/store.py",
        "        self._router.closed = True\n",
        "",
        ("tests/unit/control/test_stop.py",),
    ),
    Mutant(
        "cut-off-heal-never-begun-anew",
        "storage/node/healing.py",
        "            raise\n        finally:\n            self._work(request.partition, -1)\n",
        "            raise\n        finally:\n",
        ("tests/unit/control/test_heal_races.py::test_a_heal_whose_control_part_died_is_begun_anew_and_the_copy_serves",),
    ),
    Mutant(
        "dropped-under-a-running-heal",
        "storage/control/drops.py",
        "self._healing(node, info.partition_id) and self._env.clock.boot_us() < give_up:\n",
        "self._healing(node, info.partition_id) and False:\n",
        ("tests/unit/control/test_heal_races.py::test_a_dropped_tables_copy_is_left_to_a_heal_for_a_bounded_time",),
    ),
    Mutant(
        "dead-heal-awaited-for-ever",
        "storage/control/drops.py",
        "self._healing(node, info.partition_id) and self._env.clock.boot_us() < give_up:\n",
        "self._healing(node, info.partition_id):\n",
        ("tests/unit/control/test_heal_races.py::test_a_dropped_tables_copy_is_left_to_a_heal_for_a_bounded_time",),
    ),
    Mutant(
        "stop-ends-though-something-is-unarchived",
        "storage/control/store.py",
        "        while unarchived(facts := await look()) and clock.boot_us() < deadline_us:\n",
        "        while leaders(facts := await look()) and unarchived(facts) and clock.boot_us() < deadline_us:\n",
        ("tests/unit/control/test_stop.py::test_a_stop_begun_while_nobody_leads_waits_for_a_leader_and_seals",),
    ),
    Mutant(
        "lost-order-given-after-a-newer-one",
        "storage/control/fleet.py",
        "            if newest and lost and tries > 1:\n",
        "            if lost and tries > 1:\n",
        ("tests/unit/control/test_fleet.py::test_an_order_that_got_lost_is_not_given_again_after_a_newer_one",),
    ),
    Mutant(
        "lost-order-given-without-end",
        "storage/control/fleet.py",
        "            if newest and lost and tries > 1:\n",
        "            if newest and lost:\n",
        ("tests/unit/control/test_fleet.py::test_an_order_is_given_a_bounded_number_of_times",),
    ),
    Mutant(
        "lost-order-given-up",
        "storage/control/fleet.py",
        "            if newest and lost and tries > 1:\n",
        "            if False:\n",
        ("tests/unit/control/test_fleet.py::test_a_lost_order_to_host_is_given_again",),
    ),
]
