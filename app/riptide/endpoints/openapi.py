"""GET /openapi.json: the API as an OpenAPI 3.1 document."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request


@functools.cache
def document() -> bytes:
    """Return the document, read from the file beside this module."""
    return importlib.resources.files(__package__).joinpath("openapi.json").read_bytes()


async def openapi(request: Request) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer with the document."""
    return Response(
        document(), headers={"Cache-Control": "no-cache"}, media_type="application/json"
    )
