"""What a worker of the fleet does with jobs and their files: `FleetHost` with its real child processes, without Dask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.format.layout import ClosedKey, EpochKey, build
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.real import fleet_wire, job_wire
from scrubjay.base.real.fleet_worker import FleetHost
from scrubjay.base.real.localfs import LocalStore
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.stores import HANDED_ON, KEYS, open_store, worker_environment
from scrubjay.base.sealed import Key, Keyring
from scrubjay.serving.jobs import newest_seen
from scrubjay.sim.lone import LoneHost, LoneStore
from tests.unit.archiver.sample import ATTACHED, CLUSTER
from tests.unit.real.test_jobs import wait_gone

pytestmark = pytest.mark.timeout(120)

SAMPLES = "tests.unit.real.job_samples"
OURS, FILES = "session-1", {"output": "tmp/some/rows", "work": "tmp/some/base"}

Body = Callable[[FleetHost], Awaitable[None]]


def on(root: Path, body: Body) -> None:
    async def main(tasks: AsyncTasks) -> None:
        host = FleetHost(root, slots=2, version="1")
        try:
            await body(host)
        finally:
            await host.close()

    run(main)


def asked(job: str, id_: str, arguments: dict[str, Any] | None = None) -> fleet_wire.FleetTask:
    return fleet_wire.FleetTask(
        id=id_, session=OURS, version="1", archive="s3://elsewhere", cluster="c", job=f"{SAMPLES}:{job}", arguments={**FILES, **(arguments or {})}
    )  # fmt: skip


def value_of(answer: fleet_wire.FleetAnswer) -> dict[str, Any]:
    assert isinstance(answer.answer, job_wire.JobResult), answer
    return answer.answer.value


def error_of(answer: fleet_wire.FleetAnswer) -> Exception:
    assert isinstance(answer.answer, job_wire.JobFailure), answer
    return job_wire.error_of(answer.answer)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def begin(host: FleetHost, task: fleet_wire.FleetTask) -> tuple[asyncio.Task[fleet_wire.FleetAnswer], asyncio.Queue[dict[str, Any]]]:
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    return asyncio.ensure_future(host.run(task, worker="w", tell=said.put_nowait)), said


@pytest.mark.slow
def test_two_runs_asked_for_the_same_names_have_files_of_their_own(tmp_path: Path) -> None:
    root, until = tmp_path / "root", tmp_path / "go"

    async def body(host: FleetHost) -> None:
        runs = []
        for mark in (b"first", b"second"):
            task, said = begin(host, asked("keeps_its_own", mark.decode(), {"mark": mark, "until": str(until)}))
            await said.get()
            runs.append(task)
        until.touch()
        assert [value_of(await one)["found"] for one in runs] == [[b"first"] * 2, [b"second"] * 2]
        host.stop(OURS, "first")
        await host.run(asked("measures", "third", {"rows": "second/tmp/some/rows"}), worker="w", tell=None)
        part = host.read(OURS, "second/tmp/some/rows", 0, 100)
        assert part is not None
        assert part.data == b"second", "what the first made was dropped, late: this is not it"

    on(root, body)


def test_what_failed_or_was_stopped_leaves_no_file(tmp_path: Path) -> None:
    root = tmp_path / "root"

    async def body(host: FleetHost) -> None:
        error = error_of(await host.run(asked("makes_and_fails", "a"), worker="w", tell=None))
        assert isinstance(error, Missing), "of the archive: that is what it says"
        assert files(root) == []
        task, said = begin(host, asked("keeps_its_own", "b", {"mark": b"x", "until": str(tmp_path / "never")}))
        pid = (await said.get())["pid"]
        assert len(files(root)) == 2
        host.stop(OURS, "b")
        assert isinstance(error_of(await task), Unavailable)
        assert await asyncio.to_thread(wait_gone, pid)
        assert files(root) == []

    on(root, body)


def test_a_job_is_stopped_from_its_first_moment_on(tmp_path: Path) -> None:
    root = tmp_path / "root"

    async def body(host: FleetHost) -> None:
        task, said = begin(host, asked("hangs", "a"))
        await asyncio.sleep(0)
        host.stop(OURS, "a")
        assert isinstance(error_of(await task), Unavailable)
        assert said.empty()

    on(root, body)


def test_what_nobody_waited_for_is_removed_when_it_ended_too(tmp_path: Path) -> None:
    root = tmp_path / "root"

    async def body(host: FleetHost) -> None:
        await host.run(asked("makes", "a", {"size": 512}), worker="w", tell=None)
        assert files(root) == [f"{OURS}/a/tmp/some/rows"]
        host.stop(OURS, "a")
        assert files(root) == []

    on(root, body)


def test_scratch_that_went_away_is_no_fact_about_the_archive(tmp_path: Path) -> None:
    async def body(host: FleetHost) -> None:
        error = error_of(await host.run(asked("loses_its_scratch", "a"), worker="w", tell=None))
        assert isinstance(error, Unavailable)
        assert "scratch" in str(error)

    on(tmp_path / "root", body)


def test_an_identity_that_rotted_is_the_same_archive_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an encrypted archive it does not open: what is there is there, and a job that reads other objects is none the worse."""
    settings = {KEYS: Keyring((Key("k1", bytes(32)),)).as_text()}
    monkeypatch.setenv(HANDED_ON, worker_environment(settings)[HANDED_ON])
    url = (tmp_path / "archive").as_uri()

    async def body(host: FleetHost) -> None:
        await open_store(url, settings=settings).put("c/identity", b"whose it is")
        (identity,) = [path for path in (tmp_path / "archive").rglob("identity*") if path.is_file()]
        data = identity.read_bytes()
        identity.chmod(0o600)
        identity.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        await host._same_archive(url, "c", "")
        with pytest.raises(Unavailable, match="another archive"):
            await host._same_archive(url, "other", "")

    on(tmp_path / "root", body)


