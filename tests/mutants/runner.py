"""Tries mutants, one at a time, on a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalogue import Mutant

ROOT = Path(__file__).resolve().parents[2]
_FAILED = 1  # pytest's exit code for tests that ran and failed; others are the runner's own mistake


class RunnerError(Exception):
    """The trial says nothing about the mutant: its test could not be run, or fails without it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """killed: its test went red. seconds: what the test took. said: the line that pytest closed with, or that it hung."""

    mutant: Mutant
    killed: bool
    seconds: float
    said: str


class Bench:
    """A copy of the tree under `folder`, in which tests run with one text changed. timeout_s bounds each run; one that is cut off counts as killed."""

    def __init__(self, folder: Path, *, timeout_s: float = 300.0) -> None:
        self.folder = folder
        self.timeout_s = timeout_s
        self._green: set[tuple[str, ...]] = set()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                (folder / name).symlink_to((ROOT / name).readlink())
            elif (ROOT / name).is_file():
                shutil.copy2(ROOT / name, folder / name)
        modules = "scrubjay.base.errors, scrubjay.storage.log.record, tests.mutants.catalogue"
        done = self._python("-c", f"import {modules}; print(*(one.__file__ for one in ({modules})), sep='\\n')")
        imported = done.stdout.split()
        if len(imported) != 3 or not all(Path(path).resolve().is_relative_to(folder.resolve()) for path in imported):
            raise RunnerError(f"the copy is not what is imported: {imported} {done.stderr}")

    def try_one(self, mutant: Mutant, *, check_green: bool = True) -> Verdict:
        """Raises RunnerError when the test cannot be run, or (with check_green, once per killer) is red without the mutant."""
        if check_green and mutant.killer not in self._green:
            code, said, _ = self._test(mutant.killer)
            if code != 0:
                raise RunnerError(f"{mutant.name}: its killer does not pass without it: {said}")
            self._green.add(mutant.killer)
        with self._mutated(mutant):
            code, said, seconds = self._test(mutant.killer)
        if code not in (0, _FAILED, None):
            raise RunnerError(f"{mutant.name}: pytest ended with {code}: {said}")
        return Verdict(mutant, code != 0, seconds, said)

    @contextmanager
    def _mutated(self, mutant: Mutant) -> Iterator[None]:
        source = self.folder / mutant.file
        before = source.read_text()
        if before.count(mutant.old) != 1:
            raise RunnerError(f"{mutant.name}: its text occurs {before.count(mutant.old)} times in {mutant.file}")
        try:
            self._write(source, before.replace(mutant.old, mutant.new))
            yield
        finally:
            self._write(source, before)

    @staticmethod
    def _write(source: Path, text: str) -> None:
        """Takes the compiled file away too: it is told apart by second and size, which two writes may share."""
        source.write_text(text)
        for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
            compiled.unlink()

    def _test(self, killer: tuple[str, ...]) -> tuple[int | None, str, float]:
        """pytest's exit code (None: cut off), its last line, seconds."""
        began = time.monotonic()
        try:
            done = self._python("-m", "pytest", "-p", "no:cacheprovider", "-q", "-x", "-n0", *killer)
        except subprocess.TimeoutExpired:
            return None, f"cut off after {self.timeout_s:.0f} s", time.monotonic() - began
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return done.returncode, (failed or lines or ["nothing said"])[-1], time.monotonic() - began

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """This interpreter on the copy: also the processes that a test starts import from it."""
        env = {**os.environ, "PYTHONPATH": str(self.folder)}
        for inherited in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            env.pop(inherited, None)
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # with the servers that the test started
                raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)
