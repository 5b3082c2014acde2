from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide.access.operators import OperatorsOnly, read_token
from riptide.errors import KeyFileError, UnauthenticatedError
from tests.asgi import http_scope

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "sixteen or more!"


async def _passes(*headers: tuple[str, str], token: bytes = TOKEN.encode()) -> bool:
    passed = []

    async def app(*scope: Any) -> None:
        passed.append(scope)

    async def nothing(*_: Any) -> Any: ...

    guarded = OperatorsOnly(app, token)
    await guarded(http_scope("GET", "/metrics", headers=headers), nothing, nothing)
    return bool(passed)


async def test_who_has_the_token_passes() -> None:
    assert await _passes(("Authorization", f"Bearer {TOKEN}"))


async def test_a_token_may_have_any_bytes() -> None:
    # Its last byte is white space in Latin-1.
    token = "sixteen or more à"
    assert await _passes(("Authorization", f"Bearer {token}"), token=token.encode())


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([], None),
        ([("Authorization", f"Basic {TOKEN}")], None),
        ([("Cookie", f"riptide_token={TOKEN}")], None),
        ([("Authorization", "Bearer another")], "invalid_token"),
        ([("Authorization", "Bearer ")], "invalid_token"),
        ([("Authorization", f"Bearer {TOKEN}é")], "invalid_token"),
    ],
)
async def test_who_has_not_is_told_what_is_needed(
    headers: list[tuple[str, str]], error: str | None
) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await _passes(*headers)
    assert caught.value.error == error
    assert TOKEN not in caught.value.detail


def test_the_token_is_what_stands_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN.encode()


def test_a_token_that_could_be_guessed_or_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(KeyFileError, match="at least 16"):
        read_token(tmp_path / "token")
    with pytest.raises(KeyFileError, match="No such file"):
        read_token(tmp_path / "none")
