"""The two distributions: released together, each declaring what it imports, and no more."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository.sources import PACKAGES, ROOT, python_files

if TYPE_CHECKING:
    from pathlib import Path

PROJECTS = {"app": ROOT / "pyproject.toml", "telemetry": ROOT / "telemetry" / "pyproject.toml"}
# What is declared although no module of ours imports it.
USED_BY_OTHERS = {
    "uvloop": "uvicorn runs on it where it is installed",
    "opentelemetry-exporter-otlp-proto-grpc": "loaded by name, where OTLP over gRPC is asked for",
    "opentelemetry-exporter-otlp-proto-http": "loaded by name, where OTLP over HTTP is asked for",
    "riptide-telemetry": "an extra that is made of the others",
}
# Private parts of these are overridden or read, so a new minor release may break us.
BOUNDED = {
    "app": {
        "httptools",
        "opentelemetry-instrumentation-asgi",
        "starlette",
        "uvicorn",
        "websockets",
    },
    "telemetry": {
        "opentelemetry-exporter-otlp-proto-grpc",
        "opentelemetry-exporter-otlp-proto-http",
        "opentelemetry-sdk",
        "prometheus-client",
    },
}
MOST_LOOSE_MODULES = 10


def _project(folder: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(PROJECTS[folder].read_text())["project"]
    return project


def _requirements(folder: str) -> list[Requirement]:
    project = _project(folder)
    extras = [each for extra in project.get("optional-dependencies", {}).values() for each in extra]
    return [Requirement(text) for text in [*project["dependencies"], *extras]]


def _imported_names(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _files_of_distributions() -> dict[str, set[str]]:
    """Return which distributions have files below each dotted name: namespaces have several."""
    owners: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        for file in distribution.files or ():
            if file.suffix in {".py", ".so", ".pyi"}:
                parts = list(file.with_suffix("").parts)
                if parts[-1] == "__init__":
                    parts.pop()
                for end in range(1, len(parts) + 1):
                    owners.setdefault(".".join(parts[:end]).partition(".cpython")[0], set()).add(
                        name
                    )
    return owners


def _imported_distributions(folder: str) -> dict[str, str]:
    """Return the distributions that a package imports from, each with a name that it imports."""
    owners, found = _files_of_distributions(), {}
    for name in {name for file in python_files(folder) for name in _imported_names(file)}:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == PACKAGES[folder]:
            continue
        if top in PACKAGES.values():
            found["riptide-telemetry"] = name
            continue
        # A namespace such as opentelemetry belongs to many; the longest name that is known decides.
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            candidates = owners.get(".".join(parts[:end]), set())
            if len(candidates) == 1:
                found[next(iter(candidates))] = name
                break
    return found


def test_both_distributions_have_one_version_and_the_service_wants_just_that_library() -> None:
    service, library = _project("app"), _project("telemetry")
    assert service["version"] == library["version"]
    (wanted,) = [each for each in _requirements("app") if each.name == library["name"]]
    assert str(wanted.specifier) == f"=={library['version']}"
    assert wanted.extras == {"otlp"}


@pytest.mark.parametrize("folder", PACKAGES)
def test_what_is_imported_is_declared(folder: str) -> None:
    declared = {canonicalize_name(each.name) for each in _requirements(folder)}
    imported = _imported_distributions(folder)
    assert imported
    assert {name: imported[name] for name in imported.keys() - declared} == {}


@pytest.mark.parametrize("folder", PACKAGES)
def test_what_is_declared_is_used(folder: str) -> None:
    declared = {canonicalize_name(each.name) for each in _requirements(folder)}
    assert declared - _imported_distributions(folder).keys() - USED_BY_OTHERS.keys() == set()


@pytest.mark.parametrize("folder", PACKAGES)
def test_libraries_whose_private_parts_are_used_have_an_upper_bound(folder: str) -> None:
    bounded = {
        canonicalize_name(each.name)
        for each in _requirements(folder)
        if any(part.operator.startswith("<") for part in each.specifier)
    }
    assert BOUNDED[folder] <= bounded


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_few_modules_stand_outside_of_rooms(folder: str, package: str) -> None:
    root = ROOT / folder / package
    loose = [file.name for file in root.glob("*.py") if not file.name.startswith("__")]
    assert 0 < len(loose) <= MOST_LOOSE_MODULES, loose


def test_no_long_list_of_parameters_is_excused_by_what_a_thing_is_made_of() -> None:
    excuse = re.compile(r"noqa:.*# (?:as \w+|what .* (?:is|are) (?:made|put together) of)")
    found = [
        f"{file}:{number}"
        for file in python_files(*PACKAGES)
        for number, line in enumerate((ROOT / file).read_text().splitlines(), 1)
        if excuse.search(line) and "PLR09" in line
    ]
    assert found == []
