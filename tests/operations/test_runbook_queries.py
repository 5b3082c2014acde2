"""Who follows a runbook gets answers: its queries find something where its alert fires."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from operations.alerts import alerts
from operations.recording_rules import recording_rules
from operations.rule_cases.case import Series, named
from operations.rule_cases.nothing_to_say import every_series
from operations.rule_files import ALERTS, RECORDING_RULES
from operations.rule_tests import cases_by_alert
from operations.rules import to_yaml
from tests.operations.vocabulary import FENCED, queries
from tests.programs import require
from tests.repository.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from operations.rule_cases.case import Case

# Cases that take hours differ from those of minutes only in their windows.
FIRING = [
    case
    for cases in cases_by_alert().values()
    for case in cases
    if case.firing and case.at.endswith("m")
]
# These alerts are about series that are missing, so no others stand beside those of a case.
ABOUT_ABSENCE = {"RiptideAbsent", "RiptideIndicatorAbsent"}
OF_THE_PROCESS = {
    "up": "{0}",
    "process_start_time_seconds": "0",
    "process_cpu_seconds_total": "0",
    "process_resident_memory_bytes": "1e8",
}
SAMPLES = 60


def _beside(case: Case) -> Series:
    """Return the other series of the process: it is well, or has gone when its build has."""
    if case.alert in ABOUT_ABSENCE:
        return {}
    (build,) = [v for name, v in case.series.items() if "riptide_build_info" in name] or [""]
    values = f"{{0}}x{build.partition('x')[2]}" if "stale" in build else f"{{0}}x{SAMPLES}"
    found = every_series(values)
    for name, value in OF_THE_PROCESS.items():
        found |= named(name, values.format(value.format("1")))
    named_in_case = {_identity(name) for name in case.series}
    return {name: values for name, values in found.items() if _identity(name) not in named_in_case}


def _identity(series: str) -> tuple[str, frozenset[str]]:
    return series.partition("{")[0], frozenset(re.findall(r'\w+="[^"]*"', series))


def _finds_nothing(tmp_path: Path, case: Case, series: Series, asked: list[str]) -> list[str]:
    """Return those of the queries that return no number at the time at which a case fires."""
    file = tmp_path / "queries.yaml"
    content = {
        "rule_files": [str(ROOT / RECORDING_RULES), str(ROOT / ALERTS)],
        "evaluation_interval": "1m",
        "group_eval_order": [group.name for group in (*recording_rules(), *alerts())],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": v} for name, v in series.items()],
                "promql_expr_test": [
                    {
                        # No NaN equals itself.
                        "expr": f"count(({query}) == ({query})) > bool 0",
                        "eval_time": case.at,
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for query in asked
                ],
            }
        ],
    }
    file.write_text(to_yaml(content, "Of a test."))
    done = subprocess.run(
        [require("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    empty = re.findall(r'expr: "count\(\((.*)\) == \(\1\)\) > bool 0"', said)
    assert done.returncode == bool(empty), said
    return empty


def _diagnosis(case: Case) -> str:
    text = (ROOT / "alert-rules" / "runbooks" / f"{case.alert}.md").read_text()
    return text.partition("## Diagnosis")[2].partition("## Mitigation")[0]


def _first_questions(case: Case) -> list[str]:
    return queries(FENCED.search(_diagnosis(case))[0])  # type: ignore[index]  # another test requires queries


@pytest.mark.parametrize("case", FIRING, ids=lambda case: f"{case.alert} {case.sentence}")
def test_the_first_query_of_a_runbook_finds_something_where_its_alert_fires(
    case: Case, tmp_path: Path
) -> None:
    assert _finds_nothing(tmp_path, case, case.series, _first_questions(case)[:1]) == []


# Its first fence is about Prometheus itself: the first query says what the others should find.
@pytest.mark.parametrize(
    "case",
    [
        case
        for case in FIRING
        if case.alert != "RiptideWatchdog" and "never seen" not in case.sentence
    ],
    ids=lambda case: f"{case.alert} {case.sentence}",
)
def test_what_a_runbook_asks_first_finds_something_in_the_process_whose_alert_fires(
    case: Case, tmp_path: Path
) -> None:
    series = {**_beside(case), **case.series}
    assert _finds_nothing(tmp_path, case, series, _first_questions(case)) == []


@pytest.mark.parametrize(
    "case",
    [case for case in FIRING if any("stale" in values for values in case.series.values())],
    ids=lambda case: f"{case.alert} {case.sentence}",
)
def test_every_query_of_a_runbook_about_a_process_that_is_gone_finds_what_was_before(
    case: Case, tmp_path: Path
) -> None:
    series = {**_beside(case), **case.series}
    assert _finds_nothing(tmp_path, case, series, queries(_diagnosis(case))) == []
