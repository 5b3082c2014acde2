"""The rules are what was agreed, and Prometheus' own tools are content with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from operations import thresholds
from operations.alerts import alerts
from operations.pace import Pace
from operations.recording_rules import recording_rules
from operations.rule_files import ALERTS, RECORDING_RULES, rule_files
from operations.rule_tests import CASES, WATCHDOG, cases_by_alert
from operations.rules import Alert, RecordingRule, Severity
from riptide_telemetry import catalog
from tests.operations.vocabulary import (
    OF_ITSELF,
    of_catalog,
    of_rules,
    selected_metrics,
    unknown_words,
)
from tests.repository.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operations.conftest import Promtool

# Severity, `for`, and what the value is compared with.
THE_TEN = {
    "RiptideErrorRateCritical": ("critical", "5m", "> 0.1"),
    "RiptideMemoryUsageCritical": ("critical", "5m", f"> {2**30}"),
    "RiptideMessageDropRateCritical": ("critical", "5m", "> 0.2"),
    "RiptideErrorRateWarning": ("warning", "10m", "> 0.05"),
    "RiptideMemoryUsageWarning": ("warning", "10m", f"> {500 * 2**20}"),
    "RiptideMessageDropRateWarning": ("warning", "10m", "> 0.1"),
    "RiptideConnectionDurationP99High": ("warning", "10m", "> 60"),
    "RiptideActiveConnectionsHigh": ("info", "15m", "> 100"),
    "RiptideBackpressure": ("info", "15m", "> 5"),
    "RiptideThroughputLow": ("info", "15m", "< 1"),
}
BEYOND = {
    "RiptideAbsent",
    "RiptideCertificateExpiryCritical",
    "RiptideCertificateExpiryWarning",
    "RiptideCertificateRefused",
    "RiptideConnectionsNearLimit",
    "RiptideConnectionsRejected",
    "RiptideConsumersBehind",
    "RiptideDeliveryLatencyBudgetBurn",
    "RiptideDeliverySuccessBudgetBurn",
    "RiptideEventLoopLag",
    "RiptideExportSilence",
    "RiptideExportsFailing",
    "RiptideIndicatorAbsent",
    "RiptideFault",
    "RiptideFeedLag",
    "RiptideKeysNotRead",
    "RiptideLogDamaged",
    "RiptideLogLostMessages",
    "RiptideLogDisconnected",
    "RiptideLogReset",
    "RiptideLogStalled",
    "RiptideCheckpointOverdue",
    "RiptideClockOffset",
    "RiptideClockUncertain",
    "RiptideMessagesUnaccounted",
    "RiptideOldestUndeliveredMessage",
    "RiptidePublishesFailing",
    "RiptideReconnectStorm",
    "RiptideRestartLoop",
    "RiptideSlowConsumerDisconnects",
    "RiptideTargetDown",
    "RiptideTokensRefused",
    "RiptideWatchdog",
    "RiptideWriteConflicts",
}
# Theirs is always the same.
WITHOUT_VALUE = {
    "RiptideAbsent",
    "RiptideCertificateRefused",
    "RiptideIndicatorAbsent",
    "RiptideLogDisconnected",
    "RiptideTargetDown",
    "RiptideWatchdog",
}
ALL_ALERTS = [rule for group in alerts() for rule in group.rules if isinstance(rule, Alert)]
NAMES = sorted({alert.name for alert in ALL_ALERTS})
TESTS = ROOT / "alert-rules" / "tests"


def _loaded(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("name", THE_TEN)
def test_the_ten_are_as_agreed(name: str) -> None:
    severity, held, comparison = THE_TEN[name]
    (rule,) = [rule for rule in _loaded(ALERTS) if rule["alert"] == name]
    assert rule["labels"]["severity"] == severity
    assert rule["for"] == held
    assert comparison in [f"{sign} {limit}" for sign, limit in _comparisons(rule["expr"])]


def _comparisons(expression: str) -> list[tuple[str, str]]:
    return re.findall(r"([<>]) ([0-9.]+)", expression)


def test_there_is_no_alert_but_those_that_are_agreed() -> None:
    assert {rule["alert"] for rule in _loaded(ALERTS)} == THE_TEN.keys() | BEYOND


@pytest.mark.parametrize("rule", _loaded(ALERTS), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_happened_and_where_to_read_on(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in set(Severity)
    annotations = rule["annotations"]
    assert annotations["summary"].endswith(".")
    assert annotations["description"].endswith(".")
    humanised = bool(re.search(r"{{ \$value \| (humanize|printf)", annotations["description"]))
    assert humanised == (rule["alert"] not in WITHOUT_VALUE)
    assert annotations["runbook_url"].endswith(f"/{rule['alert']}.md")
    assert annotations["dashboard_url"].startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    kinds = {bool(case.firing) for case in cases_by_alert()[name]}
    # A watchdog is never quiet.
    assert kinds == ({True} if name == WATCHDOG else {True, False})


def test_every_alert_is_looked_at_on_services_that_are_as_they_should_be() -> None:
    scenarios = yaml.safe_load((TESTS / "nothing-to-say.yaml").read_text())["tests"]
    assert len(scenarios) >= 3
    for scenario in scenarios:
        looked_at = {test["alertname"]: test["exp_alerts"] for test in scenario["alert_rule_test"]}
        assert looked_at.keys() == set(NAMES)
        assert [name for name, expected in looked_at.items() if expected] == [WATCHDOG]


def test_every_pair_of_windows_has_a_case_of_its_own_that_fires() -> None:
    fired = {
        (case.alert, firing.labels["window"])
        for case in CASES
        for firing in case.firing
        if "window" in firing.labels
    }
    assert fired == {
        (alert.name, alert.labels["window"]) for alert in ALL_ALERTS if "window" in alert.labels
    }


def test_every_warning_is_shown_to_be_silent_while_its_critical_fires() -> None:
    criticals = {
        alert.concern: alert.name for alert in ALL_ALERTS if alert.severity is Severity.CRITICAL
    }
    pairs = {
        (alert.name, criticals[alert.concern])
        for alert in ALL_ALERTS
        if alert.severity is Severity.WARNING
        and criticals.get(alert.concern, alert.name) != alert.name
    }
    shown = {(case.alert, name) for case in CASES for name in case.meanwhile if not case.firing}
    assert pairs
    assert pairs <= shown


def test_names_of_cases_are_sentences_and_said_once() -> None:
    names = [f"{case.alert} {case.sentence}" for case in CASES]
    assert len(names) == len(set(names))
    assert all(re.match(r"Riptide\w+ (fires|is|adds) \w+", name) for name in names)


def test_promtool_accepts_the_rules(promtool: Promtool) -> None:
    promtool("check", "rules", "--lint-fatal", str(ROOT / RECORDING_RULES), str(ROOT / ALERTS))


@pytest.mark.parametrize("file", sorted(TESTS.iterdir()), ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path, promtool: Promtool) -> None:
    promtool("test", "rules", str(file))


def test_no_file_of_tests_is_left_of_an_alert_that_has_gone() -> None:
    assert {file.stem for file in TESTS.iterdir()} == {*NAMES, "nothing-to-say"}


@pytest.mark.parametrize("group", recording_rules(), ids=lambda group: group.name)
def test_recorded_names_say_level_metric_and_operations(group: Any) -> None:
    for rule in group.rules:
        assert isinstance(rule, RecordingRule)
        level, metric, operations = rule.name.split(":")
        assert level == "job"
        assert metric in {
            each.prometheus_name.removesuffix("_total") for each in catalog.CATALOG
        } | {"riptide_streaming_messages_offered"}
        assert re.fullmatch(r"[a-z0-9_]+", operations)


@pytest.mark.parametrize(
    "rule",
    [*_loaded(RECORDING_RULES), *_loaded(ALERTS)],
    ids=lambda rule: rule.get("record") or rule["alert"],
)
def test_rules_speak_only_of_what_exists(rule: dict[str, Any]) -> None:
    vocabulary = OF_ITSELF | of_catalog() | of_rules(ROOT / RECORDING_RULES)
    assert unknown_words(rule["expr"], vocabulary) == []


def test_a_duration_that_an_alert_compares_with_is_a_bound_and_so_counted_and_not_guessed() -> None:
    assert thresholds.DELIVERY_LATENCY_TARGET in catalog.DELIVERY_LATENCY.bounds
    assert thresholds.CONNECTION_DURATION_P99 in catalog.CONNECTION_DURATION.bounds


def test_no_alert_uses_the_ratios_that_are_for_people_to_look_at() -> None:
    for_people = {
        metric.prometheus_name
        for metric in (catalog.ERROR_RATE, catalog.DELIVERY_RATIO, catalog.HEALTH_RATIO)
    }
    used = set().union(
        *(selected_metrics(rule["expr"]) for rule in _loaded(RECORDING_RULES) + _loaded(ALERTS))
    )
    assert not used & for_people


def test_a_faster_pace_divides_every_duration_and_changes_nothing_else() -> None:
    real, fast = rule_files(), rule_files(Pace(60))
    assert "[5m]" in real[RECORDING_RULES]
    assert "[5s]" in fast[RECORDING_RULES]
    for name, text in real.items():
        rules = [rule for g in yaml.safe_load(text)["groups"] for rule in g["rules"]]
        others = [rule for g in yaml.safe_load(fast[name])["groups"] for rule in g["rules"]]
        assert len(rules) == len(others)
        for rule, other in zip(rules, others, strict=True):
            if "for" in rule:
                held = promql_parser.parse_duration(rule["for"])
                assert held == 60 * promql_parser.parse_duration(other["for"])
            for key in ("record", "alert", "labels", "annotations"):
                assert rule.get(key) == other.get(key)
