"""Mutants of this room: the command line, the demo, what the machine refuses a process."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_CONFIG = "tests/unit/cli/test_cli_config.py"
_DEMO = "tests/unit/cli/test_demo_pieces.py"
_POOL = "tests/unit/real/test_daemon_pool.py"
_STARTING = "tests/unit/cli/test_cli_starting.py"

_BUNDLE = "tests/unit/cli/test_debug_bundle.py"
_KEPT = "tests/unit/real/test_kept_lines.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "bundle-texts-uncleaned",
        "scrubjay/debug_bundle.py",
        "data = self._clean(text).encode(",
        "data = text.encode(",
        (f"{_BUNDLE}::test_no_secret_is_in_it_wherever_one_was",),
    ),
    Mutant(
        "secrets-in-one-spelling",
        "scrubjay/secrets_out.py",
        '    yield quote(secret, safe="")\n',
        "",
        (f"{_BUNDLE}::test_no_secret_is_in_it_wherever_one_was",),
    ),
    Mutant(
        "what-nobody-called-open-is-shown",
        "scrubjay/secrets_out.py",
        'if kind == "text" and not entry.key.open:',
        "if False:",
        (f"{_BUNDLE}::test_a_text_that_nobody_said_of_that_it_may_be_shown_is_not",),
    ),
    Mutant(
        "keys-of-files-unknown",
        "scrubjay/secrets_out.py",
        "            found = file.read(KEY_FILE_BYTES_MAX)\n",
        "            pass\n",
        (f"{_BUNDLE}::test_no_secret_is_in_it_wherever_one_was",),
    ),
    Mutant(
        "variables-hold-no-secrets",
        "scrubjay/secrets_out.py",
        "        if _SECRET_NAME.search(name.upper()):",
        "        if False:",
        (f"{_BUNDLE}::test_no_secret_is_in_it_wherever_one_was",),
    ),
    Mutant(
        "bundle-over-another-file",
        "scrubjay/debug_bundle.py",
        "os.O_CREAT | os.O_EXCL | os.O_CLOEXEC",
        "os.O_CREAT | os.O_CLOEXEC",
        (f"{_BUNDLE}::test_one_that_comes_up_meanwhile_is_left_alone_too",),
    ),
    Mutant(
        "bundle-without-bound",
        "scrubjay/debug_bundle.py",
        "        if len(data) > limit:",
        "        if False:",
        (f"{_BUNDLE}::test_it_is_bounded",),
    ),
    Mutant(
        "bundle-of-another-cluster",
        "scrubjay/debug_bundle.py",
        'if json.loads((told / FILE).read_bytes())["cluster_id"] == cluster["cluster_id"]:',
        "if True:",
        (f"{_BUNDLE}::test_the_folder_of_the_server_that_answers_is_taken_and_no_other_of_its_name",),
    ),
    Mutant(
        "bundle-leaves-files-beside-a-ledger",
        "scrubjay/debug_bundle.py",
        'else "immutable=1"',
        'else "mode=ro"',
        (f"{_BUNDLE}::test_with_a_server_everything_is_there",),
    ),
    Mutant(
        "log-grows",
        "base/real/kept_lines.py",
        "            if self._size + len(data) > self._limit:",
        "            if False:",
        (f"{_KEPT}::test_two_files_hold_the_newest_lines_whole",),
    ),
    Mutant(
        "lost-lines-unsaid",
        "base/real/kept_lines.py",
        "            self.lost += 1\n",
        "",
        (f"{_KEPT}::test_what_could_not_be_written_is_counted_and_said",),
    ),
    Mutant(
        "half-a-line-goes-on",
        "base/real/kept_lines.py",
        'os.pread(self._file, 1, self._size - 1) != b"\\n"',
        "False",
        (f"{_KEPT}::test_the_next_process_goes_on_behind_half_a_line",),
    ),
    Mutant(
        "kept-lines-uncleaned",
        "base/real/log_lines.py",
        "        kept.write(clean(line))",
        "        kept.write(line)",
        (f"{_KEPT}::test_a_line_is_kept_as_json_and_secrets_are_taken_out_wherever_it_goes",),
    ),
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
    Mutant(
        "cores-that-others-own",
        "base/real/platform.py",
        "    return len(os.sched_getaffinity(0))\n",
        "    return os.cpu_count() or 1\n",
        ("tests/unit/real/test_platform.py",),
    ),
    Mutant(
        "a-toml-list-is-text-with-commas",
        "scrubjay/config.py",
        '    if value.lstrip().startswith("["):\n',
        "    if False:\n",
        ("tests/unit/cli/test_cli_config.py::test_key_sources",),
    ),
    Mutant(
        "a-number-without-bound-is-told-of-one",
        "scrubjay/config.py",
        " if entry.key.high < NO_BOUND else ",
        " if entry.key.high <= NO_BOUND else ",
        ("tests/unit/cli/test_cli_config.py::test_a_number_without_an_upper_bound_is_told_of_none",),
    ),
    Mutant(
        "workers-of-another-program",
        "base/real/child.py",
        "    if found != _OURS:\n",
        "    if not found:\n",
        ("tests/unit/real/test_jobs.py::test_no_worker_of_another_program_is_started",),
    ),
    Mutant(
        "demo-kills-nobody",
        "scrubjay/demo/run.py",
        "            self.server.kill(leader)\n",
        "",
        ("tests/integration/cli/test_demo.py::test_on_a_cluster_of_processes_and_s3_in_words_and_a_node_is_killed_on_the_way",),
    ),
]
