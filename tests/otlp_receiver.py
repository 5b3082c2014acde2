"""A real OTLP receiver, gRPC and HTTP, that keeps what it is sent, or misbehaves when told to."""

from __future__ import annotations

import gzip
import socket
import ssl
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class OtlpReceiver:
    """Listens on two ports of its own. ``requests`` are the messages, as they came."""

    def __init__(self, certificate: tuple[bytes, bytes] | None = None) -> None:
        """Speak TLS, if a key and its certificate (PEM) are given."""
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        # In a way that is not worth another try within the same export.
        self.refusing = False
        # How many requests have come, answered or not.
        self.asked = 0
        # Set: answers are given; cleared: requests are taken and never answered.
        self.answering = threading.Event()
        self.answering.set()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        for add, servicer in (
            (metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server, _Metrics(self)),
            (trace_service_pb2_grpc.add_TraceServiceServicer_to_server, _Traces(self)),
            (logs_service_pb2_grpc.add_LogsServiceServicer_to_server, _Logs(self)),
        ):
            add(servicer, self._grpc)  # type: ignore[no-untyped-call]  # generated
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if certificate is None:
            grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        else:
            credentials = grpc.ssl_server_credentials([certificate])
            grpc_port = self._grpc.add_secure_port("127.0.0.1:0", credentials)
            self._http.socket = _secured(self._http.socket, certificate)
        scheme = "http" if certificate is None else "https"
        self.endpoints = {
            "grpc": f"{scheme}://localhost:{grpc_port}",
            "http/protobuf": f"{scheme}://localhost:{self._http.server_port}",
        }

    def __enter__(self) -> Self:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()

    def variables(self, protocol: str, *signals: str) -> dict[str, str]:
        """Return the variables that have these signals exported to here."""
        return {
            **{f"OTEL_{signal.upper()}_EXPORTER": "otlp" for signal in signals},
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoints[protocol],
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
        }

    def resource_attributes(self) -> list[dict[str, str]]:
        """Return the attributes of each resource that has been told of."""
        return [
            {each.key: each.value.string_value for each in part.resource.attributes}
            for request in self.requests
            for part in _parts(request)
        ]

    def metrics(self) -> dict[str, Metric]:
        """Return the newest of each metric, by name."""
        return {
            metric.name: metric
            for request in self.requests
            if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest)
            for part in request.resource_metrics
            for scope in part.scope_metrics
            for metric in scope.metrics
        }

    def spans(self) -> list[Span]:
        """Return all spans, in order of arrival."""
        return [
            span
            for request in self.requests
            if isinstance(request, trace_service_pb2.ExportTraceServiceRequest)
            for part in request.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    def logs(self) -> list[LogRecord]:
        """Return all log records, in order of arrival."""
        return [
            record
            for request in self.requests
            if isinstance(request, logs_service_pb2.ExportLogsServiceRequest)
            for part in request.resource_logs
            for scope in part.scope_logs
            for record in scope.log_records
        ]

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is true of what has come, and return it."""
        return wait_until(condition)

    def take(self, request: Any, headers: dict[str, str]) -> bool:
        """Keep a request; return whether it is to be accepted."""
        self.asked += 1
        self.answering.wait()
        if self.refusing:
            return False
        self.headers.append(headers)
        self.requests.append(request)
        return True


# A service that ends would be held up for an hour by a receiver that hangs, were it for the SDK.
PATIENT_SDK = """
from opentelemetry.sdk._shared_internal import BatchProcessor
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from riptide.cli import main

for exporting in (BatchProcessor, PeriodicExportingMetricReader):
    exporting.shutdown.__defaults__ = (3_600_000,)
raise SystemExit(main(["serve"]))
"""
HOUR_MS = 3_600_000


def silent_endpoint() -> tuple[str, socket.socket]:
    """Return a URL where connections are taken and nothing is ever said, and its socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    return f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def _secured(listener: socket.socket, certificate: tuple[bytes, bytes]) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as chain:
        chain.write(b"".join(certificate))
        chain.flush()
        context.load_cert_chain(chain.name)
    return context.wrap_socket(listener, server_side=True)


def _parts(request: Any) -> Any:
    return next(
        getattr(request, name)
        for name in ("resource_metrics", "resource_spans", "resource_logs")
        if hasattr(request, name)
    )


def _take(receiver: OtlpReceiver, request: Any, context: grpc.ServicerContext, answer: Any) -> Any:
    headers = {str(key): str(value) for key, value in context.invocation_metadata()}
    if not receiver.take(request, headers):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
    return answer


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # gRPC's name
        answer = metrics_service_pb2.ExportMetricsServiceResponse()
        return _take(self._receiver, request, context, answer)


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # gRPC's name
        answer = trace_service_pb2.ExportTraceServiceResponse()
        return _take(self._receiver, request, context, answer)


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # gRPC's name
        answer = logs_service_pb2.ExportLogsServiceResponse()
        return _take(self._receiver, request, context, answer)


_HTTP_MESSAGES: dict[str, Any] = {
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
}


def _handler(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = _HTTP_MESSAGES[self.path].FromString(body)
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.send_response(200 if receiver.take(request, headers) else 403)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
