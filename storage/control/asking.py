"""How the coordinators of this process ask nodes: a request and its answer, an errand until it is over, a row file in chunks. All of it bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.env import Disk, Env
from scrubjay.base.errors import Corrupt, Internal, Missing, Unavailable, from_code
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.port import Fine, NodePort, Request, asked

A = TypeVar("A")

BUSY_POLL_S = 0.5
"""Between two tries to bring a row file to a node whose spool is full."""
CHUNK_TRIES = 5
"""How often a chunk is sent of which no answer came, or which did not come as it was sent."""


def nothing(_: str) -> None:
    """For a note that nobody wants."""


class Asking:
    """nodes: by name. limit_s: for an errand, and for a row file on its way."""

    def __init__(self, env: Env, nodes: Mapping[NodeName, NodePort], *, limit_s: float) -> None:
        self._env, self._nodes, self.limit_s = env, nodes, limit_s

    async def ask(self, node: NodeName, request: Request, expect: type[A], *, timeout_s: float | None = None) -> A:
        """The answer. Raises what the node answers, and Unavailable if nothing comes in time, or there is no such node."""
        port = self._nodes.get(node)
        if port is None:
            raise Unavailable("this copy is down", node=node)
        if timeout_s is None:
            return await asked(self._env.tasks, port, request, expect)
        return await asked(self._env.tasks, port, request, expect, timeout_s=timeout_s)

    def tell(self, node: NodeName, request: Request) -> None:
        """Ask without waiting: what is lost of it ends by itself."""
        port = self._nodes.get(node)
        if port is not None:
            port.ask(request, lambda _: None)

    async def errand(
        self,
        node: NodeName,
        errand: messages.Errand,
        expect: type[A],
        *,
        noted: Callable[[str], None] = nothing,
        limit_s: float | None = None,
    ) -> A:
        """Have a node do what takes long; its outcome. noted: told what the errand has to say on its way. Raises what it fails with; Unavailable if the node
        knows nothing of it any more, or it is not over in time (it goes on then)."""
        id_ = self._env.rand.uuid()
        end_us = self._env.clock.boot_us() + int((self.limit_s if limit_s is None else limit_s) * 1e6)
        await self._again(node, messages.Begin(id_, errand), Fine, end_us)
        note = ""
        while True:
            said = await self._again(node, messages.Look(id_, note), object, end_us)
            if isinstance(said, messages.Running) and said.note != note:
                note = said.note
                noted(note)
            if isinstance(said, messages.Ended):
                return _outcome(node, said, expect)
            if self._env.clock.boot_us() >= end_us:
                raise Unavailable("the node did not finish in time", node=node, errand=type(errand).__name__)

    async def _again(self, node: NodeName, request: messages.Begin | messages.Look, expect: type[A], end_us: int) -> A:
        """An answer that is lost loses nothing: the same question gets the same answer, and what was begun is not begun twice."""
        while True:
            try:
                return await self.ask(node, request, expect)
            except Unavailable as error:
                if not error.fields.get("unknown") or self._env.clock.boot_us() >= end_us:
                    raise

    # ------------------------------------------------------------------ row files

    async def bring(self, node: NodeName, partition: PartitionId, disk: Disk, path: str) -> int:
        """Send a row file to a node, chunk by chunk; the id it has there. Never more of it than a chunk is in memory. Raises Missing, Corrupt (the file cannot be
        read), Unavailable, DiskFull (there is no room)."""
        file = disk.open(path)
        try:
            size = file.size()
            there = await self._receiving(node, partition, size)
            try:
                offset = 0
                while offset < size:
                    data = await self._env.tasks.blocking(partial(file.pread, offset, min(messages.CHUNK_BYTES, size - offset)))
                    if not data:
                        raise Corrupt("a row file became shorter while it was sent", what="rowfile", where=path, size=size, found=offset)
                    offset = await self._chunk(node, messages.RowFileChunk(there, offset, data, crc32c_masked(data)))
            except BaseException:
                self.tell(node, messages.Discard(there))
                raise
            return there
        finally:
            file.close()

    async def _receiving(self, node: NodeName, partition: PartitionId, size: int) -> int:
        """A node takes a bounded number of row files at once."""
        end_us = self._env.clock.boot_us() + int(self.limit_s * 1e6)
        while True:
            try:
                return (await self.ask(node, messages.Receive(partition, size), messages.Receiving)).spooled
            except Unavailable as error:
                if "files" not in error.fields or self._env.clock.boot_us() >= end_us:
                    raise
            await self._env.tasks.sleep(BUSY_POLL_S)

    async def _chunk(self, node: NodeName, chunk: messages.RowFileChunk) -> int:
        """Bytes that are there now. A chunk that came damaged, or of which nothing was heard, is sent again."""
        for left in reversed(range(CHUNK_TRIES)):
            try:
                return (await self.ask(node, chunk, messages.Received)).upto
            except Corrupt as error:
                if not left:
                    raise Unavailable("a row file does not arrive as it is sent", node=node, cause=str(error)) from error
            except Missing as error:
                raise Unavailable("the node let go of the row file", node=node, cause=str(error)) from error
            except Unavailable as error:
                if not left or not error.fields.get("unknown"):
                    raise
        raise Internal("unreachable")


def _outcome(node: NodeName, ended: messages.Ended, expect: type[A]) -> A:
    if ended.failure is not None:
        raise from_code(ended.failure.code, ended.failure.message, ended.failure.fields)
    if not isinstance(ended.outcome, expect):
        raise Internal("a node's errand ended with something else", node=node, outcome=type(ended.outcome).__name__)
    return ended.outcome
