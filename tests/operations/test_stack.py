"""compose.yaml, Dockerfile and Prometheus's configuration, as far as it goes without an engine."""

from __future__ import annotations

import functools
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
CLUSTER = ROOT / "alert-rules" / "prometheus-cluster.yml"
COMPOSE_FILES = ("compose.yaml", "compose.cluster.yaml")
# What make stack starts beside the service, and the cluster beside its instances.
MONITORING = {"prometheus", "alertmanager", "grafana"}
INSTANCES = {"riptide-1", "riptide-2", "riptide-3"}
SERVERS = {"n1", "n2", "n3"}
GUIDE = (ROOT / "docs" / "operator-guide.md").read_text()
HEALTH_CHECK = re.compile(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", re.MULTILINE)
COPIES = re.compile(r"^COPY (?!--from)(.*) (/source/\S*)$", re.MULTILINE)
PIP_OPTIONS = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
PIP_WHEEL = (sys.executable, "-m", "pip", "wheel", *PIP_OPTIONS)
ENVIRONMENT = re.compile(r"(RIPTIDE_[A-Z_]+)=(\S+)")


@functools.cache
def _compose(file: str) -> dict[str, Any]:
    """Return a file as Compose understands it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if shutil.which("docker") and plugin.returncode == 0:
        command = ["docker", "compose"]
    else:
        command = [require("docker-compose")]
    done = subprocess.run(
        [*command, "--file", str(ROOT / file), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def test_compose_has_nothing_to_say_about_the_stack_and_the_cluster() -> None:
    assert set(_compose("compose.yaml")["services"]) == {"riptide"} | MONITORING
    cluster = set(_compose("compose.cluster.yaml")["services"])
    assert cluster == SERVERS | INSTANCES | {"caddy"} | MONITORING


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_everything_that_is_mounted_is_there_and_only_this_machine_reaches_it(file: str) -> None:
    document = yaml.safe_load((ROOT / file).read_text())
    for service in _compose(file)["services"].values():
        for port in service.get("ports", []):
            published = port if isinstance(port, str) else f"{port.get('host_ip')}:"
            assert published.startswith("127.0.0.1:")
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0] if isinstance(volume, str) else volume["source"]
            # The secrets are each operator's own.
            assert (
                source in document["volumes"]
                or source == f"{ROOT}/secrets"
                or (ROOT in Path(source).parents and Path(source).exists())
            )


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_prometheus_keeps_30_days_and_exemplars(file: str) -> None:
    command = _compose(file)["services"]["prometheus"]["command"]
    assert "--storage.tsdb.retention.time=30d" in command
    assert "--enable-feature=exemplar-storage" in command


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_the_end_waits_for_the_drain(file: str) -> None:
    services = yaml.safe_load((ROOT / file).read_text())["services"]
    drain = Settings.model_fields["drain_seconds"].default
    for name in services.keys() & ({"riptide"} | INSTANCES):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > drain


@pytest.mark.parametrize("file", [PROMETHEUS, STACK, CLUSTER], ids=lambda file: file.stem)
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


@pytest.mark.parametrize(
    ("file", "configured", "scraped"),
    [("compose.yaml", STACK, {"riptide"}), ("compose.cluster.yaml", CLUSTER, INSTANCES)],
    ids=COMPOSE_FILES,
)
def test_prometheus_scrapes_and_alerts_whom_there_is(
    file: str, configured: Path, scraped: set[str]
) -> None:
    configuration = yaml.safe_load(configured.read_text())
    services = _compose(file)["services"]
    assert f"/etc/riptide/{configured.name}" in str(services["prometheus"]["command"])
    named = {
        target.partition(":")[0]
        for static in _targets(configuration)
        for target in static["targets"]
    }
    assert named - {"localhost"} <= services.keys()
    assert scraped <= named


def test_the_cluster_differs_from_the_stack_in_whom_prometheus_scrapes_alone() -> None:
    cluster, stack = (yaml.safe_load(file.read_text()) for file in (CLUSTER, STACK))
    (of_cluster, *_), (of_stack, *_) = cluster["scrape_configs"], stack["scrape_configs"]
    targets = of_cluster["static_configs"][0].pop("targets")
    assert set(targets) == {f"{name}:8080" for name in INSTANCES}
    of_stack["static_configs"][0].pop("targets")
    assert cluster == stack


def test_the_instances_of_the_cluster_share_the_servers_and_know_the_balancer() -> None:
    document = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text())
    urls = ",".join(f"nats://{name}:4222" for name in sorted(SERVERS))
    (subnet,) = document["networks"]["default"]["ipam"]["config"]
    for name in INSTANCES:
        environment = document["services"][name]["environment"]
        assert environment["RIPTIDE_INSTANCE"] == name
        assert environment["RIPTIDE_LOG"] == "jetstream"
        assert environment["RIPTIDE_JETSTREAM_URLS"] == urls
        assert environment["RIPTIDE_TRUSTED_PROXIES"] == subnet["subnet"]
        assert {key.removeprefix("RIPTIDE_").lower() for key in environment} <= set(
            Settings.model_fields
        )
    for name in SERVERS:
        command = document["services"][name]["command"]
        assert f"--name={name}" in command
        assert all(f"nats-route://{other}:6222" in str(command) for other in SERVERS)
    # Each of the instances is one that the balancer asks, where it is told nothing else.
    balancer = (ROOT / "proxies" / "Caddyfile.cluster").read_text()
    (asked,) = re.findall(r"\{\$INSTANCES:([^}]*)\}", balancer)
    assert set(asked.split()) == {f"{name}:8080" for name in INSTANCES}


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
