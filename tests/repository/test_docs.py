"""What the documents say is what the code does."""

from __future__ import annotations

import re

import pytest

from riptide.settings.settings import OTHER_VARIABLES, Settings
from riptide_telemetry import CloseReason
from tests.repository.sources import PACKAGES, ROOT, python_files


@pytest.mark.parametrize("reason", CloseReason)
def test_the_table_of_endings_has_a_true_row_for_each_reason(reason: CloseReason) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (row,) = re.findall(rf"^\| `{reason}` \|(.*)\|$", text, flags=re.MULTILINE)
    meaning, code, _, reconnect, outcome, error = (cell.strip() for cell in row.split("|"))
    assert meaning == reason.meaning
    assert int(code) == reason.websocket_code
    assert (reconnect == "yes") == reason.reconnect
    assert outcome == f"`{reason.outcome}`"
    assert error == ("none" if reason.error_type is None else f"`{reason.error_type}`")


def test_every_setting_that_a_document_names_exists() -> None:
    settings = {f"RIPTIDE_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        named = set(re.findall(r"RIPTIDE_[A-Z_]+", document.read_text()))
        assert named <= settings, document.name


def test_no_command_of_a_document_has_a_wildcard_that_a_shell_would_take_for_its_own() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]:
        for block in re.findall(
            r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL
        ):
            for line in block.splitlines():
                bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)
                assert not re.search(r"https?:\S*[?*]|localhost\S*[?*]", bare), (
                    document.name,
                    line,
                )


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_the_page_of_the_architecture_has_a_row_for_each_room(folder: str, package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition(f"`{folder}/{package}`\n")[2].partition("\n#")[0]
    rooms = {
        f"{part}/" if (ROOT / folder / package / part).is_dir() else part
        for part in {file.parts[2] for file in python_files(folder)} - {"__init__.py"}
    }
    first_cells = "".join(re.findall(r"^\| (.*?) \|", table, flags=re.MULTILINE))
    assert set(re.findall(r"`(\w+(?:/|\.py))`", first_cells)) - {"__init__.py"} == rooms


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
