"""``make cluster``: what it starts is a service that outlives its parts, and it leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
from click.testing import CliRunner

from operations.cluster.__main__ import main
from operations.cluster.parts import ClusterError, Programs
from operations.cluster.ports import Ports
from tests import plain
from tests.contract.consumers import TRANSPORTS, RefusedError
from tests.programs import require, require_nats_server
from tests.repository.sources import ROOT
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.contract.consumers import Consumer, Transport

LINE = re.compile(r"^(\S.*?) +((?:http|nats)://\S+)   (?:process (\d+))?", re.MULTILINE)
AGAIN = re.compile(r"^(.+) is ready again: process (\d+)$", re.MULTILINE)
OPEN = re.compile(
    r'^riptide_streaming_active_connections\{[^}]*protocol="(\w+)"[^}]*\} (\d+)', re.MULTILINE
)
BY_NAME = pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)


class Part(NamedTuple):
    """A part as the command has introduced it."""

    url: str
    pid: int

    def topic(self, name: str) -> str:
        return f"{self.url}/topics/{name}"

    def publish(self, topic: str, *messages: Any) -> None:
        for message in messages:
            answer = plain.post(self.topic(topic), json=message)
            assert answer.status_code == 202, answer.text

    def open_streams(self, protocol: str) -> int:
        text = plain.get(f"{self.url}/metrics").text
        return sum(int(count) for name, count in OPEN.findall(text) if name == protocol)


class Command:
    """The command that runs, and what it has printed so far."""

    def __init__(self, directory: Path) -> None:
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "operations.cluster", "--any-ports"],
                cwd=ROOT,
                # Whoever reads its output sees it at once.
                env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(directory)},
                stdout=output,
                stderr=output,
            )

    @property
    def text(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str) -> None:
        def is_there() -> bool:
            assert text in self.text or self.process.poll() is None, self.text
            return text in self.text

        wait_until(is_there, lambda: self.text)

    def parts(self) -> dict[str, Part]:
        text = self.text
        # Of the last start.
        again = {name: int(pid) for name, pid in AGAIN.findall(text)}
        return {
            name: Part(url, again.get(name, int(pid or 0))) for name, url, pid in LINE.findall(text)
        }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def command(directory: Path) -> Iterator[Command]:
    for program in ("caddy", "prometheus"):
        require(program)
    require_nats_server()
    command = Command(directory)
    try:
        command.wait_for("Ctrl-C ends all of it")
        parts = command.parts()
        yield command
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(DEADLINE_S) == 0, command.text
        # Nothing of it is left.
        assert [part for part in parts.values() if part.pid and _runs(part.pid)] == []
        assert not list(directory.glob("riptide-cluster-*"))
    finally:
        command.process.kill()
        command.process.wait()


def _runs(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _instances(command: Command) -> list[Part]:
    return [part for name, part in command.parts().items() if name.startswith("instance")]


@BY_NAME
async def test_what_is_published_at_one_instance_is_seen_at_another_and_through_the_balancer(
    command: Command, topic: str, transport: Transport
) -> None:
    one, other, _ = _instances(command)
    async with (
        transport.open(other, topic) as direct,
        transport.open(command.parts()["Riptide"], topic) as balanced,
    ):
        for consumer in (direct, balanced):
            await consumer.next("opened")
        for number in range(5):
            await asyncio.to_thread(one.publish, topic, number)
            # Nothing of it is held back for what comes next.
            for consumer in (direct, balanced):
                assert (await consumer.next("message"))["data"] == number


@BY_NAME
async def test_an_instance_dies_and_its_consumer_goes_on_at_another_by_its_id(
    command: Command, topic: str, transport: Transport
) -> None:
    balancer = command.parts()["Riptide"]

    def streams() -> list[int]:
        return [each.open_streams(transport.name) for each in _instances(command)]

    # Those of the tests before may be seen for a moment longer.
    await asyncio.to_thread(wait_until, lambda: streams() == [0, 0, 0], streams)
    with contextlib.suppress(EOFError, httpx2.TransportError):
        async with transport.open(balancer, topic) as consumer:
            await consumer.next("opened")
            number = (await asyncio.to_thread(streams)).index(1)
            lost = _instances(command)[number]
            others = [each for each in _instances(command) if each != lost]
            await asyncio.to_thread(others[0].publish, topic, "before")
            last = (await consumer.next("message"))["id"]
            os.kill(lost.pid, signal.SIGKILL)
            await consumer.rest()
    # The balancer may still send a request to the one that died, and a publish is not repeated.
    await asyncio.to_thread(others[0].publish, topic, "meanwhile")
    async with _resumed(transport, balancer, topic, last) as consumer:
        assert (await consumer.next("message"))["data"] == "meanwhile"
        await asyncio.to_thread(others[1].publish, topic, "then")
        assert (await consumer.next("message"))["data"] == "then"
    # It comes back, as under a supervisor.
    name = f"instance {number + 1}"
    await asyncio.to_thread(command.wait_for, f"{name} has ended (SIGKILL)")
    await asyncio.to_thread(_wait_until_back, command, name)


@contextlib.asynccontextmanager
async def _resumed(
    transport: Transport, balancer: Part, topic: str, after: str
) -> AsyncIterator[Consumer]:
    """Go on after an id, as clients do: again and again, while a dead instance is not known."""
    deadline = time.monotonic() + DEADLINE_S
    async with contextlib.AsyncExitStack() as stack:
        consumer: Consumer | None = None
        while consumer is None:
            try:
                opening = transport.open(balancer, topic, after=after)
                opened = await stack.enter_async_context(opening)
                assert (await opened.next())["event"] == "resumed"
                consumer = opened
            except (EOFError, OSError, RefusedError, httpx2.TransportError):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
        yield consumer


def _wait_until_back(command: Command, name: str) -> None:
    def is_back() -> bool:
        return command.text.count(f"{name} is ready again") == command.text.count(
            f"{name} has ended"
        )

    wait_until(is_back, lambda: command.text)


def test_prometheus_sees_all_instances_and_has_the_rules(command: Command) -> None:
    url = command.parts()["Prometheus"].url

    def up() -> list[str]:
        answer = plain.get(f"{url}/api/v1/query", params={"query": 'up{job="riptide"}'}).json()
        return [each["value"][1] for each in answer["data"]["result"]]

    wait_until(lambda: up() == ["1"] * 3, up)
    groups = plain.get(f"{url}/api/v1/rules").json()["data"]["groups"]
    assert {Path(group["file"]).name for group in groups} == {"alerts.yaml", "recording-rules.yaml"}


def test_a_consumer_of_the_balancer_gets_no_metrics(command: Command) -> None:
    assert plain.get(f"{command.parts()['Riptide'].url}/metrics").status_code == 404


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.socket() as taken:
        # If somebody else has it, it is taken as well.
        with contextlib.suppress(OSError):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", Ports.usual().prometheus))
            taken.listen()
        for program in ("caddy", "prometheus"):
            require(program)
        require_nats_server()
        outcome = CliRunner().invoke(main)
    assert outcome.exit_code == 1
    assert "port 9090 of 127.0.0.1, for Prometheus: Address already in use" in outcome.output
    assert "--any-ports" in outcome.output


def test_programs_that_are_missing_are_named_with_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError) as error:
        Programs.found()
    lines = str(error.value).splitlines()
    assert lines[:2] == [
        "caddy is not installed: run make install-system as root",
        "prometheus is not installed: run make install-system as root",
    ]


def test_the_document_has_the_balancer_that_is_tested() -> None:
    document = (ROOT / "docs" / "cluster.md").read_text()
    (shown,) = re.findall(r"^```caddy\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    assert shown == (ROOT / "proxies" / "Caddyfile.cluster").read_text()
