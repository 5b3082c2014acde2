from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.access.build import make_gate
from riptide.access.identity import ANYONE
from riptide.errors import (
    ForbiddenError,
    InvalidSettingsError,
    KeyFileError,
    UnauthenticatedError,
)
from riptide.settings.settings import Settings
from riptide_telemetry import StreamProtocol
from tests.asgi import http_scope
from tests.issuer import SECRET, Issuer, bearer, jwk_set
from tests.jwks_server import JwksServer

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.access.gate import Gate
    from tests.app.recorder import Recorder


async def _admit(gate: Gate, token: str) -> object:
    scope = http_scope("GET", "/topics/a", headers=bearer(token).items())
    return await gate.admit_consumer(scope, StreamProtocol.SSE, "a")


async def test_without_keys_nobody_is_asked(recorder: Recorder) -> None:
    gate = make_gate(Settings(), recorder.lifecycle)
    await gate.open()
    assert await _admit(gate, "nonsense") is ANYONE


async def test_keys_come_from_wherever_the_settings_say(recorder: Recorder, tmp_path: Path) -> None:
    secret, local, remote = Issuer("HS256", None), Issuer("ES256", "l"), Issuer("EdDSA", "r")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "jwks").write_bytes(jwk_set(local))
    with JwksServer(remote) as server:
        settings = Settings(
            token_secret_file=tmp_path / "secret",
            jwks_file=tmp_path / "jwks",
            jwks_url=server.url,
            token_audience="riptide",
            token_issuer="id",
        )
        gate = make_gate(settings, recorder.lifecycle)
        await gate.open()
        for issuer in (secret, local, remote):
            assert await _admit(gate, issuer.token(aud="riptide", iss="id"))
            with pytest.raises(UnauthenticatedError):
                await _admit(gate, issuer.token(iss="id"))
            with pytest.raises(ForbiddenError):
                await _admit(gate, issuer.token(None, aud="riptide", iss="id"))


async def test_a_key_file_that_is_missing_is_named(recorder: Recorder, tmp_path: Path) -> None:
    gate = make_gate(Settings(jwks_file=tmp_path / "none"), recorder.lifecycle)
    with pytest.raises(KeyFileError, match=r"none has no keys .*No such file"):
        await gate.open()


@pytest.mark.parametrize("proxy", ["socks5://u:s3cret@there:1", "foo://u:s3cret@there"])
def test_keys_behind_a_proxy_that_cannot_be_used_keep_the_service_from_starting(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    settings = Settings(jwks_url="https://issuer.invalid/keys")
    with pytest.raises(
        InvalidSettingsError, match="RIPTIDE_JWKS_URL cannot be fetched: HTTPS_PROXY must be"
    ) as raised:
        make_gate(settings, recorder.lifecycle)
    assert "s3cret" not in str(raised.value)
