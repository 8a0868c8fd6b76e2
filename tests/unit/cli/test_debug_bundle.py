"""`debug bundle`: everything that can be had, nothing that is a secret, in bounds, and never over another file."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from scrubjay import cli, debug_bundle
from scrubjay.base.real.free_ports import free_ports
from scrubjay.config import Field, fields, load
from scrubjay.debug_bundle import ASKED
from scrubjay.secrets_out import LEAST, NOT_SHOWN, REPLACED, Cleaner, shown
from scrubjay.serving.folder import LOG

CLUSTER = "00000000-0000-4000-8000-00000000000c"


class Answers:
    """A server that answers every call of the admin API with `body`, and `/metrics` with `metrics`."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {"schema": 1, "exit": 0, "error": None, "cluster_id": CLUSTER}
        self.metrics = "scrubjay_health 0\n"
        self.asked: list[str] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.asked.append(self.path)
                text = answers.metrics if self.path == "/metrics" else json.dumps(answers.body)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answers() -> Iterator[Answers]:
    server = Answers()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "SCRUBJAY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def data_folder(folder: Path, text: str = "all well") -> Path:
    """As a server leaves it. text: in every place that takes any."""
    (folder / "log").mkdir(parents=True)
    (folder / LOG).write_text(json.dumps({"event": text}) + "\n")
    (folder / "cluster.json").write_text(json.dumps({"version": 1, "cluster_id": CLUSTER}))
    (folder / "findings.json").write_text(json.dumps({"findings": [text]}))
    (folder / "nodes" / "n1" / "wal").mkdir(parents=True)
    (folder / "nodes" / "n1" / "wal" / "0001").write_bytes(b"x" * 100)
    (folder / "archive").mkdir()
    (folder / "archive" / "object").write_bytes(b"x")
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        ledger.execute("pragma journal_mode = wal")
        ledger.execute("create table runs (id integer primary key, report text)")
        ledger.execute("insert into runs values (7, ?)", (json.dumps({"why": text}),))
        ledger.commit()
    return folder


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        found = {}
        for entry in tar.getmembers():
            file = tar.extractfile(entry)
            assert file is not None
            assert entry.name.startswith(path.name.removesuffix(".tar.gz") + "/")
            found[entry.name.partition("/")[2]] = file.read().decode()
    return found


