"""What Grafana, and whoever looks at a dashboard, expects of its file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from operations import thresholds
from riptide.settings.settings import Settings
from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG
from tests.operations.grafana import DASHBOARDS, ROOT, VARIABLE, interpolate, load, targets
from tests.operations.vocabulary import mentioned_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.operations.grafana import Target

GRID = 24
PROVISIONING = ROOT / "dashboards" / "provisioning"
NINE = [
    "Active Streaming Connections",
    "Connection Growth Rate",
    "Message Throughput",
    "Delivery Success Rate",
    "Connection Duration Percentiles",
    "Streaming Error Rate",
    "Memory Usage in MB",
    "Backpressure Events",
    "Stream Health Overview",
]
# Of Grafana itself, and what they stand for when a query is only to be parsed.
BUILT_IN = {"__rate_interval": "1m", "__range": "1h"}
WINDOW = re.compile(r"\[([^\]]+)\]")
# Named in the title of their panel, or a trend; everything else follows the zoom.
FIXED_WINDOWS = {
    "streaming/Connection Growth Rate": {"5m"},
    "streaming/Streaming Error Rate": {"5m"},
    "telemetry-health/Restarts": {"900s"},
    **{
        key: {"1h"}
        for key in (
            "capacity/Connection Limit Reached In",
            "capacity/Critical Memory Reached In",
            "capacity/File Descriptors Exhausted In",
            "capacity/Connections in 4 Hours",
            "capacity/Memory in 4 Hours",
            "capacity/Log Size",
        )
    },
}

board_files = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def _panels(file: Path) -> list[dict[str, Any]]:
    """Return the panels that show something, without the headings of rows."""
    return [panel for panel in load(file)["panels"] if panel["type"] != "row"]


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


def test_each_board_has_an_address_of_its_own_that_its_file_tells() -> None:
    assert [load(file)["uid"] for file in DASHBOARDS] == [f"riptide-{f.stem}" for f in DASHBOARDS]


@board_files
def test_panels_have_ids_and_queries_have_letters_of_their_own(file: Path) -> None:
    ids = [panel["id"] for panel in load(file)["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    for panel in _panels(file):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == [chr(ord("A") + index) for index in range(len(letters))]


@board_files
def test_no_panel_lies_on_another_or_beyond_the_edge(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in load(file)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= GRID
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@board_files
def test_every_panel_has_title_description_unit_and_data_source(file: Path) -> None:
    for panel in _panels(file):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for holder in (panel, *panel["targets"]):
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@board_files
def test_every_variable_is_defined_and_used(file: Path) -> None:
    document = load(file)
    variables = [variable["name"] for variable in document["templating"]["list"]]
    assert variables[:3] == ["datasource", "job", "instance"]
    shown = _texts(document["panels"])
    used = {first or second for text in shown for first, second in VARIABLE.findall(text)}
    assert used - BUILT_IN.keys() == set(variables)


@pytest.mark.parametrize("target", targets(), ids=str)
def test_every_query_is_promql_that_follows_the_chosen_targets_and_the_zoom(
    target: Target,
) -> None:
    variables = dict.fromkeys(("job", "instance", "protocol", "collector"), ".+") | {"price": "1"}
    promql_parser.parse(interpolate(target.expression, BUILT_IN | variables))
    selectors = re.findall(r"\{[^}]*\}", target.expression)
    assert selectors
    for selector in selectors:
        if "otelcol_" in selector:
            assert 'job=~"$collector"' in selector
        else:
            assert 'job=~"$job", instance=~"$instance"' in selector
    fixed = FIXED_WINDOWS.get(f"{target.board}/{target.panel}", set())
    assert set(WINDOW.findall(target.expression)) <= {"$__rate_interval", "$__range"} | fixed


def test_ratios_are_never_averaged() -> None:
    assert [str(target) for target in targets() if re.search(r"\bavg\b", target.expression)] == []


def test_the_streaming_board_has_the_nine_panels_in_order() -> None:
    document = load(ROOT / "dashboards" / "streaming.json")
    assert [panel["title"] for panel in document["panels"]] == NINE
    assert document["refresh"] == "10s"
    assert document["time"] == {"from": "now-1h", "to": "now"}
    variables = [variable["name"] for variable in document["templating"]["list"]]
    assert variables == ["datasource", "job", "instance", "protocol"]


def test_the_alert_lines_of_the_nine_are_the_thresholds_of_the_alerts() -> None:
    lines = {}
    for panel in _panels(ROOT / "dashboards" / "streaming.json"):
        defaults = panel["fieldConfig"]["defaults"]
        if defaults.get("custom", {}).get("thresholdsStyle"):
            steps = defaults["thresholds"]["steps"]
            lines[panel["title"]] = [step["value"] for step in steps if step["value"] is not None]
    assert lines == {
        "Active Streaming Connections": [100],
        "Delivery Success Rate": [0.9],
        "Connection Duration Percentiles": [60],
        "Streaming Error Rate": [0.05, 0.1],
        "Memory Usage in MB": [500, 1024],
        "Backpressure Events": [10],
    }
    assert lines["Active Streaming Connections"] == [thresholds.ACTIVE_CONNECTIONS]
    assert lines["Connection Duration Percentiles"] == [thresholds.CONNECTION_DURATION_P99]


def test_throughput_has_an_axis_for_what_is_sent_and_one_for_what_is_dropped() -> None:
    panel = _panels(ROOT / "dashboards" / "streaming.json")[NINE.index("Message Throughput")]
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byName", "options": "dropped"}
    assert {"id": "custom.axisPlacement", "value": "right"} in override["properties"]
    assert [target["legendFormat"] for target in panel["targets"]] == ["sent", "dropped"]


def test_latency_shows_exemplars_and_a_heatmap() -> None:
    panels = _panels(ROOT / "dashboards" / "delivery-latency.json")
    exemplary = {
        panel["title"] for panel in panels if any(t.get("exemplar") for t in panel["targets"])
    }
    assert {"Delivery Latency Percentiles", "Delivery Latency Distribution"} <= exemplary
    (heatmap,) = (panel for panel in panels if panel["type"] == "heatmap")
    assert heatmap["targets"][0]["format"] == "heatmap"


@board_files
def test_a_table_has_a_heading_for_each_of_its_queries(file: Path) -> None:
    for panel in _panels(file):
        if panel["type"] == "table":
            (organize,) = (t for t in panel["transformations"] if t["id"] == "organize")
            renamed = organize["options"]["renameByName"]
            assert list(renamed) == [f"Value #{t['refId']}" for t in panel["targets"]]
            overridden = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
            assert overridden == set(renamed.values())


def test_every_metric_of_the_catalog_stands_on_a_board() -> None:
    shown = set[str]().union(*(mentioned_metrics(target.expression) for target in targets()))
    unseen = {
        definition.prometheus_name
        for definition in CATALOG
        if not any(name.startswith(definition.prometheus_name) for name in shown)
    }
    # What others are made of, or that others are the better form of.
    assert unseen == {
        definition.prometheus_name
        for definition in (
            catalog.TOTAL_CONNECTIONS,
            catalog.DELIVERY_RATIO,
            catalog.RECONNECTION_RATE,
            catalog.HEALTH_RATIO,
        )
    }


@board_files
def test_every_setting_that_a_board_names_exists(file: Path) -> None:
    settings = {f"RIPTIDE_{name.upper()}" for name in Settings.model_fields}
    assert {name for text in _texts(load(file)) for name in re.findall(r"RIPTIDE_\w+", text)} <= (
        settings
    )


def test_grafana_is_told_where_the_boards_and_the_data_are() -> None:
    boards = yaml.safe_load((PROVISIONING / "dashboards" / "riptide.yml").read_text())
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    (provider,) = boards["providers"]
    assert f"./dashboards:{provider['options']['path']}:ro" in compose["volumes"]
    prometheus = sources["datasources"][0]
    scrapes = yaml.safe_load((ROOT / "alert-rules" / "prometheus.yml").read_text())["global"]
    assert prometheus["jsonData"]["timeInterval"] == scrapes["scrape_interval"]
    (exemplar,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    # A dollar that is doubled is not the name of a variable.
    named = set(re.findall(r"(?<!\$)\$(\w+)", "\n".join(_texts(sources))))
    assert named <= compose["environment"].keys()
    assert exemplar["url"].endswith("$${__value.raw}")
