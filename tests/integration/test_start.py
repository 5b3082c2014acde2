"""What keeps the service from starting is said in one line that helps."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


def _refusal(directory: Path, **settings: object) -> str:
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE" not in name}
    environment |= {f"RIPTIDE_{name.upper()}": str(value) for name, value in settings.items()}
    environment.setdefault("RIPTIDE_PORT", "0")
    done = subprocess.run(
        [RIPTIDE, "serve"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("riptide: ")
    return done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("port", "http", "from 0 (any free port) to 65535"),
        ("port", "70000", "from 0 (any free port) to 65535"),
        ("log", "redis", "sqlite (on disk, in RIPTIDE_DATA_DIR), memory"),
        ("retention_seconds", "-1", "a number of seconds over 0"),
        ("retention_seconds", "nan", "a number of seconds over 0"),
        ("slow_consumer", "wait", "disconnect"),
        ("max_connections", "0", "a whole number from 1"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_given_and_what_is_allowed(
    tmp_path: Path, setting: str, value: str, allowed: str
) -> None:
    line = _refusal(tmp_path, **{setting: value})
    assert f"RIPTIDE_{setting.upper()} is '{value}'" in line
    assert allowed in line


def test_a_service_without_access_control_is_not_opened_to_a_network_by_accident(
    tmp_path: Path, start_service: StartService
) -> None:
    for workers in (1, 2):
        line = _refusal(tmp_path, host="0.0.0.0", workers=workers, log="memory")
        assert "anybody who can reach 0.0.0.0" in line
        assert "RIPTIDE_ALLOW_ANONYMOUS=true" in line
    assert "0.0.0.0" in start_service(host="0.0.0.0", log="memory", allow_anonymous="true").url


def test_what_is_wrong_with_keys_and_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("guess me")
    cases: list[tuple[dict[str, object], str]] = [
        ({"token_secret_file": tmp_path / "short"}, "at least 32 bytes"),
        ({"jwks_file": tmp_path / "none"}, "No such file"),
        ({"metrics_token_file": tmp_path / "short"}, "at least 16 characters"),
        ({"tls_certificate": tmp_path / "none"}, "RIPTIDE_TLS_CERTIFICATE"),
        ({"tls_certificate": tmp_path / "short"}, "RIPTIDE_TLS_CERTIFICATE"),
        ({"tls_key": tmp_path / "short"}, "RIPTIDE_TLS_CERTIFICATE"),
        ({"metrics_port": 0, "workers": 2}, "RIPTIDE_METRICS_PORT"),
        ({"allow_anonymous": "true", "jwks_url": "http://x/keys"}, "RIPTIDE_ALLOW_ANONYMOUS"),
    ]
    for settings, word in cases:
        assert word in _refusal(tmp_path, log="memory", **settings), settings


def test_a_misspelt_setting_is_pointed_out(start_service: StartService) -> None:
    service = start_service(log="memory", retention_second=5)
    assert "did you mean RIPTIDE_RETENTION_SECONDS?" in service.log


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = _refusal(tmp_path, port=port)
    assert f"port {port}" in line
    assert "RIPTIDE_PORT" in line


def test_an_unwritable_data_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    line = _refusal(tmp_path, data_dir=tmp_path / "file" / "data")
    assert str(tmp_path / "file" / "data") in line
    assert "RIPTIDE_DATA_DIR" in line


def test_a_data_directory_in_use_is_named(tmp_path: Path, start_service: StartService) -> None:
    service = start_service()
    line = _refusal(tmp_path, data_dir=service.settings["DATA_DIR"])
    assert "in use by another Riptide process" in line


@pytest.mark.parametrize("damage", ["text", "overwritten page", "cut off", "foreign"])
def test_a_corrupt_log_is_left_as_it_is_and_named(
    tmp_path: Path, start_service: StartService, damage: str
) -> None:
    service = start_service()
    service.publish("a", *["x" * 1000] * 500)
    assert service.stop() == 0
    file = service.directory / "data" / "riptide.db"
    content = bytearray(file.read_bytes())
    if damage == "text":
        content = bytearray(b"this is no database" * 1000)
    elif damage == "overwritten page":
        content[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    elif damage == "cut off":
        del content[len(content) // 2 :]
    file.write_bytes(content)
    if damage == "foreign":
        file.unlink()
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE something_else (x)")
        connection.close()
        content = bytearray(file.read_bytes())
    line = _refusal(tmp_path, data_dir=file.parent)
    assert str(file) in line
    assert "backup" in line
    assert file.read_bytes() == content