def run_verb(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["debug", "bundle", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_with_a_server_everything_is_there(tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data_folder(tmp_path / "scrubjay-data")
    beside = {path.name for path in folder.iterdir()}
    answers.body["data"] = str(folder)
    code, document = run_verb(capsys, "b.tar.gz", "--endpoint", answers.url)
    assert (code, document["missing"], document["server"]) == (0, [], True)
    parts = unpacked(tmp_path / "b.tar.gz")
    assert set(parts) == {*document["parts"]}
    assert {f"server/{call.replace('/', '-')}.json" for call in ASKED} | {"server/metrics.txt"} <= set(parts)
    assert json.loads(parts["log/server.log"])["event"] == "all well"
    assert [json.loads(line) for line in parts["folder/ledger.jsonl"].splitlines()] == [
        {"table": "runs", "id": 7, "report": '{"why": "all well"}'}
    ]
    assert "           100 nodes/n1/wal/0001\n" in parts["folder/files.txt"]
    assert "archive/object" not in parts["folder/files.txt"]
    assert json.loads(parts["config.json"])["archive.seal_age"] == "10s"
    assert "structlog==" in parts["packages.txt"]
    assert json.loads(parts["bundle.json"])["parts"]["log/server.log"] == len(parts["log/server.log"])
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == beside, "a reader leaves nothing in the folder, not even SQLite's files"


@pytest.mark.slow
def test_the_folder_of_the_server_that_answers_is_taken_and_no_other_of_its_name(
    tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    its = data_folder(tmp_path / "its")
    here = data_folder(tmp_path / "scrubjay-data")
    answers.body["data"] = str(its)
    assert run_verb(capsys, "a.tar.gz", "--endpoint", answers.url)[1]["folder"] == str(its)
    (its / "cluster.json").write_text(json.dumps({"cluster_id": "another"}))
    assert run_verb(capsys, "b.tar.gz", "--endpoint", answers.url)[1]["folder"] == str(here)
    assert run_verb(capsys, "c.tar.gz", "--endpoint", answers.url, "--data", str(its))[1]["folder"] == str(its)


@pytest.mark.slow
def test_with_the_server_down_what_lies_here_is_there_and_the_rest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_folder(tmp_path / "scrubjay-data")
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, document = run_verb(capsys, "b.tar.gz", "--endpoint", endpoint)
    assert (code, document["error"], document["server"]) == (3, None, False)
    (missing,) = document["missing"]
    assert missing["part"] == "server"
    assert "cannot reach the cluster" in missing["why"]
    parts = unpacked(tmp_path / "b.tar.gz")
    assert {"log/server.log", "folder/ledger.jsonl", "folder/cluster.json", "config.json", "machine.json"} <= set(parts)
    assert json.loads(parts["bundle.json"])["missing"] == document["missing"]
    assert cli.main(["debug", "bundle", "c.tar.gz", "--endpoint", endpoint, "--data", str(tmp_path / "nowhere")]) == 3
    shown_ = capsys.readouterr().out
    assert "missing  folder:" in shown_
    assert "did not answer" in shown_


def test_what_cannot_be_read_is_named_and_the_rest_is_there(tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data_folder(tmp_path / "scrubjay-data")
    (folder / "ledger.db").write_bytes(b"no database at all" * 100)
    (folder / LOG).unlink()
    os.mkfifo(folder / LOG)  # who opened it would wait for ever
    answers.body["error"] = {"code": "Internal", "message": "a bug in the server"}
    code, document = run_verb(capsys, "b.tar.gz", "--endpoint", answers.url)
    assert code == 3
    assert {one["part"] for one in document["missing"]} == {"folder/ledger.jsonl", "log/server.log"}
    assert "folder/findings.json" in unpacked(tmp_path / "b.tar.gz")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("mine") if kind == "file" else path.symlink_to(tmp_path / "nothing")
    code, document = run_verb(capsys, "b.tar.gz")
    assert (code, document["error"]["code"]) == (4, "Unsafe")
    assert path.read_text() == "mine" if kind == "file" else path.is_symlink()
    assert not (tmp_path / "nothing").exists()


def test_one_that_comes_up_meanwhile_is_left_alone_too(tmp_path: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_bundle, "_of_machine", lambda *_: (tmp_path / "b.tar.gz").write_text("mine"))
    assert cli.main(["debug", "bundle", "b.tar.gz", "--endpoint", answers.url]) == 4
    assert (tmp_path / "b.tar.gz").read_text() == "mine"


def test_a_file_that_cannot_be_written_is_none(tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(capsys, "no/such/folder/b.tar.gz", "--endpoint", answers.url)[0] == 1
    assert run_verb(capsys, "status", "--endpoint", answers.url)[0] == 64


def test_it_is_bounded(tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_bundle, "PART_BYTES_MAX", 20_000)
    monkeypatch.setattr(debug_bundle, "FILE_BYTES_MAX", 20_000)
    monkeypatch.setattr(debug_bundle, "LEDGER_ROWS", 100)
    monkeypatch.setattr(debug_bundle, "FILES_MAX", 10)
    monkeypatch.setattr(debug_bundle.Bundle.add, "__kwdefaults__", {"limit": 20_000, "newest_last": False})
    monkeypatch.setattr(debug_bundle.Bundle.gather, "__kwdefaults__", {"limit": 20_000, "newest_last": False})
    folder = data_folder(tmp_path / "scrubjay-data")
    (folder / LOG).write_text("".join(f"line {number}\n" for number in range(20_000)))
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        ledger.executemany("insert into runs values (?, 'x')", [(number,) for number in range(100, 1100)])
        ledger.commit()
    for number in range(50):
        (folder / f"file-{number:02}").touch()
    answers.metrics = "x" * 50_000
    code, document = run_verb(capsys, "b.tar.gz", "--endpoint", answers.url)
    assert code == 3
    assert {one["part"] for one in document["missing"]} == {"log/server.log", "server/metrics.txt"}
    parts = unpacked(tmp_path / "b.tar.gz")
    assert max(map(len, parts.values())) <= 20_000
    assert parts["log/server.log"].endswith("line 19999\n")
    assert parts["log/server.log"].startswith("line "), "no half of a line"
    rows = [json.loads(line)["id"] for line in parts["folder/ledger.jsonl"].splitlines()]
    assert rows == list(range(1099, 999, -1)), "the newest"
    assert len(parts["folder/files.txt"].splitlines()) == 10


# ------------------------------------------------------------------ secrets


def planted(entry: Field, tmp_path: Path) -> tuple[Any, list[str]]:
    """A value for a key of the configuration, and the secrets in it. A new key that takes a text has one planted too."""
    kind, mark = entry.key.kind, f"{entry.section}-{entry.key.name}"
    secret = f's3cr3t/{mark} +"x"&é'
    if kind == "keys":
        return [{"id": "reader", "secret": secret, "role": "data"}, {"id": "boss", "secret": secret[::-1], "role": "admin"}], [
            secret,
            secret[::-1],
        ]
    if kind == "urls":
        return [f"https://hooks.test/services/T0{'A' * 20}/x?token={mark}-tok3n", "https://chat.test/p4th-of-a-webhook-of-theirs"], [
            f"T0{'A' * 20}",
            f"{mark}-tok3n",
            "p4th-of-a-webhook-of-theirs",
        ]
    if kind == "sources":
        key, raw = "ab" * 32, bytes(range(100, 132))
        (tmp_path / "key.hex").write_text(key)
        (tmp_path / "key.raw").write_bytes(raw)
        for name in ("key.hex", "key.raw"):
            (tmp_path / name).chmod(0o600)
        sources = [
            f"k1=file:{tmp_path}/key.hex",
            f"k2=file:{tmp_path}/key.raw",
            "k3=env:OUR_WORD",
            "k4=command:vault read --with=m4ster-t0ken-of-ours",
        ]
        base = base64.b64encode(bytes.fromhex(key)).decode().rstrip("=")
        return sources, [key, base, raw.hex(), base64.b64encode(raw).decode().rstrip("="), "cd" * 32, "m4ster-t0ken-of-ours"]
    if kind == "text" and entry.dotted in URLS:
        return URLS[entry.dotted].format(f"us3r:{mark}-p4ss"), [f"{mark}-p4ss"]
    if kind == "text" and not entry.key.open:
        return secret, [secret]
    return None, []


URLS = {
    "archive.url": "s3://{}@bucket/prefix",
    "s3.endpoint_url": "https://{}@store.test:9000",
    "jobs.address": "tls://{}@host:8786",
}
"""Texts that are shown, and hold a password if somebody wrote one."""
ENVIRONMENT = {
    "OUR_WORD": "cd" * 32,
    "AWS_SECRET_ACCESS_KEY": "4ws/Secret+Key/of/the/Environment",
    "AWS_SESSION_TOKEN": "4ws//session==token",
    "SCRUBJAY_SECRET_ACCESS_KEY": "the-cli-s-own-s3cret",
    "SOME_OTHER_PASSWORD": "p4ssword-of-a-neighbour",
}


def spellings(secret: str) -> list[str]:
    once = json.dumps(secret)[1:-1]
    return [secret, quote(secret, safe=""), once, json.dumps(once)[1:-1], base64.b64encode(secret.encode()).decode()]


def test_no_secret_is_in_it_wherever_one_was(
    tmp_path: Path, answers: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in every option that can hold one, and in the environment; each in every text that a bundle takes, as it is, quoted and encoded."""
    given = {dotted: planted(entry, tmp_path) for dotted, entry in fields().items()}
    secrets = [secret for _, some in given.values() for secret in some] + list(ENVIRONMENT.values())
    assert min(map(len, secrets)) >= LEAST
    values: Mapping[str, Any] = {dotted: value for dotted, (value, some) in given.items() if some}
    assert {"auth.keys", "s3.secret_access_key", "s3.session_token", "alerts.secret", "alerts.webhooks", "encryption.keys", *URLS} <= set(
        values
    )
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    toml = tmp_path / "scrubjay.toml"
    tables: dict[str, list[str]] = {}
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        tables.setdefault(section, []).append(f"{key} = {_toml(value)}")
    toml.write_text("".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in tables.items()))
    text = "\n".join(f"here {spelt} there" for secret in secrets for spelt in spellings(secret))
    text += "\nhttps://anybody:0f-their-own@host/ X-Amz-Signature=0123456789abcdef AKIAABCDEFGHIJKLMNOP"
    secrets += ["0f-their-own", "0123456789abcdef", "AKIAABCDEFGHIJKLMNOP"]
    data_folder(tmp_path / "scrubjay-data", text)
    answers.body["said"], answers.metrics = text, text
    code, _ = run_verb(capsys, "b.tar.gz", "--endpoint", answers.url, "--config", str(toml), "--data", str(tmp_path / "scrubjay-data"))
    assert code == 0
    parts = unpacked(tmp_path / "b.tar.gz")
    found = [
        (part, spelt) for part, data in parts.items() for secret in secrets for spelt in spellings(secret) if spelt.rstrip("=") in data
    ]
    assert found == []
    assert all(parts[part].count(REPLACED) >= len(secrets) for part in ("log/server.log", "server/metrics.txt", "folder/ledger.jsonl"))
    told = json.loads(parts["config.json"])
    assert told["s3.secret_access_key"] == told["alerts.secret"] == NOT_SHOWN
    assert told["auth.keys"] == "reader (data), boss (admin)"
    assert told["alerts.webhooks"] == "https://hooks.test/…, https://chat.test/…"
    assert told["encryption.keys"].endswith("k3=env:OUR_WORD, k4=command:vault …")
    assert (told["archive.url"], told["s3.endpoint_url"]) == ("s3://bucket/prefix", "https://store.test:9000")
    assert "AWS_SESSION_TOKEN\n" in parts["environment.txt"]


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def test_a_text_that_nobody_said_of_that_it_may_be_shown_is_not() -> None:
    told = shown(load(sets=["s3.region=north", "s3.access_key_id=k", "s3.secret_access_key=short"]))
    assert (told["s3.region"], told["s3.access_key_id"], told["s3.secret_access_key"]) == ("north", NOT_SHOWN, NOT_SHOWN)
    assert told["alerts.secret"] == ""


def test_a_short_secret_does_not_take_words_out_of_every_line() -> None:
    assert Cleaner(load(sets=["alerts.secret=log"]), {}).clean("the log of n1") == "the log of n1"
    assert Cleaner(load(), {}).clean("nothing is known") == "nothing is known"
