"""What befalls a node of a real cluster: its process dies or stands still, or what it says or hears is lost."""

from __future__ import annotations

import signal
from random import Random
from typing import NamedTuple

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.networks import Networks

OF_THE_PROCESS = ("kill", "stop", "restart")
OF_THE_NETWORK = ("mute", "deaf", "shut", "cut", "pair", "half", "lossy")
LOST_SHARE = 0.3
READY_S = 240.0


class Fault(NamedTuple):
    """kind: `kill`, `stop` (SIGSTOP), `restart` (SIGTERM); `mute`, `deaf`, `cut` (both), `shut` (connections that others made to it carry nothing), `pair` (it
    and one other hear nothing of each other, all others hear both), `half` (that one does not hear it, and is heard), `lossy` (each third packet to it is lost).
    other: of `pair` and `half`."""

    kind: str
    node: str
    other: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.node}{f' {self.other}' if self.other else ''}"


class Deck:
    """Kinds of faults in an order by chance, each as often as any other: none stays away for longer than two rounds of all."""

    def __init__(self, random: Random, *, network: bool) -> None:
        self._random, self._kinds = random, (*OF_THE_PROCESS, *OF_THE_NETWORK) if network else OF_THE_PROCESS
        self._left: list[str] = []

    def next(self, node: str) -> Fault:
        """One that befalls `node`. What befalls the durability process is nothing of the network, and not of the deck."""
        if node not in NODES:
            return Fault(self._random.choice(OF_THE_PROCESS), node)
        if not self._left:
            self._left = self._random.sample(self._kinds, len(self._kinds))
        kind = self._left.pop()
        return Fault(kind, node, self._random.choice([one for one in NODES if one != node]) if kind in ("pair", "half") else "")


def begin(fault: Fault, cluster: ClusterOfProcesses, spaces: Networks | None) -> None:
    process = cluster.processes[fault.node]
    if fault.kind == "kill":
        cluster.kill(fault.node)
    elif fault.kind == "stop":
        process.send_signal(signal.SIGSTOP)
    elif fault.kind == "restart":
        process.send_signal(signal.SIGTERM)
    else:
        assert spaces is not None
        for said_by, heard_by, port, share in _lost(fault, cluster):
            spaces.lose(said_by, heard_by, port=port, share=share)


def _lost(fault: Fault, cluster: ClusterOfProcesses) -> list[tuple[str, str, int, float]]:
    """(said by, heard by, port or 0, share) of what is lost."""
    node, others = fault.node, [one for one in (*NODES, DURABILITY) if one != fault.node]
    said, heard = [(node, one, 0, 1.0) for one in others], [(one, node, 0, 1.0) for one in others]
    match fault.kind:
        case "mute":
            return said
        case "deaf":
            return heard
        case "cut":
            return said + heard
        case "shut":
            return [(one, node, cluster.peer[node], 1.0) for one in others]
        case "pair":
            return [(node, fault.other, 0, 1.0), (fault.other, node, 0, 1.0)]
        case "half":
            return [(node, fault.other, 0, 1.0)]
    assert fault.kind == "lossy", fault
    return [(one, node, 0, LOST_SHARE) for one in others]


def end(fault: Fault, cluster: ClusterOfProcesses) -> None:
    """Of one that befell a process; what networks lose is mended for all at once. Raises RuntimeError if a process does not end in its time, or does not start."""
    if fault.kind == "stop":
        cluster.processes[fault.node].send_signal(signal.SIGCONT)
    elif fault.kind in ("kill", "restart"):
        if fault.kind == "restart" and (code := cluster.stop(fault.node, patience=60)) != 0:
            raise RuntimeError(f"{fault.node} ended with {code} when it was asked to stop")
        cluster.spawn(fault.node)
        cluster.ready(fault.node, timeout=READY_S)
