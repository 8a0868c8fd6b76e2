"""Row files on their way to this node: what another process sends in chunks, in files of the node's own, until an errand has used them.

Bounded in number and by the room on the disk; one that nobody adds to or uses any more goes after IDLE_S, all of them at the next start. Nothing here is made
durable: a file that is not whole is worth nothing, and a row file proves itself (block checksums, total) when it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.env import Disk, Env, File, Timer
from scrubjay.base.errors import Corrupt, DiskFull, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.storage.node.errand_messages import CHUNK_BYTES, ROOM_LEFT_BYTES

FOLDER = "spool"
"""Below the node's folder."""
FILES_MAX = 16
"""Row files at once; whoever wants another asks again."""
IDLE_S = 60.0


@dataclass(slots=True)
class _Incoming:
    """size: bytes of the whole. upto: bytes that are here. busy: a chunk is being written. unwanted: meanwhile it was discarded. timer: None while an
    errand uses it."""

    path: str
    file: File
    size: int
    upto: int = 0
    busy: bool = False
    unwanted: bool = False
    timer: Timer | None = None


class Spool:
    """disk: the node's own folder. room: what must stay free, in bytes."""

    def __init__(self, env: Env, disk: Disk, *, room_bytes: int = ROOM_LEFT_BYTES) -> None:
        self._env, self._disk, self._room_bytes = env, disk, room_bytes
        self._files: dict[int, _Incoming] = {}
        self._last = env.clock.wall_us()
        """The number of the file that came last. Each life of the node counts from elsewhere: what is still said of a file of an earlier one meets no other file."""
        self._left: set[str] = {FOLDER}
        """What is to be removed, and could not be yet: tried again before anything comes in."""
        self.trouble: ScrubjayError | None = None
        """Why it could not be."""
        self._sweep()

    def __len__(self) -> int:
        return len(self._files)

    def _sweep(self) -> None:
        """Remove what lies here for nobody: at the start, all that an earlier life left."""
        try:
            for path in sorted(self._left):
                (self._disk.remove_tree if path == FOLDER else self._disk.remove)(path)
                self._left.discard(path)
            self._disk.mkdir(FOLDER)
            self.trouble = None
        except ScrubjayError as error:
            self.trouble = error

    def receive(self, size: int) -> int:
        """The id of a new, empty file that is to have `size` bytes. Raises Unavailable (too many), DiskFull."""
        if size < 1:
            raise Invalid("a row file has bytes", size=size)
        if self._left:
            self._sweep()
        if self.trouble is not None:
            raise Unavailable("the spool cannot be used", why=str(self.trouble))
        if len(self._files) >= FILES_MAX:
            raise Unavailable("too many row files are on their way to this node", files=len(self._files))
        if size + self._room_bytes > self._disk.free_bytes():
            raise DiskFull("no room for the row file", size=size, free=self._disk.free_bytes())
        self._last += 1
        path = f"{FOLDER}/{self._last}.rows"
        self._files[self._last] = incoming = _Incoming(path, self._disk.open(path, create_size=0), size)
        self._wait(self._last, incoming)
        return self._last

    async def chunk(self, id_: int, offset: int, data: bytes, crc: int) -> int:
        """Add `data` at `offset`; how many bytes are here. Bytes that are here already are not written again. Raises Corrupt, Missing, Unavailable,
        DiskFull; Invalid: it leaves a gap, or is more than was announced."""
        incoming = self._known(id_)
        if crc32c_masked(data) != crc:
            raise Corrupt("a chunk of a row file is not what was sent", what="chunk", file=id_, offset=offset)
        if len(data) > CHUNK_BYTES or offset > incoming.upto or offset + len(data) > incoming.size:
            raise Invalid("a chunk of a row file does not fit", file=id_, offset=offset, length=len(data), upto=incoming.upto)
        if offset + len(data) <= incoming.upto:
            return incoming.upto
        if incoming.busy or offset < incoming.upto:
            raise Unavailable("another chunk of this row file is being written", file=id_)
        self._rest(incoming)
        incoming.busy = True
        try:
            await self._env.tasks.blocking(partial(incoming.file.write, offset, data))
        except ScrubjayError:
            incoming.unwanted = True
            raise
        else:
            incoming.upto += len(data)
        finally:
            incoming.busy = False
            if incoming.unwanted:
                self._files.pop(id_, None)
                self._remove(incoming)
            else:
                self._wait(id_, incoming)
        return incoming.upto

    def take(self, id_: int) -> str:
        """Where a whole file lies, below the node's folder, for an errand that uses it and then discards it. Raises Missing, Invalid (not whole)."""
        incoming = self._known(id_)
        if incoming.upto != incoming.size:
            raise Invalid("the row file is not whole", file=id_, size=incoming.size, upto=incoming.upto)
        self._rest(incoming)
        return incoming.path

    def discard(self, id_: int) -> None:
        """No error if it is not here."""
        incoming = self._files.pop(id_, None)
        if incoming is None:
            return
        self._rest(incoming)
        if incoming.busy:
            incoming.unwanted = True  # a thread writes into it
        else:
            self._remove(incoming)

    def _remove(self, incoming: _Incoming) -> None:
        incoming.file.close()
        try:
            self._disk.remove(incoming.path)
        except ScrubjayError as error:
            self._left.add(incoming.path)
            self.trouble = error

    def _known(self, id_: int) -> _Incoming:
        incoming = self._files.get(id_)
        if incoming is None:
            raise Missing("no such row file is on its way to this node (any more)", what="row file", file=id_)
        return incoming

    def _wait(self, id_: int, incoming: _Incoming) -> None:
        incoming.timer = self._env.tasks.call_later(IDLE_S, lambda: self.discard(id_))

    @staticmethod
    def _rest(incoming: _Incoming) -> None:
        if incoming.timer is not None:
            incoming.timer.cancel()
            incoming.timer = None
