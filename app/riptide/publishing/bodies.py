"""A limit on the bytes that the bodies of all publish requests hold together."""

from __future__ import annotations

from riptide.errors import BodyLimitError

RETRY_AFTER_S = 5
# The server buffers this much per connection anyway, so bodies up to this size are always accepted,
# however full the limit is.
SMALL_BODY_BYTES = 64 * 1024


class Bodies:
    """Counts the bytes of bodies from their arrival until their request has been answered."""

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self._limit_bytes = limit_bytes

    def take(self, size: int, body_bytes: int) -> None:
        """Count ``size`` more bytes of a body, which then has ``body_bytes`` in all.

        Raises:
            BodyLimitError: the bodies hold too many bytes already. Nothing has been counted.

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
        """Count ``size`` bytes as released."""
        self.held_bytes -= size
