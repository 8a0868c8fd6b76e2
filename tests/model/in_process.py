"""The real API over the in-memory store, without sockets: requests go into `DynamoApi.handle` as text, answers come out as text."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.http_values import Request
from scrubjay.storage.api.api import DynamoApi
from tests.api_server import request_headers
from tests.fixtures.memory_backend import MemoryBackend
from tests.model import generate
from tests.model.dynamo_model import Item

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Clock:
    def wall_us(self) -> int:
        return 1_780_000_000_000_000

    def boot_us(self) -> int:
        return 1


class _Rand:
    def __init__(self) -> None:
        self.last = 0

    def u64(self) -> int:
        self.last += 1
        return self.last

    def bytes(self, count: int) -> bytes:
        return self.u64().to_bytes(8, "big").rjust(count, b"\x00")[-count:]

    def uuid(self) -> str:
        return f"00000000-0000-0000-0000-{self.u64():012x}"

    def uniform(self, low: float, high: float) -> float:
        return low


class _Tasks:
    """Nothing waits in the in-memory store, so a coroutine is over after its first step."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError(f"{name} waits")


class InProcess:
    """A `differ.Subject`. partitions: of each table."""

    def __init__(self, *, partitions: int = 3) -> None:
        env = Env(_Clock(), _Rand(), _Tasks())  # type: ignore[arg-type]
        self.backend = MemoryBackend(env, initial_partitions=partitions)
        self.unexpected: list[tuple[str, BaseException]] = []
        self.api = DynamoApi(self.backend, env, log=lambda operation, error: self.unexpected.append((operation, error)))
        self._headers: dict[str, dict[str, str]] = {}
        for name, keys in generate.KEYS.items():
            status, answer = self.ask("CreateTable", create_request(name, *keys))
            assert status == 200, answer

    def ask(self, operation: str, request: dict[str, Any]) -> tuple[int, Any]:
        headers = self._headers.get(operation)
        if headers is None:
            headers = self._headers[operation] = {name.lower(): value for name, value in request_headers(operation).items()}
        answers: list[tuple[int, bytes]] = []
        self.api.handle(Request("POST", "/", "", headers, _encode(request)), lambda status, headers, body: answers.append((status, body)))
        ((status, body),) = answers
        return status, _decode(body)

    def empty(self, name: str, keys: list[Item]) -> None:
        meta = self.backend.table(name)
        assert meta is not None
        self.backend.forget_rows(meta)
        for index in meta.global_indexes or ():
            self.ask("UpdateTable", {"TableName": name, "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": index.name}}]})


def create_request(name: str, pk: tuple[str, str], sk: tuple[str, str] | None) -> dict[str, Any]:
    keys = [pk, *([] if sk is None else [sk])]
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        "KeySchema": [{"AttributeName": key[0], "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        "BillingMode": "PAY_PER_REQUEST",
    }
