"""The scrub coordinator against a store of dicts: every kind of fault is found, named and, for one copy, healed; a clean store raises nothing."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.write.bases import base_due
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.scrubber.compare import differences_in
from scrubjay.scrubber.evidence import Side
from scrubjay.scrubber.ledger import MATCHED, SCRUB
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.plan import choose, order
from scrubjay.scrubber.report import ScrubFound, ScrubReport, merge_findings
from scrubjay.scrubber.run import scrub
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.scrubber.verdict import Verdict
from scrubjay.sim.lone import LoneHost
from scrubjay.storage.catalogue import RestoreOrigin
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import Finding, SealPoint
from tests.unit.scrubber.scrub_world import (
    NODES,
    CopyModel,
    FakeReferences,
    FakeStore,
    PartitionModel,
    item_of,
    key_of,
    random_history,
    storage_key,
    table_of,
)


class World:
    def __init__(self, partitions: int = 1, tables: int = 1, seed: int = 1) -> None:
        self.loop = LoneHost(seed)
        self.env = self.loop.env()
        self.tables = [table_of(number, partitions) for number in range(1, tables + 1)]
        self.store = FakeStore(self.env, self.tables)
        self.references = FakeReferences(self.env, self.store)
        self.models: list[PartitionModel] = list(self.store.models.values())
        for at, model in enumerate(self.models):
            random_history(model, random.Random(seed * 1000 + at), 80)

    @property
    def model(self) -> PartitionModel:
        return self.models[0]

    def present(self) -> int:
        return next(n for n in range(40) if storage_key(n) in self.model.copies[NODES[0]].rows)

    def absent(self) -> int:
        return next(n for n in range(60) if storage_key(n) not in self.model.copies[NODES[0]].rows)

    def scrub(self, ledger: Any = None, **options: Any) -> ScrubReport:
        filters = {name: options.pop(name) for name in ("tables", "partition") if name in options}
        port: Any = self.store
        report = self.loop.run(scrub(self.env, port, self.references, ledger, ScrubOptions(**options), **filters))
        assert all(pin.released for pin in self.store.pins)
        assert not FakeReferences.files, "no row file is left behind"
        return report


def plant(world: World, kind: str, node: str) -> int:
    """One fault in one copy; the number of the key it is at."""
    copy = world.model.copies[node]  # type: ignore[index]
    number = world.absent() if kind == "extra" else world.present()
    key = storage_key(number)
    if kind == "different":
        copy.rows[key] = (item_of(number, 999), copy.rows[key][1])
    elif kind == "lacking":
        del copy.rows[key]
    elif kind == "extra":
        copy.rows[key] = (item_of(number, 999), 3)
    else:
        copy.bad.add(key)
    return number


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("kind", ["different", "lacking", "extra", "unreadable"])
def test_a_fault_in_one_copy_is_named_healed_and_gone_in_the_next_run(kind: str, node: str) -> None:
    world = World()
    number = plant(world, kind, node)
    report = world.scrub()
    assert (report.verdict, report.exit_code, report.healed) == (Verdict.MISMATCH, 2, True)
    (part,) = report.tables[0].partitions
    (found,) = part.findings
    assert (found.finding.kind, found.finding.copy, found.finding.action, found.finding.found_by) == (kind, node, "healed", "scrub")
    assert found.evidence is not None
    if kind != "extra":
        assert found.finding.key == key_of(number)
        lsn = max(lsn for lsn, key, _ in world.model.log if key == storage_key(number))
        assert (found.finding.lsn, found.finding.segment) == (lsn, f"segment-of-{lsn}")
    assert [copy.verdict for copy in part.copies if copy.copy == node] == [Verdict.MISMATCH]
    assert [copy.verdict for copy in part.copies if copy.copy != node] == [Verdict.MATCH] * 3
    assert part.rescrub is not None
    assert {copy.verdict for copy in part.rescrub[1]} == {Verdict.MATCH}
    again = world.scrub()
    assert (again.verdict, again.exit_code, again.healed) == (Verdict.MATCH, 0, False)


def test_an_extra_key_is_named_from_the_copy_that_has_it() -> None:
    world = World()
    number = plant(world, "extra", "n2")
    (part,) = world.scrub().tables[0].partitions
    assert part.findings[0].finding.key == key_of(number)


def test_rot_in_two_copies_at_different_keys_is_healed_in_both() -> None:
    world = World()
    plant(world, "different", "n1")
    plant(world, "extra", "n3")
    report = world.scrub()
    assert report.healed
    assert sorted(node for node, _ in world.model.heals) == ["n1", "n3"]
    assert world.scrub().exit_code == 0


def test_copies_that_agree_against_the_archive_are_left_alone() -> None:
    world = World()
    number = world.present()
    world.model.forged[storage_key(number)] = (item_of(number, 777), 5)
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, part.reason) == (2, False, "copies_agree_against_archive")
    (found,) = part.findings
    assert (found.finding.copy, found.finding.kind, found.finding.action, found.finding.key) == (
        "archive",
        "different",
        "none",
        key_of(number),
    )
    assert world.model.heals == []
    assert part.base is None
    assert world.scrub().exit_code == 2, "it stays a mismatch until a person has dealt with it"


def test_no_majority_heals_nothing() -> None:
    world = World()
    key = storage_key(world.present())
    for node in NODES[:2]:
        world.model.copies[node].rows[key] = (item_of(1, 888), 4)
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, part.reason) == (2, False, "no_majority")
    assert world.model.heals == []
    assert {copy.verdict for copy in part.copies} == {Verdict.MISMATCH, Verdict.MATCH, Verdict.UNVERIFIED}


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (Missing("a hole", damage=(Fault("hole", "t/p/log/7.seg", 7, ""),)), "hole"),
        (Corrupt("bad checksum", damage=(Fault("unreadable", "t/p/log/7.seg", None, ""),)), "unreadable"),
        (Corrupt("the chain is broken", damage=(Fault("forged", "t/p/log/7.seg", 7, ""),)), "forged"),
    ],
)
def test_damage_in_the_archive_is_a_finding_and_the_copies_are_unverified(damage: Any, kind: str) -> None:
    world = World()
    world.model.damage = damage
    report = world.scrub()
    (part,) = report.tables[0].partitions
    (found,) = part.findings
    assert (found.finding.kind, found.finding.copy, found.finding.object) == (kind, "archive", "t/p/log/7.seg")
    assert (report.exit_code, part.reason, report.healed) == (2, "archive_damaged", False)
    assert [copy.verdict for copy in part.copies] == [Verdict.UNVERIFIED] * 3 + [Verdict.MISMATCH]


def test_a_copy_that_differs_is_still_found_without_a_reference_but_not_healed() -> None:
    world = World()
    number = plant(world, "different", "n2")
    world.model.archive_down = True
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert [(one.finding.copy, one.finding.kind, one.finding.key) for one in part.findings] == [("n2", "different", key_of(number))]
    assert (report.exit_code, part.reason, world.model.heals) == (2, "archive_unreachable", [])


def test_an_archive_that_lags_leaves_everything_unverified_after_its_wait() -> None:
    world = World()
    world.model.archive_stuck = True
    before = world.loop.now_us
    report = world.scrub(archive_wait_s=60.0)
    (part,) = report.tables[0].partitions
    assert (report.exit_code, part.reason, part.findings) == (3, "archive_lags", ())
    assert {copy.verdict for copy in part.copies} == {Verdict.UNVERIFIED}
    assert 60_000_000 <= world.loop.now_us - before < 62_000_000


@pytest.mark.parametrize("state", ["down", "amnesiac", "healing"])
def test_a_copy_out_of_reach_is_unverified(state: str) -> None:
    world = World()
    world.model.copies[NODES[1]].state = state
    if state == "healing":
        world.model.healing_until_us = world.loop.now_us + 10**12
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, part.reason) == (3, state)
    assert [copy.verdict for copy in part.copies if copy.copy == "n2"] == [Verdict.UNVERIFIED]


def test_a_running_heal_is_waited_for() -> None:
    world = World()
    world.model.copies[NODES[1]].state = "healing"
    world.model.healing_until_us = world.loop.now_us + 20_000_000
    assert world.scrub().exit_code == 0


def test_a_pin_that_does_not_come_is_unverified_and_one_that_cannot_be_opened_is_healed() -> None:
    world = World()
    world.model.copies[NODES[0]].pin_error = Unavailable("no checkpoint in time")
    report = world.scrub()
    assert (report.exit_code, report.tables[0].partitions[0].reason) == (3, "not_pinned")
    world = World()
    world.model.copies[NODES[0]].scan_error = Unavailable("the pin ended while it was read", pin="lost")
    report = world.scrub()
    assert (report.exit_code, report.tables[0].partitions[0].reason) == (3, "pin_lost")
    world = World()
    world.model.copies[NODES[0]].pin_error = Corrupt("the page header is damaged")
    report = world.scrub()
    assert (report.exit_code, report.healed) == (2, True)
    assert world.scrub().exit_code == 0


@pytest.mark.parametrize("scannable", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_a_suspect_copy_is_healed_from_the_reference(scannable: bool, told: bool) -> None:
    world = World()
    world.model.copies[NODES[2]].state = "suspect"
    world.model.copies[NODES[2]].scannable = scannable
    if told:
        world.store.note(outside(world.model, copy="n3", kind="different", found_by="seal"))
    report = world.scrub()
    (found,) = report.tables[0].partitions[0].findings
    assert (found.finding.kind, found.finding.copy, found.finding.action) == ("different" if told else "unreadable", "n3", "healed")
    assert (report.exit_code, report.healed) == (2, True)
    assert world.scrub().exit_code == 0


def test_everything_wrong_with_a_suspect_copy_is_named_before_it_is_healed() -> None:
    world = World()
    number = plant(world, "unreadable", "n2")
    other = plant_second(world, "n2")
    world.model.copies[NODES[1]].state = "suspect"
    world.store.note(outside(world.model, storage_key=storage_key(number)))
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert [(one.finding.key, one.finding.found_by, one.finding.action) for one in part.findings] == [
        (key_of(number), "read", "healed"),
        (key_of(other), "scrub", "healed"),
    ]
    assert report.healed


def plant_second(world: World, node: str) -> int:
    """A lost row, at another key than `plant` takes."""
    copy = world.model.copies[node]  # type: ignore[index]
    number = next(n for n in range(40) if storage_key(n) in copy.rows and n != world.present())
    del copy.rows[storage_key(number)]
    return number


def test_a_finding_keeps_the_evidence_of_the_tree_it_was_found_in() -> None:
    world = World()
    earlier = "nodes/n2/quarantine/before"
    world.store.note(outside(world.model, storage_key=storage_key(world.present()), evidence=earlier))
    other = plant_second(world, "n2")
    (part,) = world.scrub().tables[0].partitions
    assert [(one.finding.key, one.evidence) for one in part.findings] == [
        (key_of(world.present()), earlier),
        (key_of(other), f"nodes/n2/quarantine/{part.partition}-1"),
    ]


def test_a_copy_that_the_healer_set_aside_while_it_was_compared_has_its_evidence_told() -> None:
    world = World()
    number = plant(world, "unreadable", "n2")
    world.store.note(outside(world.model, storage_key=storage_key(number)))
    world.model.healer_was_first = True
    report = world.scrub()
    (found,) = report.tables[0].partitions[0].findings
    assert (found.finding.action, found.evidence) == ("healed", "nodes/n2/quarantine/healer")
    assert any("healed already" in note for note in report.notes)


def test_what_was_set_aside_and_is_not_proven_since_is_called_quarantined() -> None:
    world = World()
    earlier = "nodes/n2/quarantine/before"
    world.store.note(outside(world.model, storage_key=storage_key(world.present()), evidence=earlier))
    world.model.archive_down = True
    (found,) = world.scrub().tables[0].partitions[0].findings
    assert (found.finding.action, found.evidence) == ("quarantined", earlier)


def test_a_heal_that_fails_is_told_and_nothing_is_called_healed() -> None:
    world = World()
    plant(world, "different", "n1")
    world.model.heal_error = Corrupt("the digest differs")
    report = world.scrub()
    assert (report.exit_code, report.healed) == (2, False)
    assert any("n1 was not healed" in note for note in report.notes)
    assert {found.finding.action for found in report.tables[0].partitions[0].findings} == {"none"}


def test_a_heal_that_changes_nothing_is_caught_by_the_second_comparison() -> None:
    """Negative control of "healed": the word rests on the second comparison, not on the heal's claim."""
    world = World()
    plant(world, "different", "n1")
    world.model.heal_is_false = True
    report = world.scrub()
    assert (report.exit_code, report.healed) == (2, False)
    assert {found.finding.action for found in report.tables[0].partitions[0].findings} == {"quarantined"}


