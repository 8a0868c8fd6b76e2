"""What a leader does for transactions: a part is evaluated as one and locked (PREPARE), ended by the decision (COMMIT, ABORT), or done at once where it is all there is (ADR 0072).

Locks are those of the applied state and of what is proposed. No SEAL is proposed while one is held, so that nothing is pending at any SEAL: while one is wanted, nothing new is prepared.

A PREPARE says that nothing at or above its stamp is closed until its COMMIT is: that goes by a time which may be any from the PREPARE's stamp on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from scrubjay.base.errors import Conflict, Corrupt, Invalid, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    FinishCommand,
    LookCommand,
    Outcome,
    PrepareCommand,
    TransactAnswer,
    TransactCommand,
    TransactedCommand,
    WriteAnswer,
)
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.keys import HASH_BYTES
from scrubjay.storage.items.local_index import LocalRows
from scrubjay.storage.items.size import TRANSACTION_SIZE_MAX, item_size
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Effect, Op, RecordKind
from scrubjay.storage.log.transaction import PendingTransactions, Prepared, encode_aborted, encode_prepared
from scrubjay.storage.replica.collection_limit import CollectionLimit
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.pending import Pending

COMMIT_BYTES_MAX = records.RECORD_SIZE_MAX - records.HEADER_SIZE
"""Of a partition's part: keys, what is written, replaced and checked."""
READ_BYTES_MAX = 12 << 20
"""Of the items that one transaction reads of a partition, as they are encoded: an answer has each twice, and holds more than that."""
PENDING_MAX = 256
"""Transactions pending at once in a partition; a further one is told to come again."""
PENDING_BYTES_MAX = 32 << 20
"""Of their effects: every checkpoint keeps them."""
DRAIN_US = 500_000
"""How long a SEAL that could not be proposed keeps new transactions away, unless it is wanted again."""
DRAIN_LOOK_US = 10_000
"""Between two looks whether a SEAL can be proposed now."""
STALLED_US = 2_000_000
"""A transaction that is pending for so long has lost its coordinator, or that is slow: whoever asks the ledger for it does no harm."""

Done = Callable[[WriteAnswer | ScrubjayError], None]


class Stalled(NamedTuple):
    """A transaction that is pending too long. key: one of those that it locks. since_us: boot time."""

    id: bytes
    token: bytes
    key: bytes
    since_us: int


class _Held(NamedTuple):
    """Not closed from the PREPARE's stamp on, up to the COMMIT's; until 0: for as long as it is pending."""

    since: Stamp
    until: Stamp


class TransactingReplica(Hosted, Protocol):
    """What this part asks of its replica. transactions: those pending in the applied state."""

    node: ReplicaHost
    owner: bytes
    index_keys: IndexKeys | None
    local: LocalRows | None

    @property
    def transactions(self) -> PendingTransactions: ...
    @property
    def applied(self) -> Lsn: ...
    @property
    def newest_delete(self) -> Lsn:
        """No key of which nothing is known any more was deleted by a record above it."""
        ...

    def find(self, key: bytes) -> bytes | None:
        """The applied version of a key. Raises Corrupt, Unavailable."""
        ...

    def written_by(self, key: bytes) -> Lsn | None:
        """LSN of the record that wrote the applied version of a key. Raises Corrupt."""
        ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...


