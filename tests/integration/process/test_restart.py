"""Short lives under load, each ended by SIGKILL: every start comes up, says where its time went, and leaves no more files than the one before.

`python -m bench.bench_restart` is the long form: thirty lives, with the figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bench_restart import Lives

FILES_MAX = 3 * 8
"""WAL files of three nodes: what little is kept, and those made ahead for the reserve."""


def run_lives(folder: Path, count: int) -> None:
    lives = Lives(folder, writers=8)
    try:
        lives.start()
        lives.create_table()
        for _ in range(count):
            lives.write(1.0)
            start = lives.start()
            assert start.wal_files <= FILES_MAX
            assert {"import_ms", "replay_ms", "catalogue_ms", "leaders_ms", "all_ms"} <= set(start.parts)
        assert lives.acknowledged
        assert lives.lost() == []
    finally:
        lives.kill()


@pytest.mark.process
@pytest.mark.timeout(240)
def test_a_few_lives(tmp_path: Path) -> None:
    run_lives(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_lives(tmp_path: Path) -> None:
    run_lives(tmp_path, 30)
