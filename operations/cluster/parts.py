"""The parts of a cluster on this machine: servers, instances, a load balancer and Prometheus."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from operations.cluster import nats
from operations.cluster.nats import HOST
from operations.rules import to_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from operations.cluster.ports import Ports

RIPTIDE: Final = Path(sys.executable).with_name("riptide")
_REPOSITORY: Final = Path(__file__).parents[2]
_BALANCER: Final = _REPOSITORY / "proxies" / "Caddyfile.cluster"
# Around proxies/Caddyfile.cluster: for this machine alone, and it ends when it is told to.
_AROUND_BALANCER: Final = """{{
\tadmin off
\tauto_https off
\tdefault_bind {host}
\tgrace_period 1s
\tstorage file_system {directory}/storage
}}
import {balancer}
"""
# The rules need several scrapes a minute, and who tries something does not want to wait.
_SCRAPE_INTERVAL: Final = "5s"
_DRAIN_S: Final = 5


class ClusterError(Exception):
    """The cluster cannot be run; the text says what is missing, or what a part has said."""


@dataclass(frozen=True)
class Programs:
    """The paths of the programs that are run besides Riptide."""

    nats_server: str
    caddy: str
    prometheus: str

    @classmethod
    def found(cls) -> Programs:
        """Find them.

        Raises:
            ClusterError: some are not there; the text says how to get each of them.

        """
        paths = {name: shutil.which(name) for name in ("caddy", "prometheus")}
        server = nats.nats_server()
        missing = [
            f"{name} is not installed: run make install-system as root"
            for name, path in paths.items()
            if path is None
        ]
        if server is None:
            missing.append(nats.MISSING)
        if missing:
            raise ClusterError("\n".join(missing))
        return cls(server or "", paths["caddy"] or "", paths["prometheus"] or "")


@dataclass(frozen=True)
class Part:
    """A program of the cluster, and where it is reached."""

    name: str
    url: str
    directory: Path
    command: list[str]
    # Answers 200 once the part is ready; without a path, it is once somebody can connect.
    ready: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def server(number: int, ports: Ports, directory: Path, programs: Programs) -> Part:
    """Return a server of NATS, which writes through before it acknowledges."""
    own = directory / f"n{number + 1}"
    command = nats.server_command(
        programs.nats_server, number, ports.servers, ports.routes, own / "store"
    )
    url = f"nats://{HOST}:{ports.servers[number]}"
    return Part(f"NATS n{number + 1}", url, own, command, environment=_inherited())


def instance(number: int, ports: Ports, directory: Path) -> Part:
    """Return an instance of Riptide."""
    name = f"instance-{number + 1}"
    settings = {
        "HOST": HOST,
        "PORT": str(ports.instances[number]),
        "LOG": "jetstream",
        "JETSTREAM_URLS": nats.urls(ports.servers),
        "INSTANCE": name,
        "DRAIN_SECONDS": str(_DRAIN_S),
        # As proxies/Caddyfile.cluster asks.
        "TRUSTED_PROXIES": HOST,
        "KEEP_ALIVE_SECONDS": "130",
    }
    return Part(
        name.replace("-", " "),
        f"http://{HOST}:{ports.instances[number]}",
        directory / name,
        [str(RIPTIDE), "serve"],
        "/healthz/ready",
        _inherited() | {f"RIPTIDE_{setting}": value for setting, value in settings.items()},
    )


def balancer(ports: Ports, directory: Path, programs: Programs) -> Part:
    """Return Caddy with the configuration that operators are given."""
    own = directory / "balancer"
    own.mkdir()
    around = _AROUND_BALANCER.format(host=HOST, directory=own, balancer=_BALANCER)
    (own / "Caddyfile").write_text(around)
    return Part(
        "load balancer",
        f"http://{HOST}:{ports.balancer}",
        own,
        [programs.caddy, "run", "--adapter", "caddyfile", "--config", str(own / "Caddyfile")],
        "/healthz/ready",
        _inherited()
        | {
            "SITE": f"http://:{ports.balancer}",
            "INSTANCES": " ".join(f"{HOST}:{port}" for port in ports.instances),
        },
    )


def prometheus(ports: Ports, directory: Path, programs: Programs) -> Part:
    """Return Prometheus with our rules, which scrapes each instance itself."""
    own = directory / "prometheus"
    own.mkdir()
    targets = {"riptide": ports.instances, "prometheus": (ports.prometheus,)}
    content = {
        "global": {"scrape_interval": _SCRAPE_INTERVAL, "evaluation_interval": _SCRAPE_INTERVAL},
        "rule_files": [str(_REPOSITORY / "alert-rules" / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"{HOST}:{port}" for port in job_ports]}],
            }
            for job, job_ports in targets.items()
        ],
    }
    (own / "prometheus.yml").write_text(to_yaml(content, "For a cluster to try."))
    return Part(
        "Prometheus",
        f"http://{HOST}:{ports.prometheus}",
        own,
        [
            programs.prometheus,
            f"--config.file={own / 'prometheus.yml'}",
            f"--storage.tsdb.path={own / 'tsdb'}",
            f"--web.listen-address={HOST}:{ports.prometheus}",
            "--enable-feature=exemplar-storage",
        ],
        "/-/ready",
        _inherited(),
    )


def _inherited() -> dict[str, str]:
    """Return our environment without the settings of a service."""
    ours = ("RIPTIDE_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
