"""No metric of the catalog is only promised: something real feeds each of them."""

from __future__ import annotations

import contextlib
import signal
import ssl
from typing import TYPE_CHECKING

import orjson
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed

from operations.drill.certificates import make_certificate
from riptide_telemetry import catalog
from tests import plain
from tests.contract.consumers import WebSocketTransport
from tests.contract.raw import RawStream
from tests.issuer import Issuer, bearer
from tests.jwks_server import JwksServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.otlp_receiver import OtlpReceiver
    from tests.service import Service


def _families(service: Service) -> dict[str, float]:
    """Return the largest sample of each family that has the name of a metric."""
    return _samples(plain.get(f"{service.url}/metrics").text)


def _samples(text: str) -> dict[str, float]:
    return {
        family.name: max(abs(sample.value) for sample in family.samples)
        for family in text_string_to_metric_families(text)
    }


def test_every_metric_of_the_catalog_is_exposed_from_the_first_scrape(
    start_service: StartService,
) -> None:
    service = start_service(topic_labels="orders")
    exposed = _families(service)
    names = {definition.prometheus_name.removesuffix("_total") for definition in catalog.CATALOG}
    assert names <= exposed.keys()
    own = {name for name in exposed if name.startswith("riptide_")}
    assert own == names, "exposed, but not in the catalog"


async def test_every_metric_of_the_catalog_is_fed_by_something_real(
    start_service: StartService,
    topic: str,
    receiver: OtlpReceiver,
    tmp_path: Path,
) -> None:
    # Metrics reach a receiver, spans a port where nobody listens.
    exports = receiver.variables("http/protobuf", "traces") | {
        "OTEL_METRICS_EXPORTER": "prometheus,otlp",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
        # Only when there are five: fewer wait where they can be seen.
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5",
    }
    service = start_service(
        **exports,
        ring_messages=600,
        slow_consumer="drop_oldest",
        max_connections=2,
        drain_seconds=60,
        topic_labels="orders,test",
    )
    seen: dict[str, float] = {}

    def scrape() -> None:
        for name, value in _families(service).items():
            seen[name] = max(value, seen.get(name, 0.0))

    first, _ = service.publish(topic, *["x" * 1000] * 500)
    websocket = WebSocketTransport()
    with RawStream(service, topic, "sse") as stalled:
        stalled.wait_until_open()
        async with plain.connect(service.topic(topic).replace("http", "ws", 1)) as client:
            await client.send(orjson.dumps({"after": first}).decode())
            while b'"data"' not in await client.recv(decode=False):
                pass
            assert plain.get(service.topic(topic)).status_code == 503
            for _ in range(20):
                service.publish(topic, *["x" * 1000] * 500)
            scrape()
            # A hello is text: this one is an error of its connection.
            await client.send(b"binary")
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.recv()
        service.wait_for_metric(1, catalog.ERRORS.prometheus_name)
        receiver.wait_for(
            lambda: service.metric(catalog.EXPORT_FAILURES.prometheus_name, signal="traces")
        )

        def has_seen_spans_wait() -> float:
            service.publish(topic, "one more span")
            scrape()
            return seen[catalog.EXPORT_QUEUE_SIZE.prometheus_name]

        receiver.wait_for(has_seen_spans_wait)

        def has_seen_a_consumer_behind() -> float:
            scrape()
            return seen[catalog.CONSUMERS_BEHIND.prometheus_name]

        receiver.wait_for(has_seen_a_consumer_behind)
        # A stalled reader that reads again has been dropped messages, and its write has waited.
        service.publish(topic, "the last")
        stalled.read_until(b'"the last"')
        async with websocket.open(service, topic) as consumer:
            await consumer.next("opened")
            assert service.process is not None
            for _ in range(50):
                service.publish(topic, *["x" * 1000] * 500)
        scrape()
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_metric(1, catalog.DRAINING.prometheus_name)
        scrape()
    for name, value in _of_a_guarded_service(start_service, tmp_path, topic).items():
        seen[name] = max(value, seen.get(name, 0.0))
    never_fed = {
        definition.prometheus_name
        for definition in catalog.CATALOG
        if not seen[definition.prometheus_name.removesuffix("_total")]
    }
    # They are to stay at 0. test_tls.py in tests/app/server has a renewed certificate refused,
    # test_faults.py beside this file has faults, log_faults has appends that wait,
    # test_damage.py has a damaged log, and
    # test_standard_error.py a reader of standard error that stops. Nothing expires here that would
    # leave room free; test_checkpoints.py in tests/app/storage has that. Only workers reach a
    # log in another process again; test_client.py in tests/app/storage/shared has that. A log in
    # JetStream has more to tell; test_cluster_metrics.py in tests/integration/cluster has that.
    assert never_fed == {
        catalog.MESSAGES_UNACCOUNTED.prometheus_name,
        catalog.FAULTS.prometheus_name,
        catalog.LOG_DAMAGED_MESSAGES.prometheus_name,
        catalog.LOG_LOST_FRAMES.prometheus_name,
        catalog.LOG_CLOCK_OFFSET.prometheus_name,
        catalog.LOG_CLOCK_UNCERTAINTY.prometheus_name,
        catalog.LOG_FEED_LAG.prometheus_name,
        catalog.LOG_FEED_LATENCY.prometheus_name,
        catalog.LOG_FREE_SIZE.prometheus_name,
        catalog.LOG_GAPS.prometheus_name,
        catalog.LOG_RECONNECTS.prometheus_name,
        catalog.LOG_RECORDS.prometheus_name,
        catalog.LOG_RECORDS_DROPPED.prometheus_name,
        catalog.LOG_RESETS.prometheus_name,
        catalog.LOG_WRITE_DURATION.prometheus_name,
        catalog.OLDEST_APPEND_AGE.prometheus_name,
        catalog.CERTIFICATE_REFUSED.prometheus_name,
    }


def _of_a_guarded_service(
    start_service: StartService, directory: Path, topic: str
) -> dict[str, float]:
    """Return what a service has whose clients need a token and TLS."""
    certificate, key = make_certificate(directory)
    issuer = Issuer("ES256")
    with JwksServer(issuer) as server:
        service = start_service(
            log="memory", tls_certificate=certificate, tls_key=key, jwks_url=server.url
        )
        with plain.client(verify=ssl.create_default_context(cafile=certificate)) as client:
            answer = client.post(service.topic(topic), json=1, headers=bearer(issuer.token()))
            assert answer.status_code == 202
            return _samples(client.get(f"{service.url}/metrics").text)
