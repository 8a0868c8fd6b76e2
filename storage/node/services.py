"""What heals, scrubs and restores ask of one node (`storage.node.errand_messages`), answered where its trees are: by its healing, its pins and its spool."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from scrubjay.base.env import Disk, Task
from scrubjay.base.errors import Internal, ScrubjayError, Unavailable
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node.cut_points import CutFinder
from scrubjay.storage.node.errands import Errands, Note
from scrubjay.storage.node.healing import Healing
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.hosting import Hosting
from scrubjay.storage.node.index_pages import IndexRowFinder
from scrubjay.storage.node.log_pages import LogPages
from scrubjay.storage.node.pins import Pins
from scrubjay.storage.node.splitting import Splitting
from scrubjay.storage.node.spool import Spool
from scrubjay.storage.node.ttl_pages import ExpiredFinder

Done = Callable[[Any], None]


class Services:
    """Of one life of a node. disk: its own folder. `ask` hands an answer, or a ScrubjayError, to `done`, once; at once where nothing has to be waited for."""

    def __init__(self, node: Home, hosting: Hosting, disk: Disk) -> None:
        self._node = node
        self.spool = Spool(node.env, disk)
        self.healing = Healing(node, hosting, self.spool)
        self.pins = Pins(node)
        self.expired = ExpiredFinder(node)
        self.splitting = Splitting(node, hosting, self.healing, disk)
        self.errands = Errands(node.env, broken=node.broken)
        self._asked: dict[int, Task[None]] = {}
        self._count = 0
        self._now: dict[type[Any], Callable[[Any], Any]] = {
            messages.Begin: self._begin,
            messages.Receive: self._receive,
            messages.Discard: lambda request: self.spool.discard(request.spooled),
            messages.Unpin: self.pins.unpin,
            messages.KeepPin: self.pins.keep,
            messages.ReadRow: self.pins.item,
            messages.Hold: self.pins.hold,
            messages.ReadLog: LogPages(node).read,
            messages.ReleaseHold: self.pins.release,
        }
        self._later: dict[type[Any], Callable[[Any], Coroutine[Any, Any, Any]]] = {
            messages.Look: lambda request: self.errands.look(request.id, request.noted),
            messages.RowFileChunk: self._chunk,
            messages.PinCopy: self.pins.pin,
            messages.Settle: lambda request: self.healing.settled(request.partition),
            messages.PinnedRows: self.pins.rows,
            messages.FindIndexRows: IndexRowFinder(node).find,
        }
        self._errands: dict[type[Any], Callable[[Any, Note], Coroutine[Any, Any, messages.Outcome]]] = {
            messages.Heal: self.healing.heal,
            messages.Load: self.healing.load,
            messages.TakeTree: self.healing.adopt,
            messages.Reread: self.healing.reread,
            messages.Survey: self.healing.survey,
            messages.DigestCopy: self.pins.digest,
            messages.FindExpired: self.expired.find,
            messages.PrepareSplit: self.splitting.prepare,
            messages.FindCut: CutFinder(node).find,
        }

    def answers(self, request: Any) -> bool:
        return type(request) in self._now or type(request) in self._later

    def ask(self, request: Any, done: Done) -> None:
        """The answer of a request that only says that it is done: None."""
        now = self._now.get(type(request))
        if now is not None:
            try:
                answer = now(request)
            except ScrubjayError as error:
                answer = error
            done(answer)
            return
        later = self._later.get(type(request))
        if later is None:
            done(Internal("nobody here answers this request", request=type(request).__name__))
            return
        self._count += 1
        self._asked[self._count] = self._node.env.tasks.spawn(self._answer(self._count, later(request), done), name=type(request).__name__)

    async def _answer(self, number: int, work: Coroutine[Any, Any, Any], done: Done) -> None:
        answer: Any = Unavailable("the node stops", node=self._node.name)
        try:
            answer = await work
        except ScrubjayError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  a bug of ours: the node stops, as for one anywhere else
            self._node.broken(error)
            answer = self._node.failed
        finally:
            self._asked.pop(number, None)
            done(answer)

    def stop(self) -> None:
        """The node stops: whoever waits is told."""
        self.errands.stop()
        self.splitting.stop()
        for task in list(self._asked.values()):
            task.cancel()

    # ------------------------------------------------------------------

    def _begin(self, request: messages.Begin) -> None:
        if not self._node.running:
            raise Unavailable("this copy is down", partition=request.errand.partition, node=self._node.name)
        work = self._errands.get(type(request.errand))
        if work is None:
            raise Internal("nobody here does this errand", errand=type(request.errand).__name__)
        self.errands.begin(request.id, lambda note: work(request.errand, note))

    def _receive(self, request: messages.Receive) -> messages.Receiving:
        self.healing.refuse(request.partition)  # before anybody sends what nobody wants
        return messages.Receiving(self.spool.receive(request.size))

    async def _chunk(self, request: messages.RowFileChunk) -> messages.Received:
        return messages.Received(await self.spool.chunk(request.spooled, request.offset, request.data, request.crc))
