"""A rolling upgrade and the way back, under load: four processes of the release before run, each is replaced by one of this release, and each by one of the other again.

    python -m bench.bench_upgrade [--from COMMIT] [--to COMMIT] [--rounds 1] [--ways up,back,up] [--control] [--folder DIR]

Writers and readers with boto3 clients of default retries go on all the while, behind an address in front of all nodes. A process is stopped with SIGTERM and started again as the other release, then the next: the
nodes first, the durability process last, on the way back too. Half way, at each end, a table is made through every node, of whichever release it is, and used through every other one, and a scrub must match.
Beside it go tables with everything (`bench.upgrade_tables`): an index, a stream, a time to live, transactions; a partition of theirs is split by hand before the first exchange, half way and at each end.

The cluster's version (ADR 0081): while one process of the release before runs it is not raised; it is held before the last one is exchanged, stays as it was then, and every process is taken back; the last time up it is held no more, and raised within RAISED_S. A process of the release before
that is started then does not become ready. At the end every process is exchanged for a release after this one (the same source, which can one more); once the version was raised to that, a process of this release ends with 4, by what its folder says and, where that is gone, by what the others say.

Exit code: 0: no client saw an error, everything acknowledged is there, every scrub and the verify at the end match. 2: something is lost, wrong, or differs. 3: a client saw an error, or a process left something unarchived
(its own exit code). 4: this clone lacks the commit. `--control` must end with 3: up only, nodes are killed, and no client tries again.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bench.bench_failover import TABLE, Front, Writer, client, lost, wait_for_all
from bench.upgrade_tables import COINS, FINCHES, SETTINGS, Tables
from scrubjay.server.raising import FILE
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.releases import PREVIOUS, NoSuchRelease, lay_out
from tests.fixtures.wait import wait_for

WRITERS, READERS = 2, 2
EVERY = (*NODES, DURABILITY)
SETTLE_S = 1.0
RAISED_S = 10.0
"""From when every process is of this release, and nobody holds it."""
STAYS_S = 5.0
"""So long it is watched that it is not raised; whoever works for the cluster looks every second."""
KEPT_OUT_S = 12.0
"""So long a process of the release before is given to become ready where it must not."""


class Reader(threading.Thread):
    """Reads what the writers write, strongly and not; a strong read never goes back."""

    def __init__(self, number: int, client: Any, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._client, self._ended = number, client, stop
        self.count = 0
        self.errors: list[str] = []
        self.backwards: list[tuple[str, int, int]] = []

    def run(self) -> None:
        seen: dict[str, int] = {}
        while not self._ended.is_set():
            self.count += 1
            key, strong = f"{self._number % WRITERS}-{self.count % 50}", self.count % 2 == 0
            try:
                item = self._client.get_item(TableName=TABLE, Key={"k": {"S": key}}, ConsistentRead=strong).get("Item")
            except (ClientError, BotoCoreError) as error:
                self.errors.append(str(error))
                continue
            found = 0 if item is None else int(item["v"]["N"])
            if strong:
                if found < seen.get(key, 0):
                    self.backwards.append((key, seen[key], found))
                seen[key] = found
            time.sleep(0.01)


class Upgrade:
    """The cluster, and what goes wrong with it. wrong: differences; refused: exit codes of processes. settle_s: between two exchanges, once all is well."""

    def __init__(self, cluster: ClusterOfProcesses, *, kill: bool, settle_s: float = SETTLE_S) -> None:
        self.cluster, self._kill, self._settle_s = cluster, kill, settle_s
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self._tables = 0

    def replace(self, names: tuple[str, ...], release: Path | None) -> None:
        """One by one. release: None: the source that this process runs."""
        for name in names:
            if self._kill:
                self.cluster.kill(name)
            elif (code := self.cluster.stop(name)) != 0:
                self.refused.append(f"{name} ended with {code}")
            self.begin(name, release)

    def begin(self, name: str, release: Path | None) -> None:
        """Of a process that does not run."""
        self.cluster.spawn(name, release=release)
        self.cluster.ready(name, timeout=240)
        wait_for(lambda: self.cluster.cli("cluster", "status", at=NODES[0])[0] == 0, timeout=90)
        time.sleep(self._settle_s)

    def look(self, when: str) -> None:
        """Tables made by every node are used by every other, and a scrub matches."""
        for maker in (NODES[0], NODES[-1]):  # half way one of each release
            self._tables += 1
            table = f"made-{self._tables}"
            self.cluster.client(maker).create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            for name in NODES:
                client = self.cluster.client(name)
                client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
                client.put_item(TableName=table, Item={"k": {"S": name}, "v": {"N": "1"}})
            for name in NODES:
                found = self.cluster.client(name).scan(TableName=table, ConsistentRead=True)["Items"]
                if sorted(item["k"]["S"] for item in found) != sorted(NODES):
                    self.wrong.append(f"{when}: {name} reads {found} of {table}")
        self.proven(when, "scrub", "run")

    def version(self, *asked: str) -> dict[str, Any]:
        """As a node of this release knows it: the first is the first that is exchanged."""
        code, found = self.cluster.cli("cluster", "version", *asked, at=NODES[0])
        if code:
            self.wrong.append(f"cluster version {' '.join(asked)} ended with {code}: {found['error']}")
        return found

    def stays(self, when: str) -> None:
        """It is not raised to what this release can."""
        until = time.monotonic() + STAYS_S
        while time.monotonic() < until:
            found = self.version()
            if found["version"] is not None and found["version"] >= found["newest"]:
                self.wrong.append(f"{when}: the version was raised to {found['version']}")
                return
            time.sleep(0.5)
        print(f"{when}: the version stays at {found['version']} of {found['newest']}: {'; '.join(found['holds'])}", flush=True)

    def raised(self, when: str) -> None:
        """It is, in time."""
        began = time.monotonic()
        while (found := self.version())["version"] != found["newest"]:
            if time.monotonic() - began > RAISED_S:
                self.wrong.append(f"{when}: the version is {found['version']} after {RAISED_S:g} s: {found['holds']}")
                return
            time.sleep(0.1)
        print(f"{when}: the version was raised to {found['version']} within {time.monotonic() - began:.1f} s", flush=True)

    def keeps_out(self, name: str, release: Path) -> None:
        """A process of the release before is not let in any more, and the one that ran there before is. It ends with 4 by what its folder says; one that knows nothing of the number (before 6) the others keep out, and say so."""
        if (code := self.cluster.stop(name)) != 0:
            self.refused.append(f"{name} ended with {code}")
        self.cluster.spawn(name, release=release)
        time.sleep(KEPT_OUT_S)
        if self.cluster.out(name).read_bytes():
            self.wrong.append(f"{name} of the release before became ready after the version was raised")
        told = self.cluster.log(NODES[0]).read_text().count("older than what this cluster was raised to")
        ended = self.cluster.processes[name].poll()
        own = self.cluster.log(name).read_text().count("this release is too old")
        print(
            f"{name} of the release before is not ready after {KEPT_OUT_S:g} s: it ended with {ended}, and says why {own} times; {NODES[0]} says so {told} times",
            flush=True,
        )
        if not told and not (ended == 4 and own):
            self.wrong.append(f"neither {name} nor {NODES[0]} says that {name} is too old")
        self.cluster.kill(name)

    def ends(self, name: str, release: Path) -> None:
        """A process of this release does not serve a cluster of the one after it, and says why."""
        if (code := self.cluster.stop(name)) != 0:
            self.refused.append(f"{name} ended with {code}")
        note = self.cluster.root / name / FILE
        kept = note.read_bytes()
        for says in ("its folder", "the others"):
            if says == "the others":
                note.unlink()
            self.cluster.spawn(name, release=release)
            code = self.cluster.processes[name].wait(60)
            told = self.cluster.log(name).read_text().count("this release is too old")
            print(f"{name} of this release, by what {says} say: ends with {code}, and says why {told} times", flush=True)
            if code != 4 or not told or self.cluster.out(name).read_bytes():
                self.wrong.append(f"{name} of this release in a cluster of the one after it ended with {code}")
        note.write_bytes(kept)

    def verify(self) -> None:
        self.proven("at the end", "verify", "--level", "records")

    def proven(self, when: str, *verb: str) -> None:
        """A verb of the durability service says that all matches."""
        found: list[dict[str, Any]] = []

        def looked() -> bool:
            found[:] = [self.cluster.cli(*verb, timeout=180)[1]]
            return bool(found[0].get("verdict") not in (None, "unverified"))  # a copy that has just come back may not be so far yet

        wait_for(looked, timeout=120)
        print(f"{when}: {' '.join(verb)}: {found[0]['verdict']}", flush=True)
        if found[0]["verdict"] != "match":
            self.wrong.append(f"{when}: {' '.join(verb)}: {found[0]}")


def one_after(release: Path, folder: Path) -> Path:
    """The release after this one, which can one number more."""
    shutil.copytree(release, folder, symlinks=True)  # its packages are links (ADR 0025)
    page = folder / "storage" / "cluster_version.py"
    text = page.read_text()
    changed, lines = re.subn(r"^NEWEST = (\w+)$", r"NEWEST = \1 + 1", text, flags=re.MULTILINE)
    if lines != 1:
        raise NoSuchRelease("this release says otherwise than by one line which number it can")
    page.write_text(changed)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="commit", default=PREVIOUS, metavar="COMMIT")
    parser.add_argument(
        "--to", default="HEAD", metavar="COMMIT", help="this release; a process notices when its own source changes under it"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--ways",
        default="up,back,up",
        help="what is done in a round: `up,back` leaves the version held, `up` alone releases it (then the next round has nothing to go back to)",
    )
    parser.add_argument("--control", action="store_true", help="nodes are killed and clients never try again: must end with 3")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            old, new = lay_out(asked.commit, folder / "release before"), lay_out(asked.to, folder / "release")
        except NoSuchRelease as error:
            print(error, file=sys.stderr)
            return 4
        cluster = stack.enter_context(ClusterOfProcesses(folder, settings=SETTINGS))
        for name in EVERY:
            cluster.spawn(name, release=old)
        wait_for_all(cluster)
        front, stop = Front([(cluster.host(name), cluster.api[name]) for name in NODES]), threading.Event()
        front.start()
        time.sleep(0.3)
        writers = [Writer(number, client(front.port, patient=not asked.control), stop) for number in range(WRITERS)]
        readers = [Reader(number, client(front.port, patient=not asked.control), stop) for number in range(READERS)]
        tables = Tables(cluster, lambda service: client(front.port, patient=not asked.control, service=service), stop)
        for thread in (*writers, *readers, *tables.threads):
            thread.start()
        upgrade = Upgrade(cluster, kill=asked.control)
        began = time.monotonic()
        ways = ["up"] if asked.control else asked.ways.split(",") * asked.rounds
        time.sleep(SETTLE_S)  # a partition is split between two keys
        upgrade.wrong += tables.split(FINCHES) + tables.note()
        for at, way in enumerate(ways):
            release = new if way == "up" else old
            upgrade.replace(NODES[:2], release)
            upgrade.look(f"half way {way}")
            upgrade.wrong += tables.split(FINCHES) + tables.note()
            if way == "up":
                upgrade.stays("half way up")
                upgrade.version("--hold")
            upgrade.replace((NODES[2], DURABILITY), release)
            upgrade.look(way)
            upgrade.wrong += tables.split(COINS) + tables.note()
            if way == "up":
                upgrade.stays("held")
                upgrade.wrong += tables.split_index(goes=False)
                if at == len(ways) - 1:
                    upgrade.version("--release")
                    upgrade.raised("up and released")
                    upgrade.wrong += tables.split_index(goes=True)
                    if not asked.control:
                        upgrade.keeps_out(NODES[2], old)
                        upgrade.begin(NODES[2], new)
                        later = one_after(new, folder / "release after")
                        upgrade.replace(EVERY, later)
                        upgrade.raised("the release after this one")
                        upgrade.ends(NODES[1], new)
                        upgrade.begin(NODES[1], later)
        stop.set()
        for thread in (*writers, *readers, *tables.threads):
            thread.join(60)
        upgrade.wrong += tables.wrong() + tables.restored()
        upgrade.verify()
        missing = lost(cluster, writers)
        errors = [error for one in (*writers, *readers, *tables.threads) for error in one.errors]
        backwards = [one for reader in readers for one in reader.backwards]
        print(
            f"{' and '.join(ways)} from {asked.commit[:8]} in {time.monotonic() - began:.0f} s: {sum(one.count for one in writers)} writes acknowledged, {missing} lost or wrong, "
            f"{sum(one.count for one in readers)} reads, {len(backwards)} back in time, {tables.keeper.count} changes of items with an index, a stream and a time to live, {tables.splits} splits, "
            f"{sum(one.count for one in tables.bankers)} transactions, {sum(one.looked for one in tables.bankers)} sums of all accounts; {len(errors)} errors of clients {errors[:3]}; processes: {upgrade.refused or 'all ended with 0'}"
        )
        for line in upgrade.wrong:
            print(line)
        return 2 if missing or backwards or upgrade.wrong else 3 if errors or upgrade.refused else 0


if __name__ == "__main__":
    sys.exit(main())
