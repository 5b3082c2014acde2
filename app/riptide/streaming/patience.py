"""Tells clients that take nothing from those that are only slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.streaming.connection import ClientConnection

NANOSECONDS = 1_000_000_000


class Patience:
    """Remembers, from one round of looking at connections to the next, what clients have taken.

    Only of connections that were looked at in the round before is anything kept.
    """

    def __init__(self, timeout_s: float) -> None:
        """Bear with clients for this long that take nothing."""
        self._timeout_ns = timeout_s * NANOSECONDS
        self._before: dict[ClientConnection, tuple[int, int]] = {}
        self._seen: dict[ClientConnection, tuple[int, int]] = {}

    def begin_round(self) -> None:
        """Begin to look at all connections for which something waits."""
        self._before, self._seen = self._seen, {}

    def is_over(self, connection: ClientConnection, now_ns: int, since_ns: int = 0) -> bool:
        """Return whether the client has taken nothing for too long.

        Where it is known since when something waits for it, no time before that counts.
        """
        taken = connection.taken_bytes()
        taken_before, taken_ns = self._before.get(connection, (taken, since_ns or now_ns))
        taken_ns = now_ns if taken > taken_before else max(taken_ns, since_ns)
        self._seen[connection] = taken, taken_ns
        return now_ns - taken_ns >= self._timeout_ns
