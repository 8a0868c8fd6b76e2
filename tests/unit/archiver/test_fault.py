"""What is wrong with an object of the archive is said by fields: its kind, its key, its place in the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scrubjay import archiver, pitr, scrubber
from scrubjay.archiver.format.fault import Fault, fault_of, object_of
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, is_of_base, log_prefix, segment_of
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing

IDS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b", "00000000-0000-4000-8000-00000000000c")
SEGMENT = build(SegmentKey(*IDS, 1, 9, 1, "0" * 16, False))
MANIFEST = build(SegmentKey(*IDS, 1, 9, 1, "0" * 16, True))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"what": SEGMENT}, SEGMENT),
        ({"where": MANIFEST, "what": SEGMENT}, MANIFEST),
        ({"where": "tmp/scrub/a.rows", "what": "rowfile"}, None),
        ({"where": 12, "what": "segment"}, None),
    ],
)
def test_the_object_is_the_key_that_the_error_names(fields: dict[str, object], named: str | None) -> None:
    assert object_of(Corrupt("x", **fields)) == named


def test_what_was_being_read_stands_in_for_what_the_error_does_not_name() -> None:
    assert fault_of(Corrupt("x", kind=FORGED, where=MANIFEST, lsn=4), where=SEGMENT, lsn=1) == Fault(
        FORGED, MANIFEST, 4, f"x (kind=forged, where={MANIFEST}, lsn=4)"
    )
    assert fault_of(Missing("gone"), where=SEGMENT, lsn=1)[:3] == (HOLE, SEGMENT, 1)
    assert fault_of(Missing("gone", lsn=5), lsn=1)[:3] == (HOLE, "", 5)


def test_whose_object_a_key_is() -> None:
    log = log_prefix(*IDS)
    segment = SegmentKey(*IDS, 1, 9, 1, "0" * 16, False)
    base = BaseKey(*IDS, 9, 1, "0" * 16, None)
    assert segment_of(build(segment)) == segment_of(build(segment.twin())) == build(segment)
    assert segment_of(f"{log}{1:016x}-") == f"{log}{1:016x}-", "of a lost one as much as is known"
    assert segment_of(build(base)) is segment_of(f"{IDS[0]}/closed/n1/log/x") is segment_of("") is None
    assert is_of_base(build(base), base)
    assert is_of_base(build(base._replace(part=3)), base)
    assert not is_of_base(build(base._replace(generation=2)), base)
    assert not is_of_base(build(segment), base)


WORDS = re.compile(r"\bin (str\(\w+\)|\w+\.message)|(str\(error\)|\.message)\.(startswith|endswith|find)")


def test_nobody_who_reads_the_archive_searches_the_words_of_an_error() -> None:
    assert WORDS.search('if "has version" in str(error):')
    assert WORDS.search("any(word in error.message for word in _FORGED)")
    found = [
        f"{path}:{number}"
        for room in (archiver, scrubber, pitr)
        for path in sorted(Path(room.__path__[0]).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []
