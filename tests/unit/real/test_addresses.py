"""Listening, where a thread more is one too many."""

from __future__ import annotations

import subprocess
import sys

LISTEN = """
import os
from scrubjay.base.real import loop
from scrubjay.base.real.http_server import HttpServer
from scrubjay.storage.api.limits import HTTP

async def main(tasks):
    before = len(os.listdir("/proc/self/task"))
    server = HttpServer("127.0.0.1", 0, None, {}, limits=HTTP)
    await server.start()
    print(server.port > 0, len(os.listdir("/proc/self/task")) - before)
    await server.stop()

loop.run(main)
"""


def test_listening_starts_no_threads() -> None:
    """libuv aborts the process where it gets none for its resolver."""
    done = subprocess.run([sys.executable, "-c", LISTEN], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["True", "0"], done.stderr
