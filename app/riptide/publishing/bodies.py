"""The bodies of publish requests on their way in: what all of them together may hold."""

from __future__ import annotations

from riptide.errors import BodyLimitError

RETRY_AFTER_S = 5
# As much of each connection the server holds anyway, before anybody reads it. So what most clients
# publish is taken whatever others hold.
SMALL_BODY_BYTES = 64 * 1024


class Bodies:
    """Counts bytes from their arrival until their request is dealt with."""

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self._limit_bytes = limit_bytes

    def take(self, size: int, body_bytes: int) -> None:
        """Count ``size`` bytes more; they make ``body_bytes`` of the body that they belong to.

        Raises:
            BodyLimitError: there are too many already, and nothing has been counted.

        """
        if body_bytes > SMALL_BODY_BYTES and self.held_bytes + size > self._limit_bytes:
            raise BodyLimitError(
                f"the bodies that are being read hold {self.held_bytes} bytes, and may hold "
                f"{self._limit_bytes}; nothing was published: try again later, or send no more "
                f"than {SMALL_BODY_BYTES} bytes at once",
                retry_after=RETRY_AFTER_S,
            )
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        """Count so many bytes less."""
        self.held_bytes -= size
