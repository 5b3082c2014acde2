from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from riptide.errors import KeyFileError
from riptide.server import tls
from riptide.server.tls import Tls, follow_renewals, tls_of
from riptide.settings.settings import Settings
from tests.certificates import make_certificate
from tests.waiting import DEADLINE_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def served(tmp_path: Path) -> Tls:
    return Tls(*make_certificate(tmp_path))


@pytest.fixture
def context(served: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_into(context)
    return context


@contextlib.contextmanager
def _connection(context: ssl.SSLContext) -> Iterator[tuple[bytes | None, ssl.SSLSocket]]:
    """Shake hands; yields the certificate that the client was shown, and its socket."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    theirs.settimeout(DEADLINE_S)

    def echo() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(ours, server_side=True) as server:
            while data := server.recv(100):
                server.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    with trusting.wrap_socket(theirs) as client:
        yield client.getpeercert(binary_form=True), client
    thread.join()


def _shown(context: ssl.SSLContext) -> bytes | None:
    with _connection(context) as (certificate, _):
        return certificate


@contextlib.asynccontextmanager
async def _followed(
    served: Tls, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    monkeypatch.setattr(tls, "CHECK_INTERVAL_S", 0.01)
    following = asyncio.create_task(follow_renewals(served, [context]))
    await asyncio.sleep(0)
    yield
    following.cancel()


async def test_a_renewed_certificate_is_served_and_open_connections_go_on(
    served: Tls,
    context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "riptide.tls")
    with _connection(context) as (first, open_connection):
        async with _followed(served, context, monkeypatch):
            make_certificate(tmp_path)
            await eventually(lambda: "serving the renewed certificate" in caplog.text)
        assert _shown(context) not in {None, first}
        open_connection.sendall(b"still here")
        assert open_connection.recv(100) == b"still here"


async def test_what_cannot_be_served_is_said_once_and_the_one_before_stays(
    served: Tls,
    context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = _shown(context)
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    async with _followed(served, context, monkeypatch):
        # Of another key, as if the key's file were still to be written.
        other.replace(served.certificate)
        await eventually(lambda: "cannot be served" in caplog.text)
        await asyncio.sleep(10 * tls.CHECK_INTERVAL_S)
        assert caplog.text.count("cannot be served") == 1
        assert _shown(context) == first
        served.certificate.unlink()
        await eventually(lambda: "No such file" in caplog.text)
        make_certificate(tmp_path)
        await eventually(lambda: _shown(context) != first)


def test_an_encrypted_key_is_an_error_and_no_question_at_the_terminal(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, password=b"secret")
    with pytest.raises(ssl.SSLError):
        Tls(*files).load_into()


def test_a_key_without_a_certificate_is_of_no_use(tmp_path: Path) -> None:
    assert tls_of(Settings()) is None
    certificate = tmp_path / "certificate.pem"
    assert tls_of(Settings(tls_certificate=certificate)) == Tls(certificate, None)
    with pytest.raises(KeyFileError, match="RIPTIDE_TLS_CERTIFICATE"):
        tls_of(Settings(tls_key=tmp_path / "key.pem"))
