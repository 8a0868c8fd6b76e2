"""The process as others see it: its port, the `ready` line, and how it is stopped by a signal."""

from __future__ import annotations

import errno
import gc
import signal
import sys
from collections.abc import Mapping
from typing import Any

from scrubjay.base.env import Future
from scrubjay.base.errors import Unavailable
from scrubjay.base.http_values import Application, Handler
from scrubjay.base.real.http_server import HttpServer
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.open_files import Descriptors
from scrubjay.base.real.turns import short_turns
from scrubjay.config import Config
from scrubjay.serving.start import ServerStart
from scrubjay.serving.surface import http_limits
from scrubjay.storage.control.store import Store

GC_THRESHOLDS = (2_000, 500, 50)
"""Allocations until a young collection, young until a middle one, middle until a full one. The request path leaves no cycles behind, so what a young one meets mostly lives: it costs 1 to 2 us
for each object, and nobody is served meanwhile (ADR 0057)."""
_READY_POLL_S = 0.02


def stop_signal(tasks: AsyncTasks) -> Future[Any]:
    """Resolves at SIGTERM or SIGINT."""
    stop: Future[Any] = tasks.future()
    for number in (signal.SIGTERM, signal.SIGINT):
        tasks.on_signal(number, lambda: None if stop.done() else stop.set_result(None))
    return stop


async def listen(config: Config, api: Application, routes: Mapping[str, Handler], descriptors: Descriptors) -> HttpServer:
    """Serve HTTP where the configuration says. Raises Unavailable if that is not to be had."""
    server = HttpServer(config.serve.listen, config.serve.port, api, routes, limits=http_limits(config, descriptors))
    try:
        await server.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                "the port is taken",
                asked=f"--listen {config.serve.listen} --port {config.serve.port}",
                found=error.strerror or str(error),
                next="give another with --port (0: a free one), or stop what listens there",
            ) from error
        raise Unavailable(
            "cannot listen",
            asked=f"--listen {config.serve.listen} --port {config.serve.port}",
            found=error.strerror or str(error),
            next="give an address of this machine with --listen, and a port this user may take with --port",
        ) from error
    return server


def settle_memory() -> None:
    """What is here now lives as long as the process: the collector need not walk it at every full collection, and those may be rarer than by default."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(*GC_THRESHOLDS)


def settle() -> None:
    """For the loop's thread, once all is there: memory (`settle_memory`), and turns that are short, so that a core that a worker or a night has is had back at once."""
    settle_memory()
    short_turns()


async def announce(tasks: AsyncTasks, store: Store, port: int, listen: str, start: ServerStart) -> None:
    """Print the one line that scripts wait for, once every partition has a leader."""
    while unhosted := store.unhosted():
        start.waits(f"leaders of {len(unhosted)} partitions, {unhosted[0]} among them")
        await tasks.sleep(_READY_POLL_S)
    start.done("leaders")
    start.ready()
    host = f"[{listen}]" if ":" in listen else listen
    sys.stdout.write(f"ready http://{host}:{port}\n")
    sys.stdout.flush()
