"""Findings made outside a scrub (by a read, a seal, an agent), kept over restarts until a scrub of their partition reports them.

File `findings.json` in the data folder, written atomically at each change: {"version": 1, "findings": [...]}; bytes as hex. An unreadable file is set
aside under a new name, never overwritten: it is evidence.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from base.env import Disk
from base.errors import DiskFull
from base.ids import PartitionId
from storage.service_port import Finding

FILE = "findings.json"
KEPT_MAX = 1000
"""Per cluster; beyond it the oldest are dropped (the newest matter, and a scrub reports them all)."""


class _File(msgspec.Struct):
    version: int
    findings: list[Finding]


class Findings:
    """One fault is kept once: the same (partition, copy, kind, storage key) found again only moves its time."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._kept: dict[tuple[str, str, str, bytes | None], Finding] = {}
        data = disk.read_file(FILE)
        if data is not None:
            try:
                for finding in msgspec.json.decode(data, type=_File).findings:
                    self._kept[_identity(finding)] = finding
            except msgspec.MsgspecError:
                at = 1
                while disk.exists(f"{FILE}.damaged-{at}"):
                    at += 1
                disk.rename(FILE, f"{FILE}.damaged-{at}")

    def of(self, partition: PartitionId) -> list[Finding]:
        return [finding for finding in self._kept.values() if finding.partition == partition]

    def add(self, finding: Finding) -> bool:
        """True if this fault was not known."""
        identity = _identity(finding)
        new = identity not in self._kept
        self._kept[identity] = finding
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._write()
        return new

    def forget(self, partition: PartitionId) -> None:
        """A scrub has reported them."""
        before = len(self._kept)
        self._kept = {identity: finding for identity, finding in self._kept.items() if finding.partition != partition}
        if len(self._kept) != before:
            self._write()

    def _write(self) -> None:
        """A full disk loses nothing: what could not be written stays in memory, is reported from there, and goes along with the next change."""
        with suppress(DiskFull):
            self._disk.write_file(FILE, msgspec.json.encode(_File(1, list(self._kept.values()))))


def _identity(finding: Finding) -> tuple[str, str, str, bytes | None]:
    return finding.partition, finding.copy, finding.kind, finding.storage_key
