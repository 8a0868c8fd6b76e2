"""A node finds out that its folder is of a former membership: a lost quorum was recovered without it (ADR 0084).

Who recovered lets it in no more, but two nodes of the former membership may be a quorum of that, and reach nobody who knows better. The archive does: it is asked before the node speaks, and then
once a minute. A store that does not answer keeps no node from starting: it is asked again until it does.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.archiver.read.formers import FormersSeen
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.base.together import within
from scrubjay.storage.node.identity import Identity

LOOK_S = 60.0
"""Between two looks; a request each."""
AGAIN_S = 2.0
"""Between two tries while the store does not answer."""
PATIENCE_S = 3.0
"""How long a start waits for the store."""


class FormerWatch:
    """store: of the archive. identity: of the node's folder. found: called once, with why the node must stay out."""

    def __init__(self, env: Env, store: ObjectStore, identity: Identity, found: Callable[[Unsafe], None]) -> None:
        self._env, self._identity, self._found = env, identity, found
        self._formers = FormersSeen(store, identity.cluster_id)
        self._loop = KeptLoop(self._env.tasks, self._run, name="former-members")
        self.asked = False
        """The archive has answered."""
        self.out = False

    async def begin(self) -> None:
        """Before the node speaks; `start` afterwards."""
        try:
            await within(self._env.tasks, self._look(), seconds=PATIENCE_S, what="the archive does not answer in time")
        except ScrubjayError:
            return  # it is asked again: whoever has no store has tables all the same

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        while not self.out:
            await self._env.tasks.sleep(LOOK_S if self.asked else AGAIN_S)
            try:
                await self._look()
            except ScrubjayError:
                continue  # an archive that is away says nothing; what it says it says for good

    async def _look(self) -> None:
        """Raises Unavailable, Corrupt, Missing."""
        me = self._identity
        for one in await self._formers.look():
            if any(member.names(me.node, me.id, me.incarnation) for member in one.members) and not self.out:
                self.out = True
                self._found(
                    Unsafe(
                        "this folder is of a former membership: a lost quorum was recovered without it, it stays out",
                        node=me.node,
                        recovered_from=one.survivor,
                        number=one.number,
                        next="start the node with an empty data folder, and: scrubjay cluster join; keep this folder, what only it has is nowhere else",
                    )
                )
        self.asked = True
