"""How the documents of the repository become a site (`make docs`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Riptide Streaming"
extensions = ["myst_parser"]
# The whole repository is the source, so that one relative link works here and in the site, and
# runbooks and configurations stay where they are used.
root_doc = "docs/index"
include_patterns = ["*.md", "*/*.md", "alert-rules/runbooks/*.md"]
exclude_patterns = [".*", "site"]
templates_path = ["templates"]

# Headings of these levels can be linked to, and a link to one that is not there is a warning.
myst_heading_anchors = 3
# Colours only: no lexer knows the names of recorded series, or a JSON object with an ellipsis.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = project
html_additional_pages = {"index": "to_the_documentation.html"}
html_copy_source = False

LINK = re.compile(r"\]\(([^)#:]+)\.md\)")


def setup(app: Sphinx) -> None:
    """Connect what makes the menu."""
    app.connect("source-read", add_menu)


def add_menu(_app: Sphinx, name: str, source: list[str]) -> None:
    """Make the site's menu out of the links of docs/index.md, one part for each section.

    A page that neither this one nor the list of runbooks links to is a warning of Sphinx.
    """
    if name == root_doc:
        for section in source[0].split("\n## ")[1:]:
            caption, _, text = section.partition("\n")
            source[0] += toctree(f":caption: {caption}\n\n" + "\n".join(LINK.findall(text)))
    elif name == "alert-rules/README":
        source[0] += toctree(":glob:\n\nrunbooks/*")


def toctree(options_and_pages: str) -> str:
    """Return a list of pages for the menu, which does not show on the page itself."""
    return f"\n```{{toctree}}\n:hidden:\n{options_and_pages}\n```\n"
