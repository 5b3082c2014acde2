"""Tests mirror the sources: whoever looks for a module's tests guesses right the first time."""

from __future__ import annotations

from pathlib import Path

from tests.repository.sources import PACKAGES, ROOT, modules, python_files


def _mirror(module: Path) -> Path:
    root, _package, *rooms, _name = module.parts
    return Path("tests", root, *rooms, f"test_{module.name}")


def test_every_module_has_its_test_file() -> None:
    missing = [
        str(_mirror(module)) for module in modules() if not (ROOT / _mirror(module)).exists()
    ]
    assert missing == []


def test_every_folder_of_python_files_is_a_package() -> None:
    folders = {file.parent for file in python_files(*PACKAGES, "tests")}
    missing = [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]
    assert missing == []


def test_every_test_file_has_tests() -> None:
    empty = [
        str(file)
        for file in python_files("tests")
        if file.name.startswith("test_")
        and not any(word in (ROOT / file).read_text() for word in ("def test_", "Test"))
    ]
    assert empty == []


def test_the_packages_of_the_service_say_nothing_at_their_door() -> None:
    wordy = [
        str(file)
        for file in python_files("app")
        if file.name == "__init__.py"
        and file.parent != Path("app/riptide/cli")
        and (ROOT / file).read_text().strip()
    ]
    assert wordy == []
