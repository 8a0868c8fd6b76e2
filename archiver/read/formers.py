"""Whose folders are of a former membership, as the archive says (`archiver.format.former`)."""

from __future__ import annotations

from scrubjay.archiver.format.former import Former, decode_former
from scrubjay.archiver.format.layout import FormerKey, former_prefix, parse
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore


async def formers(store: ObjectStore, cluster: str) -> list[Former]:
    """Every recovery of a lost quorum, rising: one request where there was none. Raises Unavailable, Corrupt (one cannot be read: whom it names is not known), Missing (listed and gone)."""
    names = [name for name in await list_all(store, former_prefix(cluster)) if isinstance(parse(name), FormerKey)]
    return [decode_former(await store.get(name), where=name) for name in names]
