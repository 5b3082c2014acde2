"""Every command of the README's first steps, and of docs/access.md, does what stands beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests import plain
from tests.browser import open_browser, open_page
from tests.programs import require
from tests.service import RIPTIDE

if TYPE_CHECKING:
    import httpx2

    from tests.conftest import StartService

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ACCESS = (ROOT / "docs" / "access.md").read_text()
ADDRESS = "http://localhost:8080"

# What each command prints at last; those that go on for ever are ended then.
COMMANDS = {
    "printf 'one\\ntwo\\n' | riptide publish logs": "",
    "riptide tail logs --after earliest --until latest": "two",
    "riptide topics": "logs",
    "riptide tail logs": "three",
    "curl -d": '"count":1',
    "curl 'http://localhost:8080/topics/demo?until=latest'": '"reason":"completed"',
    "curl 'http://localhost:8080/topics/demo?until=latest' -H": 'data: {"event":"end"',
    "curl -N 'http://localhost:8080/topics/demo?after=earliest'": '"data":{"hello": "world"}',
    "curl -s": "riptide_topics",
}
OWN = "In your own application"
ENDLESS = ("riptide tail logs", "curl -N")


def _section(heading: str, document: str) -> str:
    return document.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def _blocks(language: str, heading: str = "Try it", document: str = README) -> list[str]:
    text = _section(heading, document)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    return [
        re.sub(r" {2,}#.*", "", line)
        for block in _blocks("sh")
        for line in block.splitlines()
        if line
    ]


def test_every_command_is_tried() -> None:
    assert len(_commands()) == len(COMMANDS)
    for command, beginning in zip(_commands(), COMMANDS, strict=True):
        assert command.startswith(beginning)


def test_the_commands_print_what_they_should(start_service: StartService) -> None:
    require("curl")
    service = start_service()
    environment = os.environ | {
        "RIPTIDE_URL": service.url,
        "PATH": f"{RIPTIDE.parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command, expected in zip(_commands(), COMMANDS.values(), strict=True):
        line = command.replace(ADDRESS, service.url)
        endless = command in ENDLESS or command.startswith(ENDLESS[1])
        with subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", f"exec {line}" if endless else line],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as process:
            if command == "riptide tail logs":
                service.wait_for_metric(1, "riptide_streaming_active_connections")
                service.publish("logs", "three")
            assert process.stdout
            try:
                assert any(expected in line for line in process.stdout) or not expected, command
            finally:
                if endless:
                    process.terminate()
            process.stdout.read()
        assert endless or process.returncode == 0, command


def test_the_lines_for_the_console_of_the_page_print_messages(start_service: StartService) -> None:
    service = start_service(log="memory")
    service.publish("demo", {"hello": "world"})
    (script,) = _blocks("js")
    with open_browser() as browser, open_page(browser) as page:
        page.goto(service.url)
        # Not what the browser itself may have to say.
        with page.expect_console_message(lambda message: bool(message.args)) as said:
            page.evaluate(f"() => {{ {script} }}")
        assert said.value.args[0].json_value()["data"] == {"hello": "world"}


def test_a_token_made_as_the_document_says_lets_its_bearer_publish(
    start_service: StartService, tmp_path: Path
) -> None:
    make_secret, _, others = _blocks("sh", "Tokens", ACCESS)[0].partition("\n")
    environment = os.environ | {"PATH": f"{RIPTIDE.parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", make_secret], cwd=tmp_path, env=environment, check=True)
    service = start_service(log="memory", token_secret_file=tmp_path / "secret")
    environment["RIPTIDE_URL"] = service.url
    subprocess.run(["sh", "-ec", others], cwd=tmp_path, env=environment, check=True)
    assert service.metric("riptide_streaming_messages_published_total", outcome="accepted") == 1


def test_the_application_of_somebody_else_is_recorded_under_its_own_name(tmp_path: Path) -> None:
    (code,), (command,) = _blocks("python", OWN), _blocks("sh", OWN)
    (tmp_path / "example.py").write_text(code)
    environment = {name: value for name, value in os.environ.items() if name[:5] != "OTEL_"}
    environment |= {"PATH": f"{RIPTIDE.parent}{os.pathsep}{os.environ['PATH']}"}
    command = f"export {command.strip().replace('uvicorn', '; exec uvicorn')} --port 0"
    with subprocess.Popen(
        ["sh", "-c", command], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            scraped = _watch_the_clock(process)
        finally:
            process.terminate()
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
    assert process.returncode in {0, -signal.SIGTERM}
    assert scraped.headers["content-type"].startswith("text/plain; version=")
    assert 'riptide_streaming_active_connections{protocol="sse"} 1.0' in scraped.text
    assert 'service_name="example"' in scraped.text


def _watch_the_clock(process: subprocess.Popen[str]) -> httpx2.Response:
    """Return what the application's metrics are while somebody reads its stream."""
    assert process.stderr
    addresses = (re.search(r"running on (http://\S+)", line) for line in process.stderr)
    url = next(address[1] for address in addresses if address)
    with plain.stream("GET", f"{url}/clock") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        return plain.get(f"{url}/metrics")
