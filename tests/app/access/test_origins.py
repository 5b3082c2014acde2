from __future__ import annotations

import pytest

from riptide.access.origins import Origins
from riptide.errors import OriginError
from tests.asgi import http_scope


def _allowed(
    origins: Origins, origin: str | None, host: str = "localhost:8080", *, by_cookie: bool = False
) -> bool:
    headers = [("Host", host)] + ([] if origin is None else [("Origin", origin)])
    try:
        origins.check(http_scope("GET", "/", headers=headers), by_cookie=by_cookie)
    except OriginError:
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "localhost:8080", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://LOCALHOST:8080", "localhost:8080", True),
        ("https://riptide.example", "riptide.example", True),
        ("https://riptide.example", "riptide.example:443", True),
        ("http://riptide.example", "riptide.example:80", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:8081", "localhost:8080", False),
        ("http://evil.example", "localhost:8080", False),
        ("http://localhost.evil.example:8080", "localhost:8080", False),
        ("http://localhost:8080@evil.example", "localhost:8080", False),
        ("https://riptide.example:444", "riptide.example", False),
        ("null", "localhost:8080", False),
        ("", "", False),
        ("file://", "", False),
        ("http://[", "[", False),
        ("http://x:port", "x:port", False),
    ],
)
def test_programs_and_our_own_pages_pass(origin: str | None, host: str, *, allowed: bool) -> None:
    assert _allowed(Origins(()), origin, host) is allowed


def test_pages_of_origins_that_are_allowed_pass_in_full_only() -> None:
    origins = Origins(["https://app.example"])
    assert _allowed(origins, "https://app.example")
    assert _allowed(origins, "https://app.example", by_cookie=True)
    for other in ("http://app.example", "https://app.example.evil", "https://xapp.example"):
        assert not _allowed(origins, other)


def test_any_page_passes_where_all_are_allowed_but_not_on_the_cookie_of_who_looks_at_it() -> None:
    origins = Origins(["*"])
    assert _allowed(origins, "https://evil.example")
    assert not _allowed(origins, "https://evil.example", by_cookie=True)
    assert _allowed(origins, "http://localhost:8080", by_cookie=True)


def test_a_refusal_names_the_origin_and_the_setting() -> None:
    scope = http_scope("GET", "/", headers=[("Origin", "https://x.example"), ("Host", "h")])
    with pytest.raises(OriginError, match=r"'https://x.example' .* RIPTIDE_ALLOWED_ORIGINS"):
        Origins(()).check(scope, by_cookie=False)
