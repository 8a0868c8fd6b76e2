"""The HTTP shell under raw sockets: order, limits, time-outs, and everything a peer may do wrong."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.storage.api import limits
from tests.api_server import AUTHORIZATION, ApiCaller, ApiServer, ServerAt
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for

FAST = replace(
    limits.HTTP,
    headers_timeout_ms=800,
    body_timeout_ms=1_600,
    body_stall_timeout_ms=800,
    idle_timeout_ms=1_200,
    connections=60,
    buffered_bytes=4 * 1024 * 1024,
    body_bytes=1024 * 1024,
)

TOO_LONG_S = 10.0
"""Many of these, on a machine that stands still now and then; a trickle by bytes alone would take longer."""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        started.make_table("hash")
        yield started
        assert started.unexpected == []


@pytest.fixture(params=["here", pytest.param("process", marks=pytest.mark.process)])
def either(request: pytest.FixtureRequest) -> ApiCaller:
    """The shell in this process, and that of a server process."""
    if request.param == "here":
        here: ApiServer = request.getfixturevalue("server")
        return here
    return ServerAt(request.getfixturevalue("http_process").port)


@pytest.fixture(scope="module")
def http_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScrubjayServer]:
    with ScrubjayServer(tmp_path_factory.mktemp("http") / "data") as real:
        ServerAt(real.port).make_table("hash")
        ServerAt(real.port).wait_active("hash")
        yield real


@pytest.fixture(scope="module")
def impatient() -> Iterator[ApiServer]:
    with ApiServer(http_limits=FAST) as started:
        yield started
        assert started.unexpected == []


@pytest.fixture(scope="module")
def crowded() -> Iterator[ApiServer]:
    """Takes few connections, and is patient with them: what a test is about does not end for want of time on a slow machine."""
    with ApiServer(http_limits=replace(limits.HTTP, connections=60)) as started:
        yield started
        assert started.unexpected == []


def message(
    operation: str = "ListTables", body: bytes = b"{}", *, version: str = "1.1", extra: str = "", length: int | None = None
) -> bytes:
    head = (
        f"POST / HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\n"
        f"X-Amz-Date: 20260101T000000Z\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: {len(body) if length is None else length}\r\n{extra}\r\n"
    )
    return head.encode() + body


class Peer:
    """A client that sends what it likes and reads answers one by one."""

    def __init__(self, server: ApiCaller) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        line = self.file.readline()
        assert line, "the connection was closed without an answer"
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = b"" if head_only else self.file.read(int(headers.get("content-length", "0")))
        return status, headers, body

    def closed(self) -> bool:
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_answers_carry_what_the_sdks_look_at(either: ApiCaller) -> None:
    answer = either.post("ListTables", {})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert answer.headers["x-amz-crc32"] == str(zlib.crc32(answer.body))
    assert len(answer.headers["x-amzn-requestid"]) == 52
    assert answer.headers["x-amzn-requestid"].isalnum()
    assert answer.headers["x-amzn-requestid"].isupper()


def test_data_answers_say_where_and_when(either: ApiCaller) -> None:
    put = either.post("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "x"}}})
    lsn = put.headers["x-scrubjay-lsn"]
    assert int(lsn) >= 1
    assert put.headers["x-scrubjay-timestamp"].endswith("Z")
    assert len(put.headers["x-scrubjay-timestamp"]) == len("2026-11-22T15:53:21.020648Z")
    got = either.post("GetItem", {"TableName": "hash", "Key": {"pk": {"S": "x"}}, "ConsistentRead": True})
    assert got.headers["x-scrubjay-partition"] == put.headers["x-scrubjay-partition"]
    assert int(got.headers["x-scrubjay-lsn"]) >= int(lsn)
    assert "x-scrubjay-timestamp" not in got.headers
    failed = either.post("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "x"}}, "ConditionExpression": "attribute_not_exists(pk)"})
    assert failed.status == 400
    assert int(failed.headers["x-scrubjay-lsn"]) >= int(lsn)


def test_pipelined_requests_are_answered_in_order(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(
            b"".join(message("ListTables", json.dumps({"Limit": limit}).encode()) for limit in (1, 0, 2, 101)) + message("DescribeLimits")
        )
        statuses = [peer.answer()[0] for _ in range(5)]
    assert statuses == [200, 400, 200, 400, 200]


def test_a_slow_route_does_not_let_later_answers_overtake(server: ApiServer) -> None:
    with closing(Peer(server)) as peer:
        peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + message("DescribeLimits") + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.answer()[2] == b"ok\n"
        assert b"AccountMax" in peer.answer()[2]
        assert peer.answer()[2] == b"healthy: x "


def test_a_thousand_pipelined_requests_are_all_answered(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message() * 1000)
        assert [peer.answer()[0] for _ in range(1000)] == [200] * 1000


def test_bytes_one_by_one(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        for byte in message("DescribeLimits"):
            peer.send(bytes([byte]))
        assert peer.answer()[0] == 200


def test_chunked_bodies(either: ApiCaller) -> None:
    head = message(body=b"").replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")
    with closing(Peer(either)) as peer:
        peer.send(head + b'9\r\n{"Limit":\r\n3\r\n101\r\n1\r\n}\r\n0\r\n\r\n' + message())
        assert b"less than or equal to 100" in peer.answer()[2]
        assert peer.answer()[0] == 200


def test_expect_100_continue(either: ApiCaller) -> None:
    whole = message("DescribeLimits", b"{}", extra="Expect: 100-Continue\r\n")
    with closing(Peer(either)) as peer:
        peer.send(whole[:-2])
        assert peer.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert peer.file.readline() == b"\r\n"
        peer.send(whole[-2:])
        assert peer.answer()[0] == 200


def test_other_expectations_are_declined(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message(extra="Expect: the-best\r\n"))
        assert peer.answer()[0] == 417


def test_http_1_0(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message(version="1.0"))
        status, headers, _ = peer.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert peer.closed()
    with closing(Peer(either)) as peer:
        peer.send(message(version="1.0", extra="Connection: keep-alive\r\n") * 2)
        assert peer.answer()[1]["connection"] == "keep-alive"
        assert peer.answer()[0] == 200


def test_connection_close_is_honoured(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message(extra="Connection: close\r\n") + message())
        assert peer.answer()[1]["connection"] == "close"
        assert peer.closed()


def test_odd_header_cases_and_spaces(either: ApiCaller) -> None:
    raw = message("DescribeLimits").replace(b"X-Amz-Target: ", b"x-AMZ-tArGeT:   ").replace(b"Content-Type: ", b"CONTENT-TYPE:")
    with closing(Peer(either)) as peer:
        peer.send(raw)
        assert peer.answer()[0] == 200


def test_an_upgrade_is_declined_by_going_on(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message(extra="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"))
        assert peer.answer()[0] == 200
        peer.send(message())
        assert peer.answer()[0] == 200


def test_a_half_closed_peer_gets_its_answer(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message("DescribeLimits"))
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.answer()[0] == 200
        assert peer.closed()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (b"POST / HTTP/1.1\r\nno colon here\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX-Big: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % index for index in range(200)) + b"\r\n", 431),
        (message(length=17 * 1024 * 1024), 413),
    ],
)
def test_malformed_or_oversized_requests_get_an_answer_then_the_end(either: ApiCaller, raw: bytes, status: int) -> None:
    with closing(Peer(either)) as peer:
        peer.send(raw)
        got, headers, body = peer.answer()
        assert got == status
        assert json.loads(body)["__type"].startswith("com.amazon")
        assert headers["connection"] == "close"
        assert peer.closed()


def test_the_answers_owed_come_before_the_refusal(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(message() + b"NONSENSE\r\n\r\n")
        assert [peer.answer()[0], peer.answer()[0]] == [200, 400]
        assert peer.closed()


def test_a_body_that_grows_too_large_in_chunks(impatient: ApiServer) -> None:
    head = message(body=b"").replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")
    with closing(Peer(impatient)) as peer:
        peer.send(head)
        try:
            for _ in range(5):
                peer.send(b"40000\r\n" + b" " * 0x40000 + b"\r\n")
        except OSError:
            pass
        assert peer.answer()[0] == 413


def test_get_pages(server: ApiServer) -> None:
    with closing(Peer(server)) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, body = peer.answer()
        assert (status, body) == (200, b"healthy: x ")
        assert headers["x-amz-crc32"] == str(zlib.crc32(body))
        assert peer.answer(head_only=True)[1]["content-length"] == "11"
        status, headers, body = peer.answer()
        assert (status, body, headers["x-amz-crc32"]) == (404, b"<UnknownOperationException/>\n", "3552371480")


def test_a_route_that_fails_is_a_500_of_the_right_kind(server: ApiServer) -> None:
    with closing(Peer(server)) as peer:
        peer.send(b"GET /boom HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.answer()[0] == 500
        peer.send(message())
        assert peer.answer()[0] == 200


def test_preflight(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(
            b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nAccess-Control-Request-Headers: a, b, c\r\n"
            b"Access-Control-Request-Method: POST\r\n\r\nOPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        status, headers, body = peer.answer()
        assert (status, body) == (200, b"")
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-headers"] == "a, b, c"
        assert headers["access-control-allow-methods"] == "POST"
        assert headers["access-control-max-age"] == "172800"
        assert "x-amzn-requestid" in headers["access-control-expose-headers"]
        status, headers, _ = peer.answer()
        assert (status, [name for name in headers if name.startswith("access-control")]) == (404, [])


def test_cors_of_the_health_page(either: ApiCaller) -> None:
    with closing(Peer(either)) as peer:
        peer.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        status, headers, _ = peer.answer()
        assert (status, headers["access-control-allow-origin"]) == (200, "*")
        assert {name for name in headers if name.startswith("access-control")} == {
            "access-control-allow-origin",
            "access-control-expose-headers",
        }
        status, headers, _ = peer.answer()
        assert (status, [name for name in headers if name.startswith("access-control")]) == (200, [])


def test_cors_on_answers(either: ApiCaller) -> None:
    assert either.post("ListTables", {}, Origin="http://a").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in either.post("ListTables", {}).headers


def long_answer(either: ApiCaller) -> dict[str, Any]:
    """A request for an answer of more than 4 KiB."""
    either.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "long"}, "v": {"S": "x" * 4096}}})
    return {"TableName": "hash", "Key": {"pk": {"S": "long"}}, "ConsistentRead": True}


def test_answers_are_packed_if_asked_and_long(either: ApiCaller) -> None:
    request = long_answer(either)
    plain = either.post("GetItem", request)
    assert "content-encoding" not in plain.headers
    for asked, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        packed = either.post("GetItem", request, Accept_Encoding=asked)
        assert packed.headers["content-encoding"] == asked
        assert packed.headers["x-amz-crc32"] == str(zlib.crc32(packed.body))
        assert len(packed.body) * 10 < len(plain.body)
        assert unpack(packed.body) == plain.body
    assert "content-encoding" not in either.post("GetItem", request, Accept_Encoding="identity").headers
    assert "content-encoding" not in either.post("GetItem", {**request, "ProjectionExpression": "pk"}, Accept_Encoding="gzip").headers


def put_text(key: str) -> bytes:
    return json.dumps({"TableName": "hash", "Item": {"pk": {"S": key}}}).encode()


def test_a_request_may_be_gziped(either: ApiCaller) -> None:
    text, wrong = put_text("in halves"), put_text("wrong")
    for body in (gzip.compress(put_text("whole")), gzip.compress(text[:10]) + gzip.compress(text[10:])):
        assert either.post("PutItem", body, Content_Encoding="gzip").status == 200
    for coding, body in (
        ("gzip", wrong),
        ("gzip", gzip.compress(wrong)[:-1]),
        ("gzip", gzip.compress(wrong) + b"junk"),
        ("gzip", gzip.compress(b"") * 17 + gzip.compress(wrong)),
        ("gzip", b""),
        ("garbage", wrong),
    ):
        answer = either.post("PutItem", body, Content_Encoding=coding)
        assert (answer.status, answer.json()["__type"].partition("#")[2]) == (500, "InternalServerError"), (coding, body)
    assert either.post("PutItem", gzip.compress(wrong + b" " * (17 << 20)), Content_Encoding="gzip").status == 413
    assert either.post("PutItem", gzip.compress(b"{"), Content_Encoding="gzip").json()["__type"].endswith("#SerializationException")
    unsigned = either.post("PutItem", b"no gzip", Content_Encoding="gzip", Authorization="AWS4")
    assert unsigned.json()["__type"].endswith("#MissingAuthenticationTokenException")  # and is not unpacked
    there = [
        key
        for key in ("whole", "in halves", "wrong")
        if "Item" in either.ok("GetItem", {"TableName": "hash", "Key": {"pk": {"S": key}}, "ConsistentRead": True})
    ]
    assert there == ["whole", "in halves"]


@pytest.mark.parametrize(
    ("changes", "body", "status", "kind"),
    [
        ({"Content_Type": "text/plain"}, b"{}", 404, None),
        ({"Content_Type": "application/json"}, b"{}", 200, None),
        ({"Content_Type": "application/x-amz-json-1.0; charset=utf-8"}, b"{}", 200, None),
        ({}, b"hi", 400, "SerializationException"),
        ({}, b"", 400, "SerializationException"),
        ({}, b"[" * 100_000, 400, "SerializationException"),
        ({}, b'{"a":1e999}', 400, "SerializationException"),
        ({}, b'{"a":"\xff"}', 400, "SerializationException"),
        ({}, b"\xef\xbb\xbf{}", 400, "SerializationException"),
        ({}, b"null", 400, "SerializationException"),
        ({"X_Amz_Target": ""}, b"{}", 400, "UnknownOperationException"),
        ({"X_Amz_Target": "DynamoDB_20120810.ListTable"}, b"{}", 400, "UnknownOperationException"),
        ({"X_Amz_Target": "DynamoDB_20120810.SearchVectors"}, b"{}", 400, "UnknownOperationException"),
        ({"X_Amz_Target": "DynamoDBStreams_20120810.GetItem"}, b"{}", 400, "UnknownOperationException"),
        ({"Authorization": ""}, b"{}", 400, "MissingAuthenticationTokenException"),
        ({"Authorization": "AWS4"}, b"{}", 400, "MissingAuthenticationTokenException"),
        ({"Authorization": "AWS4-"}, b"{}", 400, "IncompleteSignatureException"),
    ],
)
def test_the_first_checks(either: ApiCaller, changes: dict[str, str], body: bytes, status: int, kind: str | None) -> None:
    answer = either.post("ListTables", body, **changes)
    assert answer.status == status
    if kind is not None:
        assert answer.json()["__type"] == f"com.amazon.coral.service#{kind}"
    if status == 404:
        assert answer.body == b"<UnknownOperationException/>\n"


def test_known_checksums_of_fixed_answers(either: ApiCaller) -> None:
    """Byte-exact bodies, as recorded from the service."""
    assert either.post("ListTables", b"hi").headers["x-amz-crc32"] == "3948637019"
    assert either.post("Nothing", b"{}").headers["x-amz-crc32"] == "1368724161"
    assert either.post("ListTables", b"{}", Authorization="").headers["x-amz-crc32"] == "2088342776"


# -- time and numbers ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slow_headers_and_slow_bodies_are_ended(impatient: ApiServer) -> None:
    for part in (message()[:30], message(length=100)):
        with closing(Peer(impatient)) as peer:
            started = time.monotonic()
            peer.send(part)
            assert peer.answer()[0] == 408
            assert peer.closed()
            assert time.monotonic() - started < TOO_LONG_S


@pytest.mark.slow
def test_a_trickle_of_headers_is_ended_all_the_same(impatient: ApiServer) -> None:
    with closing(Peer(impatient)) as peer:
        started = time.monotonic()
        raw = message(extra="".join(f"X-{index}: y\r\n" for index in range(50)))
        try:
            for byte in raw:
                peer.send(bytes([byte]))
                time.sleep(0.02)
                if time.monotonic() - started > TOO_LONG_S:
                    break
        except OSError:
            pass
        assert time.monotonic() - started < TOO_LONG_S


@pytest.mark.slow
def test_idle_connections_are_closed(impatient: ApiServer) -> None:
    with closing(Peer(impatient)) as peer:
        peer.send(message())
        assert peer.answer()[0] == 200
        assert peer.closed()


def test_more_connections_than_allowed_are_told_so(crowded: ApiServer) -> None:
    wait_for(lambda: crowded.call(lambda: not crowded.http.connections), timeout=20)
    peers = [Peer(crowded) for _ in range(60)]
    try:
        wait_for(lambda: crowded.call(lambda: len(crowded.http.connections)) == 60, timeout=20)
        with closing(Peer(crowded)) as one_more:
            assert one_more.answer()[0] == 503
            assert one_more.closed()
    finally:
        for peer in peers:
            peer.close()


def test_others_are_served_beside_slow_ones(crowded: ApiServer) -> None:
    slow = [Peer(crowded) for _ in range(50)]
    try:
        for peer in slow:
            peer.send(message()[:40])
        with closing(Peer(crowded)) as quick:
            for _ in range(50):
                quick.send(message())
                assert quick.answer()[0] == 200
    finally:
        for peer in slow:
            peer.close()


def test_a_peer_that_does_not_read_is_not_read_from(server: ApiServer) -> None:
    server.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "big"}, "x": {"S": "x" * 300_000}}})
    get = message("GetItem", b'{"TableName":"hash","Key":{"pk":{"S":"big"}}}')
    with closing(Peer(server)) as peer:
        peer.socket.setblocking(False)
        sent = 0
        try:
            for _ in range(100_000):
                sent += peer.socket.send(get)
        except BlockingIOError:
            pass
        # everything the kernel took has been sent, and the server stopped reading long before it held all the answers
        held = server.call(lambda: sum(len(slot.data or b"") for peer_ in server.http.connections for slot in peer_.slots))
        assert held <= limits.PIPELINE_MAX * 400_000
        peer.socket.settimeout(30)
        assert peer.answer()[0] == 200


def test_nothing_is_left_behind(server: ApiServer) -> None:
    def state() -> dict[str, Any]:
        return {"buffered": server.http.buffered_bytes, "in_flight": server.api.in_flight}

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(server.call(state).values()):
        time.sleep(0.02)
    assert server.call(state) == {"buffered": 0, "in_flight": 0}
