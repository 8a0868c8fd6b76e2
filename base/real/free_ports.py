"""TCP ports of this machine for processes that are to find each other: scratch clusters, and servers under test."""

from __future__ import annotations

import secrets
import socket

from scrubjay.base.errors import Unavailable

# Below the kernel's ephemeral range (32768 and up): an outgoing connection of anybody never sits on a port we are about to give out.
_LOW, _HIGH = 11_000, 32_000


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int, *, also: int = 0) -> list[int]:
    """`count` ports that are free now on 127.0.0.1. also: port + also is free too (SeaweedFS opens port + 10000 beside each). Raises Unavailable.

    Whoever is quicker may take one before its process does: it then says that its port is taken."""
    found: list[int] = []
    for _attempt in range(2000):
        port = _LOW + secrets.randbelow(_HIGH - _LOW)
        if port not in found and _is_free(port) and (not also or _is_free(port + also)):
            found.append(port)
            if len(found) == count:
                return found
    raise Unavailable(f"no {count} free ports")
