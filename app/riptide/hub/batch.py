"""A batch: encoded messages for one write, shared by all consumers with the same cursor."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from riptide_telemetry import MessageBatch, Moments, sampled_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.encoding.formats import Encoding
    from riptide.message import Message


class Batch(MessageBatch):
    """One or more consecutive messages, encoded.

    The messages follow the sequence number ``after`` and end with ``last``. ``size_bytes`` is their
    encoded length. The fan-out notes in ``written_ns`` when it wrote the batch to each consumer.
    One message stands for the batch in exemplars and spans: ``example`` if it is given, else the
    last one.
    """

    def __init__(
        self, encoding: Encoding, messages: Sequence[Message], example: Message | None = None
    ) -> None:
        pieces = encoding.encode(messages)
        if example is None:
            example = messages[-1]
        super().__init__(
            len(messages),
            sum(map(len, pieces)),
            Moments(message.accepted_ns for message in messages),
            sampled_trace(example.traceparent),
            example.sequence - messages[0].sequence,
        )
        self.encoding = encoding
        self.last = messages[-1].sequence
        self.epoch = messages[-1].epoch
        # Most batches are of one life of the log.
        is_mixed = any(message.epoch != self.epoch for message in messages)
        self._epochs = [message.epoch for message in messages] if is_mixed else None
        self.after = self.last - self.count
        self.written_ns: list[int] = []
        self._pieces = pieces

    @cached_property
    def wire(self) -> bytes:
        """The batch as the bytes that go to the socket."""
        return self.encoding.to_wire(self._pieces)

    @cached_property
    def frames(self) -> list[bytes]:
        """The batch as the bodies of as few ASGI messages as possible."""
        return [b"".join(self._pieces)] if self.encoding.joins else self._pieces

    def epoch_at(self, position: int) -> str:
        """Return the epoch of a message, counted from 1."""
        return self.epoch if self._epochs is None else self._epochs[position - 1]

    def held_bytes(self) -> int:
        """Return the bytes that the batch holds beside those of its messages."""
        made = vars(self)
        joined = sum(map(len, made.get("frames", ()))) if self.encoding.joins else 0
        return joined + len(made.get("wire", b""))
