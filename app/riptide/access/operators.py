"""Requires the operators' token for metrics and health."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from riptide.errors import KeyFileError, UnauthenticatedError
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

MIN_TOKEN_BYTES = 16


class OperatorsOnly:
    """Accepts only requests with the token as ``Authorization: Bearer``. Pure ASGI."""

    def __init__(self, app: ASGIApp, token: bytes) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            UnauthenticatedError: the request has no token, or another one.
            MalformedRequestError: the request has two.

        """
        scheme, _, given = (read(scope, RequestField.AUTHORIZATION) or "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError(
                "the operators' token is needed: send it as Authorization: Bearer TOKEN"
            )
        # The bytes that were sent, which Starlette decodes as Latin-1 whatever they are.
        if not secrets.compare_digest(given.encode("latin-1").strip(), self._token):
            raise UnauthenticatedError("this is not the operators' token", error="invalid_token")
        await self._app(scope, receive, send)


def read_token(path: Path) -> bytes:
    """Read the operators' token, without the white space around it.

    Raises:
        KeyFileError: the file cannot be read, or its token is so short that it could be guessed.

    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise KeyFileError(
            f"the token for metrics, {path}, cannot be read ({error.strerror})"
        ) from None
    if len(token) < MIN_TOKEN_BYTES:
        raise KeyFileError(
            f"the token for metrics, in {path}, is too short: "
            f"it has to have at least {MIN_TOKEN_BYTES} characters"
        )
    return token
