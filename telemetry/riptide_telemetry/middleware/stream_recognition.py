"""Tells by the head of a response whether it is a stream, and what its messages look like."""

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
    """Which protocol the response counts for, and what counts its messages."""

    protocol: StreamProtocol
    counter: MessageCounter


def recognise(start: Mapping[str, Any], *, chunked: bool) -> RecognisedStream | None:
    """Return what the response is if it is a stream, given its ``http.response.start``.

    Only successful responses are. With ``chunked``, one of any other type without a length is a
    stream as well: of NDJSON by its label, being plain HTTP that a client reads as it comes, and
    of one message a write, since nothing is known of its format. A compressed stream is recorded
    without its messages, which cannot be told apart any more.
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
