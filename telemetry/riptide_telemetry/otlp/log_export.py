"""Exports log records over OTLP, each with the trace that it belongs to."""

from __future__ import annotations

import logging
import time
import traceback
from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context

from riptide_telemetry.otlp.running_export import is_exporting

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

NANOSECONDS = 1_000_000_000
_SEVERITIES = {
    logging.DEBUG: (SeverityNumber.DEBUG, "DEBUG"),
    logging.INFO: (SeverityNumber.INFO, "INFO"),
    logging.WARNING: (SeverityNumber.WARN, "WARN"),
    logging.ERROR: (SeverityNumber.ERROR, "ERROR"),
    logging.CRITICAL: (SeverityNumber.FATAL, "FATAL"),
}
# Libraries of the exporters, which log each export at level DEBUG.
_LIBRARIES = ("grpc", "opentelemetry", "requests", "urllib3")
# Attributes that are not exported as such: every record has them.
_PLAIN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"} | {
    # Exported as the trace context, or meant for filters only.
    *("trace", "trace_id", "span_id", "passes"),
}


def log_trace(record: logging.LogRecord) -> SpanContext | None:
    """Return the span of a record: its attribute ``trace``, or the current span, or None."""
    context = getattr(record, "trace", None) or get_current_span().get_span_context()
    return context if isinstance(context, SpanContext) and context.is_valid else None


def attributes_of(record: logging.LogRecord) -> dict[str, str | int | float | bool]:
    """Return the attributes that a record was given as ``extra``."""
    return {
        key: value if isinstance(value, int | float) else str(value)
        for key, value in vars(record).items()
        if key not in _PLAIN and value is not None
    }


class OtlpLogHandler(logging.Handler):
    """Hands records to a provider, which exports them on a thread of its own."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record over, unless an export logged it: it would cause another export."""
        if is_exporting() or record.name.partition(".")[0] in _LIBRARIES:
            return
        try:
            self._provider.get_logger(record.name).emit(_translate(record))
        except Exception:  # noqa: BLE001  # as every handler of the standard library
            self.handleError(record)


def _translate(record: logging.LogRecord) -> LogRecord:
    attributes = attributes_of(record)
    if record.exc_info and record.exc_info[0] is not None:
        attributes["exception.type"] = record.exc_info[0].__qualname__
        attributes["exception.message"] = str(record.exc_info[1])
        attributes["exception.stacktrace"] = "".join(traceback.format_exception(*record.exc_info))
    trace = log_trace(record)
    context = Context()
    if trace is not None:
        context = set_span_in_context(NonRecordingSpan(trace), context)
    level = max((each for each in _SEVERITIES if each <= record.levelno), default=logging.DEBUG)
    severity, text = _SEVERITIES[level]
    return LogRecord(
        timestamp=int(record.created * NANOSECONDS),
        observed_timestamp=time.time_ns(),
        context=context,
        severity_number=severity,
        severity_text=text,
        body=record.getMessage(),
        attributes=attributes,
    )
