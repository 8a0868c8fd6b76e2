"""Which history counts where a log forks: segments are tied together by the chain alone (`archiver.coverage` says what is proven of the one that counts). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from scrubjay.archiver.facts import Closed, CoverageFacts, Fork, Mark, Span, Start
from scrubjay.storage.log import chain as chains

_Node = tuple[int, bytes]
"""(LSN, chain value there)."""


def _vouched(facts: CoverageFacts) -> dict[_Node, None]:
    """Places that something else than a segment names."""
    nodes: dict[_Node, None] = {(0, chains.START): None}
    nodes |= {(start.lsn, start.chain): None for start in facts.starts}
    nodes |= {(point.last_seal, point.chain): None for point in facts.closed}
    nodes |= {(mark.lsn, mark.chain): None for mark in facts.marks if mark.chain is not None}
    return nodes


class _Branch(NamedTuple):
    """A way through the segments, from one root on: always the child that counts. key: what decides between branches, the greater counts."""

    key: tuple[int, int, int, bytes]
    spans: tuple[Span, ...]


def history(facts: CoverageFacts) -> tuple[list[Span], list[Fork], list[Span | Start | Closed]]:
    """The segments that count, rising; where the log forks; and the segments that do not count."""
    spans = sorted({span for span in facts.spans if span.last > facts.expired})
    if facts.given_up:
        return _without_given_up(facts, spans)
    linear = all(before.last + 1 == after.first and before.chain == after.chain_before for before, after in pairwise(spans))
    if linear and not _denied(spans, facts.marks):
        return spans, [], []
    forks: list[Fork] = []
    vouched = _vouched(facts)
    branches, lesser = _branches(facts.partition, spans, vouched, forks)
    thread: list[Span] = []
    for branch in branches:
        low, high = branch.spans[0].first, branch.spans[-1].last
        at = bisect_right(thread, low, key=first_of)
        rival = (at > 0 and thread[at - 1].last >= low) or (at < len(thread) and thread[at].first <= high)
        if not rival:
            thread[at:at] = branch.spans
            continue
        # Where it left the history that counts cannot be known: all of it is doubtful.
        epochs = {span.epoch for span in branch.spans} | {one.epoch for one in thread if one.last >= branch.spans[0].first}
        forks.append(Fork(facts.partition, branch.spans[0].first, tuple(sorted(epochs))))
        lesser += branch.spans
    doubtful = _doubtful(thread, vouched, facts.marks)
    lesser += doubtful
    gone = dict.fromkeys(doubtful)
    return [span for span in thread if span not in gone], forks, [*sorted(lesser)]


def given_up(facts: CoverageFacts) -> dict[_Node, None]:
    """Everywhere that a history leads which was given up after its beginning had gone, so that nothing ties it to the one that counts."""
    nodes = dict.fromkeys(facts.given_up)
    if nodes:
        for span in sorted(facts.spans):
            if (span.first - 1, span.chain_before) in nodes:
                nodes[span.last, span.chain] = None
    return nodes


def _without_given_up(facts: CoverageFacts, spans: Sequence[Span]) -> tuple[list[Span], list[Fork], list[Span | Start | Closed]]:
    """`history` of the other spans; what was given up counts for nothing, wherever it lies."""
    nodes = given_up(facts)
    lost = [span for span in spans if (span.first - 1, span.chain_before) in nodes]
    thread, forks, lesser = history(facts._replace(spans=[span for span in spans if span not in set(lost)], given_up=()))
    if lost:
        epochs = {span.epoch for span in [*lost, *thread]}
        forks = [*forks, Fork(facts.partition, lost[0].first, tuple(sorted(epochs)))]
    return thread, forks, [*lesser, *lost]


def disowned(facts: CoverageFacts, *, chain: bytes | None, epoch: int) -> bool:
    """Whether a word that everything up to `facts.expired` was taken away is of another history than the one that counts: what a copy of the cluster said of
    its own log before a takeover gave it up. chain: the value there that the word names (None: it takes the end too), epoch: of who gave it.

    Against it speak a log, or a closed point, that it does not fit, for it those that it fits; whoever came last is right, as where a log forks. A mark with
    another chain value refutes it. What nobody speaks against stands. spans: at least those that reach the LSN or begin right behind it.
    """
    lsn = facts.expired
    if chain is not None and any(mark.lsn == lsn and mark.chain not in (None, chain) for mark in facts.marks):
        return True
    fits, against = [epoch], [0]
    thread, _, _ = history(facts)
    if thread and thread[0].first <= lsn + 1:
        # A base lies at a seal, so no segment of its own log begins in front of its LSN and ends behind it.
        fit = chain is not None and (thread[0].first, thread[0].chain_before) == (lsn + 1, chain)
        (fits if fit else against).append(max(span.epoch for span in thread))
    elif thread and chain is None:
        against.append(max(span.epoch for span in thread))
    against += [span.epoch for span in facts.spans if span.last == lsn and chain not in (None, span.chain)]
    for point in facts.closed:
        if point.closed > facts.credible:
            continue
        if point.last_seal == lsn and chain in (None, point.chain):
            fits.append(point.epoch)
        elif point.last_seal <= lsn or chain is None:
            against.append(point.epoch)  # in a later epoch the log ended in front of what had gone, or there as another one
    return max(against) > max(fits)


def _branches(partition: str, spans: Sequence[Span], vouched: dict[_Node, None], forks: list[Fork]) -> tuple[list[_Branch], list[Span]]:
    """Every root's way, the one that counts most first; and the segments off these ways. Adds to `forks`."""
    children: dict[_Node, list[Span]] = {}
    for span in spans:
        children.setdefault((span.first - 1, span.chain_before), []).append(span)
    keys: dict[Span, tuple[int, int, int, bytes]] = {}
    chosen: dict[Span, Span] = {}
    for span in sorted(spans, key=lambda one: -one.last):
        vouches = int((span.last, span.chain) in vouched)
        keys[span] = (span.epoch, vouches, span.last, span.chain)
        some = children.get((span.last, span.chain), ())
        if some:
            best = max(some, key=lambda one: keys[one])
            chosen[span] = best
            epoch, more, last, chain = keys[best]
            keys[span] = (max(epoch, span.epoch), vouches + more, last, chain)
    ends = {(span.last, span.chain) for span in spans}
    roots = [span for span in spans if (span.first - 1, span.chain_before) not in ends]
    best_root: dict[_Node, Span] = {}
    for root in roots:
        node = (root.first - 1, root.chain_before)
        if node not in best_root or keys[root] > keys[best_root[node]]:
            best_root[node] = root
    used: dict[Span, None] = {}
    branches: list[_Branch] = []
    for root in best_root.values():
        way = [root]
        while (following := chosen.get(way[-1])) is not None:
            way.append(following)
        used |= dict.fromkeys(way)
        branches.append(_Branch(keys[root], tuple(way)))
    for node, some in sorted(children.items()):
        if len(some) > 1 and any(span in used for span in some):
            epochs = {keys[span][0] for span in some}
            forks.append(Fork(partition, node[0] + 1, tuple(sorted(epochs))))
    branches.sort(key=lambda branch: branch.key, reverse=True)
    return branches, [span for span in spans if span not in used]


