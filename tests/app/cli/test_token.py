from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.issuer import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run
    from tests.conftest import StartService


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    monkeypatch.setenv("RIPTIDE_TOKEN_SECRET_FILE", str(file))
    return file


def _claims(token: bytes, **options: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token.strip(), SECRET, ["HS256"], **options)
    return claims


@pytest.mark.usefixtures("secret")
def test_standard_output_is_the_token_alone(riptide: Run) -> None:
    result = riptide("token", "--publish", "orders.*", "--publish", "a", "--subscribe", "*")
    assert (result.code, result.err) == (0, "")
    assert result.out.count(b"\n") == 1
    claims = _claims(result.out)
    assert claims.pop("exp") <= time.time() + 3600
    assert claims == {"riptide": {"publish": ["orders.*", "a"], "subscribe": ["*"]}}


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("duration", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)]
)
def test_it_is_valid_for_the_duration(riptide: Run, duration: str, seconds: int) -> None:
    before = int(time.time())
    claims = _claims(riptide("token", "--subscribe", "*", "--for", duration).out)
    assert before + seconds <= claims["exp"] <= time.time() + seconds


@pytest.mark.usefixtures("secret")
def test_it_says_whose_it_is_what_for_and_who_made_it(
    riptide: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIPTIDE_TOKEN_ISSUER", "us")
    result = riptide("token", "--subscribe", "*", "--subject", "billing", "--audience", "them")
    claims = _claims(result.out, audience="them", issuer="us")
    assert claims["sub"] == "billing"


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a token without grants opens nothing"),
        (("--subscribe", "a/b"), "'a/b' fits no topic"),
        (("--publish", ""), "'' fits no topic"),
        (("--subscribe", "*", "--for", "1 week"), "'1 week' is not a duration"),
        (("--subscribe", "*", "--for", "0s"), "'0s' is not a duration"),
    ],
)
def test_what_makes_no_token_is_wrong_usage(
    riptide: Run, arguments: tuple[str, ...], said: str
) -> None:
    result = riptide("token", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert said in result.err


def test_without_a_secret_it_says_where_one_is_looked_for(riptide: Run) -> None:
    result = riptide("token", "--subscribe", "*")
    assert (result.code, result.out) == (2, b"")
    assert "--secret-file" in result.err
    assert "RIPTIDE_TOKEN_SECRET_FILE" in result.err


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"short", "at least 32 bytes"), (b"-----BEGIN " * 4, "another kind")],
)
def test_a_file_without_a_secret_is_named_with_the_reason(
    riptide: Run, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "other"
    if content is not None:
        file.write_bytes(content)
    result = riptide("token", "--subscribe", "*", "--secret-file", str(file))
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
    assert str(file) in result.err
    assert said in result.err


@pytest.mark.usefixtures("secret")
def test_a_token_that_the_service_would_not_take_is_not_made(riptide: Run) -> None:
    patterns = [word for number in range(200) for word in ("--subscribe", f"{number:040}")]
    result = riptide("token", *patterns)
    assert (result.code, result.out) == (1, b"")
    assert "give fewer or wider patterns" in result.err


def test_a_service_with_the_same_settings_takes_it_and_keeps_to_its_grants(
    riptide: Run, secret: Path, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service(log="memory", token_secret_file=secret, token_audience="us")
    monkeypatch.setenv("RIPTIDE_URL", service.url)
    monkeypatch.setenv("RIPTIDE_TOKEN_AUDIENCE", "us")
    granted = riptide("token", "--publish", "orders.*", "--subscribe", "orders.eu")
    monkeypatch.setenv("RIPTIDE_TOKEN", granted.out.decode())
    replay = ("tail", "orders.eu", "--after", "earliest", "--until", "latest")
    assert riptide("publish", "orders.eu", stdin=b"one").code == 0
    assert riptide(*replay) == (0, b"one\n", "")
    refused = riptide("publish", "news", stdin=b"two")
    assert "the token does not allow to publish to 'news'" in refused.err
