"""Arguments, options and variables that are not UTF-8, or are no number, are told in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import jwt
import pytest

from riptide.cli.group import COMMANDS
from riptide.cli.group import riptide as group
from riptide.cli.parameters import Seconds
from tests.app.cli.logs import make_log, payloads_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.cli.conftest import Run
    from tests.app.cli.scripted_service import ScriptedService

NOT_UTF8 = os.fsdecode(b"caf\xe9")
SECRET = "x" * 32
# What a command needs besides the value that is tried.
COMPLETE = {
    "publish": ("topic", "-"),
    "tail": ("topic",),
    "token": ("--publish=topic", "--secret-file=secret"),
    "backup": ("file",),
    "restore": ("file",),
    "verify": ("file",),
}
# In this locale, no byte beyond ASCII is text.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Yield each command with each of its arguments and options that has a value."""
    for name in COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type]  # has no use for a context
        assert command is not None
        for parameter in command.params:
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield name, parameter


def _line(command: str, parameter: click.Parameter) -> list[str]:
    """Return a command line in which one parameter is not UTF-8."""
    line = list(COMPLETE.get(command, ()))
    if isinstance(parameter, click.Option):
        return [command, *line, f"{parameter.opts[0]}={NOT_UTF8}"]
    positions = [
        each.name
        for name, each in _parameters()
        if name == command and isinstance(each, click.Argument)
    ]
    line[positions.index(parameter.name)] = NOT_UTF8
    return [command, *line]


@pytest.mark.parametrize(
    ("command", "parameter"),
    [pytest.param(*each, id=f"{each[0]}-{each[1].name}") for each in _parameters()],
)
def test_a_value_that_is_not_utf8_is_told_in_one_line(
    riptide: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    parameter: click.Parameter,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIPTIDE_URL", "http://127.0.0.1:9")
    (tmp_path / "secret").write_text(SECRET)
    result = riptide(*_line(command, parameter), stdin=b"a line\n")
    assert result.code in {1, 2}
    assert (result.out, result.err.count("\n")) == (b"", 1)
    # No request was tried with it.
    assert "127.0.0.1:9" not in result.err


@pytest.mark.parametrize(
    ("command", "variable"),
    sorted(
        {
            (command, str(parameter.envvar))
            for command, parameter in _parameters()
            if isinstance(parameter, click.Option) and parameter.envvar
        }
    ),
)
def test_a_variable_that_is_not_utf8_is_told_in_one_line(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv(variable, NOT_UTF8)
    # An option would go before its variable.
    without = [each for each in COMPLETE.get(command, ()) if "--secret-file" not in each]
    if variable != "RIPTIDE_TOKEN_SECRET_FILE":
        without = list(COMPLETE.get(command, ()))
    result = riptide(command, *without, stdin=b"a line\n")
    assert result.code in {1, 2}
    assert (result.out, result.err.count("\n")) == (b"", 1)


def _process(
    *arguments: str | bytes, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "riptide.cli", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("environment", [{}, ASCII], ids=["utf-8", "ascii"])
def test_a_process_tells_bytes_that_are_not_utf8_in_one_line(environment: dict[str, str]) -> None:
    done = _process("tail", b"caf\xe9", environment=environment)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (
        b"riptide: Invalid value for 'TOPIC': 'caf\\udce9' is not UTF-8; see riptide tail --help\n"
    )


def test_text_is_utf8_in_a_locale_without_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    line = ("token", "--publish", "*", "--secret-file", str(secret), "--subject")
    done = _process(*line, "Zoë".encode(), environment=ASCII)
    assert done.stderr == b""
    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])
    assert claims["sub"] == "Zoë"


def test_names_of_files_and_directories_need_not_be_utf8(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: ScriptedService
) -> None:
    odd = str(tmp_path / NOT_UTF8)
    directory = Path(odd)
    make_log(directory, b'"one"')
    (directory / f"lines-{NOT_UTF8}").write_bytes(b"one\n")
    assert riptide("publish", "logs", f"{odd}/lines-{NOT_UTF8}").code == 0
    assert service.data == ["one"]
    monkeypatch.setenv("RIPTIDE_DATA_DIR", odd)
    backup = f"{odd}/backup-{NOT_UTF8}"
    assert riptide("backup", backup).code == 0
    result = riptide("restore", "--replace", backup)
    assert (result.code, result.err.count("\n")) == (0, 1)
    assert payloads_of(directory) == [b'"one"']


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "é" * 70, "[::1", "x\x01"])
def test_a_url_that_no_client_understands_is_wrong_usage(riptide: Run, host: str) -> None:
    result = riptide("tail", "logs", "--retry-for", "0", "--url", f"http://{host}")
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert "is not the address of a service" in result.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, parameter.opts[0])
        for command, parameter in _parameters()
        if isinstance(parameter.type, click.FloatRange)
    ],
)
def test_a_number_of_seconds_is_never_nan(
    riptide: Run, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    monkeypatch.setenv("RIPTIDE_URL", "http://127.0.0.1:9")
    result = riptide(command, *COMPLETE.get(command, ()), option, "nan", stdin=b"a line\n")
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert "is not a number of seconds" in result.err


def test_a_number_of_seconds_may_be_without_end() -> None:
    assert Seconds(min=0).convert(float("inf"), None, None) == float("inf")
