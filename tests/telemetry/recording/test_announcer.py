from __future__ import annotations

import logging

import pytest
from opentelemetry.trace import SpanContext

from riptide_telemetry.labels import CloseReason
from riptide_telemetry.recording.announcer import Announcer
from riptide_telemetry.recording.events import Event, EventName


@pytest.fixture
def announcer() -> Announcer:
    return Announcer()


def test_all_listeners_hear_an_event_until_they_unsubscribe(announcer: Announcer) -> None:
    first: list[Event] = []
    second: list[Event] = []
    # Each look-up of a bound method makes a new, equal object.
    announcer.subscribe(first.append)
    announcer.subscribe(second.append)
    announcer.announce(EventName.RECONNECTED, "c", {"outcome": "gap"})
    announcer.unsubscribe(first.append)
    announcer.announce(EventName.CONNECTION_CLOSED, "c", {})
    assert [event.name for event in first] == ["reconnected"]
    assert [event.name for event in second] == ["reconnected", "connection_closed"]
    announcer.unsubscribe(second.append)
    assert not announcer.has_listeners


def test_a_failing_listener_is_logged_and_the_next_one_still_hears(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Event] = []

    def fail(_event: Event) -> None:
        raise RuntimeError("the page is gone")

    announcer.subscribe(fail)
    announcer.subscribe(heard.append)
    announcer.announce(EventName.STREAM_STARTED, "c", {})
    assert len(heard) == 1
    assert "a listener failed on stream_started" in caplog.text
    assert "the page is gone" in caplog.text


def test_a_listener_may_unsubscribe_while_it_is_called(announcer: Announcer) -> None:
    heard: list[Event] = []

    def once(event: Event) -> None:
        heard.append(event)
        announcer.unsubscribe(once)

    announcer.subscribe(once)
    for _ in range(2):
        announcer.announce(EventName.STREAM_STARTED, "c", {})
    assert len(heard) == 1


def test_each_event_is_one_structured_log_record(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "riptide.stream")
    announcer.announce(EventName.STREAM_STARTED, "c7", {"request_id": "r", "total_items": 5})
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "stream_started connection_id=c7 request_id=r total_items=5"
    assert vars(record)["connection_id"] == "c7"
    assert vars(record)["stream.total_items"] == 5


def test_details_cannot_clash_with_the_fields_of_a_log_record(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "riptide.stream")
    announcer.announce(EventName.STREAM_COMPLETED, "c", {"name": "n", "message": "m", "args": 1})
    (record,) = caplog.records
    assert record.name == "riptide.stream"


def test_errors_are_warnings_and_the_rest_is_for_debugging(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "riptide.stream")
    for name in EventName:
        announcer.announce(name, "c", {})
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("reason", CloseReason)
def test_a_close_that_is_an_error_is_a_warning(
    announcer: Announcer, caplog: pytest.LogCaptureFixture, reason: CloseReason
) -> None:
    caplog.set_level(logging.INFO, "riptide.stream")
    announcer.announce(EventName.CONNECTION_CLOSED, "c", {"reason": reason})
    assert len(caplog.records) == (reason.error_type is not None)


def test_a_record_has_the_trace_of_its_stream(
    announcer: Announcer, caplog: pytest.LogCaptureFixture
) -> None:
    trace = SpanContext(1, 2, is_remote=False)
    announcer.announce(EventName.STREAM_ERROR, "c", {}, trace)
    (record,) = caplog.records
    assert vars(record)["trace"] == trace
    assert vars(record)["event"] == "stream_error"
