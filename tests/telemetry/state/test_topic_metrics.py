"""Counts by topic prefix, for the prefixes on an allow-list."""

from __future__ import annotations

import pytest

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import CloseReason, DropReason, PublishOutcome, Source, StreamProtocol
from riptide_telemetry.providers import start_telemetry
from riptide_telemetry.state.topic_metrics import OTHER, TopicLabels


def test_a_topic_counts_under_its_longest_prefix_and_all_else_under_other() -> None:
    labels = TopicLabels(["orders", "orders.eu", "logs"])
    assert labels.find("orders.eu.paris") is labels.by_label["orders.eu"]
    assert labels.find("orders.us") is labels.by_label["orders"]
    assert labels.find("logs") is labels.by_label["logs"]
    assert labels.find("log") is labels.by_label[OTHER]
    assert labels.find("") is labels.by_label[OTHER]


def test_without_an_allow_list_no_topic_has_numbers() -> None:
    labels = TopicLabels()
    assert labels.find("orders") is None
    assert labels.by_label == {}


def test_an_allow_list_has_a_hard_cap() -> None:
    TopicLabels(f"t{number}" for number in range(TopicLabels.MAX_PREFIXES))
    with pytest.raises(ValueError, match="51"):
        TopicLabels(f"t{number}" for number in range(TopicLabels.MAX_PREFIXES + 1))


def test_the_series_of_an_allow_list_are_there_at_zero_and_no_traffic_adds_another() -> None:
    telemetry = start_telemetry("1.0", topic_prefixes=["orders"])
    assert _series(telemetry.exposition.render().body) == {
        'riptide_topic_messages_sent_total{topic="orders"}': 0,
        'riptide_topic_messages_sent_total{topic="other"}': 0,
    }
    lifecycle = telemetry.lifecycle
    for number in range(100):
        topic = f"made-up-{number}"
        lifecycle.connection_established(str(number), StreamProtocol.SSE, topic)
        lifecycle.items_sent(str(number), MessageBatch(1, 10, [0]), Source.LIVE)
    assert _series(telemetry.exposition.render().body) == {
        'riptide_topic_messages_sent_total{topic="orders"}': 0,
        'riptide_topic_messages_sent_total{topic="other"}': 100,
    }


def test_what_happens_to_a_topic_is_counted_under_its_label() -> None:
    telemetry = start_telemetry("1.0", topic_prefixes=["orders"])
    lifecycle, orders = telemetry.lifecycle, telemetry.metrics.topics.by_label["orders"]
    lifecycle.connection_established("a", StreamProtocol.SSE, "orders.eu")
    lifecycle.connection_established("b", StreamProtocol.SSE, "logs")
    lifecycle.messages_published(PublishOutcome.ACCEPTED, 5, "orders.eu")
    lifecycle.messages_published(PublishOutcome.INVALID, 7, "orders.eu")
    lifecycle.items_sent("a", MessageBatch(3, 30, [0, 0, 0]), Source.REPLAY)
    lifecycle.items_dropped("a", DropReason.EXPIRED, 2)
    lifecycle.items_sent("b", MessageBatch(1, 10, [0]), Source.LIVE)
    assert (orders.active, orders.published, orders.sent, orders.dropped) == (1, 5, 3, 2)
    lifecycle.connection_closed("a", CloseReason.CLIENT_CLOSED)
    assert orders.active == 0


def _series(body: bytes) -> dict[str, float]:
    lines = body.decode().split("\n")
    samples = [line.rsplit(" ", 1) for line in lines if line.startswith("riptide_topic_messages_s")]
    return {name: float(value) for name, value in samples}
