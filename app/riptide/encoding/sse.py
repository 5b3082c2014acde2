"""Server-Sent Events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.encoding import envelope

if TYPE_CHECKING:
    from riptide.message import Message

MEDIA_TYPE = "text/event-stream"


def encode_message(message: Message) -> bytes:
    """Return the message as an event of the default type, with its id."""
    return b"id: %b-%d\ndata: %b\n\n" % (
        message.epoch.encode(),
        message.sequence,
        envelope.encode_message(message),
    )


def encode_control(record: envelope.Control) -> bytes:
    """Return the record as an event of its own type.

    ``id`` and ``retry`` (milliseconds) become fields too, so that an ``EventSource`` resumes
    and waits by itself.
    """
    fields = [f"event: {record['event']}"]
    fields += [f"{name}: {record[name]}" for name in ("id", "retry") if name in record]
    return "\n".join(fields).encode() + b"\ndata: " + envelope.encode_control(record) + b"\n\n"