def outside(model: PartitionModel, **changes: Any) -> Finding:
    one = Finding("unreadable", "n2", model.info.partition_id, None, None, None, None, None, "read", "none", "", 5)
    return one._replace(**changes)


def test_what_was_found_outside_a_scrub_is_reported_once_and_counts() -> None:
    world = World()
    number = world.present()
    world.store.note(outside(world.model, storage_key=storage_key(number), action="healed"))
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, part.reason) == (2, True, "found_outside_scrub")
    assert (part.findings[0].finding.key, part.findings[0].finding.found_by) == (key_of(number), "read")
    assert world.scrub().exit_code == 0


def test_a_fault_found_by_a_read_and_again_by_the_scrub_is_told_once() -> None:
    world = World()
    number = plant(world, "unreadable", "n2")
    world.store.note(outside(world.model, storage_key=storage_key(number)))
    report = world.scrub()
    (part,) = report.tables[0].partitions
    (found,) = part.findings
    assert (found.finding.found_by, found.finding.action, found.finding.key) == ("read", "healed", key_of(number))
    assert found.finding.lsn is not None
    assert report.healed


def test_rot_that_the_seal_itself_runs_into_is_told_and_healed_by_this_run() -> None:
    """Damage outside the rows shows when a checkpoint meets it: the one at the scrub's own seal, for one. It must not read as "a copy was out of reach"."""
    world = World()
    world.model.copies[NODES[1]].rots_at_seal = outside(world.model, storage_key=None, copy=NODES[1], detail="tree state differs")
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, {copy.copy: copy.verdict for copy in part.copies}[NODES[1]]) == (2, True, Verdict.MISMATCH)
    assert [(found.finding.copy, found.finding.action, found.finding.detail) for found in part.findings] == [
        (NODES[1], "healed", "tree state differs")
    ]
    assert world.scrub().exit_code == 0


