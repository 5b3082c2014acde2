"""Messages to test with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.message import Acceptance, Message
from riptide.publication import Publication

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = "0a1b2c3d"
# 2023-11-14T22:13:20.123Z
ACCEPTED_AT = 1_700_000_000_123_456_789


def make_message(sequence: int = 1, payload: bytes = b"{}", epoch: str = EPOCH) -> Message:
    """Return a message whose monotonic time is its sequence number."""
    return Message(epoch, sequence, ACCEPTED_AT, sequence, payload)


def make_messages(first: int, last: int, size: int = 1, epoch: str = EPOCH) -> list[Message]:
    """Return neighbouring messages whose payloads are their numbers, padded to a size."""
    payloads = {n: str(n).encode().rjust(size) for n in range(first, last + 1)}
    return [make_message(n, payload, epoch=epoch) for n, payload in payloads.items()]


def published(
    topic: str, payloads: Sequence[bytes], accepted_at: int | None = None, traceparent: str = ""
) -> Publication:
    """Return what is published now, or at another moment of Unix time (in nanoseconds)."""
    accepted = Acceptance.now() if accepted_at is None else Acceptance.at(accepted_at)
    return Publication(topic, payloads, accepted, traceparent)
