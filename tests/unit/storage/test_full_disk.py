"""What a full disk means to the parts of a node: "later", never "rotten", and nothing forgotten."""

from __future__ import annotations

import lmdb
import pytest

from base.errors import Corrupt, DiskFull, ScrubjayError
from storage.btree.lmdb_tree import error_of
from storage.control.findings import FILE, Findings
from storage.service_port import Finding


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lmdb.Error("mdb_txn_commit: MDB_SHORT_WRITE: Fewer bytes were written than requested"), DiskFull),
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), DiskFull),
        (lmdb.MapFullError("mdb_put: MDB_MAP_FULL"), DiskFull),
        (lmdb.DiskError("mdb_txn_commit: Input/output error"), Corrupt),
        (lmdb.CorruptedError("mdb_get: MDB_CORRUPTED"), Corrupt),
    ],
)
def test_an_lmdb_error_is_rot_or_a_full_disk(error: lmdb.Error, kind: type[ScrubjayError]) -> None:
    """A commit that found room for a part of its pages made a healthy copy suspect once."""
    assert type(error_of(error)) is kind


class SmallDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.full = False

    def read_file(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write_file(self, path: str, data: bytes) -> None:
        if self.full:
            raise DiskFull("the disk is full")
        self.files[path] = data


def finding(copy: str) -> Finding:
    return Finding("unreadable", copy, "p1", None, None, None, None, None, "read", "none", "", 5)


def test_findings_on_a_full_disk_are_kept_and_written_with_the_next() -> None:
    disk = SmallDisk()
    findings = Findings(disk)  # type: ignore[arg-type]
    disk.full = True
    assert findings.add(finding("n1"))
    assert not findings.add(finding("n1"))
    assert FILE not in disk.files
    disk.full = False
    findings.add(finding("n2"))
    again = Findings(disk)  # type: ignore[arg-type]
    assert [one.copy for one in again.of("p1")] == ["n1", "n2"]  # type: ignore[arg-type]
