"""What the API itself costs, on the in-memory model: CPU per request without sockets, and requests per second over HTTP.

    python -m bench.bench_api [--connections 64] [--seconds 3] [--cpu-only] [--slow 1000]

--slow N: reads measured alone and beside N connections that trickle a header each (a slow-loris), instead of everything else.

The client runs in a process of its own and keeps one request in flight on each connection. Figures are for the machine they are taken on; give them
with the command, the machine and their spread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import time
from typing import Any

import uvloop

from scrubjay.base.http_values import Request
from scrubjay.storage.api.api import DynamoApi
from tests.api_server import ApiServer, request_headers

TABLE = "bench"
ITEM = {
    "pk": {"S": "customer#0000000000"},
    "sk": {"S": "order#2026-11-22T15:00:00Z"},
    **{f"attribute{index}": {"S": "x" * 60} for index in range(10)},
    "amount": {"N": "1234.56"},
    "count": {"N": "17"},
    "paid": {"BOOL": True},
    "tags": {"SS": ["a", "b", "c"]},
}
"""About 900 bytes."""


def bodies(operation: str, count: int) -> list[bytes]:
    made = []
    for index in range(count):
        key = {"pk": {"S": f"customer#{index:010}"}, "sk": ITEM["sk"]}
        if operation == "PutItem":
            request: dict[str, Any] = {"TableName": TABLE, "Item": {**ITEM, **key}}
        elif operation == "GetItem":
            request = {"TableName": TABLE, "Key": key, "ConsistentRead": True}
        elif operation == "UpdateItem":
            request = {
                "TableName": TABLE,
                "Key": key,
                "UpdateExpression": "SET #c = #c + :one",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeNames": {"#c": "count"},
                "ExpressionAttributeValues": {":one": {"N": "1"}},
            }
        else:
            request = {"TableName": TABLE, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": key["pk"]}}
        made.append(json.dumps(request).encode())
    return made


OPERATIONS = ("PutItem", "GetItem", "UpdateItem", "Query")


def cpu_per_request(api: DynamoApi, operation: str, *, count: int = 3000, rounds: int = 5) -> tuple[float, float]:
    """(median, worst) CPU microseconds of `api.handle`, in the server's thread."""
    headers = {name.lower(): value for name, value in request_headers(operation).items()}
    requests = [Request("POST", "/", "", headers, body) for body in bodies(operation, count)]
    statuses: list[int] = []

    def respond(status: int, headers: Any, body: bytes) -> None:
        statuses.append(status)

    took = []
    for _ in range(rounds):
        statuses.clear()
        started = time.process_time()
        for request in requests:
            api.handle(request, respond)
        took.append((time.process_time() - started) / count * 1e6)
        assert statuses == [200] * count, statuses[:3]
    return statistics.median(took), max(took)


class _Client(asyncio.Protocol):
    """One connection with one request in flight. Answers are not parsed beyond their length."""

    def __init__(self, messages: list[bytes], start: int, times: list[float]) -> None:
        self.messages = messages
        self.at = start
        self.times = times
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.messages[self.at % len(self.messages)])
        self.at += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        at = self.buffer.find(b"Content-Length: ", 0, head_end)
        length = int(self.buffer[at + 16 : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) < head_end + 4 + length:
            return
        assert self.buffer.startswith(b"HTTP/1.1 200"), self.buffer[:300]
        self.buffer = b""
        self.times.append(time.perf_counter() - self.sent)
        self.send()


def _drive(port: int, operation: str, connections: int, seconds: float, result: Any) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in request_headers(operation).items())
    messages = [
        f"POST / HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
        for body in bodies(operation, 2000)
    ]

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        for index in range(connections):
            await loop.create_connection(lambda index=index: _Client(messages, index * 31, times), "127.0.0.1", port)
        await asyncio.sleep(0.3)
        times.clear()
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        return [time.perf_counter() - started, *times]

    took, *times = uvloop.run(run())
    times.sort()
    result.put((len(times) / took, times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000))


def _trickle(port: int, connections: int, ready: Any, stop: Any) -> None:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for peer in peers:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
    ready.set()
    while not stop.wait(1.0):
        for index, peer in enumerate(peers):
            try:
                peer.sendall(b"X-Slow: y\r\n")
            except OSError:
                # the server ended it, as it should: come back
                peer.close()
                peers[index] = socket.create_connection(("127.0.0.1", port))
                peers[index].sendall(b"POST / HTTP/1.1\r\n")


def _measure(port: int, operation: str, connections: int, seconds: float) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    result: Any = context.Queue()
    process = context.Process(target=_drive, args=(port, operation, connections, seconds, result))
    process.start()
    figures: tuple[float, float, float] = result.get()
    process.join()
    return figures


def _beside_slow_ones(server: ApiServer, slow: int, connections: int, seconds: float) -> None:
    def show(label: str) -> None:
        rate, p50, p99 = _measure(server.port, "GetItem", connections, seconds)
        print(f"GetItem {label:<28} {rate:8.0f} a second at {connections} connections, p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)

    server.call(lambda: cpu_per_request(server.api, "PutItem", rounds=1))
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    show("alone")
    process = context.Process(target=_trickle, args=(server.port, slow, ready, stop))
    process.start()
    ready.wait()
    show(f"beside {slow} slow connections")
    stop.set()
    process.join()
    show("alone again")
    print(f"connections ended for being slow: {server.http.timed_out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--cpu-only", action="store_true")
    parser.add_argument("--slow", type=int, default=0)
    arguments = parser.parse_args()
    with ApiServer(backend_options={"wire": False}) as server:
        server.make_table(TABLE, "pk:S", "sk:S")
        if arguments.slow:
            _beside_slow_ones(server, arguments.slow, arguments.connections, arguments.seconds)
            return
        for operation in OPERATIONS:
            median, worst = server.call(lambda operation=operation: cpu_per_request(server.api, operation))
            print(f"{operation:<12} {median:6.1f} us CPU a request (worst round {worst:.1f})")
        if arguments.cpu_only:
            return
        for operation in OPERATIONS:
            rate, p50, p99 = _measure(server.port, operation, arguments.connections, arguments.seconds)
            print(f"{operation:<12} {rate:8.0f} a second at {arguments.connections} connections, p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
