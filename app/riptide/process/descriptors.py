"""File descriptors: each connection takes one, and the process must not run out of them.

When none is left, the event loop resets new connections and reports nothing. So there are at most
as many streams as the limit of open files allows, less a reserve for other requests; and a
connection that gets one of the last descriptors is answered with 503 and closed. The kernel gives
out the lowest number that is free, so a connection's own number says how many are left, whatever
else the process has open.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys

logger = logging.getLogger("riptide.descriptors")

# Not for streams, but for about 20 files and sockets of the service's own, health checks, scrapes,
# publishers and exports.
RESERVE = 128
# The last descriptors are for files, and for connections that are refused.
LAST = 8
WATCH_INTERVAL_S = 1.0


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    soft, hard = (_number(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft >= hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        # The system may allow fewer than the hard limit says (macOS).
        return soft
    return hard


def room_for(stream_count: int, expected: int | None = None) -> int:
    """Return for how many of the streams there are descriptors; warn if not for all.

    Or, where other workers have the rest, if not for as many as are ``expected`` in this process.
    """
    limit = raise_limit()
    # Of a small limit, the whole reserve would leave nothing to streams.
    room = max(1, limit - min(RESERVE, 32 + limit // 4))
    if (stream_count if expected is None else expected) <= room:
        return min(stream_count, room)
    logger.warning(
        "RIPTIDE_MAX_CONNECTIONS is %d, but this process may open %d files only: it will serve %d "
        "streams at a time. Raise the limit of open files to %d or more (LimitNOFILE= of systemd, "
        "--ulimit nofile= of docker, ulimit -n of a shell), or lower RIPTIDE_MAX_CONNECTIONS",
        stream_count,
        limit,
        room,
        stream_count + RESERVE,
    )
    return room


def left_above(descriptor: int) -> int:
    """Return how many descriptors are left above one that was the lowest free."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) - 1 - descriptor


def warn_of_last(consequence: str) -> None:
    """Log that only the last descriptors are left, and the consequence."""
    logger.warning(
        "nearly all %d files that this process may open are open: %s. Raise the limit of open "
        "files, or lower RIPTIDE_MAX_CONNECTIONS",
        left_above(-1),
        consequence,
    )


async def watch() -> None:
    """Log when only the last descriptors are left, until cancelled.

    A connection that is refused logs this too, but it is not refused before its TLS handshake.
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
