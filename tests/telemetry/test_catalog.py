from __future__ import annotations

import itertools

import pytest

from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind, Merge, MetricDefinition
from riptide_telemetry.labels import DropReason, StreamProtocol
from riptide_telemetry.merging.rules import merged, remaining
from riptide_telemetry.merging.snapshot import Snapshot
from riptide_telemetry.state.ratios import RATIOS

CONTRACT_DURATION_BOUNDS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
BY_NAME = {definition.name: definition for definition in CATALOG}


def test_each_metric_stands_in_the_catalog_once() -> None:
    assert len(BY_NAME) == len(CATALOG)
    assert len({definition.prometheus_name for definition in CATALOG}) == len(CATALOG)


def test_there_are_more_metrics_than_the_22_that_were_promised() -> None:
    assert len(CATALOG) > 22


@pytest.mark.parametrize("definition", CATALOG, ids=lambda definition: str(definition.name))
def test_names_come_out_the_same_through_every_exporter(definition: MetricDefinition) -> None:
    words = definition.name.replace(".", "_").split("_")
    if definition.kind is Kind.COUNTER:
        assert "total" not in words
    # A unit of "1" gains a suffix from some exporters only.
    assert definition.unit != "1"
    assert definition.name.startswith("riptide.")


@pytest.mark.parametrize("definition", CATALOG, ids=lambda definition: str(definition.name))
def test_only_histograms_have_bounds_which_are_floats_and_rise(
    definition: MetricDefinition,
) -> None:
    assert bool(definition.bounds) == (definition.kind is Kind.HISTOGRAM)
    assert list(definition.bounds) == sorted(set(definition.bounds))
    assert all(isinstance(bound, float) for bound in definition.bounds)


@pytest.mark.parametrize("definition", CATALOG, ids=lambda definition: str(definition.name))
def test_descriptions_are_sentences(definition: MetricDefinition) -> None:
    assert definition.description.endswith(".")
    assert definition.description[0].isupper() or definition.description[0].isdigit()


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        (catalog.MESSAGES_SENT, "riptide_streaming_messages_sent_total"),
        (catalog.SENT_BYTES, "riptide_streaming_sent_bytes_total"),
        (catalog.TOTAL_CONNECTIONS, "riptide_streaming_total_connections"),
        (catalog.MEMORY_USAGE, "riptide_streaming_memory_usage_bytes"),
        (catalog.CONNECTION_DURATION, "riptide_streaming_connection_duration_seconds"),
        (catalog.ERROR_RATE, "riptide_streaming_error_rate"),
    ],
)
def test_prometheus_names_carry_the_unit_and_the_suffix_of_counters(
    definition: MetricDefinition, name: str
) -> None:
    assert definition.prometheus_name == name


def test_label_sets_are_all_combinations_of_the_closed_values() -> None:
    sets = catalog.MESSAGES_DROPPED.label_sets()
    assert len(sets) == len(StreamProtocol) * len(DropReason)
    assert {"protocol": "sse", "reason": "conflated"} in sets
    assert catalog.ERROR_RATE.label_sets() == [{}]


def test_durations_of_connections_have_the_bounds_of_the_contract() -> None:
    assert catalog.CONNECTION_DURATION.bounds == CONTRACT_DURATION_BOUNDS


@pytest.mark.parametrize(
    "definition",
    [
        each
        for each in CATALOG
        # Of the two others, the bounds are the contract's.
        if each.bounds and each not in {catalog.CONNECTION_DURATION, catalog.STREAM_DURATION}
    ],
    ids=lambda definition: str(definition.name),
)
def test_no_percentile_of_a_latency_is_further_off_than_by_a_factor_of_two_and_a_half(
    definition: MetricDefinition,
) -> None:
    assert definition.unit == "s"
    for below, bound in itertools.pairwise(definition.bounds):
        assert bound <= 2.5 * below, (below, bound)


def test_the_bounds_of_latencies_that_there_were_have_stayed() -> None:
    latency = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5}
    latency |= {1, 2.5, 5, 10, 60, 600, 3600, 86400}
    wait = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60}
    assert latency <= set(catalog.DELIVERY_LATENCY.bounds)
    assert wait <= set(catalog.WRITE_WAIT.bounds)
    assert wait <= set(catalog.LOG_APPEND_DURATION.bounds)
    assert set(CONTRACT_DURATION_BOUNDS) <= set(catalog.TIME_TO_FIRST_MESSAGE.bounds)


def test_a_topic_is_a_label_only_of_the_metrics_that_an_allow_list_feeds() -> None:
    by_topic = [each for each in CATALOG if "topic" in {label.key for label in each.labels}]
    assert all(each.name.startswith("riptide.topic.") for each in by_topic)
    assert all(each.label_sets() == [] for each in by_topic)
    assert "connection_id" not in {label.key for each in CATALOG for label in each.labels}


def test_counters_and_histograms_keep_what_ended_processes_have_counted() -> None:
    # Workers share a log, and each reports what it counts.
    of_the_log = {catalog.LOG_DAMAGED_MESSAGES, catalog.LOG_LOST_FRAMES}
    for definition in set(CATALOG) - of_the_log:
        if definition.kind in {Kind.COUNTER, Kind.HISTOGRAM}:
            assert definition.merge is Merge.TOTAL, definition.name


def test_what_each_process_reports_of_the_log_that_all_share_is_not_added_up() -> None:
    for name in (catalog.LOG_DAMAGED_MESSAGES.name, catalog.LOG_LOST_FRAMES.name):
        workers = [Snapshot({name: {"": count}}) for count in (0, 5, 5)]
        assert merged(workers).counts[name] == {"": 5}
        assert name not in remaining(workers[1], 0.0).counts


def test_each_gauge_says_how_it_is_merged_and_only_two_as_what_never_falls() -> None:
    # ``TOTAL`` is the rule of what says nothing, so a gauge that was forgotten is found here.
    gauges = [each for each in CATALOG if each.kind not in {Kind.COUNTER, Kind.HISTOGRAM}]
    assert [each for each in gauges if each.merge is Merge.TOTAL] == [
        catalog.TOTAL_CONNECTIONS,
        catalog.MESSAGES_UNACCOUNTED,
    ]


def test_a_share_is_never_merged_from_shares() -> None:
    ratios = {each for each in CATALOG if each.merge is Merge.RATIO}
    assert ratios == set(RATIOS)
    assert {each for each in CATALOG if each.name.endswith(("_ratio", "_rate"))} <= ratios
