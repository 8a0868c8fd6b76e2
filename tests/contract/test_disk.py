"""The Disk port's contract, held by the real disk and the simulated one; and what only the real one must do: say what a failed system call means."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from scrubjay.base.env import Disk, File
from scrubjay.base.errors import Corrupt, DiskFull, Exists, Internal, Missing, ScrubjayError
from scrubjay.base.real import disk as real_disk
from scrubjay.base.real.disk import RealDisk
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.world import World


class Subject(Protocol):
    disk: Disk

    def until(self, condition: Callable[[], bool]) -> None: ...


class RealSubject:
    def __init__(self, root: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.disk = RealDisk(root, self.loop.call_soon_threadsafe)

    def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(wait(), 10))

    def close(self) -> None:
        self.disk.close()
        self.loop.close()


class InlineSubject:
    """The real disk as worker processes use it: no loop, work is done at once."""

    def __init__(self, root: Path) -> None:
        self.disk = RealDisk(root)

    def until(self, condition: Callable[[], bool]) -> None:
        assert condition()


class SimSubject:
    def __init__(self) -> None:
        self.world = World(1)
        self.disk = SimDisk(self.world, "n1", capacity=1 << 22)
        self.disk.attach(Life(self.world))

    def until(self, condition: Callable[[], bool]) -> None:
        self.world.run(until_us=self.world.now + 10_000_000, stop=condition)
        assert condition()


@pytest.fixture(params=["real", "inline", "sim"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "sim":
        yield SimSubject()
    elif request.param == "inline":
        yield InlineSubject(tmp_path)
    else:
        real = RealSubject(tmp_path)
        yield real
        real.close()


def write_sync(subject: Subject, path: str, offset: int, *chunks: bytes) -> ScrubjayError | None:
    results: list[ScrubjayError | None] = []
    subject.disk.open(path).write_sync(offset, list(chunks), results.append)
    subject.until(lambda: bool(results))
    assert len(results) == 1
    return results[0]


def test_created_files_are_zeros_and_must_not_exist(subject: Subject) -> None:
    disk = subject.disk
    disk.mkdir("a/b")
    file = disk.open("a/b/f", create_size=10_000)
    assert (file.size(), file.pread(0, 20_000)) == (10_000, bytes(10_000))
    with pytest.raises(Exists):
        disk.open("a/b/f", create_size=1)
    with pytest.raises(Missing):
        disk.open("a/b/g")
    assert disk.open("a/b/empty", create_size=0).size() == 0
    headed = disk.open("a/b/headed", create_size=10_000, head=b"head" * 1000)
    assert (headed.size(), headed.pread(0, 20_000)) == (10_000, b"head" * 1000 + bytes(6_000))


def test_files_made_ahead_are_zeros_under_their_name_only_and_must_not_exist(subject: Subject) -> None:
    disk = subject.disk
    disk.mkdir("d")
    made: list[File | ScrubjayError] = []
    disk.create_ahead("d/f", 10_000, made.append)
    subject.until(lambda: bool(made))
    file = made[0]
    assert not isinstance(file, ScrubjayError)
    assert (file.size(), file.pread(0, 20_000)) == (10_000, bytes(10_000))
    assert disk.listdir("d") == ["f"]
    file.write(0, b"x")
    disk.create_ahead("d/f", 10, made.append)
    subject.until(lambda: len(made) == 2)
    assert isinstance(made[1], Exists)
    assert disk.read_file("d/f") == b"x" + bytes(9_999)
    assert disk.listdir("d") == ["f"]
    disk.create_ahead("nowhere/f", 10, made.append)
    subject.until(lambda: len(made) == 3)
    assert isinstance(made[2], Missing)
    disk.create_ahead("d/headed", 3 << 20, made.append, head=b"head" * 1000)
    subject.until(lambda: len(made) == 4)
    assert disk.read_file("d/headed") == b"head" * 1000 + bytes((3 << 20) - 4000)


def test_renames_and_removals_off_the_loop_keep_their_order(subject: Subject) -> None:
    disk = subject.disk
    disk.mkdir("d")
    disk.open("d/a", create_size=1)
    seen: list[tuple[str, ScrubjayError | None]] = []
    disk.rename_sync("d/a", "d/b", lambda error: seen.append(("b", error)))
    disk.rename_sync("d/b", "d/c", lambda error: seen.append(("c", error)))
    disk.open("d/e", create_size=1)
    disk.remove_sync("d/e", lambda error: seen.append(("e", error)))
    disk.remove_sync("d/e", lambda error: seen.append(("again", error)))
    subject.until(lambda: len(seen) == 4)
    assert sorted(seen) == [("again", None), ("b", None), ("c", None), ("e", None)]
    assert disk.listdir("d") == ["c"]
    disk.rename_sync("d/gone", "d/x", lambda error: seen.append(("x", error)))
    subject.until(lambda: len(seen) == 5)
    assert isinstance(seen[4][1], Missing)


def test_writes_are_read_back(subject: Subject) -> None:
    disk = subject.disk
    file = disk.open("f", create_size=100)
    file.write(10, b"hello")
    assert file.pread(8, 9) == b"\0\0hello\0\0"
    file.sync()
    assert write_sync(subject, "f", 90, b"0123456789", bytearray(b"ab"), memoryview(b"cd")) is None  # type: ignore[arg-type]
    assert disk.open("f").pread(90, 100) == b"0123456789abcd"
    assert file.size() == 104
    assert file.pread(104, 10) == b""


def test_many_chunks_and_order(subject: Subject) -> None:
    file = subject.disk.open("f", create_size=0)
    done: list[int] = []
    for number in range(5):
        file.write_sync(number * 3000, [b"%d" % number] * 3000, lambda error, number=number: done.append(number))  # type: ignore[misc]
    subject.until(lambda: len(done) == 5)
    assert file.pread(0, 15_000) == b"".join(b"%d" % number * 3000 for number in range(5))


def test_folders_and_names(subject: Subject) -> None:
    disk = subject.disk
    assert disk.listdir("none") == []
    disk.mkdir("x/y")
    disk.mkdir("x/y")
    disk.write_file("x/b", b"1")
    disk.write_file("x/a", b"2")
    assert disk.listdir("x") == ["a", "b", "y"]
    assert (disk.exists("x/a"), disk.exists("x"), disk.exists("x/c")) == (True, True, False)
    disk.rename("x/a", "x/y/c")
    disk.sync_dir("x")
    disk.sync_dir("x/y")
    assert (disk.read_file("x/y/c"), disk.read_file("x/a")) == (b"2", None)
    disk.rename("x/y", "z")
    assert disk.listdir("z") == ["c"]
    disk.remove("z/c")
    disk.remove("z/c")
    disk.write_file("x/b", b"longer than before")
    assert disk.read_file("x/b") == b"longer than before"
    disk.remove_tree("x")
    disk.remove_tree("x")
    assert not disk.exists("x")
    with pytest.raises(Missing):
        disk.rename("nothing", "else")
    assert disk.free_bytes() > 0


def test_a_full_disk_says_so_and_reads_go_on() -> None:
    subject = SimSubject()
    subject.disk.open("f", create_size=1000).write(0, b"x")
    with pytest.raises(DiskFull):
        subject.disk.open("g", create_size=1 << 23)
    assert subject.disk.open("f").pread(0, 1) == b"x"


def failing(code: int) -> Callable[..., int]:
    def call(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


def test_a_failed_sync_closes_the_file_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = RealSubject(tmp_path)
    file = subject.disk.open("f", create_size=100)
    other = subject.disk.open("g", create_size=100)
    results: list[ScrubjayError | None] = []
    with monkeypatch.context() as patch:
        patch.setattr(real_disk.os, "fdatasync", failing(errno.EIO))
        file.write_sync(0, [b"x"], results.append)
        subject.until(lambda: len(results) == 1)
    assert isinstance(results[0], Corrupt)
    file.write_sync(0, [b"x"], results.append)
    subject.until(lambda: len(results) == 2)
    assert isinstance(results[1], Corrupt), "the second sync would succeed with nothing on the platter"
    with pytest.raises(Corrupt):
        file.write(0, b"y")
    with pytest.raises(Corrupt):
        file.sync()
    other.write_sync(0, [b"x"], results.append)
    subject.until(lambda: len(results) == 3)
    assert results[2] is None
    subject.close()


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, Corrupt)])
def test_what_a_failed_write_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[ScrubjayError]) -> None:
    disk = RealDisk(tmp_path)
    file = disk.open("f", create_size=100)
    results: list[ScrubjayError | None] = []
    monkeypatch.setattr(real_disk.os, "pwritev", failing(code))
    file.write_sync(0, [b"x"], results.append)
    assert isinstance(results[0], kind)
    with pytest.raises(kind):
        disk.write_file("h", b"x")
    with pytest.raises(kind):
        disk.open("g", create_size=10)
    assert disk.listdir("") == ["f"], "nothing half-made is left behind"


def test_a_failed_read_is_corrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RealDisk(tmp_path).open("f", create_size=100)
    monkeypatch.setattr(real_disk.os, "pread", failing(errno.EIO))
    with pytest.raises(Corrupt):
        file.pread(0, 10)


def test_short_writes_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RealDisk(tmp_path).open("f", create_size=0)
    monkeypatch.setattr(real_disk.os, "pwritev", lambda descriptor, views, offset: os.pwrite(descriptor, bytes(views[0])[:3], offset))
    file.write(0, b"0123456789")
    results: list[ScrubjayError | None] = []
    file.write_sync(10, [b"abcd", b"", b"efghijkl"], results.append)
    assert results == [None]
    assert file.pread(0, 100) == b"0123456789abcdefghijkl"


def test_paths_stay_inside_the_folder(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path / "in")
    for path in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(ScrubjayError):
            disk.read_file(path)


def test_a_bug_in_the_committing_thread_reaches_who_waits_and_the_thread_lives_on(tmp_path: Path) -> None:
    subject = RealSubject(tmp_path)
    seen: list[ScrubjayError | None] = []
    subject.disk.submit(lambda: [].pop(), seen.append)
    subject.disk.submit(lambda: None, seen.append)
    subject.until(lambda: len(seen) == 2)
    assert isinstance(seen[0], Internal)
    assert seen[1] is None
    subject.close()


def test_the_thread_of_a_disk_that_nobody_closed_ends_with_it(tmp_path: Path) -> None:
    subject = RealSubject(tmp_path)
    seen: list[ScrubjayError | None] = []
    subject.disk.submit(lambda: None, seen.append)
    subject.until(lambda: bool(seen))
    worker = subject.disk._worker
    assert worker is not None
    thread = worker._thread
    del subject.disk, worker
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    subject.loop.close()


def test_what_is_durable_when_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of syncs and renames: content before its name, the name's folder before the answer."""
    steps: list[str] = []
    real_sync, real_data_sync, real_rename = os.fsync, os.fdatasync, Path.rename

    def named(handle: int) -> str:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        return str(path.relative_to(tmp_path))

    def sync(handle: int) -> None:
        steps.append(f"sync {named(handle)}")
        real_sync(handle)

    def data_sync(handle: int) -> None:
        steps.append(f"data {named(handle)}")
        real_data_sync(handle)

    def rename(source: Path, target: Path) -> Path:
        steps.append(f"rename {source.relative_to(tmp_path)} {Path(target).relative_to(tmp_path)}")
        return real_rename(source, target)

    disk = RealDisk(tmp_path)
    disk.mkdir("a")
    monkeypatch.setattr(real_disk.os, "fsync", sync)
    monkeypatch.setattr(real_disk.os, "fdatasync", data_sync)
    monkeypatch.setattr(Path, "rename", rename)

    def said() -> list[str]:
        taken = list(steps)
        steps.clear()
        return taken

    disk.write_file("a/f", b"x")
    assert said() == ["sync a/.f.new", "rename a/.f.new a/f", "sync a"]
    outcomes: list[object] = []
    disk.rename_sync("a/f", "a/g", outcomes.append)
    assert said() == ["rename a/f a/g", "sync a"]
    disk.remove_sync("a/g", outcomes.append)
    assert said() == ["sync a"]
    disk.create_ahead("a/log", 4096, outcomes.append)
    assert said() == ["data a/.log.new", "sync a/.log.new", "rename a/.log.new a/log", "sync a"]
    file = disk.open("a/log")
    file.write_sync(0, [b"x"], outcomes.append)
    assert said() == ["data a/log"]
    file.close()
    assert [one for one in outcomes if isinstance(one, ScrubjayError)] == []