def test_a_session_that_is_over_runs_nothing_any_more(tmp_path: Path) -> None:
    root = tmp_path / "root"

    async def body(host: FleetHost) -> None:
        task, said = begin(host, asked("keeps_its_own", "a", {"mark": b"x", "until": str(tmp_path / "never")}))
        pid = (await said.get())["pid"]
        await host.leave(OURS)
        ended, _ = await asyncio.wait({task}, timeout=20)
        assert ended, "a timeout would end the task itself, and be told that it was stopped"
        stopped = error_of(await task)
        assert isinstance(stopped, Unavailable)
        assert stopped.message == "the job was stopped", "by us, and not by its files that went from under it"
        assert await asyncio.to_thread(wait_gone, pid)
        late = await host.run(asked("makes", "b", {"size": 512}), worker="w", tell=None)
        assert isinstance(error_of(late), Unavailable)
        assert files(root) == []

    on(root, body)


def test_a_worker_that_sees_a_copy_from_before_is_refused_until_it_does_not(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    young = "c/closed/n1/0000000000000007.json"

    def task(id_: str, seen: str) -> fleet_wire.FleetTask:
        made = asked("echo", id_, {"url": store.url})
        made.archive, made.seen = store.url, seen
        return made

    async def body(host: FleetHost) -> None:
        await store.put("c/identity", b"ours")
        value_of(await host.run(task("1", ""), worker="w", tell=None))
        refused = error_of(await host.run(task("2", young), worker="w", tell=None))
        assert isinstance(refused, Unavailable)
        assert ("older copy" in refused.message, refused.fields["lacks"]) == (True, young)
        await store.put(young, b"{}")
        value_of(await host.run(task("3", young), worker="w", tell=None))
        await store.delete("c/identity")
        value_of(await host.run(task("4", young), worker="w", tell=None))  # that was looked at

    on(tmp_path / "root", body)


def test_the_witness_is_the_youngest_that_is_there_and_a_lost_one_is_none() -> None:
    host, store = LoneHost(), LoneStore()
    heard = [build(ClosedKey(CLUSTER, "n1", 7)), build(ClosedKey(CLUSTER, "n2", 5))]
    claim = build(EpochKey(CLUSTER, ATTACHED.epoch))

    def seen(writer: Writer) -> str:
        found: str = host.run(newest_seen(store, heard, writer))
        return found

    for name in (*heard, claim):
        host.run(store.put(name, b"{}"))
    assert seen(Writer(CLUSTER, ATTACHED)) == heard[0]
    del store.objects[heard[0]]
    assert seen(Writer(CLUSTER, ATTACHED)) == claim, "what is lost keeps no worker from reading, a verify tells of it"
    assert seen(Writer(CLUSTER)) == "", "and what is not known is not asked for"
