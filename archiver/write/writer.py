"""In whose name this process writes to the archive, and whether it may: one value, shared by the agents and by whatever makes bases.

`archiver.write.claiming` moves it: unknown until the epoch was claimed, claimed, blocked for now (the archive is not where it was), or stopped for good.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scrubjay.archiver.format.identity import Attached
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Fenced, Unavailable

FENCED = "fenced"
DIVERGED = "diverged"
UNKNOWN = "unknown_epoch"
BLOCKED = "archive_gone"


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why nothing is written any more. kind: `fenced` (another cluster holds our identity) or `diverged` (the archive's history is not our log's)."""

    kind: str
    reason: str
    since_us: int


class Writer:
    """taken_over: up to this epoch other histories were given up by a confirmed takeover. met: partitions whose log was compared with the archive's end
    since this process began."""

    def __init__(self, cluster: str, attached: Attached | None = None) -> None:
        assert attached is None or attached.cluster == cluster
        self.cluster = cluster
        self.stopped: Stopped | None = None
        self.blocked = ""
        self.taken_over = 0
        self.met: dict[str, None] = {}
        self.assure: Callable[[ObjectStore], Awaitable[None]] = _nothing
        """Awaited before an upload, with the store that the caller uses: raises if somebody else writes here by now, or if the archive is not there any more. Looks at most now and then."""
        self.diverged: Callable[[str], Awaitable[None]] = self._diverged
        """Told that the archive holds another history than our log: nothing is written any more, over restarts."""
        self._attached = attached

    @property
    def attached(self) -> Attached:
        """Raises Fenced (for good), or Unavailable while the epoch is unknown or the archive is not there: nothing may be written then."""
        if self.stopped is not None:
            raise Fenced(self.stopped.reason, cluster=self.cluster, kind=self.stopped.kind)
        if self._attached is None:
            raise Unavailable("the archive's epoch is not known yet: nothing is written", cluster=self.cluster)
        if self.blocked:
            raise Unavailable(self.blocked, cluster=self.cluster)
        return self._attached

    @property
    def claimed_as(self) -> Attached | None:
        """Under which epoch it writes while it may; None: not known yet."""
        return self._attached

    @property
    def state(self) -> str:
        """ "" while it may write, else one word for why not: fenced, diverged, unknown_epoch, archive_gone."""
        if self.stopped is not None:
            return self.stopped.kind
        if self._attached is None:
            return UNKNOWN
        return BLOCKED if self.blocked else ""

    def claimed(self, attached: Attached) -> None:
        assert attached.cluster == self.cluster
        self._attached = attached

    def unclaim(self) -> None:
        """Nothing may be written until the next claim."""
        self._attached = None

    def stop(self, stopped: Stopped) -> None:
        """For good; the first reason stays."""
        if self.stopped is None:
            self.stopped = stopped

    async def _diverged(self, reason: str) -> None:
        self.stop(Stopped(DIVERGED, reason, 0))


async def _nothing(store: ObjectStore) -> None:
    """Without a claim there is nobody to look."""