class Transacting:
    """One term's. Made with it."""

    def __init__(
        self,
        replica: TransactingReplica,
        group: Group,
        pending: Pending,
        *,
        no_room: Callable[[int], ScrubjayError | None],
        when_applied: Callable[[Lsn, Callable[[ScrubjayError | None], None]], None],
        keeps_old: Callable[[], bool],
    ) -> None:
        """pending: what the term has proposed. no_room: why a payload of so many bytes cannot be proposed now. when_applied: answers what proposed nothing, as a strong read at an LSN.
        keeps_old: effects carry the item that was there before."""
        self._replica, self._group, self._pending = replica, group, pending
        self._no_room, self._when_applied, self._keeps_old = no_room, when_applied, keeps_old
        self._proposed: dict[bytes, tuple[Prepared, Stamp]] = {}
        """PREPAREs that are not applied yet, by id."""
        self._locks: dict[bytes, bytes] = {}
        """What they lock."""
        self._ended: set[bytes] = set()
        """Transactions whose end is proposed and not applied yet."""
        self._held: list[_Held] = []
        """Of transactions that have ended."""
        self._since: dict[bytes, int] = {}
        self._draining_us = 0
        """Boot time until which nothing new is prepared."""

    # ------------------------------------------------------------------ what is held

    def locks(self, key: bytes) -> bool:
        """A transaction holds the key."""
        id_ = self._locks.get(key) or self._replica.transactions.locks.get(key)
        return id_ is not None and id_ not in self._ended

    @property
    def any(self) -> bool:
        """Some transaction holds something. Asked of every leader at each look, of which few have any."""
        if not self._proposed and not self._replica.transactions.of:
            return False
        return bool(self._proposed.keys() - self._ended) or bool(self._replica.transactions.of.keys() - self._ended)

    def closable(self, closed: Stamp) -> Stamp:
        """The highest time up to `closed` that may be called closed outside a SEAL."""
        pending = self._replica.transactions.of
        if not pending and not self._proposed and not self._held:
            return closed
        held = [_Held(record.stamp, Stamp(0)) for id_, (record, _) in pending.items() if id_ not in self._ended]
        held += [_Held(stamp, Stamp(0)) for id_, (_, stamp) in self._proposed.items() if id_ not in self._ended]
        self._held = [one for one in self._held if one.until > closed]
        for one in sorted([*held, *self._held], reverse=True):
            if one.since <= closed and (one.until == 0 or closed < one.until):
                closed = Stamp(one.since - 1)
        return closed

    @property
    def draining(self) -> bool:
        """A SEAL is wanted and could not be proposed: nothing new is prepared, and it comes as soon as what is pending has ended."""
        return self._replica.node.boot_us() < self._draining_us

    def wants_seal(self) -> bool:
        """Whether a SEAL may be proposed now. If not, nothing new is prepared until it may, or nobody wants it any more."""
        if not self.any:
            self._draining_us = 0
            return True
        self._draining_us = self._replica.node.boot_us() + DRAIN_US
        return False

    def sealed(self) -> None:
        """A SEAL is applied: what ended before it is below it, and whoever reads up to a closed time reads up to the last SEAL."""
        self._held.clear()

    def applied(self, id_: bytes) -> None:
        """The PREPARE of this transaction is applied, or its end."""
        if id_ in self._replica.transactions.of:
            self._forget(id_)
        else:
            self._ended.discard(id_)
            self._since.pop(id_, None)

    def _forget(self, id_: bytes) -> None:
        proposed = self._proposed.pop(id_, None)
        for key in proposed[0].keys if proposed is not None else ():
            if self._locks.get(key) == id_:  # else its end was proposed already, and the key is another's behind that
                del self._locks[key]

    def stalled(self, most: int) -> list[Stalled]:
        """Those that are pending too long, at most so many: the oldest, and others in turn, second by second. Those that cannot be ended just now keep nobody from hearing of the rest."""
        now_us, found = self._replica.node.boot_us(), []
        for id_, (_, prepared) in self._replica.transactions.of.items():
            since = self._since.setdefault(id_, now_us)
            if id_ not in self._ended and now_us - since >= STALLED_US:
                found.append(Stalled(id_, prepared.token, prepared.keys[0], since))
        if len(found) <= most:
            return found
        others = found[1:]
        at = now_us // 1_000_000 * (most - 1) % len(others)
        return [found[0], *(others[at:] + others[:at])[: most - 1]]

    # ------------------------------------------------------------------ asked

    def ask(self, command: TransactCommand, done: Done) -> None:
        try:
            if isinstance(command, PrepareCommand):
                self._prepare(command, done)
            elif isinstance(command, FinishCommand):
                self._finish(command, done)
            else:
                self._look(command, done)
        except Corrupt as rot:
            done(self._rotten(rot))
        except (Unavailable, Invalid) as lack:
            done(lack)

    def _prepare(self, command: PrepareCommand, done: Done) -> None:
        replica = self._replica
        known = replica.transactions.of.get(command.id)
        if known is not None or command.id in self._proposed or command.id in self._ended:
            # Sent twice, by whatever carries it. What it was answered is not known any more.
            raise Invalid("this transaction is prepared here already", what="transaction", id=command.id.hex())
        limits: dict[bytes, CollectionLimit] = {}
        outcomes = tuple([self._outcome(part, limits) for part in command.parts])
        _check_size(command.parts, outcomes)
        refused = any(one.decision in (Decision.CONDITION_FAILED, Decision.REFUSED, Decision.LOCKED) for one in outcomes)
        busy = not refused and not command.whole and self._busy(command)
        effects = [
            _effect(part, one) for part, one in zip(command.parts, outcomes, strict=True) if one.decision in (Decision.PUT, Decision.DELETE)
        ]
        if refused or busy or (command.whole and not effects):
            self._answer(outcomes, done, busy=busy)
            return
        if command.whole:
            shown = [self._shown(effect) for effect in effects]
            self._propose(outcomes, RecordKind.DATA, records.encode_effects(shown), shown, None, done)
            return
        written = {effect.key for effect in effects}
        checked = tuple([part.key for part in command.parts if part.key not in written])
        prepared = Prepared(command.id, command.token, checked, tuple(effects))
        stamp = self._propose(outcomes, RecordKind.PREPARE, encode_prepared(prepared), effects, None, done)
        if stamp:
            self._proposed[command.id] = prepared, stamp
            self._since[command.id] = replica.node.boot_us()
            for key in prepared.keys:
                self._locks[key] = command.id

    def _present(self, key: bytes) -> bytes | None:
        """A key's speculative version: proposed, else applied."""
        entry = self._pending.speculative.get(key)
        return entry[1] if entry is not None else self._replica.find(key)

    def _shown(self, effect: Effect) -> Effect:
        """As the log has it where it is done: with what was there before, if somebody reads that. A COMMIT's items are as they were when they were locked."""
        return effect._replace(old=self._present(effect.key) or b"") if self._keeps_old() else effect

    def _outcome(self, part: TransactedCommand, limits: dict[bytes, CollectionLimit]) -> Outcome:
        """limits: of the item collections that parts before this one are in, by their hash."""
        if self.locks(part.key):
            return Outcome(Decision.LOCKED, None, None)
        replica, old = self._replica, self._present(part.key)
        outcome = evaluate(part, old, indexes=replica.index_keys)
        if replica.local is None:
            return outcome
        prefix = part.key[:HASH_BYTES]
        if prefix not in limits:
            limits[prefix] = CollectionLimit(
                replica.local, part.key, limit=replica.node.options.item_collection_bytes_max, find=replica.find
            )
        return limits[prefix].passed(part.key, old, outcome)

    def _busy(self, command: PrepareCommand) -> bool:
        """A SEAL is wanted, or too much is pending."""
        replica = self._replica
        pending = replica.transactions.of
        if self.draining:
            return True
        size = sum(len(record.data) for record, _ in pending.values())
        return len(pending) + len(self._proposed) >= PENDING_MAX or size > PENDING_BYTES_MAX

    def _finish(self, command: FinishCommand, done: Done) -> None:
        replica = self._replica
        known = self._proposed.get(command.id)
        if command.id in replica.transactions.of:
            record, prepared = replica.transactions.of[command.id]
            known = prepared, record.stamp
        if command.id in self._ended or known is None:
            self._answer((), done)  # it has ended: by this decision, there is no other
            return
        prepared, since = known
        if not command.effective:
            stamp = self._propose((), RecordKind.ABORT, encode_aborted(command.id), (), None, done)
        elif command.effective < since:
            raise Invalid("a transaction is not effective before it was prepared", what="transaction", id=command.id.hex())
        elif not prepared.effects:
            stamp = self._propose((), RecordKind.ABORT, encode_aborted(command.id), (), None, done)
        else:
            effective = Stamp(command.effective)
            if not replica.node.heard(effective):
                raise Unavailable("the transaction's time is too far ahead of this machine's clock", stamp=command.effective)
            shown = [self._shown(effect) for effect in prepared.effects]
            stamp = self._propose((), RecordKind.COMMIT, records.encode_effects(shown), shown, effective, done)
            if stamp:
                self._held.append(_Held(since, stamp))
        if stamp:
            self._ended.add(command.id)

    def _look(self, command: LookCommand, done: Done) -> None:
        replica = self._replica

        def answer(error: ScrubjayError | None) -> None:
            if error is not None:
                done(error)
                return
            try:
                outcomes = tuple([self._looked_at(key) for key in command.keys])
                _check_read([one.old for one in outcomes])
                versions = tuple([self._version(key) for key in command.keys])
            except Corrupt as rot:
                done(self._rotten(rot))
            except (Unavailable, Invalid) as lack:
                done(lack)
            else:
                done(self._said(outcomes, 0, lsn=replica.applied, versions=versions))

        self._when_applied(self._group.last, answer)

    def _looked_at(self, key: bytes) -> Outcome:
        """The applied state. A COMMIT that is proposed is not in it, and may be seen at another item already: until it is applied the item is held."""
        if key in self._locks or key in self._replica.transactions.locks:
            return Outcome(Decision.LOCKED, None, None)
        item = self._replica.find(key)
        return Outcome(Decision.UNCHANGED, item, item)

    def _version(self, key: bytes) -> int:
        """Of a key that nothing is known of: it was not there, unless something was deleted since."""
        written = self._replica.written_by(key)
        return self._replica.newest_delete if written is None else written

    def _rotten(self, rot: Corrupt) -> ScrubjayError:
        self._replica.found_rot(rot, found_by="read")
        return NotLeader("rot found while evaluating; this replica no longer leads", partition=self._replica.partition)

    # ------------------------------------------------------------------ answering

    def _said(
        self, outcomes: tuple[Outcome, ...], stamp: int, *, lsn: Lsn, busy: bool = False, versions: tuple[int, ...] = ()
    ) -> TransactAnswer:
        nothing = Outcome(Decision.UNCHANGED, None, None)
        return TransactAnswer(nothing, self._replica.partition, lsn, None, outcomes, stamp, busy, versions)

    def _answer(self, outcomes: tuple[Outcome, ...], done: Done, *, busy: bool = False) -> None:
        """What proposed nothing rests on all that was proposed before."""
        said = self._said(outcomes, 0, lsn=self._group.last, busy=busy)
        self._when_applied(self._group.last, lambda error: done(error if error is not None else said))

    def _propose(
        self,
        outcomes: tuple[Outcome, ...],
        kind: RecordKind,
        payload: bytes,
        effects: Sequence[Effect],
        effective: Stamp | None,
        done: Done,
    ) -> Stamp | None:
        """The record's stamp; None: `done` was told why not. Raises Unavailable, Invalid."""
        replica, group, node = self._replica, self._group, self._replica.node
        if len(payload) + records.HEADER_SIZE > records.RECORD_SIZE_MAX:
            raise Invalid("a transaction writes more than a record can hold", what="transaction", found=len(payload))
        if kind in (RecordKind.PREPARE, RecordKind.DATA):
            refusal = self._no_room(len(payload))
        else:  # what ends a transaction is refused for no lack of room: no SEAL could be proposed, and nothing would become less
            # Nor for the window, as far as anything fits it: one that a large record fits beside other writes never comes while those go on.
            room = group.can_propose(records.HEADER_SIZE, node.now())
            refusal = None if room else Unavailable("too much is in flight for this partition", partition=replica.partition)
        if refusal is not None:
            done(refusal)
            return None
        stamp, lsn = node.stamp(), group.next_lsn
        record = records.encode(
            owner=replica.owner, lsn=lsn, stamp=stamp, kind=kind, payload=payload, count=len(effects), effective=effective
        )
        group.propose((record,))
        pending = self._pending
        if kind is not RecordKind.PREPARE:
            for effect in effects:
                pending.speculative[effect.key] = lsn, None if effect.op.is_delete else effect.body
        pending.content.append((stamp, lsn))
        said = self._said(outcomes, stamp, lsn=lsn)
        until_us = node.boot_us() + node.options.write_wait_us
        pending.wait(lsn, lambda error: done(error if error is not None else said), proposed=True, until_us=until_us)
        node.dirty(replica)
        return stamp

    def check_invariants(self) -> None:
        """Programmer errors only."""
        assert all(self._proposed.get(id_) is not None for id_ in self._locks.values())
        assert not self._proposed.keys() & self._replica.transactions.of.keys(), "a transaction is proposed and applied"


