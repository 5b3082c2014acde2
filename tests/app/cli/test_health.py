"""``riptide health`` asks real services, whatever their settings are."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from operations.drill.certificates import make_certificate
from operations.ports import free_port
from tests.contract.raw import RawStream
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.app.cli.conftest import Run
    from tests.conftest import StartService
    from tests.service import Service

# For an answer that comes, however slow the machine is.
PATIENT = ("health", "--timeout", str(DEADLINE_S))
TOKEN = "an operators' token, with an é"


@pytest.fixture
def same_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[Service], None]:
    """Give this process the RIPTIDE_* variables of a service."""

    def use(service: Service) -> None:
        for name, value in service.settings.items():
            monkeypatch.setenv(f"RIPTIDE_{name}", str(value))

    return use


@pytest.fixture
def files(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The settings that name files."""
    certificate, key = make_certificate(tmp_path)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return {
        "tls": {"tls_certificate": certificate, "tls_key": key},
        "token": {"metrics_token_file": tmp_path / "token"},
        "port": {"metrics_port": free_port()},
        "workers": {"workers": 2},
    }


@pytest.mark.parametrize(
    ("host", "also"),
    [
        ("127.0.0.1", ()),
        ("0.0.0.0", ("token",)),
        ("::", ("port",)),
        ("::1", ("tls",)),
        ("127.0.0.2", ("tls", "token", "port")),
        ("localhost", ("tls", "token", "workers")),
    ],
)
def test_it_follows_the_settings_of_the_service(
    riptide: Run,
    start_service: StartService,
    same_settings: Callable[[Service], None],
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, dict[str, Any]],
    host: str,
    also: tuple[str, ...],
) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this system has no IPv6 loopback")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.setenv(variable.lower(), "socks5://127.0.0.1:9")
    settings = {name: value for each in also for name, value in files[each].items()}
    service = start_service(log="memory", host=host, allow_anonymous="true", **settings)
    same_settings(service)
    # Workers serve a moment after the supervisor has said so.
    wait_until(lambda: riptide(*PATIENT).code == 0)
    for option in ("--live", "--ready"):
        result = riptide(*PATIENT, option)
        assert result.err == ""
        assert result.out.startswith(f"{option[2:]}: http".encode())
        assert result.out.count(b"\n") == 1
    assert service.stop() == 0
    result = riptide(*PATIENT)
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
    assert TOKEN not in result.err


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_service_that_drains_is_live_and_not_ready(
    riptide: Run,
    start_service: StartService,
    same_settings: Callable[[Service], None],
    topic: str,
) -> None:
    service = start_service(log="memory", drain_seconds=10 * DEADLINE_S)
    same_settings(service)
    # A stream that takes nothing keeps the drain going.
    with RawStream(service, topic, "ndjson") as stalled:
        stalled.wait_until_open()
        stalled.stall()
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: riptide(*PATIENT, "--ready").code)
        result = riptide(*PATIENT, "--ready")
        assert result.code == 1
        assert result.err.startswith("riptide: not ready: http")
        assert "draining: yes" in result.err
        assert riptide(*PATIENT).code == 0


def test_another_token_or_none_is_told_what_is_needed(
    riptide: Run,
    start_service: StartService,
    same_settings: Callable[[Service], None],
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, dict[str, Any]],
    tmp_path: Path,
) -> None:
    same_settings(start_service(log="memory", **files["token"]))
    (tmp_path / "another").write_text(f"{TOKEN} as well")
    monkeypatch.setenv("RIPTIDE_METRICS_TOKEN_FILE", str(tmp_path / "another"))
    wrong = riptide(*PATIENT)
    monkeypatch.delenv("RIPTIDE_METRICS_TOKEN_FILE")
    for result in (wrong, riptide(*PATIENT)):
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert "RIPTIDE_METRICS_TOKEN_FILE" in result.err
        assert TOKEN not in result.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "0"}, "any free port"),
        ({"METRICS_PORT": "0"}, "any free port"),
        ({"PORT": "many"}, "RIPTIDE_PORT is 'many'"),
        ({"HOST": "a..b"}, "RIPTIDE_HOST is a..b"),
        ({"METRICS_TOKEN_FILE": "nowhere"}, "nowhere"),
    ],
)
def test_settings_with_which_no_service_is_found_are_told_in_one_line(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"RIPTIDE_{name}", value)
    result = riptide(*PATIENT)
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
    assert said in result.err


def test_a_token_that_no_header_can_have_is_told_and_not_shown(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n{TOKEN}")
    monkeypatch.setenv("RIPTIDE_METRICS_TOKEN_FILE", str(tmp_path / "token"))
    with _listening(monkeypatch, lambda _: None):
        result = riptide(*PATIENT)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert TOKEN not in result.err


@contextlib.contextmanager
def _listening(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None]
) -> Iterator[None]:
    """Let another program have the port: a server that answers each connection as told."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RIPTIDE_PORT", str(server.getsockname()[1]))
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"live"',
        b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"other"}',
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000,
    ],
)
def test_another_program_at_its_address_is_not_the_service(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    def send(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with _listening(monkeypatch, send):
        result = riptide(*PATIENT)
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)


def _stay_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _never_end(connection: socket.socket) -> None:
    left = threading.Event()
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(50):
        connection.sendall(b"x")
        left.wait(0.05)


@pytest.mark.parametrize("answer", [_stay_silent, _never_end])
def test_an_answer_that_takes_too_long_is_not_waited_for(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[socket.socket], None],
) -> None:
    with _listening(monkeypatch, answer):
        process = request.getfixturevalue("spawn")("health", "--timeout", "0.2")
        out, err = process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err == b"riptide: no answer from the service within 0.2 seconds\n"
