"""Rot in one replica's tree, planted in its file: never a wrong byte through any read, named by the scrub, healed, and gone at the next."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Connection, Item, make_table, put, query, scan
from tests.integration.process.tree_bytes import PAGE, Spot, damage_page, entries, flip, free_bytes, spot_of, trees

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]

NODES = ("n1", "n2", "n3")
SPECIES, BIRDS = 4, 240
QUICK = {
    "tables.initial_partitions": "2",
    "storage.checkpoint_age": "200ms",
    "archive.seal_age": "1s",
    "archive.closed_interval": "1s",
}


def bird(number: int) -> Item:
    return {
        "k": {"S": f"species-{number % SPECIES}"},
        "r": {"S": f"bird-{number:04d}"},
        "song": {"S": f"<song {number:04d}> " + "tweet " * (5 + number % 30)},
        "legs": {"N": "2"},
    }


FLOCK = [bird(number) for number in range(BIRDS)]


def name_of(number: int) -> dict[str, object]:
    return {name: FLOCK[number][name] for name in ("k", "r")}


class Flock:
    """A server with the birds in it, all down in the trees of every node."""

    def __init__(self, server: ScrubjayServer) -> None:
        self.server = server
        make_table(server.port, "birds", sort=True)
        put(server.port, "birds", FLOCK)
        self.settled()

    def settled(self) -> None:
        """The newest bird is in a checkpoint of every node."""
        wait_for(lambda: all(spot_of(self.server.data, node, b"<song 0239>") for node in NODES), timeout=60)

    def live(self, node: str, number: int) -> Spot:
        spot = spot_of(self.server.data, node, f"<song {number:04d}>".encode())
        assert spot is not None
        return spot

    def song_offset(self, spot: Spot) -> int:
        """Of a byte of its song, the way an outsider would find it."""
        return spot.value[0] + spot.value[1].index(b"<song") + 7

    def read_all(self, numbers: list[int], times: int = 2) -> None:
        """Every way to read, strong and eventual; eventual ones often enough to meet every replica."""
        port = self.server.port
        with contextlib.closing(Connection(port)) as connection:
            for number in numbers:
                for strong in (True, *[False] * 3 * times):
                    reply = connection.call("GetItem", {"TableName": "birds", "Key": name_of(number), "ConsistentRead": strong})
                    assert reply.status == 200, reply
                    assert reply.body["Item"] == FLOCK[number]
                    absent = {"k": FLOCK[number]["k"], "r": {"S": f"bird-{number:04d}x"}}
                    reply = connection.call("GetItem", {"TableName": "birds", "Key": absent, "ConsistentRead": strong})
                    assert reply == (200, {}, None), reply
        for strong in (True, *[False] * 3):
            for species in range(SPECIES):
                assert query(port, "birds", f"species-{species}", strong=strong) == FLOCK[species::SPECIES]
            found = scan(port, "birds", strong=strong)
            assert sorted(found, key=lambda item: item["r"]["S"]) == FLOCK

    def scrub(self) -> tuple[int, dict[str, object], list[dict[str, object]]]:
        code, report = self.server.cli_json("scrub", "run", timeout=240)
        findings = [finding for table in report["tables"] for partition in table["partitions"] for finding in partition["findings"]]
        return code, report, findings

    def evidence(self) -> dict[str, set[Path]]:
        """What lies in quarantine, by node."""
        return {node: set(quarantine(self.server.data, node)) for node in NODES}

    def heals(self, flipped: dict[str, list[int]], *, kept: dict[str, set[Path]] | None = None) -> None:
        """flipped: numbers by node. A scrub names every flipped bird on its copy, and heals; the next finds nothing; the evidence is kept, and told where.

        kept: what lay in quarantine before anything could be healed; None: nothing was healed yet.
        """
        kept = self.evidence() if kept is None else kept
        code, report, findings = self.scrub()
        assert (code, report["verdict"], report["healed"]) == (2, "mismatch", True), report
        assert {finding["copy"] for finding in findings} == set(flipped), findings
        assert {finding["action"] for finding in findings} == {"healed"}, findings
        for node, numbers in flipped.items():
            named = [finding["key"] for finding in findings if finding["copy"] == node]
            for number in numbers:
                assert name_of(number) in named, findings
            added = self.evidence()[node] - kept[node]
            told = {self.server.data / str(finding["evidence"]) for finding in findings if finding["copy"] == node}
            assert told == added, findings
        code, report, findings = self.scrub()
        assert (code, report["verdict"], report["healed"], findings) == (0, "match", False, []), report
        self.read_all([number for numbers in flipped.values() for number in numbers], times=1)


@pytest.fixture(scope="module")
def flock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flock]:
    """One for all: each test ends with a scrub that finds every copy whole again."""
    server = ScrubjayServer(tmp_path_factory.mktemp("flock") / "data", settings=QUICK)
    request.node.stash.setdefault(ScrubjayServer.STARTED, []).append(server)
    with server:
        yield Flock(server)


def test_flipped_values_while_running(flock: Flock) -> None:
    """On each node in turn (so the leaders' too); on the last one nothing is read between the flip and the scrub."""
    for turn, node in enumerate(NODES):
        numbers = [3 + turn, 77 + turn, 150 + turn, 239 - turn]
        for bit, number in enumerate(numbers):
            spot = flock.live(node, number)
            flip(spot.file, flock.song_offset(spot), bit)
        if turn < 2:
            flock.read_all(numbers)
        flock.heals({node: numbers})


def test_flipped_while_stopped(flock: Flock) -> None:
    for turn, node in enumerate(NODES):
        numbers = [11 + turn, 120 + turn]
        assert flock.server.stop() == 0
        for number in numbers:
            spot = flock.live(node, number)
            flip(spot.file, flock.song_offset(spot))
        flock.server.start()
        flock.read_all(numbers)
        flock.heals({node: numbers})


def test_flipped_in_every_copy_and_met_by_reads_before_any_scrub(flock: Flock) -> None:
    """A key differs on each, so nobody serves once they were read: whoever heals the first copy, all that was rotten in it is named."""
    flipped = {"n1": [12, 40, 200], "n2": [60], "n3": [100]}  # of one species, so in one partition
    assert flock.server.stop() == 0
    for node, numbers in flipped.items():
        for number in numbers:
            spot = flock.live(node, number)
            flip(spot.file, flock.song_offset(spot))
    kept = flock.evidence()
    flock.server.start()
    with contextlib.closing(Connection(flock.server.port)) as connection:
        wanted = {"KeyConditionExpression": "k = :k", "ExpressionAttributeValues": {":k": {"S": "species-0"}}}
        for strong in (True, *[False] * 6):
            reply = connection.call("Query", {"TableName": "birds", "ConsistentRead": strong, **wanted})
            assert reply.status >= 500 or reply.body["Items"] == FLOCK[::SPECIES], reply
    flock.heals(flipped, kept=kept)


@pytest.mark.parametrize("stopped", [False, True])
def test_flipped_keys_fences_and_states(flock: Flock, *, stopped: bool) -> None:
    """A flipped key says "no such item", a fence protects misses and ranges, the state says what is applied: all on one node, one after another."""
    server = flock.server

    def plant(damage: Callable[[], None], numbers: list[int]) -> None:
        if stopped:
            assert server.stop() == 0
        damage()
        if stopped:
            server.start()
        flock.read_all([5, 42, 100, *numbers], times=1)
        code, report, findings = flock.scrub()
        assert code == 2, report
        assert {finding["copy"] for finding in findings} == {node}, findings
        assert all(finding["action"] == "healed" for finding in findings), findings
        code, report, findings = flock.scrub()
        assert (code, findings) == (0, []), report

    node = "n2"
    spot = flock.live(node, 42)
    plant(lambda: flip(spot.file, spot.key[0] + 16 + 6), [42, 43])
    if stopped:
        return
    spot = flock.live(node, 100)
    plant(lambda: flip(spot.file, spot.key[0] + 3), [100])
    for place in ("key", "value"):
        node = "n3" if place == "key" else "n1"
        fence = entries(trees(server.data, node)[0], "fences")[-1]
        at = fence.key[0] if place == "key" else fence.value[0] + 9
        plant(lambda fence=fence, at=at: flip(fence.file, at), [])  # type: ignore[misc]
    node = "n2"
    facts = entries(trees(server.data, node)[0], "meta")[0]
    plant(lambda: flip(facts.file, facts.value[0] + 26), [])


def test_damaged_pages(flock: Flock) -> None:
    """A whole page of a tree. LMDB may kill the process over it: then the next start comes up, and it ends healed; no answer is ever wrong."""
    server = flock.server
    for turn, (node, how) in enumerate(zip(NODES, ("zeros", "noise", "another"), strict=True)):
        spot = flock.live(node, 60 + turn)
        damage_page(spot.file, flock.song_offset(spot), how)
        deaths = 0
        deadline = time.monotonic() + 60
        while True:
            try:
                flock.read_all([60 + turn, 61 + turn], times=1)
                break
            except (OSError, http.client.HTTPException):
                assert server.process is not None
                server.process.wait(10)
                deaths += 1
                assert time.monotonic() < deadline
                server.start()
        assert deaths <= 1, "the restarted server keeps away from the damaged tree"
        code, report, findings = flock.scrub()
        assert code == 2, report
        assert {finding["copy"] for finding in findings} == {node}
        code, report, findings = flock.scrub()
        assert (code, findings) == (0, []), report
        flock.read_all([60 + turn])


def test_negative_control_a_flip_in_free_space_is_no_rot(flock: Flock) -> None:
    """What lies in no live page is no part of the tree: the same tests would be worth nothing if any flip were found."""
    assert flock.server.stop() == 0  # a page that is free now must not become a live one before it is flipped
    spot = flock.live("n1", 9)
    pages, gaps = free_bytes(spot.file)
    assert pages
    for at in [*(page * PAGE + (24 + 997 * page) % PAGE for page in pages), gaps[0], gaps[len(gaps) // 2], gaps[-1]]:
        flip(spot.file, at)
    flock.server.start()
    flock.read_all([9])
    code, report, findings = flock.scrub()
    assert (code, findings) == (0, []), report


def quarantine(data: Path, node: str) -> list[Path]:
    """What was put aside as evidence."""
    return sorted((data / "nodes" / node / "quarantine").glob("*"))
