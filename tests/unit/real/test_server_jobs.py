"""Which of a server's jobs give way to whoever is served, and which rest (ADR 0057)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.compact.make import ANEW_JOB, MAKE_JOB
from scrubjay.archiver.write.bases import UPLOAD
from scrubjay.archiver.write.settling import PREPARE_JOB, PREPARE_LATE_JOB
from scrubjay.config import Config
from scrubjay.pitr.source import REBUILD, REBUILD_PART
from scrubjay.pitr.timeline.service import DIFF, HISTORY
from scrubjay.serving import jobs


def test_packs_and_bases_give_way_and_a_segment_that_is_late_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[dict[str, Any]] = []
    monkeypatch.setattr(jobs, "WorkerJobs", lambda _folder, **said: pools.append(said))
    jobs.open_jobs(tmp_path, Config(), "cluster", workers=2, settings={})
    (pool,) = pools
    assert {MAKE_JOB, ANEW_JOB, UPLOAD, REBUILD, REBUILD_PART, DIFF, HISTORY} <= set(pool["give_way"])
    assert PREPARE_JOB in pool["rest"], "each is a burst of some 50 ms of a core"
    assert PREPARE_LATE_JOB not in pool["give_way"], "its log is kept until it is archived"
    assert set(pool["rest"]) <= set(pool["give_way"])
    assert {MAKE_JOB, ANEW_JOB} <= set(pool["rest"])
    assert not {UPLOAD, REBUILD, REBUILD_PART, DIFF, HISTORY} & set(pool["rest"]), "somebody waits for these"
