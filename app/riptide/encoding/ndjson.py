"""NDJSON: one record a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.encoding import envelope

if TYPE_CHECKING:
    from riptide.message import Message

MEDIA_TYPE = "application/x-ndjson"


def encode_message(message: Message) -> bytes:
    """Return the message as a line."""
    return envelope.encode_message(message) + b"\n"


def encode_control(record: envelope.Control) -> bytes:
    """Return the record as a line."""
    return envelope.encode_control(record) + b"\n"
