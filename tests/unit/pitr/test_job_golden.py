"""The notes of a restore as version 3 wrote them are read by every later version."""

from __future__ import annotations

import json

import msgspec
import pytest

from scrubjay.pitr.job import FAILED, LOAD, PUBLISHED, AskedNote, PartitionJob, RestoreJob, WindowNote, load_job
from scrubjay.scrubber.report import ScrubFound
from scrubjay.storage.service_port import Finding
from tests.fixtures.golden import Golden
from tests.unit.scrubber.scrub_world import table_of


def job(name: str) -> RestoreJob:
    meta = table_of(7, 2)
    made = RestoreJob(
        source_id="00000001-1111-4000-8000-000000000000",
        source_name="cities",
        target="cities-good",
        target_id=meta.table_id,
        at_us=1_760_000_000_123_456,
        asked=AskedNote(minus_us=300_000_000),
        beyond_latest=True,
        created_us=1_760_000_001_000_000,
        meta=msgspec.to_builtins(meta),
        window=WindowNote("2025-10-09T08:00:00.000000Z", "2025-10-09T08:53:19.000000Z", []),
        max_offset_us=500_000,
        phase=LOAD,
        predicted_seconds=1.75,
        seconds={"plan": 0.5, "read": 1.25},
        partitions=[
            PartitionJob(
                "s0",
                meta.partitions[0].partition_id,
                854,
                3,
                16059,
                40000,
                8,
                855,
                1070,
                "0a" * 16,
                700,
                "k/base",
                {"n1": ("0a" * 16, 700)},
            ),
            PartitionJob("s1", meta.partitions[1].partition_id, 0, 2, 100, 200, 4, 1, 20),
        ],
    )
    if name == "published":
        made.phase = made.state = PUBLISHED
        made.finished_us = 1_760_000_009_000_000
        made.partitions[1] = PartitionJob(
            "s1", meta.partitions[1].partition_id, 0, 2, 100, 200, 4, 1, 20, "01" * 16, 3, "k/base2", {"n1": ("01" * 16, 3)}
        )
    if name == "failed":
        made.state, made.finished_us = FAILED, 1_760_000_009_000_000
        made.error = {"code": "Corrupt", "message": "m", "asked": "a", "found": "f", "next": "n"}
        object_ = f"c/t={made.source_id}/p=s0/log/0000000000000001-0000000000000002.0.00112233445566aa.seg"
        at_us = 1_760_000_008_000_000
        found = Finding("unreadable", "archive", "s0", None, None, object_, 1, object_, "read", "none", "CRC", at_us)
        made.findings = [ScrubFound(found).as_json()]
    return made


@pytest.mark.parametrize("name", ["running", "published", "failed"])
def test_golden_notes(golden: Golden, name: str) -> None:
    golden.check_json(f"v3/restore-job/{name}.json", job(name).as_notes())
    read = load_job(json.loads(golden.read(f"v3/restore-job/{name}.json")))
    assert read is not None
    assert msgspec.json.encode(read, order="sorted") == msgspec.json.encode(job(name), order="sorted")
    assert read.target_meta == job(name).target_meta
    report = read.report()
    for later in ("forks", "degraded"):
        assert report.pop(later) == [], "a field that came later: notes without it have none"
    golden.check_json(f"v3/restore-job/{name}.report.json", report)


def test_notes_of_another_version_are_left_alone() -> None:
    notes = job("running").as_notes()
    assert load_job({**notes, "version": 2}) is None
    assert load_job({**notes, "phase": 7}) is None
    later = load_job({**notes, "later": "field"})
    assert later is not None
    assert later.partitions == job("running").partitions
