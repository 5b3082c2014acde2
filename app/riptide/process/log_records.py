"""Writes log records: one line each on standard error, and to another handler if there is one.

Nobody who logs waits for the reader of standard error (``standard_error.py``).
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from riptide.process.log_record_limit import LogLimit
from riptide.process.standard_error import never_wait
from riptide_telemetry import log_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# Attributes that filters leave on a record for each other; they are not printed.
_NOT_PRINTED = ("passes", "trace")

# The server tells each request, and the HTTP clients tell the URLs that they ask, with the
# passwords and keys in them.
_LIBRARIES = ("uvicorn", "httpx2", "httpcore2", "urllib3")


class TraceIds(logging.Filter):
    """Gives each record the ids of the trace and the span that it belongs to, if there are any."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass."""
        trace = log_trace(record)
        if trace is not None:
            record.trace_id = f"{trace.trace_id:032x}"
            record.span_id = f"{trace.span_id:016x}"
        return True


class TextFormatter(logging.Formatter):
    """Formats a record as one line for people; only tracebacks take more lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line. Line breaks are escaped, so that no input can forge a record."""
        record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        line = super().formatMessage(record)
        for name in ("trace_id", "span_id", "held_back"):
            if hasattr(record, name):
                line += f" {name}={getattr(record, name)}"
        return line


def json_formatter() -> logging.Formatter:
    """Return a formatter that makes one JSON object a line, tracebacks included."""
    return JsonFormatter(
        ["levelname", "name", "message"],
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, *_NOT_PRINTED],
    )


def configure_logs(level: str, log_format: str = "text") -> None:
    """Print records of at least this level; those of ``_LIBRARIES`` only when they are warnings.

    From now on, whatever this process writes to ``sys.stderr`` does not wait for its reader.
    """
    formatter = json_formatter() if log_format == "json" else TextFormatter(FORMAT)
    never_wait(lambda count: formatter.format(_dropped(count)))
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(LogLimit())
    handler.addFilter(TraceIds())
    logging.basicConfig(handlers=[handler], level=level.upper())
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))


def _dropped(count: int) -> logging.LogRecord:
    """Return the record that is printed in place of those that were dropped, at any level."""
    return logging.makeLogRecord(
        {
            "name": "riptide.log_records",
            "levelno": logging.WARNING,
            "levelname": logging.getLevelName(logging.WARNING),
            "msg": "%d log records were dropped here, because standard error did not take them: "
            "its reader stopped or was too slow, or its disk was full",
            "args": (count,),
        }
    )


@contextlib.contextmanager
def handled_by(handler: logging.Handler | None) -> Iterator[None]:
    """Send all records to one more handler, under the same limit as the printed ones."""
    root = logging.getLogger()
    if handler is None:
        yield
        return
    limits = [
        limit for other in root.handlers for limit in other.filters if isinstance(limit, LogLimit)
    ]
    handler.addFilter(limits[0] if limits else LogLimit())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
