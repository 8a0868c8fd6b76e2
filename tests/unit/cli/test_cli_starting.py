"""What the command line is started with: variables it did not ask for, places that are none, a system that is not Linux."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrubjay import cli
from scrubjay.base.errors import DiskFull, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.real import log_lines, platform
from scrubjay.client import AdminClient, split_endpoint
from scrubjay.config import is_service_link, load
from scrubjay.output import VerbFailure, failure_of_machine
from scrubjay.serving.lock import FolderLock, data_folder, unusable
from scrubjay.verb import VerbCall

# -- Kubernetes service links ----------------------------------------------------------------------------------------------------------


def links(service: str, *, port: int = 8000, protocol: str = "tcp") -> dict[str, str]:
    """What the kubelet puts into every container of a namespace that holds a Service of that name."""
    name, address = service.upper().replace("-", "_"), "10.96.0.12"
    kind = protocol.upper()
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP": str(port),
        f"{name}_SERVICE_PORT_DYNAMODB_API": str(port),
        f"{name}_PORT": f"{protocol}://{address}:{port}",
        f"{name}_PORT_{port}_{kind}": f"{protocol}://{address}:{port}",
        f"{name}_PORT_{port}_{kind}_PROTO": protocol,
        f"{name}_PORT_{port}_{kind}_PORT": str(port),
        f"{name}_PORT_{port}_{kind}_ADDR": address,
    }


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize(
    "service",
    [
        "scrubjay",
        "scrubjay-serve",
        "scrubjay-archive",
        "scrubjay-s3",
        "scrubjay-limits",
        "scrubjay-dev",
        "scrubjay-archive-url",
        "scrubjay-config",
    ],
)
def test_a_service_of_our_name_neither_stops_nor_steers_us(service: str, protocol: str) -> None:
    env = links(service, port=31999, protocol=protocol)
    assert all(is_service_link(name, value) for name, value in env.items())
    assert load(env=env) == load(env={})


def test_our_own_keys_are_no_service_links() -> None:
    assert load(env={"SCRUBJAY_SERVE_PORT": "9001"}).serve.port == 9001
    for name, value in (("SCRUBJAY_SERVE_PORT", "http"), ("SCRUBJAY_SERVE_PROT", "1"), ("SCRUBJAY_ARCHIVE_SERVICE", "x")):
        with pytest.raises(Invalid):
            load(env={name: value})


# -- which cluster ---------------------------------------------------------------------------------------------------------------------


def endpoint(*, env: dict[str, str] | None = None, **options: str) -> str:
    return VerbCall(argparse.Namespace(**options), environ=env or {}).endpoint


def test_the_servers_configuration_tells_the_verbs_where_it_listens(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[serve]\nlisten = "0.0.0.0"\nport = 9123\n')
    assert endpoint(config=str(file)) == "http://127.0.0.1:9123"
    assert endpoint(env={"SCRUBJAY_CONFIG": str(file)}) == "http://127.0.0.1:9123"
    assert endpoint(env={"SCRUBJAY_SERVE_PORT": "9200", "SCRUBJAY_SERVE_LISTEN": "::"}) == "http://[::1]:9200"
    assert endpoint(config=str(file), env={"SCRUBJAY_ENDPOINT": "http://other:1"}) == "http://other:1"
    assert endpoint(config=str(file), endpoint="http://given:2", env={"SCRUBJAY_ENDPOINT": "http://other:1"}) == "http://given:2"
    assert endpoint() == "http://127.0.0.1:8000"
    assert endpoint(env=links("scrubjay-serve", port=31999)) == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8000",
        "localhost:8000",
        "localhost",
        "",
        "http://",
        "http://[::1",
        "http://h:99999",
        "http://h:x",
        "ftp://h",
        "http://a b",
        "http://h/p",
        "http://u:p@h",
    ],
)
def test_what_is_no_endpoint_is_wrong_usage(text: str) -> None:
    with pytest.raises(VerbFailure) as caught:
        split_endpoint(text)
    assert (caught.value.exit_code, caught.value.error["code"]) == (64, "Usage")


def test_a_host_that_cannot_be_one_is_not_reached() -> None:
    with pytest.raises(VerbFailure) as caught:
        AdminClient("http://..:80", environ={}).get("archive/status")
    assert (caught.value.exit_code, caught.value.error["code"]) == (1, "Unreachable")


# -- the data folder -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "file"
    path.write_text("mine")
    yield path
    assert path.read_text() == "mine"


@pytest.mark.parametrize("place", ["", "below", "a/b/c", "x" * 300])
def test_a_data_folder_that_cannot_be_one_is_wrong_usage(file: Path, place: str) -> None:
    path = file / place if len(place) < 300 else file.parent / place
    with pytest.raises(Invalid) as caught:
        FolderLock(path)
    assert str(path) in caught.value.fields["asked"]
    assert caught.value.fields["next"]


def test_a_lock_is_named_by_where_it_lies_and_by_nothing_that_can_be_copied(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "one")
    place = first.place
    first.release()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    again, other = FolderLock(tmp_path / "one"), FolderLock(tmp_path / "two")
    assert place
    assert again.place == place
    assert other.place != place
    again.release()
    other.release()


def test_a_link_that_goes_round_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(Invalid):
        FolderLock(data_folder(str(tmp_path / "loop")))
    with pytest.raises(Invalid):
        data_folder("a\0b")


def test_a_folder_whose_name_is_no_utf_8_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"odd\xff")
    (tmp_path / "straight").symlink_to(tmp_path / name)
    with pytest.raises(Invalid):
        data_folder(str(tmp_path / "straight"))
    for json_wanted in ([], ["--json"]):
        assert cli.main(["serve", "--dev", "--port", "0", "--data", str(tmp_path / name), *json_wanted]) == 64
    shown = capsys.readouterr()
    assert "a name that is no UTF-8" in shown.err
    assert json.loads(shown.out)["error"]["found"] == "a name that is no UTF-8"
    assert data_folder(str(tmp_path / "sp ace" / "ünï ✓")).name == "ünï ✓"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, Unavailable),
        (errno.EROFS, Unavailable),
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, Unavailable),
        (errno.ENOTDIR, Invalid),
    ],
)
def test_a_folder_the_system_refuses_is_named(number: int, kind: type[ScrubjayError]) -> None:
    error = unusable(Path("/data"), OSError(number, os.strerror(number), "/data"))
    assert type(error) is kind
    assert error.fields == {"asked": "--data /data", "found": os.strerror(number), "next": error.fields["next"]}


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_what_the_system_refuses_is_never_a_bug_of_ours(number: int) -> None:
    failure = failure_of_machine(OSError(number, os.strerror(number), "/some/path"), asked="scrubjay serve")
    assert failure.exit_code == 1
    assert failure.error["code"] in ("Unavailable", "DiskFull", "Exhausted")
    assert "/some/path" in str(failure.error["found"])
    assert failure.error["next"]


def test_an_error_of_the_system_out_of_a_verb_is_said_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for error, code in ((PermissionError(errno.EACCES, "Permission denied", "/x"), "Unavailable"), (MemoryError(), "Exhausted")):

        def broken(_call: VerbCall, error: BaseException = error) -> str:
            raise error

        monkeypatch.setattr(VerbCall, "endpoint", property(broken))
        assert cli.main(["archive", "status", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["error"]["code"] == code


# -- the system ------------------------------------------------------------------------------------------------------------------------


def test_what_is_not_linux_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    platform.check_platform()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        patch.delattr(os, "fdatasync")
        with pytest.raises(Unsafe, match="only Linux is supported") as caught:
            platform.check_platform()
    assert "this is darwin, no fdatasync" in caught.value.fields["found"]
    with monkeypatch.context() as patch:
        patch.setattr(platform.ctypes, "CDLL", lambda _name: object())
        with pytest.raises(Unsafe, match="only Linux") as caught:
            platform.check_platform()
    assert caught.value.fields["found"] == "no prctl"


def test_serve_asks_before_it_touches_the_folder(tmp_path: Path) -> None:
    code = "import os, sys; del os.fdatasync; from scrubjay.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "--dev", "--data", str(tmp_path / "data"), "--port", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "Unsafe")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("level", ["trace", "3", "warn ing"])
def test_a_log_level_that_is_none_is_wrong_usage(level: str) -> None:
    with pytest.raises(Invalid) as caught:
        log_lines.setup(level, io.StringIO())
    assert caught.value.fields["next"] == "one of debug, info, warning, error"


# -- versions, streams, packages -------------------------------------------------------------------------------------------------------


def test_the_version_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    from scrubjay import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"scrubjay {__version__}\n"
    for argv in (["--version", "--json"], ["--json", "--version"]):
        assert cli.main(argv) == 0
        assert json.loads(capsys.readouterr().out) == {"schema": 1, "exit": 0, "error": None, "version": __version__}


def scrubjay(
    *words: str, cwd: Path | None = None, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`python -m scrubjay WORDS`."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "scrubjay", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_verb_with_streams_closed_or_full_keeps_its_exit_code(how: str) -> None:
    done = scrubjay("archive", "status", "--endpoint", "http://127.0.0.1:9", prefix=("sh", "-c", f'exec "$@" {how}', "x"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_ascii_terminal_gets_escapes_and_json_stays_utf8() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    words = ("restore", "status", "größe", "--endpoint", "http://127.0.0.1:9")
    text = scrubjay(*words, env=plain)
    assert (text.returncode, "Traceback" in text.stderr) == (1, False)
    command = [sys.executable, "-m", "scrubjay", *words, "--json"]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, timeout=60, check=False)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], "to=gr%C3%B6%C3%9Fe" in error["asked"]) == ("Unreachable", True)


@pytest.mark.slow
def test_paths_are_utf8_whatever_the_locale(tmp_path: Path) -> None:
    """A config file and a data folder with letters that ASCII lacks, as bytes on the command line and as text in the file."""
    blocked = tmp_path / "dätä ключ"
    blocked.write_text("a file")
    config = tmp_path / "größe.toml"
    config.write_text(f'[serve]\ndata = "{blocked}/x"\n', encoding="utf-8")
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words in (("--config", str(config)), ("--data", f"{blocked}/x")):
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--json", *words]
        done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, timeout=60, check=False)
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"], error["found"]) == (64, "Invalid", "Not a directory"), error
        assert "dätä ключ" in error["asked"]


@pytest.mark.slow
def test_too_few_nodes_are_named_with_their_reasons_and_the_page_that_helps(tmp_path: Path) -> None:
    """Nothing is wrong with the object store then, and nobody is sent there."""
    (tmp_path / "data" / "nodes").mkdir(parents=True)
    for node in ("n1", "n2"):
        (tmp_path / "data" / "nodes" / node).write_text("no folder")
    done = scrubjay("serve", "--dev", "--data", str(tmp_path / "data"), "--port", "0", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], error["message"]) == (1, "Unavailable", "too few nodes came up to serve"), done.stderr
    assert "n1=" in error["found"]
    assert "n2=" in error["found"]
    assert "n3=" not in error["found"]
    assert "node-out-of-service.md" in error["next"]


def test_packages_called_like_ours_are_not_taken_for_them(tmp_path: Path) -> None:
    for name in ("base", "storage", "archiver", "server", "sim"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('somebody else')")
    for env in ({}, {"PYTHONPATH": str(tmp_path)}):
        done = scrubjay("serve", "--dev", "--data", "/dev/null/x", "--json", cwd=tmp_path, env=env)
        assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (64, "Invalid"), done.stderr
