"""The reports that are kept: a file each below `drills/reports/` of the data folder, named so that they sort by time. The oldest go when there are many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from scrubjay.base.env import Disk
from scrubjay.base.errors import ScrubjayError
from scrubjay.drills.report import decode

FOLDER = "drills/reports"
KEPT_MAX = 500


class DrillBook:
    """disk: rooted at the data folder. log: a line for each report that cannot be read; it is left where it is, and counts for nothing."""

    def __init__(self, disk: Disk, *, log: Callable[[str], None]) -> None:
        self._disk, self._log = disk, log
        self._reports: list[dict[str, Any]] | None = None

    def all(self) -> list[dict[str, Any]]:
        """Oldest first."""
        if self._reports is None:
            reports = []
            for name in self._names():
                try:
                    reports.append(decode(self._disk.read_file(f"{FOLDER}/{name}") or b"", where=name))
                except ScrubjayError as error:  # of the machine too: `status` is asked in the worst of times, and must answer
                    self._log(f"{FOLDER}/{name} is left out: {error}")
            self._reports = reports
        return self._reports

    def find(self, drill: str | None) -> dict[str, Any] | None:
        """By its id; None: the newest."""
        reports = self.all()
        return next((one for one in reversed(reports) if drill in (None, one["id"])), None)

    def keep(self, report: dict[str, Any], *, began_us: int) -> None:
        """Durable when it returns. Raises DiskFull, Corrupt."""
        reports = self.all()
        self._disk.mkdir(FOLDER)
        self._disk.write_file(f"{FOLDER}/{began_us:016x}-{report['id']}.json", msgspec.json.format(msgspec.json.encode(report), indent=2))
        reports.append(report)
        names = self._names()
        for name in names[: max(0, len(names) - KEPT_MAX)]:
            self._disk.remove(f"{FOLDER}/{name}")
        del reports[: max(0, len(reports) - KEPT_MAX)]

    def _names(self) -> list[str]:
        return [name for name in self._disk.listdir(FOLDER) if name.endswith(".json") and not name.startswith(".")]
