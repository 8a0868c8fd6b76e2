"""The verbs, a file each, in the order of `scrubjay -h`. A verb that is not built yet is not here: absent from help, exit 64."""

from __future__ import annotations

from scrubjay.verb import Verb
from scrubjay.verbs import (
    archive_status,
    cluster_takeover,
    config_check,
    demo,
    restore_cancel,
    restore_plan,
    restore_resume,
    restore_run,
    restore_status,
    schedule_list,
    schedule_pause,
    schedule_resume,
    schedule_run,
    schedule_set,
    scrub_history,
    scrub_pause,
    scrub_resume,
    scrub_run,
    scrub_status,
    serve,
    status,
    verify,
)

VERBS: tuple[Verb, ...] = (
    serve.VERB,
    demo.VERB,
    status.VERB,
    config_check.VERB,
    archive_status.VERB,
    verify.VERB,
    scrub_run.VERB,
    scrub_status.VERB,
    scrub_history.VERB,
    scrub_pause.VERB,
    scrub_resume.VERB,
    schedule_list.VERB,
    schedule_set.VERB,
    schedule_run.VERB,
    schedule_pause.VERB,
    schedule_resume.VERB,
    restore_plan.VERB,
    restore_run.VERB,
    restore_status.VERB,
    restore_resume.VERB,
    restore_cancel.VERB,
    cluster_takeover.VERB,
)
