"""Mutants of what a start costs: libraries and verbs that nobody asked for, tables made anew, an end that takes everything apart."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_LOADED = "tests/unit/cli/test_what_is_loaded.py"
_NOTHING = f"{_LOADED}::test_nothing_is_loaded_that_is_not_asked_for"
_END = (f"{_LOADED}::test_a_process_ends_with_what_it_owes_and_is_not_taken_apart",)
_TABLES = "tests/unit/items/test_partiql.py"

_SMALL = ("tests/unit/archiver/test_archive_agent.py::test_no_job_is_begun_for_a_small_segment",)

MUTANTS: list[Mutant] = [
    Mutant(
        "a-worker-is-started-for-two-records",
        "archiver/write/settling.py",
        "if self._jobs is not None and len(raw) > self.options.checked_here_bytes:",
        "if self._jobs is not None:",
        _SMALL,
    ),
    Mutant(
        "a-large-segment-is-checked-in-the-server",
        "archiver/write/settling.py",
        "if self._jobs is not None and len(raw) > self.options.checked_here_bytes:",
        "if False:",
        _SMALL,
    ),
    Mutant(
        "a-worker-is-started-for-what-is-just-small-enough",
        "archiver/write/settling.py",
        "len(raw) > self.options.checked_here_bytes",
        "len(raw) >= self.options.checked_here_bytes",
        _SMALL,
    ),
    Mutant(
        "every-verb-is-loaded",
        "scrubjay/verbs/__init__.py",
        "        if name is not None:\n",
        "        if False:\n",
        (f"{_LOADED}::test_a_verb_is_the_only_one_that_is_loaded",),
    ),
    Mutant(
        "tracebacks-in-colour-come-along",
        "base/real/log_lines.py",
        'with left_out("rich", "colorama", "better_exceptions"):',
        "with left_out():",
        (_NOTHING,),
    ),
    Mutant(
        "a-checksum-comes-with-a-command-line",
        "base/checksum.py",
        "    if spec is None or spec.loader is None:\n",
        "    if spec:\n",
        (_NOTHING,),
    ),
    Mutant(
        "an-http-client-for-a-folder",
        "base/real/stores.py",
        "\nif TYPE_CHECKING:\n",
        "\nif True:\n",
        (_NOTHING,),
    ),
    Mutant(
        "left-out-for-good",
        "base/real/left_out.py",
        "        for name in hidden:\n            del modules[name]\n",
        "        pass\n",
        (f"{_LOADED}::test_what_is_left_out_is_there_again_afterwards",),
    ),
    Mutant(
        "left-out-though-it-is-in-use",
        "base/real/left_out.py",
        "for name in packages if name not in modules]",
        "for name in packages]",
        (f"{_LOADED}::test_what_is_left_out_is_there_again_afterwards",),
    ),
    Mutant(
        "threads-are-cut-off-at-the-end", "scrubjay/streams.py", "        threading._shutdown()  # type: ignore[attr-defined]\n", "", _END
    ),
    Mutant(
        "what-was-promised-for-the-end",
        "scrubjay/streams.py",
        "        atexit._run_exitfuncs()  # temporary folders are among them\n",
        "",
        _END,
    ),
    Mutant("taken-apart-at-the-end", "scrubjay/streams.py", "    os._exit(code)\n", "    sys.exit(code)\n", _END),
    Mutant(
        "printed-and-lost",
        "scrubjay/streams.py",
        "            stream.flush()\n    except",
        "            del stream\n    except",
        _END,
    ),
    Mutant(
        "nobody-takes-it-and-nothing-is-said",
        "scrubjay/streams.py",
        "    except (OSError, ValueError):\n        sys.exit(code)\n",
        "    except (OSError, ValueError):\n        os._exit(code)\n",
        (f"{_LOADED}::test_output_that_nobody_takes_is_told_of_as_python_tells_it",),
    ),
    Mutant(
        "tables-are-made-at-each-start",
        "storage/items/partiql/parse.py",
        "    if fingerprint() != tables.OF:\n        _parser()\n",
        "    _parser()\n",
        (f"{_TABLES}::test_the_tables_that_came_along_are_of_this_grammar_and_are_read_when_asked_for",),
    ),
    Mutant(
        "tables-of-another-grammar",
        "storage/items/partiql/parse.py",
        "    if fingerprint() != tables.OF:\n        return made_anew()\n",
        "",
        (f"{_TABLES}::test_tables_of_another_grammar_or_another_lark_are_not_used",),
    ),
    Mutant(
        "a-grammar-changes-and-its-tables-do-not",
        "storage/items/partiql/grammar.py",
        "bare: _expr\n",
        "bare: _expr -> bare_\n",
        (f"{_TABLES}::test_the_tables_that_came_along_are_of_this_grammar_and_are_read_when_asked_for",),
    ),
]
