"""What each process does about the cluster's version: it is not started where that is above what its release can, goes by it, and stops when it is raised beyond that (`server.raising`)."""

from __future__ import annotations

from functools import partial
from typing import Any

from scrubjay.base.env import Future
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.together import settle
from scrubjay.server.raising import VersionKept
from scrubjay.storage.control.metadata import Metadata

_log = logger("serve")


def kept_in(disk: RealDisk, stop: Future[Any]) -> VersionKept:
    """What of the cluster's version this folder knows; `stop` is resolved once it is above what this release can. disk: of the data folder. Raises Unsafe: it is already, Corrupt."""
    kept = VersionKept(disk, log=_log.warning)
    kept.check()
    kept.end = partial(settle, stop, None)
    return kept


def keep_to(kept: VersionKept, metadata: Metadata, net: PeerNet | None) -> None:
    """From now on this process goes by the version that the catalogue says; who can less is connected no more. net: to other processes, None: there are none."""
    metadata.on_version.append(kept.learn)
    if net is not None:
        kept.raised = partial(net.dismiss, kept.too_old)
