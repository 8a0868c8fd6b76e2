"""Copied and put-back data folders on one archive: who is the second is fenced or refused, durably, and nothing that was acknowledged is restored wrongly."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.format.layout import EpochKey, SegmentKey, parse
from tests.fixtures.process import ScrubjayServer, scrubjay_command
from tests.fixtures.wait import wait_for
from tests.integration.process.load import Item, by_key, make_table, now_us, proven, put, scan
from tests.integration.process.stores import MortalStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK = {"archive.seal_age": "500ms", "archive.closed_interval": "1s"}
Make = Callable[..., ScrubjayServer]


class Place:
    """An archive that two data folders may be pointed at. url, env: for the servers."""

    def __init__(self, url: str, env: dict[str, str], read: Callable[[], dict[str, bytes]]) -> None:
        self.url, self.env, self._read = url, env, read

    def objects(self) -> dict[str, bytes]:
        """Key below the archive -> bytes."""
        return self._read()

    def manifests(self, owner: str | None = None) -> list[dict[str, Any]]:
        """Every segment manifest, of one owner or of all."""
        said = []
        for key, data in sorted(self.objects().items()):
            parsed = parse(key)
            if isinstance(parsed, SegmentKey) and parsed.manifest:
                said.append(json.loads(data))
        return [one for one in said if owner in (None, one["owner"])]

    def owners(self) -> list[str]:
        """Owners by epoch."""
        return [json.loads(data)["owner"] for key, data in sorted(self.objects().items()) if isinstance(parse(key), EpochKey)]


def folder_place(folder: Path) -> Place:
    def read() -> dict[str, bytes]:
        found = {}
        for path in folder.rglob("*"):
            if path.is_file() and ".tmp" not in path.name:
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
        return found

    return Place(folder.as_uri(), {}, read)


def minio_place(store: MortalStore) -> Place:
    def read() -> dict[str, bytes]:
        client, name = store.server.client(), store.bucket.name
        keys = [str(one.object_name) for one in client.list_objects(name, prefix="archive/", recursive=True)]
        return {key.removeprefix("archive/"): client.get_object(name, key).read() for key in keys}

    return Place(store.bucket.url, store.bucket.env, read)


@pytest.fixture(params=["file", pytest.param("minio", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "file":
        yield folder_place(tmp_path / "archive")
        return
    store = MortalStore("minio", tmp_path / "store")
    yield minio_place(store)
    store.close()


def bird(number: int, song: str) -> Item:
    return {"k": {"S": f"bird-{number}"}, "song": {"S": song}}


def quiet(server: ScrubjayServer) -> None:
    def archived() -> bool:
        code, report = server.asked("archive/status")
        return code == 0 and all(table["unarchived_bytes"] == 0 for table in report["tables"])

    wait_for(archived, timeout=60)


def restored(server: ScrubjayServer, name: str) -> dict[str, Item]:
    asked = now_us()
    wait_for(lambda: proven(server, "birds", asked), timeout=60)  # `--latest` is what is proven
    code, report = server.cli_json("restore", "run", "--table", "birds", "--to", name, "--latest", timeout=120)
    assert (code, report["verdict"]) == (0, "match"), report
    return by_key(scan(server.port, name))


def start_refused(server: ScrubjayServer) -> str:
    """It must not come up: exit 4. What it said."""
    done = subprocess.run(server.command(), env=server._env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, (done.returncode, done.stdout, done.stderr)
    assert not done.stdout.startswith("ready")
    return done.stderr


def stopped_word(server: ScrubjayServer) -> bool:
    """The log says, as an error, that nothing is archived any more."""
    return any('"level":"error"' in line and "nothing is archived any more" in line for line in server.log_tail().splitlines())


def test_a_clone_that_starts_second_with_the_same_state_is_the_writer_and_the_original_is_fenced_for_good(
    scrubjay_server: Make, place: Place, tmp_path: Path
) -> None:
    """In turns. Neither can know which folder is the copy: whoever claims first writes, the other is fenced, and no restore mixes the two."""
    first = scrubjay_server("first", archive=place.url, env=place.env, settings=QUICK)
    make_table(first.port, "birds")
    put(first.port, "birds", [bird(1, "before")])
    quiet(first)
    assert first.stop() == 0
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = scrubjay_server("second", archive=place.url, env=place.env, settings=QUICK)
    put(second.port, "birds", [bird(2, "by the copy")])
    quiet(second)
    assert set(restored(second, "by-second")) == {"bird-1", "bird-2"}
    assert second.stop() == 0
    before = place.objects()
    log = first.log.stat().st_size
    for _ in range(2):
        try:
            first.start()
        except RuntimeError:
            assert first.process is not None
            assert first.process.wait() == 4, "refused"
        else:
            put(first.port, "birds", [bird(3, "by the original")])
            wait_for(lambda: stopped_word(first), timeout=20)
            assert first.stop() == 3, "what it wrote is not archived, and that is said"
        assert place.objects() == before, "not one object of the one that was second"
    assert first.log.stat().st_size > log
    second.start()
    assert set(by_key(scan(second.port, "birds"))) == {"bird-1", "bird-2"}
    quiet(second)
    assert second.cli_json("verify")[0] == 0


def test_a_clone_of_an_older_state_is_refused_and_never_fences_the_live_cluster(
    scrubjay_server: Make, place: Place, tmp_path: Path
) -> None:
    first = scrubjay_server("first", archive=place.url, env=place.env, settings=QUICK)
    make_table(first.port, "birds")
    put(first.port, "birds", [bird(1, "before")])
    quiet(first)
    assert first.stop() == 0
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    first.start()
    put(first.port, "birds", [bird(2, "after the copy")])
    quiet(first)
    second = scrubjay_server("second", archive=place.url, env=place.env, settings=QUICK, start=False)
    said = start_refused(second)
    assert "cannot continue the archive" in said
    assert "takeover" in said
    put(first.port, "birds", [bird(3, "still the writer")])
    quiet(first)
    assert len(set(place.owners())) == 2, "the copy claimed nothing"
    assert set(restored(first, "back")) == {"bird-1", "bird-2", "bird-3"}
    assert first.stop() == 0


def test_two_copies_at_once_have_one_writer(scrubjay_server: Make, place: Place, tmp_path: Path) -> None:
    first = scrubjay_server("first", archive=place.url, env=place.env, settings=QUICK)
    make_table(first.port, "birds")
    put(first.port, "birds", [bird(1, "before")])
    quiet(first)
    assert first.stop() == 0
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = scrubjay_server("second", archive=place.url, env=place.env, settings=QUICK, start=False)
    for server in (first, second):
        with server.out.open("wb") as out, server.log.open("ab") as log:
            server.process = subprocess.Popen(server.command(), stdout=out, stderr=log, env=server._env, start_new_session=True)
    both = (first, second)

    def settled() -> bool:
        return all(server.out.read_bytes().startswith(b"ready") or server.process.poll() is not None for server in both)  # type: ignore[union-attr]

    wait_for(settled, timeout=60)
    serving = [server for server in both if server.process is not None and server.process.poll() is None]
    assert serving, "one of them serves"
    for number, server in enumerate(serving, 2):
        put(server.port, "birds", [bird(number, server.data.name)])
    wait_for(lambda: len(place.owners()) >= 2, timeout=30)
    wait_for(lambda: sum(stopped_word(server) for server in serving) == len(serving) - 1, timeout=60)
    (writer,) = [server for server in serving if not stopped_word(server)]
    quiet(writer)
    assert restored(writer, "back") == by_key(scan(writer.port, "birds"))
    assert len({one["owner"] for one in place.manifests() if one["epoch"] == 2}) == 1


@pytest.mark.parametrize("nodes", [("n1", "n2", "n3"), ("n1", "n2")], ids=["all", "two of three"])
def test_a_folder_put_back_from_an_older_snapshot_is_refused_or_has_lost_nothing(
    scrubjay_server: Make, tmp_path: Path, nodes: tuple[str, ...]
) -> None:
    """The snapshot was taken while the cluster ran and nobody has claimed another epoch since: only the chain tells."""
    place = folder_place(tmp_path / "archive")
    server = scrubjay_server("data", archive=place.url, settings=QUICK)
    make_table(server.port, "birds")
    put(server.port, "birds", [bird(1, "old")])
    quiet(server)
    shutil.copytree(server.data, tmp_path / "snapshot")
    put(server.port, "birds", [bird(1, "new"), bird(2, "new")])
    quiet(server)
    assert server.stop() == 0
    before = place.objects()
    for node in nodes:
        shutil.rmtree(server.data / "nodes" / node)
        shutil.copytree(tmp_path / "snapshot" / "nodes" / node, server.data / "nodes" / node)
    done: subprocess.Popen[str] | None = None
    try:
        server.start()
    except RuntimeError:
        done = server.process  # type: ignore[assignment]
    if done is not None:
        assert done.wait() == 4
        assert "cannot continue the archive" in server.log_tail()
        assert place.objects() == before
        return
    # It came up: then it knew the newer log (one node of three still has it), or it says that it archives nothing.
    if by_key(scan(server.port, "birds")) != by_key([bird(1, "new"), bird(2, "new")]):
        wait_for(lambda: stopped_word(server), timeout=30)
        assert place.objects() == before
        return
    put(server.port, "birds", [bird(3, "newest")])
    quiet(server)
    assert set(restored(server, "back")) == {"bird-1", "bird-2", "bird-3"}


def test_a_confirmed_takeover_lets_an_older_state_go_on(scrubjay_server: Make, tmp_path: Path) -> None:
    place = folder_place(tmp_path / "archive")
    server = scrubjay_server("data", archive=place.url, settings=QUICK)
    make_table(server.port, "birds")
    put(server.port, "birds", [bird(1, "old")])
    quiet(server)
    assert server.stop() == 0
    shutil.copytree(server.data, tmp_path / "snapshot")
    server.start()
    put(server.port, "birds", [bird(1, "new")])
    quiet(server)
    assert server.stop() == 0
    shutil.rmtree(server.data)
    shutil.copytree(tmp_path / "snapshot", server.data)
    start_refused(server)

    def takeover(*more: str) -> tuple[int, dict[str, Any]]:
        command = scrubjay_command("cluster", "takeover", "--archive", place.url, "--data", str(server.data), "--json", *more)
        done = subprocess.run(command, env=server._env, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout)

    code, report = takeover()
    assert (code, report["confirmed"]) == (0, False), "without --confirm it only says what it would do"
    start_refused(server)
    code, report = takeover("--confirm")
    assert (code, report["confirmed"]) == (0, True), report
    server.start()
    put(server.port, "birds", [bird(2, "goes on")])
    wait_for(lambda: place.manifests(place.owners()[-1]) != [], timeout=30)
    assert by_key(scan(server.port, "birds")) == by_key([bird(1, "old"), bird(2, "goes on")])
