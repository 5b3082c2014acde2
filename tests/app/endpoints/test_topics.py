from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide.access.keyring import Keyring
from riptide.access.keys import secret_key
from riptide.access.tokens import TokenVerifier
from tests.app.access.test_tokens import Fixed
from tests.app.endpoints.answers import ask, publish
from tests.asgi import AsgiExchange, http_scope
from tests.issuer import SECRET, Issuer, bearer
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service
    from tests.app.endpoints.answers import Answer


async def _list(app: Starlette, query: str = "", **grants: list[str]) -> Answer:
    headers = bearer(Issuer("HS256", None).token(grants)).items() if grants else ()
    return await ask(app, "GET", "/topics", query=query, headers=headers)


def _names(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [topic["topic"] for topic in answer.json["topics"]]


async def test_each_topic_has_its_newest_id_its_messages_and_its_consumers(app: Starlette) -> None:
    _, newest = await publish(app, "b", b"1", b"2", b"3")
    await publish(app, "a", b"1")
    exchange = AsgiExchange(app, http_scope("GET", "/topics/b"))
    await exchange.next()
    answer = await _list(app)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    first, second = answer.json["topics"]
    assert first["topic"] == "a"
    assert second == {"topic": "b", "newest": newest, "messages": 3, "consumers": 1}
    assert answer.json["next"] is None
    await exchange.send({"type": "http.disconnect"})
    await in_time(exchange.task)
    assert (await _list(app)).json["topics"][1]["consumers"] == 0


async def test_pages_follow_each_other_by_name(app: Starlette) -> None:
    for name in "ecadb":
        await publish(app, name, b"1")
    pages, query = [], "limit=2"
    while True:
        answer = await _list(app, query)
        pages.append(_names(answer))
        if answer.json["next"] is None:
            break
        query = f"limit=2&after={answer.json['next']}"
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert _names(await _list(app, "after=")) == list("abcde")
    # A name that there is not is a place, too.
    assert _names(await _list(app, "after=bb")) == list("cde")


async def test_a_full_last_page_is_the_last_one(app: Starlette) -> None:
    await publish(app, "a", b"1")
    answer = await _list(app, "limit=1")
    assert (_names(answer), answer.json["next"]) == (["a"], None)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "", "ten", "٣", "1e3", "0" * 5000])
async def test_a_limit_that_is_none_is_told_so(app: Starlette, limit: str) -> None:
    answer = await _list(app, f"limit={limit}")
    assert (answer.status, answer.problem) == (400, "invalid-limit")
    assert "from 1 to 1000" in answer.json["detail"]


async def test_a_place_that_is_no_topic_is_told_so(app: Starlette) -> None:
    answer = await _list(app, "after=a/b")
    assert (answer.status, answer.problem) == (400, "invalid-topic")


@pytest.fixture
async def guarded(app: Starlette, service: Service) -> Starlette:
    """The application with topics in it, and access control from now on."""
    for name in ("news", "orders.eu", "orders.us"):
        await publish(app, name, b"1")
    keyring = Keyring([Fixed([secret_key(SECRET)])], 60)
    gate: Any = service.gate
    gate._verifier = TokenVerifier(keyring, audience=None, issuer=None, leeway_s=0)
    await gate.open()
    return app


async def test_only_what_a_token_lets_read_is_listed(guarded: Starlette) -> None:
    answer = await _list(guarded, "limit=1", subscribe=["orders.*"], publish=["*"])
    assert (_names(answer), answer.json["next"]) == (["orders.eu"], "orders.eu")
    answer = await _list(guarded, "limit=1&after=orders.eu", subscribe=["orders.*"])
    assert (_names(answer), answer.json["next"]) == (["orders.us"], None)
    # That there is more which it may not read is not told, either.
    answer = await _list(guarded, "limit=1", subscribe=["news"])
    assert (_names(answer), answer.json["next"]) == (["news"], None)


async def test_who_may_read_nothing_may_list_nothing(guarded: Starlette) -> None:
    answer = await _list(guarded, publish=["*"])
    assert (answer.status, answer.problem) == (403, "forbidden")
    answer = await _list(guarded)
    assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_without_access_control_only_names_of_ours_are_answered(app: Starlette) -> None:
    answer = await ask(app, "GET", "/topics", headers=[("Host", "evil.example")])
    assert (answer.status, answer.problem) == (421, "unknown-host")
