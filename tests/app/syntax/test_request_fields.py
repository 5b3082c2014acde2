from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import riptide
from riptide.errors import MalformedRequestError
from riptide.syntax.request_fields import Repeated, RequestField, read, refuse_ambiguous
from tests.app.endpoints.answers import ask
from tests.asgi import AsgiExchange, http_scope

if TYPE_CHECKING:
    from starlette.applications import Starlette


OF_ONE_VALUE = [field for field in RequestField if field.repeated is Repeated.AMBIGUOUS]
# Header fields that scripts cannot set (Fetch standard, "forbidden request-header").
FORBIDDEN = {
    *("accept-charset", "accept-encoding", "connection", "content-length", "cookie", "cookie2"),
    *("date", "dnt", "expect", "host", "keep-alive", "origin", "referer", "set-cookie", "te"),
    *("trailer", "transfer-encoding", "upgrade", "via"),
}
# The only file that reads header fields; responses, and the requests of clients, are not meant.
READS = re.compile(r"\bHeaders\(|request\.headers|connection\.headers|scope\[.headers.\]|getlist")


def scope(*headers: tuple[str, str]) -> dict[str, Any]:
    return http_scope("GET", "/", headers=headers)


@pytest.mark.parametrize("field", RequestField)
@pytest.mark.parametrize("padded", ["v", " v", "v ", "\tv\t ", " \t v \t "])
def test_white_space_around_a_value_is_no_part_of_it(field: RequestField, padded: str) -> None:
    assert read(scope((field.title, padded)), field) == "v"


@pytest.mark.parametrize("other", ["\x0b", "\xa0", "\x85"])
def test_only_spaces_and_tabs_are_white_space(other: str) -> None:
    raw = http_scope("GET", "/") | {"headers": [(b"host", f"v{other}".encode("latin-1"))]}
    assert read(raw, RequestField.HOST) == f"v{other}"


@pytest.mark.parametrize("field", RequestField)
def test_a_field_that_is_not_there_has_no_value(field: RequestField) -> None:
    assert read(scope(("X-Other", "v")), field) is None


@pytest.mark.parametrize("field", [each for each in RequestField if each not in OF_ONE_VALUE])
def test_several_lines_are_one_value_unless_they_are_for_tracing(field: RequestField) -> None:
    joined = {Repeated.LIST: "a, b, c", Repeated.COOKIES: "a; b; c", Repeated.IGNORED: None}
    lines = [(field.title, "a "), ("X-Other", "x"), (field.title, "b"), (field.title, "\tc")]
    assert read(scope(*lines), field) == joined[field.repeated]
    refuse_ambiguous(scope(*lines))


@pytest.mark.parametrize("field", OF_ONE_VALUE)
def test_two_values_of_a_field_that_has_one_are_refused_and_the_field_is_named(
    field: RequestField,
) -> None:
    twice = scope((field.title, "a"), (field.title, "b"))
    with pytest.raises(MalformedRequestError, match=f"two values for {field.title}: send"):
        read(twice, field)
    with pytest.raises(MalformedRequestError, match=f"two values for {field.title}: send"):
        refuse_ambiguous(twice)


@pytest.mark.parametrize("field", [*OF_ONE_VALUE, RequestField.TRACEPARENT])
def test_the_same_value_twice_is_one_value(field: RequestField) -> None:
    twice = scope((field.title, "a"), (field.title, " a\t"))
    assert read(twice, field) == "a"
    refuse_ambiguous(twice)


@pytest.mark.parametrize("field", OF_ONE_VALUE)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/topics/a"), ("POST", "/topics/a"), ("GET", "/topics")]
)
async def test_a_request_with_two_meanings_is_a_bad_request(
    field: RequestField, method: str, path: str, app: Starlette
) -> None:
    headers = [("Content-Type", "application/json"), (field.title, "1"), (field.title, "2")]
    answer = await ask(app, method, path, headers=headers, body=b"1")
    assert (answer.status, answer.problem) == (400, "malformed-request")
    assert field.title in answer.json["detail"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_request_with_two_meanings_is_counted(method: str, app: Starlette) -> None:
    await ask(app, method, "/topics/a", headers=[("Origin", "a"), ("Origin", "b")], body=b"1")
    page = (await ask(app, "GET", "/metrics")).body.decode()
    name, labels = {
        "GET": ("connections_rejected", 'protocol="ndjson",reason="invalid_request"'),
        "POST": ("messages_published", 'outcome="invalid"'),
    }[method]
    assert f"riptide_streaming_{name}_total{{{labels}}} 1.0" in page


@pytest.mark.parametrize(
    ("lines", "media_type"),
    [
        (["text/html", "text/event-stream"], "text/event-stream"),
        (["text/event-stream;q=0.1", "application/x-ndjson"], "application/x-ndjson"),
        (["application/x-ndjson;q=0.1", "text/event-stream"], "text/event-stream"),
        (["text/event-stream\t"], "text/event-stream"),
    ],
)
async def test_every_line_of_accept_counts(
    lines: list[str], media_type: str, app: Starlette
) -> None:
    headers = [("Accept", line) for line in lines]
    exchange = AsgiExchange(app, http_scope("HEAD", "/topics/a", headers=headers))
    start = await exchange.next()
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"].decode().startswith(media_type)


@pytest.mark.parametrize("coding", ["", "identity", "Identity\t", "identity, identity"])
async def test_a_body_that_is_not_coded_is_taken_however_that_is_said(
    coding: str, app: Starlette
) -> None:
    headers = [("Content-Type", "application/json \t"), ("Content-Encoding", coding)]
    answer = await ask(app, "POST", "/topics/a", headers=headers, body=b"1")
    assert answer.status == 202
    headers.append(("Content-Encoding", "gzip"))
    answer = await ask(app, "POST", "/topics/a", headers=headers, body=b"1")
    assert (answer.status, answer.problem) == (415, "unsupported-media-type")


def test_no_other_file_of_the_service_reads_a_header_field() -> None:
    root = Path(riptide.__file__).parent
    readers = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        # The command line is a client, and the server checks heads as a whole.
        if READS.search(file.read_text()) and file.parent.name not in {"cli", "server"}
    }
    assert readers == {"syntax/request_fields.py"}


@pytest.mark.parametrize("field", RequestField)
def test_pages_may_set_every_field_that_browsers_let_them_set(field: RequestField) -> None:
    name = field.title.lower()
    assert field.from_pages is (name not in FORBIDDEN and not name.startswith(("sec-", "proxy-")))