def test_findings_are_kept_while_no_seal_can_be_had_but_told() -> None:
    world = World()
    world.store.note(outside(world.model))
    world.model.seal_error = Unavailable("no leader")
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, part.reason, part.lsn) == (2, "no_seal", None)
    world.model.findings.clear()
    assert world.scrub().exit_code == 3


def test_a_copy_lost_in_the_middle_of_the_comparison_is_unverified() -> None:
    world = World()
    plant(world, "different", "n1")
    world.model.copies[NODES[2]].loses_rows = True
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert [copy.verdict for copy in part.copies if copy.copy == "n3"] == [Verdict.UNVERIFIED]
    assert [one.finding.copy for one in part.findings] == ["n1"]


def test_a_reference_lost_in_the_middle_heals_nothing() -> None:
    world = World()
    plant(world, "different", "n1")
    world.references.lost = True
    report = world.scrub()
    assert (report.exit_code, report.healed, world.model.heals) == (2, False, [])
    assert report.tables[0].partitions[0].reason == "reference_lost"


def test_more_differences_than_are_told_are_still_judged() -> None:
    world = World()
    world.model.copies[NODES[1]].rows = {}
    report = world.scrub(findings_max=3)
    (part,) = report.tables[0].partitions
    assert 3 <= len(part.findings) < 20
    assert report.healed
    world = World()
    for copy in world.model.copies.values():
        copy.rows = {}
    report = world.scrub(findings_max=3)
    assert (report.healed, world.model.heals) == (False, [])


