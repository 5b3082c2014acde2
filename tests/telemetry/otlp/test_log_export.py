from __future__ import annotations

import logging
import sys

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, use_span

from riptide_telemetry.otlp.log_export import OtlpLogHandler, log_trace
from riptide_telemetry.traces.trace_context import read_traceparent

CURRENT = read_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
NAMED = read_traceparent("00-11111111111111111111111111111111-2222222222222222-01")


class Exported:
    """A handler, and the records that it has exported."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        self.handler = OtlpLogHandler(provider)

    @property
    def records(self) -> list[object]:
        return list(self._exporter.get_finished_logs())


@pytest.fixture
def exported() -> Exported:
    return Exported()


def record(message: str = "said %s", *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("riptide.test").makeRecord(
        "riptide.test", logging.WARNING, "file.py", 1, message, args, None, extra=extra
    )


def test_a_record_has_its_words_its_severity_and_its_attributes(exported: Exported) -> None:
    exported.handler.handle(record("said %s", "so", **{"stream.count": 3, "event": "dropped"}))
    (item,) = exported.records
    out = item.log_record  # type: ignore[attr-defined]  # an SDK record
    assert out.body == "said so"
    assert (out.severity_number, out.severity_text) == (SeverityNumber.WARN, "WARN")
    assert dict(out.attributes) == {"stream.count": 3, "event": "dropped"}
    assert item.instrumentation_scope.name == "riptide.test"  # type: ignore[attr-defined]  # as above


def test_a_record_belongs_to_the_span_it_names_or_else_to_the_current_one(
    exported: Exported,
) -> None:
    assert CURRENT is not None
    assert log_trace(record()) is None
    with use_span(NonRecordingSpan(CURRENT)):
        assert log_trace(record(trace=None)) == CURRENT
        assert log_trace(record(trace=NAMED)) == NAMED
        exported.handler.handle(record(trace=NAMED))
    assert NAMED is not None
    out = exported.records[0].log_record  # type: ignore[attr-defined]  # an SDK record
    assert (out.trace_id, out.span_id) == (NAMED.trace_id, NAMED.span_id)


def test_an_exception_is_told_whole(exported: Exported) -> None:
    failed = record("it failed")
    try:
        dict[str, int]()["boom"]
    except KeyError:
        failed.exc_info = sys.exc_info()
    exported.handler.handle(failed)
    attributes = exported.records[0].log_record.attributes  # type: ignore[attr-defined]  # an SDK record
    assert attributes["exception.type"] == "KeyError"
    assert attributes["exception.message"] == "'boom'"
    assert "Traceback" in attributes["exception.stacktrace"]


@pytest.mark.parametrize("name", ["opentelemetry.exporter", "urllib3.connectionpool", "grpc._x"])
def test_what_exporters_say_is_not_exported_lest_it_be_the_cause_of_more(
    exported: Exported, name: str
) -> None:
    about_exports = record()
    about_exports.name = name
    exported.handler.handle(about_exports)
    assert exported.records == []


def test_a_record_that_cannot_be_formatted_harms_nobody(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    exported.handler.handle(record("%d", "not a number"))
    assert exported.records == []


@pytest.mark.parametrize(
    ("level", "severity"), [(5, "DEBUG"), (logging.INFO + 5, "INFO"), (logging.CRITICAL, "FATAL")]
)
def test_levels_between_are_the_next_lower_one(
    exported: Exported, level: int, severity: str
) -> None:
    odd = record()
    odd.levelno = level
    exported.handler.handle(odd)
    assert exported.records[0].log_record.severity_text == severity  # type: ignore[attr-defined]  # an SDK record
