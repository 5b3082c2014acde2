"""Every query of panels and documents, asked of a real Prometheus that scraped real services."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest

from riptide_telemetry import catalog
from tests.operations.grafana import ROOT, Target, interpolate, targets
from tests.operations.scenario import (
    CONSUMERS,
    DISCONNECTING,
    DROPPING,
    PROTOCOLS,
    RING_MESSAGES,
    Scenario,
    Seen,
)
from tests.operations.vocabulary import (
    Vocabulary,
    of_prometheus,
    of_rules,
    queries,
    unknown_words,
)
from tests.prometheus import Prometheus
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRAPE_S = 1
# As Grafana works it out for a graph of a thousand points of the last hour.
STEP_S = 5
AN_HOUR = {
    "__rate_interval": f"{max(STEP_S + SCRAPE_S, 4 * SCRAPE_S)}s",
    "__interval": f"{STEP_S}s",
    "__range": "1h",
}
# A window in which the whole scenario lies: what happens in it can be told exactly.
WINDOW_S = 300
WHOLE = {"__rate_interval": f"{WINDOW_S}s", "__interval": f"{WINDOW_S}s", "__range": f"{WINDOW_S}s"}
ALL = {"job": "riptide", "instance": ".+", "protocol": ".+", "collector": ".+", "price": "0.09"}
# rate() extends what it has seen by half a scrape at each end.
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def scenario(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Scenario, Prometheus]]:
    services = [
        Service(tmp_path_factory.mktemp("service"), settings).start()
        for settings in (DROPPING, DISCONNECTING)
    ]
    dropping, disconnecting = services
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), *services)
    played = Scenario(dropping, disconnecting, prometheus)
    try:
        with played.play():
            yield played, prometheus
    finally:
        prometheus.close()
        for service in services:
            service.stop()


def _ask(
    scenario: tuple[Scenario, Prometheus],
    expression: str,
    *,
    at: float | None = None,
    **variables: str,
) -> dict[str, float]:
    """Return the values at a time (the end of the scenario), by what labels they have."""
    played, prometheus = scenario
    query = interpolate(expression, {**ALL, **WHOLE, **variables})
    return {
        ",".join(value for key, value in labels.items() if key not in {"__name__", "job"}): value
        for labels, value in prometheus.series(query, at=at or played.ended)
    }


@pytest.fixture(scope="module")
def vocabulary(scenario: tuple[Scenario, Prometheus]) -> Vocabulary:
    """Everything that Prometheus has, and what the recording rules would add."""
    return of_prometheus(scenario[1].url) | of_rules(*(ROOT / "alert-rules").glob("*.yaml"))


def _is_of_a_service(target: Target) -> bool:
    """Tell a query from those about others.

    tests/collector asks a real Collector its own, and test_cluster_board.py real instances theirs.
    """
    return "otelcol_" not in target.expression and target.board != "cluster"


@pytest.mark.parametrize("target", [*filter(_is_of_a_service, targets())], ids=str)
def test_every_query_of_every_panel_returns_data(
    scenario: tuple[Scenario, Prometheus], target: Target
) -> None:
    played, prometheus = scenario
    query = interpolate(target.expression, {**ALL, **AN_HOUR})
    if target.instant:
        values = [value for _, value in prometheus.series(query, at=played.ended)]
    else:
        # Back from the end, so that the last step has seen the last that happened.
        start = played.ended - STEP_S * math.ceil((played.ended - played.began) / STEP_S)
        values = prometheus.values(query, start, played.ended, STEP_S)
    assert any(not math.isnan(value) for value in values), query


@pytest.mark.parametrize("target", [*filter(_is_of_a_service, targets())], ids=str)
def test_no_query_speaks_of_what_prometheus_has_not(vocabulary: Vocabulary, target: Target) -> None:
    assert unknown_words(interpolate(target.expression, {**ALL, **AN_HOUR}), vocabulary) == []


DOCUMENTED = {
    f"{name} {number}": query
    for name in ("metrics", "operator-guide")
    for number, query in enumerate(queries((ROOT / "docs" / f"{name}.md").read_text()), 1)
}
# They find what should not be, or is not everywhere.
FILTERS = re.compile(r"(?:!= 0|> 0|== 1)$")


@pytest.mark.parametrize("query", DOCUMENTED.values(), ids=DOCUMENTED)
def test_every_query_in_a_document_works(
    scenario: tuple[Scenario, Prometheus], vocabulary: Vocabulary, query: str
) -> None:
    played, prometheus = scenario
    assert unknown_words(query, vocabulary) == []
    values = [value for _, value in prometheus.series(query, at=played.ended)]
    if not FILTERS.search(query):
        assert any(not math.isnan(value) for value in values)


# Metrics of others that a document names, whole or by their beginning.
OTHERS = re.compile(r"`((?:http_server|process|python|target|scrape|up)_\w*)`")


@pytest.mark.parametrize("name", ["metrics", "operator-guide"])
def test_every_metric_that_a_document_names_beside_ours_exists(
    vocabulary: Vocabulary, name: str
) -> None:
    named = set(OTHERS.findall((ROOT / "docs" / f"{name}.md").read_text()))
    assert [
        beginning
        for beginning in named
        if not any(metric.startswith(beginning) for metric in vocabulary)
    ] == []


PANELS = {(target.panel, target.ref): target.expression for target in targets("streaming")}


def _total(scenario: tuple[Scenario, Prometheus]) -> Seen:
    """Return what all clients saw."""
    together = Seen()
    for seen in scenario[0].seen.values():
        together.opened += seen.opened
        together.closed += seen.closed
        together.sent += seen.sent
        together.dropped += seen.dropped
        together.errors += seen.errors
        together.durations += seen.durations
    return together


def test_active_connections_are_those_that_stay(scenario: tuple[Scenario, Prometheus]) -> None:
    panel = "Active Streaming Connections"
    assert _ask(scenario, PANELS[panel, "A"]) == {"": CONSUMERS * len(PROTOCOLS)}
    assert _ask(scenario, PANELS[panel, "B"]) == dict.fromkeys(PROTOCOLS, CONSUMERS)
    assert _ask(scenario, PANELS[panel, "A"], protocol="sse") == {"": CONSUMERS}


def test_growth_is_what_was_opened_and_closed(scenario: tuple[Scenario, Prometheus]) -> None:
    seen = _total(scenario)
    for ref, count in (("A", seen.opened), ("B", seen.closed)):
        (growth,) = _ask(scenario, PANELS["Connection Growth Rate", ref]).values()
        assert growth * WINDOW_S == pytest.approx(count.total(), rel=TOLERANCE)


@pytest.mark.parametrize("protocol", [".+", *PROTOCOLS])
def test_throughput_is_what_clients_got_and_lost(
    scenario: tuple[Scenario, Prometheus], protocol: str
) -> None:
    seen = _total(scenario)
    for ref, count in (("A", seen.sent), ("B", seen.dropped)):
        (rate,) = _ask(scenario, PANELS["Message Throughput", ref], protocol=protocol).values()
        expected = count.total() if protocol == ".+" else count[protocol]
        assert rate * WINDOW_S == pytest.approx(expected, rel=TOLERANCE)


def test_delivery_success_is_the_share_that_clients_got(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    seen = _total(scenario)
    sent, dropped = seen.sent.total(), seen.dropped.total()
    (success,) = _ask(scenario, PANELS["Delivery Success Rate", "A"]).values()
    assert success == pytest.approx(sent / (sent + dropped), abs=0.02)


@pytest.mark.parametrize(("ref", "share"), [("A", 0.5), ("B", 0.95), ("C", 0.99)])
def test_durations_are_in_the_buckets_that_clients_say(
    scenario: tuple[Scenario, Prometheus], ref: str, share: float
) -> None:
    (duration,) = _ask(scenario, PANELS["Connection Duration Percentiles", ref]).values()
    low, high = _total(scenario).quantile(share, TOLERANCE)
    assert low <= duration <= high


def test_the_error_rate_is_errors_by_connections(scenario: tuple[Scenario, Prometheus]) -> None:
    seen = _total(scenario)
    (rate,) = _ask(scenario, PANELS["Streaming Error Rate", "A"]).values()
    assert rate == pytest.approx(seen.errors / seen.opened.total(), rel=2 * TOLERANCE)
    assert _ask(scenario, PANELS["Streaming Error Rate", "B"]) == {
        url.removeprefix("http://"): pytest.approx(one.errors / one.opened.total())
        for url, one in scenario[0].seen.items()
    }


def test_memory_holds_the_ring_of_the_topic_that_has_consumers(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    service = scenario[0].dropping
    address = service.url.removeprefix("http://")
    memory = _ask(scenario, PANELS["Memory Usage in MB", "A"])
    assert RING_MESSAGES * 1000 / 1024**2 < memory.pop(address) < 5
    # The other service has nobody.
    assert list(memory.values()) == [0]


def test_backpressure_is_what_was_dropped_each_minute(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    (drops,) = _ask(scenario, PANELS["Backpressure Events", "A"]).values()
    a_minute = _total(scenario).dropped.total() * 60 / WINDOW_S
    assert drops == pytest.approx(a_minute, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("panel", "healthy"),
    [
        ("Active Streaming Connections", 0),
        ("Connection Growth Rate", 0),
        ("Message Throughput", 0),
        ("Delivery Success Rate", 1),
        ("Streaming Error Rate", 0),
        ("Backpressure Events", 0),
    ],
)
def test_services_that_nobody_uses_yet_look_healthy(
    scenario: tuple[Scenario, Prometheus], panel: str, healthy: float
) -> None:
    assert _ask(scenario, PANELS[panel, "A"], at=scenario[0].began) == {"": healthy}


def test_the_overview_has_a_row_of_true_numbers_for_each_instance(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    panel = "Stream Health Overview"
    for url, seen in scenario[0].seen.items():
        instance = url.removeprefix("http://")
        row = {
            ref: _ask(scenario, expression, instance=instance)
            for (title, ref), expression in PANELS.items()
            if title == panel
        }
        assert {tuple(cell) for cell in row.values()} == {(instance,)}
        cells = {ref: cell[instance] for ref, cell in row.items()}
        sent, dropped = seen.sent.total(), seen.dropped.total()
        assert cells["A"] == seen.opened.total() - seen.closed.total()
        assert cells["B"] == pytest.approx(sent, rel=TOLERANCE)
        assert cells["C"] == pytest.approx(dropped, rel=TOLERANCE)
        assert cells["D"] == pytest.approx(sent / (sent + dropped), abs=0.02)
        assert cells["E"] == pytest.approx(seen.errors / seen.opened.total())
        assert 0 < cells["F"] < 60
        assert cells["G"] == 0
        assert cells["H"] == _ask(scenario, PANELS["Memory Usage in MB", "A"])[instance]


def _on(board: str, panel: str) -> str:
    """Return the first query of a panel."""
    (expression,) = (
        target.expression
        for target in targets(board)
        if target.panel == panel and target.ref == "A"
    )
    return expression


def test_the_other_boards_show_what_was_lost_refused_and_resumed(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    def within_the_window(board: str, panel: str) -> dict[str, int]:
        """Return counts, by reason or the like, of those panels that show them by the minute."""
        answer = _ask(scenario, _on(board, panel))
        counts = {key: value * WINDOW_S / 60 for key, value in answer.items()}
        return {key: round(count) for key, count in counts.items() if count > TOLERANCE}

    dropped = within_the_window("slow-consumers", "Drops by Reason")
    assert dropped == {
        "slow_consumer": pytest.approx(_total(scenario).dropped.total(), rel=TOLERANCE)
    }
    assert within_the_window("slow-consumers", "Disconnects of Slow Consumers") == {
        "slow_consumer": 1
    }
    assert within_the_window("slow-consumers", "Reconnections by Outcome") == {
        "resumed": len(PROTOCOLS),
        "reset": 1,
    }
    assert within_the_window("protocols", "Rejected Connections") == {"invalid_request": 1}
    assert within_the_window("protocols", "Errors by Type") == {
        "protocol,websocket": 1,
        "slow_consumer,ndjson": 1,
    }


def test_saturation_is_what_stays_of_what_may(scenario: tuple[Scenario, Prometheus]) -> None:
    played = scenario[0]
    limit = DROPPING["max_connections"]
    assert _ask(scenario, _on("capacity", "Connection Limit")) == {
        played.dropping.url.removeprefix("http://"): CONSUMERS * len(PROTOCOLS) / limit,
        played.disconnecting.url.removeprefix("http://"): 0,
    }


def test_the_cost_is_that_of_the_bytes_that_were_sent(
    scenario: tuple[Scenario, Prometheus],
) -> None:
    played = scenario[0]
    sent = sum(
        service.metric(catalog.SENT_BYTES.prometheus_name)
        for service in (played.dropping, played.disconnecting)
    )
    cost = _ask(scenario, _on("cost", "Cost Within the Range"), price="2.5")
    assert cost == {"": pytest.approx(sent / 1e9 * 2.5, rel=TOLERANCE)}


def test_the_truth_of_the_numbers_is_not_in_doubt(scenario: tuple[Scenario, Prometheus]) -> None:
    assert _ask(scenario, _on("telemetry-health", "Unaccounted Messages")) == {"": 0}
    assert _ask(scenario, _on("telemetry-health", "Targets Down")) == {"": 0}


OPERATORS_OWN = {
    "rate(riptide_streaming_messages_sent_total[5m])": PROTOCOLS,
    "100 * sum(rate(riptide_streaming_messages_sent_total[5m])) / "
    "(sum(rate(riptide_streaming_messages_sent_total[5m])) + "
    "sum(rate(riptide_streaming_messages_dropped_total[5m])))": ("",),
    "histogram_quantile(0.99, rate(riptide_streaming_connection_duration_seconds_bucket[5m]))": (
        PROTOCOLS
    ),
    "riptide_streaming_error_rate": ("",),
    "riptide_streaming_memory_usage_bytes / (1024 * 1024)": ("",),
}


@pytest.mark.parametrize("query", OPERATORS_OWN)
def test_the_queries_that_operators_already_use_work_as_they_are(
    scenario: tuple[Scenario, Prometheus], query: str
) -> None:
    played, prometheus = scenario
    answers = prometheus.series(query, at=played.ended)
    assert {labels.get("protocol", "") for labels, _ in answers} == set(OPERATORS_OWN[query])
    assert any(value > 0 for _, value in answers)
