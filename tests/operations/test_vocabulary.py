"""The checker of queries finds what is wrong with one, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operations.vocabulary import (
    mentioned_metrics,
    of_catalog,
    of_prometheus,
    of_rules,
    queries,
    selected_metrics,
    unknown_words,
)
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

RIGHT = (
    "rate(riptide_streaming_messages_sent_total[5m])",
    "histogram_quantile(0.99, rate(riptide_streaming_connection_duration_seconds_bucket[5m]))",
    "histogram_quantile(0.9, sum by (le) (rate(riptide_log_append_duration_seconds_bucket[5m])))",
    'riptide_streaming_messages_dropped_total{protocol=~"ndjson|sse", reason!="expired"}',
    'sum without (protocol) (riptide_streaming_delivery_latency_seconds_bucket{le="0.25"})',
    'sum by (__name__) ({__name__=~"riptide_topic_.+", topic="orders"})',
    "riptide_streaming_active_connections / on (job, instance) group_left () riptide_topics",
    'max by (kind) (label_replace(riptide_topics, "kind", "$1", "instance", "(.+)"))',
)
WRONG = (
    ("rate(riptide_streaming_messages_total[5m])", "metric riptide_streaming_messages_total"),
    ("sum by (transport) (riptide_streaming_active_connections)", "label transport"),
    (
        'riptide_streaming_active_connections{transport="sse"}',
        "label transport of riptide_streaming_active_connections",
    ),
    (
        'riptide_streaming_active_connections{protocol="http"}',
        "value http of label protocol of riptide_streaming_active_connections",
    ),
    (
        'riptide_streaming_active_connections{protocol=~"sse|http"}',
        "value http of label protocol of riptide_streaming_active_connections",
    ),
    (
        'riptide_streaming_delivery_latency_seconds_bucket{le="0.3"}',
        "value 0.3 of label le of riptide_streaming_delivery_latency_seconds_bucket",
    ),
    ("riptide_topics / on (topic) riptide_topics", "label topic"),
    ("riptide_topics / on (job) group_left (version) riptide_topics", "label version"),
)


@pytest.mark.parametrize("query", RIGHT)
def test_nothing_is_unknown_in_a_right_query(query: str) -> None:
    assert unknown_words(query, of_catalog()) == []


@pytest.mark.parametrize(("query", "complaint"), WRONG)
def test_what_does_not_exist_is_named(query: str, complaint: str) -> None:
    assert unknown_words(query, of_catalog()) == [complaint]


def test_what_is_not_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="expected type matrix"):
        unknown_words("rate(riptide_topics)", of_catalog())


def test_the_queries_of_a_document_are_separated_by_empty_lines() -> None:
    text = "see `riptide_x`\n```promql\na\n  + b\n\nc\n```\n```sh\nls\n```\n```promql\nd\n```\n"
    assert queries(text) == ["a\n  + b", "c", "d"]


def test_metrics_are_found_in_prose_and_names_of_files_and_packages_are_not() -> None:
    text = (
        "`riptide_topics`, job:riptide_topics:sum, riptide_*, app/riptide_x.py is no metric, "
        "riptide_x/catalog.py and riptide_x.catalog are none, nor is `riptide_telemetry`; "
        "riptide_log_size_bytes."
    )
    assert mentioned_metrics(text) == {
        "riptide_topics",
        "job:riptide_topics:sum",
        "riptide_log_size_bytes",
    }


def test_a_query_tells_which_metrics_it_selects() -> None:
    assert selected_metrics("sum(a) / (b > 1) or max_over_time(c[5m:1m])") == {"a", "b", "c"}


def test_recording_rules_add_their_names_with_the_labels_they_group_by(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "groups: [{name: a, rules: [{record: 'job:topics:sum', expr: 'sum by (job) (t)'}]}]"
    )
    assert of_rules(file) == {"job:topics:sum": {"job": None}}


def test_a_server_has_what_the_catalog_promises(
    start_service: StartService, tmp_path: Path
) -> None:
    prometheus = Prometheus(tmp_path, start_service(topic_labels="orders"))
    try:
        prometheus.wait_for_scrape()
        live = of_prometheus(prometheus.url)
        promised = of_catalog()
        assert promised.keys() <= live.keys()
        for name, labels in promised.items():
            assert labels.keys() == live[name].keys(), name
            for label, values in labels.items():
                assert values is None or values == live[name][label], (name, label)
        assert unknown_words('up{job="riptide"}', live) == []
    finally:
        prometheus.close()
