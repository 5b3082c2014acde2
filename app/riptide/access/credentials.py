"""Finds the token of a request, and takes a token out of the query before anything logs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode

from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send

PARAMETER = "access_token"
"""The parameter of a query that holds a token (RFC 6750, section 2.3)."""
FROM_QUERY = "riptide.query_token"
"""The key under which ``TokenOutOfQuery`` puts the query's token into the scope."""


class Credentials(NamedTuple):
    """A token, and where it was. Browsers send a cookie whichever page makes the request."""

    token: str
    by_cookie: bool = False
    by_query: bool = False


class TokenPlaces(NamedTuple):
    """Where a token may come, beside the ``Authorization`` header.

    ``cookie`` names the cookie that may hold one; ``in_query`` says whether the query may.
    """

    cookie: str
    in_query: bool = False


class TokenOutOfQuery:
    """Takes a token out of the query, before anything can log or record it. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on without the token in its query.

        This is no coroutine function, whose frame would take memory as long as a stream lasts.
        """
        query: bytes = scope.get("query_string", b"")
        # The parameter's name may be percent-encoded.
        if query and (b"access" in query or b"%" in query):
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            kept = [(name, value) for name, value in pairs if name != PARAMETER]
            if len(kept) < len(pairs):
                # In place, because the server keeps this scope and may log from it.
                scope[FROM_QUERY] = next(value for name, value in pairs if name == PARAMETER)
                scope["query_string"] = urlencode(kept).encode()
        return self._app(scope, receive, send)


def credentials_of(scope: Scope, cookie: str) -> Credentials | None:
    """Return the token in the request's header, else in its cookie, else in its query."""
    scheme, _, token = (read(scope, RequestField.AUTHORIZATION) or "").partition(" ")
    if scheme.lower() == "bearer":
        return Credentials(token.strip())
    if (value := _cookie(read(scope, RequestField.COOKIE) or "", cookie)) is not None:
        return Credentials(value, by_cookie=True)
    if FROM_QUERY in scope:
        return Credentials(scope[FROM_QUERY], by_query=True)
    return None


def _cookie(cookies: str, name: str) -> str | None:
    for pair in cookies.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value.strip('"')
    return None
