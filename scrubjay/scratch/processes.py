"""A scratch cluster of four processes, as `make cluster` starts one: three storage nodes in three zones, and the durability process. Each dies with whoever started it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Unavailable
from scrubjay.base.real.free_ports import free_ports
from scrubjay.machine import monotonic_s, pause
from scrubjay.output import DONE, INCOMPLETE
from scrubjay.scratch.server import READY_S, VERB_S, Served, clean_environment, verb

NODES = ("n1", "n2", "n3")
DURABILITY = "durability"
ARCHIVED_S = 40.0
"""How long a planned stop lets the archive take, before it stops the nodes all the same."""
POLL_S = 0.25


class Processes:
    """The cluster. folder: holds `data/` and each process's two output files. settings: `section.key=value`, of all of them. endpoint: the durability process's, which answers
    everything and is not killed."""

    def __init__(self, folder: Path, *, archive: str | None, settings: Sequence[str]) -> None:
        self.folder, self.data = folder, folder / "data"
        self.archive_url = archive or (self.data / "archive").as_uri()
        self._file = folder / "cluster.toml"
        self._settings = settings
        self._served: dict[str, Served] = {}

    @property
    def endpoint(self) -> str:
        return self._served[DURABILITY].endpoint

    @property
    def node_folders(self) -> Sequence[Path]:
        """Data folders of nodes."""
        return [self.data / name for name in NODES]

    def start(self) -> None:
        """Start all, found the cluster, and wait until each serves. Raises Unavailable with the end of the log of whoever does not."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._written(free_ports(2 * len(NODES) + 1)), encoding="utf-8")
        for name in NODES:
            self._serve(name, "--role", "node", "--name", name)
        self._serve(DURABILITY, "--role", DURABILITY)
        self._found()
        for served in self._served.values():
            served.ready()

    def _written(self, ports: Sequence[int]) -> str:
        """The file of the cluster."""

        def lines() -> Iterator[str]:
            yield f"[cluster]\nmetadata = {json.dumps(NODES)}"
            for number, name in enumerate(NODES):
                yield f'[nodes.{name}]\nzone = "z{number + 1}"\ndata = {json.dumps(str(self.data / name))}'
                yield f'listen = "127.0.0.1:{ports[2 * number]}"\npeer = "127.0.0.1:{ports[2 * number + 1]}"'
            yield f'[durability]\nlisten = "127.0.0.1:{ports[-1]}"\ndata = {json.dumps(str(self.data / DURABILITY))}'
            yield f"[archive]\nurl = {json.dumps(self.archive_url)}"

        return "\n".join(lines()) + "\n"

    def _serve(self, name: str, *role: str) -> None:
        command = ["serve", "--config", str(self._file), *role]
        for setting in self._settings:
            command += ["--set", setting]
        self._served[name] = Served(self.folder, command, name=name)
        self._served[name].begin()

    def _found(self) -> None:
        deadline = monotonic_s() + READY_S
        while True:
            code, document = verb(self.folder, ["cluster", "init", "--config", str(self._file)], environment=clean_environment())
            if code == DONE:
                return
            for name, served in self._served.items():
                if served.process is not None and (left := served.process.poll()) is not None:
                    raise Unavailable(f"{name} left with {left}: {served.tail()}", exit=left)
            if monotonic_s() > deadline:
                raise Unavailable(f"the cluster could not be founded: {document['error']}", exit=code)
            pause(POLL_S)

    def verb(self, *words: str, within_s: float = VERB_S) -> tuple[int, dict[str, Any]]:
        """Run `scrubjay WORDS --json` against the cluster. Raises Unavailable."""
        return verb(self.folder, words, environment=clean_environment({"SCRUBJAY_ENDPOINT": self.endpoint}), timeout_s=within_s)

    def leader_of(self, table: str) -> str | None:
        """The node that leads most partitions of a table, as `cluster status` says; None: none leads one."""
        _, status = self.verb("cluster", "status")
        leaders = Counter(one["leader"] for one in status["partitions"] if one["table"] == table and one["leader"])
        return min(leaders, key=lambda name: (-leaders[name], name)) if leaders else None

    def kill(self, name: str) -> None:
        """SIGKILL one process, and wait until it has gone."""
        self._served[name].kill()

    def start_again(self, name: str) -> None:
        """Start a process that is gone, with its folder, and wait until it serves. Raises Unavailable."""
        self._served[name].start()

    def whole(self) -> bool:
        """Every partition has a leader, and every copy is whole and lacks nothing."""
        code, status = self.verb("cluster", "status")
        return code == DONE and not any(copy["lag"] for one in status["partitions"] for copy in one["members"])

    def stop(self) -> int | None:
        """Wait for the archive (at most ARCHIVED_S), then `close`: 0, or 3 where something of a table is in the logs alone, or how the first of another mind left; None: nothing ran."""
        archived = self._wait(self._archived)
        codes = self.close()
        odd = [code for code in codes if code not in (DONE, INCOMPLETE)]
        return None if not codes else odd[0] if odd else DONE if archived else INCOMPLETE

    def close(self) -> Sequence[int]:
        """SIGTERM to all at once, and wait; how each left. SIGKILL for who does not leave."""
        running = [served for served in self._served.values() if served.process is not None]
        for served in running:
            served.ask_to_stop()
        return [code for served in running if (code := served.stop()) is not None]

    def _archived(self) -> bool:
        """What the cluster notes of itself never stands still: it is not waited for."""
        with suppress(Unavailable):
            _, status = self.verb("archive", "status")
            return not any(one["unarchived_bytes"] for one in status["tables"] if not one["table"].startswith("_"))
        return False

    def _wait(self, holds: Callable[[], bool]) -> bool:
        deadline = monotonic_s() + ARCHIVED_S
        while not holds():
            if monotonic_s() > deadline:
                return False
            pause(POLL_S)
        return True