def _effect(part: TransactedCommand, outcome: Outcome) -> Effect:
    assert not isinstance(part, CheckCommand)
    if outcome.decision is Decision.PUT:
        assert outcome.new is not None
        return Effect(Op.PUT, part.key, outcome.new)
    return Effect(Op.DELETE, part.key, part.key_item)


def _check_size(parts: Sequence[TransactedCommand], outcomes: Sequence[Outcome]) -> None:
    """Raises Invalid: its COMMIT might be more than a record can hold, or what is answered more than an answer, so it must not be prepared: it could never end. What was there before
    counts whether it is asked for now or not: a stream may be turned on in between."""
    size = sum([len(part.key) + len(part.key_item) + records.EFFECT_SIZE_MAX for part in parts])
    size += sum([len(one.old or b"") + len(one.new or b"") for one in outcomes])
    if size > COMMIT_BYTES_MAX:
        raise Invalid("a transaction writes, replaces and checks more than a record can hold", what="transaction", found=size)


def _check_read(items: Sequence[bytes | None]) -> None:
    """Raises Invalid (field `transaction`: `too_large`): more than a transaction may read, or than an answer can hold."""
    there = [item for item in items if item is not None]
    size = sum(map(len, there))
    # An encoding is never shorter than the size; it is longer than that is worth only where numbers are far from the decimal point.
    if size > READ_BYTES_MAX or (
        size > TRANSACTION_SIZE_MAX and sum([item_size(decode_item(item)) for item in there]) > TRANSACTION_SIZE_MAX
    ):
        raise Invalid("a transaction reads more than it may", what="transaction", found=size, transaction="too_large")


def locked(partition: str) -> Conflict:
    """What a single write is told whose item a transaction holds."""
    return Conflict("a transaction is ongoing for the item", what="transaction", partition=partition)
