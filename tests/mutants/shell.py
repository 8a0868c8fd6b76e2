"""Mutants of this room: the command line, the demo, what the machine refuses a process."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_CONFIG = "tests/unit/cli/test_cli_config.py"
_DEMO = "tests/unit/cli/test_demo_pieces.py"
_POOL = "tests/unit/real/test_daemon_pool.py"
_STARTING = "tests/unit/cli/test_cli_starting.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "refused-work-is-done-later",
        "base/real/daemon_pool.py",
        "            if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:\n                self._one_more()\n"
        "            self._waiting.put((future, lambda: fn(*args, **kwargs)))\n",
        "            self._waiting.put((future, lambda: fn(*args, **kwargs)))\n"
        "            if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:\n                self._one_more()\n",
        (f"{_POOL}::test_without_a_thread_nothing_is_taken_and_the_reason_has_a_name",),
    ),
    Mutant(
        "few-threads-are-none",
        "base/real/daemon_pool.py",
        "            if not self._threads:\n                raise\n            return",
        "            raise",
        (f"{_POOL}::test_with_fewer_threads_than_wanted_it_goes_on",),
    ),
    Mutant(
        "no-more-threads-has-no-name",
        "base/real/open_files.py",
        'if "start new thread" not in str(error):',
        "if True:",
        (f"{_POOL}::test_other_pools_say_it_too",),
    ),
    Mutant(
        "folder-name-of-any-bytes",
        "scrubjay/serving/lock.py",
        "        path.encode()\n",
        "",
        (f"{_STARTING}::test_a_folder_whose_name_is_no_utf_8_is_refused_by_name",),
    ),
    Mutant(
        "byte-order-mark-is-text",
        "scrubjay/config.py",
        'encoding="utf-8-sig"',
        'encoding="utf-8"',
        (f"{_CONFIG}::test_files_of_other_editors_are_read",),
    ),
    Mutant(
        "demo-lines-as-long-as-they-are",
        "scrubjay/demo/story.py",
        "        for line in wrapped(text, first=first, rest=_UNDER):\n            self._tell(line)",
        "        self._tell(first + text)",
        (f"{_DEMO}::test_what_it_tells_fits_a_narrow_terminal",),
    ),
    Mutant(
        "bucket-without-its-bound",
        "scrubjay/serving/families.py",
        "latency.counts[: bits + 1]",
        "latency.counts[:bits]",
        ("tests/unit/monitoring/test_monitoring.py::test_a_histogram_counts_what_took_at_most_its_bound",),
    ),
    Mutant(
        "dropped-tables-told",
        "scrubjay/serving/metrics.py",
        "for table in view.facts.tables if not table.dropped",
        "for table in view.facts.tables if True",
        ("tests/integration/process/test_metrics.py::test_a_server_tells_what_the_page_says",),
    ),
]
