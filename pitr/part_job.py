"""The rebuild of a part of a partition, in a worker: the whole of it is rebuilt and proven, and the rows that are asked for are written."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.archiver.read.rebuild import run_rebuild
from scrubjay.base.env import JobContext
from scrubjay.pitr.part import PartAsked, part_of
from scrubjay.storage.catalogue import KeySchema


async def rebuild_part_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: those of `rebuild_job`; part (PartAsked as plain data); schema (the table's KeySchema). Answer: as of `rebuild_job`."""
    asked = msgspec.convert(arguments["part"], PartAsked)
    part = part_of(msgspec.convert(arguments["schema"], KeySchema), asked)
    return await run_rebuild(context, arguments, chosen=part.holds)
