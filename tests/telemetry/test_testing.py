from __future__ import annotations

import pytest

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import Source, StreamProtocol
from riptide_telemetry.testing import InMemoryTelemetry, ManualClock


def test_a_manual_clock_moves_only_when_it_is_advanced() -> None:
    clock = ManualClock()
    before = clock.ns()
    assert clock.ns() == before
    clock.advance(1.5)
    assert clock.ns() - before == 1_500_000_000
    assert clock.seconds() == clock.ns() / 1e9


def test_a_value_is_the_sum_of_the_series_that_match(telemetry: InMemoryTelemetry) -> None:
    telemetry.lifecycle.connection_established("a", StreamProtocol.SSE)
    telemetry.lifecycle.connection_established("b", StreamProtocol.NDJSON)
    assert telemetry.value("riptide.streaming.total_connections") == 2
    assert telemetry.value("riptide.streaming.total_connections", protocol="sse") == 1
    assert telemetry.value("riptide.streaming.total_connections", protocol="websocket") == 0


def test_a_metric_answers_to_both_of_its_names(telemetry: InMemoryTelemetry) -> None:
    telemetry.lifecycle.connection_established("a", StreamProtocol.SSE)
    assert telemetry.value("riptide.streaming.connections_opened") == 1
    assert telemetry.value("riptide_streaming_connections_opened_total") == 1


def test_the_value_of_a_histogram_is_how_many_it_counted(telemetry: InMemoryTelemetry) -> None:
    telemetry.lifecycle.connection_established("a", StreamProtocol.SSE)
    telemetry.lifecycle.items_sent("a", MessageBatch(2, 9, [telemetry.clock.ns()] * 2), Source.LIVE)
    assert telemetry.value("riptide.streaming.delivery_latency", source="live") == 2


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("riptide.streaming.misspelt", {}),
        ("riptide.streaming.messages_sent", {"protocol": "gopher"}),
        ("riptide.streaming.messages_sent", {"topic": "a"}),
    ],
)
def test_a_misspelt_name_or_label_is_not_zero(
    telemetry: InMemoryTelemetry, name: str, labels: dict[str, str]
) -> None:
    with pytest.raises(LookupError, match="there is no riptide"):
        telemetry.value(name, **labels)


def test_two_doubles_share_nothing() -> None:
    one, other = InMemoryTelemetry(), InMemoryTelemetry()
    one.lifecycle.connection_established("a", StreamProtocol.SSE)
    assert other.value("riptide.streaming.total_connections") == 0
