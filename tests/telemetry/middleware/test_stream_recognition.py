from __future__ import annotations

from typing import Any

import pytest

from riptide_telemetry.labels import StreamProtocol
from riptide_telemetry.middleware.message_counters import Chunks, NdjsonLines, SseEvents, Uncounted
from riptide_telemetry.middleware.stream_recognition import recognise


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


@pytest.mark.parametrize(
    ("content_type", "protocol", "counter"),
    [
        ("text/event-stream", StreamProtocol.SSE, SseEvents),
        ("Text/Event-Stream ; charset=utf-8", StreamProtocol.SSE, SseEvents),
        ("application/x-ndjson", StreamProtocol.NDJSON, NdjsonLines),
        ("application/jsonl; charset=utf-8", StreamProtocol.NDJSON, NdjsonLines),
        ("application/x-jsonlines", StreamProtocol.NDJSON, NdjsonLines),
    ],
)
def test_a_stream_is_known_by_its_content_type(
    content_type: str, protocol: StreamProtocol, counter: type
) -> None:
    stream = recognise(start(Content_Type=content_type), chunked=False)
    assert stream is not None
    assert stream.protocol is protocol
    assert isinstance(stream.counter, counter)


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/event-streams"])
def test_an_ordinary_response_is_no_stream(content_type: str) -> None:
    assert recognise(start(content_type=content_type), chunked=False) is None


@pytest.mark.parametrize("status", [204 + 100, 400, 503])
def test_only_a_success_is_a_stream(status: int) -> None:
    assert recognise(start(status, content_type="text/event-stream"), chunked=True) is None


def test_a_head_without_headers_is_no_stream() -> None:
    assert recognise({"type": "http.response.start", "status": 200}, chunked=False) is None


def test_what_has_no_length_is_a_stream_where_that_was_asked_for() -> None:
    stream = recognise(start(content_type="text/plain"), chunked=True)
    assert stream is not None
    assert stream.protocol is StreamProtocol.NDJSON
    assert isinstance(stream.counter, Chunks)
    assert recognise(start(content_type="text/plain", content_length="5"), chunked=True) is None


def test_messages_of_a_compressed_stream_are_not_guessed_at() -> None:
    head = start(content_type="application/x-ndjson", content_encoding="gzip")
    stream = recognise(head, chunked=False)
    assert stream is not None
    assert isinstance(stream.counter, Uncounted)
    head = start(content_type="application/x-ndjson", content_encoding="identity")
    stream = recognise(head, chunked=False)
    assert stream is not None
    assert isinstance(stream.counter, NdjsonLines)
