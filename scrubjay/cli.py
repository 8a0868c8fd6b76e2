"""The `scrubjay` command: parse, run one verb, print one answer, leave with its exit code. Never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from scrubjay import __version__, streams
from scrubjay.base.errors import ScrubjayError
from scrubjay.output import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    USAGE,
    VerbFailure,
    answer,
    error_lines,
    failure_of,
    failure_of_machine,
    to_json,
)
from scrubjay.parser import HelpWanted, VersionWanted, WrongUsage, parse
from scrubjay.text import RED, coloured, has_colour, painted, wrapped
from scrubjay.verb import Verb, VerbCall


def command() -> NoReturn:
    """What the `scrubjay` script calls."""
    streams.leave(main())


def main(argv: Sequence[str] | None = None) -> int:
    """One command line; returns the exit code. argv: None: this process's."""
    streams.secure()
    if argv is None:
        streams.paths_in_utf8()
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    if as_json:
        streams.json_output(sys.stdout)
    try:
        if not __debug__:
            return _fail(_stripped(), None, as_json=as_json)
        return _main(words, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # What is left here is our own output: its reader left (`| head`), or the disk it goes to is full.
        streams.give_up_stdout()
        if not isinstance(error, BrokenPipeError):
            _complain(error_lines(failure_of_machine(error, asked=" ".join(["scrubjay", *words])).error))
        return FAILED


def _main(words: list[str], *, as_json: bool) -> int:
    from scrubjay.verbs import asked_for, every_verb

    try:
        verb, options = parse(asked_for(words), every_verb, words)
    except VersionWanted:
        _print(to_json(answer(0, {"version": __version__}, template={})) if as_json else f"scrubjay {__version__}")
        return 0
    except HelpWanted as wanted:
        _print(to_json(answer(0, {"help": str(wanted)}, template={})) if as_json else str(wanted).rstrip())
        return 0
    except WrongUsage as wrong:
        return _wrong_usage(wrong, words, as_json=as_json)
    call = VerbCall(options)
    try:
        exit_code, body = verb.run(call)
    except KeyboardInterrupt:
        interrupted = VerbFailure(
            "interrupted", code="Interrupted", exit_code=INTERRUPTED, asked=f"scrubjay {verb.name}", next_step=verb.interrupted
        )
        return _fail(interrupted, verb, as_json=as_json)
    except VerbFailure as failure:
        return _fail(failure, verb, as_json=as_json)
    except ScrubjayError as error:
        return _fail(failure_of(error, asked=f"scrubjay {' '.join(words)}", local=not call.asked), verb, as_json=as_json)
    except BrokenPipeError:
        raise
    except (OSError, MemoryError) as error:
        return _fail(failure_of_machine(error, asked=f"scrubjay {' '.join(words)}"), verb, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug of ours is one line for the user, not a traceback
        return _fail(_bug(error, words), verb, as_json=as_json)
    return exit_code if body is None else _finish(verb, call, exit_code, body, as_json=as_json)


def _finish(verb: Verb, call: VerbCall, exit_code: int, body: dict[str, Any], *, as_json: bool) -> int:
    """Print a verb's report. A report may carry an `error` too (store unreachable: the report is still printed)."""
    document = answer(exit_code, body, template=verb.template, error=body.get("error"))
    if as_json:
        _print(to_json(document))
        return exit_code
    lines = [*call.cluster_lines(), *verb.render(document)]
    if lines:
        _print("\n".join(map(coloured, lines) if has_colour(sys.stdout) else lines))
    if document["error"]:
        _complain(error_lines(document["error"]), style=RED)
    return exit_code


def _fail(failure: VerbFailure, verb: Verb | None, *, as_json: bool) -> int:
    if as_json:
        _print(to_json(answer(failure.exit_code, failure.body, template=verb.template if verb else {}, error=failure.error)))
    else:
        _complain(error_lines(failure.error), style=RED)
    return failure.exit_code


def _wrong_usage(wrong: WrongUsage, words: list[str], *, as_json: bool) -> int:
    asked = " ".join(["scrubjay", *words])
    help_at = f"scrubjay {wrong.verb.name} -h" if wrong.verb else "scrubjay -h"
    failure = VerbFailure("wrong usage", code="Usage", exit_code=USAGE, asked=asked, found=str(wrong), next_step=help_at)
    if not as_json:
        _complain([wrong.help_text.rstrip(), ""])
        _complain(wrapped(f"scrubjay: {wrong}", rest="  "), style=RED)
        return USAGE
    return _fail(failure, wrong.verb, as_json=True)


def _stripped() -> VerbFailure:
    return VerbFailure(
        "refused to run with assertions switched off",
        code="Unsafe",
        exit_code=REFUSED,
        asked="python -O (or PYTHONOPTIMIZE)",
        found="checks of our own invariants are stripped",
        next_step="run it without -O",
    )


def _bug(error: Exception, words: list[str]) -> VerbFailure:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace is not None else ""  # noqa: PTH119
    return VerbFailure(
        "a bug in scrubjay",
        code="Internal",
        exit_code=FAILED,
        asked=" ".join(["scrubjay", *words]),
        found=f"{type(error).__name__}: {error}{where}",
        next_step="please report it with these lines",
    )


def _print(text: str) -> None:
    print(text, flush=True)


def _complain(lines: list[str], *, style: str | None = None) -> None:
    """Lines on stderr. style: of the first, where there is colour."""
    if style is not None and lines and has_colour(sys.stderr):
        lines = [painted(lines[0], style), *lines[1:]]
    with contextlib.suppress(OSError):  # a full or closed stderr: nobody is left to tell, and the exit code still says it
        print("\n".join(lines), file=sys.stderr, flush=True)


if __name__ == "__main__":
    command()
