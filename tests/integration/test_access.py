"""Access control on a real service: tokens, origins, expiry, and what is never logged."""

from __future__ import annotations

import asyncio
import base64
import functools
import hmac
import time
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import InvalidStatus

from riptide_telemetry import catalog
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.issuer import SECRET, Issuer, bearer, jwk_set
from tests.jwks_server import JwksServer
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService

ISSUER = Issuer("HS256", None)
REJECTED = "riptide_streaming_connections_rejected_total"
PUBLISHED = "riptide_streaming_messages_published_total"
CLOSED = "riptide_streaming_connections_closed_total"
ACCEPT = {"ndjson": "application/x-ndjson", "sse": "text/event-stream"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for tokens."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "secret").write_bytes(SECRET + b"\n")
    settings = {
        "log": "memory",
        "token_secret_file": directory / "secret",
        "token_leeway_seconds": 0,
        "heartbeat_seconds": 0.4,
        "allowed_origins": "https://app.example",
        "log_level": "debug",
    }
    service = Service(directory, settings).start()
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log
    # The first part of every token of HS256.
    assert "eyJ" not in service.log


async def _open(
    service: Service, topic: str, protocol: str, headers: dict[str, str], query: str = ""
) -> tuple[int, Any, str]:
    """Open a stream; return the status and headers of the answer and, refused, its body."""
    url = service.topic(topic) + query
    if protocol == "websocket":
        try:
            async with plain.connect(
                url.replace("http", "ws", 1), additional_headers=headers
            ) as socket:
                await socket.recv()
                assert socket.response is not None
                return 200, socket.response.headers, ""
        except InvalidStatus as refusal:
            answer = refusal.response
            return answer.status_code, answer.headers, bytes(answer.body or b"").decode()
    async with (
        plain.async_client() as client,
        client.stream("GET", url, headers={**headers, "Accept": ACCEPT[protocol]}) as response,
    ):
        body = "" if response.status_code == 200 else (await response.aread()).decode()
        return response.status_code, response.headers, body


PROTOCOLS = [transport.name for transport in TRANSPORTS]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_every_transport_asks_for_a_token_and_says_so_alike(
    guarded: Service, topic: str, protocol: str
) -> None:
    before = guarded.metric(REJECTED, protocol=protocol, reason="unauthenticated")
    forbidden = guarded.metric(REJECTED, protocol=protocol, reason="forbidden")
    status, headers, body = await _open(guarded, topic, protocol, {})
    assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="riptide"')
    assert headers["content-type"] == "application/problem+json"
    assert "urn:riptide:problem:unauthenticated" in body
    status, headers, body = await _open(guarded, topic, protocol, bearer("nonsense"))
    assert (status, 'error="invalid_token"' in headers["www-authenticate"]) == (401, True)
    narrow = bearer(ISSUER.token({"subscribe": ["other"]}))
    status, headers, body = await _open(guarded, topic, protocol, narrow)
    assert (status, 'error="insufficient_scope"' in headers["www-authenticate"]) == (403, True)
    assert "urn:riptide:problem:forbidden" in body
    for good in (bearer(ISSUER.token()), {"Cookie": f"riptide_token={ISSUER.token()}"}):
        assert (await _open(guarded, topic, protocol, good))[0] == 200
    assert guarded.metric(REJECTED, protocol=protocol, reason="unauthenticated") == before + 2
    assert guarded.metric(REJECTED, protocol=protocol, reason="forbidden") == forbidden + 1


async def test_no_other_key_and_no_other_algorithm_opens_a_stream_or_publishes(
    start_service: StartService, tmp_path: Path, topic: str
) -> None:
    issuer, other = Issuer("RS256"), Issuer("RS256")
    (tmp_path / "jwks").write_bytes(jwk_set(issuer))
    service = start_service(log="memory", jwks_file=tmp_path / "jwks")
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = _sign_by_hand("HS256", public)
    forged = [other.token(), ISSUER.token(), confused, _sign_by_hand("none", None)]
    tampered = issuer.token({"subscribe": ["other"]}).split(".")
    tampered[1] = issuer.token().split(".")[1]
    for token in [*forged, ".".join(tampered)]:
        assert _publish(service, topic, bearer(token)) == 401
        for protocol in PROTOCOLS:
            assert (await _open(service, topic, protocol, bearer(token)))[0] == 401
    assert _publish(service, topic, bearer(issuer.token())) == 202
    assert service.metric(PUBLISHED, outcome="accepted") == 1
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


def _sign_by_hand(algorithm: str, secret: bytes | None) -> str:
    """Return a token that no library would make."""
    claims = {"exp": int(time.time()) + 3600, "riptide": {"publish": ["*"], "subscribe": ["*"]}}
    parts = [{"alg": algorithm, "kid": "key-1"}, claims]
    text = ".".join(_encode(orjson.dumps(part)) for part in parts)
    signature = b"" if secret is None else hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{_encode(signature)}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _publish(service: Service, topic: str, headers: dict[str, str]) -> int:
    return plain.post(service.topic(topic), json=1, headers=headers).status_code


def test_publishing_needs_a_grant_of_its_own(guarded: Service, topic: str) -> None:
    outcomes = ("unauthenticated", "forbidden", "accepted")
    before = [guarded.metric(PUBLISHED, outcome=outcome) for outcome in outcomes]
    assert _publish(guarded, topic, {}) == 401
    assert _publish(guarded, topic, bearer(ISSUER.token({"subscribe": ["*"]}))) == 403
    assert _publish(guarded, topic, bearer(ISSUER.token({"publish": [topic[:5] + "*"]}))) == 202
    after = [guarded.metric(PUBLISHED, outcome=outcome) for outcome in outcomes]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("transport", TRANSPORTS, ids=PROTOCOLS)
async def test_a_stream_ends_with_its_token_and_says_why(
    guarded: Service, topic: str, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = {"protocol": transport.name, "reason": "token_expired"}
    before = guarded.metric(CLOSED, **expired)
    expires = int(time.time()) + 6
    token = ISSUER.token(exp=expires)
    assert _publish(guarded, topic, bearer(token)) == 202
    monkeypatch.setattr(httpx2, "AsyncClient", _with_token(httpx2.AsyncClient, token))
    connect = functools.partial(plain.connect, additional_headers=bearer(token))
    monkeypatch.setattr(plain, "connect", connect)
    async with transport.open(guarded, topic, after="earliest") as consumer:
        assert (await consumer.next("message"))["data"] == 1
        end = (await consumer.rest())[-1]
        if transport.name == "websocket":
            assert consumer.close_code == 3000
    assert (end["event"], end["reason"], end["reconnect"]) == ("end", "token_expired", True)
    assert end["id"].endswith("-1")
    assert time.time() >= expires
    # Whoever comes back needs a new one.
    status, headers, body = await _open(guarded, topic, transport.name, bearer(token))
    assert (status, 'error="invalid_token"' in headers["www-authenticate"]) == (401, True)
    assert "expired" in body
    await asyncio.to_thread(guarded.wait_for_metric, before + 1, CLOSED, **expired)
    assert guarded.metric("riptide_streaming_messages_unaccounted") == 0


def _with_token(client: Any, token: str) -> Any:
    return lambda **keywords: client(headers=bearer(token), **keywords)


async def test_a_websocket_is_opened_only_by_pages_that_are_allowed(
    guarded: Service, topic: str
) -> None:
    cookie = {"Cookie": f"riptide_token={ISSUER.token()}"}
    before = guarded.metric(REJECTED, protocol="websocket", reason="origin")
    for origin, status in [
        (guarded.url, 200),
        ("https://app.example", 200),
        ("https://evil.example", 403),
        ("null", 403),
    ]:
        answer = await _open(guarded, topic, "websocket", {**cookie, "Origin": origin})
        assert answer[0] == status, origin
    assert guarded.metric(REJECTED, protocol="websocket", reason="origin") == before + 2


def test_a_foreign_page_cannot_publish_with_the_cookie_of_who_looks_at_it(
    guarded: Service, topic: str
) -> None:
    cookie = {"Cookie": f"riptide_token={ISSUER.token()}"}
    assert _publish(guarded, topic, {**cookie, "Origin": "https://evil.example"}) == 403
    assert _publish(guarded, topic, {**cookie, "Origin": "https://app.example"}) == 202
    assert _publish(guarded, topic, {**cookie, "Origin": guarded.url}) == 202


def test_browsers_are_told_which_pages_may_read_answers(guarded: Service, topic: str) -> None:
    def preflight(origin: str) -> httpx2.Response:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        return plain.request("OPTIONS", guarded.topic(topic), headers=headers)

    allowed = preflight("https://app.example")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in preflight("https://evil.example").headers
    headers = {**bearer(ISSUER.token()), "Origin": "https://app.example"}
    answer = plain.get(guarded.topic(topic), params={"until": "latest"}, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    refused = plain.get(guarded.topic(topic), headers={"Origin": "https://app.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"


def test_what_is_not_of_topics_needs_no_token(guarded: Service) -> None:
    for path in ("/", "/metrics", "/healthz/live", "/healthz/ready", "/openapi.json"):
        assert plain.get(guarded.url + path).status_code == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_token_in_the_query_is_refused_unless_switched_on(
    guarded: Service, topic: str, protocol: str
) -> None:
    status, _, body = await _open(guarded, topic, protocol, {}, f"?access_token={ISSUER.token()}")
    assert (status, "in the query" in body) == (401, True)


async def test_a_token_in_the_query_is_never_logged(
    start_service: StartService, tmp_path: Path, topic: str
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(
        log="memory",
        log_level="debug",
        token_in_query="true",
        token_secret_file=tmp_path / "secret",
    )
    query = f"?after=earliest&access_token={ISSUER.token()}"
    assert plain.post(service.topic(topic) + query, json=1).status_code == 202
    for protocol in PROTOCOLS:
        assert (await _open(service, topic, protocol, {}, query))[0] == 200
        bad = await _open(service, topic, protocol, {}, "?access_token=eyJ.eyJ.eyJ")
        assert bad[0] == 401
        assert "eyJ" not in bad[2]
    metrics = plain.get(f"{service.url}/metrics").text
    assert service.stop() == 0
    assert "eyJ" not in service.log + metrics
    assert "access_token" not in service.log + metrics


def test_keys_rotate_and_an_issuer_that_is_away_locks_nobody_out(
    start_service: StartService, topic: str
) -> None:
    old, new = Issuer("ES256", "old"), Issuer("EdDSA", "new")
    with JwksServer(old) as server:
        service = start_service(log="memory", jwks_url=server.url, keys_refresh_seconds=0.5)
        assert _publish(service, topic, bearer(old.token())) == 202
        assert _publish(service, topic, bearer(new.token())) == 401
        server.publish(old, new)
        wait_until(lambda: _publish(service, topic, bearer(new.token())) == 202)
        server.status = 500
        seen = server.requests
        wait_until(lambda: server.requests >= seen + 2)
        assert _publish(service, topic, bearer(old.token())) == 202
        assert service.metric(catalog.KEY_READINGS.prometheus_name, outcome="failed") >= 1
        assert service.metric(catalog.KEYS_AGE.prometheus_name) > 0
        server.status = 200
        server.publish(new)
        wait_until(lambda: _publish(service, topic, bearer(old.token())) == 401)
        assert _publish(service, topic, bearer(new.token())) == 202
        checks = catalog.TOKEN_CHECKS.prometheus_name
        assert service.metric(checks, outcome="accepted") >= 4
        # An unknown key, before it was published and after it was withdrawn.
        assert service.metric(checks, outcome="unknown_key") >= 2


def test_metrics_and_health_can_have_a_port_of_their_own(
    start_service: StartService,
) -> None:
    service = start_service(log="memory", metrics_port=0)
    elsewhere = service.log.partition("metrics and health on ")[2].split()[0]
    for path in ("/metrics", "/metrics/targets", "/healthz/live", "/healthz/ready"):
        assert plain.get(service.url + path).status_code == 404
        assert plain.get(elsewhere + path).status_code == 200
    assert plain.get(f"{elsewhere}/topics/a").status_code == 404
    (group,) = plain.get(f"{elsewhere}/metrics/targets").json()
    assert group["targets"] == [elsewhere.removeprefix("http://")]
    assert service.stop() == 0


@pytest.mark.parametrize("settings", [{}, {"metrics_port": 0}, {"workers": 2}])
def test_metrics_and_health_can_have_a_token_of_their_own(
    start_service: StartService, tmp_path: Path, settings: dict[str, Any]
) -> None:
    (tmp_path / "operators").write_text("the token of operators\n")
    service = start_service(log="memory", metrics_token_file=tmp_path / "operators", **settings)
    urls = [service.url]
    if "metrics_port" in settings:
        urls = [service.log.partition("metrics and health on ")[2].split()[0]]
    paths = ["/metrics", "/healthz/live", "/healthz/ready"]
    token = bearer("the token of operators")
    if "workers" in settings:
        every_target = f"{urls[0]}/metrics/targets"
        wait_until(lambda: len(plain.get(every_target, headers=token).json()) == 2)
        found = plain.get(every_target, headers=token).json()
        urls = [f"http://{group['targets'][0]}" for group in found]
        paths = ["/metrics"]
    for url in urls:
        for path in paths:
            refused = plain.get(url + path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == 'Bearer realm="riptide"'
            assert plain.get(url + path, headers=bearer("another token")).status_code == 401
            assert plain.get(url + path, headers=token).status_code == 200
    assert plain.get(f"{service.url}/").status_code == 200
