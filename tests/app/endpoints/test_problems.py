from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.datastructures import Headers

from riptide.endpoints import problems
from riptide.endpoints.problems import MEDIA_TYPE, problem_response
from riptide.errors import DrainingError
from tests.app.endpoints.answers import PROBLEM, ask, read_answer
from tests.asgi import AsgiExchange, http_scope

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service


def test_a_problem_is_a_response_with_its_status_and_headers() -> None:
    response = problem_response(DrainingError("come back", retry_after=5))
    assert MEDIA_TYPE == PROBLEM
    assert response.status_code == 503
    assert response.headers["content-type"] == PROBLEM
    assert response.headers["retry-after"] == "5"
    assert bytes(response.body).startswith(b'{"type":"urn:riptide:problem:draining"')


@pytest.mark.parametrize("path", ["/nothing", "/healthz", "/metrics/x", "/" + "x" * 5000])
async def test_what_is_not_there_is_told_where_topics_are(app: Starlette, path: str) -> None:
    answer = await ask(app, "GET", path)
    assert (answer.status, answer.problem) == (404, "not-found")
    assert "/topics/NAME" in answer.json["detail"]
    assert len(answer.body) < 500


async def test_a_method_that_a_path_does_not_take_is_told_which_it_does(app: Starlette) -> None:
    answer = await ask(app, "POST", "/metrics")
    assert (answer.status, answer.problem) == (405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_fault_tells_nothing_of_itself_and_is_raised_for_the_log(
    app: Starlette, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service.log, "unavailable_reason", fail)
    exchange = AsgiExchange(app, http_scope("GET", "/healthz/ready"))
    answer = await read_answer(exchange)
    assert (answer.status, answer.problem) == (500, "internal-error")
    assert b"secret" not in answer.body
    with pytest.raises(RuntimeError, match="a secret"):
        await exchange.task


TOO_LARGE = [("Content-Type", "application/json"), ("Content-Length", "1001")]


async def test_who_sends_too_much_is_answered_before_the_body_is_there(app: Starlette) -> None:
    exchange = AsgiExchange(app, http_scope("POST", "/topics/a", headers=TOO_LARGE))
    start, body = await exchange.next(), await exchange.next()
    assert start["status"] == 413
    assert Headers(raw=start["headers"])["connection"] == "close"
    assert body["body"].startswith(b'{"type":"urn:riptide:problem:too-large"')
    # What still comes is thrown away, so that the close does not take the answer with it.
    await exchange.send({"type": "http.request", "body": b"1" * 900, "more_body": True})
    await exchange.send({"type": "http.request", "body": b"1" * 101, "more_body": False})
    assert not (await exchange.next()).get("more_body", False)
    await exchange.task
    assert exchange._to_app.empty()


async def test_who_sends_too_much_is_not_heard_out_for_ever(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "LINGER_S", 0.02)
    exchange = AsgiExchange(app, http_scope("POST", "/topics/a", headers=TOO_LARGE))
    answer = await read_answer(exchange)
    assert (answer.status, answer.problem) == (413, "too-large")
    await exchange.task


async def test_who_sends_too_much_and_goes_is_let_go(app: Starlette) -> None:
    exchange = AsgiExchange(app, http_scope("POST", "/topics/a", headers=TOO_LARGE))
    await exchange.send({"type": "http.disconnect"})
    assert (await read_answer(exchange)).status == 413
