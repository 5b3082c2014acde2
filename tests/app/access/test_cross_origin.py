from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide import errors
from riptide.main import make_app
from riptide.service import make_service
from riptide.settings.settings import Settings
from riptide.syntax.request_fields import RequestField
from tests.app.endpoints.answers import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

PAGE = "https://app.example"
FROM_PAGES = [field.title for field in RequestField if field.from_pages]
# Response headers that scripts can always read (Fetch standard), or that end at the next hop.
OTHERS = {"connection", "upgrade", "content-type", "content-length", "cache-control", "vary"}


@pytest.fixture(params=[PAGE, "*"])
def app(request: pytest.FixtureRequest) -> Iterator[Starlette]:
    service = make_service(Settings(log="memory", allowed_origins=(request.param,)))
    yield make_app(service)
    service.telemetry.shutdown()


async def preflight(app: Starlette, *fields: str, method: str = "POST") -> Answer:
    return await ask(
        app,
        "OPTIONS",
        "/topics/a",
        headers=[
            ("Origin", PAGE),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", ",".join(fields).lower()),
        ],
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "field", [*FROM_PAGES, "traceparent", "tracestate", "baggage", "cache-control"]
)
async def test_a_page_may_send_every_field_that_the_service_reads(
    field: str, method: str, app: Starlette
) -> None:
    answer = await preflight(app, field, method=method)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] in {PAGE, "*"}
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert field.lower() in allowed


async def test_a_page_may_send_all_of_them_at_once_and_nothing_else(app: Starlette) -> None:
    assert (await preflight(app, *FROM_PAGES)).status == 200
    for other in ("x-forwarded-for", "host", "cookie", "x-anything"):
        assert (await preflight(app, *FROM_PAGES, other)).status == 400


def _problems(kind: type[errors.ProblemError]) -> Iterator[errors.ProblemError]:
    for cls in kind.__subclasses__():
        yield cls("...")
        yield from _problems(cls)


async def test_a_page_may_read_every_header_that_an_error_has(app: Starlette) -> None:
    answer = await ask(app, "PUT", "/topics/a", headers=[("Origin", PAGE)])
    assert answer.status == 405
    exposed = set(answer.headers["access-control-expose-headers"].lower().split(", "))
    needed = {name.lower() for name in answer.headers}
    for problem in _problems(errors.ProblemError):
        problem.retry_after = 1
        needed |= {name.lower() for name in problem.headers()}
    assert exposed == {name for name in needed - OTHERS if not name.startswith("access-control-")}
