from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.access import sources
from riptide.access.sources import JwksFile, JwksUrl, SecretFile
from tests.http_proxy import HttpProxy
from tests.issuer import SECRET, Issuer, jwk_set
from tests.jwks_server import JwksServer
from tests.waiting import DEADLINE_S, eventually

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    (key,) = await SecretFile(file).read()
    assert key.material == SECRET


async def test_a_set_in_a_file_may_hold_secrets_and_one_behind_a_url_may_not(
    tmp_path: Path,
) -> None:
    secret, public = Issuer("HS256", "secret"), Issuer("EdDSA", "public")
    file = tmp_path / "jwks.json"
    file.write_bytes(jwk_set(secret, public))
    assert [key.id for key in await JwksFile(file).read()] == ["secret", "public"]
    with JwksServer(secret, public) as server:
        assert [key.id for key in await JwksUrl(server.url).read()] == ["public"]


async def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        await JwksFile(tmp_path / "none").read()


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_an_answer_that_is_no_success_is_an_error(status: int) -> None:
    with JwksServer(Issuer("ES256")) as server:
        server.status = status
        with pytest.raises(OSError, match=str(status)):
            await JwksUrl(server.url).read()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://["])
async def test_a_url_that_leads_nowhere_is_an_error(url: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        await JwksUrl(url).read()


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with JwksServer(Issuer("ES256")) as server:
        server.body = b" " * (sources.MAX_BYTES + 1)
        with pytest.raises(ValueError, match="larger"):
            await JwksUrl(server.url).read()


async def test_an_issuer_that_does_not_answer_is_given_up_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with JwksServer(Issuer("ES256")) as server:
        server.answering.clear()
        monkeypatch.setattr(sources, "FETCH_TIMEOUT_S", 2 * DEADLINE_S)
        waiting = asyncio.create_task(JwksUrl(server.url).read())
        # Others have their turns while the answer is waited for.
        await eventually(lambda: server.requests)
        assert not waiting.done()
        waiting.cancel()
        monkeypatch.setattr(sources, "FETCH_TIMEOUT_S", 0.2)
        with pytest.raises(OSError, match="no answer in time"):
            await JwksUrl(server.url).read()


async def test_keys_are_fetched_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HttpProxy(jwk_set(Issuer("ES256", "public"))) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        (key,) = await JwksUrl("http://issuer.invalid/keys").read()
    assert key.id == "public"
    assert proxy.asked == ["http://issuer.invalid/keys"]


async def test_keys_on_this_machine_are_fetched_whatever_is_for_other_clients(
    strangers_environment: dict[str, str],
) -> None:
    assert strangers_environment["ALL_PROXY"].startswith("socks5:")
    with JwksServer(Issuer("ES256", "public")) as server:
        (key,) = await JwksUrl(server.url).read()
    assert key.id == "public"


async def test_what_the_environment_lacks_is_an_error_like_an_issuer_that_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    source = JwksUrl("https://u:s3cret@issuer.invalid/keys?key=s3cret")
    with pytest.raises(OSError, match="check SSL_CERT_FILE"):
        await source.read()
    assert source.name == "https://issuer.invalid/keys"
