"""Requests that another server answers: passed on as they came, once, and what could not be had is said by name. Real sockets of this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from scrubjay.admin_door import PREFIX
from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.http_values import Request, Respond, Response
from scrubjay.base.real import http_forward
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.http_forward import PASSED_ON, HttpForward
from scrubjay.base.real.http_server import HttpServer
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.loop import run as run_loop
from scrubjay.base.real.rand import RealRand
from scrubjay.config import load
from scrubjay.server.ports import Report
from scrubjay.serving.node_surface import OF_DURABILITY, NodeApi, NodeDoor
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.api.limits import HTTP
from scrubjay.storage.api.operations import OPERATIONS
from tests.fixtures.memory_backend import MemoryBackend

HOST = "127.0.0.1"
TARGET = "DynamoDB_20120810."


async def as_it_is(host: str) -> Sequence[str]:
    return [host]


class Town:
    """A durability process's HTTP, and what came to it."""

    def __init__(self, tasks: AsyncTasks) -> None:
        self.env = Env(RealClock(), RealRand(), tasks)
        self.asked: list[Request] = []
        self.answer = Response(200, (("Content-Type", "application/json"), ("x-scrubjay-cluster", "c"), ("x-own", "1")), b'{"error":null}')
        self.unforeseen: list[BaseException] = []

    async def __aenter__(self) -> Town:
        self._server = HttpServer(HOST, 0, self, {}, limits=HTTP)
        await self._server.start()
        self.forward = HttpForward("n2", HOST, self._server.port, addresses=as_it_is)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0.1)

    def handle(self, request: Request, respond: Respond) -> None:
        self.asked.append(request)
        respond(*self.answer)

    def error(self, status: int, message: str) -> Response:
        return Response(status, (), message.encode())

    def log(self, _: str, error: BaseException) -> None:
        self.unforeseen.append(error)


def live(story: Callable[[Town], Awaitable[None]]) -> None:
    async def main(tasks: AsyncTasks) -> int:
        async with Town(tasks) as town:
            await asyncio.wait_for(story(town), 20)
        return 0

    run_loop(main)


def test_a_request_is_passed_on_as_it_came_and_its_answer_comes_back() -> None:
    async def story(town: Town) -> None:
        headers = {"host": "n2:8000", "authorization": "AWS4 signed", "expect": "100-continue", "connection": "keep-alive"}
        found = await town.forward.send(Request("POST", "/admin/v1/scrub/run", "a=1&b=%20", headers, b'{"x":1}'))
        assert found == Response(
            200, (("Content-Type", "application/json"), ("x-scrubjay-cluster", "c"), ("x-own", "1")), b'{"error":null}'
        )
        came = town.asked[0]
        assert (came.method, came.path, came.query, came.body) == ("POST", "/admin/v1/scrub/run", "a=1&b=%20", b'{"x":1}')
        assert (came.headers["host"], came.headers["authorization"]) == ("n2:8000", "AWS4 signed"), (
            "it was signed for the name it was sent to"
        )
        assert came.headers[PASSED_ON] == "n2"
        assert "expect" not in came.headers

    live(story)


def test_it_is_passed_on_once() -> None:
    async def story(town: Town) -> None:
        with pytest.raises(Unavailable, match="takes this one for another"):
            await town.forward.send(Request("GET", "/admin/v1/status", "", {PASSED_ON: "n1"}, b""))
        assert town.asked == []

    live(story)


