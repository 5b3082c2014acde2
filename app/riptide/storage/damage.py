"""What a log has found to be damaged since it was opened: counts for the metrics, log records."""

from __future__ import annotations

import logging

logger = logging.getLogger("riptide.log")


class Damage:
    """Counts, which any thread may read.

    ``unreadable_messages`` counts a message each time it was to be read and failed its check.
    ``lost_frames`` counts the pages of the write-ahead log that were behind damage when the log was
    opened; their messages are lost.
    """

    def __init__(self) -> None:
        self.unreadable_messages = 0
        self.lost_frames = 0

    def found(self, topic: str, first: int, last: int) -> None:
        """Note messages of a topic that cannot be delivered. One thread calls this."""
        self.unreadable_messages += last - first + 1
        logger.error(
            "messages of the log are damaged and are not delivered: topic %s, %d to %d; look for "
            "errors of the disk, and see what riptide verify finds",
            topic,
            first,
            last,
        )
