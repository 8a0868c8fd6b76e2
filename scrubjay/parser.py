"""The command line, built from the list of verbs. Wrong usage is `WrongUsage` (exit 64), never argparse's own exit 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from scrubjay.output import EXIT_MEANING, INTERRUPTED, USAGE
from scrubjay.text import WIDTH, wrapped
from scrubjay.verb import Verb

HELP_WIDTH = WIDTH

GROUPS = {
    "config": "is the configuration good for this machine and store?",
    "archive": "the archive of every table's log",
    "scrub": "prove every replica equal to one rebuilt from the archive",
    "alerts": "who is told when something is wrong",
    "schedule": "what runs by itself, and when",
    "drill": "rehearse a disaster, compare every item, keep the proof",
    "expire": "take away what has outlived its retention",
    "cluster": "the cluster as a whole",
    "table": "the partitions of a table, and splitting them",
    "debug": "for who looks after Scrubjay itself",
    "restore": "bring a table back as of any moment, as a new table",
    "backup": "moments of a table, kept by name beyond its retention",
}
"""First words that only group verbs."""


class WrongUsage(Exception):
    """The command line cannot be understood. help: one screen for the verb it was meant for. verb: None if not even that is known."""

    def __init__(self, message: str, *, help_text: str, verb: Verb | None) -> None:
        super().__init__(message)
        self.help_text = help_text
        self.verb = verb


class HelpWanted(Exception):
    """-h: text for stdout, exit 0."""


class VersionWanted(Exception):
    """--version: the version on stdout, exit 0."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=HELP_WIDTH, max_help_position=24)


class _HelpAction(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> NoReturn:
        raise HelpWanted(parser.format_help())


class _VersionAction(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> NoReturn:
        raise VersionWanted


class VerbParser(argparse.ArgumentParser):
    """An ArgumentParser that raises instead of leaving the process."""

    def __init__(self, *, verb: Verb | None = None, **kwargs: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, formatter_class=_Formatter, **kwargs)
        self.verb = verb
        self.add_argument("-h", "--help", action=_HelpAction, nargs=0, default=argparse.SUPPRESS, help="show this help and exit")

    def error(self, message: str) -> NoReturn:
        # The help above the message lists what there is to choose from; one screen has no room for it twice.
        raise WrongUsage(message.partition(" (choose from ")[0], help_text=self.format_help(), verb=self.verb)


def build(verbs: Sequence[Verb]) -> tuple[VerbParser, dict[tuple[str, ...], VerbParser]]:
    """The parser and each verb's own parser by its words."""
    root = VerbParser(
        prog="scrubjay",
        description="A replicated, DynamoDB-compatible store whose history cannot silently rot.",
        epilog="scrubjay VERB -h shows an example and the exit codes of a verb.",
    )
    root.add_argument("--version", action=_VersionAction, nargs=0, default=argparse.SUPPRESS, help="show the version and exit")
    _common(root, endpoint=True)
    top = root.add_subparsers(metavar="VERB", title="verbs", parser_class=VerbParser)
    groups: dict[str, Any] = {}
    parsers: dict[tuple[str, ...], VerbParser] = {}
    for verb in verbs:
        where = top
        if len(verb.words) == 2:
            if verb.words[0] not in groups:
                group = top.add_parser(verb.words[0], help=GROUPS[verb.words[0]], description=GROUPS[verb.words[0]])
                _common(group, endpoint=True)
                groups[verb.words[0]] = group.add_subparsers(metavar="VERB", title="verbs", parser_class=VerbParser)
            where = groups[verb.words[0]]
        parser = where.add_parser(
            verb.words[-1], help=verb.summary, description="\n".join(wrapped(verb.summary)), epilog=_epilog(verb), verb=verb
        )
        verb.options(parser)
        _common(parser, endpoint=verb.talks_to_cluster)
        parser.set_defaults(verb=verb)
        parsers[verb.words] = parser
    return root, parsers


def parse(verb: Verb | None, every: Callable[[], Sequence[Verb]], argv: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """The verb and its options. verb: what the command line begins with, if it does. every: all verbs, which are asked for where that one does not do. Raises WrongUsage or HelpWanted."""
    if verb is not None:
        with suppress(WrongUsage, HelpWanted, VersionWanted):  # told by all of them: a page of help names its neighbours
            return _parse([verb], argv)
    return _parse(every(), argv)


def _parse(verbs: Sequence[Verb], argv: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    root, parsers = build(verbs)
    options, rest = root.parse_known_args(list(argv))
    verb: Verb | None = getattr(options, "verb", None)
    if verb is None:
        group = next((word for word in argv if word in GROUPS), None)
        if rest:
            root.error(f"unrecognized arguments: {' '.join(rest)}")
        if group is None:
            root.error("which verb?")
        raise WrongUsage(f"scrubjay {group}: which verb?", help_text=_group_help(group, verbs), verb=None)
    if rest:
        parsers[verb.words].error(f"unrecognized arguments: {' '.join(rest)}")
    return verb, options


def _group_help(group: str, verbs: Sequence[Verb]) -> str:
    lines = [f"scrubjay {group}: {GROUPS[group]}", ""]
    for verb in verbs:
        if verb.words[0] == group:
            lines += wrapped(verb.summary, first=f"  scrubjay {verb.name:<16} ", rest=" " * 28)
    return "\n".join(lines) + "\n"


def _common(parser: VerbParser, *, endpoint: bool) -> None:
    common = parser.add_argument_group("common options")
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout and nothing else")
    common.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress on stderr")
    if endpoint:
        common.add_argument(
            "--endpoint",
            metavar="URL",
            default=argparse.SUPPRESS,
            help="the cluster (SCRUBJAY_ENDPOINT, else where the configuration says it listens)",
        )
    common.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="TOML file (SCRUBJAY_CONFIG), see docs/CONFIG.md")


def _epilog(verb: Verb) -> str:
    codes = {**verb.exits, USAGE: EXIT_MEANING[USAGE], INTERRUPTED: EXIT_MEANING[INTERRUPTED]}
    lines = ["example:", *(f"  {line}" for line in verb.example), "", "exit codes:"]
    for code, meaning in sorted(codes.items()):
        lines += wrapped(meaning, first=f"  {code:>3}  ", rest=" " * 7)
    return "\n".join(lines)
