"""Processes of their own on the wire: one is stopped, goes on, is killed and comes back; the other is served all the while."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scrubjay.base import peer_link
from scrubjay.base.env import Env
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import CHANNELS, Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.real.rand import RealRand
from tests.fixtures import child, peer_process

pytestmark = pytest.mark.process
HOST = "127.0.0.1"


class Here:
    """This process's end, and what came back from each peer."""

    def __init__(self, tasks: AsyncTasks, folder: Path) -> None:
        self.folder = folder
        self.echoes: dict[str, int] = {}
        self.port = 0
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.net = PeerNet(
            Env(RealClock(), RealRand(), tasks),
            name=NodeName("a"),
            hello=lambda: Hello("c", "node", "a"),
            admit=lambda hello, life: None,
            refused=lambda name, error: None,
            log=lambda line: None,
        )
        self.net.network.listen(self._echoed)

    def _echoed(self, sender: NodeName, frame: bytes) -> None:
        self.echoes[sender] = self.echoes.get(sender, 0) + 1

    async def start(self, name: str, port: int = 0) -> int:
        """A child; returns its port."""
        log = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.log"
        command = [sys.executable, "-m", "tests.fixtures.peer_process", name, str(port), "a", str(self.port)]
        self.children[name] = child.start(command, log=log, env=dict(os.environ), cwd=Path(__file__).parents[3])
        await self.until(lambda: log.read_text().partition("\n")[1])
        return int(log.read_text().partition("\n")[0])

    def up(self, name: str) -> bool:
        return sum(one.up for one in self.net.links() if one.name == name) == 2 * len(CHANNELS)

    def down(self, name: str) -> bool:
        return not any(one.up for one in self.net.links() if one.name == name)

    async def until(self, claim: Callable[[], object], *, seconds: float = 20.0) -> float:
        """How long it took."""
        began = time.monotonic()
        while not claim():
            assert time.monotonic() < began + seconds, "not in time"
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def echo(self, name: str) -> float:
        """Seconds there and back."""
        before = self.echoes.get(name, 0)
        self.net.network.send(NodeName(name), b"x" * 200)
        return await self.until(lambda: self.echoes.get(name, 0) > before)

    async def close(self) -> None:
        for one in self.children.values():
            one.kill()
            one.wait()
        await self.net.close()


def test_a_peer_that_is_stopped_or_killed_slows_nobody_and_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # setattr first, so that what is hurried is put back
    monkeypatch.setattr(peer_link, "PING_S", peer_link.PING_S)
    monkeypatch.setattr(peer_link, "SILENCE_S", peer_link.SILENCE_S)
    peer_process.hurried()

    async def main(tasks: AsyncTasks) -> None:
        here = Here(tasks, tmp_path)
        try:
            here.port = await here.net.listen(HOST, 0)
            ports = {name: await here.start(name) for name in ("b", "c")}
            for name, port in ports.items():
                here.net.dial(NodeName(name), HOST, port)
            await here.until(lambda: here.up("b") and here.up("c"))
            await here.echo("c")

            here.children["c"].send_signal(signal.SIGSTOP)
            lane, delays = here.net.lane(NodeName("c")), []
            while not here.down("c"):
                here.net.network.send(NodeName("c"), bytes(1 << 18))
                delays.append(await here.echo("b"))
                assert len(delays) < 5000, "a stopped peer is never found"
            assert sorted(delays)[len(delays) // 2] < 0.1
            assert here.up("b")
            assert not lane.send(b"x")

            here.children["c"].send_signal(signal.SIGCONT)
            await here.until(lambda: here.up("c"))
            await here.echo("c")

            here.children["c"].kill()
            here.children["c"].wait()
            await here.until(lambda: here.down("c"), seconds=5)
            await here.start("c", ports["c"])
            await here.until(lambda: here.up("c"))
            await here.echo("c")
            assert here.up("b")
        finally:
            await here.close()

    run(main)
