"""What the wire between processes costs: CPU µs of one small frame, MB/s of large ones, and what these do to the small ones beside them.

    python -m bench.bench_wire [--seconds 3] [--tls]

Small frames go from one process's end to another's, as many as there are outstanding at once (--window), over `PeerNet` and over `LocalHub`, which hands them over inside the process;
the two take turns. Both ends run in this process, so a frame's CPU time is that of its sender and its receiver, and of the kernel. Then requests of 33 MB go over the bulk channel to a process of
its own, while frames of talk go there and back: their round trips, alone and beside the bulk.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from scrubjay.base import peer_wire as wire
from scrubjay.base.env import Env, Network
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.net import LocalHub
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.real.peer_tls import TlsFiles
from scrubjay.base.real.rand import RealRand

HOST = "127.0.0.1"
A, B = NodeName("a"), NodeName("b")
ROUNDS = 7
BULK_BYTES = 33_000_000


def certificate(folder: Path) -> TlsFiles:
    """One that is its own authority, and names the role."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return TlsFiles(cert, cert, secret)


def process(tasks: AsyncTasks, name: NodeName, tls: TlsFiles | None) -> PeerNet:
    return PeerNet(
        Env(RealClock(), RealRand(), tasks),
        name=name,
        hello=lambda: Hello("c", "node", name),
        admit=lambda hello: None,
        refused=lambda name, error: None,
        tls=tls,
        log=print,
    )


async def connected(net: PeerNet, links: int) -> None:
    while sum(one.up for one in net.links()) < links:
        await asyncio.sleep(0.01)


async def small(there: Network, back: Network, *, size: int, window: int, seconds: float) -> tuple[float, float]:
    """(CPU µs of a frame, frames a second): frames from a to b, each replaced when it arrived; one of each window is answered by nothing else than the next."""
    frame, ended = bytes(size), asyncio.get_running_loop().create_future()
    count, end = 0, time.perf_counter() + seconds

    def receive(sender: NodeName, data: bytes) -> None:
        nonlocal count
        count += 1
        if time.perf_counter() < end:
            there.send(B, frame)
        elif not ended.done():
            ended.set_result(None)

    back.listen(receive)
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(window):
        there.send(B, frame)
    await ended
    took, used = time.perf_counter() - began, time.process_time() - cpu
    await asyncio.sleep(0.05)
    return used / count * 1e6, count / took


def other(pipe: Connection, folder: Path | None) -> None:
    """The process at the other end: says back what it hears by talk, counts what it is asked."""

    async def main(tasks: AsyncTasks) -> None:
        net = process(tasks, B, None if folder is None else TlsFiles(folder / "cert.pem", folder / "cert.pem", folder / "key.pem"))
        net.network.listen(lambda sender, frame: net.network.send(A, frame))
        net.asked = lambda hello, data, reply: reply(b"had")
        pipe.send(await net.listen(HOST, 0))
        net.dial(A, HOST, pipe.recv())
        while not pipe.poll():
            await asyncio.sleep(0.05)
        await net.close()

    run(main)


async def round_trips(net: PeerNet, until: Callable[[], bool]) -> list[float]:
    """Milliseconds of frames of talk, there and back, one every two milliseconds."""
    loop, found = asyncio.get_running_loop(), []
    came: asyncio.Future[None] = loop.create_future()
    net.network.listen(lambda sender, frame: came.done() or came.set_result(None))
    while not until():
        came = loop.create_future()
        began = time.perf_counter()
        net.network.send(B, bytes(200))
        async with asyncio.timeout(20):
            await came
        found.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.002)
    return found


def quantiles(found: list[float]) -> str:
    found = sorted(found)
    return f"p50 {statistics.median(found):6.2f}  p99 {found[int(len(found) * 0.99)]:6.2f}  worst {found[-1]:6.2f} ms  ({len(found)})"


async def beside_bulk(tasks: AsyncTasks, folder: Path | None, seconds: float) -> None:
    mine, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=other, args=(theirs, folder), daemon=True)
    child.start()
    tls = None if folder is None else TlsFiles(folder / "cert.pem", folder / "cert.pem", folder / "key.pem")
    net = process(tasks, A, tls)
    port = await tasks.blocking(mine.recv)
    mine.send(await net.listen(HOST, 0))
    net.dial(B, HOST, port)
    await connected(net, 6)
    end = time.perf_counter() + seconds
    alone = await round_trips(net, lambda: time.perf_counter() > end)
    lane, had, body = net.lane(B, bulk=True), 0, bytes(BULK_BYTES)

    def heard(data: bytes | bytearray) -> None:
        nonlocal had
        had += 1
        lane.send(body)

    lane.heard = heard
    lane.send(body)
    began = time.perf_counter()
    end = began + seconds
    beside = await round_trips(net, lambda: time.perf_counter() > end)
    rate = had * BULK_BYTES / 1e6 / (time.perf_counter() - began)
    print(f"bulk: {rate:.0f} MB/s in frames of {BULK_BYTES / 1e6:.0f} MB, one at a time, to a process of its own")
    print(f"talk, there and back, alone:       {quantiles(alone)}")
    print(f"talk, there and back, beside bulk: {quantiles(beside)}")
    mine.send(None)
    await net.close()
    await tasks.blocking(lambda: child.join(5))


async def main(tasks: AsyncTasks, seconds: float, folder: Path | None) -> None:
    tls = None if folder is None else TlsFiles(folder / "cert.pem", folder / "cert.pem", folder / "key.pem")
    hub = LocalHub(tasks)
    near = (hub.attach(A), hub.attach(B))
    a, b = process(tasks, A, tls), process(tasks, B, tls)
    a.dial(B, HOST, await b.listen(HOST, 0), channels=[wire.TALK_CHANNEL])
    await connected(a, 1)
    for size, window in ((200, 1), (200, 64), (4096, 16)):
        found: dict[str, list[tuple[float, float]]] = {"wire": [], "hub": []}
        for _ in range(ROUNDS):
            found["wire"].append(await small(a.network, b.network, size=size, window=window, seconds=seconds / ROUNDS / 4))
            found["hub"].append(await small(*near, size=size, window=window, seconds=seconds / ROUNDS / 4))
        for name, one in found.items():
            micros, rate = statistics.median(cpu for cpu, _ in one), statistics.median(rate for _, rate in one)
            best = min(cpu for cpu, _ in one)
            print(f"{size:5} bytes, {window:2} under way, {name:4}: {micros:6.2f} µs CPU a frame (best {best:.2f}), {rate:9,.0f} frames/s")
    for net in (a, b):
        await net.close()
    await beside_bulk(tasks, folder, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if options.tls:
            certificate(Path(made))
        whole: Callable[[AsyncTasks], Awaitable[None]] = lambda tasks: main(tasks, options.seconds, Path(made) if options.tls else None)  # noqa: E731
        run(whole)  # type: ignore[arg-type]
