"""What operators are told to type: it finds what it is typed to find."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from riptide_telemetry.recording.events import EventName
from tests import plain
from tests.repository.sources import ROOT
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.service import Service

RUNBOOKS = sorted((ROOT / "alert-rules" / "runbooks").iterdir())
GUIDE = ROOT / "docs" / "operator-guide.md"
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
JOURNAL = "journalctl -u riptide "
ADDRESS = re.compile(r"(?:http://)?localhost:8080(/\S*)")
METRICS = re.compile(r"localhost:8080/metrics \| (grep .*)$")
PGREP = re.compile(r"pgrep -d, -f '([^']+)'")


def _commands(*files: Path) -> list[tuple[str, str]]:
    """Return each command with the name of its file."""
    return [
        (file.stem, line)
        for file in files
        for text in FENCE.findall(file.read_text())
        for line in text.replace("\\\n", "").splitlines()
        if line.strip()
    ]


COMMANDS = _commands(GUIDE, *RUNBOOKS)
SEARCHES = [
    (name, line.rpartition(" | ")[2])
    for name, line in COMMANDS
    if line.startswith(JOURNAL) and " | grep " in line
]


def _log_lines() -> Iterator[str]:
    """Return what the service can write into its log, before arguments are put in."""
    for file in [*(ROOT / "app").rglob("*.py"), *(ROOT / "telemetry").rglob("*.py")]:
        text = file.read_text()
        logger = re.search(r'getLogger\("(riptide\.\w+)"\)', text)
        if logger is None:
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("logger"), attr=level),
                    args=[ast.Constant(str(message)), *_],
                ):
                    level = "ERROR" if level == "exception" else level.upper()
                    yield f"{level} {logger[1]}: {message}"
    # Its level and its text are those of what happened.
    for event in EventName:
        yield f"WARNING riptide.stream: {event} connection_id=%s"


@pytest.mark.parametrize(("name", "search"), SEARCHES)
def test_what_is_looked_for_in_the_log_is_what_the_service_writes(name: str, search: str) -> None:
    lines = "\n".join(_log_lines())
    assert lines.count("\n") > 20
    assert _found(search, lines), name


def test_nothing_goes_by_priorities_that_a_service_on_standard_error_does_not_have() -> None:
    """To systemd all that it writes is information."""
    assert SEARCHES
    assert [line for _, line in COMMANDS if "journalctl" in line and "-p" in line.split()] == []
    assert [line for _, line in COMMANDS if "--priority" in line] == []


def test_the_log_of_a_service_that_cannot_export_is_found(start_service: StartService) -> None:
    (search,) = {search for name, search in SEARCHES if name.startswith("RiptideExport")}
    service = start_service(
        log="memory",
        otel_metrics_exporter="prometheus,otlp",
        otel_exporter_otlp_endpoint="http://127.0.0.1:9",
        otel_exporter_otlp_timeout=200,
        otel_metric_export_interval=200,
    )
    found = wait_until(lambda: _found(search, service.log), lambda: service.log, pause_s=0.1)
    assert "metrics do not reach http://127.0.0.1:9" in found


def _found(search: str, text: str) -> str:
    done = subprocess.run(
        shlex.split(search), input=text, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_what_the_service_is_asked_for_it_answers(shared_service: Service) -> None:
    paths = {path for _, line in COMMANDS for path in ADDRESS.findall(line)}
    assert {"/healthz/ready", "/healthz/live", "/metrics", "/metrics/targets"} <= paths
    for path in paths:
        assert plain.get(f"{shared_service.url}{path}").status_code == 200, path


def test_what_is_looked_for_in_the_metrics_is_there(shared_service: Service) -> None:
    searches = [match[1] for _, line in COMMANDS if (match := METRICS.search(line))]
    assert len(searches) >= 2
    metrics = plain.get(f"{shared_service.url}/metrics").text
    for search in searches:
        assert _found(search, metrics).strip() not in {"", "0"}, search


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_of_a_service_is_found_by_what_is_looked_for(
    start_service: StartService, workers: int
) -> None:
    (pattern,) = {pattern for _, line in COMMANDS for pattern in PGREP.findall(line)}
    service = start_service(log="memory", workers=workers)
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
    wanted = workers if workers > 1 else 0
    wait_until(lambda: len(children.read_text().split()) >= wanted, lambda: service.log)
    for process in (service.pid, *children.read_text().split()):
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert re.search(pattern, arguments), arguments
