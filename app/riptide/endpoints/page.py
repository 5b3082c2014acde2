"""GET /: a page on which to watch a topic and publish to it from a browser."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

COOKIE = b"riptide_token"
"""The name of the cookie in ``page.html``, which is replaced by the name in the settings."""


@functools.cache
def _html() -> bytes:
    return importlib.resources.files(__package__).joinpath("page.html").read_bytes()


class Page:
    """The page, with the name of the cookie that may hold a token."""

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie

    async def page(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Answer with the page, which loads nothing from other hosts."""
        return Response(
            _html().replace(COOKIE, self._cookie.encode()),
            headers={
                "Content-Security-Policy": (
                    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'"
                ),
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-cache",
            },
            media_type="text/html",
        )
