"""The programs of docs/clients.md do what it says of them, on connections that break."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.app.cli.cutting_proxy import CuttingProxy
from tests.browser import open_browser, open_page
from tests.issuer import SECRET, Issuer
from tests.programs import require
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.service import Service

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
# Each has U+2028 in it, at which careless clients break lines.
MESSAGES = [f"message\u2028{number}" for number in range(200)]
# In the middle of a record, somewhere: a record has about 100 bytes.
CUTS = (2_000, 1_777)
FOLLOWERS = {"follow.py": "http", "follow_websocket.py": "ws"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


PROGRAMS = {
    code.splitlines()[0].lstrip("#/ "): code for kind in ("python", "js") for code in _blocks(kind)
}


def test_every_program_of_the_document_is_run_here() -> None:
    assert PROGRAMS.keys() == {*FOLLOWERS, "publish.py", "replay.py", *SCRIPTS}


def _start(program: str, directory: Path, *arguments: str, **options: Any) -> Any:
    file = directory / program
    file.write_text(PROGRAMS[program])
    return subprocess.Popen(
        [sys.executable, file, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@contextlib.contextmanager
def _running(program: str, directory: Path, *arguments: str, **options: Any) -> Iterator[Any]:
    with _start(program, directory, *arguments, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def _run(
    program: str, directory: Path, *arguments: str, given: str = "", **options: Any
) -> tuple[int, str, str]:
    with _start(program, directory, *arguments, stdin=subprocess.PIPE, **options) as process:
        out, err = process.communicate(given, timeout=DEADLINE_S)
        return process.returncode, out, err


def _message(line: str) -> Any:
    return orjson.loads(line.partition(" ")[2])


@contextlib.contextmanager
def _cutting(service: Service, *cuts: int) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(int(service.url.rpartition(":")[2]), cuts)
    with proxy.running():
        yield proxy


@pytest.mark.parametrize("program", FOLLOWERS)
def test_a_follower_loses_nothing_and_repeats_nothing_however_often_it_is_cut_off(
    shared_service: Service, topic: str, tmp_path: Path, program: str
) -> None:
    first, _ = shared_service.publish(topic, "before", *MESSAGES)
    with _cutting(shared_service, *CUTS) as proxy:
        url = proxy.url.replace("http", FOLLOWERS[program], 1)
        with _running(program, tmp_path, url, topic, first) as process:
            seen = [_message(process.stdout.readline()) for _ in MESSAGES]
            shared_service.publish(topic, "the end")
            assert _message(process.stdout.readline()) == "the end"
    assert seen == MESSAGES
    assert proxy.connections == len(CUTS) + 1


@pytest.mark.parametrize("program", FOLLOWERS)
def test_a_follower_goes_on_after_the_service_was_started_anew(
    start_service: StartService, tmp_path: Path, program: str
) -> None:
    service = start_service(retry_seconds=0.1)
    service.publish("demo", "before")
    url = service.url.replace("http", FOLLOWERS[program], 1)
    with _running(program, tmp_path, url, "demo", "earliest") as process:
        assert _message(process.stdout.readline()) == "before"
        assert service.stop() == 0
        service.start()
        service.publish("demo", *MESSAGES)
        assert [_message(process.stdout.readline()) for _ in MESSAGES] == MESSAGES


@pytest.mark.parametrize("program", FOLLOWERS)
def test_a_follower_tells_what_it_missed_and_that_the_log_is_another(
    start_service: StartService, tmp_path: Path, program: str
) -> None:
    service = start_service(log="memory", retention_messages=2)
    first, _ = service.publish("demo", *range(5))
    url = service.url.replace("http", FOLLOWERS[program], 1)
    with _running(program, tmp_path, url, "demo", first) as process:
        assert process.stderr.readline() == "gap 2\n"
        assert [_message(process.stdout.readline()) for _ in range(2)] == [3, 4]
    with _running(program, tmp_path, url, "demo", "00000000-1") as process:
        assert process.stderr.readline().strip() == "reset"


@pytest.mark.parametrize("program", FOLLOWERS)
def test_a_follower_is_told_why_it_is_refused_and_passes_with_a_token(
    start_service: StartService, tmp_path: Path, program: str
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(log="memory", token_secret_file=tmp_path / "secret")
    url = service.url.replace("http", FOLLOWERS[program], 1)
    code, out, err = _run(program, tmp_path, url, "demo")
    assert (code, out) == (1, "")
    assert "a token is needed" in err
    environment = os.environ | {"RIPTIDE_TOKEN": Issuer("HS256", None).token()}
    given = "with a token\n"
    arguments = (service.url, "demo")
    assert _run("publish.py", tmp_path, *arguments, given=given, env=environment)[0] == 0
    with _running(program, tmp_path, url, "demo", "earliest", env=environment) as process:
        assert _message(process.stdout.readline()) == "with a token"


def test_lines_are_published_in_batches_and_replayed(
    shared_service: Service, topic: str, tmp_path: Path
) -> None:
    lines = [f"line {number}" for number in range(2500)]
    given = "".join(f"{line}\n" for line in lines)
    code, out, err = _run("publish.py", tmp_path, shared_service.url, topic, given=given)
    assert (code, err) == (0, "")
    assert [identifier.rpartition("-")[2] for identifier in out.split()] == ["1000", "2000", "2500"]
    url = shared_service.url.replace("http", "ws", 1)
    code, out, err = _run("replay.py", tmp_path, url, topic)
    assert (code, err) == (0, "")
    assert [_message(line) for line in out.splitlines()] == lines


def test_a_publisher_that_gets_no_answer_says_how_far_it_came(
    shared_service: Service, topic: str, tmp_path: Path
) -> None:
    with _cutting(shared_service, 1) as proxy:
        code, _, err = _run("publish.py", tmp_path, proxy.url, topic, given="a\n")
    assert code == 1
    assert "after line 0: the batch may have been published or not" in err


def test_the_commands_for_curl_publish_and_read(start_service: StartService) -> None:
    require("curl")
    service = start_service(log="memory")
    (script,) = _blocks("sh")
    done = subprocess.run(
        ["sh", "-e", "-c", script.replace("http://localhost:8080", service.url)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    data = re.findall(r'"data":(.*)}$', done.stdout, re.MULTILINE)
    messages = ['{"hello": "world"}', "1", '{"two": 2}']
    assert data == messages * 2
    assert done.stdout.count("event: end") == 1


SCRIPTS = ("event_source.js", "web_socket.js")


@pytest.mark.parametrize("program", SCRIPTS)
def test_a_script_in_a_browser_goes_on_where_it_was_cut_off(
    start_service: StartService, program: str
) -> None:
    service = start_service(retry_seconds=0.1)
    with open_browser() as browser, open_page(browser, bypass_csp=True) as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))

        def has_heard(count: int) -> bool:
            page.wait_for_timeout(20)
            return len(_heard(said)) >= count

        page.goto(f"{service.url}/healthz/live")
        page.add_script_tag(content=PROGRAMS[program])
        service.wait_for_metric(1, "riptide_streaming_active_connections")
        service.publish("demo", *MESSAGES[:100])
        wait_until(lambda: has_heard(100))
        service.kill()
        service.start()
        service.publish("demo", *MESSAGES[100:])
        wait_until(lambda: has_heard(200))
    assert _heard(said) == MESSAGES


def _heard(said: list[str]) -> list[str]:
    return [text.partition(" ")[2] for text in said if " message\u2028" in text]