def test_the_seal_is_marked_and_tagged() -> None:
    world = World()
    world.scrub()
    ((_, reason, tag),) = world.store.seals
    assert reason == Seal.SCRUB
    assert len(tag) == 16
    assert tag != bytes(16)


def test_a_matched_reference_becomes_the_first_base_and_not_every_one_after() -> None:
    world = World()
    assert world.scrub().tables[0].partitions[0].base is not None
    assert world.scrub().tables[0].partitions[0].base is None


def test_base_rule() -> None:
    assert base_due(base_lsn=None, base_raw=0, log_raw=10)
    assert not base_due(base_lsn=Lsn(5), base_raw=100, log_raw=10_000)
    assert base_due(base_lsn=Lsn(5), base_raw=2 << 20, log_raw=1 << 20)
    assert not base_due(base_lsn=Lsn(5), base_raw=3 << 20, log_raw=1 << 20)
    week_us = 7 * 86_400_000_000
    assert base_due(base_lsn=Lsn(5), base_raw=1 << 40, log_raw=9, segments=1000, age_us=week_us)
    assert not base_due(base_lsn=Lsn(5), base_raw=1 << 40, log_raw=9, segments=999, age_us=week_us)
    assert not base_due(base_lsn=Lsn(5), base_raw=1 << 40, log_raw=9, segments=1000, age_us=week_us - 1)


