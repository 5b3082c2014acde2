"""Distinguishes clients that take nothing from clients that are only slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.streaming.connection import ClientConnection

NANOSECONDS = 1_000_000_000


class Patience:
    """Remembers from one round of visits to the next what each client has taken.

    Connections that are not visited in a round are forgotten.
    """

    def __init__(self, timeout_s: float) -> None:
        """Give clients that take nothing ``timeout_s`` seconds."""
        self._timeout_ns = timeout_s * NANOSECONDS
        self._before: dict[ClientConnection, tuple[int, int]] = {}
        self._seen: dict[ClientConnection, tuple[int, int]] = {}

    def begin_round(self) -> None:
        """Begin a round of ``is_over`` for all connections with waiting data."""
        self._before, self._seen = self._seen, {}

    def is_over(self, connection: ClientConnection, now_ns: int, since_ns: int = 0) -> bool:
        """Return whether the client has taken nothing for too long.

        ``since_ns`` is when data began to wait for the client, 0 if unknown; no time before counts.
        ``now_ns`` and ``since_ns`` are on the monotonic clock.
        """
        taken = connection.taken_bytes()
        taken_before, taken_ns = self._before.get(connection, (taken, since_ns or now_ns))
        taken_ns = now_ns if taken > taken_before else max(taken_ns, since_ns)
        self._seen[connection] = taken, taken_ns
        return now_ns - taken_ns >= self._timeout_ns
