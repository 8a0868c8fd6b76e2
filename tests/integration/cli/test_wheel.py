"""What gets installed: one package, found by nobody else's name, without the simulated world and tests."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.tree import ROOT, files

pytestmark = pytest.mark.slow
INSIDE = {"archiver", "base", "demo", "drills", "pitr", "scratch", "scrubber", "server", "serving", "storage", "verbs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders behind. Needs no network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in files():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    for link in (one for one in (ROOT / "scrubjay").iterdir() if one.is_symlink()):
        (source / "scrubjay" / link.name).symlink_to(link.readlink())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_it_holds_one_package(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")} == {"scrubjay"}
    assert {name.parts[1] for name in names if len(name.parts) > 2 and name.parts[0] == "scrubjay"} == INSIDE
    assert Path("scrubjay/py.typed") in names


def test_it_runs_from_where_it_was_installed(wheel: Path, tmp_path: Path) -> None:
    """Beside folders that are called like its packages."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    for name in ("storage", "base"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").write_text("raise SystemExit('somebody else')")
    code = "import scrubjay.cli, scrubjay.storage.btree.worker as it; print(it.__file__); scrubjay.cli.main(['--version'])"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "installed" / "scrubjay" / "storage")), done.stdout + done.stderr
    assert "scrubjay" in done.stdout.splitlines()[-1]
