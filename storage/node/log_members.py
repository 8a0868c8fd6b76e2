"""The file beside a node's log that says that its copy of a partition is a log replica, and who is a member of the group (docs/formats/log-members.md, ADR 0080).

A storage replica keeps that in its tree; a log lets go of the CONFIG that says it.
"""

from __future__ import annotations

import struct

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.log.configuration import decode_configuration
from scrubjay.storage.replica.state import UNCONFIGURED, Configured

MAGIC = b"SJLM"
VERSION = 1
HEAD = struct.Struct("<4sHHIQ")


def log_members_file(partition: PartitionId) -> str:
    """Its name in the node's folder."""
    return f"log-members-{partition}"


def encode_log_members(lsn: Lsn, payload: bytes) -> bytes:
    """payload: of the CONFIG at `lsn`; empty at 0."""
    body = struct.pack("<Q", lsn) + payload
    return HEAD.pack(MAGIC, VERSION, 0, crc32c_masked(body), lsn) + payload


def decode_log_members(data: bytes) -> Configured:
    """Raises Corrupt."""
    if len(data) < HEAD.size:
        raise Corrupt("log members cut short", what="log members", found=len(data))
    magic, version, zero, crc, lsn = HEAD.unpack_from(data)
    payload = data[HEAD.size :]
    if magic != MAGIC or version != VERSION or zero or crc != crc32c_masked(struct.pack("<Q", lsn) + payload) or bool(lsn) != bool(payload):
        raise Corrupt("log members malformed, or of a later version", what="log members", found=len(data))
    if not lsn:
        return UNCONFIGURED
    decode_configuration(payload)
    return Configured(Lsn(lsn), payload)
