"""A compare-and-set whose outcome somebody has to know: metadata's, and the decisions of transactions."""

from __future__ import annotations

from functools import partial

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import SwapCommand, WriteAnswer
from scrubjay.storage.control.router import GIVE_UP_US, Router


async def swap(
    env: Env, router: Router, table: TableMeta, command: SwapCommand, *, tries: int, patience_us: int = GIVE_UP_US
) -> WriteAnswer:
    """patience_us: of each try (`Router.write`). Write, and again while the outcome is unknown: a compare-and-set that finds its own value has happened. Raises ScrubjayError; its field `unknown`: it may have, or may yet."""
    unknown = False
    for _ in range(tries):
        future = env.tasks.future()
        router.write(table, command, partial(settle, future), patience_us=patience_us)
        try:
            answer: WriteAnswer = await future
        except ScrubjayError as error:
            if not error.fields.get("unknown"):
                if unknown:
                    error.fields["unknown"] = True  # of an earlier try
                raise
            unknown = True
        else:
            return answer
    raise Unavailable("a write has no known outcome", table=table.name, tries=tries, unknown=True)
