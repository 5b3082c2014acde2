"""The proxies of the operator guide, as they stand there: every transport through the real ones."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import orjson
import pytest
from websockets.exceptions import InvalidStatus

from operations.drill.certificates import make_certificate
from operations.ports import free_port
from tests import plain
from tests.browser import open_browser, open_page
from tests.programs import require
from tests.repository.sources import ROOT
from tests.service import Service
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Browser

NGINX = (ROOT / "proxies" / "nginx.conf").read_text()
CADDY = (ROOT / "proxies" / "Caddyfile").read_text()
SERVICE = "127.0.0.1:8080"
# Resolves with the first event of each stream, once all are open; the last one is a WebSocket.
OPEN = """
async ([path, count]) => {
    const first = [];
    for (let number = 1; number < count; number++)
        first.push(new Promise(resolve => new EventSource(path)
            .addEventListener("opened", event => resolve(JSON.parse(event.data).event))));
    first.push(new Promise((resolve, reject) => {
        const socket = new WebSocket(new URL(path, location.href.replace("http", "ws")));
        socket.onmessage = event => resolve(JSON.parse(event.data).event);
        socket.onerror = () => reject(new Error("no WebSocket"));
    }));
    return Promise.all(first);
}
"""
LOOPBACK = "127.0.0.1"
# Of nginx.conf; the rest is Debian's own, but for the paths of who may be no root.
AROUND_NGINX = """
daemon off;
user {user};
pid {directory}/pid;
error_log stderr;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/riptide.conf;
}}
"""
AROUND_CADDY = """
{{
    admin off
    auto_https disable_redirects
    storage file_system {directory}/storage
}}
"""


class Site(NamedTuple):
    """What a proxy serves, and the service behind it."""

    service: Service
    url: str
    trust: ssl.SSLContext
    log: Path

    def client(self, source: str = LOOPBACK) -> httpx2.Client:
        """Return a client that comes from an address."""
        transport = httpx2.HTTPTransport(verify=self.trust, local_address=source)
        return plain.client(transport=transport, base_url=self.url)

    def websocket(
        self, topic: str, origin: str | None = None, source: str = LOOPBACK
    ) -> AbstractContextManager[plain.SecureWebSocket]:
        """Open a WebSocket as a browser would from a page of this origin."""
        url = f"{self.url.replace('https', 'wss', 1)}/topics/{topic}"
        return plain.connect_securely(url, self.trust, origin=origin, local_addr=(source, 0))


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def _nginx(directory: Path, service: str, port: int, text: str = NGINX) -> Sequence[str]:
    text = _replaced(text, "listen 443 ", f"listen {LOOPBACK}:{port} ")
    text = _replaced(text, "/etc/ssl/riptide", str(directory))
    (directory / "riptide.conf").write_text(_replaced(text, SERVICE, service))
    around = AROUND_NGINX.format(user=getpass.getuser(), directory=directory)
    (directory / "nginx.conf").write_text(around)
    return (require("nginx"), "-c", f"{directory}/nginx.conf", "-e", "stderr")


def _caddy(directory: Path, service: str, port: int) -> Sequence[str]:
    # The name becomes one that resolves here, with a certificate that needs nobody else.
    opening = f"https://{LOOPBACK}:{port} {{\n\ttls {directory}/certificate.pem {directory}/key.pem"
    text = _replaced(CADDY, "events.example.com {", opening)
    around = AROUND_CADDY.format(directory=directory)
    (directory / "Caddyfile").write_text(around + _replaced(text, SERVICE, service))
    command = (require("caddy"), "run", "--adapter", "caddyfile")
    return (*command, "--config", f"{directory}/Caddyfile")


@contextlib.contextmanager
def _site(
    directory: Path, proxy: Callable[[Path, str, int], Sequence[str]], **settings: Any
) -> Iterator[Site]:
    """Run the service and the proxy before it."""
    certificate, _ = make_certificate(directory)
    port = free_port()
    service = Service(directory, {"log": "memory", **settings}).start()
    log = directory / "proxy.log"
    command = proxy(directory, service.url.removeprefix("http://"), port)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory)
    try:
        _wait_for(port, process, log)
        trust = ssl.create_default_context(cafile=certificate)
        yield Site(service, f"https://{LOOPBACK}:{port}", trust, log)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), DEADLINE_S):
            return True
        return False

    wait_until(listens, log.read_text)


@pytest.fixture(scope="module", params=[_nginx, _caddy], ids=["nginx", "caddy"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with _site(
        directory, request.param, trusted_proxies=LOOPBACK, max_connections_per_address=2
    ) as site:
        yield site


def _publish(site: Site, topic: str, *messages: object) -> None:
    """Publish through the proxy."""
    with site.client() as client:
        answer = client.post(
            f"/topics/{topic}",
            content=b"\n".join(map(orjson.dumps, messages)),
            headers={"Content-Type": "application/x-ndjson"},
        )
    assert answer.status_code == 202, answer.text


@contextlib.contextmanager
def _stream(
    site: Site, topic: str, accept: str, source: str = LOOPBACK
) -> Iterator[Iterator[bytes]]:
    with (
        site.client(source) as client,
        client.stream("GET", f"/topics/{topic}", headers={"Accept": accept}) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        yield answer.iter_bytes()


def _read_until(pieces: Iterator[bytes], text: bytes) -> None:
    data = b""
    while text not in data:
        data += next(pieces)


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_messages_come_through_over_http_as_they_are_published(
    site: Site, topic: str, accept: str
) -> None:
    with _stream(site, topic, accept) as pieces:
        _read_until(pieces, b'"opened"')
        for number in range(20):
            _publish(site, topic, f"message {number}.")
            # Nothing of it is held back for what comes next.
            _read_until(pieces, b"message %d." % number)


def test_messages_come_through_over_websocket_to_a_page_of_the_site_and_to_no_other(
    site: Site, topic: str
) -> None:
    with site.websocket(topic, origin=site.url) as websocket:
        assert orjson.loads(websocket.recv())["event"] == "opened"
        for number in range(20):
            _publish(site, topic, number)
            assert orjson.loads(websocket.recv())["data"] == number
    with (
        pytest.raises(InvalidStatus) as refused,
        site.websocket(topic, origin="https://other.test"),
    ):
        pass
    assert refused.value.response.status_code == 403


def _own_address() -> str:
    """Return an address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback, for which no limits are kept")
        address: str = probe.getsockname()[0]
        return address


