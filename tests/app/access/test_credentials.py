from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide.access.credentials import FROM_QUERY, Credentials, TokenOutOfQuery, credentials_of
from tests.asgi import http_scope, websocket_scope

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([("Authorization", "Bearer abc")], Credentials("abc")),
        ([("authorization", "bearer  abc ")], Credentials("abc")),
        ([("Authorization", "Bearer")], Credentials("")),
        ([("Authorization", "Basic abc")], None),
        ([("Cookie", "a=1; token=abc; b=2")], Credentials("abc", by_cookie=True)),
        ([("Cookie", "a=1"), ("Cookie", 'token="abc"')], Credentials("abc", by_cookie=True)),
        ([("Cookie", "xtoken=abc; token")], Credentials("", by_cookie=True)),
        ([("Cookie", "token=c"), ("Authorization", "Bearer h")], Credentials("h")),
    ],
)
def test_a_token_is_taken_from_the_header_or_else_the_cookie(
    headers: list[tuple[str, str]], found: Credentials | None
) -> None:
    assert credentials_of(http_scope("GET", "/", headers=headers), "token") == found


async def _passed_on(scope: dict[str, Any]) -> Scope:
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any: ...

    await TokenOutOfQuery(app)(scope, nothing, nothing)
    return seen[0]


@pytest.mark.parametrize("name", ["access_token", "access%5Ftoken", "%61ccess_token"])
@pytest.mark.parametrize(
    "make", [websocket_scope, lambda path, query: http_scope("GET", path, query=query)]
)
async def test_a_token_leaves_the_query_in_the_scope_that_the_server_keeps(
    make: Any, name: str
) -> None:
    given = make("/topics/a", query=f"after=earliest&{name}=s%2Ecret&until=latest")
    scope = await _passed_on(given)
    assert given["query_string"] == b"after=earliest&until=latest"
    assert scope[FROM_QUERY] == "s.cret"
    assert credentials_of(scope, "token") == Credentials("s.cret", by_query=True)


@pytest.mark.parametrize("query", ["", "after=earliest", "after=%zz&access=1", "a=access_token"])
async def test_a_query_without_a_token_stays_as_it_is(query: str) -> None:
    scope = await _passed_on(http_scope("GET", "/", query=query))
    assert scope["query_string"] == query.encode()
    assert FROM_QUERY not in scope


async def test_no_second_token_stays_behind() -> None:
    scope = await _passed_on(http_scope("GET", "/", query="access_token=a&access_token=b&x="))
    assert scope["query_string"] == b"x="


async def test_other_scopes_pass() -> None:
    assert (await _passed_on({"type": "lifespan"}))["type"] == "lifespan"
