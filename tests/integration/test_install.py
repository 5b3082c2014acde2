"""The two wheels, installed into somebody else's project that has packages of its own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests import plain
from tests.repository.sources import PACKAGES, ROOT
from tests.service import SERVING
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PACKAGES = 10
MOST_BYTES = 40_000_000
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
OFFLINE = ("--no-deps", "--no-build-isolation")
RUNNING = re.compile(r"running on (http://\S+)")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = (sys.executable, "-c", "import sys; from riptide.cli import main; sys.exit(main())")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    sources = [str(ROOT / "telemetry"), str(ROOT)]
    subprocess.run([*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, *sources], check=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def project(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with packages of its own, beside which the wheels are installed in ``site``."""
    root = tmp_path_factory.mktemp("project")
    for name in ("app", "telemetry", "tests"):
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(f"OWNER = 'the project, in {name}'\n")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", root / "site", *wheels], check=True)
    return root


def _environment(project: Path, **variables: str) -> dict[str, str]:
    """Return an environment in which the project's packages come first, then the wheels."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIPTIDE_", "OTEL_"))
    }
    path = os.pathsep.join([str(project), str(project / "site")])
    return inherited | {"PYTHONPATH": path} | variables


def _first_group(pattern: re.Pattern[str], log: Path) -> str:
    found = pattern.search(log.read_text())
    return found[1] if found else ""


def _run(project: Path, *command: str, stdin: str = "", **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=project,
        env=_environment(project, **variables),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["1", "2"])
def served(request: pytest.FixtureRequest, project: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the service that the project runs, in one process or with workers."""
    log = tmp_path / "log"
    command = [*COMMAND, "serve", "--workers", request.param]
    variables = {"RIPTIDE_PORT": "0", "RIPTIDE_DATA_DIR": str(tmp_path / "data")}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=project, env=_environment(project, **variables), stderr=output
        )
    try:
        yield wait_until(lambda: _first_group(SERVING, log), log.read_text)
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0, log.read_text()


def test_the_wheels_have_no_file_beside_their_own_package(wheels: list[Path]) -> None:
    tops = {
        name.partition("/")[0] for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()
    }
    packages = {name for name in tops if not name.endswith(".dist-info")}
    assert packages == set(PACKAGES.values())


def test_the_version_is_told_in_a_project_with_packages_of_its_own(project: Path) -> None:
    version = importlib.metadata.version("riptide-streaming")
    assert _run(project, *COMMAND, "--version") == f"riptide {version}\n"
    script = "import app, telemetry, tests, riptide, riptide_telemetry as library; print("
    script += "app.OWNER, telemetry.OWNER, tests.OWNER, riptide.__file__, library.__file__)"
    printed = _run(project, sys.executable, "-c", script)
    assert printed.count("the project") == 3
    assert printed.count(str(project / "site")) == 2


def test_messages_go_through_the_service_of_such_a_project(project: Path, served: str) -> None:
    def publish_and_read() -> str:
        # With workers, what is published to one is not on the others: until both meet.
        _run(project, *COMMAND, "publish", "logs", stdin="one\n", RIPTIDE_URL=served)
        tail = ("tail", "logs", "--after", "earliest", "--until", "latest")
        return _run(project, *COMMAND, *tail, RIPTIDE_URL=served)

    read = wait_until(publish_and_read)
    assert set(read.splitlines()) == {"one"}


def test_the_example_of_the_readme_runs_in_such_a_project(project: Path, tmp_path: Path) -> None:
    blocks = PYTHON_BLOCK.findall((ROOT / "README.md").read_text())
    (code,) = [block for block in blocks if "StreamTelemetryMiddleware" in block]
    (project / "example.py").write_text(code)
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "example:app", "--port", "0"],
            cwd=project,
            env=_environment(project, OTEL_SERVICE_NAME="example"),
            stderr=output,
        )
    try:
        url = wait_until(lambda: _first_group(RUNNING, log), log.read_text)
        with plain.stream("GET", f"{url}/clock") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "data: 0"
            scraped = plain.get(f"{url}/metrics").text
    finally:
        process.terminate()
        process.wait()
    assert 'riptide_streaming_active_connections{protocol="sse"} 1.0' in scraped


def _closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return what an installation of a distribution brings, itself included."""
    found: set[str] = set()
    waiting = {(name, extras)}
    while waiting:
        name, extras = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                waiting.add((requirement.name, frozenset(requirement.extras)))
    return found


def test_the_library_alone_is_small() -> None:
    brought = _closure("riptide-telemetry")
    assert "opentelemetry-sdk" in brought
    assert len(brought) <= MOST_PACKAGES, brought
    size = sum(
        Path(str(file.locate())).stat().st_size
        for name in brought
        for file in importlib.metadata.files(name) or ()
        if Path(str(file.locate())).is_file()
    )
    assert size <= MOST_BYTES
