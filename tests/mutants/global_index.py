"""Mutants of global indexes: what is fed, what is taken of it, and the life of an index (tests/mutants/catalogue.py)."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_FEED = ("tests/unit/storage/test_index_feed.py",)
_WHOLE = "tests/unit/control/test_global_indexes.py::"
_ROWS = (_WHOLE + "test_rows_are_those_of_the_items_and_nobody_else_sees_the_tables_they_lie_in[1]",)
_GONE = (_WHOLE + "test_a_removed_index_and_those_of_a_removed_table_leave_nothing_behind",)
_ANEW = (_WHOLE + "test_an_index_with_a_bad_copy_is_built_anew_beside_itself",)
_RESTORED = (_WHOLE + "test_a_restore_builds_the_indexes_that_the_new_table_has",)
_LAG = (_WHOLE + "test_a_lag_is_told_and_is_over_when_the_index_has_caught_up",)
_PROOF = (_WHOLE + "test_a_scrub_finds_a_row_of_an_index_that_is_not_its_items_and_has_the_index_built_anew",)
_UNFED = (_WHOLE + "test_a_scrub_is_no_match_while_an_index_cannot_be_compared_and_writes_are_no_fault",)
_TROUBLES = "tests/unit/control/test_global_index_troubles.py::"
_STOP = (_TROUBLES + "test_a_planned_stop_waits_for_no_word_of_an_index_that_nobody_archives",)
_TURNED = (_TROUBLES + "test_a_stream_that_is_turned_on_while_an_index_is_filled_comes_on",)
_TO_AND_FRO = (_TROUBLES + "test_an_item_that_goes_to_and_fro_while_it_is_compared_is_no_fault",)
_FAR = (_TROUBLES + "test_an_index_far_behind_is_not_compared_rather_than_remembered_row_by_row",)
_HELD = (_TROUBLES + "test_while_an_index_is_compared_no_log_is_kept_and_a_copy_to_be_healed_does_not_wait",)
_MANY = (_TROUBLES + "test_hundreds_of_feeds_together_look_no_more_often_than_a_few_would",)
_STUCK = "tests/unit/control/test_global_index_stuck.py::"
_ROT = (_STUCK + "test_an_index_whose_log_is_rotten_in_the_archive_is_late_and_then_built_anew",)
_MENDED = (_STUCK + "test_what_cannot_be_read_for_a_while_costs_an_index_nothing_and_the_next_time_has_its_own_while",)
_ELSEWHERE = (_STUCK + "test_log_that_is_rotten_in_the_archive_is_read_of_a_copy_that_has_it",)
_SINCE = (_STUCK + "test_how_late_an_index_is_does_not_begin_with_the_process_that_feeds_it",)
_UNKNOWN = (_STUCK + "test_an_index_that_is_not_whole_and_has_a_bad_copy_begins_anew_though_nobody_can_say_how_far_it_is",)
_BESIDE = (_STUCK + "test_an_index_that_is_built_beside_another_and_has_no_leader_for_its_copies_begins_anew",)
_SHARE = (_STUCK + "test_all_partitions_of_a_table_look_at_each_row_of_an_index_once[3]",)
_OTHERS = (_STUCK + "test_a_wrong_row_is_found_by_a_scrub_of_the_table_whichever_partition_has_its_item[extra]",)
_REST = (_TROUBLES + "test_an_index_with_copies_that_go_bad_again_is_left_alone_for_a_while",)

MUTANTS = (
    Mutant("index-feed-gap-taken", "storage/indexes/feed.py", "if command.after > fed.lsn:", "if command.after > fed.lsn + 1:", _FEED),
    Mutant("index-feed-old-repeat-moves-it-back", "storage/indexes/feed.py", "if command.upto <= fed.lsn:", "if False:", _FEED),
    Mutant("index-page-of-the-past-taken", "storage/indexes/feed.py", "if command.start > cursor or command.upto < fed.lsn:", "if command.start > cursor:", _FEED),
    Mutant("index-page-behind-a-gap-taken", "storage/indexes/feed.py", "if command.start > cursor or command.upto < fed.lsn:", "if command.upto < fed.lsn:", _FEED),
    Mutant("index-page-taken-twice", "storage/indexes/feed.py", "command.next <= cursor):", "command.next < b\"\"):", _FEED),
    Mutant("index-feed-begins-again", "storage/indexes/feed.py", 'b""), {}) if fed is None else None', 'b""), {})', _FEED),
    Mutant("index-fed-rows-shown", "storage/replica/reads.py", "if derived and is_fed(key):", "if False and is_fed(key):", _ROWS),
    Mutant("index-archived", "storage/node/archive_source.py", "if replica is not None and not replica.archives:", "if False:", _ROWS),
    Mutant("index-log-kept-for-ever", "storage/replica/attest.py", "        elif agreement:\n", "        elif False:\n", _ROWS),
    Mutant("index-old-row-stays", "storage/control/indexing/feeding.py", "yield self._place(key), (change.lsn, key, None)", "pass", _ROWS),
    Mutant("index-remains-forgotten", "storage/control/indexing/keeper.py", "return msgspec.structs.replace(without_index(known, index.name), gone=(*(known.gone or ()), *index_places(known, going)))", "return without_index(known, index.name)", _GONE),
    Mutant("index-bad-copy-left", "storage/control/indexing/keeper.py", 'BAD = ("suspect", "amnesiac", "behind")', 'BAD = ("amnesiac",)', _ANEW),
    Mutant("index-gives-way-unfilled", "storage/control/indexing/keeper.py", "if index.next is not None and index.next.made and await self.filled(table, index.next):", "if index.next is not None:", _ANEW),
    Mutant("index-ids-restored", "storage/control/tables.py", "table = msgspec.structs.replace(table, global_indexes=self.fresh(table.global_indexes))", "pass", _RESTORED),
    Mutant("index-lag-of-a-feed-that-hangs", "storage/control/indexing/feeding.py", "lag_us = max(0, self._parts.env.clock.wall_us() - self._fresh_us)", "lag_us = 0", _LAG),
    Mutant("index-proof-one-way", "storage/control/indexing/proof.py", "[*await self._of_items(), *await self._of_rows()]", "[*await self._of_items()]", _PROOF),
    Mutant("index-proof-other-way", "storage/control/indexing/proof.py", "[*await self._of_items(), *await self._of_rows()]", "[*await self._of_rows()]", _PROOF),
    Mutant("index-proof-before-it-is-fed", "storage/control/indexing/proof.py", "await self._fed(row_key, source, Lsn(before.lsn))", "pass", _UNFED),
    Mutant("index-found-wrong-and-left", "storage/control/indexing/proof.py", "            if faults:\n", "            if False:\n", _PROOF),
    Mutant("index-not-compared-is-a-match", "scrubber/partition.py", "if self._unproven and report.verdict is Verdict.MATCH:", "if False:", _UNFED),
    Mutant("index-waited-for-at-a-stop", "server/stop.py", "if one.partition not in derived]", "]", _STOP),
    Mutant("index-on-its-way-out-waited-for-at-a-stop", "storage/control/store.py", "found |= {info.partition_id for info in index_remains(table)}", "pass", _STOP),
    Mutant("index-ends-the-turning-of-a-stream", "storage/control/indexing/keeper.py", " and not is_turning(known)", "", _TURNED),
    Mutant("index-proof-item-as-it-was", "storage/control/indexing/proof.py", "if fed is None or await self._changed(", "if fed is None and await self._changed(", _TO_AND_FRO),
    Mutant("index-proof-doubts-unbounded", "storage/control/indexing/proof.py", "while start is not None and len(doubts) < DOUBTS_MAX:\n            page = await self._page(start)", "while start is not None:\n            page = await self._page(start)", _FAR),
    Mutant("index-proof-cut-short-is-a-match", "storage/control/indexing/proof.py", "len(doubts) >= DOUBTS_MAX):", "False):", _FAR),
    Mutant("index-proof-keeps-the-log", "scrubber/partition.py", "            self._keep_no_log()\n            self._meter", "            self._meter", _HELD),
    Mutant("index-proof-before-a-heal", "scrubber/partition.py", "if first.outcome.heal:\n            self._unproven", "if False:\n            self._unproven", _HELD),
    Mutant("index-feeds-all-look", "storage/control/indexing/feeds.py", "max(FEED_LOOK_S, len(self._running) / LOOKS_PER_SECOND)", "FEED_LOOK_S", _MANY),
    Mutant("index-built-anew-without-rest", "storage/control/indexing/keeper.py", "self._rebuilt_us[table.table_id, index.name] = now_us", "pass", _REST),
    Mutant("index-waits-for-rotten-log", "storage/control/indexing/feeding.py", "isinstance(error, (Corrupt, NoKey))", "False", _ROT),
    Mutant("index-gives-rotten-log-no-time", "storage/control/indexing/feeding.py", "UNREAD_US = 60_000_000", "UNREAD_US = 0", _ROT),
    Mutant("index-late-for-no-reason-told", "storage/control/indexing/feeding.py", "                    continue  # what was in its way may be there still\n                if any", "                elif any", _ROT),
    Mutant("index-log-unread-since-ever", "storage/control/indexing/feeding.py", "RETRY_S, None\n            except Missing", "RETRY_S, -UNREAD_US\n            except Missing", _MENDED),
    Mutant("changes-of-rotten-archive-not-sought", "storage/control/change_reader.py", "except (Missing, Corrupt, NoKey) as error:", "except Missing as error:", _ELSEWHERE),
    Mutant("index-lag-since-its-feed-began", "storage/control/indexing/feeding.py", "if self._placed else now_us", "if True else now_us", _SINCE),
    Mutant("index-copies-looked-at-last", "storage/control/indexing/keeper.py", "                    if index.status != \"DELETING\":\n                        self._look_at_copies(table, index)\n                    await self._tried(self._index(table, index))", "                    await self._index(table, index)\n                    self._look_at_copies(table, index)", _UNKNOWN),
    Mutant("index-beside-another-never-begun-anew", "storage/control/indexing/keeper.py", "one, fleet = following or index, self._parts.fleet", "one, fleet = index, self._parts.fleet", _BESIDE),
    Mutant("index-beside-another-begun-anew-too-early", "storage/control/indexing/keeper.py", "(following is not None and fleet.leader(info.partition_id) is not None)", "False", _BESIDE),
    Mutant("index-rows-looked-at-by-each-partition", "storage/control/indexing/proof.py", "start: bytes | None = bytes.fromhex(self._info.lo)\n", "start: bytes | None = bytes(16)\n", _SHARE),
    Mutant("index-rows-judged-by-this-partitions-feed", "storage/control/indexing/proof.py", "source = self._parts.router.partition_of(self._table, key)", "source = self._info", _OTHERS),
)  # fmt: skip
