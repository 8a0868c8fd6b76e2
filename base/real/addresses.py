"""The socket that a server listens on."""

from __future__ import annotations

import socket


def listening(listen: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any free one. Raises OSError if the address is taken, or is none of this machine's.

    Not left to the loop: uvloop resolves even plain addresses on threads of libuv, and libuv aborts the process, without a word, where it gets none.
    """
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    return socket.create_server((listen, port), family=family)


def try_listening(listen: str, port: int) -> None:
    """Listen for a moment as the HTTP server would, then let go. Raises OSError as it would meet it."""
    listening(listen, port).close()
