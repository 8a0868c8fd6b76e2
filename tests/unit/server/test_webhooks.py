"""Webhooks against a real HTTP server that refuses, hangs, answers 500 and comes back: everybody is told, in order, and nobody waits."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from scrubjay.base import steady
from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.free_ports import free_ports
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.webhook import WebhookPosts
from scrubjay.server import webhooks as module
from scrubjay.server.health import Problem
from scrubjay.server.problems import FoundProblem
from scrubjay.server.webhooks import QUEUE_MAX, SIGNATURE, Webhooks
from scrubjay.sim.lone import LoneHost
from tests.fixtures.receiver import Receiver


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    monkeypatch.setattr(module, "AGAIN_MAX_S", 0.05)
    monkeypatch.setattr(steady, "AWAY_S", 0.02)


def problem(number: int) -> Problem:
    return Problem(FoundProblem("node-full", f"n{number}", f"number {number}"), 1_700_000_000_000_000)


def with_hooks(
    urls: list[str],
    work: Callable[[Webhooks, AsyncTasks], Coroutine[Any, Any, None]],
    *,
    timeout_s: float = 5.0,
    lines: list[str] | None = None,
) -> list[str]:
    """Run `work` on a loop of its own; the log's lines."""
    lines = [] if lines is None else lines

    async def main(tasks: AsyncTasks) -> None:
        hooks = Webhooks(
            Env(RealClock(), RealRand(), tasks),
            urls,
            WebhookPosts().post,
            secret="between us",
            timeout_s=timeout_s,
            facts={"cluster": "c"},
            log=lambda level, line: lines.append(f"{level} {line}"),
        )
        hooks.start()
        await work(hooks, tasks)
        hooks.stop()

    run(main)
    return lines


