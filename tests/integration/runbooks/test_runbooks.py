"""Each runbook is run from its own text against a real server in the state the page is for."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minio
import pytest
import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from scrubjay.archiver.format.identity import encode_epoch
from scrubjay.drills.damage import flip_live_bit
from tests.fixtures import child
from tests.fixtures.faketime import FakeClock
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.promtool import Promtool, promtool_program
from tests.fixtures.receiver import Receiver
from tests.fixtures.require import required
from tests.fixtures.s3 import S3Bucket, start_seaweed
from tests.fixtures.small_disk import small_disk
from tests.integration.runbooks.lost_quorum import lost_quorum
from tests.integration.runbooks.pages import FOLDER, Command, Hand, pages, pieces
from tests.unit.monitoring.files import rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

QUICK = {"archive.seal_age": "1s", "archive.closed_interval": "1s", "storage.checkpoint_age": "1s"}
NEEDLE = "the value that will rot, written once and long enough to be found"


def kinds(server: ScrubjayServer) -> list[str]:
    """Of the problems that `status` tells."""
    return [problem["kind"] for problem in server.asked("status")[1].get("problems", [])]


class Scenario:
    """A server with a table in it. variables: what the page's commands use. hands: what a person does. alarming: what it told while somebody should have been called;
    "": it is that now."""

    def __init__(self, server: ScrubjayServer) -> None:
        self.server = server
        self.variables = {"TABLE": "orders", "NEW": "orders-restored", "DIR": str(server.data)}
        self.hands: dict[str, Callable[[], None]] = {}
        self.client = server.client()
        self.alarming: str | None = ""

    def make_table(self, rows: int = 200) -> None:
        self.client.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.until(lambda: self.client.describe_table(TableName="orders")["Table"]["TableStatus"] == "ACTIVE")
        for number in range(rows):
            self.put(f"order-{number}", f"value {number}")
        self.put("rots", NEEDLE)

    def put(self, key: str, value: str) -> str:
        """Write; the effective time of the write."""
        answer = self.client.put_item(TableName="orders", Item={"pk": {"S": key}, "value": {"S": value}})
        return str(answer["ResponseMetadata"]["HTTPHeaders"]["x-scrubjay-timestamp"])

    def metrics(self) -> str | None:
        """The text of `/metrics`; None if nothing answers."""
        try:
            return urllib3.request("GET", f"{self.server.url}/metrics", timeout=10, retries=False).data.decode()
        except urllib3.exceptions.HTTPError:
            return None

    def alarmed(self, kind: str) -> str:
        """The text of `/metrics` once it tells of such a problem: it tells what the last look at health saw, which is seconds old."""
        seen: list[str] = []

        def told() -> bool:
            seen[:] = [self.metrics() or ""]
            lines = [line for line in seen[0].splitlines() if line.startswith(f'scrubjay_problems{{kind="{kind}"}}')]
            return any(float(line.split()[-1]) > 0 for line in lines)

        self.until(told)
        return seen[0]

    def problems(self) -> list[str]:
        """Kinds of those that there are."""
        return kinds(self.server)

    def status_is(self, *codes: int) -> None:
        self.until(lambda: self.server.asked("archive/status")[0] in codes)

    def until(self, claim: Callable[[], bool], *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.2)

    def run(self, page: Path) -> None:
        """Every command of the page, in order, with the exit code and the output it promises."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCRUBJAY_"))}
        env |= self.variables | {"SCRUBJAY_ENDPOINT": self.server.url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for piece in pieces(page.read_text(encoding="utf-8")):
            if isinstance(piece, Hand):
                self.hands[piece.name]()
                continue
            done = subprocess.run(["sh", "-c", piece.shell], env=env, capture_output=True, text=True, timeout=240, check=False)
            _holds(piece, done)


def _holds(command: Command, done: subprocess.CompletedProcess[str]) -> None:
    shown = f"{command.shell}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == command.exit_code, shown
    assert "Traceback" not in done.stderr, shown
    where = done.stderr if command.on_stderr else done.stdout
    unwrapped = " ".join(where.split())  # lines break at 80 columns, and where depends on how long the paths of this run are
    for phrase in command.prints:
        assert " ".join(phrase.split()) in unwrapped, f"{phrase!r} is not printed by\n{shown}"


Make = Callable[..., ScrubjayServer]


def _restore(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table()
    scenario.variables["AT"] = scenario.put("last-good", "written just before the bad job")
    scenario.variables["KEY"] = '{"pk": {"S": "order-7"}}'
    for number in range(200):
        scenario.put(f"order-{number}", "damaged")
    scenario.put("late", "good, and written after the bad job")
    scenario.status_is(0)

    def write_again() -> None:
        late = scenario.client.get_item(TableName="orders", Key={"pk": {"S": "late"}}, ConsistentRead=True)["Item"]
        scenario.client.put_item(TableName="orders-restored", Item=late)

    scenario.hands["write-again"] = write_again
    yield scenario
    items = scenario.client.scan(TableName="orders-restored", ConsistentRead=True)["Items"]
    values = {item["pk"]["S"]: item["value"]["S"] for item in items}
    assert values == {f"order-{number}": f"value {number}" for number in range(200)} | {
        "rots": NEEDLE,
        "last-good": "written just before the bad job",
        "late": "good, and written after the bad job",
    }


def _scrub(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table()
    scenario.status_is(0)
    scenario.until(lambda: flip_live_bit(scenario.server.data, NEEDLE.encode()) is not None)
    assert scenario.server.cli("scrub", "run", "--table", "orders").returncode == 2
    scenario.alarming = scenario.alarmed("scrub-mismatch")
    assert scenario.server.cli("scrub", "run", "--table", "orders").returncode == 0, "which must not hide the one before"
    yield scenario
    assert any((scenario.server.data / "nodes").glob("*/quarantine/*")), "the evidence is kept"


def _unproven(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table()
    scenario.status_is(0)
    assert scenario.server.cli("schedule", "pause").returncode == 0
    assert scenario.server.cli("schedule", "set", "scrub", "0 2 * * *", "--within", "1s").returncode == 0
    scenario.until(lambda: "scrub-overdue" in scenario.problems())
    yield scenario


def _retention_stopped(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table(rows=5)
    scenario.status_is(0)
    assert scenario.server.cli("backup", "create", "orders", "quarter").returncode == 0
    pin = next(scenario.server.data.rglob("pins/*.json"))
    sound = pin.read_bytes()
    pin.write_bytes(sound.replace(b"quarter", b"quartet"))
    assert scenario.server.cli("schedule", "run", "expire").returncode == 4
    scenario.until(lambda: "retention-stopped" in scenario.problems())
    scenario.hands["put-back"] = lambda: pin.write_bytes(sound) and None
    yield scenario
    assert scenario.server.cli("expire", "plan").returncode == 0


def _drill(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    assert scenario.server.cli("drill", "run", "restore-random").returncode == 3, "without a table there is no moment to restore"
    assert "drill-failed" in scenario.server.cli("status", "--json").stdout
    scenario.make_table()
    scenario.status_is(0)
    yield scenario
    code, rotten = scenario.server.cli_json("drill", "run", "rot")
    assert (code, rotten["detected"]) == (0, rotten["planted"]), rotten
    assert set(rotten["facts"]["found_seconds"]) >= {"segment", "manifest", "closed"}
    assert scenario.server.cli_json("drill", "report", rotten["id"])[1]["seed"] == rotten["seed"], "by the id that the run told"
    _, listed = scenario.server.cli_json("drill", "list")
    assert (listed["scenarios"][0]["runs"], listed["scenarios"][0]["last"]["verdict"]) == (2, "match")
    key = scenario.server.data / "drills/key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert scenario.server.cli_json("status")[1]["drills"]["public_key"] == listed["public_key"]
    page = scenario.server.cli("drill", "report", "--format", "html").stdout
    assert page.count("<svg") == 2, "of what this drill measures"
    assert scenario.client.list_tables()["TableNames"] == ["orders"], "the scratch table is gone"


def _store_down(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    folder = tmp_path / "store"
    folder.mkdir()
    store, process = start_seaweed(folder)
    try:
        bucket = store.make_bucket()
        scenario = Scenario(make(settings=QUICK, archive=bucket.url, env=bucket.env))
        scenario.make_table()
        scenario.status_is(0)
        present = bucket.keys()
        process.kill()
        process.wait()
        for number in range(50):
            scenario.put(f"while-down-{number}", "accepted although the store is down")
        scenario.status_is(1)
        scenario.until(lambda: "archive-unreachable" in scenario.problems())

        def back() -> None:
            nonlocal process
            command: Any = process.args
            env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_"))}
            process = child.start(command, log=folder / "seaweed.log", env=env, cwd=folder)
            # Its front door lists before the volumes behind it can be read; a person looks before saying that it is back.
            scenario.until(lambda: all(_readable(bucket, key) for key in present))

        scenario.hands["store-back"] = back
        yield scenario
    finally:
        child.stop(process, patience=1)


def _readable(bucket: S3Bucket, key: str) -> bool:
    try:
        bucket.server.client().get_object(bucket.name, key).close()
    except (minio.S3Error, minio.error.ServerError, minio.error.InvalidResponseError, urllib3.exceptions.HTTPError):
        return False
    return True


def _disk_full(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    disk = tmp_path / "data"
    disk.mkdir()
    with small_disk(disk, "400m"):
        settings = QUICK | {"storage.wal_file": "4MiB", "storage.checkpoint_age": "60s"}
        scenario = Scenario(make(settings=settings, archive=(tmp_path / "archive").as_uri()))
        scenario.make_table()
        scenario.status_is(0)
        ballast = disk / "ballast"
        _fill(ballast)
        refused = _write_until_refused(scenario)
        scenario.hands["make-room"] = ballast.unlink
        yield scenario
        scenario.put("after", "room again")
        for key, value in refused.items():
            item = scenario.client.get_item(TableName="orders", Key={"pk": {"S": key}}, ConsistentRead=True)["Item"]
            assert item["value"]["S"] == value, "an acknowledged write is lost"
        scenario.server.stop()


def _archive_gone(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    archive = tmp_path / "archive"
    scenario = Scenario(make(settings=QUICK, archive=archive.as_uri()))
    scenario.make_table()
    scenario.status_is(0)
    archive.rename(tmp_path / "away")
    scenario.put("meanwhile", "accepted although the archive is away")
    scenario.until(lambda: scenario.server.asked("status")[0] == 2)
    scenario.hands["put-back"] = lambda: (tmp_path / "away").rename(archive) and None
    yield scenario


def _fenced(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    archive = tmp_path / "archive"
    scenario = Scenario(make(settings=QUICK, archive=archive.as_uri(), arguments=["--stop-timeout", "2s"]))
    scenario.make_table()
    scenario.status_is(0)
    assert scenario.server.process is not None
    scenario.variables |= {"PID": str(scenario.server.process.pid), "ARCHIVE": archive.as_uri(), "ENDPOINT": scenario.server.url}
    claim_again(archive)
    scenario.put("meanwhile", "not archived")
    process = scenario.server.process
    scenario.hands["start-again"] = lambda: scenario.server.start() and None
    scenario.hands["see-that-it-ended"] = lambda: process.wait(timeout=60) and None
    scenario.until(lambda: "archive-fenced" in scenario.problems(), seconds=90)
    yield scenario


def claim_again(archive: Path) -> None:
    """Another cluster with our identity claims the next epoch."""
    (epochs,) = archive.glob("*/epoch")
    newest = max(int(path.name, 16) for path in epochs.iterdir())
    data = encode_epoch(cluster=epochs.parent.name, epoch=newest + 1, owner=str(uuid.uuid4()), created_us=time.time_ns() // 1000)
    (epochs / f"{newest + 1:016x}").write_bytes(data)


def _node_out(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table()
    scenario.status_is(0)
    server = scenario.server
    assert server.process is not None
    log = sorted((server.data / "nodes" / "n3" / "wal").iterdir())
    attach = [
        "strace",
        "-f",
        "-p",
        str(server.process.pid),
        "-o",
        str(tmp_path / "strace.out"),
        *(part for path in log for part in ("-P", str(path))),
    ]
    tracer = subprocess.Popen(
        [*attach, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert tracer.stderr is not None
        if b"attached" not in (first := tracer.stderr.readline()):
            pytest.skip(f"strace cannot attach: {first!r}")
        numbers = itertools.count()

        def failed() -> bool:
            with contextlib.suppress(ClientError, BotoCoreError):
                scenario.put(f"more-{next(numbers)}", "until the disk fails")
            return "node-failed" in kinds(server)

        scenario.until(failed)
    finally:
        tracer.terminate()
        tracer.communicate()

    def restart() -> None:
        server.stop()
        server.start()

    scenario.hands["restart"] = restart
    yield scenario


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _write_until_refused(scenario: Scenario) -> dict[str, str]:
    """Write until the store does not acknowledge any more; what it acknowledged."""
    acknowledged: dict[str, str] = {}
    for number in range(2_000):
        key, value = f"filler-{number}", f"{number}-" + "x" * 20_000
        try:
            scenario.put(key, value)
        except (ClientError, BotoCoreError):
            return acknowledged
        acknowledged[key] = value
    raise AssertionError("40 MB went into a full disk")


def _clock_ahead(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    clock = FakeClock(tmp_path, "+3h")
    scenario = Scenario(make(settings=QUICK, env=clock.env))
    scenario.make_table()
    scenario.status_is(0)
    clock.set("+0")
    scenario.until(lambda: "clock-ahead" in scenario.problems())
    scenario.alarming = scenario.metrics()
    clock.set("+3h")
    scenario.until(lambda: "clock-ahead" not in scenario.problems())
    assert scenario.server.stop() == 0
    clock.set("+0")
    scenario.variables["PORT"] = str(scenario.server.port)

    def accept() -> None:
        scenario.server.set("consensus.clock_ahead_accepted", "3h")
        scenario.server.start()
        scenario.put("after", "accepted")

    scenario.hands["accept"] = accept
    yield scenario
    assert (
        scenario.client.get_item(TableName="orders", Key={"pk": {"S": "order-7"}}, ConsistentRead=True)["Item"]["value"]["S"] == "value 7"
    )
    assert scenario.server.stop() == 0
    scenario.server.start()


def _lose_everything(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    archive = (tmp_path / "bucket").as_uri()
    scenario = Scenario(make(settings=QUICK, archive=archive))
    scenario.make_table()
    scenario.status_is(0)
    assert scenario.server.stop() == 0
    shutil.rmtree(scenario.server.data)
    scenario.server = make("recovered", settings=QUICK, archive=archive, start=False)
    scenario.variables |= {"ARCHIVE": archive, "DIR": str(scenario.server.data)}
    scenario.hands["serve"] = lambda: scenario.server.start() and None
    yield scenario
    items = scenario.server.client().scan(TableName="orders", ConsistentRead=True)["Items"]
    expected = {f"order-{number}": f"value {number}" for number in range(200)} | {"rots": NEEDLE}
    assert {item["pk"]["S"]: item["value"]["S"] for item in items} == expected


def _server_down(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table()
    scenario.put("last", "acknowledged, then the process was killed")
    scenario.server.kill()
    scenario.hands["start"] = lambda: scenario.server.start() and None
    yield scenario
    item = scenario.client.get_item(TableName="orders", Key={"pk": {"S": "last"}}, ConsistentRead=True)["Item"]
    assert item["value"]["S"] == "acknowledged, then the process was killed"


HEALER_FALLS = """
import os
from scrubjay.scrubber import healer

sound = healer.Healer.look


async def look(self):
    if os.path.exists({flag!r}):
        raise KeyError("a bug")
    await sound(self)


healer.Healer.look = look
"""


def _loop_fallen(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    flag, code = tmp_path / "bug", tmp_path / "code"
    flag.touch()
    code.mkdir()
    (code / "sitecustomize.py").write_text(HEALER_FALLS.format(flag=str(flag)))
    scenario = Scenario(make(settings=QUICK, env={"PYTHONPATH": str(code)}))
    scenario.make_table()
    scenario.variables["LOG"] = str(scenario.server.log)
    scenario.until(lambda: "loop-fallen" in scenario.problems())

    def restart() -> None:
        flag.unlink()
        scenario.server.stop()
        scenario.server.start()

    scenario.hands["restart"] = restart
    yield scenario


def _webhook_failing(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    with Receiver() as receiver:
        receiver.status = 500
        scenario = Scenario(make(settings=QUICK | {"alerts.webhooks": receiver.url}))
        # Something is wrong for a moment, which nobody is told of; by now it is well, and that is not told either.
        assert scenario.server.cli("schedule", "set", "scrub", "0 2 * * *", "--within", "1s").returncode == 0
        scenario.until(
            lambda: " 1.0" in next(line for line in (scenario.metrics() or "").splitlines() if line.startswith("scrubjay_webhook_failing{"))
        )
        assert scenario.server.cli("schedule", "set", "scrub", "0 2 * * *", "--within", "2d").returncode == 0
        scenario.until(lambda: scenario.server.asked("status")[0] == 0)
        scenario.hands["mend"] = lambda: setattr(receiver, "status", 204)
        yield scenario
        # What was a problem while it started is told too, once it is taken.
        assert [notice["event"] for notice in receiver.taken if notice["event"] == "test"] == ["test", "test"]


def _key_lost(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    key, kept = tmp_path / "archive.key", tmp_path / "in-the-safe"
    key.write_text("5a" * 32)
    key.chmod(0o600)
    keys = f"2026=file:{key}"
    scenario = Scenario(make(settings=QUICK | {"encryption.keys": keys}))
    scenario.make_table()
    scenario.status_is(0)
    server = scenario.server
    server.stop()
    key.rename(kept)
    gone = subprocess.run(server.command(), env=server._env, capture_output=True, text=True, timeout=60, check=False)
    assert (gone.returncode, "the file of key 2026 cannot be read" in gone.stdout + gone.stderr) == (1, True)
    key.write_text("a5" * 32)
    key.chmod(0o600)
    other = subprocess.run(server.command(), env=server._env, capture_output=True, text=True, timeout=60, check=False)
    assert (other.returncode, "another key 2026" in " ".join((other.stdout + other.stderr).split())) == (4, True)
    scenario.variables |= {"ARCHIVE": (server.data / "archive").as_uri(), "KEYS": keys}
    scenario.hands["bring-back"] = lambda: kept.replace(key) and None
    scenario.hands["start"] = lambda: server.start() and None
    yield scenario


def _two_archives(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    first = tmp_path / "first"
    settings = QUICK | {"second.url": (tmp_path / "second").as_uri(), "second.decides_after": "2s"}
    scenario = Scenario(make(settings=settings, archive=first.as_uri()))
    scenario.make_table()
    scenario.status_is(0)
    first.rename(tmp_path / "away")
    scenario.put("meanwhile", "archived in the second one alone")
    scenario.until(lambda: "one-archive-away" in scenario.problems())
    scenario.status_is(0)
    scenario.hands["bring-back"] = lambda: (tmp_path / "away").rename(first) and None
    yield scenario
    names = [{path.relative_to(root) for path in root.rglob("*.seg")} for root in (first, tmp_path / "second")]
    assert names[0] == names[1]


def _upgrade(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(make(settings=QUICK))
    scenario.make_table(20)

    def exchange() -> None:
        scenario.server.stop()
        scenario.server.start()

    scenario.hands["exchange"] = exchange
    yield scenario


def _lost_quorum(make: Make, tmp_path: Path) -> Iterator[Scenario]:
    del make
    yield from lost_quorum(tmp_path, Scenario)  # type: ignore[arg-type]


SCENARIOS = {
    "lost-quorum": _lost_quorum,
    "two-archives": _two_archives,
    "key-lost": _key_lost,
    "webhook-failing": _webhook_failing,
    "loop-fallen": _loop_fallen,
    "server-down": _server_down,
    "lose-everything": _lose_everything,
    "clock-ahead": _clock_ahead,
    "restore-at-2am": _restore,
    "scrub-mismatch": _scrub,
    "unproven": _unproven,
    "drill-failed": _drill,
    "retention-stopped": _retention_stopped,
    "archive-lags-or-store-down": _store_down,
    "disk-full": _disk_full,
    "archive-gone": _archive_gone,
    "archive-fenced": _fenced,
    "node-out-of-service": _node_out,
    "upgrade": _upgrade,
}


UNSEEN = {"key-lost", "lose-everything", "lost-quorum", "restore-at-2am", "upgrade"}
"""No metric tells of these: of an empty machine, of a server that is not let start, of what people did to their items; nor that nodes without whom there is no leader never come back; of an upgrade not before it has lasted for a day."""

LASTS = {"clock-ahead"}
"""Over when the clock has caught up, which is hours from the last command of the page."""


def test_every_page_has_a_scenario() -> None:
    assert {page.stem for page in pages()} == set(SCENARIOS)


def led_to(page: str) -> set[str]:
    """Alerts whose runbook it is."""
    return {rule.name for rule in rules() if rule.annotations["runbook"] == f"runbooks/{page}.md"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_runbook_works_as_written(name: str, scrubjay_server: Make, tmp_path: Path) -> None:
    """And Prometheus, evaluating our rules over what the server told, led here before and does not afterwards."""
    program = promtool_program()
    assert program is not None or not required("promtool")
    scenarios = SCENARIOS[name](scrubjay_server, tmp_path)
    scenario = next(scenarios)

    def called(text: str | None) -> bool:
        """Whether an alert that leads here fires over such a text."""
        assert program is not None
        return bool(Promtool(program, tmp_path).fired(text, text) & led_to(name))

    def told(claim: bool) -> bool:
        """Waits for it: `/metrics` tells what the last look at health saw, which is seconds old."""
        if program is None:
            return True
        deadline = time.monotonic() + 30
        while (found := called(scenario.metrics())) is not claim and time.monotonic() < deadline:
            time.sleep(0.2)
        return found is claim

    try:
        seen = scenario.alarming
        summoned = told(name not in UNSEEN) if seen == "" or program is None else called(seen) is (name not in UNSEEN)
        assert summoned, "somebody is called, and with this page in hand"
        scenario.run(FOLDER / f"{name}.md")
        assert scenario.metrics() is not None
        assert told(name in LASTS), "it is over"
        assert next(scenarios, None) is None
    finally:
        scenarios.close()  # type: ignore[attr-defined]
