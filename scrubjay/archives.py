"""The archive as the verbs open it that ask no server: one, or a pair of which one may be away. Either is enough; which one was done without is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.real.stores import SECOND, open_store, pair_of
from scrubjay.base.together import within
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.retry import RetryingStore, RetryPolicy
from scrubjay.config import Config
from scrubjay.store_settings import settings_for

PATIENCE_S = 20.0
"""How long one of two is waited for."""


@dataclass(frozen=True, slots=True)
class OpenedArchive:
    """store: not retried yet. url, settings: by which workers open the same. away: of two, the one that does not answer, and why."""

    store: EncryptedStore
    url: str
    settings: dict[str, str]
    away: tuple[str, str] | None = None

    def as_json(self) -> dict[str, Any] | None:
        """For a report, under `away`."""
        return None if self.away is None else {"url": self.away[0], "error": self.away[1]}


async def open_archive(env: Env, config: Config, url: str) -> OpenedArchive:
    """The archive at `url`, with its second one if the configuration has one for it. Raises Unavailable: neither answers."""
    settings = settings_for(config, url)
    store = open_store(url, settings=settings, create=False)
    pair = pair_of(store)
    if pair is None:
        return OpenedArchive(store, url, settings)
    met: list[Unavailable | None] = []
    for half in pair.halves:
        try:
            asked = RetryingStore(half.store, env, RetryPolicy(attempts=3)).list("", limit=1)
            await within(env.tasks, asked, seconds=PATIENCE_S, what="the archive does not answer in time")
            met.append(None)
        except Unavailable as error:
            met.append(error)
    first, second = met
    if first is None and second is None:
        return OpenedArchive(store, url, settings)
    if first is not None and second is not None:
        raise first
    other = url if first is None else config.second.url
    alone = {**settings_for(config, other), SECOND: ""}
    away = (config.second.url, str(second)) if first is None else (url, str(first))
    pair.close()
    return OpenedArchive(open_store(other, settings=alone, create=False), other, alone, away)
