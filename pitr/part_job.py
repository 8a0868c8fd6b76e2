"""The rebuild of a part of a partition, in a worker: the whole of it is rebuilt and proven, and the rows that are asked for are written."""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.archiver.read.rebuild import as_answer, run_rebuild, write_none
from scrubjay.base.env import JobContext
from scrubjay.pitr.part import PartAsked, part_of
from scrubjay.storage.catalogue import KeySchema


async def rebuild_part_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: those of `rebuild_job`, with neither base nor segments of a partition that can hold none of it; part (PartAsked as plain data); schema (the table's KeySchema). Answer: as of `rebuild_job`."""
    asked = msgspec.convert(arguments["part"], PartAsked)
    part = part_of(msgspec.convert(arguments["schema"], KeySchema), asked)
    if not arguments["base"] and not arguments["segments"]:
        return as_answer(write_none(context.disk, arguments["output"]))
    return await run_rebuild(context, arguments, chosen=part.holds)