async def until(tasks: AsyncTasks, claim: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if claim():
            return
        await tasks.sleep(0.01)
    raise AssertionError("not within 20 s")


def test_a_beginning_and_an_end_are_told_and_signed() -> None:
    with Receiver() as receiver:

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            hooks.tell(problem(1), True)
            await until(tasks, lambda: len(receiver.taken) == 2)

        assert with_hooks([receiver.url], work) == []
        first, second = receiver.taken
        assert (first["event"], second["event"]) == ("problem", "over")
        assert (first["kind"], first["what"], first["cluster"]) == ("node-full", "number 1", "c")
        assert first["runbook"] == "runbooks/disk-full.md"
        assert first["id"] != second["id"]
        mac = hmac.new(b"between us", receiver.bodies[0], hashlib.sha256).hexdigest()
        assert receiver.headers[0][SIGNATURE] == f"sha256={mac}"


def test_what_a_500_did_not_take_is_told_in_order_once_it_does() -> None:
    with Receiver() as receiver:
        receiver.status = 500
        lines: list[str] = []

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            for number in range(3):
                hooks.tell(problem(number), False)
            (hook,) = hooks.hooks
            await until(tasks, lambda: hook.failed >= 3)
            receiver.status = 200
            await until(tasks, lambda: not hook.queue)
            assert (hook.taken, hook.dropped) == (3, 0)
            await until(tasks, lambda: len(lines) == 2)

        with_hooks([receiver.url], work, lines=lines)
        assert [notice["what"] for notice in receiver.taken] == ["number 0", "number 1", "number 2"]
        assert [line.split(" ", 1)[0] for line in lines] == ["error", "info"], "once when it begins, once when it is over"
        assert "it answered 500" in lines[0]
        assert "token" not in lines[0], "a URL may be a secret"


@pytest.mark.slow
def test_one_that_hangs_keeps_no_other_from_being_told() -> None:
    with Receiver() as hangs, Receiver() as takes:
        hangs.status = 0

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            await until(tasks, lambda: len(takes.taken) == 1)
            await until(tasks, lambda: hooks.hooks[0].failed >= 1)
            assert "in time" in str(hooks.hooks[0].error)

        with_hooks([hangs.url, takes.url], work, timeout_s=0.3)


def test_one_that_is_not_there_is_told_when_it_comes() -> None:
    (port,) = free_ports(1)

    async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
        hooks.tell(problem(1), False)
        (hook,) = hooks.hooks
        await until(tasks, lambda: hook.failed >= 2)
        with Receiver(port) as receiver:
            await until(tasks, lambda: len(receiver.taken) == 1)

    with_hooks([f"http://127.0.0.1:{port}/hook"], work)


@pytest.mark.slow
def test_a_name_that_nobody_answers_for_holds_up_neither_the_others_nor_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    over, asked, gave_up = threading.Event(), list[str](), list[str]()
    sound = socket.getaddrinfo

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "127.0.0.1":
            return sound(host, *args, **kwargs)
        asked.append(host)
        over.wait(10)
        gave_up.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Receiver() as takes:

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            await until(tasks, lambda: len(takes.taken) == 1)
            await until(tasks, lambda: hooks.hooks[0].failed >= 3)
            assert "in time" in str(hooks.hooks[0].error)

        with_hooks(["http://hook.invalid/", takes.url], work, timeout_s=0.2)
        assert gave_up == [], "the name is being looked up still, and nothing has waited for it"
        assert asked == ["hook.invalid"], "by one thread, however often it was tried"
        over.set()


def certificate(folder: Path) -> Path:
    """Of `localhost`, by nobody else, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    now = datetime.now(UTC)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    path = folder / "certificate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM) + secret)
    return path


def test_who_speaks_https_is_who_the_url_names_and_authorities_are_read_once_and_not_by_the_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, readers = certificate(tmp_path), list[threading.Thread]()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made)
    sound = ssl.create_default_context

    def read() -> ssl.SSLContext:
        readers.append(threading.current_thread())
        return sound(cafile=str(made))

    monkeypatch.setattr(ssl, "create_default_context", read)
    with Receiver(tls=tls) as receiver:

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            hooks.tell(problem(1), False)
            await until(tasks, lambda: len(receiver.taken) == 1)
            await until(tasks, lambda: hooks.hooks[1].failed >= 2)
            assert "certificate" in str(hooks.hooks[1].error).lower(), "it names a host that this is not"

        with_hooks([receiver.url, receiver.url.replace("localhost", "127.0.0.1")], work)
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()


def test_what_follows_the_head_of_an_answer_changes_nothing_of_it() -> None:
    """A 204 with a body breaks HTTP, and has taken the notice."""

    async def main(_tasks: AsyncTasks) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n{"ok": true}')
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await WebhookPosts().post(f"http://127.0.0.1:{port}/", b"", {})

    assert run(main) == 204


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".b"])
def test_a_host_that_is_no_name_cannot_be_reached(host: str) -> None:

    async def main(_tasks: AsyncTasks) -> int:
        return await WebhookPosts().post(f"http://{host}/", b"", {})

    with pytest.raises(Unavailable, match="cannot be reached"):
        run(main)


def test_a_test_notice_says_what_came_back_from_each() -> None:
    with Receiver() as takes, Receiver() as refuses:
        refuses.status = 403

        async def work(hooks: Webhooks, tasks: AsyncTasks) -> None:
            report = await hooks.test()
            assert report["exit"] == 3
            first, second = report["webhooks"]
            assert (first["webhook"], first["status"], first["error"]) == ("127.0.0.1#1", 204, None)
            assert (second["status"], second["error"]) == (403, "it answered 403")
            refuses.status = 200
            assert (await hooks.test())["exit"] == 0

        assert with_hooks([takes.url, refuses.url], work) == []
        assert [json.loads(body)["event"] for body in takes.bodies] == ["test", "test"]

    async def none(hooks: Webhooks, tasks: AsyncTasks) -> None:
        with pytest.raises(Unavailable, match="no webhook is configured"):
            await hooks.test()

    with_hooks([], none)


def test_a_queue_is_bounded_and_the_oldest_goes_also_while_it_is_being_posted() -> None:
    host = LoneHost()
    told: list[str] = []

    async def slow(_url: str, body: bytes, _headers: object) -> int:
        await host.tasks.sleep(5.0)
        told.append(json.loads(body)["what"])
        return 200

    hooks = Webhooks(host.env(), ["http://h/"], slow, secret="", timeout_s=60, facts={}, log=lambda *_: None)
    hooks.start()
    hooks.tell(problem(0), False)
    host.run_for(1)
    for number in range(1, QUEUE_MAX + 3):
        hooks.tell(problem(number), False)
    (hook,) = hooks.hooks
    assert (len(hook.queue), hook.dropped) == (QUEUE_MAX, 3)
    host.run_for(11)
    assert told == ["number 0", "number 3"], "what was under way was taken; what took its place is not lost for it"


def test_one_that_takes_every_other_notice_is_one_trouble_and_not_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "AWAY_S", 2.0)
    host, lines, answers = LoneHost(), list[str](), itertools.cycle((500, 200))

    async def answer(_url: str, _body: bytes, _headers: object) -> int:
        return next(answers)

    hooks = Webhooks(
        host.env(), ["http://h/"], answer, secret="", timeout_s=60, facts={}, log=lambda level, line: lines.append(f"{level} {line}")
    )
    hooks.start()
    for number in range(600):  # an hour, a notice every six seconds
        hooks.tell(problem(number), False)
        host.run_for(6)
    assert hooks.hooks[0].taken == 600
    assert 2 <= len(lines) <= 12, lines
    host.run_for(300)
    assert lines[-1] == "info webhook h#1 takes notices again", "though no notice came that could have found out"
    assert [line.split()[0] for line in lines] == ["error", "info"] * (len(lines) // 2)


def test_a_thousand_problems_at_once_are_not_told_in_part_as_if_that_were_all() -> None:
    """Two servers, one receiver: which of them lost what, by kind."""
    host, told = LoneHost(), list[dict[str, Any]]()

    async def takes(_url: str, body: bytes, _headers: object) -> int:
        told.append(json.loads(body))
        return 200

    both = [
        Webhooks(host.env(), ["http://h/"], takes, secret="", timeout_s=60, facts={"cluster": name}, log=lambda *_: None)
        for name in ("a", "b")
    ]
    for hooks in both:
        hooks.start()
    lags = [Problem(FoundProblem("archive-lags", f"t{number}", f"table {number}"), 1_700_000_000_000_000) for number in range(1_000)]
    for one in [problem(0), *lags]:
        both[0].tell(one, False)
    both[1].tell(problem(1), False)
    host.run_for(5)
    (untold,) = [one for one in told if one["event"] == "untold"]
    assert (untold["cluster"], untold["kinds"]) == ("a", {"archive-lags": 744, "node-full": 1})
    assert untold["what"].startswith("745 notices were given up")
    assert sum(one["event"] == "problem" for one in told) == QUEUE_MAX + 1
    assert both[0].hooks[0].dropped == 745
    both[0].tell(problem(2), True)
    host.run_for(5)
    assert [one["event"] for one in told[-2:]] == ["untold", "over"], "once"


def test_a_notice_nobody_took_for_a_day_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_MAX_S", 300.0)
    host = LoneHost()

    status = 500

    async def answer(_url: str, _body: bytes, _headers: object) -> int:
        return status

    hooks = Webhooks(host.env(), ["http://h/"], answer, secret="", timeout_s=60, facts={}, log=lambda *_: None)
    (hook,) = hooks.hooks
    hooks.start()
    hooks.tell(problem(0), False)
    host.run_for(86_000)
    assert (len(hook.queue), hook.dropped) == (1, 0)
    host.run_for(1_000)
    assert ([(one.kind, one.untold) for one in hook.queue], hook.dropped) == ([("", {"node-full": 1})], 1), (
        "that it was given up waits to be told"
    )
    host.run_for(90_000)
    assert ([(one.kind, one.untold) for one in hook.queue], hook.dropped) == ([("", {"node-full": 1})], 1), "for longer than a day"
    assert hook.error is not None
    assert host.run(hooks.test())["exit"] == 3
    status = 204
    assert host.run(hooks.test())["exit"] == 0
    host.run_for(3)  # who has mended it does not wait for the end of a pause
    assert (hook.error, hook.taken, hook.untold, len(hook.queue)) == (None, 1, {}, 0)
