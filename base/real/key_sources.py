"""Where the keys of an encrypted archive come from: `file:/path`, `env:NAME`, or `command:program arguments`. Read once in a process' life.

A key is 32 bytes: as they are (in a file), or as 64 hex digits or base64, with white space around them. Nothing here shows one.
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
import selectors
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from scrubjay.base.errors import Invalid, Unavailable, Unsafe
from scrubjay.base.sealed import SECRET_BYTES, Key, Keyring

KINDS = ("file", "env", "command")
ANSWER_BYTES_MAX = 4096
COMMAND_TRIES = 3
"""A command that asks a service over the network may fail once for nothing."""
AGAIN_S = 0.5


@functools.cache
def keyring(sources: tuple[tuple[str, str], ...], *, timeout_s: float) -> Keyring | None:
    """sources: (key id, source), newest first; none: no encryption. timeout_s: of one command. Blocking. Raises Unavailable (cannot be had now), Unsafe (a file
    that others may read), Invalid (not a key)."""
    if not sources:
        return None
    return Keyring(tuple(Key(key_id, _read(key_id, source, timeout_s)) for key_id, source in sources))


def _read(key_id: str, source: str, timeout_s: float) -> bytes:
    kind, _, what = source.partition(":")
    readers: dict[str, Callable[[], bytes]] = {
        "file": lambda: _of_file(key_id, Path(what)),
        "env": lambda: _of_environment(key_id, what),
        "command": lambda: _of_command(key_id, what, timeout_s),
    }
    try:
        return _key_of(readers[kind](), key_id=key_id, source=source)
    except Unavailable as error:
        error.fields.setdefault("next", "bring the key back to where encryption.keys looks for it (runbooks/key-lost.md)")
        raise


def _of_file(key_id: str, path: Path) -> bytes:
    try:
        # Not blocking: a pipe that nobody writes to would keep a start for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            facts = os.fstat(file.fileno())
            mode = stat.S_IMODE(facts.st_mode)
            if not stat.S_ISREG(facts.st_mode):
                raise Invalid(
                    f"the file of key {key_id} is no file",
                    asked=str(path),
                    next="give a regular file; what is made on the way comes by command:",
                )
            if mode & 0o027:
                raise Unsafe(
                    f"the file of key {key_id} is open to others",
                    asked=str(path),
                    found=f"mode {mode:04o}",
                    next="chmod 600 it; its group may read it at most",
                )
            return file.read(ANSWER_BYTES_MAX)
    except OSError as error:
        raise Unavailable(f"the file of key {key_id} cannot be read", asked=str(path), found=error.strerror or str(error)) from error


def _of_environment(key_id: str, name: str) -> bytes:
    value = os.environ.get(name)
    if value is None:
        raise Unavailable(f"the variable of key {key_id} is not set", asked=name)
    return value.encode()


def _of_command(key_id: str, line: str, timeout_s: float) -> bytes:
    for left in range(COMMAND_TRIES - 1, -1, -1):
        try:
            return _run(key_id, line, timeout_s)
        except Unavailable as error:
            if not left or error.fields.get("timed_out"):
                raise
        time.sleep(AGAIN_S)
    raise AssertionError("the last try returns or raises")


def _run(key_id: str, line: str, timeout_s: float) -> bytes:
    words = shlex.split(line)
    try:
        child = subprocess.Popen(  # noqa: S603  the administrator's own command, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise Unavailable(f"the command of key {key_id} cannot be run", asked=words[0], found=error.strerror or str(error)) from error
    try:
        answer, said = _answer(child, timeout_s)
    except TimeoutError as error:
        _end(child)
        raise Unavailable(
            f"the command of key {key_id} does not end", asked=words[0], found=f"no answer within {timeout_s:g} s", timed_out=True
        ) from error
    except OverflowError as error:
        _end(child)
        raise Unavailable(
            f"the command of key {key_id} says more than a key", asked=words[0], found=f"over {ANSWER_BYTES_MAX} bytes", timed_out=True
        ) from error
    finally:
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None
            pipe.close()
    if child.returncode != 0:
        told = said.decode("utf-8", "replace").strip()[-200:]
        raise Unavailable(f"the command of key {key_id} failed", asked=words[0], found=f"exit {child.returncode}: {told}")
    return answer


def _end(child: subprocess.Popen[bytes]) -> None:
    """With what it started, but for what left its group: nobody waits for that, though it may hold the output open."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _answer(child: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bytes]:
    """What it wrote until it ended, and the end of its complaints. Raises TimeoutError, OverflowError: more than any key is."""
    assert child.stdout is not None
    assert child.stderr is not None
    answer, said, until = b"", b"", time.monotonic() + timeout_s
    with selectors.DefaultSelector() as waiting:
        for pipe in (child.stdout, child.stderr):
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for found, _ in ready:
                piece = os.read(found.fd, ANSWER_BYTES_MAX)
                if not piece:
                    waiting.unregister(found.fileobj)
                elif found.fileobj is child.stdout:
                    answer += piece
                else:
                    said = (said + piece)[-ANSWER_BYTES_MAX:]
            if len(answer) > ANSWER_BYTES_MAX:
                raise OverflowError
            if time.monotonic() > until:
                raise TimeoutError
    try:
        child.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    return answer, said


def _key_of(found: bytes, *, key_id: str, source: str) -> bytes:
    if len(found) == SECRET_BYTES:
        return found
    text = found.strip()
    for decode in (binascii.unhexlify, lambda some: base64.b64decode(some, validate=True)):
        try:
            key = bytes(decode(text))
        except (binascii.Error, ValueError):
            continue
        if len(key) == SECRET_BYTES:
            return key
    raise Invalid(
        f"key {key_id} is not one: {SECRET_BYTES} bytes as they are, as hex or as base64",
        asked=source.partition(":")[0],
        found=f"{len(found)} bytes of something else",
        next="make one with: openssl rand -hex 32",
    )
