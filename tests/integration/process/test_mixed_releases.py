"""The release before this one and this one together: four processes of it are exchanged one by one for this one, and back, under load."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bench.bench_failover import Front, Writer, client, lost, wait_for_all
from bench.bench_upgrade import EVERY, READERS, WRITERS, Reader, Upgrade
from bench.upgrade_tables import FINCHES, SETTINGS, Tables
from tests.fixtures import require
from tests.fixtures.cluster import NODES, ClusterOfProcesses
from tests.fixtures.releases import PREVIOUS, NoSuchRelease, lay_out

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]


def test_every_process_is_exchanged_and_taken_back_under_load(tmp_path: Path) -> None:
    """No client sees an error, nothing is lost, no strong read goes back, every process ends with 0, and a scrub matches; of tables with an index, a stream, a time to live, splits half way, backups and transactions too, and no
    transaction is in by half at a moment that is restored."""
    try:
        before = lay_out(PREVIOUS, tmp_path / "release before")
    except NoSuchRelease as error:
        require.unavailable("history", str(error))
    with ClusterOfProcesses(tmp_path, settings=SETTINGS) as cluster:
        for name in EVERY:
            cluster.spawn(name, release=before)
        wait_for_all(cluster)
        front, stop = Front([(cluster.host(name), cluster.api[name]) for name in NODES]), threading.Event()
        front.start()
        time.sleep(0.3)
        tables = Tables(cluster, lambda service: client(front.port, service=service), stop)
        writers = [Writer(number, client(front.port), stop) for number in range(WRITERS)]
        readers = [Reader(number, client(front.port), stop) for number in range(READERS)]
        threads = (*writers, *readers, *tables.threads)
        for thread in threads:
            thread.start()
        upgrade = Upgrade(cluster, kill=False, settle_s=0.0)
        held = upgrade.version("--hold")["version"]
        for release in (None, before):
            upgrade.replace(EVERY[:2], release)
            upgrade.wrong += tables.split(FINCHES) + tables.note()  # on two releases
            upgrade.replace(EVERY[2:], release)
            assert upgrade.version()["version"] == held, "the way back is closed"
        upgrade.wrong += tables.note()  # the release before lists what both made
        stop.set()
        for thread in threads:
            thread.join(60)
        upgrade.proven("at the end", "scrub", "run")
        assert upgrade.wrong + tables.wrong() + tables.restored() == []
        assert [error for one in threads for error in one.errors] == []
        assert upgrade.refused == []
        assert (lost(cluster, writers), [one for reader in readers for one in reader.backwards]) == (0, [])
        assert min(one.count for one in threads) > 100, [one.count for one in threads]
