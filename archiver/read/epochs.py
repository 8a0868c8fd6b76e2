"""Who claimed which epoch, and whether what says that it was written in one may be believed."""

from __future__ import annotations

from scrubjay.archiver.format.closed import ClosedObject
from scrubjay.archiver.format.day import IndexObject
from scrubjay.archiver.format.identity import decode_epoch
from scrubjay.archiver.format.layout import (
    EpochKey,
    epoch_prefix,
    parse,
)
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Corrupt, Missing, NoKey
from scrubjay.base.hlc import stamp_micros


class Epochs:
    """Who claimed which epoch. What is written in the name of an epoch that somebody else claimed, or nobody yet, is forged."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        self._store = store
        self._cluster = cluster
        self._owners: dict[int, str | None] = {}

    async def read(self) -> None:
        """Look for new ones. An epoch object that cannot be read speaks for nobody and against nobody. Raises Unavailable."""
        for name in await list_all(self._store, epoch_prefix(self._cluster)):
            key = parse(name)
            if isinstance(key, EpochKey) and self._owners.get(key.number) is None:
                try:
                    self._owners[key.number] = decode_epoch(await self._store.get(name), where=name).owner
                except (Corrupt, Missing, NoKey):
                    self._owners[key.number] = None

    async def fault(self, epoch: int, owner: str) -> str | None:
        """Why something written by `owner` in `epoch` is not to be believed."""
        if epoch > max(self._owners, default=0):
            await self.read()
        known = self._owners.get(epoch)
        if known is not None and known != owner:
            return f"written in the name of epoch {epoch} by somebody who did not claim it"
        if epoch > max(self._owners, default=epoch):
            return f"written in the name of epoch {epoch}, which nobody claimed"
        return None


async def closed_fault(closed: ClosedObject, epochs: Epochs, *, now_us: int, ahead_us: int) -> str | None:
    """Why a closed object, sound in itself, is not to be believed: written in somebody else's name, or ahead of the clock."""
    fault = await epochs.fault(closed.epoch, closed.owner)
    if fault is not None:
        return fault
    if closed.time_us > now_us + ahead_us:
        return f"published {(closed.time_us - now_us) / 1e6:.0f} s ahead of this clock"
    worst = max((point.closed for point in closed.points), default=0)
    if stamp_micros(worst) > closed.time_us + ahead_us:
        return f"a closed timestamp {(stamp_micros(worst) - closed.time_us) / 1e6:.0f} s ahead of the clock that published it"
    return None


async def index_fault(index: IndexObject, epochs: Epochs, *, now_us: int | None, ahead_us: int) -> str | None:
    """Why an object of the daily index, sound in itself, is not to be believed. now_us None: no time is called untrue."""
    fault = await epochs.fault(index.epoch, index.owner)
    if fault is None and now_us is not None and index.time_us > now_us + ahead_us:
        return f"written {(index.time_us - now_us) / 1e6:.0f} s ahead of this clock"
    return fault
