"""Where the mutations went that were made by hand over the first two halves of the code and outlived its tests then: each name, and the mutant that it is now.

The code has moved since; a mutant changes the same rule in its present place. tests/unit/test_mutant_catalogue.py holds both columns.
"""

from __future__ import annotations

CORE: dict[str, str] = {
    "offset": "offset",
    "drift": "drift",
    "old-grant": "old-grant",
    "old-ask": "old-ask",
    "epoch-once": "epoch-once",
    "ack-unreserved": "ack-unreserved",
    "bound-prepare-only": "bound-prepare-only",
    "empty-batch-ack": "empty-batch-ack",
    "chosen-unsynced": "chosen-unsynced",
    "restart-chosen": "restart-chosen",
    "closed-off-by-one": "closed-off-by-one",
    "cut-unsafe": "cut-unsafe",
    "cut-not-min": "cut-not-min",
    "resign-volatile": "resign-volatile",
    "wal-frame-crc": "wal-frame-crc",
    "wal-stated": "wal-stated",
    "wal-staged-adopt": "wal-staged-adopt",
    "trim-one-checkpoint": "trim-one-checkpoint",
    "trim-archived+1": "trim-archived-plus-one",
    "make-no-dirsync": "wal-make-no-dirsync",
    "ahead-no-dirsync": "ahead-no-dirsync",
    "no-fdatasync": "no-fdatasync",
    "lmdb-nosync": "lmdb-nosync",
    "build-no-dirsync": "build-no-dirsync",
    "suspect-volatile": "suspect-volatile",
    "damaged-votes": "damaged-votes",
    "amnesiac-votes": "amnesiac-votes",
    "late-unchecked": "late-unchecked",
    "wal-mark-ignored": "wal-mark-ignored",
    "resign-on-suspect": "resign-on-suspect",
}
"""Consensus, log, tree, replica."""

DURABILITY: dict[str, str] = {
    "replay-last-seal-unchecked": "replay-last-seal-unchecked",
    "replay-chain-unchecked": "replay-chain-unchecked",
    "absent-copy-match": "absent-copy-match",
    "wants-off-by-one": "replay-cut-exclusive",
    "attest-raw-uncompared": "attest-raw-uncompared",
    "attest-digest-uncompared": "attest-digest-uncompared",
    "last-range-skipped": "last-range-skipped",
    "last-range-equal": "last-range-equal",
    "confirm-rows-only": "confirm-rows-only",
    "publish-before-confirm": "publish-before-confirm",
    "window-closed-plus-one": "window-closed-plus-one",
    "window-chain-unchecked": "window-chain-unchecked",
    "verify-end-off": "verify-end-off",
    "place-manifest-uncompared": "place-manifest-uncompared",
    "no-rival": "no-rival",
    "fenced-closed-goes-on": "fenced-closed-goes-on",
    "one-member-agrees": "one-member-agrees",
    "base-on-minority": "base-on-minority",
    "reported-though-not-whole": "reported-though-not-kept",
    "retry-any-exists": "retry-any-exists",
    "base-part-unchecked": "base-part-unchecked",
    "check-end-us-early": "check-end-us-early",
    "check-end-lsn": "check-end-lsn",
    "dropped-beyond-ok": "dropped-beyond-ok",
    "epoch-forgotten": "epoch-forgotten",
    "closed-chain-unchecked": "closed-link-unchecked",
    "heal-on-any-ruling": "heal-on-any-ruling",
    "stamps-back-unseen": "stamps-back-unseen",
    "closed-read-back-1": "closed-read-back-1",
    "rebuild-other-total": "rebuild-other-total",
    "agent-follows-unchecked": "agent-follows-unchecked",
    "finish-unchecked": "finish-unchecked",
    "straddled-ok": "straddled-ok",
}
"""Archive, scrub, restore: the first list."""

LOADED: dict[str, str] = {
    "heal-total-unchecked": "heal-total-unchecked",
    "load-other-total-started": "load-other-total-started",
    "loaded-tree-unscanned": "loaded-tree-unscanned",
}
"""Copies that are loaded: the second list."""

LISTS = (CORE, DURABILITY, LOADED)
