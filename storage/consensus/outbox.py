"""What a group wants done and has not given to its shell yet, and what waits for a sync.

State in memory moves when a frame is *queued*; whatever rests on it leaves only after the sync that covers it. Several Ready values may be outstanding: batch
N+1 collects while N syncs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId
from scrubjay.storage.consensus.messages import PartitionMessage
from scrubjay.storage.consensus.ready import Envelope
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal

NONE = Ballot(0)
"""No ballot."""


class PendingReady:
    """A Ready that is not synced yet: what it makes true and which messages wait for it. accepted, last: of the log when it was closed.
    promises: a ballot of our own whose promise is in it. elects: our ballot whose ADOPT is in it."""

    __slots__ = ("accepted", "elects", "last", "messages", "promises", "token")

    def __init__(self, token: int, accepted: Ballot, last: Lsn, messages: list[Envelope], promises: Ballot, elects: Ballot) -> None:
        self.token = token
        self.accepted = accepted
        self.last = last
        self.messages = messages
        self.promises = promises
        self.elects = elects


class Outbox:
    """promises, elects: of the batch that collects, see Pending. deposed, install_from: for the next Ready."""

    __slots__ = (
        "_after_sync",
        "_appending",
        "_appending_under",
        "_frames",
        "_outstanding",
        "_partition",
        "_send_now",
        "_token",
        "deposed",
        "elects",
        "install_from",
        "promises",
    )

    def __init__(self, partition: PartitionId) -> None:
        self._partition = partition
        self._frames: list[wal.Frame] = []
        self._appending: list[Record] = []
        self._appending_under = NONE
        self._send_now: list[Envelope] = []
        self._after_sync: list[Envelope] = []
        self._outstanding: deque[PendingReady] = deque()
        self._token = 0
        self.promises = NONE
        self.elects = NONE
        self.deposed = False
        self.install_from: Member | None = None

    # --- frames ---

    def save(self, frame: wal.Frame) -> None:
        """Queue a frame, behind the records queued so far."""
        if self._appending:
            self._flush_append()
        self._frames.append(frame)

    def append(self, records: Sequence[Record], accepted: Ballot) -> None:
        """Queue records of the log accepted under that ballot: what follows without another frame between is one Append."""
        self._appending_under = accepted
        self._appending += records

    def _flush_append(self) -> None:
        self._frames.append(wal.Append(self._partition, self._appending_under, tuple(self._appending), False))
        self._appending = []

    # --- messages ---

    def send(self, node: int, message: PartitionMessage) -> None:
        """Leaves at once: says nothing that a crash could make untrue."""
        self._send_now.append(Envelope(node, message))

    def answer(self, node: int, message: PartitionMessage) -> None:
        """Leaves after everything queued so far is synced."""
        self._after_sync.append(Envelope(node, message))

    # --- to the shell and back ---

    def close_batch(self, accepted: Ballot, last: Lsn) -> tuple[int, tuple[wal.Frame, ...]]:
        """Its token (0 if nothing is persisted) and frames. Messages wait for it, or for the newest batch before it. accepted, last: see Pending."""
        if self._appending:
            self._flush_append()
        messages, self._after_sync = self._after_sync, []
        if self._frames:
            frames, self._frames = tuple(self._frames), []
            self._token += 1
            self._outstanding.append(PendingReady(self._token, accepted, last, messages, self.promises, self.elects))
            self.promises = self.elects = NONE
            return self._token, frames
        if messages:
            if self._outstanding:
                self._outstanding[-1].messages += messages
            else:
                self._send_now += messages
        return 0, ()

    def take_send_now(self) -> tuple[Envelope, ...]:
        """What may leave at once; after `close_batch`, which may add to it."""
        if not self._send_now:
            return ()
        taken, self._send_now = self._send_now, []
        return tuple(taken)

    def pop_synced(self, token: int) -> PendingReady | None:
        """The oldest batch that a sync of everything up to `token` covers; None: no more."""
        queue = self._outstanding
        return queue.popleft() if queue and queue[0].token <= token else None

    def forget_candidacy(self) -> None:
        """We act under our ballot no more: no sync makes us a promise or a leadership out of it."""
        self.elects = self.promises = NONE
        for pending in self._outstanding:
            pending.elects = pending.promises = NONE
