"""Every alert has a runbook that says what to do, with queries that are right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from operations.alerts import alerts
from operations.recording_rules import recording_rules
from operations.rule_files import RECORDING_RULES
from operations.rules import Alert
from riptide.settings.settings import Settings
from riptide_telemetry.catalog import CATALOG
from tests.operations.vocabulary import (
    OF_ITSELF,
    mentioned_metrics,
    of_catalog,
    of_rules,
    queries,
    unknown_words,
)
from tests.repository.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOKS = ROOT / "alert-rules" / "runbooks"
FILES = sorted(RUNBOOKS.iterdir())
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
# Of the scrape and of the process, not of the catalog: the live test looks for them.
OTHERS = ("prometheus_", "process_", "python_", "scrape_")


def _sections(file: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", file.read_text(), flags=re.MULTILINE)
    assert parts[0] == f"# {file.stem}\n\n", file.name
    return {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    names = {rule.name for group in alerts() for rule in group.rules if isinstance(rule, Alert)}
    assert {file.name for file in FILES} == {f"{name}.md" for name in names}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_runbook_has_four_headings_and_something_under_each(file: Path) -> None:
    sections = _sections(file)
    assert list(sections) == HEADINGS
    for title, text in sections.items():
        assert len(text) > 40, title
        assert "TODO" not in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_diagnosis_has_queries_to_paste_and_commands_to_run(file: Path) -> None:
    diagnosis = _sections(file)["Diagnosis"]
    assert len(queries(diagnosis)) >= 2
    assert re.search(r"^```sh\n\S", diagnosis, re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_runbook_speaks_only_of_what_exists(file: Path) -> None:
    text = file.read_text()
    vocabulary = OF_ITSELF | of_catalog() | of_rules(ROOT / RECORDING_RULES)
    for query in queries(text):
        unknown = unknown_words(query, vocabulary)
        others = [word for word in unknown if word.startswith(tuple(f"metric {o}" for o in OTHERS))]
        assert unknown == others, query
    families = {metric.prometheus_name for metric in CATALOG}
    assert mentioned_metrics(text) <= vocabulary.keys() | families


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_setting_that_a_runbook_names_exists(file: Path) -> None:
    settings = {f"RIPTIDE_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"RIPTIDE_[A-Z_]+", file.read_text())) <= settings


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_links_of_a_runbook_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        assert (RUNBOOKS / target).is_file(), target


def test_recorded_series_are_named_as_they_are_recorded() -> None:
    recorded = {rule.name for group in recording_rules() for rule in group.rules}
    assert of_rules(ROOT / RECORDING_RULES).keys() == recorded
