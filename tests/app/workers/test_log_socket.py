"""The socket to the process of the log: reached by who inherits it, and by nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from riptide.errors import StartError
from riptide.workers.log_socket import LogSocket, make_log_socket, path_of

if TYPE_CHECKING:
    from pathlib import Path

CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as it:
    it.connect(sys.argv[1])
    it.sendall(b"hello")
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _close(made: LogSocket) -> None:
    made.listener.close()
    os.close(made.descriptor)


def test_a_process_that_inherits_the_socket_reaches_it_and_no_directory_has_it(
    temporary: Path,
) -> None:
    made = make_log_socket()
    assert list(temporary.iterdir()) == []
    command = [sys.executable, "-c", CONNECT, str(path_of(made.descriptor))]
    subprocess.run(command, pass_fds=[made.descriptor], check=True)
    connection, _ = made.listener.accept()
    with connection:
        assert connection.recv(10) == b"hello"
    # Without the descriptor the path leads nowhere.
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 1
    _close(made)


def test_it_listens_while_nobody_accepts() -> None:
    made = make_log_socket()
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(path_of(made.descriptor)))
        early.sendall(b"early")
        connection, _ = made.listener.accept()
        with connection:
            assert connection.recv(10) == b"early"
    _close(made)


def test_a_system_without_such_sockets_is_a_start_error(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH")
    with pytest.raises(StartError, match="use one worker"):
        make_log_socket()
    assert list(temporary.iterdir()) == []


def test_a_directory_for_temporary_files_may_be_missing_or_have_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("d" * 200)
    long.mkdir()
    for directory in (tmp_path / "missing", long):
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        made = make_log_socket()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path_of(made.descriptor)))
        _close(made)
    assert list(long.iterdir()) == []
