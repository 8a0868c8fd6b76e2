"""Damage in the archive: every kind of object, every kind of damage, found and named by `verify`; never used to "repair" a copy; restores keep clear of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, put, rfc3339, scan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = {"archive.segment_bytes": "8KiB", "archive.seal_age": "1s", "archive.closed_interval": "1s", "storage.checkpoint_age": "200ms"}
ROUNDS = 6
Make = Callable[..., ScrubjayServer]


def bird(number: int, turn: int) -> Item:
    return {"k": {"S": f"bird-{number}"}, "song": {"S": f"{turn}-{number} " + "tweet " * 30}}


def fill(server: ScrubjayServer, table: str = "birds") -> list[int]:
    """Several generations of the same birds, more than a segment each. The last effective time of each."""
    make_table(server.port, table)
    return [put(server.port, table, [bird(number, turn) for number in range(50)]) for turn in range(ROUNDS)]


def state_at(turn: int) -> dict[str, Item]:
    return by_key([bird(number, turn) for number in range(50)])


def quiet(server: ScrubjayServer) -> None:
    """Everything written is archived and the window has come so far."""

    def proven() -> bool:
        code, report = server.asked("archive/status")
        return code == 0 and all(table["unarchived_bytes"] == 0 for table in report["tables"])

    wait_for(proven, timeout=60)


def segments(archive: Path, table: str) -> list[Path]:
    return sorted(archive.glob(f"*/t={table}/p=*/log/*.seg"), key=lambda path: path.name)


def table_id(server: ScrubjayServer, name: str = "birds") -> str:
    return str(server.client().describe_table(TableName=name)["Table"]["TableId"])


def verify(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = scrubjay_command("verify", "--archive", folder.as_uri(), "--json", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


# ---------------------------------------------------------------------- offline: kinds of objects and of damage

KINDS = {
    "segment": r"/t=[^/]+/p=[^/]+/log/[^/]+\.seg$",
    "manifest": r"/t=[^/]+/p=[^/]+/log/[^/]+\.json$",
    "base manifest": r"/base/[^/]+/manifest\.json$",
    "base rows": r"/base/[^/]+/(?!manifest)[^/]+$",
    "closed": r"/closed/[^/]+/[^/]+$",
    "identity": r"/identity$",
    "epoch": r"/epoch/[^/]+$",
}
DAMAGES = ("flip", "truncate", "empty", "swap", "delete")


def damage(folder: Path, kind: str, how: str) -> list[Path] | None:
    """Damage one object of a kind; the ones that are wrong now. None if there is nothing to do it to."""
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and re.search(KINDS[kind], f"/{path.relative_to(folder).as_posix()}")
    )
    assert found, f"the archive has no {kind}"
    victim = found[len(found) // 2] if len(found) > 1 else found[0]
    raw = victim.read_bytes()
    if how == "flip":
        victim.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1 :])
    elif how == "truncate":
        victim.write_bytes(raw[: len(raw) * 2 // 3])
    elif how == "empty":
        victim.write_bytes(b"")
    elif how == "swap":
        others = [path for path in found if path != victim and path.read_bytes() != raw]
        if not others:
            return None
        victim.write_bytes(others[0].read_bytes())
        others[0].write_bytes(raw)
        return [victim, others[0]]
    else:
        victim.unlink()
    return [victim]


@pytest.fixture(scope="module")
def whole_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with every kind of object in it, of a server that is gone."""
    folder = tmp_path_factory.mktemp("whole")
    server = ScrubjayServer(folder / "data", archive=None, settings=QUICK, env={}, arguments=[])
    server.start()
    fill(server)
    assert server.cli_json("scrub", "run")[0] == 0
    put(server.port, "birds", [bird(number, 99) for number in range(100)])
    quiet(server)
    assert server.stop() == 0
    return server.data / "archive"


@pytest.mark.parametrize("kind", KINDS)
def test_verify_names_every_kind_of_damage_to_every_kind_of_object(whole_archive: Path, tmp_path: Path, kind: str) -> None:
    if kind == "segment":
        assert verify(whole_archive)[0] == 0
    for how in DAMAGES:
        copy = tmp_path / how
        shutil.copytree(whole_archive, copy)
        wrong = damage(copy, kind, how)
        if wrong is None or (how == "delete" and kind == "closed"):
            continue  # nothing refers to a closed/ object: that one was there cannot be known, and no promise rests on it
        code, report = verify(copy)
        assert (code, report["verdict"]) == (2, "mismatch"), (how, report)
        named = {finding["object"] for finding in report["findings"]}
        assert {path.relative_to(copy).as_posix() for path in wrong} <= named, (how, wrong, report["findings"])


# ---------------------------------------------------------------------- online


