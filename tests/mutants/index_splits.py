"""Mutants of global indexes whose partitions are split (ADR 0087)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_CATALOGUE = "storage/catalogue.py"
_FEEDING = "storage/control/indexing/feeding.py"
_KEEPER = "storage/control/indexing/keeper.py"
_HELD = "tests/unit/control/test_index_splits.py::"
_BOTH = (_HELD + "test_an_index_is_what_its_table_says_through_splits_of_both_and_its_past_goes",)
_UNFED = (_HELD + "test_what_was_not_fed_when_both_were_split_is_fed_to_the_right_halves",)
_OLD_MAP = (_HELD + "test_who_feeds_by_an_old_map_is_refused_what_lies_in_both_halves_and_takes_nothing_to_the_wrong_one",)
_BACKFILL = (_HELD + "test_a_backfill_goes_on_where_it_was_when_its_index_is_split",)
_GOES = (_HELD + "test_nothing_is_left_of_an_index_that_goes_while_it_is_split",)
_KNOWN = (_HELD + "test_what_was_split_is_known_until_all_are_told_how_far_it_was_fed_and_its_log_is_settled",)
_AWAY = (_HELD + "test_a_node_that_was_away_meanwhile_has_good_copies_of_the_halves_in_the_end",)
_BACK = (_HELD + "test_a_node_that_goes_before_it_is_told_forgets_what_was_split_when_it_is_back",)
_BESIDE = (_HELD + "test_one_that_is_built_beside_another_is_split_too_and_keeps_that_when_it_takes_its_place",)
_REBUILT = (_HELD + "test_a_restore_of_before_and_after_makes_the_index_anew_and_a_rebuilt_index_keeps_its_own_splits",)
_OLDER = (_HELD + "test_an_older_release_beside_it_keeps_an_index_whole",)
_GROWS = (_HELD + "test_an_index_that_grows_is_split_by_itself_and_the_table_beside_it",)
_COMPARES = (_HELD + "test_who_compares_goes_on_in_the_halves_of_what_is_split_under_it",)
_COUNT = (_HELD + "test_splits_of_indexes_count_as_any_and_say_why_they_wait",)
_GONE = (_HELD + "test_a_node_that_is_told_to_forget_a_half_while_it_commits_it_goes_on",)
_NO_ROOM = (_HELD + "test_a_node_without_room_for_the_halves_makes_none_of_them_and_says_why",)
_BY_HAND = ("tests/unit/server/test_table_splits.py::test_a_partition_of_an_index_is_split_by_hand",)

MUTANTS = [
    Mutant(
        "index-split-past-before-what-takes-its-place",
        _KEEPER,
        "        if index.next is not None and index.next.made and await self.filled(table, index.next):\n",
        "        await self._retire(table, index)\n        if index.next is not None and index.next.made and await self.filled(table, index.next):\n",
        (_HELD + "test_an_index_that_was_split_and_of_which_nobody_tells_how_far_it_was_fed_gives_way",),
    ),
    Mutant(
        "index-split-rows-to-whoever-has-the-note",
        "storage/control/router.py",
        "        return [key for _, key, _ in command.rows]\n",
        "        return []\n",
        _OLD_MAP,
    ),
    Mutant(
        "index-split-old-map-for-ever",
        _FEEDING,
        "        if known.partitions != self._target.partitions:\n            self._target = known\n",
        "        if False:\n            self._target = known\n",
        _BOTH,
    ),
    Mutant(
        "index-split-half-begins-anew",
        _FEEDING,
        "await self._known(info) or await self._as_before(info)) for info",
        "await self._known(info)) for info",
        _UNFED,
    ),
    Mutant(
        "index-split-one-is-fed-before-all-are-told",
        _FEEDING,
        "{info.partition_id: fed for info, fed in await parent._spread()}",
        "{info.partition_id: await parent._known(info) for info in self._target.partitions}",
        _UNFED,
    ),
    Mutant(
        "index-split-half-is-filled-anew",
        _FEEDING,
        '        if before.cursor != b"" and fed.cursor == b"" and fed.lsn == before.lsn:\n',
        "        if False:\n",
        _UNFED,
    ),
    Mutant(
        "index-split-child-begins-with-the-lowest",
        _FEEDING,
        "in reversed(await self._spread()):",
        "in await self._spread():",
        (_HELD + "test_what_a_parent_left_unfed_comes_to_both_halves_though_the_feed_of_its_child_began_with_one_of_them",),
    ),
    Mutant(
        "index-split-half-as-the-other-is-by-now",
        _FEEDING,
        "await self._known(place) or await self._begin_as(place, before)",
        "await self._begin_as(place, before)",
        (_HELD + "test_a_half_that_another_began_meanwhile_is_taken_as_that_one_says",),
    ),
    Mutant(
        "index-split-filled-as-it-was",
        _KEEPER,
        "return self._parts.metadata.known(target).partitions == index.partitions  #",
        "return True  #",
        (_HELD + "test_an_index_that_is_split_while_it_is_looked_at_is_not_taken_for_filled",),
    ),
    Mutant(
        "index-split-backfill-begins-anew",
        _FEEDING,
        "FeedCommand.PAGE, 0, before.lsn, next=before.cursor))",
        "FeedCommand.PAGE, 0, before.lsn, next=before.cursor)) if before.cursor is None else fed",
        _BACKFILL,
    ),
    Mutant(
        "index-split-backfill-is-taken-for-whole",
        _FEEDING,
        "FeedCommand.PAGE, 0, before.lsn, next=before.cursor))",
        "FeedCommand.PAGE, 0, before.lsn))",
        _BACKFILL,
    ),
    Mutant(
        "index-split-remains-forgotten",
        _CATALOGUE,
        "for one in (index, index.next) if one is not None for info in placed(index_table(table, one))])",
        "for one in (index, index.next) if one is not None for info in one.partitions])",
        _GOES,
    ),
    Mutant(
        "index-split-archived-by-whom",
        "storage/control/store.py",
        "found |= {info.partition_id for one in index_tables(table) for info in placed(one)}",
        "found |= {info.partition_id for one in index_tables(table) for info in one.partitions}",
        _GOES,
    ),
    Mutant("index-split-past-goes-untold", _KEEPER, "await self._every(table, index, lambda _: True)", "True", _KNOWN),
    Mutant("index-split-past-goes-unsettled", _KEEPER, "if one.archived_at is not None and fresh", "if fresh", _KNOWN),
    Mutant(
        "index-split-past-goes-before-a-copy-has-begun",
        _KEEPER,
        " and fresh.isdisjoint((one.split.left, one.split.right))]",
        "]",
        _AWAY,
    ),
    Mutant(
        "index-split-past-goes-and-its-copies-stay",
        _KEEPER,
        "gone=(*(known.gone or ()), *[former.info for former in over]))",
        "gone=known.gone)",
        _BACK,
    ),
    Mutant("index-split-beside-forgets", _KEEPER, "                        former=one.next.former,\n", "", _BESIDE),
    Mutant(
        "index-split-anew-remembers",
        _CATALOGUE,
        "        former=msgspec.UNSET,\n    )\n    return plain\n",
        "    )\n    return plain\n",
        _REBUILT,
    ),
    Mutant(
        "index-split-by-any-release",
        "storage/control/splits.py",
        "    return SPLITTING_INDEXES if table.index_of else SPLITTING\n",
        "    return SPLITTING\n",
        _OLDER,
    ),
    Mutant(
        "index-split-not-by-size",
        "storage/control/by_size.py",
        "        return [one for table in tables for one in (table, *index_tables(table)) if one.status in IN_USE]\n",
        "        return tables\n",
        _GROWS,
    ),
    Mutant(
        "index-split-counts-for-nothing",
        "storage/control/by_size.py",
        '        if table.status != "DROPPED"\n        for one in (table, *index_tables(table))\n',
        '        if table.status != "DROPPED"\n        for one in (table,)\n',
        _COUNT,
    ),
    Mutant(
        "index-split-comparison-ends",
        "storage/control/indexing/proof.py",
        "                if was_split(error) and place",
        "                if False and place",
        _COMPARES,
    ),
    Mutant(
        "index-split-by-the-tables-key",
        "server/table_splits.py",
        "_cut(owner, at) if found is None else",
        "_cut(owner, at) if True else",
        _BY_HAND,
    ),
    Mutant(
        "index-proof-of-one-that-gave-way",
        "storage/control/indexing/proof.py",
        "return self._parts.metadata.tables.get(table.table_id, table).global_indexes or ()",
        "return table.global_indexes or ()",
        (_HELD + "test_who_has_known_a_table_for_long_compares_the_index_that_took_the_place_of_another",),
    ),
    Mutant(
        "split-child-gone-while-it-is-committed",
        "storage/node/splitting.py",
        "            self._look(division)  # the child may be gone from here by now, with what was in memory\n",
        "",
        _GONE,
    ),
    Mutant(
        "index-split-of-who-takes-the-place-forgotten",
        _KEEPER,
        "                        split=one.next.split,\n",
        "",
        (_HELD + "test_what_takes_the_place_of_another_while_it_is_to_be_split_is_split",),
    ),
    Mutant(
        "index-split-begun-by-an-old-map",
        _FEEDING,
        "        if target.partitions != self._target.partitions:\n            raise",
        "        if False:\n            raise",
        (_HELD + "test_a_feed_by_an_old_map_begins_nothing",),
    ),
    Mutant(
        "split-in-a-node-without-room",
        "storage/node/splitting.py",
        "        if free < need:\n            raise",
        "        if False:\n            raise",
        _NO_ROOM,
    ),
    Mutant(
        "split-before-there-are-trees",
        "storage/node/splitting.py",
        "(max(1, parent.applied - division.at) if division.made else",
        "(max(1, parent.applied - division.at) if True else",
        _NO_ROOM,
    ),
    Mutant(
        "loaded-copy-counts-headers",
        "storage/node/healing.py",
        "HEADER_SIZE * rows, tally.sizes",
        "HEADER_SIZE * tally.digest.total().rows, tally.sizes",
        _BOTH,
    ),
]
