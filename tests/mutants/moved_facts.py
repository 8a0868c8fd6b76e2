"""Mutants of what a node tells of its copies: what has moved is told, and everything where that cannot be known."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_TELLING = "tests/unit/node/test_moved_facts.py"
_PEERS = "tests/unit/server/test_peer_nodes.py"
_FILE = "storage/node/moved_facts.py"
_GONE = f"{_TELLING}::test_what_the_node_runs_no_more_is_told_as_gone_and_as_there_again"
_SEED = "tests/sim/test_whole_profile.py::test_a_seed_holds[1]"

MUTANTS: list[Mutant] = [
    Mutant(
        "a-number-of-another-life-is-taken",
        _FILE,
        "        if not max(self._began, self._forgotten) < number <= self._count:\n",
        "        if not number:\n",
        (f"{_TELLING}::test_a_number_that_is_none_of_this_life_is_answered_with_all",),
    ),
    Mutant(
        "what-is-forgotten-as-gone-is-told-by-nobody",
        _FILE,
        "                self._forgotten = self._gone.pop(first)\n",
        "                self._gone.pop(first)\n",
        (f"{_TELLING}::test_who_heard_before_those_that_are_forgotten_is_told_all",),
    ),
    Mutant(
        "what-is-gone-is-not-told",
        _FILE,
        "        gone = tuple([partition for partition, gone_at in self._gone.items() if gone_at > number])\n",
        "        gone = ()\n",
        (_GONE,),
    ),
    Mutant(
        "what-is-there-again-stays-gone",
        _FILE,
        "        self._gone.pop(partition, None)\n",
        "",
        (_GONE,),
    ),
    Mutant(
        "who-is-new-is-not-looked-at",
        _FILE,
        "*sorted(members.keys() - self._told.keys()), ",
        "",
        (_GONE,),
    ),
    Mutant(
        "a-lease-that-ends-is-not-noticed",
        _FILE,
        "(group.serving(now) != told.serving or term.transacting.any)",
        "term.transacting.any",
        (f"{_TELLING}::test_a_lease_that_is_void_is_told_though_nothing_is_done_with_the_replica",),
    ),
    Mutant(
        "a-tree-that-is-given-up-stirs-nothing",
        "storage/replica/replica.py",
        "        self.node.stirred(self.partition)  # a suspect one is not scannable any more: whoever heals goes by that\n",
        "",
        (f"{_TELLING}::test_a_suspect_copy_that_follows_no_more_is_told_of[give_up_tree]",),
    ),
    Mutant(
        "a-suspect-copy-left-behind-stirs-nothing",
        "storage/replica/replica.py",
        "            self.node.stirred(self.partition)  # it may be suspect already, and no state changes\n",
        "",
        (f"{_TELLING}::test_a_suspect_copy_that_follows_no_more_is_told_of[left_behind]",),
    ),
    Mutant(
        "a-node-that-fails-stirs-nothing",
        _FILE,
        "            self._stirred.update(dict.fromkeys(members))\n",
        "            pass\n",
        (f"{_TELLING}::test_a_node_that_fails_tells_of_all_its_replicas",),
    ),
    Mutant(
        "what-the-machine-lacks-stirs-nothing",
        _FILE,
        "            self._stirred.update(dict.fromkeys((*blocked, *self._blocked)))\n",
        "",
        (f"{_TELLING}::test_why_a_tree_cannot_be_opened_is_told_and_that_it_can",),
    ),
    Mutant(
        "sums-as-they-were",
        _FILE,
        "        if at != self._count:\n",
        "        if not at:\n",
        (f"{_TELLING}::test_states_and_leaders_are_counted",),
    ),
    Mutant(
        "what-pends-is-looked-for-once",
        _FILE,
        "                self._pending.add(partition)\n",
        "",
        (f"{_TELLING}::test_what_pends_is_looked_at_until_it_pends_too_long",),
    ),
    Mutant(
        "everything-moves-with-the-clock",
        _FILE,
        "        if told is not None and told.grounds == grounds and not ended:\n",
        "        if False:\n",
        ("tests/unit/node/test_port_local.py::test_nothing_that_is_told_is_older_than_what_it_is_told_of",),
    ),
    Mutant(
        "a-log-that-is-durable-stirs-nothing",
        "storage/node/hosting.py",
        "            replica.logged = True\n            self._node.stirred(replica.partition)\n",
        "            replica.logged = True\n",
        (_SEED,),
    ),
    Mutant(
        "what-the-catalogue-says-stirs-nothing",
        "storage/replica/log_replica.py",
        "        self.table, self.info = table, info\n        self.node.stirred(self.partition)\n",
        "        self.table, self.info = table, info\n",
        (_SEED,),
    ),
    Mutant(
        "a-change-of-state-stirs-nothing",
        "storage/replica/status.py",
        "        self._because(reason)\n        self._changed()\n",
        "        self._because(reason)\n",
        (f"{_TELLING}::test_what_keeps_a_tree_from_being_opened_is_told",),
    ),
    Mutant(
        "what-keeps-a-tree-closed-stirs-nothing",
        "storage/replica/status.py",
        "        self._reason = reason\n        self._changed()\n",
        "        self._reason = reason\n",
        (f"{_TELLING}::test_what_keeps_a_tree_from_being_opened_is_told",),
    ),
    Mutant(
        "what-does-not-continue-what-is-kept-is-taken",
        "server/peer_nodes.py",
        "        elif told.since != self._upto:\n",
        "        elif False:\n",
        (f"{_PEERS}::test_what_is_no_answer_to_what_is_kept_is_not_taken",),
    ),
    Mutant(
        "a-new-connection-goes-on-from-the-old-one",
        "server/peer_nodes.py",
        "        self._status, self._used, self._upto = None, True, 0\n",
        "        self._status, self._used = None, True\n",
        (f"{_PEERS}::test_a_connection_that_ended_begins_with_everything",),
    ),
    Mutant(
        "everything-is-never-asked-for-again",
        "server/peer_nodes.py",
        "self._upto if asked_us - self._everything_us < EVERYTHING_US else 0",
        "self._upto",
        (f"{_PEERS}::test_everything_is_asked_for_now_and_then",),
    ),
    Mutant(
        "what-is-gone-is-kept",
        "server/peer_nodes.py",
        "                self._facts.pop(partition, None)\n",
        "                pass\n",
        (f"{_PEERS}::test_what_has_moved_is_asked_for_and_kept_beside_the_rest",),
    ),
    Mutant(
        "all-facts-as-they-were",
        "server/peer_nodes.py",
        "                self._facts.pop(partition, None)\n            self._all = None\n",
        "                self._facts.pop(partition, None)\n",
        (f"{_PEERS}::test_what_has_moved_is_asked_for_and_kept_beside_the_rest",),
    ),
    Mutant(
        "anothers-ballot-is-told-again",
        "storage/consensus/resignation.py",
        "                state.out.answer(node, Resign(self._told, 0))\n",
        "                state.out.answer(node, Resign(state.resigned, 0))\n",
        ("tests/unit/consensus/test_refusals.py::test_what_is_told_again_is_the_own_ballot_whatever_others_gave_up_meanwhile",),
    ),
]
