"""What the document of the alerts says is true of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from operations.alertmanager import configuration
from operations.alerts import alerts
from operations.drill.__main__ import FACTOR
from operations.rules import Alert
from tests.repository.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operations.conftest import Promtool

README = (ROOT / "alert-rules" / "README.md").read_text()
GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()


def test_promtool_accepts_the_configuration_of_the_document(
    tmp_path: Path, promtool: Promtool
) -> None:
    (fence,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    file = tmp_path / "prometheus.yml"
    file.write_text(fence.replace("/etc/prometheus/rules", str(ROOT / "alert-rules")))
    assert promtool("check", "config", file).count("rules found") == 2


def test_every_file_of_secrets_is_named() -> None:
    named = re.findall(r"/etc/alertmanager/secrets/([a-z-]+)", yaml.safe_dump(configuration()))
    assert named
    assert all(f"`{name}`" in README for name in named)


def test_the_table_of_the_drill_has_a_row_for_each_alert_and_no_failure() -> None:
    table = GUIDE.partition("### The drill")[2].partition("## Tuning")[0]
    rows: list[Any] = re.findall(r"^\| `(\w+)`(?: \((\w+)\))? +\|.*\|(.*)\|$", table, re.MULTILINE)
    expected = {
        (rule.name, rule.labels.get("window", ""))
        for group in alerts()
        for rule in group.rules
        if isinstance(rule, Alert)
    }
    assert {(name, window) for name, window, _ in rows} == expected
    assert all(told.strip() == "firing, resolved" for _, _, told in rows)
    assert "**never**" not in table


def test_the_document_says_by_how_much_time_is_compressed() -> None:
    assert f"divided by {FACTOR})" in " ".join(GUIDE.split())
