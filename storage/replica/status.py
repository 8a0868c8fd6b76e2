"""What state a replica is in: two facts that nobody may press into one word, and the one table of how each may change.

    tree  opening   being opened or made (or it could not be, for want of memory, descriptors or room: tried again)
          base      waits for the base of a restored table (LSN 0)
          ok        serves
          suspect   proven bad, or outvoted: no serving, no leading, until healed. It goes on applying while it can, so that a scrub can compare it
          healing   being replaced
          log       there is none and never will be: a log replica, which follows its log and serves nothing
          stopped   its log holds what this version does not know: it applies nothing from there on, serves nothing, is not healed
    vote  votes
          learner   holds no log yet that could be voted with (waits for its base)
          amnesiac  its log may lack what was synced once: no promise, no acceptance, no candidacy, for good (a membership change replaces it)

A replica serves only with an ok tree and a vote. Log damage that peers can repair takes the vote away for a while without changing either fact.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.errors import Internal

OPENING, BASE, OK, SUSPECT, HEALING, LOG, STOPPED = "opening", "base", "ok", "suspect", "healing", "log", "stopped"
VOTES, LEARNER, AMNESIAC = "votes", "learner", "amnesiac"

TREE_MOVES: dict[str, frozenset[str]] = {
    OPENING: frozenset({BASE, OK, SUSPECT, HEALING, LOG, STOPPED}),
    BASE: frozenset({OK, SUSPECT}),
    OK: frozenset({SUSPECT, HEALING, STOPPED}),
    SUSPECT: frozenset({HEALING, STOPPED}),
    HEALING: frozenset({OK, SUSPECT}),
    LOG: frozenset({STOPPED}),
    STOPPED: frozenset(),
}
VOTE_MOVES: dict[str, frozenset[str]] = {
    LEARNER: frozenset({VOTES, AMNESIAC}),
    VOTES: frozenset({LEARNER, AMNESIAC}),
    AMNESIAC: frozenset(),
}


class Status:
    """tree, vote: see the module. reason: why it is not simply `ok` and `votes`, or "". Nobody writes them but by the moves below. changed: called after each."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tree = OPENING
        self._vote = VOTES
        self._reason = ""
        self.serves = False
        """The tree is ok, and it votes."""

    @property
    def tree(self) -> str:
        return self._tree

    @property
    def vote(self) -> str:
        return self._vote

    @property
    def reason(self) -> str:
        return self._reason

    @property
    def word(self) -> str:
        """The state in one word, as it is shown: a lost vote before what ails the tree."""
        return AMNESIAC if self._vote == AMNESIAC else self._tree

    def move_tree(self, to: str, reason: str) -> bool:
        """False: it is there already. Raises Internal for a move that the table does not know."""
        if to == self._tree:
            return False
        if to not in TREE_MOVES[self._tree]:
            raise Internal("a replica's tree cannot change like that", before=self._tree, after=to, reason=reason)
        self._tree = to
        self._moved(reason)
        return True

    def move_vote(self, to: str, reason: str) -> bool:
        """As `move_tree`."""
        if to == self._vote:
            return False
        if to not in VOTE_MOVES[self._vote]:
            raise Internal("a replica's vote cannot change like that", before=self._vote, after=to, reason=reason)
        self._vote = to
        self._moved(reason)
        return True

    def note(self, reason: str) -> None:
        """What keeps a tree from being opened for now: no move, it is tried again."""
        self._reason = reason
        self._changed()

    def _moved(self, reason: str) -> None:
        self.serves = self._tree == OK and self._vote == VOTES
        self._because(reason)
        self._changed()

    def _because(self, reason: str) -> None:
        """What cost the vote is not covered up by what befalls the tree afterwards."""
        if reason and self._vote == AMNESIAC and self._reason and reason not in self._reason:
            self._reason = f"{self._reason}; {reason}"
        elif reason or self._vote != AMNESIAC:
            self._reason = reason
