"""A replica of one partition on one node."""

from scrubjay.storage.replica.log_replica import LogReplica
from scrubjay.storage.replica.replica import Replica
from scrubjay.storage.replica.state import EXTRA_VERSION, UNCONFIGURED, Configured, ReplicaExtra, base_state, healed_state
from scrubjay.storage.replica.status import AMNESIAC, BASE, HEALING, LOG, OK, OPENING, STOPPED, SUSPECT

__all__ = [
    "AMNESIAC",
    "BASE",
    "EXTRA_VERSION",
    "HEALING",
    "LOG",
    "OK",
    "OPENING",
    "STOPPED",
    "SUSPECT",
    "UNCONFIGURED",
    "Configured",
    "LogReplica",
    "Replica",
    "ReplicaExtra",
    "base_state",
    "healed_state",
]
