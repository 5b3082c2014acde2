"""Tells by the head of a response whether it is a stream, and how its messages are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from riptide_telemetry.labels import StreamProtocol
from riptide_telemetry.middleware.message_counters import (
    Chunks,
    MessageCounter,
    NdjsonLines,
    SseEvents,
    Uncounted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS: dict[bytes, tuple[StreamProtocol, type[MessageCounter]]] = {
    b"text/event-stream": (StreamProtocol.SSE, SseEvents),
    b"application/x-ndjson": (StreamProtocol.NDJSON, NdjsonLines),
    b"application/jsonl": (StreamProtocol.NDJSON, NdjsonLines),
    b"application/x-jsonlines": (StreamProtocol.NDJSON, NdjsonLines),
}


class RecognisedStream(NamedTuple):
    """The protocol label of a stream, and the counter of its messages."""

    protocol: StreamProtocol
    counter: MessageCounter


def recognise(start: Mapping[str, Any], *, chunked: bool) -> RecognisedStream | None:
    """Return the stream that an ``http.response.start`` begins, or None if it begins none.

    Only a response with status 2xx is a stream. With ``chunked``, a response of any other type
    without a content length is one as well. Its label is ``ndjson``, because a client reads it as
    plain HTTP, and each write is a message, because its format is unknown. The messages of a
    compressed stream are not counted.
    """
    if not 200 <= start["status"] < 300:  # noqa: PLR2004  # the class of successes in HTTP
        return None
    media_type, has_length, compressed = b"", False, False
    for name, value in start.get("headers", ()):
        match bytes(name).lower():
            case b"content-type":
                media_type = bytes(value).partition(b";")[0].strip().lower()
            case b"content-length":
                has_length = True
            case b"content-encoding":
                compressed = bytes(value).strip().lower() != b"identity"
    known = _FORMATS.get(media_type)
    if known is not None:
        protocol, counter = known
    elif chunked and not has_length:
        protocol, counter = StreamProtocol.NDJSON, Chunks
    else:
        return None
    return RecognisedStream(protocol, Uncounted() if compressed else counter())