@pytest.mark.parametrize("seed", range(25))
def test_clean_stores_raise_no_alarm(seed: int) -> None:
    world = World(partitions=seed % 4 + 1, tables=seed % 3 + 1, seed=seed)
    report = world.scrub(lanes=seed % 3 + 1)
    assert (report.verdict, report.exit_code) == (Verdict.MATCH, 0)
    assert all(not part.findings for table in report.tables for part in table.partitions)


@pytest.mark.parametrize("seed", range(25))
def test_planted_faults_are_found_in_the_partition_they_are_in(seed: int) -> None:
    rng = random.Random(seed)
    world = World(partitions=3, tables=2, seed=seed)
    model = rng.choice(world.models)
    copy: CopyModel = model.copies[rng.choice(NODES)]
    if not copy.rows:
        return
    key = rng.choice(sorted(copy.rows))
    match rng.randrange(3):
        case 0:
            del copy.rows[key]
        case 1:
            copy.bad.add(key)
        case _:
            copy.rows[key] = (item_of(1, 10**6), 3)
    report = world.scrub()
    wrong = [part.partition for table in report.tables for part in table.partitions if part.verdict is not Verdict.MATCH]
    assert wrong == [model.info.partition_id]
    assert report.healed


def test_choice_and_order() -> None:
    live, gone = table_of(1, 2), table_of(2, status="DROPPED")
    restoring = table_of(3)
    restoring = type(restoring)(
        **{
            **{name: getattr(restoring, name) for name in restoring.__struct_fields__},
            "restore_of": RestoreOrigin(live.table_id, "x", 5, True),
        }
    )
    tables = (live, gone, restoring)
    assert [one.info for one in choose(tables, chosen=None, partition=None)] == list(live.partitions)
    assert [one.info for one in choose(tables, chosen=["table1"], partition=live.partitions[1].partition_id)] == [live.partitions[1]]
    for asked in ({"chosen": ["nowhere"], "partition": None}, {"chosen": None, "partition": "nowhere"}):
        with pytest.raises(Unavailable) as caught:
            choose(tables, **asked)
        assert caught.value.fields["error_code"] == "ResourceNotFound"
    targets = choose(tables, chosen=None, partition=None)
    assert order(targets, []) == targets


