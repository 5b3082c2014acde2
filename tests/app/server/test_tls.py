from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from operations.drill.certificates import make_certificate
from riptide.errors import KeyFileError
from riptide.server import tls
from riptide.server.tls import CertificateState, Tls, follow_renewals, tls_of
from riptide.settings.settings import Settings
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
) -> AsyncIterator[CertificateState]:
    monkeypatch.setattr(tls, "CHECK_INTERVAL_S", 0.01)
    state = CertificateState.at_the_start(served)
    following = asyncio.create_task(follow_renewals(served, [context], state))
    await asyncio.sleep(0)
    yield state
    following.cancel()


async def test_metrics_show_the_expiry_of_what_is_served_and_that_a_renewal_is_refused(
    served: Tls, context: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _followed(served, context, monkeypatch) as state:
        first = state.expires_at
        assert first == pytest.approx(time.time() + 3600, abs=DEADLINE_S)
        (tmp_path / "other").mkdir()
        other, _ = make_certificate(tmp_path / "other", valid_for=dt.timedelta(days=9))
        other.replace(served.certificate)
        await eventually(lambda: state.refused)
        assert state.expires_at == first
        make_certificate(tmp_path, valid_for=dt.timedelta(days=30))
        await eventually(lambda: not state.refused)
        assert state.expires_at == pytest.approx(first + 29 * 86400 + 23 * 3600, abs=DEADLINE_S)


async def test_what_was_refused_is_served_once_it_can_be_though_no_file_seems_to_change(
    served: Tls, context: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that becomes readable changes neither its time nor its size."""
    assert served.key is not None
    async with _followed(served, context, monkeypatch) as state:
        make_certificate(tmp_path)
        key, status = served.key.read_bytes(), served.key.stat()
        served.key.write_bytes(b"x" * len(key))
        os.utime(served.key, ns=(status.st_atime_ns, status.st_mtime_ns))
        await eventually(lambda: state.refused)
        served.key.write_bytes(key)
        os.utime(served.key, ns=(status.st_atime_ns, status.st_mtime_ns))
        await eventually(lambda: not state.refused)


def test_of_a_chain_the_certificate_that_expires_first_counts(tmp_path: Path, served: Tls) -> None:
    (tmp_path / "issuer").mkdir()
    issuer, _ = make_certificate(tmp_path / "issuer", valid_for=dt.timedelta(minutes=1))
    leaf = served.certificate.read_bytes()
    expires_at = Tls(issuer, None).expires_at()
    for chain in (leaf + issuer.read_bytes(), issuer.read_bytes() + leaf):
        served.certificate.write_bytes(chain)
        assert served.expires_at() == expires_at


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\x00"])
def test_a_certificate_that_says_no_expiry_ends_the_start_with_what_to_check(
    served: Tls, content: bytes | None
) -> None:
    served.certificate.unlink()
    if content is not None:
        served.certificate.write_bytes(content)
    with pytest.raises(KeyFileError, match=r"expires .*check RIPTIDE_TLS_CERTIFICATE"):
        CertificateState.at_the_start(served)


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


@pytest.mark.parametrize(
    ("left_s", "refused", "said"),
    [
        (129_600, False, "ok: expires in 1.5 days"),
        (129_600, True, "ok: expires in 1.5 days; the renewed one cannot be served"),
        (-60, True, "expired 60 s ago: renew it"),
    ],
)
def test_readiness_shows_how_long_the_certificate_lasts(
    monkeypatch: pytest.MonkeyPatch,
    left_s: float,
    refused: bool,  # noqa: FBT001  # a parameter of the cases
    said: str,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert CertificateState(1000.0 + left_s, refused).describe() == said
