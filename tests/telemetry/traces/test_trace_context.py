from __future__ import annotations

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, get_current_span

from riptide_telemetry.traces.trace_context import (
    context_of,
    read_traceparent,
    sampled_trace,
    write_traceparent,
)

TEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = TEXT.removesuffix("1") + "0"


def test_what_is_read_is_written_again_as_it_was() -> None:
    for text in (TEXT, NOT_SAMPLED):
        span = read_traceparent(text)
        assert span is not None
        assert span.is_remote
        assert write_traceparent(span) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anything",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        TEXT + '","data":1',
        TEXT.replace("a", "g"),
    ],
)
def test_what_is_no_trace_context_is_none(text: str) -> None:
    assert read_traceparent(text) is None
    assert sampled_trace(text) is None
    assert not get_current_span(context_of(text)).get_span_context().is_valid


def test_only_a_sampled_trace_counts_as_one() -> None:
    assert sampled_trace(TEXT) == read_traceparent(TEXT)
    assert sampled_trace(NOT_SAMPLED) is None


def test_a_span_that_is_none_has_no_text() -> None:
    assert write_traceparent(INVALID_SPAN_CONTEXT) == ""


def test_the_context_of_a_text_makes_its_span_the_parent() -> None:
    parent = get_current_span(context_of(TEXT)).get_span_context()
    assert parent == read_traceparent(TEXT)