def test_the_ledger_remembers_and_puts_the_stalest_first() -> None:
    world = World(tables=3)
    ledger = world.loop.run(SqliteLedger.open(world.env.tasks, MEMORY))
    world.scrub(ledger, tables=["table1"])
    report = world.scrub(ledger)
    (newest, first) = world.loop.run(ledger.runs(5))
    assert newest.report == report.as_json()
    assert (first.verdict, newest.verdict) == ("match", "match")
    proofs = world.loop.run(ledger.partitions())
    assert sorted(proof.depth for proof in proofs) == [MATCHED] * 3 + [SCRUB] * 3
    targets = choose(world.store.tables(), chosen=None, partition=None)
    assert order(targets, proofs[:1])[-1].table.name == "table1"


def one_way(facts: Any, reference: Any) -> Any:
    """A comparison as others have it: only the keys that the reference has."""
    known = {row.key for row in reference or ()}
    return differences_in({copy: [row for row in rows if row.key in known] for copy, rows in facts.items()}, reference)


def test_a_one_way_comparison_would_miss_extra_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with it the extra row has no finding; it is not called a match all the same, for the digests differ."""
    monkeypatch.setattr("scrubjay.scrubber.passes.differences_in", one_way)
    world = World()
    plant(world, "extra", "n2")
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert part.findings == ()
    assert (report.exit_code, part.reason) == (3, "unstable_reads")


def test_without_looking_at_bad_rows_an_unreadable_extra_row_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an unreadable row adds nothing to a digest, so only the list of bad rows tells of it."""
    world = World()
    number = plant(world, "extra", "n2")
    world.model.copies[NODES[1]].bad.add(storage_key(number))
    assert world.scrub().exit_code == 2
    world = World()
    number = plant(world, "extra", "n2")
    world.model.copies[NODES[1]].bad.add(storage_key(number))
    monkeypatch.setattr("scrubjay.scrubber.passes.Side", lambda node, digest, bad, structure, suspect: Side(node, digest, (), structure))
    assert world.scrub().exit_code == 0


def test_rot_in_three_copies_at_three_keys_is_healed_in_all() -> None:
    world = World()
    here = [number for number in range(40) if storage_key(number) in world.model.copies[NODES[0]].rows]
    for node, number in zip(NODES, here, strict=False):
        copy = world.model.copies[node]
        copy.rows[storage_key(number)] = (item_of(number, 999), copy.rows[storage_key(number)][1])
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, part.reason) == (2, True, None)
    assert sorted(node for node, _ in world.model.heals) == sorted(NODES)
    assert {found.finding.action for found in part.findings} == {"healed"}
    assert world.scrub().exit_code == 0


def test_no_copy_is_set_aside_while_no_other_one_serves() -> None:
    world = World()
    here = [number for number in range(40) if storage_key(number) in world.model.copies[NODES[0]].rows]
    for node, number in zip(NODES, here, strict=False):
        copy = world.model.copies[node]
        copy.rows[storage_key(number)] = (item_of(number, 999), copy.rows[storage_key(number)][1])
    for node in NODES[1:]:
        world.model.copies[node].state = "suspect"
    report = world.scrub()
    assert [node for node, _ in world.model.heals] == [NODES[1], NODES[2]], "n1 is the only one that serves when its turn comes first"
    assert any("no other copy serves" in note for note in report.notes)


