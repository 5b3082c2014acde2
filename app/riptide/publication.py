"""A publication: payloads for one topic, on their way from a publisher to the log."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003  # msgspec reads the annotations of fields
from typing import NamedTuple

from riptide.message import Acceptance, Message, MessageId, Receipt


class Publication(NamedTuple):
    """Payloads for a topic. The log keeps all of them or none.

    Each payload is JSON on one line. ``traceparent`` is the W3C trace context that the messages
    carry to their consumers, empty if the publish is not traced.
    """

    topic: str
    payloads: Sequence[bytes]
    accepted: Acceptance
    traceparent: str = ""

    @classmethod
    def now(cls, topic: str, payloads: Sequence[bytes], traceparent: str = "") -> Publication:
        """Return a publication that is accepted at this moment."""
        return cls(topic, payloads, Acceptance.now(), traceparent)

    def size_bytes(self) -> int:
        """Return the bytes of all payloads."""
        return sum(map(len, self.payloads))

    def receipt(self, epoch: str, first: int) -> Receipt:
        """Return what its publisher is told if the first payload has this sequence number."""
        last = first + len(self.payloads) - 1
        return Receipt(MessageId(epoch, first), MessageId(epoch, last))

    def messages(self, first: MessageId) -> list[Message]:
        """Return the messages that the payloads become in the log, the first with this id."""
        _, payloads, (unix_ns, monotonic_ns), traceparent = self
        epoch, sequence = first
        return [
            Message(epoch, number, unix_ns, monotonic_ns, payload, traceparent)
            for number, payload in enumerate(payloads, sequence)
        ]
