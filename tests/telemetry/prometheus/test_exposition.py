from __future__ import annotations

import gzip
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from riptide_telemetry import catalog
from riptide_telemetry.labels import DropReason, StreamProtocol
from riptide_telemetry.prometheus.exposition import Exposition
from riptide_telemetry.providers import Telemetry, start_telemetry
from tests.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterable

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOCOL = {"protocol": {"ndjson", "sse", "websocket"}}
REASONS = {"reason": {"slow_consumer", "conflated", "expired", "damaged"}}
# The contract: name, type as exposed, labels with all their values.
CONTRACT: list[tuple[str, str, dict[str, set[str]]]] = [
    ("riptide_streaming_active_connections", "gauge", PROTOCOL),
    ("riptide_streaming_total_connections", "gauge", PROTOCOL),
    ("riptide_streaming_connection_duration_seconds", "histogram", PROTOCOL),
    ("riptide_streaming_messages_sent_total", "counter", PROTOCOL),
    ("riptide_streaming_messages_dropped_total", "counter", PROTOCOL | REASONS),
    ("riptide_streaming_error_rate", "gauge", {}),
    ("riptide_streaming_memory_usage_bytes", "gauge", {}),
]
BOUNDS = "0.01 0.05 0.1 0.25 0.5 1.0 5.0 10.0 30.0 60.0 120.0 300.0 600.0 1800.0 3600.0 +Inf"


@pytest.fixture
def telemetry() -> Telemetry:
    return start_telemetry("1.2.3", topic_prefixes=["orders"])


def page(telemetry: Telemetry, accept: str = "") -> str:
    return telemetry.exposition.render(accept).body.decode()


def samples(telemetry: Telemetry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(page(telemetry))
        for sample in family.samples
    }


@pytest.mark.parametrize(("name", "kind", "labels"), CONTRACT)
def test_the_seven_of_the_contract_have_exactly_their_name_type_and_labels_at_zero(
    telemetry: Telemetry, name: str, kind: str, labels: dict[str, set[str]]
) -> None:
    assert f"# TYPE {name} {kind}" in page(telemetry).splitlines()
    shown = f"{name}_count" if kind == "histogram" else name
    series = {key: value for key, value in samples(telemetry).items() if key[0] == shown}
    values: dict[str, set[str]] = {}
    for _, pairs in series:
        for label, value in pairs:
            values.setdefault(label, set()).add(value)
    assert values == labels
    expected = 1
    for of_label in labels.values():
        expected *= len(of_label)
    assert len(series) == expected
    assert set(series.values()) == {0}


def test_the_bounds_of_connection_durations_are_printed_as_the_contract_has_them(
    telemetry: Telemetry,
) -> None:
    start = 'riptide_streaming_connection_duration_seconds_bucket{le="'
    printed = [
        line.removeprefix(start).partition('"')[0]
        for line in page(telemetry).splitlines()
        if line.startswith(start) and 'protocol="sse"' in line
    ]
    assert " ".join(printed) == BOUNDS


def test_every_metric_of_the_catalog_is_shown_under_its_prometheus_name(
    telemetry: Telemetry,
) -> None:
    lines = page(telemetry).splitlines()
    types = {"counter": "counter", "histogram": "histogram"}
    for each in catalog.CATALOG:
        assert f"# TYPE {each.prometheus_name} {types.get(each.kind.value, 'gauge')}" in lines
        assert f"# HELP {each.prometheus_name} {each.description}" in lines


def test_prometheus_export_shows_what_was_recorded(telemetry: Telemetry) -> None:
    telemetry.metrics.record_connection(StreamProtocol.SSE)
    telemetry.metrics.record_item_sent(StreamProtocol.SSE, 9)
    telemetry.metrics.record_item_dropped(StreamProtocol.SSE, DropReason.CONFLATED, 1)
    lines = page(telemetry).splitlines()
    assert 'riptide_streaming_active_connections{protocol="sse"} 1.0' in lines
    assert 'riptide_streaming_messages_sent_total{protocol="sse"} 9.0' in lines
    dropped = 'riptide_streaming_messages_dropped_total{protocol="sse",reason="conflated"} 1.0'
    assert dropped in lines
    assert "riptide_streaming_delivery_ratio 0.9" in lines


def test_no_series_appears_twice(telemetry: Telemetry) -> None:
    lines = [line.rpartition(" ")[0] for line in page(telemetry).splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))


def test_both_formats_have_the_same_families(telemetry: Telemetry) -> None:
    def names(families: Iterable[object]) -> set[str]:
        return {str(vars(family)["name"]).removesuffix("_info") for family in families}

    openmetrics = parse_openmetrics(page(telemetry, OPENMETRICS))  # type: ignore[no-untyped-call]  # the parser has no types
    assert names(parse_text(page(telemetry))) == names(openmetrics)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        ("image/png", "text/plain"),
    ],
)
def test_the_scraper_s_accept_header_chooses_the_format(
    telemetry: Telemetry, accept: str, content_type: str
) -> None:
    scrape = telemetry.exposition.render(accept)
    assert scrape.content_type.startswith(content_type)
    assert scrape.body.endswith(b"# EOF\n") == (accept == OPENMETRICS)


def test_promtool_has_nothing_to_complain_about(telemetry: Telemetry) -> None:
    promtool = require("promtool")
    ours = "".join(
        f"{line}\n" for line in page(telemetry).splitlines() if "riptide_" in line
    ).encode()
    check = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True)  # noqa: PLW1510  # the assertion shows its output, too
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("deflate", None),
        ("", None),
    ],
)
def test_a_page_is_compressed_only_for_who_accepts_it(accepted: str, encoding: str | None) -> None:
    registry = CollectorRegistry()
    Counter("events", "Events.", registry=registry)
    plain = b"# HELP events_total Events.\n# TYPE events_total counter\nevents_total 0.0\n"
    scrape = Exposition(registry).render(accept_encoding=accepted)
    assert scrape.content_encoding == encoding
    body = gzip.decompress(scrape.body) if encoding else scrape.body
    assert body.startswith(plain)


async def test_a_scrape_runs_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    exposition = Exposition(CollectorRegistry())
    threads = []
    render = exposition.render

    def noted(accept: str = "", accept_encoding: str = "") -> object:
        threads.append(threading.get_ident())
        return render(accept, accept_encoding)

    monkeypatch.setattr(exposition, "render", noted)
    await exposition.scrape()
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("version", ["new", "1.0.0.0", "", '"1.0.0"'])
def test_a_scraper_that_asks_for_a_version_that_is_none_is_answered(version: str) -> None:
    telemetry = start_telemetry("1.0")
    scrape = telemetry.exposition.render(f"application/openmetrics-text; version={version}")
    assert b"riptide_build_info" in scrape.body
