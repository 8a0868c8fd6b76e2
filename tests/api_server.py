"""An API server in this process for tests: the real HTTP shell on a thread of its own, over the in-memory model of the store."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import uvloop
from botocore.config import Config

from scrubjay.base.env import Env
from scrubjay.base.http_values import HttpLimits, Request, Response
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.http_server import HttpServer
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.storage.api import limits
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.api.operations import STREAM_OPERATIONS
from scrubjay.storage.api.sigv4 import AccessKey
from tests.api_model import check_answer
from tests.fixtures.memory_backend import MemoryBackend
from tests.fixtures.wait import wait_for

REGION = "us-east-1"
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=0000000000000000000000000000000000000000000000000000000000000000"
)


class ApiCaller:
    """Asks a server at `port` of this machine, and checks the form of every answer."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Any:
        config = Config(retries={"max_attempts": 1, "mode": "standard"}, **options.pop("config", {}))
        return boto3.client(
            options.pop("service", "dynamodb"),
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=options.pop("key", "test"),
            aws_secret_access_key=options.pop("secret", "test"),
            config=config,
            **options,
        )

    def resource(self) -> Any:
        return boto3.resource("dynamodb", endpoint_url=self.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")

    def post(self, operation: str, body: object, **headers: str) -> RawAnswer:
        """One raw request. body: JSON-able, or bytes as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", "/", data, request_headers(operation, **headers))
            response = connection.getresponse()
            return RawAnswer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def ask(self, operation: str, body: object) -> tuple[int, Any]:
        """Status and decoded JSON of one request; the checksum is checked, and the shape of the answer against the service model."""
        answer = self.post(operation, body)
        assert answer.headers["x-amz-crc32"] == str(zlib.crc32(answer.body))
        decoded = answer.json()
        assert check_answer(operation, answer.status, decoded) == []
        return answer.status, decoded

    def ok(self, operation: str, body: object) -> Any:
        """The answer of a request that must succeed."""
        status, decoded = self.ask(operation, body)
        assert status == 200, decoded
        return decoded

    def make_table(self, name: str, partition: str = "pk:S", sort: str | None = None, **options: Any) -> None:
        """An on-demand table; keys as "name:type"."""
        keys = [partition, *([] if sort is None else [sort])]
        definitions = [{"AttributeName": key.partition(":")[0], "AttributeType": key.partition(":")[2]} for key in keys]
        schema = [
            {"AttributeName": one["AttributeName"], "KeyType": kind} for one, kind in zip(definitions, ("HASH", "RANGE"), strict=False)
        ]
        request = {"TableName": name, "AttributeDefinitions": definitions, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST", **options}
        self.ok("CreateTable", request)

    def refusal(self, operation: str, body: object) -> tuple[str, str | None]:
        """(error name, message) of a request that must fail with 400."""
        status, decoded = self.ask(operation, body)
        assert status == 400, decoded
        return decoded["__type"].partition("#")[2], decoded.get("message", decoded.get("Message"))

    def wait_active(self, name: str) -> None:
        """Until the table is ACTIVE."""
        wait_for(lambda: self.ok("DescribeTable", {"TableName": name})["Table"]["TableStatus"] == "ACTIVE", timeout=30)


class ServerAt(ApiCaller):
    """Somebody else's server."""

    def __init__(self, port: int) -> None:
        self.port = port


class ApiServer(ApiCaller):
    """Start with `with`. url, port: where it listens. backend, api, http: the parts, for tests that look inside (from the server's thread: `call`)."""

    def __init__(
        self,
        *,
        keys: Mapping[str, AccessKey] | None = None,
        http_limits: HttpLimits = limits.HTTP,
        backend_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._keys = keys
        self._http_limits = http_limits
        self._backend_options = dict(backend_options or {})
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-server", daemon=True)
        self.unexpected: list[tuple[str, BaseException]] = []

    def _run(self) -> None:
        asyncio.set_event_loop_policy(None)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        self.loop = loop
        loop.run_until_complete(self._start())
        self._ready.set()
        loop.run_forever()
        loop.run_until_complete(self.http.stop(0.2))
        loop.run_until_complete(self.tasks.close())
        loop.close()

    async def _start(self) -> None:
        self.tasks = AsyncTasks()
        self.env = Env(RealClock(), RealRand(), self.tasks)
        self.backend = MemoryBackend(self.env, **self._backend_options)
        self.api = DynamoApi(
            self.backend, self.env, keys=self._keys, region=REGION, log=lambda operation, error: self.unexpected.append((operation, error))
        )
        self.http = HttpServer("127.0.0.1", 0, self.api, {"/healthz": _healthy, "/boom": _boom}, limits=self._http_limits)
        await self.http.start()
        self.port = self.http.port

    def __enter__(self) -> ApiServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def call(self, work: Callable[[], Any]) -> Any:
        """Run `work` on the server's thread and return what it returns."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


def request_headers(operation: str, **headers: str) -> dict[str, str]:
    """Headers of a request nobody checks the signature of; `headers` (with _ for -) win."""
    return {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDB{'Streams' * (operation in STREAM_OPERATIONS)}_20120810.{operation}",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": AUTHORIZATION,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }


async def _healthy(request: Request) -> Response:
    return Response(200, [("Content-Type", "text/plain")], b"ok\n")


async def _boom(request: Request) -> Response:
    raise RuntimeError("planted")
