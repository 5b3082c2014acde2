"""WebSocket: one text frame a record (RFC 6455)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.encoding import envelope

if TYPE_CHECKING:
    from app.message import Message


def encode_message(message: Message) -> str:
    """Return the text of the message's frame."""
    return envelope.encode_message(message).decode()


def encode_control(record: envelope.Control) -> str:
    """Return the text of the record's frame."""
    return envelope.encode_control(record).decode()
