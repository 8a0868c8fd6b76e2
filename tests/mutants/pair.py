"""Mutants of two archives: who decides, what is lacking, what is read of which, and how a turn passes."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

STORE = "base/wrap/paired.py"
KEEPER = "server/pairing.py"
UNIT = "tests/unit/server/test_pairing.py::"
PACKS = "tests/unit/server/test_pair_packs.py::"
OPENING = "tests/unit/real/test_pair_opening.py::"


def _of(name: str, file: str, text: str, becomes: str, *tests: str) -> Mutant:
    return Mutant(name, file, text, becomes, tuple(tests))


MUTANTS: list[Mutant] = [
    _of(
        "pair-second-is-not-given-it",
        STORE,
        "                    await self.ask(other, other.store.put(key, data))\n                    followed = True\n        except (Invalid",
        "                    followed = True\n        except (Invalid",
        UNIT + "test_what_is_put_lies_in_both_and_the_first_one_decides",
    ),
    _of(
        "pair-what-is-lacking-is-forgotten",
        STORE,
        "            if not followed:\n",
        "            if False:\n",
        UNIT + "test_what_exists_in_the_first_alone_is_owed_at_once_not_only_after_a_comparison",
        UNIT + "test_a_cancelled_put_is_owed",
    ),
    _of(
        "pair-everybody-waits-for-the-one-that-is-away",
        STORE,
        "            if not self._away(other) and (not",
        "            if True and (not",
        UNIT + "test_a_second_one_that_is_away_keeps_nobody_and_is_owed_what_it_missed",
    ),
    _of(
        "pair-a-name-is-won-twice",
        STORE,
        "            await self._must_be_new(key, decides, other)\n",
        "",
        UNIT + "test_what_only_the_other_one_has_exists_while_the_one_that_decides_may_lack_things",
    ),
    _of(
        "pair-epochs-before-the-rest",
        STORE,
        " and (not self._last(key) or self.may_have_the_last(other)):",
        ":",
        UNIT + "test_one_that_was_behind_gets_the_epochs_last",
    ),
    _of(
        "pair-epochs-are-brought-first",
        KEEPER,
        "                if not says_whose_turn(key) or self.pair.may_have_the_last(half):\n",
        "                if True:\n",
        UNIT + "test_an_epoch_waits_until_nothing_else_is_lacking",
    ),
    _of(
        "pair-deleted-where-it-decides-first",
        STORE,
        "            await self.ask(other, other.store.delete(key))\n            await self.ask(decides, decides.store.delete(key))\n",
        "            await self.ask(decides, decides.store.delete(key))\n            await self.ask(other, other.store.delete(key))\n",
        UNIT + "test_a_deletion_needs_both_and_the_one_that_decides_is_last",
    ),
    _of(
        "pair-comes-back-after-a-deletion",
        STORE,
        "        await self._all_else(key)\n        await self._alone(key)\n",
        "        await self._all_else(key)\n",
        UNIT + "test_what_is_on_its_way_to_one_does_not_come_back_after_a_deletion",
    ),
    _of(
        "pair-rot-is-copied",
        STORE,
        "            if await self.judged(key, data) is False:\n                source",
        "            if False:\n                source",
        UNIT + "test_rot_is_never_brought_to_the_one_that_lacks_the_object",
    ),
    _of(
        "pair-a-replacement-resurrects",
        STORE,
        "            if await self.ask(other, other.store.head(key)) is None:\n                return\n",
        "",
        UNIT + "test_what_was_deleted_meanwhile_is_not_put_anew",
    ),
    _of(
        "pair-turn-given-to-one-that-lacks",
        STORE,
        "and not self.halves[to].whole:",
        "and False:",
        UNIT + "test_the_turn_does_not_go_to_one_that_lacks_something_by_now",
    ),
    _of(
        "pair-turn-given-in-the-middle-of-a-create",
        STORE,
        "            while self._puts:\n",
        "            while False:\n",
        UNIT + "test_creates_under_way_end_where_they_began",
    ),
    _of(
        "pair-rot-is-read",
        STORE,
        "            if judge and await self.judged(key, data) is False:\n",
        "            if False:\n",
        UNIT + "test_what_rotted_in_one_is_read_from_the_other_and_put_anew",
    ),
    _of(
        "pair-absent-is-the-word-of-the-other",
        STORE,
        "            if found is None:\n                raise  # what",
        "            if False:\n                raise  # what",
        UNIT + "test_absence_is_not_the_word_of_the_one_that_does_not_decide",
    ),
    _of(
        "pair-half-a-listing",
        STORE,
        "rising = [found[key] for key in sorted(found, key=str.encode) if not ends or key <= min(ends)]",
        "rising = [found[key] for key in sorted(found, key=str.encode)]",
        UNIT + "test_pages_of_two_listings_make_the_listing_of_all",
    ),
    _of(
        "pair-listing-of-one",
        STORE,
        "        return _union(page, also, limit)",
        "        return page",
        UNIT + "test_what_the_first_lost_is_read_listed_and_brought_back",
    ),
    _of(
        "pair-written-without-a-keeper",
        STORE,
        "        if self.turn is None:\n            away",
        "        if False:\n            away",
        UNIT + "test_where_nobody_keeps_them_both_are_read_and_neither_is_written",
        UNIT + "test_a_start_with_one_of_them_waits_before_it_does_without_the_other",
    ),
    _of(
        "pair-not-compared-after-an-outage",
        STORE,
        "            half.doubt()  # whatever became of it meanwhile",
        "            pass",
        UNIT + "test_one_that_was_away_for_long_is_compared_again",
    ),
    _of(
        "pair-the-first-always-decides",
        KEEPER,
        "SECOND if second > first else FIRST",
        "FIRST",
        UNIT + "test_the_higher_epoch_decides_over_restarts",
    ),
    _of(
        "pair-turn-taken-at-once",
        KEEPER,
        "        if away_s >= self.options.decides_after_s and other.error is None:",
        "        if away_s > 0 and other.error is None:",
        UNIT + "test_an_outage_shorter_than_the_bound_moves_nothing",
    ),
    _of(
        "pair-start-without-waiting",
        KEEPER,
        "and waited_s >= self.options.decides_after_s:",
        ":",
        UNIT + "test_a_start_with_one_of_them_waits_before_it_does_without_the_other",
    ),
    _of(
        "pair-turn-without-a-claim",
        KEEPER,
        "                self.turned(1 - turn)\n                self.reclaim()\n",
        "                self.turned(1 - turn)\n",
        UNIT + "test_the_second_one_decides_once_the_first_has_been_away_and_gives_the_turn_back",
    ),
    _of(
        "pair-turn-back-in-doubt",
        KEEPER,
        "back = turn == SECOND and not self.outstanding and",
        "back = turn == SECOND and",
        UNIT + "test_the_turn_is_not_given_back_before_everything_is_compared",
    ),
    _of(
        "pair-names-are-not-compared",
        KEEPER,
        "                    if size is None:\n                        half.lack(key)\n",
        "",
        UNIT + "test_what_is_owed_is_found_again_by_the_next_process",
    ),
    _of(
        "pair-whole-before-it-is-compared",
        KEEPER,
        "        doubts = [half.doubts for half in halves]\n",
        "        doubts = [half.doubts for half in halves]\n        for half in halves:\n            half.compared = True\n",
        UNIT + "test_nothing_is_called_whole_while_the_names_are_being_compared",
    ),
    _of(
        "pair-sizes-are-not-compared",
        KEEPER,
        "                if None not in sizes and sizes[0] != sizes[1]:",
        "                if False:",
        UNIT + "test_different_sizes_are_seen_by_the_names_alone",
    ),
    _of(
        "pair-bytes-are-not-compared",
        KEEPER,
        "                await self._judge(key, None)\n                checked, size",
        "                checked, size",
        UNIT + "test_two_sound_objects_under_one_name_are_told_and_left",
    ),
    _of(
        "pair-two-claims-are-alike",
        "archiver/format/sound.py",
        "    except Corrupt:\n        return False\n    return False\n",
        "    except Corrupt:\n        return False\n    return True\n",
        OPENING + "test_two_honest_segments_say_the_same_and_two_claims_never_do",
    ),
    _of(
        "pair-of-every-url",
        "base/real/stores.py",
        '    if second and _same_place(second["of"], url):',
        "    if second:",
        OPENING + "test_a_pair_is_of_the_archive_alone",
    ),
    _of(
        "pair-second-folder-made-anew",
        "base/real/stores.py",
        'create="create" in second)',
        "create=True)",
        OPENING + "test_a_second_folder_that_is_not_there_is_made_once_only",
    ),
    _of(
        "pair-workers-say-nothing",
        "base/paired_jobs.py",
        "            self._pair.hear(answer[MET])\n",
        "            pass\n",
        OPENING + "test_workers_are_told_whose_turn_it_is_and_say_what_they_met",
    ),
    _of(
        "pair-second-need-not-be-empty",
        "server/pair_begin.py",
        "    if new and second.error is None:\n",
        "    if False:\n",
        UNIT + "test_a_second_archive_is_begun_empty",
    ),
    _of(
        "pair-deleted-while-one-lacks-the-pack",
        STORE,
        "        await self._all_else(key)\n",
        "",
        UNIT + "test_nothing_is_deleted_while_one_lacks_something_else",
    ),
    _of(
        "pair-a-pack-in-one-is-enough",
        "archiver/compact/run.py",
        "            await self._parts.assure([build(one.pack), build(one.pack.twin())])\n",
        "            pass\n",
        PACKS + "test_a_pack_that_is_not_sound_in_the_second_one_is_put_anew_before_anything_goes",
    ),
    _of(
        "pair-assured-without-a-look",
        KEEPER,
        "        if await self._judge(key, None):\n            return True\n        for half",
        "        if True:\n            return True\n        for half",
        UNIT + "test_what_is_deleted_on_the_word_of_an_object_needs_it_in_both",
    ),
    _of(
        "pair-a-directory-says-nothing",
        "archiver/format/sound.py",
        "            if segment.directory:\n",
        "            if False:\n",
        PACKS + "test_two_packs_of_honest_writers_say_the_same_and_a_forged_directory_is_none",
    ),
    _of(
        "pair-parts-are-written-in-one-way",
        "archiver/format/sound.py",
        "replace(bare, parts=tuple(_content(part) for part in bare.parts)) if isinstance(bare, PackManifest) else bare",
        "bare",
        PACKS + "test_two_packs_of_honest_writers_say_the_same_and_a_forged_directory_is_none",
    ),
    _of(
        "pair-a-pack-and-none-are-alike",
        "archiver/format/sound.py",
        "(here.head, here.raw_sha256, _directory(here, key)) == (there.head, there.raw_sha256, _directory(there, key))",
        "here[:2] == there[:2]",
        PACKS + "test_two_packs_of_honest_writers_say_the_same_and_a_forged_directory_is_none",
    ),
]
