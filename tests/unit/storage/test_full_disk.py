"""What a full disk means to the parts of a node: "later", never "rotten", and nothing forgotten."""

from __future__ import annotations

import errno

import lmdb
import pytest

from scrubjay.base.errors import Corrupt, DiskFull, Exhausted, ScrubjayError, Unavailable
from scrubjay.base.ids import PartitionId
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.world import World
from scrubjay.storage.btree.lmdb_tree import error_of
from scrubjay.storage.control.findings import FILE, Findings
from scrubjay.storage.service_port import Finding


def numbered(error: lmdb.Error, code: int) -> lmdb.Error:
    """As the binding raises it: the number is an attribute, the class may be the general one."""
    error.code = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lmdb.Error("mdb_txn_commit: MDB_SHORT_WRITE: Fewer bytes were written than requested"), DiskFull),
        (numbered(lmdb.DiskError("mdb_txn_commit"), errno.ENOSPC), DiskFull),
        (numbered(lmdb.Error("mdb_txn_commit"), errno.EDQUOT), DiskFull),
        (lmdb.MapFullError("mdb_put: MDB_MAP_FULL"), DiskFull),
        (numbered(lmdb.DiskError("mdb_txn_commit"), errno.EIO), Corrupt),
        (lmdb.CorruptedError("mdb_get: MDB_CORRUPTED"), Corrupt),
        (lmdb.InvalidError("mdb_env_open: MDB_INVALID"), Corrupt),
        (numbered(lmdb.MemoryError("mdb_env_open"), errno.ENOMEM), Exhausted),
        (numbered(lmdb.Error("mdb_env_open"), errno.EMFILE), Exhausted),
        (numbered(lmdb.Error("mdb_env_open"), errno.ENFILE), Exhausted),
        (numbered(lmdb.LockError("mdb_env_open"), errno.EAGAIN), Exhausted),
        (numbered(lmdb.ReadonlyError("mdb_env_open"), errno.EACCES), Unavailable),
        (lmdb.ReadersFullError("mdb_txn_begin"), Unavailable),
        (lmdb.PanicError("mdb_txn_begin"), Unavailable),
    ],
)
def test_an_lmdb_error_is_rot_only_if_it_speaks_of_bytes_that_were_read(error: lmdb.Error, kind: type[ScrubjayError]) -> None:
    """A commit that found room for a part of its pages made a healthy copy suspect once."""
    assert type(error_of(error)) is kind


def finding(copy: str) -> Finding:
    return Finding("unreadable", copy, "p1", None, None, None, None, None, "read", "none", "", 5)


def test_findings_on_a_full_disk_are_kept_and_written_with_the_next() -> None:
    world = World(1)
    disk = SimDisk(world, "n1", capacity=1 << 20)
    disk.attach(Life(world))
    findings = Findings(disk)
    disk.capacity = 0
    assert findings.add(finding("n1"))
    assert not findings.add(finding("n1"))
    assert not disk.exists(FILE)
    disk.capacity = 1 << 20
    findings.add(finding("n2"))
    again = Findings(disk)
    assert [one.copy for one in again.of(PartitionId("p1"))] == ["n1", "n2"]
