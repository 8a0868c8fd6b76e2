"""Writers over raw HTTP, and the ledger of what they were told: outside the store, so that it cannot forget with it.

Every key has one writer, so the order of its writes is known. A write is sent, then acknowledged with its effective time, or its outcome stays
unknown (the connection broke, an answer of 5xx). From that follows which states a key may be in, now or as of any instant.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.fixtures.process import ScrubjayServer

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
    f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}",
}
Item = dict[str, Any]
REFUSED_MAX = 3
"""One may be: what is under way when leadership moves, which a machine that stands still for longer than a lease makes it do, has no known outcome."""
NOTHING = "null"
"""State of a key that has no item. States are canonical JSON, so that they can be in sets."""


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]
    effective_us: int | None

    @property
    def kind(self) -> str:
        return str(self.body.get("__type", "")).rpartition("#")[2]


class Connection:
    """One keep-alive connection. `call` raises OSError or HTTPException when the answer did not come."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", timeout: float = 30) -> None:
        self._http = http.client.HTTPConnection(host, port, timeout=timeout)

    def call(self, operation: str, body: dict[str, Any]) -> Reply:
        self._http.request("POST", "/", json.dumps(body), _HEADERS | {"X-Amz-Target": f"DynamoDB_20120810.{operation}"})
        answer = self._http.getresponse()
        content = answer.read()
        stamp = answer.getheader("x-scrubjay-timestamp")
        return Reply(answer.status, json.loads(content), None if stamp is None else micros(stamp))

    def steadily(self, operation: str, body: dict[str, Any]) -> Reply:
        """`call`, and again after a 5xx as SDKs do: for what may be made twice, where a refusal is not the test's matter."""
        for _ in range(5):
            reply = self.call(operation, body)
            if reply.status < 500:
                return reply
            time.sleep(0.2)
        return self.call(operation, body)

    def get(self, path: str) -> tuple[int, str]:
        self._http.request("GET", path)
        answer = self._http.getresponse()
        return answer.status, answer.read().decode()

    def close(self) -> None:
        self._http.close()


