"""Errors as HTTP responses: RFC 9457 problem details, whatever went wrong."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from riptide.errors import InternalError, MethodNotAllowedError, NotFoundError, ProblemError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ExceptionHandler, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
LINGER_S = 1.0


def problem_response(problem: ProblemError, response_class: type[Response] = Response) -> Response:
    """Return the problem as a response."""
    return response_class(
        orjson.dumps(problem.body()),
        status_code=problem.status,
        headers=problem.headers(),
        media_type=MEDIA_TYPE,
    )


class LingeringResponse(Response):
    """An answer to a request whose body is refused: the last one on its connection.

    Closing a socket that holds unread data resets it, and the client may lose the answer that it
    has not read yet. So the rest of the body is discarded for up to ``LINGER_S`` before the close.
    """

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002  # ASGI's signature
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the answer, discard the rest of the request's body, and end."""
        self.headers["Connection"] = "close"
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body"})


async def _on_problem(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    assert isinstance(error, ProblemError)  # noqa: S101  # registered for nothing else
    if error.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(error, LingeringResponse)
    return problem_response(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        problem: ProblemError = MethodNotAllowedError(
            f"{request.url.path} does not take {request.method}: see the Allow header"
        )
    elif error.status_code == HTTPStatus.NOT_FOUND:
        problem = NotFoundError(
            f"there is nothing at {request.url.path[:200]}: topics are at /topics/NAME"
        )
    else:
        problem = InternalError("the request could not be answered")
    response = problem_response(problem)
    response.headers.update(error.headers or {})
    return response


async def _on_fault(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    return problem_response(
        InternalError("something went wrong here; the server's log has the details")
    )


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    ProblemError: _on_problem,
    HTTPException: _on_http_exception,
    Exception: _on_fault,
}
