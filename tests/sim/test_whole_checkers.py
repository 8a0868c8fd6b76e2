"""Known-bad worlds: a whole cluster whose last answers are forged must be noticed by every checker that looks at them, and a forged copy and restore by theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import PartitionId
from scrubjay.sim.checkers.history import Kind
from scrubjay.sim.whole.clients import KEYS, LAST_CLIENT, STRANGERS
from scrubjay.sim.whole.cluster import host_known
from scrubjay.sim.whole.commands import item_of, key_of
from scrubjay.sim.whole.copies import copied
from scrubjay.sim.whole.run import RESTORED, TABLE, WholeRun, but_for
from scrubjay.sim.whole.splits_operator import left_of
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, ReadAnswer
from tests.unit.control.test_split_catalogue import MEANT, TWO, A, B, C, D, info_of, table_of

Forge = Callable[["Forged", int], int | None]
"""Value to show for a key, given the run and the key."""
KEEP = -1


def _acknowledged(run: WholeRun, key: int) -> list[int | None]:
    """Values of acknowledged writes in the order of their LSNs."""
    mine = [one for one in run.clients.history if one.key == key and one.kind is not Kind.READ and one.answered and one.ok is not False]
    return [one.value for one in sorted(mine, key=lambda one: one.lsn or 0)]


def _lost(run: Forged, key: int) -> int | None:
    """Nothing of what was acknowledged is there."""
    return None if run.clients.ledger.allowed(key) != [None] and None not in run.clients.ledger.allowed(key) else KEEP


def _stale(run: Forged, key: int) -> int | None:
    """The oldest acknowledged value: all later ones are lost."""
    values = [value for value in _acknowledged(run, key) if value is not None]
    return values[0] if values and values[0] not in run.clients.ledger.allowed(key) else KEEP


def _extra(run: Forged, key: int) -> int | None:
    """A key that nobody wrote."""
    return 777 if key == KEYS else KEEP


def _resurrected(run: Forged, key: int) -> int | None:
    """What an acknowledged delete took away is there again."""
    values = [value for value in _acknowledged(run, key) if value is not None]
    return values[-1] if values and run.clients.ledger.allowed(key) == [None] else KEEP


class Forged(WholeRun):
    """Answers about `table` are forged once the faults are over."""

    def __init__(self, seed: int, forge: Forge, *, table: str = TABLE) -> None:
        super().__init__(seed, seconds=8, calm=True)
        self.forged: dict[int, None] = {}
        self._forge, self._table_forged = forge, table
        self._shown: dict[int, int | None] = {}

    def _show(self, key: int) -> int | None:
        if key not in self._shown:
            self._shown[key] = self._forge(self, key)
            if self._shown[key] != KEEP:
                self.forged[key] = None
        return self._shown[key]

    async def _calm_down(self) -> None:
        await super()._calm_down()
        store = self.cluster.store
        read, read_range = store.read, store.read_range
        names = {key_of(key): key for key in range(KEYS + 5)}

        def forged_read(table: Any, key: bytes, *, consistent: bool, done: Any) -> None:
            def answered(answer: Any) -> None:
                if isinstance(answer, ReadAnswer) and table.name == self._table_forged:
                    value = self._show(names[key])
                    if value != KEEP:
                        answer = msgspec.structs.replace(answer, item=None if value is None else item_of(names[key], value))
                done(answer)

            read(table, key, consistent=consistent, done=answered)

        def forged_range(table: Any, info: Any, request: Any, done: Any) -> None:
            def answered(answer: Any) -> None:
                if isinstance(answer, RangeAnswer) and table.name == self._table_forged:
                    rows = dict(answer.rows)
                    for key in range(KEYS + 5):
                        value = self._show(key)
                        if value == KEEP or self.cluster.router.partition_of(table, key_of(key)).partition_id != info.partition_id:
                            continue
                        rows.pop(key_of(key), None)
                        if value is not None:
                            rows[key_of(key)] = item_of(key, value)
                    answer = msgspec.structs.replace(answer, rows=sorted(rows.items()))
                done(answer)

            read_range(table, info, request, answered)

        store.read, store.read_range = forged_read, forged_range  # type: ignore[method-assign]


FORGERIES = {"lost write": _lost, "stale read": _stale, "extra key": _extra, "resurrected delete": _resurrected}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_every_checker_notices_a_forged_end(name: str) -> None:
    run = Forged(2, FORGERIES[name])
    violation = run.run().violation
    assert run.forged, "nothing to forge in this seed"
    for checker in ("reads: ", "scan: ", "witness: ", "linear: "):
        assert checker in violation, f"{checker} is blind: {violation}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_a_forged_restore_is_noticed(name: str) -> None:
    run = Forged(2, FORGERIES[name], table=RESTORED)
    violation = run.run().violation
    assert run.forged
    assert violation.startswith("restored to"), violation


class Spoilt(WholeRun):
    """One copy answers for itself and holds something else, after the scrub."""

    async def _scrub(self) -> None:
        await super()._scrub()
        node = self.cluster.nodes()[1]
        read_range = node.requests.read_range

        def forged(partition: Any, request: Any, *, min_lsn: Any, done: Any) -> None:
            def answered(answer: Any) -> None:
                if isinstance(answer, RangeAnswer) and answer.rows and not request.consistent:
                    answer = msgspec.structs.replace(answer, rows=answer.rows[1:])
                done(answer)

            read_range(partition, request, min_lsn=min_lsn, done=answered)

        node.requests.read_range = forged  # type: ignore[method-assign]


@pytest.mark.slow
def test_a_copy_that_lacks_a_row_is_noticed() -> None:
    assert Spoilt(2, seconds=8, calm=True).run().violation.startswith("the copy on n2")


@pytest.mark.slow
def test_the_same_worlds_hold_when_nothing_is_forged() -> None:
    run = Forged(2, lambda run, key: KEEP)
    assert run.run().violation == ""
    assert run.forged == {}
    last = [one for one in run.clients.history if one.client == LAST_CLIENT]
    assert len(last) == 2 * KEYS + STRANGERS, "every key read alone and in a scan, as operations of the history"


def _report(verdict: str, *, findings: tuple[dict[str, str], ...] = (), odd: str = "") -> dict[str, Any]:
    copies = [{"copy": name, "verdict": "unverified" if name == odd else "match", "reason": None} for name in ("n1", "n2", "n3")]
    return {"tables": [{"partitions": [{"verdict": verdict, "copies": copies, "findings": list(findings)}]}]}


def test_a_scrub_is_excused_only_for_what_it_says_of_the_node_that_lost_its_log() -> None:
    told = {"kind": "unreadable", "found_by": "seal", "copy": "n2"}

    def lost(name: str) -> bool:
        return name == "n2"

    assert but_for(_report("mismatch", findings=(told,)), lost)
    assert but_for(_report("unverified", odd="n2"), lost)
    assert not but_for(_report("mismatch"), lost), "a difference that nothing is said about"
    assert not but_for(_report("mismatch", odd="n2"), lost), "a copy that could not be read is no difference"
    assert not but_for(_report("unverified"), lost), "nobody says what could not be compared"
    assert not but_for(_report("unverified", odd="n3"), lost)
    assert not but_for(_report("mismatch", findings=({**told, "copy": "n1"},)), lost)
    assert not but_for(_report("mismatch", findings=({**told, "kind": "different"},)), lost)
    assert not but_for(_report("mismatch", findings=(told, {**told, "found_by": "scrub"})), lost)
    assert not but_for({"tables": []}, lost)


def test_halves_are_awaited_but_on_a_node_that_stays_out() -> None:
    """Seeds 16020 and 16021: a node lost its disk, nobody replaced it, and a copy that could not begin was waited for."""
    (former,) = TWO.former or ()
    archived = msgspec.structs.replace(TWO, former=(msgspec.structs.replace(former, archived_at=1),))
    assert "is not archived to its end" in left_of(TWO, lambda _: True)
    assert "have not begun" in left_of(archived, lambda _: False)
    assert "have not begun" in left_of(archived, lambda number: number == 1)
    assert left_of(archived, lambda _: True) == ""


def test_a_log_is_needed_from_when_its_partition_is_to_come_until_it_is_archived() -> None:
    """What the nemesis asks before it takes one."""
    assert [info.partition_id for info in copied(MEANT)] == [A, B, C]
    assert [info.partition_id for info in copied(TWO)] == [B, C, A]
    (former,) = TWO.former or ()
    archived = msgspec.structs.replace(TWO, former=(msgspec.structs.replace(former, archived_at=1),))
    assert [info.partition_id for info in copied(archived)] == [B, C]


class ToldToHost:
    """A node as whoever tells it what to host sees it. hosted, forgotten: partitions, in order."""

    number = 1

    def __init__(self, *known: PartitionId) -> None:
        self.hosting = self
        self.hosted: list[PartitionId] = []
        self.forgotten: list[PartitionId] = []
        self._known = known

    def known(self, partition: PartitionId) -> bool:
        return partition in self._known

    def host(self, _table: TableMeta, info: PartitionInfo, **_how: bool) -> None:
        self.hosted.append(info.partition_id)

    def forget(self, partition: PartitionId) -> None:
        self.forgotten.append(partition)


def test_a_node_that_starts_again_hosts_what_was_split_until_it_is_archived() -> None:
    """Its peers followed it as the leader of a log that it did not run, so the end of that log was never archived: seed 14018 ended so."""
    system = table_of(info_of(D, "0" * 32, ""))
    (former,) = TWO.former or ()
    archived = msgspec.structs.replace(TWO, former=(msgspec.structs.replace(former, archived_at=1),))
    for table, known, hosted, forgotten in (
        (TWO, (A,), [B, C, A], []),
        (TWO, (), [B, C], []),
        (archived, (A,), [B, C], [A]),
        (archived, (), [B, C], []),
    ):
        node: Any = ToldToHost(*known)
        host_known(node, system, {table.table_id: table})
        assert ({*node.hosted} & {A, B, C}, node.forgotten) == ({*hosted}, forgotten)
