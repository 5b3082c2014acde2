"""What commands have in common that work with servers of NATS."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from riptide.cli.errors import CommandError
from riptide.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from riptide.settings.settings import Settings
    from riptide.storage.jetstream.options import JetStreamOptions


def engine_options(settings: Settings) -> JetStreamOptions:
    """Return how to reach the servers, as the service would.

    Raises:
        CommandError: the client of NATS is not installed.

    """
    try:
        import nats  # noqa: F401, PLC0415  # an extra
        import nkeys  # noqa: F401, PLC0415  # as above
    except ModuleNotFoundError as error:
        raise CommandError(
            f"this command needs more ({error.name} is missing): pip install "
            "'riptide-streaming[jetstream]'"
        ) from error
    from riptide.storage.jetstream.options import options_of  # noqa: PLC0415  # --help connects to nobody

    return options_of(settings)


@contextlib.contextmanager
def log_records_told(tell: Callable[[str], object] = say) -> Iterator[None]:
    """Within this context, tell what the log has to say as a line for people."""
    handler = _Teller(tell)
    logger = logging.getLogger("riptide.log")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record, without its time and its level."""
        self._tell(record.getMessage())
