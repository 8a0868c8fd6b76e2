"""The reports that are kept: a file each below `drills/reports/` of the data folder, named so that they sort by time. The oldest go when there are many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from scrubjay.base.env import Disk
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.drills.report import decode

FOLDER = "drills/reports"
KEPT_MAX = 500
NEXT = "it was changed or cut short since it was signed, and counts for nothing: put the file back from a copy of the data folder, or take it away"


class DrillBook:
    """disk: rooted at the data folder. log: a line for each report that cannot be read; it is left where it is, and counts for nothing."""

    def __init__(self, disk: Disk, *, log: Callable[[str], None]) -> None:
        self._disk, self._log = disk, log
        self._reports: list[dict[str, Any]] | None = None
        self.damaged: dict[str, Corrupt] = {}
        """What is wrong with those that are no report any more, by the name of the file, as of the last look."""
        self._told: dict[str, str] = {}

    def all(self) -> list[dict[str, Any]]:
        """Oldest first. What the machine could not read is left out, and looked for again the next time."""
        if self._reports is not None:
            return self._reports
        reports, damaged, whole = [], dict[str, Corrupt](), True
        for name in self._names():
            try:
                reports.append(decode(self._disk.read_file(f"{FOLDER}/{name}") or b"", where=name))
            except ScrubjayError as error:  # of the machine too: `status` is asked in the worst of times, and must answer
                if isinstance(error, Corrupt):
                    damaged[name] = error
                else:
                    whole = False
                if self._told.get(name) != str(error):
                    self._log(f"{FOLDER}/{name} is left out: {error}")
                    self._told[name] = str(error)
        self.damaged = damaged
        if whole:
            self._reports, self._told = reports, {}
        return reports

    def find(self, drill: str | None) -> dict[str, Any] | None:
        """By its id; None: the newest. Raises Corrupt if that is no report any more, or not the one that was signed."""
        reports = self.all()
        names = [name for name in self._names() if name.endswith(f"-{drill}.json" if drill else ".json")][-1:]
        for name in names:
            if name in self.damaged:
                error = self.damaged[name]
                raise Corrupt(error.message, **{**error.fields, "where": f"{FOLDER}/{name}"}, next=NEXT)
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
