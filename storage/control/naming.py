"""Findings name rows by what the user calls them: a storage key that was found rotten becomes the key attributes, as a good copy has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.control.findings import KEPT_MAX, Findings
from scrubjay.storage.service_port import Finding

KeyOf = Callable[[PartitionId, bytes], Awaitable[dict[str, Any] | None]]


class Naming:
    """One after another, in the background. If no copy can name a key now, or the catalogue is not read yet, the raw key is kept: a scrub names it."""

    def __init__(self, env: Env, findings: Findings, key_of: KeyOf) -> None:
        self._env, self._findings, self._key_of = env, findings, key_of
        self._waiting: deque[Finding] = deque(maxlen=KEPT_MAX)
        self._running = False

    def wanted(self, finding: Finding) -> None:
        """Have the finding, which is kept, named if it is not."""
        if finding.key is not None or finding.storage_key is None:
            return
        self._waiting.append(finding)
        if not self._running:
            self._running = True
            self._env.tasks.call_soon(lambda: self._env.tasks.spawn(self._run(), name="name findings"))

    async def _run(self) -> None:
        try:
            while self._waiting:
                finding = self._waiting.popleft()
                assert finding.storage_key is not None
                try:
                    key = await self._key_of(PartitionId(finding.partition), finding.storage_key)
                except ScrubjayError:
                    continue
                if key is not None:
                    self._findings.named(finding, key)
        finally:
            self._running = False
