"""What a node says to the other members and hears from them: consensus frames, statements and attestations, records for a damaged log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scrubjay.base.env import Network
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, uuid_bytes
from scrubjay.storage.archive_port import Attestation
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.consensus.resignation import resigned_for_good
from scrubjay.storage.log import record as records
from scrubjay.storage.node import talk as talk
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.post import Post
from scrubjay.storage.replica import LOG, OK, LogReplica
from scrubjay.storage.replica.segments import Statement

_REPAIR_BYTES_MAX = 4 << 20


class Peers:
    """peers: number -> name of the others. boxes: what leaves at the end of a turn."""

    def __init__(self, node: Home, *, peers: Mapping[int, NodeName], network: Network, liveness: Liveness) -> None:
        self._node, self._liveness = node, liveness
        self._peers = dict(peers)
        self._names = {node.number: node.name, **self._peers}
        self._numbers = {peer: at for at, peer in self._peers.items()}
        self._cluster = consensus.cluster_tag(uuid_bytes(node.cluster_id))
        self.boxes = Post(network=network, number=node.number, names=self._names, cluster=self._cluster)

    def name_of(self, leader: Member | None) -> NodeName | None:
        return None if leader is None else self._names.get(leader[0])

    # ------------------------------------------------------------------ heard

    def receive(self, sender: NodeName, frame: bytes) -> None:
        """A frame came in."""
        node = self._node
        if not node.started or not node.running:
            return
        number = self._numbers.get(sender)
        if number is None:
            return
        try:
            if frame[:4] == talk.MAGIC:
                for said in talk.decode_frame(frame):
                    self._on_talk(number, said)
                return
            content = consensus.decode_frame(frame, cluster=self._cluster)
        except Corrupt as error:
            node.log_state(None, "ok", f"dropped a damaged frame from {sender}: {error}")
            return
        now = node.now()
        if content.node:
            for node_message in content.node:
                self.boxes.node(self._liveness.step(number, node_message, now))
            self.after_liveness(now)
        choked = node.turn.choked
        for partition, message in content.groups:
            if choked and isinstance(message, consensus.Accept | consensus.Stage):
                continue
            replica = node.members.get(partition)
            if replica is not None and replica.group is not None and not replica.stopped:
                try:
                    replica.group.step(number, message, now)
                except Corrupt as error:
                    replica.log_failed(error)
                node.dirty(replica)
            elif (replica is None or replica.out or replica.group is None) and isinstance(message, consensus.Question):
                # Its log is gone, or its copy went to another node, or cannot be opened: whoever is bound to a ballot of it would be for as long as this node lives.
                self.boxes.group(partition, resigned_for_good(number, message, node.number))
        node.turn.schedule()

    def after_liveness(self, now: Now) -> None:
        """The liveness of some peer may have changed: tell the groups."""
        node = self._node
        liveness = self._liveness
        for sender, partition, ballot, lsn in liveness.take_chosen():
            replica = node.members.get(partition)
            if replica is not None and replica.group is not None and not replica.stopped:
                replica.group.step(sender, consensus.Chosen(ballot, lsn), now)
                node.dirty(replica)
        if liveness.changed():
            for replica in node.members.values():
                if replica.group is not None and not replica.stopped:
                    replica.group.on_liveness(now)
                    node.dirty(replica)

    def _on_talk(self, sender: int, message: talk.StorageMessage) -> None:
        replica = self._node.members.get(PartitionId(message.partition))
        if replica is None or replica.stopped or replica.group is None:
            return
        if isinstance(message, talk.Say):
            replica.attest.heard(sender, message.statement, want=message.want)
        elif isinstance(message, talk.AttestSegment):
            replica.attest.attested(sender, last=message.last, said=Attestation(message.raw_sha256, message.generation, message.read))
        elif isinstance(message, talk.Refute):
            replica.attest.refuted(last=message.last, generation=message.generation, reason=message.reason)
        elif isinstance(message, talk.ManifestWritten):
            replica.attest.manifest_written(message.last)
        elif isinstance(message, talk.AskRecords):
            self._answer_records(sender, replica, message)
        else:
            self._take_records(replica, message)

    def _answer_records(self, sender: int, replica: LogReplica, message: talk.AskRecords) -> None:
        if replica.state not in (OK, LOG):
            return
        end = min(message.end, replica.applied + 1)
        if message.first >= end:
            return
        try:
            found = self._node.wal.read(replica.partition, Lsn(message.first), Lsn(end), max_bytes=_REPAIR_BYTES_MAX)
        except (Missing, Corrupt):
            return
        self._talk(sender, talk.Records(message.partition, [record.data for record in found]))

    def _take_records(self, replica: LogReplica, message: talk.Records) -> None:
        node = self._node
        try:
            good = [records.decode(data, owner=replica.owner, opaque=True) for data in message.records]
            node.wal.repair(replica.partition, good)
        except ScrubjayError as error:
            node.log_state(replica, replica.state, f"records from a peer were no use: {error}")
            return
        node.turn.after_sync(replica.repair.repaired)

    # ------------------------------------------------------------------ said

    def beat(self, now: Now) -> None:
        """Say what is due to the peers' liveness, and look at what they have said."""
        self.boxes.node(self._liveness.tick(now))
        self.after_liveness(now)

    def send(self) -> None:
        """What the turn has put into the boxes leaves; a node whose boot is not durable yet says nothing."""
        if self._node.started:
            self.boxes.send()
        else:
            self.boxes.drop()

    def _talk(self, to: int, message: talk.StorageMessage) -> None:
        self.boxes.talk(to, message)
        self._node.turn.schedule()

    def say_statement(self, partition: PartitionId, statement: Statement, *, want: bool, to: Sequence[int] | None = None) -> None:
        """to: node numbers, None: every peer."""
        for number in self._peers if to is None else to:
            self._talk(number, talk.Say(partition, statement, want))

    def attest(self, replica: LogReplica, *, first: int, last: int, said: Attestation) -> None:
        """This member's agent holds the archived segment for equal to its own WAL: tell every member (whoever leads logs it)."""
        for number in self._peers:
            self._talk(number, talk.AttestSegment(replica.partition, first, last, said.raw_sha256, said.generation, said.read))
            if not said.read:
                self._talk(number, talk.ManifestWritten(replica.partition, first, last, said.raw_sha256))
        replica.attest.attested(self._node.number, last=last, said=said)

    def refute(self, replica: LogReplica, *, last: int, generation: int, object: str, reason: str) -> None:  # noqa: A002 - as in the message
        """This member's agent read an archived segment back and found this generation bad: tell every member, so that it never counts."""
        for number in self._peers:
            self._talk(number, talk.Refute(replica.partition, last, generation, object, reason))
        replica.attest.refuted(last=last, generation=generation, reason=reason)

    def ask_repair(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        for number in self._peers:
            self._talk(number, talk.AskRecords(partition, first, end))
