"""A system that allows no more threads, as the limit of a user or of a container does."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END = "sys.exit(main())\n"
SAID = "no more threads here"
# The limit comes by a signal, when the service runs. It is that of the user, whose processes are
# more than one already.
PROGRAM = f"""
import resource, signal, sys, threading
from riptide.cli import main

def limit(*_):
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        sys.stderr.write("{SAID}\\n")

signal.signal(signal.SIGUSR1, limit)
{END}"""
# The thread that prints log records is there; those of the service are not.
LIMITED_EARLY = f"""{PROGRAM.removesuffix(END)}
from riptide.server import serving

begin = serving.started_threads
serving.started_threads = lambda: (limit(), begin())[1]
{END}"""
# No limit of processes holds for root.
AS_SOMEBODY = (
    "setpriv",
    *("--reuid", "64321", "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"),
)


class LimitedService(Service):
    """A service that is allowed no more threads from ``limit`` on."""

    command = (*(AS_SOMEBODY if os.geteuid() == 0 else ()), sys.executable, "-c", PROGRAM, "serve")

    def limit(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)
        wait_until(lambda: SAID in self.log)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LimitedService]:
    service = LimitedService(tmp_path, {"metrics_port": 0}).start()
    yield service
    if service.process is not None and service.process.poll() is None:
        service.kill()


def test_a_service_that_runs_needs_no_more_threads_to_the_end_of_its_drain(
    service: LimitedService,
) -> None:
    service.limit()
    (metrics,) = {
        line.split()[-1] for line in service.log.splitlines() if "metrics and health on" in line
    }
    with ThreadPoolExecutor(8) as scrapers:
        answers = list(scrapers.map(plain.get, [f"{metrics}/metrics"] * 16))
    assert {answer.status_code for answer in answers} == {200}
    assert service.publish("a", 1, 2)
    text = plain.get(f"{service.topic('a')}?after=earliest&until=latest").text
    assert text.count('"data"') == 2
    assert plain.get(f"{metrics}/healthz/ready").json()["status"] == "ready"
    assert service.stop() == 0
    assert "Traceback" not in service.log


def test_a_service_that_gets_too_few_threads_at_the_start_says_so_in_a_line(
    tmp_path: Path,
) -> None:
    service = LimitedService(tmp_path, {})
    service.command = tuple(
        LIMITED_EARLY if part is PROGRAM else part for part in LimitedService.command
    )
    with pytest.raises(AssertionError):
        service.start()
    assert service.process is not None
    assert service.process.wait() == 1, service.log
    (line,) = [line for line in service.log.splitlines() if SAID not in line]
    assert "the system allows too few threads (can't start new thread): raise the limit" in line
