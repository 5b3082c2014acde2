"""A topic's messages in the log, for consumers that read further back than the ring goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.message import Message
    from riptide.storage.message_log import MessageLog


class Backlog:
    """Reads the messages of one topic from the log."""

    __slots__ = ("_log", "topic")

    def __init__(self, log: MessageLog, topic: str) -> None:
        self._log = log
        self.topic = topic

    async def read(self, after: int) -> list[Message]:
        """Return the messages that follow sequence number ``after``, oldest first.

        One call returns only a part of them if there are many (see ``MessageLog.read``).

        Raises:
            DamagedMessagesError: the next messages are damaged.
            LogUnavailableError: the log cannot be read.

        """
        return await self._log.read(self.topic, after)
