"""Prometheus and Alertmanager with the real rules and routes, at the pace of the drill."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any, Final

import httpx2

from operations import alertmanager
from operations.drill.processes import DrillError, program
from operations.ports import free_port
from operations.processes import Process
from operations.rule_files import rule_files
from operations.rules import to_yaml
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from operations.pace import Pace

BLIND_JOB: Final = "indicators"
"""The job whose scrapes drop the buckets of an objective while the configuration is wrong."""
_OTHERS: Final = "others"
_SCRAPES: Final = (_OTHERS, BLIND_JOB)
# In the time of the rules: at the pace of 60 to 1, one second and half a second.
_SCRAPE_INTERVAL_S: Final = 60
_EVALUATION_INTERVAL_S: Final = 30
_READY_DEADLINE_S: Final = 60


class Monitoring:
    """Both servers. All receivers of alerts are one webhook."""

    def __init__(self, directory: Path, pace: Pace, webhook_url: str) -> None:
        self._directory = directory
        self._pace = pace
        self._alertmanager_port = free_port()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        for scrape in _SCRAPES:
            (directory / scrape).mkdir()
        for name, text in rule_files(pace).items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text)
        (directory / "alertmanager.yml").write_text(
            to_yaml(alertmanager.configuration(_receivers(webhook_url), pace), "For the drill.")
        )
        self.configure(blind=False)
        self._alertmanager = Process(
            [
                program("prometheus-alertmanager"),
                f"--config.file={directory / 'alertmanager.yml'}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self._alertmanager_port}",
                "--cluster.listen-address=",
            ],
            directory / "alertmanager",
        )
        self._prometheus = Process(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--rules.alert.resend-delay={pace.text(60)}",
            ],
            directory / "prometheus",
        )

    async def wait_until_ready(self) -> None:
        """Wait until both servers answer.

        Raises:
            DrillError: one of them does not.

        """
        async with httpx2.AsyncClient(trust_env=False) as client:
            for url in (self.url, f"http://127.0.0.1:{self._alertmanager_port}"):
                for _ in range(_READY_DEADLINE_S * 10):
                    with contextlib.suppress(httpx2.TransportError):
                        if (await client.get(f"{url}/-/ready")).status_code == httpx2.codes.OK:
                            break
                    await asyncio.sleep(0.1)
                else:
                    logs = self._prometheus.log_file, self._alertmanager.log_file
                    raise DrillError("\n".join(log.read_text()[-2000:] for log in logs))

    async def start_time(self, job: str) -> float | None:
        """Return the start time that the process of a job reports; None if it is not scraped."""
        query = f'process_start_time_seconds{{job="{job}"}}'
        # A busy Prometheus may not answer in time, but callers ask again.
        with contextlib.suppress(httpx2.TransportError):
            async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
                answer = await client.get(f"{self.url}/api/v1/query", params={"query": query})
            for series in answer.raise_for_status().json()["data"]["result"]:
                return float(series["value"][1])
        return None

    async def fires(self, alert: str, job: str) -> bool:
        """Return whether an alert of a job fires now."""
        query = f'ALERTS{{alertname="{alert}", alertstate="firing", job="{job}"}}'
        async with httpx2.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{self.url}/api/v1/query", params={"query": query})
        return bool(answer.raise_for_status().json()["data"]["result"])

    async def pass_time(self, nominal_s: float) -> None:
        """Return when this time of the rules has passed."""
        await asyncio.sleep(self._pace.seconds(nominal_s))

    async def wait_until_scraped(self, job: str, before: float | None = None) -> None:
        """Wait until a process has been scraped whose start time is not ``before``.

        Raises:
            DrillError: none was, though Prometheus looks for new targets every five seconds.

        """
        for _ in range(_READY_DEADLINE_S * 5):
            if await self.start_time(job) not in {None, before}:
                return
            await asyncio.sleep(0.2)
        raise DrillError(f"{job} is not scraped")

    def configure(self, *, blind: bool) -> None:
        """Write the configuration of Prometheus; ``blind``: one that drops needed series."""
        mistake = {
            "source_labels": ["job", "__name__"],
            "regex": f"{BLIND_JOB};{catalog.DELIVERY_LATENCY.prometheus_name}_bucket",
            "action": "drop",
        }
        content = {
            "global": {
                "scrape_interval": self._pace.text(_SCRAPE_INTERVAL_S),
                "scrape_timeout": self._pace.text(_SCRAPE_INTERVAL_S),
                "evaluation_interval": self._pace.text(_EVALUATION_INTERVAL_S),
            },
            "rule_files": ["alert-rules/*.yaml"],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [f"127.0.0.1:{self._alertmanager_port}"]}]}
                ]
            },
            "scrape_configs": [
                self._scrape(_OTHERS, []),
                self._scrape(BLIND_JOB, [mistake] if blind else []),
            ],
        }
        (self._directory / "prometheus.yml").write_text(to_yaml(content, "For the drill."))

    def reload(self) -> None:
        """Make Prometheus read its configuration again."""
        self._prometheus.send(signal.SIGHUP)

    async def stop_prometheus(self) -> None:
        """Stop Prometheus, which sends the alerts."""
        await self._prometheus.stop()

    def kill(self) -> None:
        """Kill both servers."""
        self._prometheus.kill()
        self._alertmanager.kill()

    def target_file(self, job: str) -> Path:
        """Return the file in which Prometheus looks for the target of a job."""
        scrape = BLIND_JOB if job == BLIND_JOB else _OTHERS
        return self._directory / scrape / f"{job}.json"

    def _scrape(self, name: str, relabelling: list[dict[str, Any]]) -> dict[str, Any]:
        files = {"files": [str(self._directory / name / "*.json")], "refresh_interval": "1s"}
        return {
            "job_name": name,
            "file_sd_configs": [files],
            # Certificates of the drill are signed by themselves.
            "tls_config": {"insecure_skip_verify": True},
            "metric_relabel_configs": relabelling,
        }


def _receivers(url: str) -> dict[str, dict[str, Any]]:
    names = (
        alertmanager.PAGE,
        alertmanager.TICKET,
        alertmanager.LOG,
        alertmanager.DEAD_MANS_SWITCH,
    )
    return {
        name: {"webhook_configs": [{"url": f"{url}/{name}", "send_resolved": True}]}
        for name in names
    }
