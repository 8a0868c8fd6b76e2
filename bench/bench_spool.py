"""What a row file costs on its way to a node: MB/s from a coordinator's disk into the node's spool, by value in one process and through frames; and the peak of memory.

    python -m bench.bench_spool [--mib 256] [--rounds 5]

Beside it: the same bytes copied by the file system, chunk by chunk. Files on the disk of the folder for temporary files; nothing is synced, as in the product.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.port_codec import decode_request, decode_said, encode_request, encode_said
from scrubjay.storage.node.spool import Spool

NODE, P = NodeName("n1"), PartitionId("00000000-0000-4000-8000-000000000001")


class SpoolPort:
    """A node of which only the spool is asked. frames: requests and answers go through their codec."""

    name, number = NODE, 1

    def __init__(self, env: Env, spool: Spool, *, frames: bool) -> None:
        self._env, self.spool, self._frames = env, spool, frames

    def ask(self, request: Any, done: Callable[[Any], None], *, timeout_s: float = 10.0) -> None:
        del timeout_s
        self._env.tasks.spawn(self._answer(request, done), name="ask")

    async def _answer(self, request: Any, done: Callable[[Any], None]) -> None:
        if self._frames:
            request = decode_request(encode_request(1, 1_000_000, request)).request
        answer: Any
        try:
            if isinstance(request, messages.Receive):
                answer = messages.Receiving(self.spool.receive(request.size))
            else:
                answer = messages.Received(await self.spool.chunk(request.spooled, request.offset, request.data, request.crc))
        except ScrubjayError as error:
            answer = error
        if self._frames:
            answer = decode_said(encode_said(1, answer)).answer
        done(answer)


async def measure(folder: Path, mib: int, rounds: int) -> None:
    env = Env(RealClock(), RealRand(), AsyncTasks())
    disk = RealDisk(folder / "data")
    with open(folder / "data" / "rows", "wb") as file:
        file.writelines(os.urandom(1 << 20) for _ in range(mib))
    spool = Spool(env, RealDisk(folder / "node"))

    async def through(*, frames: bool) -> None:
        port: Any = SpoolPort(env, spool, frames=frames)
        spool.discard(await Asking(env, {NODE: port}, limit_s=600.0).bring(NODE, P, disk, "rows"))

    async def copied() -> None:
        with open(folder / "data" / "rows", "rb") as source, open(folder / "copy", "wb") as target:
            while data := source.read(messages.CHUNK_BYTES):
                target.write(data)

    ways: dict[str, Callable[[], Any]] = {
        "by value": lambda: through(frames=False),
        "in frames": lambda: through(frames=True),
        "copied": copied,
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds):
        for name, way in list(ways.items())[:: -1 if round_ % 2 else 1]:
            began = time.perf_counter()
            await way()
            took[name].append(mib * (1 << 20) / 1e6 / (time.perf_counter() - began))
    for name, rates in took.items():
        print(f"{name:12} median {statistics.median(rates):7.0f} MB/s  best {max(rates):7.0f}")
    print(
        f"memory grew by {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.1f} MiB at its peak, the file has {mib} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), options.mib, options.rounds))


if __name__ == "__main__":
    main()
