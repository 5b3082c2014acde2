"""A chunk: neighbouring messages as the log gave them, shared by the consumers that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.hub.batch import Batch
from riptide.message import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.encoding.formats import Encoding


# Bytes of a message beside its payload: its objects in columns.
ROW_BYTES = 200


class Chunk:
    """Messages of a topic that were read at once, and the batches of all of them.

    A message is two objects that the garbage collector visits, and a row in columns none: with
    100,000 messages in chunks, collections stopped the event loop for up to 60 ms, with columns
    they do not. So the messages are made again for each encoding.
    """

    __slots__ = ("_batches", "_columns", "first", "first_accepted_ns", "held_bytes", "last")

    def __init__(self, messages: Sequence[Message]) -> None:
        """``messages``: at least one."""
        payloads = [message.payload for message in messages]
        self._columns = (
            [message.epoch for message in messages],
            [message.sequence for message in messages],
            [message.accepted_at for message in messages],
            [message.accepted_ns for message in messages],
            payloads,
            [message.traceparent for message in messages],
        )
        self._batches: dict[int, Batch] = {}
        self.held_bytes = ROW_BYTES * len(payloads) + sum(map(len, payloads))
        """The bytes of the messages and their batches."""
        self.first = messages[0].sequence
        self.first_accepted_ns = messages[0].accepted_ns
        self.last = messages[-1].sequence

    def batch(self, encoding: Encoding, end: int) -> Batch:
        """Return the messages up to sequence number ``end``, at least one, as a batch."""
        if self.last > end:
            # The rest is in the ring, or is beyond the end of a replay. Few consumers end alike.
            return Batch(encoding, [each for each in self._messages() if each.sequence <= end])
        batch = self._batches.get(encoding.slot)
        if batch is None:
            batch = self._batches[encoding.slot] = Batch(encoding, self._messages())
            # In pieces, and joined for the socket.
            self.held_bytes += 2 * batch.size_bytes
        return batch

    def _messages(self) -> list[Message]:
        return [
            Message(epoch, sequence, accepted_at, accepted_ns, payload, traceparent)
            for epoch, sequence, accepted_at, accepted_ns, payload, traceparent in zip(
                *self._columns, strict=True
            )
        ]
