from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from riptide.process.log_record_limit import RECORDS
from riptide.process.log_records import handled_by

PROGRAM = """
import logging
from riptide.process.log_records import configure_logs
configure_logs({level!r}, {format!r})
for name in ("riptide.stream", "uvicorn.error"):
    for level in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), level)("%s says %s", name, level)
"""
TRACED = """
import logging
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from riptide.process.log_records import configure_logs
configure_logs("info", {format!r})
logger = logging.getLogger("riptide.test")
with use_span(NonRecordingSpan(SpanContext(0xabc, 0xdef, is_remote=False))):
    logger.warning("first\\r\\nsecond", extra={{"stream.error": "protocol"}})
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("it failed")
"""


def _run(program: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def _printed(level: str) -> list[str]:
    return _run(PROGRAM.format(level=level, format="text"))


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
    said = [line.partition(": ")[2] for line in _printed(level)]
    assert said == [f"riptide.stream says {word}" for word in own] + [
        f"uvicorn.error says {word}" for word in uvicorn
    ]


def test_a_line_has_its_time_its_level_and_its_logger() -> None:
    lines = _printed("warning")
    date, clock, level, logger = lines[0].split(maxsplit=4)[:4]
    assert (len(date), len(clock)) == (10, 12)
    assert (level, logger) == ("WARNING", "riptide.stream:")


def test_a_line_of_text_ends_with_its_trace_and_cannot_be_two() -> None:
    line, *traceback = _run(TRACED.format(format="text"))
    said = line.partition(": ")[2]
    assert said == f"first\\r\\nsecond trace_id={0xABC:032x} span_id={0xDEF:016x}"
    assert traceback[0].endswith(": it failed")
    assert traceback[-1].startswith("ZeroDivisionError")


def test_json_is_one_object_a_line_tracebacks_included() -> None:
    first, second = map(json.loads, _run(TRACED.format(format="json")))
    assert first["message"] == "first\r\nsecond"
    assert (first["level"], first["logger"]) == ("WARNING", "riptide.test")
    assert (first["trace_id"], first["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert first["stream.error"] == "protocol"
    assert first["time"].endswith("+00:00")
    assert not {"trace", "passes"} & first.keys()
    assert "ZeroDivisionError" in second["exc_info"]
    assert "trace_id" not in second


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_one_more_handler_gets_what_passes_the_limit_while_it_is_wanted() -> None:
    kept, logger = Kept(), logging.getLogger("riptide.test")
    with handled_by(kept):
        for _ in range(2 * RECORDS):
            logger.warning("again")
    logger.warning("too late")
    assert [record.getMessage() for record in kept.records] == ["again"] * RECORDS


def test_no_handler_is_no_change() -> None:
    before = list(logging.getLogger().handlers)
    with handled_by(None):
        assert logging.getLogger().handlers == before
