"""The service does what its OpenAPI document says, for any request that Schemathesis makes up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests import plain
from tests.issuer import SECRET, Issuer
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.conftest import StartService

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def _explore(url: str, directory: Path, *options: str) -> str:
    """Run Schemathesis, always alike, and return what it says; nothing is to be found."""
    done = subprocess.run(
        [
            SCHEMATHESIS,
            "run",
            f"{url}/openapi.json",
            "--seed=1",
            "--max-examples=10",
            f"--request-timeout={DEADLINE_S:g}",
            "--no-color",
            *options,
        ],
        cwd=directory,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(directory / "hypothesis"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_request_finds_the_service_at_odds_with_its_document(
    start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(log="memory")
    said = _explore(service.url, tmp_path, "--phases=examples,coverage,fuzzing,stateful")
    assert "No issues found" in said
    assert service.metric("riptide_streaming_messages_unaccounted") == 0
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.stop() == 0
    assert "ERROR" not in service.log


def test_so_it_is_with_access_control(start_service: StartService, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(log="memory", token_secret_file=tmp_path / "secret")
    header = f"--header=Authorization: Bearer {Issuer('HS256', None).token()}"
    options = ("--phases=coverage", "--include-path-regex=^/topics", header)
    _explore(service.url, tmp_path, *options)
    assert service.metric("riptide_streaming_messages_published_total", outcome="accepted") > 0
    assert service.stop() == 0


def test_the_document_can_be_had_from_the_service(start_service: StartService) -> None:
    answer = plain.get(f"{start_service(log='memory').url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1.")
