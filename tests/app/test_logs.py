from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging
from app.logs import configure_logs
configure_logs({level!r})
for name in ("riptide.stream", "uvicorn.error"):
    for level in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), level)("%s says %s", name, level)
"""


def _printed(level: str) -> tuple[str, list[str]]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)],
        capture_output=True,
        check=True,
        text=True,
    )
    return result.stdout, result.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "own", "uvicorn"),
    [
        ("debug", ["debug", "info", "warning"], ["warning"]),
        ("info", ["info", "warning"], ["warning"]),
        ("error", [], []),
    ],
)
def test_records_of_the_level_go_to_standard_error_and_uvicorns_only_from_warning(
    level: str, own: list[str], uvicorn: list[str]
) -> None:
    stdout, lines = _printed(level)
    assert stdout == ""
    said = [line.partition(": ")[2] for line in lines]
    assert said == [f"riptide.stream says {word}" for word in own] + [
        f"uvicorn.error says {word}" for word in uvicorn
    ]


def test_a_line_has_its_time_its_level_and_its_logger() -> None:
    _, lines = _printed("warning")
    date, clock, level, logger = lines[0].split(maxsplit=4)[:4]
    assert (len(date), len(clock)) == (10, 12)
    assert (level, logger) == ("WARNING", "riptide.stream:")
