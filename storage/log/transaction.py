"""What PREPARE and ABORT hold: a transaction's part in one partition (docs/formats/record.md, ADR 0072). Pure.

A PREPARE locks the keys that it names and changes nothing. A COMMIT repeats its effects, and ends the transaction that holds their keys; an ABORT ends it without any.
Nothing is ever pending at a SEAL, so whoever begins behind one need not know what a PREPARE is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import TRANSACTION_ID_BYTES as ID_BYTES
from scrubjay.base.ids import TRANSACTION_TOKEN_BYTES_MAX as TOKEN_BYTES_MAX
from scrubjay.storage.log.record import HEADER_SIZE, Effect, Record, effects_from, encode_effects

PREPARE_HEAD = struct.Struct("<16sHHI")
ABORT_PAYLOAD = struct.Struct("<16s")
_KEY_LENGTH = struct.Struct("<H")


class Prepared(NamedTuple):
    """Payload of PREPARE. id: of this attempt at the transaction, 16 bytes. token: its name in the ledger, where its decision is written. checked: keys that are locked and not
    written. effects: what COMMIT is to do."""

    id: bytes
    token: bytes
    checked: tuple[bytes, ...]
    effects: tuple[Effect, ...]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All that it locks."""
        return (*[effect.key for effect in self.effects], *self.checked)


def encode_prepared(prepared: Prepared) -> bytes:
    """Payload of a PREPARE whose `count` is that of the effects."""
    assert len(prepared.id) == ID_BYTES
    assert 0 < len(prepared.token) <= TOKEN_BYTES_MAX
    parts = [PREPARE_HEAD.pack(prepared.id, len(prepared.token), len(prepared.checked), 0), prepared.token]
    for key in prepared.checked:
        parts += (_KEY_LENGTH.pack(len(key)), key)
    return b"".join(parts) + encode_effects(prepared.effects)


def decode_prepared(record: Record) -> Prepared:
    """Raises Corrupt if the payload is malformed."""
    data, at = record.data, HEADER_SIZE + PREPARE_HEAD.size
    if len(data) < at:
        raise Corrupt("prepare cut short", what="record", lsn=record.lsn)
    id_, token_length, checked, zero = PREPARE_HEAD.unpack_from(data, HEADER_SIZE)
    if zero or not 0 < token_length <= TOKEN_BYTES_MAX or at + token_length > len(data):
        raise Corrupt("prepare malformed", what="record", lsn=record.lsn)
    token, at = data[at : at + token_length], at + token_length
    keys: list[bytes] = []
    for _ in range(checked):
        if at + _KEY_LENGTH.size > len(data):
            raise Corrupt("prepare cut short", what="record", lsn=record.lsn)
        begin = at + _KEY_LENGTH.size
        at = begin + _KEY_LENGTH.unpack_from(data, at)[0]
        keys.append(data[begin:at])
    if at > len(data):
        raise Corrupt("prepare cut short", what="record", lsn=record.lsn)
    return Prepared(id_, token, tuple(keys), tuple(effects_from(record, at)))


def encode_aborted(id_: bytes) -> bytes:
    return ABORT_PAYLOAD.pack(id_)


def decode_aborted(record: Record) -> bytes:
    """The id of the transaction that ends. Raises Corrupt if the payload is malformed."""
    if len(record.data) != HEADER_SIZE + ABORT_PAYLOAD.size:
        raise Corrupt("abort payload has the wrong size", what="record", lsn=record.lsn)
    id_: bytes = ABORT_PAYLOAD.unpack_from(record.data, HEADER_SIZE)[0]
    return id_


class PendingTransactions:
    """The transactions that are pending after the records taken so far, oldest first. Pure: the same on every copy.

    Invariants: 1 a key is locked by one transaction at most. 2 every pending transaction locks at least one key.
    """

    def __init__(self) -> None:
        self.of: dict[bytes, tuple[Record, Prepared]] = {}
        self.locks: dict[bytes, bytes] = {}
        """Per key the id of the transaction that locks it."""

    def __len__(self) -> int:
        return len(self.of)

    def prepare(self, record: Record, prepared: Prepared) -> None:
        """Raises Corrupt if one of its keys is locked, or it is there already: no leader writes such a PREPARE."""
        keys = prepared.keys
        if not keys or prepared.id in self.of or any(key in self.locks for key in keys):
            raise Corrupt("a prepare of what another transaction holds", what="record", lsn=record.lsn)
        self.of[prepared.id] = record, prepared
        for key in keys:
            self.locks[key] = prepared.id

    def expect(self, record: Record, effects: Sequence[Effect]) -> None:
        """Raises Corrupt unless a transaction is pending with exactly the effects of this COMMIT."""
        id_ = self.locks.get(effects[0].key) if effects else None
        held = () if id_ is None else self.of[id_][1].effects
        if not held or [(one.op, one.key, one.body) for one in held] != [(one.op, one.key, one.body) for one in effects]:
            raise Corrupt("a commit of what was not prepared", what="record", lsn=record.lsn)

    def commit(self, effects: Sequence[Effect]) -> Prepared:
        """These effects are done: the transaction that had them ends."""
        return self.end(self.locks[effects[0].key])

    def abort(self, record: Record, id_: bytes) -> Prepared:
        """Raises Corrupt if no such transaction is pending."""
        if id_ not in self.of:
            raise Corrupt("an abort of what was not prepared", what="record", lsn=record.lsn)
        return self.end(id_)

    def end(self, id_: bytes) -> Prepared:
        _, prepared = self.of.pop(id_)
        for key in prepared.keys:
            del self.locks[key]
        return prepared

    def encode(self) -> tuple[bytes, ...]:
        """The PREPAREs as they stand in the log."""
        return tuple([record.data for record, _ in self.of.values()])

    def check_invariants(self) -> None:
        """Programmer errors only."""
        held = [key for _, prepared in self.of.values() for key in prepared.keys]
        assert len(held) == len(set(held)) == len(self.locks), "a key is locked twice"
        assert all(prepared.keys for _, prepared in self.of.values())
