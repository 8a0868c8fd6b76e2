"""How objects of the archive are deleted, whoever found that they may go: several at a time, what a lock keeps is told, and nobody goes on remembering them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from scrubjay.archiver.expire.plan import LOCK, Held
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.names import PARALLEL
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import Unsafe
from scrubjay.base.together import in_parallel

BATCH = 64
"""Objects deleted between two looks at whether they still may go."""


async def delete_some(
    store: ObjectStore,
    tasks: Tasks,
    index: ArchiveIndex,
    keys: Sequence[str],
    held: list[Held],
    forget: Callable[[Sequence[str]], Awaitable[None]],
    *,
    note: Callable[[str, int], None] | None = None,
) -> list[str]:
    """Those that are gone. One that the store refuses to delete (a lock) is noted in `held`, and stays. forget: told of keys that are gone.
    note: told of one that is locked, and until when. Raises Unavailable."""

    async def delete(key: str) -> str | None:
        try:
            await store.delete(key)
        except Unsafe as error:
            until_us = error.fields.get("until_us")
            if note is not None and isinstance(until_us, int):
                note(key, until_us)  # not tried again before
            held.append(Held(LOCK, key, str(error), until_us))
            return None
        return key

    done = await in_parallel(tasks, delete, keys, lanes=PARALLEL, name="expire")
    gone = [key for key in done if key is not None]
    for key in gone:
        index.suspects.drop(key)
    await forget(gone)
    return gone
