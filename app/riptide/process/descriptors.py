"""File descriptors: one a connection, and what to do before the process has none left.

With none, the event loop takes a connection only to reset it, and tells nobody. So streams get
what the limit allows, less a reserve for all other requests, and who would take one of the last
descriptors is answered and sent away. The kernel gives out the lowest number that is free: a
connection's own says how many are left, whatever else the process has open.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys

logger = logging.getLogger("riptide.descriptors")

# For about 20 files and sockets of our own, health checks, scrapes, publishers and exports.
RESERVE = 128
# Never a connection's: a file that is to be opened, or an answer to the one that comes next.
LAST = 8
WATCH_INTERVAL_S = 1.0


def raise_limit() -> int:
    """Raise the limit of open files as far as the process itself may, and return it."""
    soft, hard = (_number(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft >= hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        # The system may have a lower one than it says (macOS).
        return soft
    return hard


def room_for(connections: int) -> int:
    """Return how many of these streams there are descriptors for; warns if not for all."""
    limit = raise_limit()
    # Of a small limit, files of our own are a large part.
    room = max(1, limit - min(RESERVE, 32 + limit // 4))
    if connections <= room:
        return connections
    logger.warning(
        "RIPTIDE_MAX_CONNECTIONS is %d, but this process may open %d files only: it will serve %d "
        "streams at a time. Raise the limit of open files to %d or more (LimitNOFILE= of systemd, "
        "--ulimit nofile= of docker, ulimit -n of a shell), or lower RIPTIDE_MAX_CONNECTIONS",
        connections,
        limit,
        room,
        connections + RESERVE,
    )
    return room


def left_above(descriptor: int) -> int:
    """Return how many descriptors there are above one that was the lowest free."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) - 1 - descriptor


def warn_of_last(refused: str) -> None:
    """Say that there are no more descriptors, and what came of it."""
    logger.warning(
        "nearly all %d files that this process may open are open: %s. Raise the limit of open "
        "files, or lower RIPTIDE_MAX_CONNECTIONS",
        left_above(-1),
        refused,
    )


async def watch() -> None:
    """Say so when they have run out, until cancelled: where no connection comes far enough to.

    Those that have not finished their handshake of TLS are known to the event loop alone.
    """
    few = False
    while True:
        was_few, few = few, _left() <= LAST
        if few and not was_few:
            warn_of_last("further connections may be reset")
        await asyncio.sleep(WATCH_INTERVAL_S)


def _left() -> int:
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(descriptor)
    return left_above(descriptor)


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
