"""The verbs, a file each, in the order of `scrubjay -h`. A verb that is not built yet is not here: absent from help, exit 64.

Somebody asks for one of them at a time: its file alone is loaded (`asked_for`); all of them (`every_verb`) for the help, and for a command line that is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

from scrubjay.verb import Verb

FILES = {
    ("serve",): "scrubjay.verbs.serve",
    ("demo",): "scrubjay.verbs.demo",
    ("status",): "scrubjay.verbs.status",
    ("config", "check"): "scrubjay.verbs.config_check",
    ("archive", "status"): "scrubjay.verbs.archive_status",
    ("verify",): "scrubjay.verbs.verify",
    ("scrub", "run"): "scrubjay.verbs.scrub_run",
    ("scrub", "status"): "scrubjay.verbs.scrub_status",
    ("scrub", "history"): "scrubjay.verbs.scrub_history",
    ("scrub", "pause"): "scrubjay.verbs.scrub_pause",
    ("scrub", "resume"): "scrubjay.verbs.scrub_resume",
    ("alerts", "test"): "scrubjay.verbs.alerts_test",
    ("schedule", "list"): "scrubjay.verbs.schedule_list",
    ("schedule", "set"): "scrubjay.verbs.schedule_set",
    ("schedule", "run"): "scrubjay.verbs.schedule_run",
    ("schedule", "pause"): "scrubjay.verbs.schedule_pause",
    ("schedule", "resume"): "scrubjay.verbs.schedule_resume",
    ("restore", "plan"): "scrubjay.verbs.restore_plan",
    ("restore", "run"): "scrubjay.verbs.restore_run",
    ("restore", "status"): "scrubjay.verbs.restore_status",
    ("restore", "resume"): "scrubjay.verbs.restore_resume",
    ("restore", "cancel"): "scrubjay.verbs.restore_cancel",
    ("backup", "create"): "scrubjay.verbs.backup_create",
    ("backup", "list"): "scrubjay.verbs.backup_list",
    ("backup", "show"): "scrubjay.verbs.backup_show",
    ("backup", "restore"): "scrubjay.verbs.backup_restore",
    ("backup", "delete"): "scrubjay.verbs.backup_delete",
    ("drill", "list"): "scrubjay.verbs.drill_list",
    ("drill", "run"): "scrubjay.verbs.drill_run",
    ("drill", "report"): "scrubjay.verbs.drill_report",
    ("history",): "scrubjay.verbs.history",
    ("diff",): "scrubjay.verbs.diff",
    ("undo",): "scrubjay.verbs.undo",
    ("export",): "scrubjay.verbs.export",
    ("import",): "scrubjay.verbs.import_table",
    ("archive", "compact"): "scrubjay.verbs.archive_compact",
    ("archive", "move"): "scrubjay.verbs.archive_move",
    ("expire", "plan"): "scrubjay.verbs.expire_plan",
    ("expire", "run"): "scrubjay.verbs.expire_run",
    ("recover",): "scrubjay.verbs.recover",
    ("cluster", "init"): "scrubjay.verbs.cluster_init",
    ("cluster", "status"): "scrubjay.verbs.cluster_status",
    ("cluster", "version"): "scrubjay.verbs.cluster_version",
    ("cluster", "join"): "scrubjay.verbs.cluster_join",
    ("cluster", "drain"): "scrubjay.verbs.cluster_drain",
    ("cluster", "remove"): "scrubjay.verbs.cluster_remove",
    ("cluster", "replace"): "scrubjay.verbs.cluster_replace",
    ("cluster", "recover-quorum"): "scrubjay.verbs.cluster_recover_quorum",
    ("cluster", "takeover"): "scrubjay.verbs.cluster_takeover",
    ("table", "partitions"): "scrubjay.verbs.table_partitions",
    ("table", "split"): "scrubjay.verbs.table_split",
    ("debug", "bundle"): "scrubjay.verbs.debug_bundle",
}
"""Words, as typed -> the module of this package that holds the verb."""


def asked_for(argv: Sequence[str]) -> Verb | None:
    """The verb that a command line begins with; None if it begins with none, as with an option before it."""
    for count in (1, 2):
        name = FILES.get(tuple(argv[:count]))
        if name is not None:
            return _verb(name)
    return None


@cache
def every_verb() -> tuple[Verb, ...]:
    """All of them."""
    return tuple(map(_verb, FILES.values()))


def _verb(name: str) -> Verb:
    found: Verb = import_module(name).VERB
    return found
