from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import pytest

from riptide.cli import main, retrying
from tests.app.cli.cutting_proxy import CuttingProxy
from tests.app.cli.scripted_service import ScriptedService, running

if TYPE_CHECKING:
    from collections.abc import Iterator


Run = Callable[..., "Result"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
Cutting = Callable[..., CuttingProxy]


class Result(NamedTuple):
    code: int
    out: bytes
    err: str


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    service = ScriptedService()
    with running(service):
        yield service


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for long between attempts."""
    monkeypatch.setattr(retrying, "WAIT_INITIAL", 0.001)
    monkeypatch.setattr(retrying, "WAIT_JITTER", 0.001)
    monkeypatch.setattr(retrying, "WAIT_MAX", 0.01)


@pytest.fixture
def riptide(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    request: pytest.FixtureRequest,
) -> Run:
    """Run a command line in this process, against ``service`` where the test has one."""
    if "service" in request.fixturenames:
        monkeypatch.setenv("RIPTIDE_URL", request.getfixturevalue("service").url)

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        code = main(arguments)
        out, err = capfdbinary.readouterr()
        return Result(code, out, err.decode())

    return run


@pytest.fixture
def spawn(request: pytest.FixtureRequest) -> Iterator[Spawn]:
    """Start a command line as a process of its own, its streams pipes unless given."""
    environment = dict(os.environ)
    if "service" in request.fixturenames:
        environment["RIPTIDE_URL"] = request.getfixturevalue("service").url
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **streams: int) -> subprocess.Popen[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
        command = [sys.executable, "-m", "riptide.cli", *arguments]
        process: subprocess.Popen[bytes] = subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload]  # only streams
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        with process:  # closes its pipes
            process.wait()


@pytest.fixture
def cutting(service: ScriptedService) -> Iterator[Cutting]:
    """Start proxies before ``service`` that cut connections."""
    with contextlib.ExitStack() as stack:

        def start(*cuts: int) -> CuttingProxy:
            proxy = CuttingProxy(service.port, cuts)
            stack.enter_context(proxy.running())
            return proxy

        yield start
