"""Keys from files, variables and commands: what is taken, what is refused by name, and that none is ever shown."""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay.base.errors import Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.real import key_sources
from scrubjay.base.real.key_sources import COMMAND_TRIES, keyring

SECRET = bytes(range(100, 132))


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    keyring.cache_clear()
    yield
    keyring.cache_clear()


def one(source: str, timeout_s: float = 20.0) -> bytes:
    ring = keyring((("k1", source),), timeout_s=timeout_s)
    assert ring is not None
    return ring.writing.secret


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "give.py"
    path.write_text(text)
    return f"command:{sys.executable} {path} 'two words'"


@pytest.mark.parametrize(
    "content", [SECRET, SECRET.hex().encode(), SECRET.hex().upper().encode() + b"\r\n", b" " + base64.b64encode(SECRET) + b"\n"]
)
def test_a_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    for mode in (0o600, 0o400, 0o440):
        path.chmod(mode)
        keyring.cache_clear()
        assert one(f"file:{path}") == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o601])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    path.chmod(mode)
    with pytest.raises(Unsafe, match="key k1 is open to others") as caught:
        one(f"file:{path}")
    assert "chmod 600" in caught.value.fields["next"]


@pytest.mark.slow
def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for source in (f"file:{tmp_path}/none", f"file:{tmp_path}", "env:NO_SUCH_KEY", "command:/no/such/program"):
        with pytest.raises(Unavailable, match="key k1") as caught:
            one(source)
        assert caught.value.exit_code == 1


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", SECRET.hex())
    assert one("env:A_KEY") == SECRET


@pytest.mark.parametrize("content", ["", "secret", "a" * 63, "zz" * 32, base64.b64encode(b"x" * 31).decode(), "a" * 5000])
def test_what_is_no_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("A_KEY", content)
    with pytest.raises(Invalid, match="key k1 is not one") as caught:
        one("env:A_KEY")
    assert not content or content not in str(caught.value)


def test_a_command_is_run_once_for_all_who_ask(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    source = script(tmp_path, f"import sys; open({str(runs)!r}, 'a').write(sys.argv[1]); print({SECRET.hex()!r})")
    assert [one(source), one(source)] == [SECRET, SECRET]
    assert runs.read_text() == "two words"


def test_a_command_that_fails_is_tried_again_and_then_told_of_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sources, "AGAIN_S", 0.0)
    runs = tmp_path / "runs"
    source = script(tmp_path, f"import sys; open({str(runs)!r}, 'a').write('x'); sys.exit('vault is locked')")
    with pytest.raises(Unavailable, match="the command of key k1 failed") as caught:
        one(source)
    assert "vault is locked" in caught.value.fields["found"]
    assert runs.read_text() == "x" * COMMAND_TRIES


@pytest.mark.slow
def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    source = script(tmp_path, f"import subprocess; subprocess.run(['sh', '-c', 'sleep 30; touch {alive}'])")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not end"):
        one(source, timeout_s=0.3)
    assert time.monotonic() - began < 15
    assert not alive.exists()


def test_a_command_that_does_not_stop_talking_is_ended_before_it_fills_the_memory() -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="the command of key k1 says more than a key"):
        one("command:yes", timeout_s=60.0)
    assert time.monotonic() - began < 30


def test_a_command_that_only_complains_is_told_of_by_the_end_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sources, "AGAIN_S", 0.0)
    source = script(tmp_path, "import sys; sys.stderr.write('x' * 100_000 + ' locked'); sys.exit(2)")
    with pytest.raises(Unavailable, match="failed") as caught:
        one(source)
    assert caught.value.fields["found"].endswith("x locked")


@pytest.mark.slow
def test_what_a_command_left_behind_in_a_session_of_its_own_is_not_waited_for(tmp_path: Path) -> None:
    """It holds the output open, and no signal to the command's group reaches it."""
    pid = tmp_path / "pid"
    text = f"import subprocess; p = subprocess.Popen(['sleep', '60'], start_new_session=True); open({str(pid)!r}, 'w').write(str(p.pid)); print({SECRET.hex()!r})"
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not end"):
        one(script(tmp_path, text), timeout_s=2.0)
    assert time.monotonic() - began < 30
    os.kill(int(pid.read_text()), 9)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Invalid, match="the file of key k1 is no file"):
        one(f"file:{tmp_path}/pipe")


def test_no_keys() -> None:
    assert keyring((), timeout_s=1.0) is None


def test_a_second_key_that_cannot_be_had_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", SECRET.hex())
    with pytest.raises(ScrubjayError, match="key k0"):
        keyring((("k1", "env:A_KEY"), ("k0", "env:NO_SUCH_KEY")), timeout_s=1.0)
