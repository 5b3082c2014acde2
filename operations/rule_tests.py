"""Generates the tests of the alerts, which ``promtool test rules`` runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from operations.alerts import alerts
from operations.pace import REAL
from operations.recording_rules import recording_rules
from operations.rule_cases import beyond, ten
from operations.rule_cases.nothing_to_say import SCENARIOS
from operations.rules import DASHBOARD, Alert, labels_of, runbook_url, to_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from operations.rule_cases.case import Case, Firing

CASES: Final = (*ten.CASES, *beyond.CASES)
WATCHDOG: Final = "RiptideWatchdog"
_TESTS: Final = "alert-rules/tests"
_RULE_FILES: Final = ["../recording-rules.yaml", "../alerts.yaml"]
# The windows of Prometheus 3 do not contain their beginning, so the shortest one, of 5 minutes,
# must hold several samples.
_STEP: Final = "1m"
# The objectives' windows are of days. With an evaluation a minute, their cases would take a minute.
_LONG_STEP: Final = "5m"
_LONG: Final = frozenset({"RiptideDeliveryLatencyBudgetBurn", "RiptideDeliverySuccessBudgetBurn"})
_HEADING: Final = "Written by python -m operations from operations/{source}: change it there."


def rule_tests() -> Mapping[str, str]:
    """Return one file for each alert, and one for services for which no alert fires."""
    files = {
        f"{_TESTS}/{name}.yaml": _file(
            (_test(case) for case in cases),
            "rule_cases/",
            _LONG_STEP if name in _LONG else _STEP,
        )
        for name, cases in cases_by_alert().items()
    }
    files[f"{_TESTS}/nothing-to-say.yaml"] = _file(
        _nothing_to_say(), "rule_cases/nothing_to_say.py", _STEP
    )
    return files


def cases_by_alert() -> dict[str, list[Case]]:
    """Return the cases of each alert."""
    return {
        name: list(cases)
        for name, cases in itertools.groupby(
            sorted(CASES, key=lambda case: case.alert), key=lambda case: case.alert
        )
    }


def _file(tests: Iterable[dict[str, Any]], source: str, evaluation_interval: str) -> str:
    groups = [group.name for group in (*recording_rules(), *alerts())]
    content = {
        "rule_files": _RULE_FILES,
        "evaluation_interval": evaluation_interval,
        # Without this list, promtool evaluates the groups in any order.
        "group_eval_order": groups,
        "tests": list(tests),
    }
    return to_yaml(content, _HEADING.format(source=source))


def _test(case: Case) -> dict[str, Any]:
    test = {
        "name": f"{case.alert} {case.sentence}",
        "interval": _STEP,
        "input_series": _input(case.series),
        "alert_rule_test": [
            {
                "eval_time": case.at,
                "alertname": case.alert,
                "exp_alerts": [_as_sent(case.alert, firing) for firing in case.firing],
            }
        ],
    }
    if case.meanwhile:
        test["promql_expr_test"] = [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                "eval_time": case.at,
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for name in case.meanwhile
        ]
    return test


def _input(series: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


def _as_sent(name: str, firing: Firing) -> dict[str, Any]:
    rule = next(
        rule
        for rule in _rules()
        if rule.name == name and rule.labels.items() <= firing.labels.items()
    )
    return {
        "exp_labels": {**firing.labels, **labels_of(rule)},
        "exp_annotations": {
            "summary": rule.summary,
            "description": firing.description,
            "runbook_url": runbook_url(name),
            "dashboard_url": f"{DASHBOARD}?var-job={quote(firing.labels.get('job', ''))}",
        },
    }


def _nothing_to_say() -> Iterable[dict[str, Any]]:
    watching = next(case.firing for case in CASES if case.alert == WATCHDOG)
    names = dict.fromkeys(rule.name for rule in _rules())
    for scenario in SCENARIOS:
        yield {
            "name": f"{scenario.sentence} makes nothing fire but the watchdog",
            "interval": _STEP,
            "input_series": _input(scenario.series),
            "alert_rule_test": [
                {
                    "eval_time": at,
                    "alertname": name,
                    "exp_alerts": [_as_sent(name, firing) for firing in watching]
                    if name == WATCHDOG
                    else [],
                }
                for at in scenario.at
                for name in names
            ],
        }


def _rules() -> list[Alert]:
    return [rule for group in alerts(REAL) for rule in group.rules if isinstance(rule, Alert)]
