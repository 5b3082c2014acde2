"""A topic's messages in the log, for consumers that read further back than the ring goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.message_log import READ_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from riptide.hub.chunk import Chunk
    from riptide.hub.log_reads import LogReads
    from riptide.hub.turns import Turns


class Backlog:
    """What consumers of one topic need to catch up: reads from the log, and turns of the loop.

    Both are shared with the consumers of all other topics.
    """

    __slots__ = ("_reads", "_turns", "topic")

    def __init__(self, reads: LogReads, turns: Turns, topic: str) -> None:
        self._reads = reads
        self._turns = turns
        self.topic = topic

    async def read(self, after: int, behind: int) -> Chunk | None:
        """Return the messages that follow sequence number ``after``; None if there are none.

        One call returns only a part of them if there are many (see ``MessageLog.read``), and when
        it is the consumer's turn to encode and write them. ``behind`` is the number of messages
        that the consumer has not been given.

        Raises:
            DamagedMessagesError: the next messages are damaged.
            LogUnavailableError: the log cannot be read.

        """
        short = behind <= READ_MESSAGES
        chunk = await self._reads.read(self.topic, after, short=short)
        await self._reads.turns.take(self.topic, short=short)
        return chunk

    def take_turn(self, behind: int) -> Awaitable[None]:
        """Return what to await until the consumer may encode and write much of the ring."""
        return self._turns.take(self.topic, short=behind <= READ_MESSAGES)
