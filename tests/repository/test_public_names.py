"""What telemetry offers is written down once, sorted and complete."""

from __future__ import annotations

import ast
import inspect
from enum import EnumType

import pytest

import riptide_telemetry
from tests.repository.sources import ROOT


def _imported() -> list[str]:
    """Return the names that telemetry's door imports for others."""
    tree = ast.parse((ROOT / "telemetry" / "riptide_telemetry" / "__init__.py").read_text())
    return [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    ]


def test_public_names_are_sorted_and_named_once() -> None:
    assert list(riptide_telemetry.__all__) == sorted(set(riptide_telemetry.__all__))


def test_public_names_are_exactly_what_is_imported_at_the_door() -> None:
    assert sorted(riptide_telemetry.__all__) == sorted(_imported())


@pytest.mark.parametrize("name", riptide_telemetry.__all__)
def test_every_public_name_is_ours_and_says_what_it_is(name: str) -> None:
    thing = getattr(riptide_telemetry, name)
    module = inspect.getmodule(thing)
    assert module is not None
    assert module.__name__.partition(".")[0] == "riptide_telemetry"
    assert inspect.getdoc(thing)


def test_every_label_set_is_public() -> None:
    from riptide_telemetry import labels  # noqa: PLC0415  # beside the door, to compare with it

    sets = {
        name
        for name, thing in vars(labels).items()
        if isinstance(thing, EnumType) and len(thing) and thing.__module__ == labels.__name__
    }
    assert sets
    assert sets <= set(riptide_telemetry.__all__)
