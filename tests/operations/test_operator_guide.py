"""docs/operator-guide.md: everything that an operator looks for is there, and is true."""

from __future__ import annotations

import importlib
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from operations.alerts import alerts
from operations.rules import Alert
from riptide.process import descriptors
from riptide.settings.settings import Settings
from riptide_telemetry import catalog
from tests.operations.grafana import DASHBOARDS, ROOT
from tests.operations.vocabulary import mentioned_metrics, of_catalog, queries
from tests.programs import require
from tests.service import RIPTIDE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operations.conftest import Promtool

GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()
SECTIONS = (
    "## Install",
    "## Behind a proxy",
    "## Scrape it",
    "## Dashboards",
    "## Alerts",
    "## Tuning",
    "## Capacity planning",
    "## Back up, restore, move",
    "## Upgrade and go back",
    "## Troubleshooting",
    "### High error rate",
    "### High drop rate",
    "### Memory growth",
    "### Slow consumers",
    "### Reconnect storms",
    "## Queries to start from",
)
LINK = re.compile(r"\[[^\]]+\]\(([^)#:]*)(?:#([^)]*))?\)")


def _section(heading: str) -> str:
    """Return the text below a heading, up to the next one."""
    (text,) = re.findall(rf"^{heading}\n(.*?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text).strip()


def test_the_guide_has_its_sections_in_order() -> None:
    headings = re.findall(r"^##+ .*$", GUIDE, re.MULTILINE)
    assert tuple(heading for heading in headings if heading in SECTIONS) == SECTIONS


def _fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("heading", [section for section in SECTIONS if section[:3] == "###"])
def test_each_kind_of_trouble_has_queries_to_paste_and_what_to_make_of_them(heading: str) -> None:
    text = _section(heading)
    assert queries(text)
    assert re.search(r"^- ", text, re.MULTILINE)


def test_no_section_is_empty() -> None:
    assert [heading for heading in SECTIONS if not _section(heading)] == []


def test_every_board_is_introduced() -> None:
    assert {f"../dashboards/{file.name}" for file in DASHBOARDS} <= {
        path for path, _ in LINK.findall(GUIDE)
    }


def _anchors(text: str) -> set[str]:
    return {
        heading.lstrip("# ").lower().replace(",", "").replace(" ", "-")
        for heading in re.findall(r"^##+ .*$", text, re.MULTILINE)
    }


def test_links_within_the_repository_lead_somewhere() -> None:
    for path, anchor in LINK.findall(GUIDE):
        target = ROOT / "docs" / path
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target.read_text() if path else GUIDE), path


def test_every_metric_in_the_prose_exists() -> None:
    assert mentioned_metrics(GUIDE) <= of_catalog().keys()


@pytest.mark.parametrize(("language", "name"), [("nginx", "nginx.conf"), ("caddy", "Caddyfile")])
def test_the_configurations_of_proxies_are_the_ones_that_are_tested(
    language: str, name: str
) -> None:
    assert _fences(language) == [(ROOT / "proxies" / name).read_text()]
    assert f"../proxies/{name}" in GUIDE


def test_what_is_to_be_set_before_the_rules_are_loaded_is_where_and_as_it_is_said() -> None:
    table = _section("### Set these before you load the rules")
    rows = re.findall(r"^\| `(\w+)` \| `(\S+)\.py` \| `?([^|`]+)`? \|", table, re.MULTILINE)
    assert {name for name, _, _ in rows} == {
        "CONNECTION_DURATION_P99",
        "ACTIVE_CONNECTIONS",
        "THROUGHPUT_LOW",
        "CERTIFICATE_EXPIRY_WARNING",
        "RUNBOOKS",
        "DASHBOARD",
    }
    for name, module, value in rows:
        setting = getattr(importlib.import_module(module.replace("/", ".")), name)
        assert str(setting) == value.strip(), name
    # What it may be raised to is what the histogram can still tell.
    assert catalog.CONNECTION_DURATION.bounds[-1] == 3600
    assert "3600" in table


def test_alerts_and_rules_are_counted_right() -> None:
    rules = [rule for group in alerts() for rule in group.rules if isinstance(rule, Alert)]
    windows = [rule for rule in rules if "window" in rule.labels]
    names = {rule.name for rule in rules}
    assert f"({len(names)} alerts are {len(rules)} rules" in GUIDE
    assert len({rule.name for rule in windows}) == 2
    assert len(windows) == 2 * 4
    assert f"{len(names)} alerts" in (ROOT / "CHANGELOG.md").read_text()


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    (unit,) = _fences("ini")
    # Both ways of the unit: with the lines for a secret, and without.
    for name, text in {"plain": unit, "secret": re.sub(r"(?m)^# (?=\w+=)", "", unit)}.items():
        file = tmp_path / f"{name}.service"
        file.write_text(text.replace("/opt/riptide/bin/riptide", str(RIPTIDE)))
        done = subprocess.run(
            [require("systemd-analyze"), "verify", "--man=no", file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert text.count("LoadCredential=") == 1


def test_supervisors_wait_for_the_drain_and_give_descriptors_for_all_connections() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    wanted = Settings.model_fields["max_connections"].default + descriptors.RESERVE
    (unit,) = _fences("ini")
    for pattern, text in ((r"TimeoutStopSec=(\d+)", unit), (r"--stop-timeout (\d+)", GUIDE)):
        (seconds,) = re.findall(pattern, text)
        assert int(seconds) > drain
    for pattern, text in ((r"LimitNOFILE=(\d+)", unit), (r"--ulimit nofile=(\d+):", GUIDE)):
        (files,) = re.findall(pattern, text)
        assert int(files) >= wanted
    assert f"{descriptors.RESERVE} besides" in unit
    assert f"{descriptors.RESERVE} above" in GUIDE


def test_the_secret_is_given_to_the_user_of_the_image() -> None:
    (user,) = re.findall(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert f"chown {user} secret" in GUIDE


def test_promtool_accepts_every_configuration_in_it(tmp_path: Path, promtool: Promtool) -> None:
    token = tmp_path / "token"
    token.write_text("the token of operators")
    fences = re.findall(
        r"^```yaml\n(scrape_configs:.*?|global:.*?)^```", GUIDE, re.MULTILINE | re.DOTALL
    )
    assert fences
    for number, fence in enumerate(fences):
        file = tmp_path / f"{number}.yml"
        file.write_text(fence.replace("/etc/prometheus/riptide-token", str(token)))
        promtool("check", "config", file)
