"""Puts and strong gets per second of `serve --dev`, with p50 and p99, over raw HTTP on kept connections (no SDK, no signature arithmetic).

    .venv/bin/python -m bench.bench_requests [--connections 64] [--seconds 5] [--item-bytes 900]

Starts its own server in a temporary folder, and the load generator as one process beside it: on two cores they share the machine, as LIBRARIES' skeleton did.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

AUTH = (
    "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64
)


def request(operation: str, body: bytes) -> bytes:
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nAuthorization: {AUTH}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the last is whole."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.buffer = bytearray()
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        if time.perf_counter() >= self.load.until:
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(self.load.next())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None])
        if len(self.buffer) < end + 4 + length:
            return
        if not head.startswith(b"http/1.1 200"):
            self.load.errors += 1
            self.load.sample = bytes(self.buffer[:400])
        self.load.times.append(time.perf_counter() - self.sent_at)
        self.buffer.clear()
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.ended()


class Load:
    def __init__(self, operation: str, *, seconds: float, item_bytes: int, keys: int, table: str) -> None:
        self.operation, self.item_bytes, self.keys, self.table = operation, item_bytes, keys, table
        self.times: list[float] = []
        self.errors = 0
        self.sample = b""
        self.until = time.perf_counter() + seconds
        self.random = random.Random(1)
        self.filler = "x" * max(0, item_bytes - 60)
        self.open = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes:
        key = f"k{self.random.randrange(self.keys):08d}"
        if self.operation == "PutItem":
            body = json.dumps({"TableName": self.table, "Item": {"id": {"S": key}, "n": {"N": "1"}, "v": {"S": self.filler}}})
        else:
            body = json.dumps({"TableName": self.table, "Key": {"id": {"S": key}}, "ConsistentRead": True})
        return request(self.operation, body.encode())

    def ended(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


async def one(
    port: int, operation: str, *, connections: int, seconds: float, item_bytes: int, keys: int, table: str = "bench"
) -> dict[str, float]:
    load = Load(operation, seconds=seconds, item_bytes=item_bytes, keys=keys, table=table)
    loop = asyncio.get_running_loop()
    load.open = connections
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
    await load.done
    took = time.perf_counter() - began
    times = sorted(load.times)
    if load.errors:
        sys.stderr.write(f"{load.errors} errors, for example {load.sample!r}\n")
    return {
        "per_second": round(len(times) / took),
        "p50_ms": round(statistics.median(times) * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
        "errors": load.errors,
    }


async def call(port: int, operation: str, body: dict[str, object]) -> dict[str, object]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(operation, json.dumps(body).encode()))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r")[0])
    answer: dict[str, object] = json.loads(await reader.readexactly(length))
    writer.close()
    return answer


async def measure(port: int, options: argparse.Namespace) -> dict[str, object]:
    await call(
        port,
        "CreateTable",
        {
            "TableName": "bench",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    while True:
        table = (await call(port, "DescribeTable", {"TableName": "bench"}))["Table"]
        if table["TableStatus"] == "ACTIVE":  # type: ignore[index]
            break
        await asyncio.sleep(0.1)
    shape = {"connections": options.connections, "seconds": options.seconds, "item_bytes": options.item_bytes, "keys": options.keys}
    return {
        "shape": shape,
        "put": await one(port, "PutItem", **shape),
        "strong_get": await one(port, "GetItem", **shape),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--item-bytes", type=int, default=900)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=0, help="of a server that runs already")
    options = parser.parse_args()
    if options.port:
        print(json.dumps(uvloop.run(measure(options.port, options)), indent=2))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCRUBJAY_LOG": "error"}) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            try:
                print(json.dumps(uvloop.run(measure(port, options)), indent=2))
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)
        assert Path(folder).exists()


if __name__ == "__main__":
    main()