@pytest.mark.parametrize(
    ("said", "what", "unknown"),
    [
        (None, "cannot be reached", False),
        (b"", "ended before its answer", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "ended before its answer", True),
        (b"SSH-2.0-server\r\n", "does not speak HTTP", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, "too large", True),
    ],
)
def test_what_cannot_be_had_is_said(said: bytes | None, what: str, unknown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked must know whether it may have been done."""
    monkeypatch.setattr(http_forward, "ANSWER_BYTES_MAX", 1000)

    async def story(_: Town) -> None:
        async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said or b"")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(speaks, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        if said is None:
            server.close()
            await server.wait_closed()
        try:
            answer: Response | ScrubjayError = await HttpForward("n2", HOST, port, addresses=as_it_is).send(
                Request("GET", "/", "", {}, b"")
            )
        except ScrubjayError as error:
            answer = error
        server.close()
        assert isinstance(answer, Unavailable)
        assert re.search(what, str(answer))
        assert bool(answer.fields.get("unknown")) == unknown

    live(story)


def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_forward, "UNDER_WAY_MAX", 1)

    async def story(town: Town) -> None:
        first = asyncio.ensure_future(town.forward.send(Request("GET", "/a", "", {}, b"")))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await town.forward.send(Request("GET", "/b", "", {}, b""))
        await first
        await town.forward.send(Request("GET", "/c", "", {}, b""))
        assert [one.path for one in town.asked] == ["/a", "/c"]

    live(story)


# ------------------------------------------------------------------ a node


def door(town: Town, forward: HttpForward | None) -> NodeDoor:
    made = NodeDoor(town.env, load(), cluster_id=lambda: "mine", forward=forward, log=town.log)

    async def own(request: Request) -> Report:
        del request
        return {"exit": 0, "from": "here"}

    made.routes["GET", "cluster/status"] = own
    return made


def told(found: Response) -> tuple[int, Any]:
    return found.status, msgspec.json.decode(found.body)


def test_a_node_answers_what_it_knows_and_passes_on_the_rest() -> None:
    async def story(town: Town) -> None:
        node = door(town, town.forward)
        assert told(await node.handle(Request("GET", PREFIX + "cluster/status", "", {}, b"")))[1]["from"] == "here"
        assert town.asked == []
        found = await node.handle(Request("GET", PREFIX + "status", "", {}, b""))
        assert told(found) == (200, {"error": None})
        assert [value for name, value in found.headers if name == "x-scrubjay-cluster"] == ["mine"], "said once"
        assert (await node.handle(Request("GET", PREFIX + "status", "", {"origin": "http://page"}, b""))).status == 403
        assert [one.path for one in town.asked] == [PREFIX + "status"]
        town.answer = Response(409, (("Content-Type", "application/json"),), b'{"error":{"code":"Unsafe"}}')
        assert told(await node.handle(Request("POST", PREFIX + "expire/run", "", {}, b"{}"))) == (409, {"error": {"code": "Unsafe"}})

    live(story)


def test_a_node_says_that_the_durability_process_is_away_and_that_it_is_not_founded() -> None:
    async def story(town: Town) -> None:
        await town.__aexit__()
        status, body = told(await door(town, town.forward).handle(Request("GET", PREFIX + "status", "", {}, b"")))
        assert (status, body["exit"], body["error"]["code"]) == (503, 1, "Unreachable"), "the code for which a waiting command asks again"
        assert "durability" in body["error"]["message"]
        assert "--role durability" in body["error"]["next"]
        status, body = told(await door(town, None).handle(Request("GET", PREFIX + "status", "", {}, b"")))
        assert (status, body["error"]["code"]) == (503, "NotInitialised")

    live(story)


async def api_answer(api: NodeApi, operation: str) -> Response:
    done: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    request = Request("POST", "/", "", {"x-amz-target": TARGET + operation, "content-type": "application/x-amz-json-1.0"}, b"{}")
    api.handle(request, lambda status, headers, body: done.set_result(Response(status, headers, body)))
    return await done


def test_a_node_asks_the_durability_process_for_what_only_that_one_knows() -> None:
    async def story(town: Town) -> None:
        api = NodeApi(town.env, DynamoApi(MemoryBackend(town.env), town.env), town.forward, town.log)
        assert (await api_answer(api, "ListTables")).status != 200, "answered here: unsigned"
        assert town.asked == []
        assert (await api_answer(api, "DescribeContinuousBackups")).body == town.answer.body
        assert (await api_answer(api, "CreateBackup")).body == town.answer.body
        assert len(town.asked) == 2
        await town.__aexit__()
        away = await api_answer(api, "DescribeContinuousBackups")
        assert away.status == 503, "an SDK asks again"
        assert b"durability process" in away.body
        assert town.unforeseen == []

    live(story)


def test_what_needs_the_archive_is_all_there() -> None:
    words = ("Backup", "Export", "Import", "PointInTime")
    assert {name for name in OPERATIONS if any(word in name for word in words)} == OF_DURABILITY
