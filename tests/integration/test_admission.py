"""Limits for each client, as a real service keeps them; proxies tell it who the clients are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS, NdjsonTransport, RefusedError
from tests.contract.raw import RawStream
from tests.issuer import SECRET, Issuer, bearer

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

REJECTED = "riptide_streaming_connections_rejected_total"
PUBLISHED = "riptide_streaming_messages_published_total"
PROXIED = {"log": "memory", "trusted_proxies": "127.0.0.1,192.0.2.0/24"}
# A second: the first is let in, and the next one minutes later.
ONE_AND_NO_MORE = 0.005


def _stream(service: Service, topic: str, transport: Transport, address: str) -> RawStream:
    return RawStream(service, topic, transport.name, {"X-Forwarded-For": address})


def _publish(service: Service, topic: str, address: str, lines: int = 1) -> httpx2.Response:
    headers = {"Content-Type": "application/x-ndjson", "X-Forwarded-For": address}
    return plain.post(service.topic(topic), content=b"1\n" * lines, headers=headers)


def _check_problem(status: int, body: dict[str, Any], headers: Any, kind: str) -> None:
    assert body["type"] == f"urn:riptide:problem:{kind}"
    assert body["status"] == status
    assert int(headers["retry-after"]) >= 1


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
def test_one_address_cannot_take_the_places_of_the_others(
    start_service: StartService, topic: str, transport: Transport
) -> None:
    service = start_service(max_connections_per_address=2, **PROXIED)
    greedy, other = "203.0.113.7", "203.0.113.8"
    with (
        _stream(service, topic, transport, greedy) as first,
        _stream(service, topic, transport, greedy) as second,
    ):
        first.wait_until_open()
        second.wait_until_open()
        with _stream(service, topic, transport, greedy) as refused:
            refused.read_until(b"urn:riptide:problem:address-limit")
            assert b" 429 " in refused.data.partition(b"\r\n")[0] + b" "
            assert b"retry-after: 5" in refused.data.lower()
        with _stream(service, topic, transport, other) as served:
            served.wait_until_open()
        rejected = service.metric(REJECTED, protocol=transport.name, reason="address_limit")
        assert rejected == 1
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    with _stream(service, topic, transport, greedy) as again:
        again.wait_until_open()


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
def test_one_identity_cannot_take_the_places_of_the_others_from_wherever_it_asks(
    start_service: StartService, topic: str, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(
        max_connections_per_identity=1, token_secret_file=tmp_path / "secret", **PROXIED
    )

    def stream(subject: str, address: str) -> RawStream:
        headers = bearer(Issuer().token(sub=subject)) | {"X-Forwarded-For": address}
        return RawStream(service, topic, transport.name, headers)

    with stream("alice", "203.0.113.7") as first:
        first.wait_until_open()
        with stream("alice", "203.0.113.8") as refused:
            refused.read_until(b"urn:riptide:problem:identity-limit")
            assert refused.data.startswith(b"HTTP/1.1 429 ")
        with stream("bob", "203.0.113.7") as served:
            served.wait_until_open()
        rejected = service.metric(REJECTED, protocol=transport.name, reason="identity_limit")
        assert rejected == 1


def test_nobody_frees_themselves_by_inventing_addresses(
    start_service: StartService, topic: str
) -> None:
    service = start_service(max_connections_per_address=1, **PROXIED)
    ndjson = NdjsonTransport()
    # What a client claims stands left of what the proxies have seen: the first of those from the
    # right that is no proxy is the client.
    with _stream(service, topic, ndjson, "198.51.100.1, 203.0.113.7, 192.0.2.9") as first:
        first.wait_until_open()
        with _stream(service, topic, ndjson, "198.51.100.2, 203.0.113.7, 192.0.2.8") as refused:
            refused.read_until(b"address-limit")


async def test_a_proxy_that_is_not_trusted_is_not_believed(
    start_service: StartService, topic: str
) -> None:
    service = start_service(
        log="memory", max_connections_per_address=1, trusted_proxies="192.0.2.1", publish_rate=1
    )
    # All are loopback then, for which no limit of an address is kept.
    for number in range(10):
        assert _publish(service, topic, "203.0.113.7", 10).status_code == 202
        with _stream(service, topic, NdjsonTransport(), f"203.0.113.{number % 2}") as stream:
            stream.wait_until_open()
    assert service.metric(REJECTED) == 0


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_more_streams_in_a_second_than_the_service_takes_are_told_when_to_come_back(
    start_service: StartService, topic: str, transport: Transport
) -> None:
    service = start_service(log="memory", accept_rate=ONE_AND_NO_MORE)
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
    with pytest.raises(RefusedError) as caught:
        async with transport.open(service, topic):
            pass
    refusal = caught.value
    assert refusal.status == 503
    _check_problem(503, refusal.problem, refusal.headers, "accept-rate")
    assert service.metric(REJECTED, protocol=transport.name, reason="accept_rate") == 1


def test_an_address_that_opens_streams_too_fast_is_slowed_down_alone(
    start_service: StartService, topic: str
) -> None:
    service = start_service(accept_rate_per_address=ONE_AND_NO_MORE, **PROXIED)
    ndjson = NdjsonTransport()
    with _stream(service, topic, ndjson, "203.0.113.7") as first:
        first.wait_until_open()
    with _stream(service, topic, ndjson, "203.0.113.7") as refused:
        refused.read_until(b"address-rate")
    with _stream(service, topic, ndjson, "203.0.113.8") as served:
        served.wait_until_open()
    assert service.metric(REJECTED, protocol="ndjson", reason="address_rate") == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_connections_per_address": 1}, "address_limit"),
        ({"accept_rate_per_address": ONE_AND_NO_MORE}, "address_rate"),
        ({"accept_rate": ONE_AND_NO_MORE}, "accept_rate"),
    ],
)
def test_an_event_source_that_reconnects_is_refused_in_band(
    start_service: StartService, topic: str, settings: dict[str, float], reason: str
) -> None:
    service = start_service(**settings, **PROXIED)
    headers = {"X-Forwarded-For": "203.0.113.7"}
    with RawStream(service, topic, "sse", headers) as first:
        first.wait_until_open()
        last_id = f"{'0' * 8}-7"
        with RawStream(service, topic, "sse", headers | {"Last-Event-ID": last_id}) as refused:
            refused.read_until(b'"reconnect":true')
            # After any other status it would never come back.
            assert refused.data.startswith(b"HTTP/1.1 200 ")
            assert f'"reason":"{reason}"'.encode() in refused.data
            assert f"id: {last_id}\n".encode() in refused.data
    assert service.metric(REJECTED, protocol="sse", reason=reason) == 1


def test_who_publishes_too_much_is_told_when_to_go_on_and_the_others_are_served(
    start_service: StartService, topic: str
) -> None:
    service = start_service(publish_rate=1, **PROXIED)
    assert _publish(service, topic, "203.0.113.7", 200).status_code == 202
    refused = _publish(service, topic, "203.0.113.7")
    assert refused.status_code == 429
    _check_problem(429, refused.json(), refused.headers, "publish-rate")
    # Both, but for the burst of 5 s; a slow machine may take a minute from one to the other.
    owed_s = 200 + 1 - 5 + 1
    assert owed_s - 60 <= int(refused.headers["retry-after"]) <= owed_s
    assert _publish(service, topic, "203.0.113.8").status_code == 202
    assert service.metric(PUBLISHED, outcome="rate_limited") == 1
    assert service.metric(PUBLISHED, outcome="accepted") == 201


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_a_topic_too_many_is_refused_and_the_others_go_on(
    start_service: StartService, log: str
) -> None:
    service = start_service(log=log, max_topics=3)
    for number in range(3):
        service.publish(f"topic-{number}", "first")
    refused = plain.post(service.topic("another"), json=1)
    assert refused.status_code == 503
    _check_problem(503, refused.json(), refused.headers, "topic-limit")
    service.publish("topic-0", "second")
    assert service.metric(PUBLISHED, outcome="topic_limit") == 1
    # That is no fault of the log.
    assert plain.get(f"{service.url}/healthz/ready").status_code == 200
