"""Mutants of a leader that is lost, and of processes that only route: how soon the routers go on without it, and on what."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_NODES = "tests/unit/server/test_peer_nodes.py::"
_ROUTERS = "tests/unit/control/test_routers_alone.py::"
_PASSED = f"{_NODES}test_a_node_that_is_connected_and_says_nothing_is_passed_over_until_it_speaks"

MUTANTS: list[Mutant] = [
    Mutant("the-silent-waited-for", "server/peer_nodes.py", "if now_us - self._owed_us >= SILENT_US:", "if False:", (_PASSED,)),
    Mutant(
        "the-silent-written-to",
        "server/peer_nodes.py",
        "done: Done[WriteAnswer]) -> None:\n        if self.silent:",
        "done: Done[WriteAnswer]) -> None:\n        if False:",
        (_PASSED,),
    ),
    Mutant(
        "what-was-sent-is-tried-again",
        "server/peer_nodes.py",
        "self._answer_for_it(READS, node_down(self.name))",
        "self._answer_for_it(READS | WRITES, node_down(self.name))",
        (_PASSED,),
    ),
    Mutant("writes-wait-with-the-silent", "server/peer_nodes.py", "if now_us - self._owed_us >= STALE_US:", "if False:", (_PASSED,)),
    Mutant(
        "a-question-lost-is-the-last",
        "server/peer_nodes.py",
        "if self.silent or not self._asking:  #",
        "if not self._asking:  #",
        (_PASSED,),
    ),
    Mutant(
        "long-work-is-silence",
        "server/peer_nodes.py",
        "    def _heard(self, data: bytes | bytearray) -> None:\n        self.excuse()\n",
        "    def _heard(self, data: bytes | bytearray) -> None:\n",
        (f"{_NODES}test_a_node_that_takes_long_and_answers_other_things_is_not_passed_over",),
    ),
    Mutant(
        "own-pause-is-their-silence",
        "server/peer_nodes.py",
        "if now_us - beat_us > HELD_UP_US:",
        "if False:",
        (f"{_NODES}test_whoever_was_held_up_does_not_take_it_for_the_silence_of_others",),
    ),
    Mutant(
        "a-cold-router-waits",
        "storage/control/tables.py",
        "            await self.metadata.load_known()\n",
        "            raise\n",
        (f"{_ROUTERS}test_a_router_that_starts_without_a_leader_of_the_metadata_serves_what_a_copy_knows",),
    ),
    Mutant(
        "everybody-serves-what-is-known",
        "storage/control/tables.py",
        "                if self.serves_what_is_known:\n",
        "                if True:\n",
        (f"{_ROUTERS}test_a_router_that_starts_without_a_leader_of_the_metadata_serves_what_a_copy_knows",),
    ),
    Mutant(
        "no-metadata-no-service",
        "server/cluster_status.py",
        "    for table in tables or [control.system]:\n",
        "    for table in [control.system, *tables]:\n",
        (f"{_ROUTERS}test_tables_are_served_while_the_metadata_group_has_no_leader",),
    ),
    Mutant(
        "a-router-has-a-nodes-name",
        "scrubjay/config_cluster.py",
        'yield name in named, f"routers.{name}"',
        'yield False, f"routers.{name}"',
        ("tests/unit/cli/test_config_cluster.py::test_what_is_wrong_is_named",),
    ),
    Mutant(
        "any-router-is-there",
        "scrubjay/serving/plan.py",
        "    if name not in plan.routers:\n",
        "    if False:\n",
        ("tests/unit/cli/test_config_cluster.py::test_routers_are_read_and_each_process_knows_which_it_is",),
    ),
    Mutant(
        "everybody-leaves-routing-to-others",
        "scrubjay/verbs/serve.py",
        'if call.option("no_router") and role != "node":',
        "if False:",
        ("tests/unit/cli/test_config_cluster.py::test_what_a_process_cannot_be_is_refused",),
    ),
    Mutant(
        "a-node-that-stays-out-is-waited-for",
        "server/node.py",
        "    if node.failed is not None:  # it learnt that it stays out before it could speak",
        "    if False:  # it learnt that it stays out before it could speak",
        (f"{_ROUTERS}test_a_process_whose_node_learns_before_it_speaks_that_it_stays_out_waits_no_longer_for_it",),
    ),
]
