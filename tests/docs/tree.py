"""The files of this work tree, as the house rules see them: what git tracks, plus what is new and not ignored."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("base", "storage", "archiver", "scrubber", "pitr", "server", "drills", "sim", "scrubjay")


@cache
def files() -> tuple[Path, ...]:
    """Relative paths, sorted. Without git (an unpacked archive): every file outside hidden and generated folders."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        names = [Path(line) for line in done.stdout.splitlines()]
    else:
        names = [
            path.relative_to(ROOT) for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        ]
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def text_of(name: Path) -> str | None:
    """The text of a file, None if it is binary."""
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def python_files(*, packages_only: bool = False) -> list[Path]:
    """Python files, of our packages only or of everything."""
    return [name for name in files() if name.suffix == ".py" and (not packages_only or name.parts[0] in PACKAGES)]


def pages() -> list[Path]:
    """Every Markdown page."""
    return [name for name in files() if name.suffix == ".md"]
