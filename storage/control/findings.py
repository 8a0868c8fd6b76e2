"""Findings made outside a scrub (by a read, a seal, an agent), kept over restarts until a scrub of their partition reports them.

File `findings.json` in the data folder, written atomically at each change: {"version": 1, "findings": [...]}; bytes as base64. An unreadable file is set
aside under a new name, never overwritten: it is evidence, and `trouble` says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from scrubjay.base.env import Disk
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.service_port import Finding

FILE = "findings.json"
KEPT_MAX = 1000
"""Per cluster. Beyond it the oldest of the copy with the most goes: one copy that rotted through must not push out the only word about another."""

WINDOW_US = 35 * 86_400_000_000
"""How long a finding about a dropped table is kept: no scrub will ever tell of it, and its history ends then."""
VERSION = 1

Identity = tuple[str, str, str, bytes | None, str | None, int | None]


class _File(msgspec.Struct):
    version: int
    findings: list[Finding]


class Findings:
    """One fault is kept once: the same (partition, copy, kind, and storage key, or object and LSN) found again only moves its time; of an object of the archive not even that.

    dropped: for want of room. trouble: why the file did not take the last change, or was not read at the start; None: all is well.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._kept: dict[Identity, Finding] = {}
        self.dropped = 0
        self.trouble: str | None = None
        try:
            self._read()
        except ScrubjayError as error:
            self.trouble = f"{FILE} could not be read: {error}"

    def __len__(self) -> int:
        return len(self._kept)

    def _read(self) -> None:
        data = self._disk.read_file(FILE)
        if data is None:
            return
        try:
            read = msgspec.json.decode(data, type=_File)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            read = None
        if read is not None and read.version == VERSION:
            self._kept = {_identity(finding): finding for finding in read.findings}
            return
        at = 1
        while self._disk.exists(aside := f"{FILE}.damaged-{at}"):
            at += 1
        self._disk.rename(FILE, aside)
        self.trouble = f"{FILE} could not be understood and was set aside as {aside}: what was found before it is not told any more"

    def all(self) -> list[Finding]:
        return list(self._kept.values())

    def of(self, partition: PartitionId) -> list[Finding]:
        return [finding for finding in self._kept.values() if finding.partition == partition]

    def add(self, finding: Finding) -> bool:
        """True if this fault was not known."""
        identity = _identity(finding)
        new = identity not in self._kept
        # An object is written once: the second member that finds it bad, while a scrub runs, would have that scrub tell of it and the next one again.
        if not new and finding.object is not None:
            finding = self._kept[identity]
        self._kept[identity] = finding
        while len(self._kept) > KEPT_MAX:
            self._drop_one()
        self._write()
        return new

    def named(self, finding: Finding, key: dict[str, Any]) -> None:
        """What the row of a finding is called. One that is kept no more stays forgotten."""
        identity = _identity(finding)
        kept = self._kept.get(identity)
        if kept is not None and kept.key is None:
            self._kept[identity] = kept._replace(key=key)
            self._write()

    def set_aside(self, partition: PartitionId, copy: str, evidence: str) -> None:
        """The tree in which these faults of a copy were found lies there from now on. What was found in an earlier tree keeps its own place."""
        found = {
            identity: finding
            for identity, finding in self._kept.items()
            if (finding.partition, finding.copy, finding.evidence) == (partition, copy, None)
        }
        self._kept.update((identity, finding._replace(evidence=evidence)) for identity, finding in found.items())
        if found:
            self._write()

    def forget(self, reported: Iterable[Finding]) -> None:
        """A scrub has reported these. One that was found again after it was handed out stays."""
        gone = [
            identity for finding in reported if (known := self._kept.get(identity := _identity(finding))) and known.at_us <= finding.at_us
        ]
        for identity in gone:
            self._kept.pop(identity, None)
        if gone:
            self._write()

    def expire(self, partitions: Collection[str], *, before_us: int) -> None:
        """Forget what was found in `partitions` (of dropped tables) before then."""
        gone = [identity for identity, one in self._kept.items() if one.partition in partitions and one.at_us < before_us]
        for identity in gone:
            del self._kept[identity]
        if gone:
            self._write()

    def _drop_one(self) -> None:
        count: dict[tuple[str, str], int] = {}
        for finding in self._kept.values():
            count[finding.partition, finding.copy] = count.get((finding.partition, finding.copy), 0) + 1
        most = max(count, key=lambda place: count[place])
        del self._kept[next(identity for identity, finding in self._kept.items() if (finding.partition, finding.copy) == most)]
        self.dropped += 1

    def _write(self) -> None:
        """A disk that takes nothing loses nothing: what could not be written stays in memory, is reported from there, and goes along with the next change."""
        try:
            self._disk.write_file(FILE, msgspec.json.encode(_File(VERSION, list(self._kept.values()))))
        except ScrubjayError as error:
            self.trouble = f"{FILE} could not be written: {error}"
        else:
            self.trouble = None


def _identity(finding: Finding) -> Identity:
    """An item's fault is named by its key, whatever was applied when it was met; any other by its object and LSN."""
    place = (None, None) if finding.storage_key is not None else (finding.object, finding.lsn)
    return finding.partition, finding.copy, finding.kind, finding.storage_key, *place
