"""What one consumer is given at once, made once for all who stand at the same place."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from riptide_telemetry import Moments, sampled_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.encoding.formats import Encoding
    from riptide.message import Message


class Batch:
    """Neighbouring messages, encoded; there is at least one.

    The ``count`` messages follow the sequence number ``after`` and end with ``last``.
    ``size_bytes`` is their encoded length. ``accepted_ns`` are the moments of acceptance on the
    monotonic clock, oldest first. The fan-out notes in ``written_ns`` when it wrote the batch to
    each consumer. One message stands for all of them in exemplars and spans: ``trace`` is the span
    that published it, if it is sampled, and ``traced`` is its position. It is ``example``, where
    one is given, or the last message.
    """

    def __init__(
        self, encoding: Encoding, messages: Sequence[Message], example: Message | None = None
    ) -> None:
        self.encoding = encoding
        self.count = len(messages)
        self.last = messages[-1].sequence
        self.after = self.last - self.count
        self.accepted_ns = Moments(message.accepted_ns for message in messages)
        self.written_ns: list[int] = []
        if example is None:
            example = messages[-1]
        self.trace = sampled_trace(example.traceparent)
        self.traced = example.sequence - messages[0].sequence
        self._pieces = encoding.encode(messages)
        self.size_bytes = sum(map(len, self._pieces))

    @cached_property
    def wire(self) -> bytes:
        """All of it as it goes to the socket."""
        return self.encoding.to_wire(self._pieces)

    @cached_property
    def frames(self) -> list[bytes]:
        """All of it in as few ASGI messages as can be."""
        return [b"".join(self._pieces)] if self.encoding.joins else self._pieces

    def held_bytes(self) -> int:
        """Return how many bytes it holds beside those of its messages."""
        made = vars(self)
        joined = sum(map(len, made.get("frames", ()))) if self.encoding.joins else 0
        return joined + len(made.get("wire", b""))
