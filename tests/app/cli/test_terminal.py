from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.cli.errors import Interrupted
from riptide.cli.terminal import interruptible, say

if TYPE_CHECKING:
    from tests.app.cli.conftest import Spawn
    from tests.app.cli.scripted_service import ScriptedService

REPLAY = ("tail", "logs", "--after", "earliest", "--until", "latest")


def _python(script: str, **streams: int) -> subprocess.CompletedProcess[bytes]:
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | streams
    # Without variables such as PYTHONUNBUFFERED, which would write at once by themselves.
    command = [sys.executable, "-E", "-c", f"from riptide.cli.terminal import *; {script}"]
    return subprocess.run(command, check=False, **pipes)  # type: ignore[call-overload,no-any-return]  # only streams


def test_what_is_said_is_one_line_and_nothing_is_said_of_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("a line\nthat was\r\n two")
    say("")
    assert capsys.readouterr() == ("", "riptide: a line that was two\n")


def test_a_closed_standard_error_does_not_stop_a_publish(
    spawn: Spawn, service: ScriptedService
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = spawn("publish", "logs", stderr=writing)
    os.close(writing)
    process.communicate(b"one\n")
    assert process.returncode == 0
    assert service.data == ["one"]


def _with_closed(descriptor: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line whose process begins without a descriptor."""
    shell = ["/bin/sh", "-c", f'exec "$@" {descriptor}>&-', "sh"]
    command = [*shell, sys.executable, "-m", "riptide.cli", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def test_a_standard_error_that_was_never_open_does_not_change_the_exit_code() -> None:
    assert _with_closed(2, "publish", "--no-such-option").returncode == 2


def test_a_standard_output_that_was_never_open_is_told_in_one_line(
    service: ScriptedService,
) -> None:
    service.payloads.append(b"1")
    done = _with_closed(1, *REPLAY, "--url", service.url)
    assert done.stderr == b"riptide: cannot write to standard output: it is closed\n"
    assert done.returncode == 1


def test_only_a_terminal_is_read_by_a_person() -> None:
    script = "print(stderr_is_terminal())"
    person, terminal = pty.openpty()
    try:
        assert _python(script, stderr=terminal).stdout == b"True\n"
    finally:
        os.close(terminal)
        os.close(person)
    assert _python(script).stdout == b"False\n"
    assert _python(f"import sys; sys.stderr.close(); {script}").stdout == b"False\n"


def test_output_is_there_as_soon_as_it_is_written() -> None:
    # Nothing buffered is left for the interpreter's end, which is skipped.
    assert _python("write_stdout(b'one'); os._exit(0)").stdout == b"one"


def test_output_that_cannot_be_written_is_told_in_one_line(
    spawn: Spawn, service: ScriptedService
) -> None:
    service.payloads.append(b"1")
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # a device
        process = spawn(*REPLAY, stdout=full.fileno())
    _, err = process.communicate()
    assert err == b"riptide: cannot write to standard output: No space left on device\n"
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_within_the_context_and_is_as_before_after_it(
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
