"""Mutants of what the archive knows of splits (ADR 0078): each takes one guard away, or lets one reader forget the parent."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_AT = "tests/unit/archiver/test_split_archive.py::"
_EVERY = (_AT + "test_a_child_and_its_child_are_rebuilt_at_every_lsn",)
_LOST = (_AT + "test_what_a_parent_lost_is_a_hole_in_front_of_its_children_until_they_have_bases_of_their_own",)
_WINDOWS = (_AT + "test_windows_go_on_from_one_to_the_next_without_a_hole",)
_BEGAN = (_AT + "test_what_a_child_says_that_it_began_with_must_be_what_its_parent_had",)
_LIES = (_AT + "test_a_manifest_that_tells_of_another_beginning_is_not_used_and_one_that_its_records_do_not_bear_out_is_found",)
_PLAN = (_AT + "test_a_plan_names_what_is_inherited_and_a_job_makes_it",)
_GOLDEN = ("tests/unit/archiver/test_archive_golden.py::test_manifests_of_a_child",)
_FOLLOW = "tests/unit/control/test_split_follow.py::"
_EXPIRE = "tests/unit/archiver/test_split_expire.py::"
_RESTORE = "tests/unit/pitr/test_split_restore.py::"
_INDEX = "archiver/read/partition.py"
_INHERITED = "archiver/read/inherited.py"
_LOOK = "archiver/read/index.py"
_ALONE = "test_a_child_that_is_looked_at_alone_does_not_lack_what_its_parent_came_to_since_the_last_look"
_GREW = "test_a_child_that_grew_does_not_lack_its_beginning_though_nobody_told_of_its_parent"

_LOG = "tests/unit/control/test_split_whole.py::test_who_keeps_the_log_alone_archives_what_a_child_says_of_its_beginning"
_KNOWS = "tests/unit/storage/test_segments.py::test_of_a_child_a_log_replica_knows_what_the_first_segment_goes_on_from"

MUTANTS = [
    Mutant(
        "split-log-reads-no-birth",
        "storage/replica/follow.py",
        "None if self._digests else birth_in(record)",
        "None",
        (f"{_LOG}[its log begins with it]",),
    ),
    Mutant(
        "split-half-heals-by-its-manifests-alone",
        "scrubber/shelves.py",
        "        if told is not None and told.born is not None and (index is None or index.place is None):\n",
        "        if False:\n",
        ("tests/unit/control/test_split_whole.py::test_a_half_that_lacks_one_of_two_trees_is_healed_by_its_parents_archive",),
    ),
    Mutant(
        "split-log-asks-for-no-birth",
        "archiver/write/settling.py",
        "        if not self._source.knows_birth(segment.partition):\n",
        "        if False:\n",
        (f"{_LOG}[it was let go of]",),
    ),
    Mutant(
        "split-log-takes-any-beginning",
        "storage/replica/segments.py",
        "return begun if chains.next_chain(born.chain, self._link_of(begun, said)) == said.chain else own",
        "return begun",
        (f"{_KNOWS}[something else]",),
    ),
    Mutant(
        "split-log-knows-no-beginning",
        "storage/replica/follow.py",
        "            self.birth, self.segments.born = birth, birth.born\n",
        "            self.birth = birth\n",
        ("tests/unit/control/test_split_whole.py::test_who_keeps_the_log_alone_keeps_the_childrens_too",),
    ),
    Mutant(
        "split-child-judged-before-its-parent",
        _LOOK,
        "        await self._parent_first(draft, index, look)\n        if draft.worse_than(index):\n            told = index.told\n            again",
        "        if draft.worse_than(index):\n            told = index.told\n            again",
        (_AT + _ALONE,),
    ),
    Mutant(
        "split-child-looked-for-before-its-parent",
        _LOOK,
        "            draft = await self._drafted(index, again, end, told)\n            await self._parent_first(draft, index, look)\n",
        "            draft = await self._drafted(index, again, end, told)\n",
        (_AT + "test_a_listing_that_has_a_child_and_not_yet_the_end_of_its_parent_is_no_hole[children missed]",),
    ),
    Mutant(
        "split-child-judged-by-an-older-look-at-its-parent",
        _LOOK,
        "        if parent is None or child.inherits() is not None:\n",
        "        if parent is None or child.parent is not None:\n",
        (_AT + _ALONE,),
    ),
    Mutant(
        "split-parent-read-again-by-older-names",
        _LOOK,
        "            if key not in look.parents:  # else",
        "            if key in key:  # else",
        (_AT + "test_a_listing_that_has_a_child_and_not_yet_the_end_of_its_parent_is_no_hole[children first]",),
    ),
    Mutant(
        "split-child-grown-alone",
        _LOOK,
        "        await self._parent_first(draft, index, look)\n        if draft.worse_than(index):\n            told = index.told\n            names",
        "        if draft.worse_than(index):\n            told = index.told\n            names",
        (_AT + _GREW,),
    ),
    Mutant(
        "split-child-grown-and-looked-for-alone",
        _LOOK,
        "            await self._parent_first(again, index, look)\n",
        "",
        (_AT + _GREW,),
    ),
    Mutant("split-child-grown-before-its-parent", _LOOK, "in sorted(grown, key=lambda one: one.lsn):", "in grown:", (_AT + _GREW,)),
    Mutant(
        "split-lost-parent-looked-for-by-each-child",
        _LOOK,
        "        if key in look.parents and before",
        "        if key not in key and before",
        (_AT + "test_a_parent_whose_end_is_lost_is_looked_for_once_in_a_look_however_many_children_lack_it",),
    ),
    Mutant(
        "inherited-unproven",
        "archiver/read/rebuild.py",
        "    if found != (True, base.lsn, base.stamp, base.chain, base.total):\n",
        "    if found[:4] != (True, base.lsn, base.stamp, base.chain):\n",
        _BEGAN,
    ),
    Mutant(
        "inherited-of-all-the-parent",
        _INHERITED,
        "        return bytes.fromhex(self.lo) <= key and (not self.hi or key < bytes.fromhex(self.hi))\n",
        "        return bytes.fromhex(self.lo) <= key\n",
        _EVERY,
    ),
    Mutant(
        "inherited-with-its-bound",
        _INHERITED,
        "(not self.hi or key < bytes.fromhex(self.hi))\n",
        "(not self.hi or key[:1] <= bytes.fromhex(self.hi)[:1])\n",
        (_AT + "test_a_row_lies_in_one_half_alone",),
    ),
    Mutant(
        "inherited-without-the-grandparent",
        _INDEX,
        "else None if start is None else parent.inheritance()\n",
        "else None\n",
        _EVERY,
    ),
    Mutant("inherited-for-ever", _INDEX, "if self._rests is None or self._rests[0] is not summary or", "if self._rests is None or", _LOST),
    Mutant(
        "inherited-summary-for-ever",
        _INDEX,
        "if one._summary is None or one._rested is not rests:",
        "if one._summary is None:",
        (_AT + "test_a_child_is_judged_anew_once_something_is_learned_of_what_it_came_of",),
    ),
    Mutant(
        "child-like-any-other",
        _INDEX,
        "        return child_facts(own, born, None if rests is None else rests.start)\n",
        "        return own\n",
        _WINDOWS,
    ),
    Mutant(
        "inherited-cost-of-nothing",
        _INDEX,
        "            before.stored + sum(row.stored for row in rows), before.raw + sum(row.raw for row in rows), before.requests + 2 * objects\n",
        "            before.stored, before.raw, before.requests\n",
        _PLAN,
    ),
    Mutant("lineage-in-front", "archiver/format/manifest.py", "    if lsn < born.lsn or stamp < born.stamp:\n", "    if False:\n", _GOLDEN),
    Mutant(
        "lineage-goes-on-from-anything",
        "archiver/format/manifest.py",
        "    if lsn == born.lsn and (chain, total) != (born.chain, born.total):\n",
        "    if False:\n",
        _GOLDEN,
    ),
    Mutant(
        "lineage-of-itself",
        "archiver/format/manifest.py",
        '    if born is not None and born.parent == ids["partition"]:\n',
        "    if False:\n",
        _GOLDEN,
    ),
    Mutant(
        "lineage-of-one-manifest-alone",
        "archiver/read/manifests.py",
        "    if isinstance(found, Fault) or rows.place is None or rows.place.born == found.born:\n",
        "    if True:\n",
        _LIES,
    ),
    Mutant(
        "lineage-not-as-the-records-say",
        "archiver/format/records.py",
        "    if said != (None if manifest.born is None else born_facts(manifest.born)):\n",
        "    if False:\n",
        _LIES,
    ),
    Mutant(
        "verify-without-parents",
        "archiver/verify/partition.py",
        "        await self._look_at_parents(index)\n",
        "        pass\n",
        _WINDOWS,
    ),
    Mutant(
        "restore-of-the-partitions-of-now",
        "pitr/planning.py",
        "        self.source = as_of(source, at_us)\n",
        "        self.source = source\n",
        (_RESTORE + "test_an_export_and_a_backup_see_the_table_as_it_was",),
    ),
    Mutant(
        "split-while-it-is-planned",
        "pitr/planning.py",
        "        if {info.partition_id for info in self.source.partitions} != {info.partition_id for info in before.partitions}:\n",
        "        if False:\n",
        (_RESTORE + "test_a_split_that_becomes_known_while_a_restore_is_planned_is_said",),
    ),
    Mutant(
        "window-of-the-children-alone",
        "archiver/lineage.py",
        "        left_over[parent] = joined(left_over.get(parent, unknown), halves)\n",
        "        left_over |= dict(zip(children, halves, strict=True)) if left_over.pop(parent, None) else {}\n",
        (_RESTORE + "test_a_table_is_restored_to_before_at_and_after_a_split",),
    ),
    Mutant(
        "window-splits-oldest-first",
        "archiver/lineage.py",
        "    for parent, *children in reversed(splits):\n",
        "    for parent, *children in splits:\n",
        (_RESTORE + "test_a_table_is_restored_to_before_at_and_after_a_split",),
    ),
    Mutant(
        "history-ends-at-the-split",
        "pitr/timeline/service.py",
        "        line.append(found[parent.info.partition_id])\n",
        "        break\n",
        (_RESTORE + "test_diff_history_and_undo_go_across_splits",),
    ),
    Mutant(
        "diff-with-all-the-parent",
        "pitr/timeline/service.py",
        "            chosen = selection if path.within is None else selection.within(path.within)\n",
        "            chosen = selection\n",
        (_RESTORE + "test_diff_history_and_undo_go_across_splits",),
    ),
    Mutant(
        "parent-goes-before-its-heirs-stand",
        "archiver/expire/plan.py",
        "        if not resting:\n",
        "        if True:\n",
        (_EXPIRE + "test_a_parent_goes_when_both_children_stand_alone_and_not_before",),
    ),
    Mutant(
        "parent-goes-over-a-pin-of-its-last-moment",
        "archiver/expire/plan.py",
        "need.at_us > wanted.dropped_at_us\n",
        "need.at_us >= wanted.dropped_at_us\n",
        (),
        "its children keep the moment of its end as well, and what they inherit with it",
    ),
    Mutant(
        "parent-held-by-every-pin",
        "archiver/expire/plan.py",
        "    behind = bool(wanted.heirs) and",
        "    behind = False and",
        (_EXPIRE + "test_a_parent_goes_behind_a_pin_of_its_children_that_stand_alone",),
    ),
    Mutant(
        "child-without-base-says-nothing",
        "archiver/expire/plan.py",
        "by_age in (0, begun):\n",
        "by_age == 0:\n",
        (_EXPIRE + "test_nothing_of_a_child_goes_that_is_not_its_own",),
    ),
    Mutant(
        "stream-of-the-parent-goes-on",
        "storage/catalogue.py",
        "        shards += [msgspec.structs.replace(shard, last=lsn), *children]\n",
        "        shards += [shard, *children]\n",
        (_FOLLOW + "test_what_a_map_does_to_streams_that_are_on_going_off_and_off",),
    ),
    Mutant(
        "stream-that-ended-goes-on-in-children",
        "storage/catalogue.py",
        "        if shard.partition_id != split.parent or shard.last is not None:\n",
        "        if shard.partition_id != split.parent:\n",
        (_FOLLOW + "test_what_a_map_does_to_streams_that_are_on_going_off_and_off",),
    ),
    Mutant(
        "stream-turned-off-reopens-the-parent",
        "storage/control/streams.py",
        "if one.last is None else one for one in before.shards",
        "for one in before.shards if one.partition_id in stated",
        (_FOLLOW + "test_what_a_map_does_to_streams_that_are_on_going_off_and_off",),
    ),
    Mutant(
        "index-of-a-child-begins-anew",
        "storage/control/indexing/feeding.py",
        "        if former is None:\n",
        "        if True:\n",
        (_FOLLOW + "test_an_index_is_fed_to_the_end_of_the_parent_and_then_from_both_children",),
    ),
    Mutant(
        "index-of-a-child-before-its-parents-end",
        "storage/control/indexing/feeding.py",
        "        before = await parent._end(place, before, end)\n",
        "        pass\n",
        (_FOLLOW + "test_an_index_is_fed_to_the_end_of_the_parent_and_then_from_both_children",),
    ),
    Mutant(
        "recovery-goes-by-the-catalogue-alone",
        "pitr/recover/parent.py",
        "            or stamp_micros(born.stamp) >= at_us\n",
        "            or True\n",
        (_RESTORE + "test_a_recovery_goes_by_the_logs_where_the_catalogue_had_not_heard_yet",),
    ),
    Mutant(
        "recovery-split-too-early",
        "pitr/recover/parent.py",
        "            or stamp_micros(born.stamp) >= at_us\n",
        "            or False\n",
        (_RESTORE + "test_a_recovery_goes_by_the_logs_where_the_catalogue_had_not_heard_yet",),
    ),
    Mutant(
        "recovery-before-the-table-was-made",
        "pitr/recover/moment.py",
        "    return piece.table.created_at if parent is None else parent.closed_us + 1\n",
        "    return piece.table.created_at\n",
        ("tests/unit/pitr/test_recover_moment.py::test_a_child_of_a_split_stands_in_nobodys_way_before_it_was_there",),
    ),
    Mutant(
        "parent-forgotten-while-its-end-is-spoilt",
        "storage/control/splits.py",
        "            elif self._fleet.archived(former.info.partition_id) >= former.final.lsn:\n",
        "            elif True:\n",
        ("tests/sim/test_whole_spoilt.py::test_what_was_split_is_written_anew_too",),
    ),
]
