"""Programs of the system that tests drive: found, or the test is skipped with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from operations.cluster import nats


def require(program: str) -> str:
    """Return the path of a program.

    Without it the test is skipped, or fails where ``RIPTIDE_TEST_SKIPS=forbidden`` says that
    everything has been installed (as in continuous integration).
    """
    return shutil.which(program) or missing(
        f"{program} is not installed: run scripts/install-system as root"
    )


def require_nats_server() -> str:
    """Return the path of a nats-server: ours if it has been built, or any."""
    return nats.nats_server() or missing(nats.MISSING)


def require_collector() -> str:
    """Return the path of an OpenTelemetry Collector: ours if it has been built, or any."""
    ours = _built("otelcol-riptide")
    others = (shutil.which(name) for name in ("otelcol-contrib", "otelcol"))
    return next(filter(None, (ours, *others)), None) or missing(
        "there is no OpenTelemetry Collector: run make collector where Go is"
    )


def require_prometheus_3() -> str:
    """Return the path of the Prometheus that is built with the Collector."""
    return _built("prometheus3") or missing("there is no Prometheus 3: run make collector")


def require_promtool_3() -> str:
    """Return the path of the promtool of Prometheus 3, which is built with the Collector."""
    return _built("promtool3") or missing("there is no promtool 3: run make collector")


def require_namespaces(*kinds: str) -> str:
    """Return the path of ``unshare``, if this user may have namespaces of these kinds."""
    unshare = require("unshare")
    done = subprocess.run([unshare, *kinds, "true"], capture_output=True, check=False)
    return unshare if done.returncode == 0 else missing("namespaces of processes need root")


def _built(name: str) -> str | None:
    return shutil.which(name, path=str(Path(sys.executable).parent))


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail where everything has been installed."""
    if os.environ.get("RIPTIDE_TEST_SKIPS") == "forbidden":
        pytest.fail(reason)
    pytest.skip(reason)
