"""The catalog as observable instruments, which read the state when a reader collects."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.metrics import Observation

from riptide_telemetry import catalog
from riptide_telemetry.catalog import Kind
from riptide_telemetry.instruments.producer import HistogramProducer
from riptide_telemetry.state.ratios import RATIOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.labels import ClosedSet, Signal
    from riptide_telemetry.state.bucket_histogram import BucketHistogram
    from riptide_telemetry.state.export_health import ExportHealth
    from riptide_telemetry.state.protocol_metrics import ProtocolMetrics
    from riptide_telemetry.state.ratios import Ratios
    from riptide_telemetry.state.streaming_metrics import StreamingMetrics

    Labels = Mapping[str, str]
    Gauge = Callable[[], float | Mapping[str, float]]

logger = logging.getLogger("riptide.telemetry")

# Attributes of ``ProtocolMetrics``.
_BY_PROTOCOL: dict[MetricDefinition, str] = {
    catalog.ACTIVE_CONNECTIONS: "active",
    catalog.TOTAL_CONNECTIONS: "opened",
    catalog.CONNECTIONS_OPENED: "opened",
    catalog.MESSAGES_SENT: "sent",
    catalog.SENT_BYTES: "sent_bytes",
    catalog.MESSAGES_RECEIVED: "received",
    catalog.BACKPRESSURE_EVENTS: "backpressure_events",
    catalog.ACTIVE_STREAMS: "active_streams",
}
# Attributes of ``ProtocolMetrics`` that are mappings by the value of a second label.
_BY_PROTOCOL_AND_KEY: dict[MetricDefinition, str] = {
    catalog.MESSAGES_DROPPED: "dropped",
    catalog.CONNECTIONS_CLOSED: "closed",
    catalog.CONNECTIONS_REJECTED: "rejected",
    catalog.RECONNECTIONS: "reconnections",
    catalog.STREAMS_ENDED: "streams_ended",
    catalog.ERRORS: "errors",
}
# Attributes of ``StreamingMetrics`` that are mappings by the value of the only label.
_BY_KEY: dict[MetricDefinition, str] = {
    catalog.FAULTS: "faults",
    catalog.LOG_RECORDS: "log_records",
    catalog.MESSAGES_PUBLISHED: "published",
    catalog.TOKEN_CHECKS: "token_checks",
    catalog.KEY_READINGS: "key_readings",
}
# Attributes of ``TopicMetrics``.
_BY_TOPIC: dict[MetricDefinition, str] = {
    catalog.TOPIC_ACTIVE_CONNECTIONS: "active",
    catalog.TOPIC_MESSAGES_PUBLISHED: "published",
    catalog.TOPIC_MESSAGES_SENT: "sent",
    catalog.TOPIC_MESSAGES_DROPPED: "dropped",
}
# Values of each signal's ``ExportHealth``.
_BY_SIGNAL: dict[MetricDefinition, Callable[[ExportHealth], float]] = {
    catalog.EXPORT_ENABLED: lambda health: int(health.enabled),
    catalog.EXPORT_FAILURES: lambda health: health.failures,
    catalog.EXPORT_LAST_SUCCESS: lambda health: health.last_success,
    catalog.EXPORT_QUEUE_SIZE: lambda health: health.queue_size(),
}
_HISTOGRAMS_BY_PROTOCOL: dict[MetricDefinition, str] = {
    catalog.CONNECTION_DURATION: "connection_duration",
    catalog.STREAM_DURATION: "stream_duration",
    catalog.TIME_TO_FIRST_MESSAGE: "time_to_first_message",
    catalog.WRITE_WAIT: "write_wait",
}


class Source(NamedTuple):
    """Where the numbers of a metric come from: ``values`` are those of its label sets.

    There are none if they cannot be read at the moment.
    """

    labels: Sequence[Labels]
    values: Callable[[], Sequence[float]]

    def observe(self) -> Iterable[tuple[Labels, float]]:
        """Return the numbers with their labels."""
        return zip(self.labels, self.values(), strict=False)


class RiptideMetrics:
    """Registers every metric of the catalog with a meter.

    ``producer`` has the histograms, and ``sources`` all other metrics.

    All label sets exist at zero from the first collection. That is why even histograms that record
    once per connection are not the SDK's, which appear only with their first measurement.
    """

    def __init__(
        self,
        meter: Meter,
        metrics: StreamingMetrics,
        version: str,
        export_health: Mapping[Signal, ExportHealth],
    ) -> None:
        self._metrics = metrics
        self._export_health = export_health
        self._failing: set[MetricDefinition] = set()
        self._gauges: dict[MetricDefinition, Gauge] = {
            **{definition: _reading(metrics, ratio) for definition, ratio in RATIOS.items()},
            catalog.MESSAGES_UNACCOUNTED: lambda: metrics.unaccounted,
        }
        self.producer = HistogramProducer(self._histograms())
        self.sources = {
            definition: self._source(definition)
            for definition in catalog.CATALOG
            if definition.kind is not Kind.HISTOGRAM
        }
        self.sources[catalog.BUILD_INFO] = Source([{"version": version}], lambda: [1])
        for definition, source in self.sources.items():
            _register(meter, definition, source)

    def observe(self, gauges: Mapping[MetricDefinition, Gauge]) -> None:
        """Read each gauge from its function from now on. A gauge without a function is 0.

        The function of a gauge with a label returns a number for each value of the label; a value
        that it leaves out is 0. A counter may be given as well, with a function whose numbers never
        fall. The functions are called on a reader's thread and must not block.
        If one raises, or returns NaN or infinity, only its gauge is left out.

        Raises:
            ValueError: a metric is no gauge or counter with at most one label, or it is about
                exports.

        """
        for definition in gauges:
            can_be_read = definition.kind in {Kind.GAUGE, Kind.COUNTER}
            if definition in _BY_SIGNAL or not can_be_read or len(definition.labels) > 1:
                raise ValueError(f"{definition.name} is not a gauge that an owner can provide")
        self._gauges |= gauges

    def _source(self, definition: MetricDefinition) -> Source:
        protocols = [metrics for _, metrics in self._protocols()]
        if definition in _BY_PROTOCOL:
            attribute = _BY_PROTOCOL[definition]
            return Source(
                definition.label_sets(),
                lambda: [getattr(metrics, attribute) for metrics in protocols],
            )
        if definition in _BY_PROTOCOL_AND_KEY:
            attribute = _BY_PROTOCOL_AND_KEY[definition]
            return Source(
                definition.label_sets(),
                lambda: [
                    count for metrics in protocols for count in getattr(metrics, attribute).values()
                ],
            )
        if definition in _BY_TOPIC:
            number, topics = _BY_TOPIC[definition], self._metrics.topics.by_label
            return Source(
                [{"topic": label} for label in topics],
                lambda: [getattr(metrics, number) for metrics in topics.values()],
            )
        if definition in _BY_SIGNAL:
            read, exports = _BY_SIGNAL[definition], self._export_health
            return Source(
                [{"signal": str(signal)} for signal in exports],
                lambda: [read(health) for health in exports.values()],
            )
        if definition in _BY_KEY:
            counts: Mapping[ClosedSet, int] = getattr(self._metrics, _BY_KEY[definition])
            return Source(definition.label_sets(), lambda: list(counts.values()))
        labels = definition.label_sets()
        return Source(labels, lambda: self._gauge(definition, labels))

    def _gauge(self, definition: MetricDefinition, labels: Sequence[Labels]) -> Sequence[float]:
        try:
            value = self._gauges.get(definition, lambda: 0)()
            numbers = [_finite(_part(value, each)) for each in labels]
        except Exception:
            # Logged once until the gauge can be read again, and not with every scrape.
            if definition not in self._failing:
                self._failing.add(definition)
                logger.exception("%s could not be read", definition.name)
            return []
        self._failing.discard(definition)
        return numbers

    def _histograms(
        self,
    ) -> dict[MetricDefinition, list[tuple[Mapping[str, str], BucketHistogram]]]:
        histograms: dict[MetricDefinition, list[tuple[Mapping[str, str], BucketHistogram]]] = {
            definition: [
                (labels, getattr(metrics, attribute)) for labels, metrics in self._protocols()
            ]
            for definition, attribute in _HISTOGRAMS_BY_PROTOCOL.items()
        }
        histograms[catalog.DELIVERY_LATENCY] = [
            (labels | {"source": str(source)}, histogram)
            for labels, metrics in self._protocols()
            for source, histogram in metrics.latency.items()
        ]
        histograms[catalog.LOG_APPEND_DURATION] = [({}, self._metrics.log_append_duration)]
        histograms[catalog.LOG_WRITE_DURATION] = [({}, self._metrics.log_write_duration)]
        histograms[catalog.LOG_FEED_LATENCY] = [
            ({"origin": str(origin)}, histogram)
            for origin, histogram in self._metrics.log_feed_latency.items()
        ]
        return histograms

    def _protocols(self) -> Iterator[tuple[dict[str, str], ProtocolMetrics]]:
        for protocol, metrics in self._metrics.by_protocol.items():
            yield {"protocol": str(protocol)}, metrics


def _reading(metrics: StreamingMetrics, ratio: Callable[[Ratios], float]) -> Gauge:
    return lambda: ratio(metrics.ratios())


def _part(value: float | Mapping[str, float], labels: Mapping[str, str]) -> float:
    """Return the number of one series, whose only label has a number in a mapping."""
    if isinstance(value, Mapping):
        (label,) = labels.values()
        return value.get(label, 0)
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be shown")
    # OTLP has no bool among its numbers: one would fail the whole export.
    return int(value) if isinstance(value, bool) else value


def _register(meter: Meter, definition: MetricDefinition, source: Source) -> None:
    def callback(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, labels) for labels, value in source.observe()]

    create = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
        Kind.GAUGE: meter.create_observable_gauge,
    }[definition.kind]
    create(definition.name, [callback], definition.unit, definition.description)
