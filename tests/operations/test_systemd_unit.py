"""The systemd unit of docs/operator-guide.md: it takes much from the service, which needs none."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import plain
from tests.issuer import Issuer, bearer
from tests.jwks_server import JwksServer
from tests.programs import require
from tests.repository.sources import ROOT
from tests.service import RIPTIDE, Service

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()
(UNIT,) = re.findall(r"^```ini\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
# With the lines for a secret and for a port below 1024, and without them.
UNITS = {"plain": UNIT, "full": re.sub(r"(?m)^# (?=\w+=)", "", UNIT)}
# systemd-analyze says "exposed" from 7 on, "medium" from 5 on, and "ok" below that.
WANTED = 2.0
CONFINED = ROOT / "tests" / "operations" / "confined.py"


def _written(directory: Path, text: str) -> Path:
    file = directory / "riptide.service"
    file.write_text(text.replace("/opt/riptide/bin/riptide", str(RIPTIDE)))
    return file


@pytest.mark.parametrize("text", UNITS.values(), ids=UNITS)
def test_the_unit_leaves_little_to_who_takes_over_the_service(tmp_path: Path, text: str) -> None:
    done = subprocess.run(
        [require("systemd-analyze"), "security", "--offline=true", _written(tmp_path, text)],
        capture_output=True,
        text=True,
        check=True,
    )
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= WANTED, done.stdout


class ConfinedService(Service):
    """A service that may do what the unit allows, as a user of its own without capabilities."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        super().__init__(directory, settings)
        alone = [require("unshare"), "--user", "--map-user=10001", "--map-group=10001", "--"]
        powerless = [require("setpriv"), "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        confined: list[str | Path] = [sys.executable, CONFINED, _written(directory, UNIT)]
        self.command = [*alone, *powerless, "--", *confined, RIPTIDE, "serve"]


@pytest.mark.parametrize("settings", [{}, {"workers": 2}], ids=["alone", "workers"])
def test_the_service_runs_as_ever_under_the_restrictions_of_the_unit(
    tmp_path: Path, topic: str, settings: dict[str, Any]
) -> None:
    issuer = Issuer("ES256")
    with JwksServer(issuer) as server:
        # By its name, so that the name has to be looked up.
        url = server.url.replace("127.0.0.1", "localhost")
        service = ConfinedService(tmp_path, {"jwks_url": url, **settings}).start()
        token = bearer(issuer.token())
        assert plain.post(service.topic(topic), json="a message", headers=token).status_code == 202
        (group, *_) = plain.get(f"{service.url}/metrics/targets").json()
        metrics = plain.get(f"http://{group['targets'][0]}/metrics").text
        for name in ("start_time_seconds", "open_fds", "resident_memory_bytes"):
            assert re.search(rf"^process_{name} [1-9]", metrics, re.MULTILINE)
        assert service.stop() == 0
    assert "ermission" not in service.log
    assert "not permitted" not in service.log
    assert (tmp_path / "data").is_dir()


def test_the_restrictions_of_the_unit_are_real_in_this_test(tmp_path: Path) -> None:
    tries = (
        "import mmap, os, socket\n"
        "for attempt in (lambda: mmap.mmap(-1, 4096, prot=7), lambda: os.nice(1),\n"
        "                lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)):\n"
        "    try:\n"
        "        attempt()\n"
        "    except PermissionError:\n"
        "        print('refused')\n"
    )
    service = ConfinedService(tmp_path, {})
    done = subprocess.run(
        [*service.command[:-2], sys.executable, "-c", tries], capture_output=True, check=True
    )
    assert done.stdout.split() == [b"refused"] * 3, done
