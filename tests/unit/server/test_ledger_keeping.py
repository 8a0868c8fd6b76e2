"""A ledger that is lost: what it begins anew with, out of the metadata and the archive, and that this is seen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format.layout import parse
from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import TableId
from scrubjay.scrubber.ledger import WHOLE, PartitionProof
from scrubjay.scrubber.ledger_keeping import AGAIN_S, PREFIX, LedgerKeeping, kept_notes
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.storage.catalogue import TableMeta
from tests.fixtures.golden import Golden
from tests.unit.control.house import House


class Kept:
    """A house whose table was scrubbed, and its ledger. lines: of the log."""

    def __init__(self) -> None:
        self.house = House(partitions=2)
        self.table: TableMeta = self.house.create("birds")
        for key in range(10):
            self.house.put(self.table, key, key)
        self.ledger = self.new()
        self.house.until(lambda: self.house.scrub(ledger=self.ledger).exit_code == 0, seconds=120)
        self.lines: list[str] = []

    def new(self) -> SqliteLedger:
        return self.house.run(SqliteLedger.open(self.house.env.tasks, MEMORY))

    def keeping(self, ledger: SqliteLedger) -> LedgerKeeping:
        house = self.house
        return LedgerKeeping(
            house.env, ledger, house.cluster.metadata, house.client(), cluster=CLUSTER, tables=house.service.tables, log=self.lines.append
        )

    @property
    def noted(self) -> dict[str, Any]:
        return {key: note for key, note in self.house.cluster.metadata.jobs.items() if key.startswith(PREFIX)}


@pytest.fixture
def one() -> Kept:
    return Kept()


def test_a_lost_ledger_begins_with_what_the_metadata_and_the_archive_know_and_says_so(one: Kept) -> None:
    house = one.house
    house.run(one.keeping(one.ledger).keep())
    house.run(one.ledger.verified([PartitionProof(WHOLE, "", "records", 9, None, "mismatch", False, None, None, 4)]))
    house.run(one.keeping(one.ledger).keep())
    anew = one.new()
    house.run(one.keeping(anew).rebuild())
    wanted = [proof._replace(run=None) for proof in house.run(one.ledger.partitions())]
    assert house.run(anew.partitions()) == wanted
    assert len(wanted) >= 5
    stored = sorted(key for key in house.cluster.archive.objects if parse(key) is not None)
    assert house.run(anew.known("")) == stored
    assert anew.rebuilt is not None
    assert (anew.rebuilt.proofs, anew.rebuilt.objects) == (len(wanted), len(stored))
    assert [line.split(":")[0] for line in one.lines] == [
        "the ledger begins anew",
        f"the ledger knows the names of {len(stored)} objects from the archive; 0 more were told of in earlier days",
    ]
    assert house.run(anew.skip(stored, level="records", since_us=0)) == [], "that they are there is no proof of what they hold"
    before = one.lines.copy()
    house.run(one.keeping(anew).rebuild())
    assert one.lines == before, "one that holds something is left alone"


def test_what_was_proven_since_the_loss_is_newer_and_what_is_dated_in_the_future_is_no_proof(one: Kept) -> None:
    house, partition = one.house, one.table.partitions[0].partition_id
    ahead = PartitionProof(partition, one.table.table_id, "records", house.env.clock.wall_us() + 10**12, None, "match", False, None, None)
    house.run(one.ledger.verified([ahead]))
    house.run(one.keeping(one.ledger).keep())
    anew, newer = one.new(), PartitionProof(partition, one.table.table_id, "scrub", 5, None, "mismatch", False, None, None, 1)
    house.run(anew.verified([newer]))
    house.run(one.keeping(anew).rebuild(lost=True))
    found = {(proof.partition, proof.depth): proof for proof in house.run(anew.partitions())}
    assert found[partition, "scrub"] == newer
    assert (partition, "records") not in found
    assert (partition, "matched") in found


def test_nothing_new_is_no_record_and_a_table_that_is_gone_leaves_no_note(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    house = one.house
    keeping = one.keeping(one.ledger)
    house.run(keeping.keep())
    assert len(one.noted) == 2, "the table's and the metadata group's"
    written: list[str] = []
    put = house.cluster.metadata.put_job

    async def counted(key: str, job: dict[str, Any] | None) -> None:
        written.append(key)
        await put(key, job)

    monkeypatch.setattr(house.cluster.metadata, "put_job", counted)
    house.run(keeping.keep())
    assert written == []
    left = [table for table in house.service.tables() if table.table_id != one.table.table_id]
    keeping._tables = lambda: left
    house.run(keeping.keep())
    assert written == [PREFIX + one.table.table_id]
    assert len(one.noted) == 1


def test_a_ledger_that_is_lost_as_it_is_asked_takes_nothing_from_what_is_kept(one: Kept) -> None:
    """The read that finds it rotten may be the one that keeps: what it would be rebuilt from must be there still."""
    house = one.house
    house.run(one.keeping(one.ledger).keep())
    kept, proofs = one.noted, [proof._replace(run=None) for proof in house.run(one.ledger.partitions())]
    anew = one.new()
    newer = proofs[0]._replace(at_us=proofs[0].at_us + 1, verdict="mismatch")
    house.run(anew.verified([newer]))
    house.run(one.keeping(anew).keep())
    assert sorted(one.noted) == sorted(kept)
    house.run(one.keeping(anew).rebuild(lost=True))
    assert house.run(anew.partitions()) == [newer, *proofs[1:]]
    last = one.new()
    house.run(one.keeping(last).rebuild())
    assert house.run(last.partitions()) == [newer, *proofs[1:]]


def test_a_partition_that_is_no_more_is_kept_no_more(one: Kept) -> None:
    house, keeping = one.house, one.keeping(one.ledger)
    house.run(keeping.keep())
    left = one.table.partitions[1]
    keeping._tables = lambda: [msgspec.structs.replace(one.table, partitions=(left,))]
    house.run(keeping.keep())
    assert {proof["partition"] for proof in one.noted[PREFIX + one.table.table_id]["proofs"]} == {left.partition_id}


def test_what_a_run_by_hand_found_is_kept_at_once_where_a_match_was(one: Kept) -> None:
    house, keeping = one.house, one.keeping(one.ledger)
    found = PartitionProof(one.table.partitions[0].partition_id, one.table.table_id, "records", 5, None, "mismatch", False, None, None)
    house.run(one.ledger.verified([found]))
    keeping.unsound()
    house.pass_time(5)
    assert one.noted == {}, "nothing is kept that could be better"
    house.run(one.ledger.verified([found._replace(verdict="match")]))
    house.run(keeping.keep())
    others = {key: note for key, note in one.noted.items() if key != PREFIX + one.table.table_id}
    matched = [proof._replace(at_us=proof.at_us + 1) for proof in house.run(one.ledger.partitions()) if proof.table_id != found.table_id]
    house.run(one.ledger.verified([found, *matched]))
    keeping.unsound()
    house.pass_time(5)
    assert matched
    assert others == {key: note for key, note in one.noted.items() if key in others}, "what matches again is kept by the night"
    anew = one.new()
    house.run(one.keeping(anew).rebuild())
    assert found in house.run(anew.partitions())


@pytest.mark.slow
def test_a_store_that_is_away_and_a_note_that_is_malformed_keep_nobody(one: Kept) -> None:
    house = one.house
    house.run(one.keeping(one.ledger).keep())
    house.run(house.cluster.metadata.put_job(PREFIX + "broken", {"proofs": 7}))
    anew, keeping = one.new(), one.keeping(one.new())
    keeping._ledger = anew
    real, tries = keeping._list, []

    async def away() -> int:
        tries.append(house.env.clock.boot_us())
        if len(tries) < 3:
            raise Unavailable("the store is down")
        return await real()

    keeping._list = away  # type: ignore[method-assign]
    house.run(keeping.rebuild())
    assert [one.house.run(anew.partitions()) != [], len(tries)] == [True, 3]
    assert tries[2] - tries[0] == pytest.approx(2 * AGAIN_S * 1e6, abs=1e6)
    assert any("malformed for broken" in line for line in one.lines)


def test_golden_note(golden: Golden) -> None:
    table = TableId("00000000-0000-4000-8000-000000000001")
    proofs = [
        PartitionProof("00000000-0000-4000-8000-000000000002", table, "scrub", 1_772_366_400_000_000, 7, "match", True, 3, "0" * 32, 9),
        PartitionProof(
            "00000000-0000-4000-8000-000000000002", table, "records", 1_772_366_500_000_000, None, "mismatch", False, None, None
        ),
    ]
    golden.check_json("v3/ledger/kept.json", kept_notes(proofs, {table: {proofs[0].partition}})[PREFIX + table])
