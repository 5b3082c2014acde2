"""Where log records go: one line each, to standard error."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logs(level: str) -> None:
    """Print records of at least this level; uvicorn's own only when they are warnings."""
    logging.basicConfig(format=FORMAT, level=level.upper())
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
