"""Clients that write, read strongly and write on a condition, through nodes of their choice, and note what they asked and what they were told."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from random import Random
from typing import Any

from scrubjay.sim.checkers.history import FOREVER, HistoryOperation, Kind
from tests.integration.process.load import Connection, Reply

TABLE = "birds"
PATIENCE_S = 5.0
"""For one answer. Whoever waits no longer may still have written."""
PAUSE_S = 0.02
Address = tuple[str, int]


def now_us() -> int:
    return time.monotonic_ns() // 1000


def value_in(item: Mapping[str, Any] | None) -> int | None:
    return None if not item else int(item["v"]["N"])


class Client(threading.Thread):
    """One client, one request at a time. Each value it writes is nobody else's, nor written twice.

    nodes: where each node is asked. keys: how many there are. weak: reads are eventually consistent and noted as if they were not (the negative control).
    history: what is known of each request once it was answered or given up; what certainly had no effect and said nothing is left out.
    """

    def __init__(
        self, number: int, nodes: Mapping[str, Address], *, keys: int, seed: int, stop: threading.Event, weak: bool = False
    ) -> None:
        super().__init__(daemon=True, name=f"client {number}")
        self.history: list[HistoryOperation] = []
        self.refusals: dict[str, int] = {}
        self._number, self._nodes, self._keys, self._stopped, self._weak = number, dict(nodes), keys, stop, weak
        self._random = Random(f"{seed} {number}")
        self._node = sorted(nodes)[number % len(nodes)]
        self._connections: dict[str, Connection] = {}
        self._count = 0
        self._seen: dict[int, int | None] = {}

    def run(self) -> None:
        while not self._stopped.wait(self._random.uniform(0, 2 * PAUSE_S)):
            key = self._random.randrange(self._keys)
            chance = self._random.random()
            if chance < 0.5:
                answered = self.read(key)
            elif chance < 0.75:
                answered = self._write(key)
            else:
                answered = self._write_if(key)
            if not answered and self._random.random() < 0.5:
                self._node = self._random.choice(sorted(self._nodes))
        self.close()

    def close(self) -> None:
        """Its connections."""
        while self._connections:
            self._connections.popitem()[1].close()

    def read(self, key: int, *, at: str | None = None) -> bool:
        """Whether it was answered. at: through this node."""
        start = now_us()
        reply = self._ask("GetItem", {"Key": {"k": {"S": str(key)}}, "ConsistentRead": not self._weak}, at)
        if reply is None or reply.status != 200:
            return False
        self._note(key, Kind.READ, start, now_us(), value_in(reply.body.get("Item")))
        return True

    def _write(self, key: int) -> bool:
        value, start = self._fresh(), now_us()
        reply = self._ask("PutItem", {"Item": {"k": {"S": str(key)}, "v": {"N": str(value)}}})
        answered = reply is not None and reply.status == 200
        self._note(key, Kind.WRITE, start, now_us() if answered else FOREVER, value)
        return answered

    def _write_if(self, key: int) -> bool:
        """If what this client saw there last still stands there. A refusal says what does: it is noted as a read of that."""
        value, expected, start = self._fresh(), self._seen.get(key), now_us()
        names = {"ExpressionAttributeNames": {"#v": "v"}}
        condition = (
            {"ConditionExpression": "attribute_not_exists(#v)"}
            if expected is None
            else {"ConditionExpression": "#v = :v", "ExpressionAttributeValues": {":v": {"N": str(expected)}}}
        )
        item = {"Item": {"k": {"S": str(key)}, "v": {"N": str(value)}}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        reply = self._ask("PutItem", {**item, **names, **condition})
        if reply is not None and reply.kind == "ConditionalCheckFailedException":
            self._note(key, Kind.READ, start, now_us(), value_in(reply.body.get("Item")))
            return True
        answered = reply is not None and reply.status == 200
        self._note(key, Kind.CAS, start, now_us() if answered else FOREVER, value, expected=expected, ok=True if answered else None)
        return answered

    def _fresh(self) -> int:
        self._count += 1
        return self._number << 32 | self._count

    def _ask(self, operation: str, body: dict[str, Any], at: str | None = None) -> Reply | None:
        """None: no answer came."""
        node = at or self._node
        if node not in self._connections:
            host, port = self._nodes[node]
            self._connections[node] = Connection(port, host=host, timeout=PATIENCE_S)
        try:
            reply = self._connections[node].call(operation, {"TableName": TABLE, **body})
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connections.pop(node).close()
            self._refused(type(error).__name__)
            return None
        if reply.status != 200:
            self._refused(reply.kind)
        return reply

    def _refused(self, kind: str) -> None:
        self.refusals[kind] = self.refusals.get(kind, 0) + 1

    def _note(
        self, key: int, kind: Kind, start: int, end: int, value: int | None, *, expected: int | None = None, ok: bool | None = None
    ) -> None:
        id_ = self._number << 32 | len(self.history)
        self.history.append(HistoryOperation(id_, self._number, key, kind, start, end, value=value, expected=expected, ok=ok))
        if end < FOREVER:
            self._seen[key] = value
