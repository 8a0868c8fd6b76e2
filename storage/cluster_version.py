"""The cluster's version: one number that says what may be written, what each number lets in, and what a process of which release can (ADR 0081). Pure.

Every process says the newest number that it can. A release that writes something which the one before cannot read makes NEWEST one more, and gives what it writes as a `Feature` of that number. A number is never
used again, and means the same for good. Releases before there was a number said what they can as flags of `storage.node.port.NodeStatus`, one after the other: these are the numbers up to FLAGGED.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

LOWEST = 1
"""What a process can of which nobody knows anything else, and of a cluster that was never raised."""
CONFIGURES, REMOVES, SPLITS, STANDS_IN = range(2, 6)
FLAGGED = STANDS_IN
"""The last number that was told as flags. A release that could this told nothing of itself when it connected."""
NUMBERED = 6
"""It tells its number, and goes by the cluster's."""
BALANCES = 7
"""It knows copies that go though their node stays, and copies that come back to a node."""
SPLITS_INDEXES = 8
"""It keeps in a table's entry that a partition of an index is split. One of before would write the entry without it."""
DETAILS_BACKUPS = 9
"""It reads a backup that says which stream and time to live its table had. One of before takes its pin for damaged, and holds everything for it."""
NEWEST = DETAILS_BACKUPS
"""Of this release."""


class Feature(NamedTuple):
    """Something that only a cluster of that number writes. name: as whoever is refused reads it."""

    name: str
    number: int


REPLACING = Feature("to replace a node", CONFIGURES)
MOVING = Feature("to move copies between nodes", REMOVES)
BALANCING = Feature("to even out where copies are", BALANCES)
SPLITTING = Feature("to split a partition", SPLITS)
STANDING_IN = Feature("a log replica that stands in", STANDS_IN)
STREAMS = Feature("a stream", STANDS_IN)
EXPIRING = Feature("a time to live", STANDS_IN)
GLOBAL_INDEXES = Feature("a global secondary index", STANDS_IN)
TRANSACTIONS = Feature("a transaction", STANDS_IN)
POLICIES = Feature("a resource policy", STANDS_IN)
"""The last five came with no flag of their own, in a release that told STANDS_IN."""
POLICIES_OF_ATTRIBUTES = Feature("a resource policy with dynamodb:Attributes, dynamodb:FullTableScan or Bool", NUMBERED)
"""A release before would take a condition on what it does not know for one on what no request has, and so hold an Allow that is narrowed by it for one that is not."""
SPLITTING_INDEXES = Feature("to split a partition of a global index", SPLITS_INDEXES)
DETAILED_BACKUPS = Feature("a backup that says which stream and time to live its table had", DETAILS_BACKUPS)
"""Below it a backup is made without them: nobody is refused one."""


class Flags(Protocol):
    """`NodeStatus`, as far as it says what its process can."""

    @property
    def can(self) -> int: ...
    @property
    def configures(self) -> bool: ...
    @property
    def removes(self) -> bool: ...
    @property
    def splits(self) -> bool: ...
    @property
    def stands_in(self) -> bool: ...


def policy_feature(text: str) -> Feature:
    """What a policy needs. text: of its document."""
    lowered = text.lower()
    return POLICIES_OF_ATTRIBUTES if any(one in lowered for one in ("dynamodb:attributes", "dynamodb:fulltablescan", "bool")) else POLICIES


def said(told: Flags) -> int:
    """The newest number that a node can, as it tells it: as a number, or by the flags of a release that knew none."""
    if told.can:
        return told.can
    number = LOWEST
    for flag, above in ((told.configures, CONFIGURES), (told.removes, REMOVES), (told.splits, SPLITS), (told.stands_in, STANDS_IN)):
        if not flag:
            break
        number = above
    return number