def _denied(spans: Iterable[Span], marks: Sequence[Mark]) -> list[Span]:
    """Segments whose end has another chain value than somebody trusted knows, and a first one that does not start at the start."""
    known = {mark.lsn: mark.chain for mark in marks if mark.chain is not None}
    return [
        span for span in spans if known.get(span.last, span.chain) != span.chain or (span.first == 1 and span.chain_before != chains.START)
    ]


def _doubtful(thread: Sequence[Span], vouched: dict[_Node, None], marks: Sequence[Mark]) -> list[Span]:
    """Neighbours that do not fit each other: the one that nobody vouches for, or both. A follower on the chain vouches for what it follows."""
    found = dict.fromkeys(_denied(thread, marks))
    for number in range(1, len(thread)):
        before, after = thread[number - 1], thread[number]
        if before.last + 1 != after.first or before.chain == after.chain_before:
            continue
        follower = thread[number + 1] if number + 1 < len(thread) else None
        followed = follower is not None and follower.first == after.last + 1 and follower.chain_before == after.chain
        second = followed or (after.last, after.chain) in vouched or (before.last, after.chain_before) in vouched
        first = (before.last, before.chain) in vouched
        if first == second or not first:
            found[before] = None
        if first == second or not second:
            found[after] = None
    return list(found)


def first_of(span: Span) -> int:
    return span.first
