"""Who may import whom, and that importing does nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import riptide_telemetry
from tests.repository.sources import PACKAGES, ROOT, module_name, python_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Imports the modules named on the command line and prints what they did meanwhile that a module
# has no business doing.
WATCH = """
import importlib, os, sys, threading

quiet = True
ours = tuple(folder + os.sep for folder in sys.argv[1].split(os.pathsep))

def by_us():
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(ours):
            return True
        # What a library does while it is being imported is its own affair.
        if file.startswith("<frozen importlib"):
            return False
        frame = frame.f_back
    return False

def audit(event, arguments):
    if quiet:
        return
    if event in ("socket.__new__", "socket.bind", "socket.connect", "subprocess.Popen",
                 "os.putenv", "os.mkdir", "sqlite3.connect"):
        if by_us():
            print(event, arguments[:2])
    elif event == "open" and by_us():
        print(event, arguments[:2])

class Environment(dict):
    def _note(self, key):
        # A library that we call may look at its own variables, but not at ours.
        direct = sys._getframe(2).f_code.co_filename.startswith(ours)
        if not quiet and (direct or key.startswith(("RIPTIDE_", "OTEL_")) and by_us()):
            print("os.environ", key)
    def __getitem__(self, key):
        self._note(key)
        return super().__getitem__(key)
    def __contains__(self, key):
        self._note(key)
        return super().__contains__(key)
    def get(self, key, default=None):
        self._note(key)
        return super().get(key, default)
    def items(self):
        self._note("RIPTIDE_*")
        return super().items()

environment = Environment(os.environ)
os.environ = environment
os.getenv = lambda key, default=None: environment.get(key, default)
sys.addaudithook(audit)
quiet = False
for name in sys.argv[2:]:
    importlib.import_module(name)
quiet = True
if threading.active_count() > 1:
    print("threads")
"""


def _imports(file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a file imports: modules and the names from them ("" for the module itself)."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{'.' * node.level}{node.module or ''}", alias.name


def test_the_contracts_of_the_layers_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_the_service_uses_only_what_telemetry_offers() -> None:
    others = [
        f"{file}: {module} {name}"
        for file in python_files("app")
        for module, name in _imports(file)
        if module.partition(".")[0] == "riptide_telemetry"
        and not (module == "riptide_telemetry" and name in riptide_telemetry.__all__)
    ]
    assert others == []


def test_imports_name_their_module_in_full() -> None:
    relative = [
        f"{file}: {module}"
        for file in python_files()
        for module, _ in _imports(file)
        if module.startswith(".")
    ]
    assert relative == []


def test_sources_do_not_import_tests() -> None:
    assert [
        str(file)
        for file in python_files(*PACKAGES)
        for module, _ in _imports(file)
        if module.partition(".")[0] in {"tests", "pytest", "hypothesis"}
    ] == []


def _watch(*names: str, folders: Iterable[Path], cwd: Path = ROOT) -> str:
    """Return what the modules, which are in these folders, did while they were imported."""
    return subprocess.run(
        [sys.executable, "-c", WATCH, os.pathsep.join(map(str, folders)), *names],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_nothing_happens_at_import() -> None:
    names = [
        module_name(file)
        for file in python_files(*PACKAGES)
        if file.name not in {"__init__.py", "__main__.py"}
    ]
    assert "riptide.main" in names
    folders = [ROOT / folder / package for folder, package in PACKAGES.items()]
    assert _watch(*names, folders=folders) == ""


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    package = tmp_path / "riptide"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bad.py").write_text(
        "import os, socket, threading\n"
        "os.environ.get('HOME')\n"
        "os.environ['PATH']\n"
        "from riptide.settings.settings import Settings\n"
        "Settings()\n"
        "open(__file__).close()\n"
        "socket.socket().close()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (package / "settings").mkdir()
    rooms = ("settings/settings.py", "settings/service_links.py")
    for name in (*rooms, "errors.py", "message.py", "slow_consumers.py"):
        (package / name).write_text((ROOT / "app" / "riptide" / name).read_text())
    seen = _watch("riptide.bad", folders=[package], cwd=tmp_path)
    for deed in (
        "os.environ HOME",
        "os.environ RIPTIDE_*",
        "os.environ PATH",
        "open",
        "socket.__new__",
        "threads",
    ):
        assert deed in seen, seen


@pytest.mark.parametrize(
    "statement",
    [
        "from app.riptide import main",
        "import app.riptide.main",
        "from telemetry import riptide_telemetry",
        "import telemetry.riptide_telemetry",
    ],
)
def test_a_folder_of_the_repository_is_not_imported_as_a_package(statement: str) -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("ruff"), "check", "--stdin-filename", "a.py", "-"],
        cwd=ROOT,
        input=f"{statement}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 1
    assert "TID251" in lint.stdout
