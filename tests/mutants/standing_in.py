"""Mutants of log replicas that stand in, and of partitions with fewer copies than three: which step comes next, what a log replica keeps, what is told, and who is asked."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_STEP = "tests/unit/server/test_standing_in.py::test_the_next_step"
_TREE = "tests/unit/server/test_standing_in.py::test_the_node_that_has_the_log_makes_the_tree_where_no_other_is_there"
_TOLD = "tests/unit/server/test_standing_in.py::test_the_group_is_told_once_the_tree_is_whole"
_FILE = "tests/unit/node/test_log_members.py"
_SIM = "tests/sim/test_standing_in.py::"
_STANDS = _SIM + "test_a_log_replica_stands_in_within_seconds_and_rests_when_the_node_is_back"
_GROWS = _SIM + "test_who_is_lost_for_good_is_removed_and_the_one_with_the_log_makes_the_tree"
_ALONE = _SIM + "test_where_there_is_no_fourth_node_nothing_changes_and_it_is_said"
_CODE = "server/standing_in.py"
_CONFIG = "tests/unit/consensus/test_membership.py"

_GOES = _SIM + "test_a_log_that_nobody_needs_any_more_goes_and_another_member_stands_in_the_next_time"
_NEEDED = "tests/unit/server/test_standing_in.py::test_a_log_only_stands_by_while_all_that_should_be_there_are_whole"

MUTANTS: list[Mutant] = [
    Mutant(
        "log-stands-by-for-good",
        "server/relocating.py",
        "            if not move.left and self._stands_by_long(one, info, configuration, placed, lost, copies):\n",
        "            if False:\n",
        (_GOES,),
    ),
    Mutant(
        "log-goes-at-once",
        "server/relocating.py",
        "        return now_us - self._stand_by_us.setdefault(info.partition_id, now_us) >= self._logs_kept_us\n",
        "        return True\n",
        (_GOES,),
    ),
    Mutant(
        "log-goes-while-one-is-not-whole",
        _CODE,
        '        if copy is None or not copy.up or copy.tree != "ok" or copy.behind:\n',
        "        if copy is None or not copy.up:\n",
        (_NEEDED,),
    ),
    Mutant(
        "log-goes-while-it-votes",
        _CODE,
        "    if any(place.vote is Vote.VOTES and place.member.node in info.logs for",
        "    if any(False for",
        (_NEEDED,),
    ),
    Mutant("log-goes-while-two-are-left", _CODE, "    return len(storage) >= COPIES\n", "    return True\n", (_NEEDED,)),
    Mutant(
        "log-that-left-keeps-its-place",
        _CODE,
        "        if known and place is not None and placed.wanted(info, number).incarnation <= place.member.incarnation:\n",
        "        if False:\n",
        ("tests/unit/server/test_standing_in.py::test_a_log_leaves_its_group_before_its_copy_goes",),
    ),
    Mutant(
        "few-copies-unsaid",
        "server/problems.py",
        "    if len(part.copies) < COPIES:\n",
        "    if False:\n",
        ("tests/unit/server/test_problems.py",),
    ),
    Mutant(
        "few-asks-who-holds-none",
        "storage/control/router.py",
        "(not self._reads(name, partition), fresh is",
        "(False, fresh is",
        ("tests/unit/control/test_router.py::test_a_node_that_holds_no_copy_is_not_asked_while_another_answers",),
    ),
    Mutant(
        "stands-in-for-nobody",
        _CODE,
        "    if not any(number in lost for number in (*[member.node for member in out], *placed.storage(info))):\n",
        "    if True:\n",
        (_STEP,),
    ),
    Mutant("stands-in-before-its-log", _CODE, "copy.up and copy.logged and copy.incarnation", "copy.up and copy.incarnation", (_STEP,)),
    Mutant("stands-in-with-a-gap", _CODE, "    if copy.behind or copy.vote != ", "    if copy.vote != ", (_STEP,)),
    Mutant(
        "stands-in-far-behind",
        _CODE,
        '    if copy.applied + LAG_MAX < leader.applied:\n        return Move(f"its log lacks',
        '    if False:\n        return Move(f"its log lacks',
        (_STEP,),
    ),
    Mutant(
        "stands-in-beside-the-lost",
        _CODE,
        '    if out:\n        return Move("the lost member rests"',
        '    if False:\n        return Move("the lost member rests"',
        (_STEP,),
    ),
    Mutant("stands-in-for-ever", _CODE, "        if logs and len(fit) - len(logs) >= COPIES:\n", "        if False:\n", (_STEP,)),
    Mutant("stands-in-rests-too-early", _CODE, "        if logs and len(fit) - len(logs) >= COPIES:\n", "        if logs:\n", (_STEP,)),
    Mutant(
        "stands-in-where-it-was-gone",
        "server/copy_moves.py",
        "    if place is None or place.member.incarnation < member.incarnation:\n",
        "    if True:\n",
        (_STEP,),
    ),
    Mutant(
        "stands-in-where-the-node-is-out",
        _CODE,
        "for site in placed.sites if site.up and site.member.node not in lost",
        "for site in placed.sites if site.member.node not in lost",
        (_STEP,),
    ),
    Mutant("stands-in-amnesiac", _CODE, ' or (copy is not None and copy.vote == "amnesiac")', "", (_STEP,)),
    Mutant("stands-in-never-given-up", _CODE, "        if number in info.logs and number in lost:\n", "        if False:\n", (_STEP,)),
    Mutant("stands-in-from-the-first-record", _CODE, "(copy.behind or copy.applied + LAG_MAX < leader.archived)", "False", (_STEP,)),
    Mutant("grows-before-its-tree", _CODE, 'if copy.tree != "ok" or copy.behind or', "if copy.behind or", (_TOLD,)),
    Mutant("grows-never", "server/relocating.py", "        number = placed.grower(info)\n", "        number = 0\n", (_TREE,)),
    Mutant("grows-at-a-zones-price", "server/copy_moves.py", "if zones_kept(before, [*staying, site])), 0)", "if True), 0)", (_TREE,)),
    Mutant(
        "log-members-unchecked", "storage/node/log_members.py", ' or crc != crc32c_masked(struct.pack("<Q", lsn) + payload)', "", (_FILE,)
    ),
    Mutant("log-members-half-said", "storage/node/log_members.py", " or bool(lsn) != bool(payload)", "", (_FILE,)),
    Mutant(
        "log-keeps-no-members",
        "storage/replica/log_replica.py",
        "            self.node.keep_log_members(self.partition, told.lsn, told.payload)\n",
        "",
        (_SIM + "test_a_log_replica_that_starts_again_knows_who_is_a_member",),
    ),
    Mutant(
        "log-begins-nowhere",
        "storage/replica/log_replica.py",
        "        group.installed(lsn, Stamp(0)",
        "        return\n        group.installed(lsn, Stamp(0)",
        (_STANDS,),
    ),
    Mutant(
        "rests-for-good",
        "storage/consensus/membership.py",
        "        after = place._replace(vote=Vote.LEARNER)\n",
        "        after = place._replace(vote=Vote.GONE)\n",
        (_CONFIG,),
    ),
    Mutant(
        "rests-who-rests",
        "storage/consensus/membership.py",
        '            raise Invalid("the member does not vote", node=node)\n',
        "            pass\n",
        (_CONFIG,),
    ),
    Mutant(
        "grows-what-is-grown",
        "storage/consensus/membership.py",
        '            raise Invalid("the member is a storage replica", node=node)\n',
        "            pass\n",
        (_CONFIG,),
    ),
    Mutant(
        "rests-what-is-to-grow",
        "server/standing_in.py",
        " and place.member.node in info.logs]\n        if logs",
        "]\n        if logs",
        ("tests/unit/server/test_standing_in.py::test_the_next_step",),
    ),
    Mutant(
        "log-let-in-as-a-tree",
        "server/relocating.py",
        '            or (copy is not None and copy.tree == "log")',
        "            or False",
        ("tests/unit/server/test_standing_in.py::test_a_log_that_no_config_calls_one_grows_before_it_is_let_in",),
    ),
    Mutant(
        "replacing-lets-a-log-vote",
        "server/replacing.py",
        "    if place.kind is CopyKind.LOG:\n",
        "    if False:\n",
        ("tests/unit/server/test_standing_in.py::test_who_lets_replaced_nodes_vote_leaves_a_log_that_grows_alone",),
    ),
]
