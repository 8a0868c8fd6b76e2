"""Jobs that the tests of the worker pool run in real worker processes."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from scrubjay.base import errors
from scrubjay.base.env import JobContext


async def echo(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Gives its arguments back, with its process id."""
    return {**arguments, "pid": os.getpid()}


async def shouts(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Prints to standard output, which must not disturb the frames."""
    print("noise " * 100)
    os.write(1, b"more noise\n")
    return {"ok": True}


async def reports(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Reports progress faster than anybody wants it."""
    for number in range(1000):
        context.progress({"done": number})
    return {}


async def writes(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Writes below the data folder."""
    context.disk.mkdir("from")
    context.disk.write_file("from/job", b"bytes")
    return {}


async def fails(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Raises a typed error with fields."""
    raise errors.Missing("segment not there", what="segment", lsn=17)


async def breaks(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Raises something that is not ours."""
    raise KeyError("oops")


async def answers_nonsense(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Too large to travel."""
    return {"size": bytes(arguments["size"])}


async def dies(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """As if the kernel had killed it."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def hangs(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Says who it is, then waits for ever."""
    context.progress({"pid": os.getpid()})
    await asyncio.Event().wait()
    return {}


async def spins(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Says who it is, then never lets go of the interpreter for long."""
    context.progress({"pid": os.getpid()})
    while True:
        sum(range(100_000))


async def keeps(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Puts an object and reads it back."""
    store = context.store(arguments["url"])
    assert context.store(arguments["url"]) is store
    await store.put("a/b", b"kept")
    return {"found": await store.get("a/b")}


async def makes(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Makes a file of so many bytes."""
    context.disk.mkdir(arguments["output"].rpartition("/")[0])
    context.disk.write_file(arguments["output"], bytes(range(256)) * (arguments["size"] // 256))
    return {"size": arguments["size"]}


async def makes_its_own(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Makes another file wherever it runs, and says so."""
    context.disk.mkdir(arguments["output"].rpartition("/")[0])
    context.disk.write_file(arguments["output"], str(os.getppid()).encode())
    return {"made": os.getppid()}


async def measures(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Says how large a file is that another job made."""
    found = context.disk.read_file(arguments["rows"])
    return {"size": None if found is None else len(found), "pid": os.getppid()}


async def waits(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Says in whose process it runs, then waits until a file is there."""
    context.progress({"parent": os.getppid()})
    while not Path(arguments["until"]).exists():
        await asyncio.sleep(0.02)
    return {"parent": os.getppid()}


async def keeps_its_own(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Writes a mark into its files, says so, waits until a file is there, and says what is in its files then."""
    names = [arguments[name] for name in ("output", "work")]
    for name in names:
        context.disk.mkdir(name.rpartition("/")[0])
        context.disk.write_file(name, arguments["mark"])
    context.progress({"pid": os.getpid()})
    while not Path(arguments["until"]).exists():
        await asyncio.sleep(0.02)
    return {"found": [context.disk.read_file(name) for name in names]}


async def makes_and_fails(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Leaves both files behind, and an error of the archive's."""
    for name in ("output", "work"):
        context.disk.write_file(arguments[name], b"left")
    raise errors.Missing("segment not there", what="segment", lsn=17)


async def loses_its_scratch(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Opens a scratch file that somebody removed."""
    context.disk.open(arguments["work"])
    return {}


async def works(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Uses the processor for `cpu_s`; tells how often it let go of it meanwhile, of its own will."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    until = time.process_time() + arguments["cpu_s"]
    told = False
    while time.process_time() < until:
        if not told:
            told = True
            context.progress({"begun": True})
    return {"let_go": resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before}


async def says_how_nice(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"nice": os.nice(0), "pid": os.getpid()}
