"""Ports for programs that have to be told one, and are started, or started again, later."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Systems give ports from 32768 on (Linux) to whoever asks for any, and to each connection that is
# opened: one of those that was free a moment ago may be taken when a program wants it.
_FIRST: Final = 10_000
_BLOCK: Final = 100
_BLOCKS: Final = 220


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that nobody else is given here."""
    return next(_PORTS)


def free_ports(count: int) -> list[int]:
    """Return as many ports as are asked for; see ``free_port``."""
    return list(itertools.islice(_PORTS, count))


def _ports() -> Iterator[int]:
    first = os.getpid() % _BLOCKS
    for number in itertools.chain(range(first, _BLOCKS), range(first)):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as claim:
            # Each process has blocks of its own: a name that one at a time can have (unix(7),
            # "abstract sockets") stays taken until it ends.
            claim.bind(f"\0riptide-ports-{number}")
            block = range(_FIRST + number * _BLOCK, _FIRST + (number + 1) * _BLOCK)
            yield from _unused(block)
    raise RuntimeError("there is no free port left")


def _unused(block: range) -> Iterator[int]:
    """Yield ports one after the other, and over again, until somebody listens on all of them."""
    taken = 0
    for port in itertools.cycle(block):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            taken += 1
            if taken == len(block):
                return
        else:
            taken = 0
            yield port


_PORTS: Final = _ports()
