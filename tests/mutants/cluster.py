"""Mutants of processes that are one cluster: who is let in, who founded it, what nodes tell."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_PROCESSES = "tests/unit/server/test_cluster_processes.py"
_FORWARD = "tests/unit/real/test_http_forward.py"
_STOP = "tests/unit/control/test_stop.py"
_CONFIG = "tests/unit/cli/test_config_cluster.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "a-node-stops-without-the-archive",
        "server/stop.py",
        "        if not wanted or len(members) < QUORUM or env.clock.boot_us() >= deadline_us:\n",
        "        if True:\n",
        (f"{_STOP}::test_a_node_that_stops_waits_for_what_its_log_holds_and_not_for_what_comes_later",),
    ),
    Mutant(
        "the-last-node-waits",
        "server/stop.py",
        " or len(members) < QUORUM or",
        " or",
        (f"{_STOP}::test_the_last_of_a_cluster_waits_for_nothing",),
    ),
    Mutant(
        "a-node-waits-for-ever",
        "server/stop.py",
        " or env.clock.boot_us() >= deadline_us:\n            return sum(",
        ":\n            return sum(",
        (f"{_STOP}::test_a_node_that_stops_does_not_wait_for_ever_and_says_what_is_left",),
    ),
    Mutant(
        "a-node-stops-and-says-nothing-is-left",
        "server/stop.py",
        "if one.partition in wanted and one.table != system)",
        "if one.partition in wanted and one.table == system)",
        (f"{_STOP}::test_a_node_that_stops_does_not_wait_for_ever_and_says_what_is_left",),
    ),
    Mutant(
        "passed-on-for-ever",
        "base/real/http_forward.py",
        "        if PASSED_ON in request.headers:\n",
        "        if False:\n",
        (f"{_FORWARD}::test_it_is_passed_on_once",),
    ),
    Mutant(
        "passed-on-for-another-name",
        "base/real/http_forward.py",
        "for name, value in request.headers.items() if name not in OF_A_CONNECTION]",
        "for name, value in request.headers.items() if name not in OF_A_CONNECTION | {'host'}]",
        (f"{_FORWARD}::test_a_request_is_passed_on_as_it_came_and_its_answer_comes_back",),
    ),
    Mutant(
        "half-an-answer-passed-on",
        "base/real/http_forward.py",
        '            raise Unavailable("the connection to it ended before its answer", unknown=True)\n',
        "            break\n",
        (f"{_FORWARD}::test_what_cannot_be_had_is_said",),
    ),
    Mutant(
        "any-number-passed-on",
        "base/real/http_forward.py",
        "        if self._under_way >= UNDER_WAY_MAX:\n",
        "        if False:\n",
        (f"{_FORWARD}::test_no_more_than_so_many_wait",),
    ),
    Mutant(
        "any-page-passed-on",
        "scrubjay/admin_door.py",
        "            if refused is not None:\n                return refused\n            return await self.answer(request)\n",
        "            return await self.answer(request)\n",
        (f"{_FORWARD}::test_a_node_answers_what_it_knows_and_passes_on_the_rest",),
    ),
    Mutant(
        "away-is-no-word-to-ask-again",
        "scrubjay/serving/node_surface.py",
        "                code=UNREACHABLE,\n",
        '                code="Away",\n',
        (f"{_FORWARD}::test_a_node_says_that_the_durability_process_is_away_and_that_it_is_not_founded",),
    ),
    Mutant(
        "a-node-knows-the-window",
        "scrubjay/serving/node_surface.py",
        '        "DescribeContinuousBackups",\n',
        "",
        (f"{_FORWARD}::test_what_needs_the_archive_is_all_there",),
    ),
    Mutant(
        "another-plan-let-in",
        "server/admission.py",
        "        if hello.note != self.plan:\n",
        "        if False:\n",
        (f"{_PROCESSES}::test_who_is_not",),
    ),
    Mutant(
        "another-cluster-let-in",
        "server/admission.py",
        "        if hello.cluster != self._cluster:\n",
        "        if False:\n",
        (f"{_PROCESSES}::test_who_is_not",),
    ),
    Mutant(
        "unknown-node-let-in",
        "server/admission.py",
        "        if self._names.get(hello.number) != hello.name:\n",
        "        if False:\n",
        (f"{_PROCESSES}::test_who_is_not",),
    ),
    Mutant(
        "whose-member-it-is-not-compared",
        "server/admission.py",
        "        if hello.role != NODE:\n            return None\n",
        "        return None\n",
        (f"{_PROCESSES}::test_who_is_not",),
    ),
    Mutant(
        "what-was-said-late-is-an-older-log",
        "server/admission.py",
        "same_life=self._lives.get(hello.name) == life,",
        "same_life=False,",
        (f"{_PROCESSES}::test_what_one_process_said_before_is_no_older_log",),
    ),
    Mutant(
        "any-life-is-the-same",
        "server/admission.py",
        "same_life=self._lives.get(hello.name) == life,",
        "same_life=hello.name in self._lives,",
        (f"{_PROCESSES}::test_what_one_process_said_before_is_no_older_log",),
    ),
    Mutant(
        "founded-without-asking-all",
        "server/founding.py",
        "there = {name: await self._of(name) for name in self._others}",
        "there = {name: FoundedHere(None, True) for name in self._others}",
        (f"{_PROCESSES}::test_all_founding_nodes_must_be_up_and_empty",),
    ),
    Mutant(
        "founded-over-a-node",
        "server/founding.py",
        "                    if not one.empty:\n",
        "                    if False:\n",
        (f"{_PROCESSES}::test_all_founding_nodes_must_be_up_and_empty",),
    ),
    Mutant(
        "anybody-mints",
        "server/founding.py",
        "            if self._me != self._nodes[0]:\n",
        "            if False:\n",
        (f"{_PROCESSES}::test_all_founding_nodes_must_be_up_and_empty",),
    ),
    Mutant(
        "minted-before-it-is-kept",
        "server/founding.py",
        "                self.take(cluster)  # before anybody else has it: who asks again goes on with this one\n",
        "                self.known = cluster\n",
        (f"{_PROCESSES}::test_a_cluster_is_founded_once_and_each_keeps_it",),
    ),
    Mutant(
        "second-cluster-taken",
        "server/founding.py",
        "            if self.known.cluster_id != cluster.cluster_id:\n",
        "            if False:\n",
        (f"{_PROCESSES}::test_a_folder_of_another_cluster_is_refused",),
    ),
    Mutant(
        "finding-forgotten-when-told",
        "server/news.py",
        "            self._asked[name] = AskNews(news.life, news.after, news.findings)\n        except ScrubjayError:\n            return\n",
        "        except ScrubjayError:\n            pass\n        self._asked[name] = AskNews(news.life, news.after, news.findings)\n",
        (f"{_PROCESSES}::test_a_finding_stays_with_its_node_until_it_is_durable_elsewhere",),
    ),
    Mutant(
        "news-of-an-earlier-life-skipped",
        "server/news.py",
        "        after = question.after if question.life == self._life else 0\n",
        "        after = question.after\n",
        (f"{_PROCESSES}::test_news_are_told_once_and_again_if_they_were_lost",),
    ),
    Mutant(
        "half-of-tls-in-the-file",
        "scrubjay/config_cluster.py",
        "        0 < len(lacking) < len(files),\n",
        "        False,\n",
        (f"{_CONFIG}::test_what_is_wrong_is_named",),
    ),
    Mutant(
        "two-at-one-address",
        "scrubjay/config_cluster.py",
        "        yield place in seen, key,",
        "        yield False, key,",
        (f"{_CONFIG}::test_what_is_wrong_is_named",),
    ),
]
