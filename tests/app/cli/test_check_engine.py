"""The command line around the findings, which tests of their own look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from operations.ports import free_port
from riptide.storage.jetstream import examination
from tests.nats_servers import server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run


@pytest.fixture(autouse=True)
def _impatient_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CONNECT_PATIENCE_S", 1.0)


def test_findings_are_lines_or_json_and_the_exit_code_says_the_worst(
    riptide: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    more = f"http: 127.0.0.1:{port}\nmax_payload: 2MB"
    with server(tmp_path, more, limits="sync_interval: always") as one:
        monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", one.url)
        monkeypatch.setenv("RIPTIDE_JETSTREAM_REPLICAS", "1")
        command = ("check-engine", "--monitor-url", f"http://127.0.0.1:{port}")
        result = riptide(*command)
        assert (result.code, result.err) == (0, "")
        lines = result.out.decode().splitlines()
        (risk,) = [line for line in lines if line.startswith("risk")]
        assert risk == (
            "risk  replicas: 1 replica: the loss of its machine or disk loses all messages, and "
            "nothing works while its server is down. Use 3 servers, and 3 replicas (nats stream "
            "edit --replicas 3)"
        )
        assert "ok    sync: server n1 has sync_interval: always" in lines
        assert lines[-1].startswith("worth 202: 1 replica, sync_interval always: what was")
        assert lines[-1].endswith("(docs/cluster.md)")
        assert riptide(*command, "--strict").code == 1

        result = riptide(*command, "--json")
        assert (result.code, result.err, result.out.count(b"\n")) == (0, "", 1)
        report = json.loads(result.out)
        assert {each["level"] for each in report["findings"]} == {"ok", "risk"}
        assert all(each["about"] and each["text"] for each in report["findings"])
        assert report["worth"].startswith("1 replica")

        # Three replicas need three servers.
        monkeypatch.setenv("RIPTIDE_JETSTREAM_REPLICAS", "3")
        result = riptide(*command)
        assert result.code == 1
        assert b"wrong servers: 1 server is known: n1; 3 replicas need as many" in result.out


def test_no_server_or_no_access_is_a_finding_without_a_secret(
    riptide: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", f"nats://a:secret@127.0.0.1:{free_port()}")
    result = riptide("check-engine")
    assert (result.code, result.err) == (1, "")
    assert result.out.startswith(b"wrong connection: no server of NATS could be reached at 127.0.0")
    assert (result.out.count(b"\n"), b"secret" in result.out) == (1, False)
    with server(tmp_path, 'authorization { user: a, password: "other" }') as one:
        monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", one.url.replace("//", "//a:secret@"))
        result = riptide("check-engine", "--json")
        (finding,) = json.loads(result.out)["findings"]
        assert (result.code, finding["level"], finding["about"]) == (1, "wrong", "connection")
        assert "credentials" in finding["text"]
        assert "secret" not in finding["text"]
    monkeypatch.setenv("RIPTIDE_JETSTREAM_PASSWORD_FILE", str(tmp_path / "none"))
    assert b"cannot be read" in riptide("check-engine").out
