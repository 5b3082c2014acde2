"""How a server of NATS is run that is one of a cluster on this machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST: Final = "127.0.0.1"
MISSING: Final = "there is no nats-server: run make nats where Go is"
CONFIGURATION: Final = Path(__file__).with_name("nats-server.conf")


def nats_server() -> str | None:
    """Return the path of a nats-server: ours if ``make nats`` has built it, or any; else None."""
    ours = str(Path(sys.executable).parent)
    return shutil.which("nats-server", path=ours) or shutil.which("nats-server")


def server_command(
    program: str, number: int, ports: Sequence[int], routes: Sequence[int], store: Path
) -> list[str]:
    """Return the command of server ``number``, from 0, of those with these ports.

    ``ports`` are for clients and ``routes`` for the other servers, one each for every server.
    ``store`` is the directory of what this one keeps.
    """
    others = [f"nats-route://{HOST}:{port}" for port in routes]
    return [
        program,
        *("--config", str(CONFIGURATION)),
        *("--name", f"n{number + 1}"),
        *("--addr", HOST),
        *("--port", str(ports[number])),
        *("--cluster", f"nats://{HOST}:{routes[number]}"),
        *("--routes", ",".join(others)),
        *("--store_dir", str(store)),
    ]


def urls(ports: Sequence[int]) -> str:
    """Return the value of RIPTIDE_JETSTREAM_URLS for servers with these ports."""
    return ",".join(f"nats://{HOST}:{port}" for port in ports)
