from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from starlette.routing import Route

from riptide import errors, message
from riptide.endpoints.openapi import document
from riptide.errors import ProblemError
from riptide.settings.settings import Settings
from tests.app.endpoints.answers import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

DOCUMENT: dict[str, Any] = orjson.loads(document())


def _operations() -> Iterator[tuple[str, str]]:
    for path, item in DOCUMENT["paths"].items():
        for method in item:
            if method != "parameters":
                yield method.upper(), path


async def test_it_is_served_as_it_stands(app: Starlette) -> None:
    answer = await ask(app, "GET", "/openapi.json")
    assert (answer.status, answer.body) == (200, document())
    assert answer.headers["content-type"] == "application/json"


def test_it_has_every_route_and_no_other(app: Starlette) -> None:
    routes = {
        (method, route.path.replace(":path}", "}"))
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    documented = set(_operations())
    # HEAD is what GET is; only of a stream it is worth telling.
    assert documented <= routes
    assert {route for route in routes if route[0] != "HEAD"} <= documented


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    references = set(_references(DOCUMENT))
    for reference in references:
        thing = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            thing = thing[part]
    components = DOCUMENT["components"]
    defined = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in components[kind]
    }
    # A stream's records are described, though OpenAPI 3.1 cannot say that a line is one.
    assert defined - references == {"#/components/schemas/Record"}


def test_it_is_of_this_version() -> None:
    assert DOCUMENT["info"]["version"] == importlib.metadata.version("riptide-streaming")


def test_names_and_ids_are_what_the_code_takes() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["TopicName"]["pattern"] == f"^{message._TOPIC.pattern}$"
    identifier = message._MESSAGE_ID.pattern.replace("([0-9a-f]{8})", "[0-9a-f]{8}")
    assert schemas["MessageId"]["pattern"] == f"^{identifier}$"
    assert schemas["Position"]["pattern"] == f"^(earliest|latest|{identifier})$"


def test_the_cookie_is_the_one_of_the_settings() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["cookie"]["name"] == Settings.model_fields["token_cookie"].default


@pytest.mark.parametrize(
    "error",
    [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, ProblemError) and hasattr(error, "status")
    ],
)
def test_every_problem_is_of_the_documented_form(error: type[ProblemError]) -> None:
    body = error("what to do").body()
    schema = DOCUMENT["components"]["schemas"]["Problem"]
    assert set(schema["required"]) <= body.keys()
    assert re.search(schema["properties"]["type"]["pattern"], body["type"])
