"""GET /: a page to watch a topic on, and publish to it, from a browser."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.access.gate import Gate

COOKIE = b"riptide_token"
"""The name of the cookie in the page's file, which the settings may want otherwise."""


@functools.cache
def _html() -> bytes:
    return importlib.resources.files(__package__).joinpath("page.html").read_bytes()


async def page(request: Request) -> Response:
    """Answer with the page; it needs nothing from elsewhere."""
    gate: Gate = request.app.state.gate
    return Response(
        _html().replace(COOKIE, gate.cookie.encode()),
        headers={
            "Content-Security-Policy": (
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        },
        media_type="text/html",
    )
