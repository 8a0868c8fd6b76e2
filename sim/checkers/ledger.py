"""Durability ledger, kept outside the store: acknowledged means present, failed means absent, no answer means either."""

from __future__ import annotations

from collections.abc import Mapping


class DurabilityLedger:
    """Ids of writes and what was said about them."""

    def __init__(self) -> None:
        self._acknowledged: dict[int, int] = {}
        self._failed: dict[int, None] = {}
        self._open: dict[int, None] = {}

    def sent(self, id_: int) -> None:
        self._open[id_] = None

    def acknowledged(self, id_: int, lsn: int) -> None:
        self._open.pop(id_, None)
        self._acknowledged[id_] = lsn

    def failed(self, id_: int) -> None:
        """The answer was: certainly not done."""
        self._open.pop(id_, None)
        self._failed[id_] = None

    @property
    def count(self) -> int:
        """Writes acknowledged."""
        return len(self._acknowledged)

    def check(self, log: Mapping[int, int]) -> list[str]:
        """Findings. log: LSN -> id of the write in that record, the whole surviving log (records that are no write left out)."""
        findings = []
        places: dict[int, int] = {}
        for lsn, id_ in log.items():
            if id_ in places:
                findings.append(f"write {id_} is there twice, at LSN {places[id_]} and {lsn}")
            places[id_] = lsn
        for id_, lsn in self._acknowledged.items():
            if id_ not in places:
                findings.append(f"write {id_}, acknowledged at LSN {lsn}, is lost")
            elif places[id_] != lsn:
                findings.append(f"write {id_}, acknowledged at LSN {lsn}, is at LSN {places[id_]}")
        findings += [f"write {id_} was answered as not done and is there" for id_ in self._failed if id_ in places]
        sent = {**self._acknowledged, **self._failed, **self._open}
        findings += [f"write {id_} at LSN {lsn} was never sent" for id_, lsn in places.items() if id_ not in sent]
        return findings
