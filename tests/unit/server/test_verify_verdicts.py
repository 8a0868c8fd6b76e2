"""What the ledger keeps of a verify: a verdict for each partition it covered, and never a better one than it found."""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.archiver.verify.report import ArchiveFinding, VerifyReport
from scrubjay.scrubber.ledger import WHOLE
from scrubjay.server.verifying import verdicts
from tests.unit.scrubber.scrub_world import table_of

ONE, TWO = table_of(1, 2), table_of(2, 1)
PARTS = [info.partition_id for table in (ONE, TWO) for info in table.partitions]


def finding(table: str | None, partition: str | None) -> ArchiveFinding:
    return ArchiveFinding("unreadable", "some/object", 5, None, table, partition, "CRC")


def kept(
    *findings: ArchiveFinding, complete: bool = True, whole: bool = True, reason: str | None = None, covered: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    report = VerifyReport(
        "c", "records", end_checked=True, complete=complete, reason=reason, findings=list(findings), covered=list(covered)
    )
    proofs = verdicts(report, [ONE, TWO], whole=whole, at_us=7)
    assert all((proof.depth, proof.at_us) == ("records", 7) for proof in proofs)
    return {proof.partition: proof.verdict for proof in proofs}


def test_a_clean_run_is_a_match_of_all_it_covered() -> None:
    assert kept() == dict.fromkeys([*PARTS, WHOLE], "match")
    assert kept(whole=False) == dict.fromkeys(PARTS, "match")


def test_what_was_found_stands_with_its_partition_alone() -> None:
    assert kept(finding(ONE.table_id, PARTS[1])) == {PARTS[0]: "match", PARTS[1]: "mismatch", PARTS[2]: "match", WHOLE: "match"}
    assert kept(finding(ONE.table_id, None)) == {PARTS[0]: "mismatch", PARTS[1]: "mismatch", PARTS[2]: "match", WHOLE: "match"}


def test_what_belongs_to_no_known_partition_stands_with_the_archive() -> None:
    for stray in (finding(None, None), finding("unknown", "unknown"), finding(ONE.table_id, "unknown")):
        assert kept(stray) == {**dict.fromkeys(PARTS, "match"), WHOLE: "mismatch"}


def test_a_run_that_was_cut_off_proves_nothing_and_hides_nothing() -> None:
    assert kept(complete=False, reason="budget_spent") == {}
    assert kept(finding(ONE.table_id, PARTS[0]), complete=False, reason="budget_spent") == {PARTS[0]: "mismatch"}
    assert kept(finding(ONE.table_id, PARTS[0]), complete=False, reason="too_many_findings") == {PARTS[0]: "mismatch"}


def test_a_run_that_was_cut_off_has_proven_the_partitions_it_was_through_with() -> None:
    done = [(ONE.table_id, PARTS[0]), (ONE.table_id, PARTS[1])]
    found = kept(finding(ONE.table_id, PARTS[0]), complete=False, reason="budget_spent", covered=done)
    assert found == {PARTS[0]: "mismatch", PARTS[1]: "match"}


def test_an_archive_that_is_out_of_sight_says_nothing_about_its_objects() -> None:
    assert kept(finding(None, None), complete=False, reason="archive_gone") == {}
