"""Whether an address can be listened on."""

from __future__ import annotations

import socket


def try_listening(listen: str, port: int) -> None:
    """Listen for a moment as the HTTP server would, then let go. Raises OSError as it would meet it."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.create_server((listen, port), family=family):
        return
