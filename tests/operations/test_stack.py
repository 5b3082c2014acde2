"""compose.yaml, Dockerfile and Prometheus's configuration, as far as it goes without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from riptide.settings.settings import Settings
from tests import plain
from tests.operations.grafana import ROOT
from tests.programs import require
from tests.prometheus import Prometheus
from tests.repository.sources import PACKAGES
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.operations.conftest import Promtool

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROMETHEUS = ROOT / "alert-rules" / "prometheus.yml"
STACK = ROOT / "alert-rules" / "prometheus-stack.yml"
GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()
HEALTH_CHECK = re.compile(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", re.MULTILINE)
COPIES = re.compile(r"^COPY (?!--from)(.*) (/source/\S*)$", re.MULTILINE)
PIP_OPTIONS = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
PIP_WHEEL = (sys.executable, "-m", "pip", "wheel", *PIP_OPTIONS)
ENVIRONMENT = re.compile(r"(RIPTIDE_[A-Z_]+)=(\S+)")


def _compose() -> dict[str, Any]:
    """Return compose.yaml as Compose understands it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if shutil.which("docker") and plugin.returncode == 0:
        command = ["docker", "compose"]
    else:
        command = [require("docker-compose")]
    done = subprocess.run(
        [*command, "--file", str(ROOT / "compose.yaml"), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def test_compose_has_nothing_to_say_about_the_stack() -> None:
    assert set(_compose()["services"]) == {"riptide", "prometheus", "alertmanager", "grafana"}


def test_everything_that_the_stack_mounts_is_there_and_only_this_machine_reaches_it() -> None:
    document = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for service in document["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            # The secrets are each operator's own.
            known = {*document["volumes"], "./secrets"}
            assert (ROOT / source).exists() or source in known


def test_the_stack_keeps_30_days_and_exemplars() -> None:
    command = _compose()["services"]["prometheus"]["command"]
    assert "--storage.tsdb.retention.time=30d" in command
    assert "--enable-feature=exemplar-storage" in command


def test_the_stack_waits_for_the_drain() -> None:
    grace = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["riptide"]
    drain = Settings.model_fields["drain_seconds"].default
    assert int(grace["stop_grace_period"].removesuffix("s")) > drain


@pytest.mark.parametrize("file", [PROMETHEUS, STACK], ids=lambda file: file.stem)
def test_promtool_has_nothing_to_say_about_the_configuration_of_prometheus(
    file: Path, promtool: Promtool
) -> None:
    assert promtool("check", "config", file).count("rules found") == 2


def _targets(configuration: dict[str, Any]) -> list[dict[str, list[str]]]:
    return [
        static
        for holder in (
            *configuration["scrape_configs"],
            *configuration["alerting"]["alertmanagers"],
        )
        for static in holder["static_configs"]
    ]


def test_prometheus_scrapes_and_alerts_whom_the_stack_has() -> None:
    configuration = yaml.safe_load(STACK.read_text())
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert f"/etc/riptide/{STACK.name}" in str(services["prometheus"]["command"])
    named = {
        target.partition(":")[0]
        for static in _targets(configuration)
        for target in static["targets"]
    }
    assert named - {"localhost"} <= services.keys()
    assert "riptide" in named


def test_without_the_stack_all_are_on_this_machine_and_nothing_else_differs() -> None:
    alone, stack = (yaml.safe_load(file.read_text()) for file in (PROMETHEUS, STACK))
    for static in _targets(stack):
        static["targets"] = [
            f"localhost:{target.rpartition(':')[2]}" for target in static["targets"]
        ]
    assert alone == stack


def test_the_command_of_the_guide_scrapes_a_service_on_this_machine_and_loads_the_rules(
    tmp_path: Path, start_service: StartService
) -> None:
    command = _command_of_the_guide("prometheus")
    folder = tmp_path / "alert-rules"
    shutil.copytree(PROMETHEUS.parent, folder, ignore=shutil.ignore_patterns("tests", "runbooks"))
    assert f"--config.file={PROMETHEUS.relative_to(ROOT)}" in command
    # Its ports and its folder may be somebody else's here, and nobody is to wait.
    service = start_service(log="memory")
    configuration = PROMETHEUS.read_text().replace(":8080", f":{service.settings['PORT']}")
    prometheus = Prometheus(
        tmp_path,
        configuration=configuration.replace("localhost:9090", "ITSELF").replace(" 15s", " 1s"),
        file=folder / "prometheus.yml",
        flags=[
            flag
            for flag in command[1:]
            if not flag.startswith(("--config.", "--storage.tsdb.path"))
        ],
    )
    try:
        prometheus.wait_for_scrape("riptide|prometheus")
        assert [value for _, value in prometheus.series('up{job="riptide"}')] == [1]
        assert prometheus.series("riptide_build_info")
        rules = plain.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
        assert {Path(group["file"]).name for group in rules} == {
            "alerts.yaml",
            "recording-rules.yaml",
        }
    finally:
        prometheus.close()


def _command_of_the_guide(program: str) -> list[str]:
    """Return the words of the command that begins with a program's name."""
    (text,) = re.findall(rf"^{program} (?:.*\\\n)*.*$", GUIDE, re.MULTILINE)
    return shlex.split(text.replace("\\\n", ""))


def test_the_image_is_not_run_by_root_and_sets_what_settings_there_are() -> None:
    users = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    # The last one runs the service. Only of a number can Kubernetes tell that it is not root's.
    (user,) = users
    assert int(user) > 0
    settings = {f"RIPTIDE_{name.upper()}" for name in Settings.model_fields}
    assert dict(ENVIRONMENT.findall(DOCKERFILE)).keys() <= settings


def test_only_the_stack_lets_everybody_in_and_sets_what_settings_there_are() -> None:
    environment = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["riptide"][
        "environment"
    ]
    assert environment == {"RIPTIDE_ALLOW_ANONYMOUS": "true"}
    assert "allow_anonymous" in Settings.model_fields
    assert "ALLOW_ANONYMOUS" not in DOCKERFILE


def test_the_image_is_built_from_what_the_build_context_lets_through() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {source for sources, _ in COPIES.findall(DOCKERFILE) for source in sources.split()}
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_files_that_the_image_gets_are_all_that_the_service_needs(tmp_path: Path) -> None:
    for sources, destination in COPIES.findall(DOCKERFILE):
        target = tmp_path / destination.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for file in map(ROOT.joinpath, sources.split()):
            if file.is_dir():
                # COPY copies what is in a folder.
                shutil.copytree(file, target, dirs_exist_ok=True)
            else:
                shutil.copy(file, target)
    source = tmp_path / "source"
    built = subprocess.run(
        [*PIP_WHEEL, "--wheel-dir", tmp_path, source / "telemetry", source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    packed = {
        name for wheel in tmp_path.glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()
    }
    needed = {
        str(file.relative_to(ROOT / folder))
        for folder, package in PACKAGES.items()
        for file in (ROOT / folder / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert needed <= packed
    # Nothing else lands beside other people's packages.
    top = {name.partition("/")[0] for name in packed}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES.values())


def test_the_health_check_of_the_image_tells_a_service_that_lives_from_one_that_does_not(
    start_service: StartService,
) -> None:
    (found,) = HEALTH_CHECK.findall(DOCKERFILE)
    program, *arguments = json.loads(found)
    command = [Path(sys.executable).with_name(program), *arguments]
    service = start_service()
    # As the image has it; what settings it follows besides, test_health.py tells.
    environment = {**os.environ, "RIPTIDE_PORT": str(service.settings["PORT"])}

    def check() -> int:
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        return done.returncode

    # A check has a limit of time, and this machine may be slow.
    wait_until(lambda: check() == 0)
    service.stop()
    assert check() == 1