def test_streams_are_counted_by_the_clients_address_and_not_by_the_proxys(
    site: Site, topic: str
) -> None:
    address = _own_address()
    sse = "text/event-stream"
    with (
        _stream(site, topic, sse, address) as one,
        site.websocket(topic, source=address) as two,
    ):
        _read_until(one, b'"opened"')
        two.recv()
        with site.client(address) as client:
            refused = client.get(f"/topics/{topic}")
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:riptide:problem:address-limit"
        with _stream(site, topic, sse) as other:
            _read_until(other, b'"opened"')


def test_a_batch_as_large_as_the_service_takes_comes_through(site: Site, topic: str) -> None:
    _publish(site, topic, *["x" * 1_000_000] * 8)
    with site.client() as client:
        answer = client.post(f"/topics/{topic}", json=["x" * 1_000_000] * 9)
    assert answer.status_code == 413


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def test_a_page_opens_more_than_six_streams_and_a_websocket_beside_them(
    site: Site, topic: str, browser: Browser
) -> None:
    """Over HTTP/1.1 the seventh of an origin would wait for one of the others to end."""
    with open_page(browser, bypass_csp=True, ignore_https_errors=True) as page:
        page.goto(site.url)
        assert page.evaluate(OPEN, [f"/topics/{topic}", 10]) == ["opened"] * 10
        protocols = page.evaluate(
            "performance.getEntriesByType('navigation').map(entry => entry.nextHopProtocol)"
        )
        assert protocols == ["h2"]


def test_metrics_are_not_for_everybody(site: Site) -> None:
    with site.client() as client:
        for path in ("/metrics", "/metrics/targets"):
            assert client.get(path).status_code == 404
    assert plain.get(f"{site.service.url}/metrics").status_code == 200


def test_a_proxy_that_loses_the_upgrade_is_found_out(tmp_path: Path) -> None:
    """What nginx does of itself, without the lines for WebSockets."""
    naive = re.sub(r"(?m)^ +proxy_set_header (?:Upgrade|Connection) .*\n", "", NGINX)
    assert naive.count("proxy_set_header") == NGINX.count("proxy_set_header") - 2

    def proxy(directory: Path, service: str, port: int) -> Sequence[str]:
        return _nginx(directory, service, port, naive)

    with _site(tmp_path, proxy, trusted_proxies=LOOPBACK) as site:
        with pytest.raises(InvalidStatus) as refused, site.websocket("news"):
            pass
        assert refused.value.response.status_code == 426
        problem = orjson.loads(refused.value.response.body or b"")
        assert problem["type"] == "urn:riptide:problem:upgrade-required"
        rejected = site.service.metric(
            "riptide_streaming_connections_rejected_total",
            protocol="websocket",
            reason="invalid_request",
        )
        assert rejected == 1


def test_a_proxy_that_keeps_the_name_to_itself_shuts_pages_out(tmp_path: Path) -> None:
    """What nginx does of itself, without the line for Host."""
    nameless = _replaced(NGINX, "proxy_set_header Host $http_host;", "")

    def proxy(directory: Path, service: str, port: int) -> Sequence[str]:
        return _nginx(directory, service, port, nameless)

    with _site(tmp_path, proxy, trusted_proxies=LOOPBACK) as site:
        with pytest.raises(InvalidStatus) as refused, site.websocket("news", origin=site.url):
            pass
        assert refused.value.response.status_code == 403
        assert b"urn:riptide:problem:origin" in (refused.value.response.body or b"")


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        ({}, 421),
        ({"allowed_hosts": "events.example.com"}, 200),
        ({"trusted_proxies": LOOPBACK}, 200),
    ],
    ids=["neither", "allowed_hosts", "trusted_proxies"],
)
def test_a_service_that_asks_for_no_tokens_has_to_be_told_of_the_proxy_or_of_its_name(
    tmp_path: Path, setting: dict[str, str], status: int
) -> None:
    with _site(tmp_path, _nginx, **setting) as site, site.client() as client:
        answer = client.get("/topics/news?until=latest", headers={"Host": "events.example.com"})
    assert answer.status_code == status, answer.text
