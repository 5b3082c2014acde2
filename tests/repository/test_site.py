"""The documents become a site: every link leads somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.sources import ROOT

# What a browser loads by itself; a link that a reader may follow is none of it.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\ssrc=["']?(?P<source>[^"' >]+)"""
    r"""|<link\b(?![^>]*rel="(?:index|search|next|prev|author|copyright)")[^>]*?\shref="(?P<link>[^"]+)""",
)
LOADED_BY_STYLES = re.compile(r"""@import\s+["']?([^"';]+)|url\(\s*["']?([^"')]+)""")


def _build(sources: Path, site: Path) -> str:
    """Build as `make docs` does; return the errors, "" if there are none."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("sphinx-build"),
            *("--fail-on-warning", "--keep-going", "--quiet"),
            *("-c", sources / "docs", sources, site),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    assert _build(ROOT, site) == ""
    return site


def test_the_site_has_every_document_and_begins_with_their_list(site: Path) -> None:
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")}
    documents = {
        str(file.relative_to(ROOT).with_suffix(".html"))
        for folder in (".", "docs", "alert-rules", "alert-rules/runbooks", "otel-collector")
        for file in (ROOT / folder).glob("*.md")
    }
    assert documents <= pages
    (start,) = re.findall(r'content="0; url=([^"]+)"', (site / "index.html").read_text())
    assert (site / start).is_file()


def test_a_browser_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {
        match["source"] or match["link"]
        for page in site.rglob("*.html")
        for match in LOADED.finditer(page.read_text())
    } | {
        match[1] or match[2]
        for style in site.rglob("*.css")
        for match in LOADED_BY_STYLES.finditer(style.read_text())
    }
    assert any(address.endswith(".js") for address in map(_without_query, loaded))
    assert any(address.endswith(".css") for address in map(_without_query, loaded))
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []


def _without_query(address: str) -> str:
    return address.partition("?")[0]


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("[a page](docs/gone.md)", "gone"),
        ("[a heading](docs/index.md#gone)", "gone"),
        ("[a file](dashboards/gone.json)", "gone"),
        ("![a picture](docs/gone.png)", "gone"),
    ],
)
def test_a_broken_link_fails_the_build(tmp_path: Path, page: str, complaint: str) -> None:
    sources = _documents(tmp_path, README=f"# A page\n\n{page}\n")
    errors = _build(sources, tmp_path / "site")
    assert complaint in errors
    assert errors.count("WARNING") == 1


def test_a_page_that_the_menu_lacks_fails_the_build(tmp_path: Path) -> None:
    sources = _documents(tmp_path, README="# A page\n", CONTRIBUTING="# Another\n")
    assert "CONTRIBUTING.md: WARNING" in _build(sources, tmp_path / "site")


def test_documents_without_a_fault_are_built(tmp_path: Path) -> None:
    sources = _documents(tmp_path, README="# A page\n\n[The list](docs/index.md#start)\n")
    assert _build(sources, tmp_path / "site") == ""


def _documents(folder: Path, **pages: str) -> Path:
    """Return sources with this repository's configuration, whose menu has the README alone."""
    sources = folder / "sources"
    shutil.copytree(ROOT / "docs" / "templates", sources / "docs" / "templates")
    shutil.copy(ROOT / "docs" / "conf.py", sources / "docs")
    (sources / "docs" / "index.md").write_text("# List\n\n## Start\n\n- [A page](../README.md)\n")
    for name, text in pages.items():
        (sources / f"{name}.md").write_text(text)
    return sources
