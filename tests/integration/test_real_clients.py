"""Clients that people use read the streams."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from playwright.sync_api import Error as PlaywrightError

from tests import plain
from tests.browser import open_browser, open_page
from tests.issuer import SECRET, Issuer
from tests.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.conftest import StartService
    from tests.service import Service

# Reads from the beginning until it has seen this many messages, then leaves.
EVENT_SOURCE = """
([url, count]) => new Promise((resolve, reject) => {
    const seen = [], source = new EventSource(url);
    source.onerror = () => reject(new Error("EventSource failed"));
    source.onmessage = event => {
        const record = JSON.parse(event.data);
        if (record.id !== event.lastEventId) reject(new Error("ids differ"));
        seen.push(record.data);
        if (seen.length === count) { source.close(); resolve(seen); }
    };
})
"""
WEB_SOCKET = """
([url, count]) => new Promise((resolve, reject) => {
    const seen = [], socket = new WebSocket(url);
    socket.onerror = () => reject(new Error("WebSocket failed"));
    socket.onmessage = event => {
        const record = JSON.parse(event.data);
        if (!record.event) seen.push(record.data);
        if (seen.length === count) { socket.close(); resolve(seen); }
    };
})
"""
# Lets the browser itself reconnect: what comes before and after the restart, and how it began.
RECONNECTING = """
url => {
    window.seen = [];
    window.source = new EventSource(url);
    for (const name of ["opened", "message", "resumed", "end"])
        window.source.addEventListener(name, event => window.seen.push(JSON.parse(event.data)));
}
"""
PAYLOADS = ["text", 1, {"unicode": "🌊 \u2028 é", "quotes": '"\\'}, [None, True]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that runs scripts of ours, which the live page's own policy forbids."""
    with open_page(browser, bypass_csp=True) as page:
        yield page


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream", "*/*"])
def test_curl_reads_a_stream(shared_service: Service, topic: str, accept: str) -> None:
    shared_service.publish(topic, *PAYLOADS)
    url = f"{shared_service.topic(topic)}?until=latest"
    command = [require("curl"), "--silent", "--no-buffer", "--header", f"Accept: {accept}", url]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    lines = [line.removeprefix("data: ") for line in text.split("\n")]
    records = [orjson.loads(line) for line in lines if line.startswith("{")]
    assert [record["data"] for record in records if "data" in record] == PAYLOADS


def test_curl_publishes_a_file(shared_service: Service, topic: str) -> None:
    command = [require("curl"), "--silent", "--show-error", "--fail-with-body"]
    command += ["--header", "Content-Type: application/x-ndjson", "--data-binary", "@-"]
    lines = b"".join(orjson.dumps(payload) + b"\n" for payload in PAYLOADS)
    done = subprocess.run(
        [*command, shared_service.topic(topic)], input=lines, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["count"] == len(PAYLOADS)


def test_a_browser_reads_with_its_own_event_source(
    shared_service: Service, topic: str, page: Page
) -> None:
    shared_service.publish(topic, *PAYLOADS)
    page.goto(shared_service.url)
    url = f"{shared_service.topic(topic)}?after=earliest"
    assert page.evaluate(EVENT_SOURCE, [url, len(PAYLOADS)]) == PAYLOADS


def test_a_browser_reads_with_its_own_websocket(
    shared_service: Service, topic: str, page: Page
) -> None:
    shared_service.publish(topic, *PAYLOADS)
    page.goto(shared_service.url)
    url = f"{shared_service.topic(topic)}?after=earliest".replace("http", "ws", 1)
    assert page.evaluate(WEB_SOCKET, [url, len(PAYLOADS)]) == PAYLOADS


def test_an_event_source_resumes_by_itself_after_a_restart(
    start_service: StartService, topic: str, page: Page
) -> None:
    service = start_service(retry_seconds=0.1)
    page.goto(service.url)
    page.evaluate(RECONNECTING, service.topic(topic))
    page.wait_for_function("window.seen.length === 1")
    service.publish(topic, "before")
    page.wait_for_function("window.seen.length === 2")
    assert service.stop() == 0
    service.start()
    service.publish(topic, "between")
    page.wait_for_function("window.seen.some(record => record.event === 'resumed')")
    service.publish(topic, "after")
    page.wait_for_function("window.seen.some(record => record.data === 'after')")
    seen = page.evaluate("window.source.close() || window.seen")
    heard = [record.get("event", record.get("data")) for record in seen]
    # It may have come back while the old process was draining, to be told once more.
    assert [word for word, _ in itertools.groupby(heard)] == [
        "opened",
        "before",
        "end",
        "resumed",
        "between",
        "after",
    ]


@pytest.mark.parametrize("protocol", ["sse", "websocket"])
def test_the_live_page_works_with_a_token(
    start_service: StartService, browser: Browser, tmp_path: Path, protocol: str
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(
        log="memory", token_secret_file=tmp_path / "secret", token_cookie="another"
    )
    with open_page(browser) as page:
        page.goto(service.url)
        page.wait_for_selector("#status:has-text('a token is needed')")
        page.select_option("select[name=protocol]", protocol)
        page.fill("input[name=token]", Issuer("HS256", None).token())
        page.click("#watch button")
        page.wait_for_selector("li:has-text('opened')")
        page.fill("input[name=message]", "with a token")
        page.click("#publish button")
        page.wait_for_selector("li:has-text('with a token')")
        assert page.text_content("#status") == ""


def test_the_live_page_publishes_with_the_token_that_was_typed_in(
    start_service: StartService, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(log="memory", token_secret_file=tmp_path / "secret")
    with open_page(browser) as page:
        page.goto(service.url)
        page.fill("input[name=token]", Issuer("HS256", None).token())
        page.fill("input[name=message]", "not watched yet")
        page.click("#publish button")
        page.wait_for_selector("#status:has-text('Published.')")
        page.select_option("select[name=after]", "earliest")
        page.click("#watch button")
        page.wait_for_selector("li:has-text('not watched yet')")
        assert page.text_content("#status") == ""


@pytest.mark.parametrize("protocol", ["sse", "websocket"])
def test_the_live_page_says_why_a_stream_was_refused(
    start_service: StartService, browser: Browser, protocol: str
) -> None:
    service = start_service(log="memory", max_connections=1)
    with open_page(browser) as page, open_page(browser) as other:
        page.goto(service.url)
        page.wait_for_selector("li:has-text('opened')")
        other.goto(service.url)
        other.select_option("select[name=protocol]", protocol)
        other.click("#watch button")
        other.wait_for_selector("#status:has-text('all 1 places for streams are taken')")
        assert page.text_content("#status") == ""
        page.close()
        service.wait_for_metric(0, "riptide_streaming_active_connections")
        other.fill("input[name=topic]", "not a topic")
        other.click("#watch button")
        other.wait_for_selector("#status:has-text('is not a topic name')")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"metrics_token_file": "operators"}, "they need the token of the operators"),
        ({"metrics_port": 0}, "they are on a port of their own"),
        ({"otel_metrics_exporter": "otlp"}, "or sent elsewhere"),
    ],
    ids=["token", "port", "pushed"],
)
def test_the_live_page_says_why_it_has_no_numbers(
    start_service: StartService,
    browser: Browser,
    tmp_path: Path,
    settings: dict[str, Any],
    why: str,
) -> None:
    if "metrics_token_file" in settings:
        file = tmp_path / settings["metrics_token_file"]
        file.write_text("the token of operators")
        settings = {"metrics_token_file": file}
    service = start_service(log="memory", **settings)
    with open_page(browser) as page:
        page.goto(service.url)
        page.wait_for_selector(f"#numberless:has-text('{why}')")
        assert page.is_hidden("#numbers")
        page.wait_for_selector("li:has-text('opened')")
        assert page.text_content("#status") == ""


def test_a_page_of_another_origin_opens_no_websocket_and_reads_no_stream(
    start_service: StartService, topic: str, page: Page
) -> None:
    service, other = start_service(log="memory"), start_service(log="memory")
    service.publish(topic, *PAYLOADS)
    page.goto(other.url)
    url = f"{service.topic(topic)}?after=earliest"
    for script, target in [(EVENT_SOURCE, url), (WEB_SOCKET, url.replace("http", "ws", 1))]:
        with pytest.raises(PlaywrightError, match="failed"):
            page.evaluate(script, [target, len(PAYLOADS)])
    allowed = start_service(log="memory", allowed_origins=other.url)
    allowed.publish(topic, *PAYLOADS)
    url = f"{allowed.topic(topic)}?after=earliest"
    for script, target in [(EVENT_SOURCE, url), (WEB_SOCKET, url.replace("http", "ws", 1))]:
        assert page.evaluate(script, [target, len(PAYLOADS)]) == PAYLOADS


PUBLISH_TRACED = """([url, trace]) => fetch(url, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "traceparent": `00-${trace}-b7ad6b7169203331-01`,
    "tracestate": "a=b",
    "baggage": "c=d",
  },
  body: "1",
}).then(answer => answer.status)"""


def test_a_page_of_an_allowed_origin_may_continue_its_trace(
    start_service: StartService, topic: str, page: Page
) -> None:
    other = start_service(log="memory")
    service = start_service(log="memory", allowed_origins=other.url)
    page.goto(other.url)
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert page.evaluate(PUBLISH_TRACED, [service.topic(topic), trace]) == 202
    stored = plain.get(f"{service.topic(topic)}?after=earliest&until=latest").text
    assert f'"traceparent":"00-{trace}-' in stored


@pytest.mark.parametrize("protocol", ["sse", "websocket"])
def test_the_live_page_shows_what_is_published_on_it(
    start_service: StartService, browser: Browser, protocol: str
) -> None:
    service = start_service(log="memory")
    with open_page(browser) as page:
        page.goto(service.url)
        page.select_option("select[name=protocol]", protocol)
        page.click("#watch button")
        page.wait_for_selector("li:has-text('opened')")
        page.fill("input[name=message]", '{"hello": "browser"}')
        page.click("#publish button")
        page.wait_for_selector('li:has-text(\'{"hello":"browser"}\')')
        page.fill("input[name=message]", "plain text")
        page.click("#publish button")
        page.wait_for_selector("li:has-text('plain text')")
        page.wait_for_selector("#sent:has-text('2')")
        assert page.is_hidden("#numberless")
        assert page.text_content("#status") == ""
