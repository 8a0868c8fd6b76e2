"""What a replica does about damage in its own log: no vote until peers have given back what is bad, and all of it was read back from the disk."""

from __future__ import annotations

from typing import Protocol

from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import Lsn
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.status import AMNESIAC, Status


class Damaged(Hosted, Protocol):
    """What this part asks of its replica."""

    node: ReplicaHost
    status: Status

    @property
    def state(self) -> str: ...
    @property
    def applied(self) -> Lsn: ...

    def ended(self) -> None:
        """It leads no more."""
        ...


class Repair:
    """damaged: records in the middle of the log are bad. until_us: boot time at which what waits is tried again, applying too; 0: nothing waits."""

    def __init__(self, replica: Damaged) -> None:
        self._replica = replica
        self.damaged = False
        self.until_us = 0
        self._lost: dict[tuple[Lsn, Lsn], None] = {}
        """Ranges of its log that were damaged, until they were all read back."""
        self._refused = ""
        """Why a peer's records were last not taken."""
        self._told = 0
        """First damaged LSN that a finding was made of."""

    def log_failed(self, error: Corrupt) -> None:
        """A record of its log fails its check, or one that came in a message does: that one says nothing of the log, and is not taken."""
        replica = self._replica
        if error.fields.get("what") == "message":
            if self._refused != str(error):
                self._refused = str(error)
                replica.node.log_state(replica, replica.state, f"a peer's records are not taken: {error}")
            return
        self.found(Lsn(int(error.fields.get("lsn", 0)) or replica.applied + 1), error)

    def found(self, first: Lsn, error: ScrubjayError) -> None:
        """Records in the middle of its log fail their check: no vote until peers have given them back. `first`: the lowest known to be bad."""
        replica, group = self._replica, self._replica.group
        if group is None or replica.status.vote == AMNESIAC:
            return
        if not self.damaged:
            self.damaged = True
            replica.node.log_state(replica, replica.state, f"log damaged at {first}, no vote until it is repaired: {error}")
            group.set_vote(False, replica.node.now())
            replica.ended()
            replica.node.dirty(replica)  # a leadership given up for it is to be said now
        self._lost.update(dict.fromkeys(replica.node.wal.damaged(replica.partition)))
        self.ask(first, Lsn(group.last + 1), error)

    def ask(self, first: Lsn, end: Lsn, error: ScrubjayError) -> None:
        """Ask the peers for the records [first, end), one question at a time."""
        replica = self._replica
        now_us = replica.node.boot_us()
        if now_us < self.until_us:
            return
        self.until_us = now_us + replica.node.options.statement_retry_us
        if self._told != first:
            self._told = first
            replica.node.finding(replica, kind="unreadable", found_by="seal", lsn=first, detail=f"log damaged: {error}")
        replica.node.ask_repair(replica.partition, first, end)
        replica.node.arm(replica)

    def repaired(self) -> None:
        """Damaged log records were put back from a peer."""
        replica = self._replica
        self.until_us = 0
        if self.damaged and replica.group is not None:
            left = self._still_damaged()
            if left:
                self._lost.update(dict.fromkeys(left))
                self.ask(left[0][0], Lsn(left[-1][1] + 1), Corrupt("more of the log is damaged", what="wal"))
                return
            self.damaged = False
            self._lost.clear()
            replica.group.set_vote(replica.status.vote != AMNESIAC, replica.node.now())
            replica.node.log_state(replica, replica.state, "log repaired from a peer; it votes again")
            replica.node.dirty(replica)
        replica.apply_ready()

    def tick(self, now_us: int) -> None:
        """Try again what is due."""
        if not self.until_us or now_us < self.until_us:
            return
        self.until_us = 0
        if self.damaged:
            self.repaired()  # of a suspect too: its log votes
        self._replica.apply_ready()

    def _still_damaged(self) -> tuple[tuple[Lsn, Lsn], ...]:
        """What is lacking yet of what was damaged: nothing counts as repaired before it was read back from the disk."""
        wal, partition = self._replica.node.wal, self._replica.partition
        left = wal.damaged(partition)
        if left:
            return left
        for first, last in self._lost:
            try:
                wal.reread(partition, first, Lsn(last + 1))
            except Corrupt:
                return wal.damaged(partition) or ((first, last),)
        return ()
