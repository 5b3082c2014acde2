"""docs/operator-guide.md: everything that an operator looks for is there, and is true."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.operations.grafana import DASHBOARDS, ROOT
from tests.operations.vocabulary import mentioned_metrics, of_catalog, queries
from tests.programs import require

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()
SECTIONS = (
    "## Install",
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


def test_links_within_the_repository_lead_somewhere() -> None:
    anchors = {
        heading.lstrip("# ").lower().replace(",", "").replace(" ", "-")
        for heading in re.findall(r"^##+ .*$", GUIDE, re.MULTILINE)
    }
    for path, anchor in LINK.findall(GUIDE):
        assert (ROOT / "docs" / path).exists(), path
        assert not anchor or anchor in anchors


def test_every_metric_in_the_prose_exists() -> None:
    assert mentioned_metrics(GUIDE) <= of_catalog().keys()


def test_promtool_accepts_every_configuration_in_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the token of operators")
    fences = re.findall(
        r"^```yaml\n(scrape_configs:.*?|global:.*?)^```", GUIDE, re.MULTILINE | re.DOTALL
    )
    assert fences
    for number, fence in enumerate(fences):
        file = tmp_path / f"{number}.yml"
        file.write_text(fence.replace("/etc/prometheus/riptide-token", str(token)))
        done = subprocess.run(
            [require("promtool"), "check", "config", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