@pytest.fixture
def server(scrubjay_server: Make) -> ScrubjayServer:
    return scrubjay_server(settings=QUICK)


@pytest.mark.parametrize("how", ["flip", "delete"])
def test_a_damaged_segment_under_a_running_server(server: ScrubjayServer, how: str) -> None:
    # A segment is as wide as an agent that is late makes it: whose moments lie in which one is settled by waiting in between.
    make_table(server.port, "birds")
    archive, table = server.data / "archive", table_id(server)
    times, ends = [], []
    for turns in (range(1), range(1, ROUNDS - 1), range(ROUNDS - 1, ROUNDS)):
        times += [put(server.port, "birds", [bird(number, turn) for number in range(50)]) for turn in turns]
        quiet(server)
        ends.append(len(segments(archive, table)))
    between = segments(archive, table)[ends[0] : ends[1]]
    victim = between[len(between) // 2]
    raw = victim.read_bytes()
    if how == "flip":
        victim.write_bytes(raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
    else:
        victim.unlink()
        victim.with_suffix(".json").unlink()
    name = victim.relative_to(archive).as_posix()

    if how == "flip":  # whoever meets it first says so
        code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "met", "--at", rfc3339(times[-1]))
        assert (code, report["state"], report["error"]["code"]) == (2, "failed", "Corrupt"), report
        assert [finding["object"] for finding in report["findings"]] == [name], report
        assert server.cli_json("restore", "cancel", "met")[0] == 0

    code, report = server.cli_json("verify")
    assert (code, report["verdict"]) == (2, "mismatch"), report
    code, report = server.cli_json("status")
    assert code == 2
    assert "verify-mismatch" in {problem["kind"] for problem in report["problems"]}, report["problems"]
    assert report["tables"][0]["last_verify"] is not None
    code, report = server.cli_json("verify", "--table", "birds")
    if how == "flip":
        assert name in {finding["object"] for finding in report["findings"]}, report["findings"]
    else:  # with both objects of a segment gone nobody knows the hash in its name any more: the hole is named by its first LSN
        lost = int(victim.name[:16], 16)
        assert ("hole", "archive", lost) in {(f["kind"], f["copy"], f["lsn"]) for f in report["findings"]}, report["findings"]

    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert code == 2, report
    assert not report["healed"]
    partition = report["tables"][0]["partitions"][0]
    assert {finding["copy"] for finding in partition["findings"]} == {"archive"}, partition
    assert {finding["action"] for finding in partition["findings"]} == {"none"}, partition
    assert not list((server.data / "nodes").glob("*/quarantine/*")), "no copy was touched"
    assert by_key(scan(server.port, "birds")) == state_at(ROUNDS - 1)

    before, after = rfc3339(times[0]), rfc3339(times[-1])
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "across", "--at", after)
    # Gone, or found bad by the verify above: either way what lay in it is a hole, and nothing is begun across it.
    assert code == 4, report
    (hole,) = report["window"]["holes"]
    assert hole["first_lsn"] == int(victim.name[:16], 16), hole
    assert "across" not in server.client().list_tables()["TableNames"]

    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", "early", "--at", before)
    assert (code, report["verdict"]) == (0, "match"), report
    assert by_key(scan(server.port, "early")) == state_at(0)
    code, report = server.cli_json("archive", "status", "--table", "birds")
    assert code == 2, report
    assert report["tables"][0]["window"]["holes"], report
    if how == "flip":
        assert name in {finding["object"] for finding in report["findings"]}, report["findings"]


def test_rot_in_a_replica_is_not_healed_from_a_rotten_archive(server: ScrubjayServer) -> None:
    """Both at once: the copy is named and set no further than it may be; the bad segment heals nobody. Mended, the archive heals the copy."""
    from tests.integration.process.tree_bytes import flip, spot_of

    fill(server)
    quiet(server)
    archive = server.data / "archive"
    victim = segments(archive, table_id(server))[1]
    raw = victim.read_bytes()
    victim.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    spot = spot_of(server.data, "n2", f"{ROUNDS - 1}-7 tweet".encode())
    assert spot is not None
    flip(spot.file, spot.value[0] + spot.value[1].index(b"tweet"))
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert code == 2, report
    assert not report["healed"]
    findings = report["tables"][0]["partitions"][0]["findings"]
    assert {"n2", "archive"} == {finding["copy"] for finding in findings}, findings
    assert by_key(scan(server.port, "birds")) == state_at(ROUNDS - 1)
    victim.write_bytes(raw)
    code, report = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, report["healed"]) == (2, True), report
    assert server.cli_json("scrub", "run", "--table", "birds")[0] == 0
    assert by_key(scan(server.port, "birds")) == state_at(ROUNDS - 1)