def test_a_base_is_never_written_on_a_minoritys_word() -> None:
    world = World()
    for node in NODES[1:]:
        world.model.copies[node].pin_error = Unavailable("not in time")
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, part.base, world.model.bases) == (3, None, [])
    world.model.copies[NODES[1]].pin_error = None
    assert world.scrub().tables[0].partitions[0].base is not None


def test_a_partition_whose_scrub_broke_off_keeps_its_findings() -> None:
    world = World()
    world.store.note(outside(world.model))
    found = world.store.findings

    def broken(partition: Any) -> Any:
        raise Unavailable("the catalogue cannot be read", partition=partition)

    world.store.findings = broken  # type: ignore[method-assign]
    report = world.scrub()
    assert (report.exit_code, report.tables[0].partitions[0].reason) == (3, "Unavailable")
    world.store.findings = found  # type: ignore[method-assign]
    assert len(world.store.findings(world.model.info.partition_id)) == 1
    assert world.scrub().exit_code == 2


def test_findings_of_a_run_without_a_seal_are_told_again() -> None:
    world = World()
    world.store.note(outside(world.model))
    world.model.seal_error = Unavailable("no leader")
    assert world.scrub().exit_code == 2
    world.model.seal_error = None
    assert world.scrub().exit_code == 2, "a run that compared nothing has not covered the partition"
    assert world.scrub().exit_code == 0


def test_rot_met_behind_the_last_scan_is_not_called_healed() -> None:
    world = World()
    late = outside(world.model, copy=NODES[1], storage_key=storage_key(world.present()))

    class Noting(FakeReferences):
        """A read meets rot while the reference is rebuilt: after the copy was scanned."""

        async def rebuild(self, *arguments: Any, **options: Any) -> Any:
            built = await super().rebuild(*arguments, **options)
            if not world.store.findings(world.model.info.partition_id):
                world.store.note(late._replace(at_us=world.env.clock.wall_us()))
            return built

    world.references = Noting(world.env, world.store)
    report = world.scrub()
    (part,) = report.tables[0].partitions
    assert (report.exit_code, report.healed, [found.finding.action for found in part.findings]) == (2, False, ["none"])
    assert len(world.store.findings(world.model.info.partition_id)) == 1, "the next run looks there again"
    world.references = FakeReferences(world.env, world.store)
    assert (world.scrub().exit_code, world.scrub().exit_code) == (2, 0)


def test_a_partition_whose_table_is_dropped_meanwhile_says_so() -> None:
    world = World(tables=2)
    gone, here = world.tables
    sealed = world.store.seal

    async def seal(partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        if partition == gone.partitions[0].partition_id:
            world.store._tables = [msgspec.structs.replace(gone, status="DROPPED", dropped_at=5), here]
            raise Unavailable("no leader serves this partition")
        return await sealed(partition, reason=reason, tag=tag)

    world.store.seal = seal  # type: ignore[method-assign]
    report = world.scrub()
    told = {table.table_id: (table.partitions[0].verdict, table.partitions[0].reason) for table in report.tables}
    assert told == {gone.table_id: (Verdict.UNVERIFIED, "table_dropped"), here.table_id: (Verdict.MATCH, None)}
    assert report.exit_code == 3


def test_an_object_is_told_of_once_though_a_half_of_what_was_split_met_it_again() -> None:
    """It rests on the log of what it came of, in which a verify found it first. The same place in a copy of each is two places."""
    met = Finding("unreadable", "archive", "parent", None, None, "parent/log/1.seg", 1, None, "verify", "none", "rot", 7)
    again = met._replace(partition="half", found_by="scrub", at_us=8)
    (found,) = merge_findings([ScrubFound(met)], [ScrubFound(again)])
    assert found.finding.found_by == "verify"
    of_copies = [ScrubFound(one._replace(copy="n1", object=None, storage_key=b"k")) for one in (met, again)]
    assert len(merge_findings(of_copies[:1], of_copies[1:])) == 2
