"""The JSON object of a message, and that of a control record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from riptide.message import Message

Control = dict[str, Any]
"""A control record: ``event`` names it; ``id``, where present, is the consumer's cursor."""


def encode_message(message: Message) -> bytes:
    """Return ``{"id": …, "time": …, "data": …}``, the payload as it was published.

    A traced message has a ``traceparent`` before its data (W3C Trace Context), so that its
    consumer can continue the trace.
    """
    if message.traceparent:
        return b'{"id":"%b-%d","time":"%b","traceparent":"%b","data":%b}' % (
            message.epoch.encode(),
            message.sequence,
            message.time.encode(),
            message.traceparent.encode(),
            message.payload,
        )
    return b'{"id":"%b-%d","time":"%b","data":%b}' % (
        message.epoch.encode(),
        message.sequence,
        message.time.encode(),
        message.payload,
    )


def encode_control(record: Control) -> bytes:
    """Return the record as JSON on one line."""
    return orjson.dumps(record)
