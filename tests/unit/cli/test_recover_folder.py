"""The data folder while it is recovered: who may use it, and what is taken for the same recovery."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Corrupt, Unsafe
from scrubjay.base.ids import ClusterId
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.jobs import QUEUE_MAX
from scrubjay.base.real.rand import RealRand
from scrubjay.recovery import RecoverRequest, came_back, earlier_recovery, lanes_of, outcome
from scrubjay.serving.folder import RECOVER, RecoverFile, new_cluster, refuse_unfinished, write_cluster, write_recover
from scrubjay.verbs.recover import VERB

PARENT = ClusterId("11111111-1111-4111-8111-111111111111")
ASKED = RecoverRequest("file:///bucket", None, None, ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lock").touch()
    return tmp_path


def begun(folder: Path, *, done: bool = False, attached: bool = False) -> RealDisk:
    disk = RealDisk(folder)
    made = new_cluster(RealRand(), now_us=1, parent=PARENT)
    write_recover(disk, RecoverFile(url="file:///bucket", parent=PARENT, asked_us=None, at_us=5, only=(), cluster=made, done=done))
    write_cluster(disk, msgspec.structs.replace(made, attached=attached))
    return disk


def test_half_of_a_recovery_is_not_served(folder: Path) -> None:
    refuse_unfinished(RealDisk(folder))
    with pytest.raises(Unsafe, match="recover is unfinished, run it again") as refused:
        refuse_unfinished(begun(folder))
    assert f"--archive file:///bucket --cluster {PARENT}" in refused.value.fields["next"]
    refuse_unfinished(begun(folder, done=True))
    (folder / RECOVER).write_text("{")
    with pytest.raises(Corrupt):
        refuse_unfinished(RealDisk(folder))


def test_a_new_folder_and_one_that_is_not(folder: Path) -> None:
    assert earlier_recovery(folder / "none", ASKED) is None
    assert earlier_recovery(folder, ASKED) is None
    (folder / f".{RECOVER}.new").touch()
    assert earlier_recovery(folder, ASKED) is None, "killed while it was written for the first time: nothing had begun"
    (folder / "precious").touch()
    with pytest.raises(Unsafe, match="not empty"):
        earlier_recovery(folder, ASKED)


def test_the_same_goes_on_and_another_is_refused(folder: Path) -> None:
    begun(folder)
    for same in (ASKED, RecoverRequest("file:///bucket", PARENT, None, ()), RecoverRequest("file:///bucket", None, 5, ())):
        found = earlier_recovery(folder, same)
        assert found is not None
        assert found.at_us == 5
    for other in (
        RecoverRequest("file:///other", None, None, ()),
        RecoverRequest("file:///bucket", "22222222-2222-4222-8222-222222222222", None, ()),
        RecoverRequest("file:///bucket", None, 6, ()),
        RecoverRequest("file:///bucket", None, None, ("birds",)),
    ):
        with pytest.raises(Conflict):
            earlier_recovery(folder, other)


def test_a_fresh_disk_is_an_empty_folder(folder: Path) -> None:
    (folder / "lost+found").mkdir()
    assert earlier_recovery(folder, ASKED) is None


def test_killed_between_its_two_files(folder: Path) -> None:
    """recover.json is there, cluster.json is not yet: the same goes on, with the ids that were noted first."""
    begun(folder)
    (folder / "cluster.json").unlink()
    found = earlier_recovery(folder, ASKED)
    assert found is not None
    with pytest.raises(Unsafe, match="recover is unfinished"):
        refuse_unfinished(RealDisk(folder))


def test_two_histories_are_an_answer_of_their_own() -> None:
    """All is there, and a person should look: not 0. What did not come back comes first."""
    fork = {"partition": "p1", "first_lsn": 7, "epochs": [1, 2]}
    assert outcome([], [])["exit"] == 0
    forked = outcome([], [fork])
    assert (forked["exit"], forked["error"]["code"]) == (2, "Forked")
    assert "partition p1 from LSN 7" in forked["error"]["found"]
    assert came_back([])


def test_what_was_served_is_never_recovered_into(folder: Path) -> None:
    begun(folder, done=True)
    assert earlier_recovery(folder, ASKED) is not None, "it says what it did"
    begun(folder, done=True, attached=True)
    with pytest.raises(Unsafe, match="not empty"):
        earlier_recovery(folder, ASKED)


def test_a_machine_of_many_cores_asks_its_workers_for_no_more_than_they_let_wait() -> None:
    """Tables are brought back beside each other, and partitions of each: a queue that refused one would fail its table."""
    assert [lanes_of(workers) for workers in (2, 4)] == [2, 4]
    assert all(lanes_of(workers) ** 2 <= QUEUE_MAX for workers in (16, 18, 96))


def test_the_command_that_serves_it_can_be_typed_as_it_is_told() -> None:
    document = {**VERB.template, "data": "/mnt/new disk/d", "seconds": {"recover": 1.0}, "exit": 0, "backups": [], "backups_unread": []}
    told = next(line for line in VERB.render(document) if "serves them" in line)
    assert shlex.split(told.partition(" serves them")[0]) == ["scrubjay", "serve", "--dev", "--data", "/mnt/new disk/d"]
