"""docs/settings.md: complete, and made of tables that can be read."""

from __future__ import annotations

from operations.setting_reference import FILE, generate
from riptide.settings.settings import GROUPS, Settings


def test_every_setting_has_its_row_in_the_section_of_its_group() -> None:
    sections = generate()[FILE].split("\n## ")[1:]
    assert [section.partition("\n")[0] for section in sections] == list(GROUPS)
    rows = [line for section in sections for line in section.splitlines() if line[:3] == "| `"]
    for row, (name, field) in zip(rows, Settings.model_fields.items(), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:3] == [f"`RIPTIDE_{name.upper()}`", field.title, field.description]
        assert len(cells) == 4


def test_defaults_are_said_in_units_that_people_use() -> None:
    text = generate()[FILE]
    assert "| `604800` (7 days) |" in text
    assert "| `16777216` (16 MiB) |" in text
    assert "| none |" in text
    assert "None" not in text
