"""Short lives under load, each ended by SIGKILL: every start comes up, says where its time went, and leaves no more files than the one before.

`python -m bench.bench_restart` is the long form: thirty lives, with the figures. Twelve lives with fewer writes each are in test_sigkill.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bench_restart import Lives

FILES_MAX = 3 * 8
"""WAL files of three nodes: what little is kept, and those made ahead for the reserve."""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_few_lives(tmp_path: Path) -> None:
    lives = Lives(tmp_path, writers=8)
    try:
        lives.start()
        lives.create_table()
        for _ in range(6):
            lives.write(1.0)
            start = lives.start()
            assert start.wal_files <= FILES_MAX
            assert {"import_ms", "replay_ms", "catalogue_ms", "leaders_ms", "all_ms"} <= set(start.parts)
        assert lives.acknowledged
        assert lives.lost() == []
    finally:
        lives.kill()