def micros(text: str) -> int:
    """Of an RFC 3339 time in UTC."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def rfc3339(us: int) -> str:
    """As the command line takes it."""
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{us % 1_000_000:06d}Z"


def now_us() -> int:
    return time.time_ns() // 1000


def state(item: Item | None) -> str:
    """Canonical text of an item without its key."""
    return NOTHING if item is None else json.dumps({name: item[name] for name in sorted(item) if name != "k"}, sort_keys=True)


@dataclass
class Write:
    """kind: put | add | delete | seen (a read that settled which state the key is in). effective_us: None while unknown."""

    kind: str
    number: int
    sent_us: int
    effective_us: int | None = None
    refused: bool = False
    seen: str = NOTHING


def after(before: set[str], write: Write) -> set[str]:
    """States a key may be in once `write` took effect."""
    if write.kind == "delete":
        return {NOTHING}
    if write.kind == "seen":
        return {write.seen}
    if write.kind == "put":
        return {state(body(write.number, 0))}
    changed = set()
    for text in before:
        old = json.loads(text)
        counter = 0 if old is None else int(old["c"]["N"])
        new = body(write.number, counter + 1) if old is None else old | {"c": {"N": str(counter + 1)}, "n": {"N": str(write.number)}}
        if old is None:
            del new["v"]
        changed.add(state(new))
    return changed


def body(number: int, counter: int) -> Item:
    return {"n": {"N": str(number)}, "c": {"N": str(counter)}, "v": {"S": f"value {number} " + "v" * (number * 37 % 300)}}


@dataclass
class Ledger:
    """Every write, by key, in the order its one writer sent them."""

    writes: dict[str, list[Write]] = field(default_factory=dict)

    def possible(self, key: str, at_us: int | None = None) -> set[str]:
        """States `key` may be in now, or as of `at_us` (inclusive)."""
        states = {NOTHING}
        for write in self.writes.get(key, ()):
            if write.refused:
                continue
            if write.effective_us is not None:
                if at_us is None or write.effective_us <= at_us:
                    states = after(states, write)
            elif at_us is None or write.sent_us <= at_us:
                states = states | after(states, write)
        return states

    def compare(self, found: dict[str, Item], at_us: int | None = None) -> list[str]:
        """Both ways: what is lacking, different, extra. Empty: as promised."""
        wrong = []
        for key in sorted({*self.writes, *found}):
            actual, allowed = state(found.get(key)), self.possible(key, at_us)
            if actual not in allowed:
                wrong.append(
                    f"{key}: found {actual[:120]}, may be {[text[:120] for text in sorted(allowed)]}, writes {self.writes.get(key, [])[-4:]}"
                )
        return wrong

    def settle(self, found: dict[str, Item]) -> None:
        """What a strong read showed is what it is from now on (call with no writer running); as of an instant before, it stays unknown."""
        at = now_us()
        for key, writes in self.writes.items():
            if any(write.effective_us is None and not write.refused for write in writes):
                writes.append(Write("seen", 0, at, effective_us=at, seen=state(found.get(key))))

    @property
    def acknowledged(self) -> int:
        return sum(write.effective_us is not None for writes in self.writes.values() for write in writes)


class Writers:
    """Threads with a connection each and keys of their own; `with` starts and stops them. Each stops by itself when its connection breaks."""

    def __init__(
        self, ledger: Ledger, port: int, *, table: str, threads: int = 6, keys: int = 30, first: int = 0, keep_on: bool = False
    ) -> None:
        """first: number of the first write, so that no two rounds write the same. keep_on: however many of a writer's writes are refused (5xx) in a row, it goes on;
        else it gives up at REFUSED_MAX of them."""
        self.ledger, self._port, self._table = ledger, port, table
        self._keys, self._first, self._keep_on = keys, first, keep_on
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]
        self.answered = 0
        self.refusals: list[Reply] = []
        self.surprises: list[str] = []

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    def until(self, count: int, *, timeout: float = 60) -> None:
        """Wait until `count` writes were answered."""
        deadline = time.monotonic() + timeout
        while self.answered < count:
            assert time.monotonic() < deadline, f"{self.answered} of {count} writes answered in {timeout} s"
            time.sleep(0.01)

    def _run(self, thread: int) -> None:
        with contextlib.closing(Connection(self._port)) as connection:
            self._write(thread, connection)

    def _write(self, thread: int, connection: Connection) -> None:
        number = self._first + thread
        turn = in_a_row = 0
        while not self._stop.is_set():
            key = f"t{thread}-{turn * 7 % self._keys}"
            kind = ("put", "add", "add", "put", "delete", "add")[turn % 6 if turn >= self._keys else 0]
            write = Write(kind, number, now_us())
            self.ledger.writes.setdefault(key, []).append(write)
            try:
                reply = connection.call(*self._request(key, write))
            except (OSError, http.client.HTTPException, ValueError):
                return
            in_a_row = in_a_row + 1 if reply.status >= 500 else 0
            if reply.status == 200:
                write.effective_us = reply.effective_us
                if reply.effective_us is None:
                    # the delete of what is not there, an update that changes nothing: it had no effect of its own
                    write.refused = True
                    if kind != "delete":
                        self.surprises.append(f"{kind} of {key} answered without a time")
            elif reply.status >= 500:
                self.refusals.append(reply)
                if not self._keep_on and in_a_row >= REFUSED_MAX:
                    return
            else:
                self.surprises.append(f"{reply.status} {reply.body}")
                return
            self.answered += 1
            number += len(self._threads)
            turn += 1

    def _request(self, key: str, write: Write) -> tuple[str, dict[str, Any]]:
        name = {"k": {"S": key}}
        if write.kind == "put":
            return "PutItem", {"TableName": self._table, "Item": name | body(write.number, 0)}
        if write.kind == "delete":
            return "DeleteItem", {"TableName": self._table, "Key": name}
        return "UpdateItem", {
            "TableName": self._table,
            "Key": name,
            "UpdateExpression": "ADD c :one SET n = :n",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":n": {"N": str(write.number)}},
        }


def make_table(port: int, table: str, *, sort: bool = False) -> None:
    """Create `table` (key k, and r if sort) and wait until it is ACTIVE."""
    keys = [("k", "HASH"), ("r", "RANGE")][: 1 + sort]
    with contextlib.closing(Connection(port)) as connection:
        made = connection.steadily(
            "CreateTable",
            {
                "TableName": table,
                "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )
        assert made.status == 200 or made.kind == "ResourceInUseException", made  # made by a try whose answer was lost
        deadline = time.monotonic() + 30
        while connection.call("DescribeTable", {"TableName": table}).body.get("Table", {}).get("TableStatus") != "ACTIVE":
            assert time.monotonic() < deadline
            time.sleep(0.02)


def put(port: int, table: str, items: list[Item]) -> int:
    """Put every item; the last effective time."""
    last = 0
    with contextlib.closing(Connection(port)) as connection:
        for item in items:
            reply = connection.steadily("PutItem", {"TableName": table, "Item": item})
            assert reply.status == 200, reply
            assert reply.effective_us is not None
            last = reply.effective_us
    return last


def proven(server: ScrubjayServer, table: str, at_us: int) -> bool:
    """The archive proves the table as of that moment. That nothing is unarchived does not say so: what is archived is closed a little later, on a slow machine
    seconds later, and until then `--latest` means a moment before it."""
    code, report = server.asked("archive/status", table=table)
    return code == 0 and (report["tables"][0]["window"]["latest"] or "") >= rfc3339(at_us)


def scan(port: int, table: str, *, strong: bool = True) -> list[Item]:
    """Every item."""
    return list(_pages(port, "Scan", {"TableName": table, "ConsistentRead": strong}))


def query(port: int, table: str, key: str, *, strong: bool = True) -> list[Item]:
    """Every item of a partition key."""
    return list(
        _pages(
            port,
            "Query",
            {
                "TableName": table,
                "ConsistentRead": strong,
                "KeyConditionExpression": "k = :k",
                "ExpressionAttributeValues": {":k": {"S": key}},
            },
        )
    )


def _pages(port: int, operation: str, request: dict[str, Any]) -> Iterator[Item]:
    with contextlib.closing(Connection(port)) as connection:
        while True:
            reply = connection.steadily(operation, request)
            assert reply.status == 200, reply
            yield from reply.body["Items"]
            if "LastEvaluatedKey" not in reply.body:
                return
            request["ExclusiveStartKey"] = reply.body["LastEvaluatedKey"]


def by_key(items: list[Item]) -> dict[str, Item]:
    found = {item["k"]["S"]: item for item in items}
    assert len(found) == len(items), "a key twice"
    return found


def live_in_session(leader: int) -> list[int]:
    """Processes of the session of process `leader` that still run: its workers, when it is gone."""
    found = []
    for entry in _numbers():
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX" and entry != leader:
            found.append(entry)
    return found


def _numbers() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
