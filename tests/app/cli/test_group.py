from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.cli.group import COMMANDS
from riptide.cli.group import riptide as group

if TYPE_CHECKING:
    from tests.app.cli.conftest import Run


def test_the_version_is_that_of_the_package(riptide: Run) -> None:
    result = riptide("--version")
    assert result.code == 0
    assert result.out.startswith(b"riptide 0.")


@pytest.mark.parametrize("arguments", [(), *((name,) for name in COMMANDS)])
def test_help_has_examples_and_says_what_each_option_does(
    riptide: Run, arguments: tuple[str, ...]
) -> None:
    result = riptide(*arguments, "--help")
    assert (result.code, result.err) == (0, "")
    assert b"Examples:" in result.out
    commands = [group, *(group.get_command(None, name) for name in arguments)]  # type: ignore[arg-type]  # has no use for a context
    for command in commands:
        assert command
        for option in command.params:
            assert option.param_type_name == "argument" or option.to_info_dict()["help"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "riptide: Missing command; see riptide --help"),
        (("publsh",), "riptide: No such command 'publsh'; see riptide --help"),
        (("publish",), "riptide: Missing argument 'TOPIC'; see riptide publish --help"),
        (("tail", "logs", "--ater", "x"), "riptide: No such option"),
        (("tail", "logs", "--protocol", "ftp"), "riptide: Invalid value for '--protocol'"),
    ],
)
def test_wrong_usage_is_told_in_one_line_with_code_2(
    riptide: Run, arguments: tuple[str, ...], expected: str
) -> None:
    result = riptide(*arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert result.err.startswith(expected)


@pytest.mark.parametrize("arguments", [("--help",), ("publish", "logs"), ("tail", "logs")])
def test_publish_and_tail_never_load_the_service(
    arguments: tuple[str, ...],
) -> None:
    script = (
        "import sys; from riptide.cli import main; "
        f"code = main([*{arguments!r}, *sys.argv[1:]]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    options = (
        () if arguments == ("--help",) else ("--retry-for", "0", "--url", "http://127.0.0.1:1")
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *options], input=b"x", capture_output=True, check=True
    )
    modules = set(done.stderr.split())
    assert b"click" in modules
    assert not modules & {b"uvicorn", b"opentelemetry", b"starlette", b"prometheus_client"}
