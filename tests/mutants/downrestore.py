"""Mutants of restores and imports while a node is down (ADR 0091), of damaged lineages, and of what verify and status tell of partitions that were split and of former members."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_HERE = "tests/unit/control/test_restore_degraded.py::"
_TWO = (_HERE + "test_two_of_three_make_the_table_and_the_third_copy_is_healed_when_its_node_is_back",)
_QUORUM = ("tests/unit/pitr/test_restore.py::test_as_many_copies_as_are_a_quorum_make_the_table_and_fewer_do_not",)
_FEW = (_HERE + "test_with_two_of_three_down_it_is_refused_by_name_and_resumed_later",)
_RUNS = (_HERE + "test_a_node_that_runs_and_cannot_load_begins_without_and_is_healed",)
_ONCE = (_HERE + "test_a_node_is_waited_for_once_however_many_partitions_there_are",)
_LATE = (_HERE + "test_a_base_that_comes_after_the_table_is_served_is_not_taken",)
_DIED = (_HERE + "test_a_copy_that_died_before_its_log_began_loads_again",)
_CYCLE = (
    "tests/unit/archiver/test_split_archive.py::test_two_partitions_that_are_said_to_be_each_others_parent_are_a_damaged_lineage_and_nobody_follows_it_for_ever",
)
_FORMER = (
    "tests/unit/archiver/test_archive_verify.py::test_former_members_that_are_gone_are_missed_where_a_later_one_is_there_or_they_are_remembered",
)
_TOLD = (
    "tests/unit/server/test_health.py::test_what_was_found_of_a_partition_that_was_split_is_told_until_a_scrub_of_its_halves_has_told_of_it",
)
_NEW = "pitr/new_table.py"
_HOSTING = "storage/node/hosting.py"
_INDEX = "archiver/read/partition.py"
_LOOK = "archiver/read/index.py"
_SMALL = "archiver/verify/small.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "downrestore-needs-one",
        _NEW,
        "len(info.members) // 2 + 1)",
        "1)",
        _QUORUM,
    ),
    Mutant(
        "downrestore-needs-all",
        _NEW,
        "return min(len(info.members) - len(info.logs), len(info.members) // 2 + 1)",
        "return len(info.members) - len(info.logs)",
        _TWO,
    ),
    Mutant(
        "downrestore-forgets-who-lacks-its-base",
        "storage/control/service.py",
        'return node.name in done and (facts is None or facts.state != "base")',
        "return node.name in done",
        _DIED,
    ),
    Mutant("downrestore-waits-for-each-partition", _NEW, "        self._missed.update(found.lacking)\n", "", _ONCE),
    Mutant(
        "downrestore-waits-for-none",
        _NEW,
        "or not self._missed.issuperset(found.lacking)):",
        "):",
        (_HERE + "test_a_node_that_is_back_before_it_is_given_up_loads_its_copy",),
    ),
    Mutant(
        "downrestore-asks-for-minutes",
        "pitr/steadily.py",
        "            if now_us >= end_us:\n                raise\n",
        "",
        _FEW,
    ),
    Mutant("downrestore-degraded-for-ever", "pitr/service.py", 'if not self._whole(one["partition"], one["node"])]', "]", _TWO),
    Mutant(
        "downrestore-welcomes-nobody",
        "storage/control/service.py",
        "        if absent:\n            self._tables.host(meta)",
        "        if False:\n            self._tables.host(meta)",
        _TWO,
    ),
    Mutant(
        "downrestore-waits-for-its-base-for-ever",
        _HOSTING,
        "if isinstance(present, Replica) and present.state == BASE and not",
        "if False and not",
        _RUNS,
    ),
    Mutant(
        "downrestore-late-copy-is-rotten",
        _HOSTING,
        '        replica.lacks_its_tree("the base of this restored table never came here")',
        '        replica.behind = True\n        replica.suspect("the base of this restored table never came here")',
        _RUNS,
    ),
    Mutant(
        "downrestore-begins-empty",
        _HOSTING,
        "            if _published(table, info):\n                self._begin_without_base(replica)\n            else:\n                self._create_log(replica)\n                self._open(replica, None)\n",
        "            self._create_log(replica)\n            self._open(replica, None)\n",
        (*_TWO, *_FEW),
    ),
    Mutant(
        "downrestore-takes-a-late-base",
        "storage/node/healing.py",
        "        if replica.state != BASE:\n            tree.close()",
        "        if False:\n            tree.close()",
        _LATE,
    ),
    Mutant(
        "lineage-follows-anything",
        _INDEX,
        "return None if self.misled() is not None else self._named_parent",
        "return self._named_parent",
        _CYCLE,
    ),
    Mutant("lineage-read-again-and-again", _LOOK, "        if key in look.reading:\n", "        if False:\n", _CYCLE),
    Mutant("lineage-refreshed-for-ever", _LOOK, "if partition is None or partition in seen:", "if partition is None:", _CYCLE),
    Mutant("lineage-damage-unnamed", "archiver/verify/partition.py", "        self._lineage(index)\n", "", _CYCLE),
    Mutant("lineage-damage-is-a-hole", "scrubber/shelves.py", "    if misled is not None:\n", "    if False:\n", _CYCLE),
    Mutant("former-gap-unseen", _SMALL, "        for number in missing:\n", "        for number in []:\n", _FORMER),
    Mutant(
        "former-gaps-told-without-end", _SMALL, "min(max(there, default=0), len(there) + FORMERS_NAMED)", "max(there, default=0)", _FORMER
    ),
    Mutant(
        "former-findings-told-by-no-scrub",
        "scrubber/partition.py",
        "*told_by(self._table, PartitionId(self._partition)))",
        ")",
        _TOLD,
    ),
    Mutant(
        "former-findings-told-by-each-half",
        "storage/catalogue.py",
        "        if heir == partition:\n            found.append(former)\n",
        "        found.append(former)\n",
        _TOLD,
    ),
    Mutant(
        "former-findings-told-again-and-again",
        "scrubber/run.py",
        "dict.fromkeys([part.partition, *(found.partition for found in part.reported)])",
        "[part.partition]",
        _TOLD,
    ),
    Mutant(
        "former-findings-in-no-status",
        "server/health.py",
        "for at in stored.partitions for finding in self._control.service.findings(PartitionId(at))]",
        "for at in ids for finding in self._control.service.findings(PartitionId(at))]",
        _TOLD,
    ),
    Mutant(
        "former-verify-in-no-status",
        "server/health.py",
        '[1] == "mismatch" for at in stored.partitions)',
        '[1] == "mismatch" for at in ids)',
        _TOLD,
    ),
    Mutant(
        "former-object-told-twice",
        "scrubber/report.py",
        "one.partition if one.object is None else None, *place",
        "one.partition, *place",
        ("tests/unit/scrubber/test_scrub_run.py::test_an_object_is_told_of_once_though_a_half_of_what_was_split_met_it_again",),
    ),
    Mutant(
        "downrestore-learns-from-waiting",
        "pitr/restore.py",
        "if not any(part.lacking for part in self.job.partitions):",
        "if True:",
        _QUORUM,
    ),
    Mutant(
        "downrestore-founded-with-who-stands-in",
        "pitr/prepare.py",
        "if one in _numbers(info.members) and one in _numbers(members)",
        "if one in _numbers(members)",
        (
            "tests/sim/test_standing_in.py::test_a_table_is_restored_to_nodes_that_are_up_and_for_one_that_dies_meanwhile_a_log_replica_stands_in",
        ),
    ),
]
