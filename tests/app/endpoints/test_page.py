from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from riptide.main import make_app
from tests.app.endpoints.answers import ask

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service


async def test_the_page_is_html(app: Starlette) -> None:
    answer = await ask(app, "GET", "/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body.startswith(b"<!doctype html>")


async def test_the_page_needs_nothing_from_elsewhere_and_may_not_ask_for_it(
    app: Starlette,
) -> None:
    answer = await ask(app, "GET", "/")
    assert not re.findall(rb"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", answer.body)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


async def test_the_page_puts_no_message_into_itself_as_html(app: Starlette) -> None:
    body = (await ask(app, "GET", "/")).body
    for sink in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
        assert sink not in body


async def test_a_head_request_gets_the_head(app: Starlette) -> None:
    get, head = await ask(app, "GET", "/"), await ask(app, "HEAD", "/")
    assert head.status == 200
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_the_page_keeps_a_token_where_the_service_looks_for_it(
    app: Starlette, service: Service
) -> None:
    assert b'COOKIE = "riptide_token"' in (await ask(app, "GET", "/")).body
    settings = service.settings.model_copy(update={"token_cookie": "another"})
    app = make_app(dataclasses.replace(service, settings=settings))
    assert b'COOKIE = "another"' in (await ask(app, "GET", "/")).body
