from __future__ import annotations

import pytest
import starlette.types

from riptide_telemetry.middleware import asgi_types


@pytest.mark.parametrize("name", ["ASGIApp", "Message", "Receive", "Scope", "Send"])
def test_a_type_is_the_one_that_applications_of_starlette_are_checked_with(name: str) -> None:
    assert vars(asgi_types)[name] == vars(starlette.types)[name]
