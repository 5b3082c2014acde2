from __future__ import annotations

import os
import pty
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Spawn
    from tests.app.cli.scripted_service import ScriptedService


def _on_a_terminal(spawn: Spawn, *arguments: str, stdin: bytes = b"") -> str:
    """Run a command whose standard error is a terminal, and return what that shows."""
    terminal, side = pty.openpty()
    process = spawn(*arguments, stderr=side)
    os.close(side)
    assert process.stdin
    process.stdin.write(stdin)
    process.stdin.close()
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    os.close(terminal)
    process.wait()
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of a terminal whose other side is closed
        return b""


def test_the_bytes_of_a_file_are_shown_on_a_terminal(
    spawn: Spawn, service: ScriptedService, tmp_path: Path
) -> None:
    file = tmp_path / "some.log"
    file.write_bytes(b"x" * 1023 + b"\n")
    shown = _on_a_terminal(spawn, "publish", "logs", str(file))
    assert "100%" in shown
    assert "1.00k/1.00k" in shown
    assert shown.endswith(
        f"riptide: published {len(service.payloads)} message to logs (last id 0badcafe-1)\r\n"
    )


def test_the_messages_of_a_pipe_are_shown_on_a_terminal(
    spawn: Spawn, service: ScriptedService
) -> None:
    shown = _on_a_terminal(spawn, "publish", "logs", stdin=b"one\ntwo\n")
    assert re.search(r"2\.00 messages", shown)
    assert len(service.payloads) == 2


def test_quiet_shows_nothing_on_a_terminal(spawn: Spawn, service: ScriptedService) -> None:
    assert _on_a_terminal(spawn, "publish", "-q", "logs", stdin=b"one\n") == ""
    assert len(service.payloads) == 1


def test_openings_are_reported_on_a_terminal(spawn: Spawn, service: ScriptedService) -> None:
    service.payloads.append(b"1")
    shown = _on_a_terminal(spawn, "tail", "logs", "--after", "earliest", "--until", "latest")
    assert shown == "riptide: opened, after 0badcafe-0\r\nriptide: ended: completed\r\n"
