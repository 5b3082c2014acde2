"""A client's socket that is soon full: what does not fit has to wait in the service."""

from __future__ import annotations

import socket

from tests.waiting import DEADLINE_S

RECEIVE_BUFFER = 32 * 1024
SEGMENT = 1400


def slow_socket() -> socket.socket:
    """Return a socket to connect, whose kernels on both sides keep little of what it is sent."""
    client = socket.socket()
    client.settimeout(DEADLINE_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    # Segments as on a network: the sender's kernel grows its buffer by their size.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    return client
